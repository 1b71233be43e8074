use super::*;

const MESSAGE: &str = r#"{"op":0,"s":1,"t":"MESSAGE_CREATE","d":{"id":"11","channel_id":"5","author":{"id":"33","username":"u"},"content":"secret","timestamp":"2025-08-22T00:00:01.438000+00:00","guild_id":"22"}}"#;

fn parse(line: impl AsRef<[u8]>) -> Result<GatewayLine, LineError> {
    parse_line(line.as_ref())
}

/// `MESSAGE` with one part of it exchanged.
fn with(part: &str, other: &str) -> String {
    assert!(MESSAGE.contains(part), "{part}");
    MESSAGE.replace(part, other)
}

fn expected() -> GatewayLine {
    GatewayLine::Message(ActivityEvent {
        id: Some(EventId::new(11).unwrap()),
        member: MemberKey {
            guild: GuildId::new(22).unwrap(),
            user: UserId::new(33).unwrap(),
        },
        at: UnixSeconds::new(1_755_820_801).unwrap(),
    })
}

fn ignored(reason: IgnoredReason) -> GatewayLine {
    GatewayLine::Ignored(reason)
}

#[test]
fn a_message_is_read_whatever_its_line_end_and_mark() {
    for line in [
        MESSAGE.to_owned(),
        format!("{MESSAGE}\n"),
        format!("{MESSAGE}\r\n"),
        format!("{MESSAGE}\r"),
        format!("\u{feff}{MESSAGE}\r\n"),
        format!("  {MESSAGE}\t"),
    ] {
        assert_eq!(parse(&line), Ok(expected()), "{line:?}");
    }
}

#[test]
fn fields_are_read_in_any_order_and_through_escapes() {
    let line = r#"{"d":{"timestamp":"2025-08-22T08:00:01+08:00","author":{"id":"33"},
        "guild_\u0069d":"\u00322","id":"11"},"t":"MESSAGE_CREAT\u0045","op":0}"#;
    assert_eq!(parse(line), Ok(expected()));
}

#[test]
fn blank_lines_are_ignored() {
    for line in ["", "\n", "\r\n", "  \t\r\n", "\u{feff}\n"] {
        assert_eq!(parse(line), Ok(ignored(IgnoredReason::Blank)), "{line:?}");
    }
}

#[test]
fn other_payloads_are_ignored_whatever_they_hold() {
    for line in [
        r#"{"op":11}"#,
        r#"{"op":-1,"d":[]}"#,
        r#"{"op":0}"#,
        r#"{"op":0,"t":null,"d":{"id":5}}"#,
        r#"{"op":0,"t":7,"d":"x"}"#,
        r#"{"op":10,"t":"MESSAGE_CREATE","d":null}"#,
        r#"{"op":0,"t":"TYPING_START","d":{"id":[],"author":3,"timestamp":1755820801}}"#,
        r#"{"op":0,"t":"message_create","d":{}}"#,
    ] {
        assert_eq!(
            parse(line),
            Ok(ignored(IgnoredReason::OtherEvent)),
            "{line}"
        );
    }
}

#[test]
fn messages_of_webhooks_bots_and_no_guild_are_ignored_before_anything_is_refused() {
    for (line, reason) in [
        (
            with(r#""id":"11""#, r#""id":"x","webhook_id":"7""#),
            IgnoredReason::Webhook,
        ),
        (
            with(r#""id":"11""#, r#""webhook_id":0,"author":null"#),
            IgnoredReason::Webhook,
        ),
        (with(r#""id":"33""#, r#""bot":true"#), IgnoredReason::Bot),
        (
            with(r#""guild_id":"22""#, r#""guild_id":null"#),
            IgnoredReason::DirectMessage,
        ),
        (
            with(r#","guild_id":"22""#, r#","timestamp":7"#),
            IgnoredReason::DirectMessage,
        ),
        (
            r#"{"op":0,"t":"MESSAGE_CREATE","d":{}}"#.to_owned(),
            IgnoredReason::DirectMessage,
        ),
    ] {
        assert_eq!(parse(&line), Ok(ignored(reason)), "{line}");
    }
    for line in [
        with(r#""id":"11""#, r#""id":"11","webhook_id":null"#),
        with(r#""id":"33""#, r#""id":"33","bot":false"#),
        with(r#""id":"33""#, r#""id":"33","bot":null"#),
        with(r#""id":"33""#, r#""id":"33","bot":"true""#),
    ] {
        assert_eq!(parse(&line), Ok(expected()), "{line}");
    }
}

#[test]
fn what_is_not_json_is_refused_with_its_place() {
    for (line, column) in [
        (&b"not json at all"[..], 2),
        (b"{\"op\":0", 7),
        (b"{\"op\":0}{}", 9),
        (b"{\"op\":0,}", 9),
        (b"\xEF\xBB\xBF{\"op\":0,}", 12),
        (b"{'op':0}", 2),
        (b"\0", 1),
        (br#"{"op":0,"x":"unended}"#, 21),
    ] {
        let error = parse(line).unwrap_err();
        assert!(
            matches!(&error, LineError::NotJson { column: at, .. } if *at == column),
            "{line:?}: {error:?}"
        );
    }
}

#[test]
fn what_is_not_utf_8_is_refused_even_in_a_field_that_is_skipped() {
    let mut line = MESSAGE.as_bytes().to_vec();
    let at = MESSAGE.find("secret").unwrap();
    line[at] = 0xFF;
    assert_eq!(parse(&line), Err(LineError::NotUtf8 { column: at + 1 }));
    assert_eq!(
        parse(b"\xEF\xBB\xBF\xFF"),
        Err(LineError::NotUtf8 { column: 4 })
    );
}

#[test]
fn other_json_than_an_object_is_refused_without_being_quoted() {
    for (line, found) in [
        ("null", "null"),
        ("true", "a boolean"),
        ("17", "a number"),
        ("-1.5", "a number"),
        (r#""secret""#, "a string"),
        (r#"["secret",{"op":0}]"#, "an array"),
    ] {
        assert_eq!(parse(line), Err(LineError::NotAnObject { found }), "{line}");
    }
}

#[test]
fn fields_that_are_not_what_they_should_be_are_named_with_their_value() {
    let object = |d: &str| format!(r#"{{"op":0,"t":"MESSAGE_CREATE","d":{d}}}"#);
    for (line, field, found) in [
        ("{}".to_owned(), "op", "missing"),
        (r#"{"op":null}"#.to_owned(), "op", "null"),
        (r#"{"op":"0"}"#.to_owned(), "op", r#""0""#),
        (r#"{"op":0.0}"#.to_owned(), "op", "0e0"),
        (r#"{"op":1e300}"#.to_owned(), "op", "1e300"),
        (object("[1]"), "d", "an array"),
        (object("null"), "d", "null"),
        (
            r#"{"op":0,"t":"MESSAGE_CREATE"}"#.to_owned(),
            "d",
            "missing",
        ),
        (with(r#""id":"11","#, ""), "d.id", "missing"),
        (with(r#""id":"11""#, r#""id":11.0"#), "d.id", "1.1e1"),
        (with(r#""id":"11""#, r#""id":1.4e18"#), "d.id", "1.4e18"),
        (with(r#""id":"11""#, r#""id":-11"#), "d.id", "-11"),
        (with(r#""id":"11""#, r#""id":0"#), "d.id", "0"),
        (with(r#""id":"11""#, r#""id":"abc""#), "d.id", r#""abc""#),
        (with(r#""id":"11""#, r#""id":" 11""#), "d.id", r#"" 11""#),
        (
            with(r#""guild_id":"22""#, r#""guild_id":9223372036854775808"#),
            "d.guild_id",
            "9223372036854775808",
        ),
        (
            with(r#""guild_id":"22""#, r#""guild_id":true"#),
            "d.guild_id",
            "true",
        ),
        (
            with(r#""guild_id":"22""#, r#""guild_id":"0""#),
            "d.guild_id",
            r#""0""#,
        ),
        (
            with(r#""guild_id":"22""#, r#""guild_id":"9223372036854775808""#),
            "d.guild_id",
            r#""9223372036854775808""#,
        ),
        (
            with(r#"{"id":"33","username":"u"}"#, "[]"),
            "d.author",
            "an array",
        ),
        (with(r#""id":"33","#, ""), "d.author.id", "missing"),
        (
            with(r#""id":"33""#, r#""id":{"a":1}"#),
            "d.author.id",
            "an object",
        ),
        (
            with("2025-08-22T00:00:01.438000+00:00", "yesterday"),
            "d.timestamp",
            r#""yesterday""#,
        ),
        (
            with(r#""2025-08-22T00:00:01.438000+00:00""#, "1"),
            "d.timestamp",
            "1",
        ),
    ] {
        match parse(&line) {
            Err(LineError::Field {
                field: named,
                found: value,
                ..
            }) => {
                assert_eq!((named, value.as_str()), (field, found), "{line}");
            }
            other => panic!("{line}: {other:?}"),
        }
    }
    let error = parse(with(r#""guild_id":"22""#, r#""guild_id":"0""#))
        .unwrap_err()
        .to_string();
    assert_eq!(
        error,
        "`d.guild_id` is \"0\": expected a whole number from 1 to 9223372036854775807, as a string or \
         in digits"
    );
}

#[test]
fn an_id_may_be_a_number_whose_digits_are_all_there() {
    for id in [
        "9007199254740993",
        "1408239251753531324",
        "9223372036854775807",
    ] {
        let line = with(r#""id":"11""#, &format!(r#""id":{id}"#))
            .replace(r#""guild_id":"22""#, r#""guild_id":22"#)
            .replace(r#""id":"33""#, r#""id":33"#);
        let GatewayLine::Message(event) = parse(&line).unwrap() else {
            panic!("{line}")
        };
        assert_eq!(event.id.unwrap().to_string(), id);
        let GatewayLine::Message(expected) = expected() else {
            unreachable!()
        };
        assert_eq!((event.member, event.at), (expected.member, expected.at));
    }
}

#[test]
fn messages_and_replies_count_and_all_other_types_are_ignored() {
    let of_type = |kind: &str| parse(with(r#""id":"11""#, &format!(r#""type":{kind},"id":"11""#)));
    for kind in ["0", "19", "null"] {
        assert_eq!(of_type(kind), Ok(expected()), "{kind}");
    }
    for kind in (1..=18).chain(20..=70).chain([255, u64::MAX]) {
        assert_eq!(
            of_type(&kind.to_string()),
            Ok(ignored(IgnoredReason::System)),
            "{kind}"
        );
    }
    for (kind, shown) in [
        (r#""0""#, r#""0""#),
        ("0.0", "0e0"),
        ("-1", "-1"),
        ("true", "true"),
        ("[0]", "an array"),
    ] {
        assert_eq!(
            of_type(kind).unwrap_err().to_string(),
            format!("`d.type` is {shown}: expected a whole number from 0")
        );
    }
}

#[test]
fn a_system_message_is_ignored_before_anything_else_in_it_is_refused() {
    let line = r#"{"op":0,"t":"MESSAGE_CREATE","d":{"guild_id":[],"author":3,"type":24}}"#;
    assert_eq!(parse(line), Ok(ignored(IgnoredReason::System)));
    // A reply of an application carries its author as a bot, or a webhook.
    let line = with(r#""id":"33""#, r#""bot":true"#).replace(r#""id":"11""#, r#""type":"x""#);
    assert_eq!(parse(line), Ok(ignored(IgnoredReason::Bot)));
}

#[test]
fn half_a_surrogate_pair_rejects_no_line_unless_it_stands_in_a_field_that_is_needed() {
    for (part, other) in [
        (r#""content""#, r#""\ud800""#),
        (
            r#""content":"secret""#,
            r#""\udc00":{"\ud83d\ude00\ud800":1}"#,
        ),
        (r#""secret""#, r#""\ud800""#),
        (r#""secret""#, r#"["\ud800",{"\ud800":"\ud800"}]"#),
        (r#""username":"u""#, r#""\ud800u":"\ud800""#),
        (r#""op":0"#, r#""op":0,"\ud800":0"#),
        (r#""s":1"#, r#""s":"\ud800""#),
    ] {
        let line = with(part, other);
        assert_eq!(parse(&line), Ok(expected()), "{line}");
    }
    for (line, reason) in [
        (
            r#"{"op":0,"t":"\ud800","d":"\ud800"}"#.to_owned(),
            IgnoredReason::OtherEvent,
        ),
        (
            r#"{"op":0,"t":"TYPING_START","d":{"id":"\ud800","author":"\ud800"}}"#.to_owned(),
            IgnoredReason::OtherEvent,
        ),
        (
            with(r#""id":"11""#, r#""id":"\ud800","webhook_id":"\ud800""#),
            IgnoredReason::Webhook,
        ),
        (
            with(r#""id":"33""#, r#""id":"\ud800","bot":true"#),
            IgnoredReason::Bot,
        ),
    ] {
        assert_eq!(parse(&line), Ok(ignored(reason)), "{line}");
    }
    let error = parse(with(r#""id":"11""#, r#""id":"\ud80011""#)).unwrap_err();
    assert!(
        matches!(error, LineError::Field { field: "d.id", .. }),
        "{error}"
    );
    // Another fault is named where it is.
    let line = with(r#""secret""#, r#""\ud800","#);
    let at = line.find(r#","timestamp"#).unwrap() + 1;
    assert!(
        matches!(parse(&line), Err(LineError::NotJson { column, .. }) if column == at),
        "{line}"
    );
}

#[test]
fn a_long_payload_is_ignored_by_its_outermost_fields() {
    let filler = r#"{"id":"1","t":"MESSAGE_CREATE","op":0,"name":"}\\\"{["},"#.repeat(40_000);
    let members = format!(r#"{{"members":[{filler}{{}}],"t":"MESSAGE_CREATE"}}"#);
    assert!(members.len() > 2 * MAX_LINE_BYTES);
    for line in [
        format!(r#"{{"t":"GUILD_CREATE","s":2,"op":0,"d":{members}}}"#),
        format!(r#"{{"op":0,"d":{members},"s":2,"t":"GUILD_MEMBERS_CHUNK"}}"#),
        format!("\u{feff} {{ \"d\" : {members} , \"op\" : 0 , \"t\" : \"GUILD_CREATE\" }}\r\n"),
        format!(r#"{{"op":9,"d":{members}}}"#),
        format!(r#"{{"op":0,"t":"MESSAGE_CREATE","d":{members},"t":"GUILD_CREATE"}}"#),
        format!(r#"{{"op":0,"d":{members},"\ud800":1,"t":"GUILD_CREATE"}}"#),
    ] {
        assert_eq!(
            parse(&line),
            Ok(ignored(IgnoredReason::OtherEvent)),
            "{}",
            &line[..40]
        );
    }
    let long = "x".repeat(MAX_LINE_BYTES + 1);
    for line in [
        format!(r#"{{"op":0,"d":{members},"t":"MESSAGE_CREATE"}}"#),
        format!(r#"{{"t":"GUILD_CREATE","t":"MESSAGE_CREATE","op":0,"d":{members}}}"#),
        format!(r#"{{"op":0,"t":"GUILD_CREATE","d":{members}"#),
        format!(r#"{{"t":"GUILD_CREATE","d":{members}}}"#),
        format!(r#"{{"op":0,"t":"GUILD_CREATE","d":{members}}}{{}}"#),
        format!(r#"{{"op":0,"t":"GUILD_CREATE","d":"{long}"}}"#),
        format!(r#"{{"op":0,"t":"{long}"}}"#),
        format!("[{members}]"),
        members.clone(),
        long.clone(),
    ] {
        assert_eq!(parse(&line), Err(LineError::TooLong), "{}", &line[..40]);
    }
}

#[test]
fn a_timestamp_is_rfc_3339_and_nothing_else() {
    for good in [
        "2025-08-22T00:00:01Z",
        "2025-08-22t00:00:01.9z",
        "2025-08-21T19:00:01-05:00",
    ] {
        let line = with("2025-08-22T00:00:01.438000+00:00", good);
        assert_eq!(parse(&line), Ok(expected()), "{good}");
    }
    for bad in [
        "1755820801",
        "+1755820801",
        "",
        "2025-08-22",
        "2025-08-22T00:00:01",
        "2025-08-22 00:00:01Z",
        "20250822T000001Z",
        "2025-08-22T00:00:01+00:00[UTC]",
        "2025-13-22T00:00:01Z",
        "1969-12-31T23:59:59Z",
        "9999-01-01T00:00:00Z",
        "２０２５-08-22T00:00:01Z",
    ] {
        let error = parse(with("2025-08-22T00:00:01.438000+00:00", bad)).unwrap_err();
        assert!(
            matches!(
                error,
                LineError::Field {
                    field: "d.timestamp",
                    ..
                }
            ),
            "{bad}: {error}"
        );
    }
}

#[test]
fn nothing_in_a_field_that_is_not_needed_rejects_a_line() {
    for value in [
        "null",
        "{}",
        "[[]]",
        "1e999",
        "-0",
        r#""\ud800""#,
        r#"{"id":{"id":[]}}"#,
    ] {
        let line = with(r#""secret""#, value);
        assert_eq!(parse(&line), Ok(expected()), "{line}");
    }
}

#[test]
fn of_a_field_said_twice_the_last_holds() {
    let line = with(r#""id":"11""#, r#""id":[],"content":1,"id":"11""#);
    assert_eq!(parse(line), Ok(expected()));
    let line = with(r#""id":"33""#, r#""bot":true,"id":"33","bot":false"#);
    assert_eq!(parse(line), Ok(expected()));
    let line = MESSAGE.replacen('{', r#"{"op":"x","d":{"webhook_id":"1"},"#, 1);
    assert_eq!(parse(line), Ok(expected()));
}

#[test]
fn deep_nesting_is_skipped_or_refused_and_never_overflows_the_stack() {
    let nested = |open: &str, close: &str| {
        let depth = (MAX_LINE_BYTES - 1_000) / (open.len() + close.len());
        format!("{}1{}", open.repeat(depth), close.repeat(depth))
    };
    for deep in [nested("[", "]"), nested("{\"a\":", "}")] {
        assert_eq!(parse(with(r#""secret""#, &deep)), Ok(expected()));
        let id = parse(with(r#""id":"11""#, &format!("\"id\":{deep}")));
        assert!(
            matches!(id, Err(LineError::Field { field: "d.id", .. })),
            "{id:?}"
        );
        let d = parse(format!(r#"{{"op":1,"d":{deep}}}"#));
        assert_eq!(d, Ok(ignored(IgnoredReason::OtherEvent)));
        assert!(parse(&deep).is_err());
        assert!(parse(deep.trim_end_matches(['}', ']'])).is_err());
    }
}

#[test]
fn errors_are_one_short_line_and_quote_no_content() {
    let long = "9".repeat(100_000);
    for line in [
        with(r#""id":"11""#, &format!(r#""id":"{long}""#)),
        with(r#""id":"11""#, r#""id":"a\nb\u001b[31m\u202e\"c""#),
        with(r#""guild_id":"22"}"#, "}x"),
        with(r#""timestamp":"#, r#""timestamp" "#),
        with(r#""secret""#, "\"secret\n\""),
        with(r#""secret""#, r#""secret\x""#),
        format!("secret{MESSAGE}"),
        format!(r#""secret {long}""#),
        MESSAGE[..MESSAGE.find("ret").unwrap()].to_owned(),
    ] {
        let error = parse(&line).unwrap_err().to_string();
        assert!(
            error.len() < 250 && !error.contains(char::is_control),
            "{error:?}"
        );
        assert!(
            !error.contains("sec") && !error.contains('\u{202e}'),
            "{error}"
        );
    }
}

proptest::proptest! {
    #[test]
    fn any_bytes_are_answered_with_one_line_at_most(
        line in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..200),
    ) {
        if let Err(error) = parse(&line) {
            proptest::prop_assert!(!error.to_string().contains(char::is_control));
        }
    }

    #[test]
    fn a_damaged_payload_never_panics(at in 0..MESSAGE.len(), byte in 0_u8..=255) {
        let mut line = MESSAGE.as_bytes().to_vec();
        line[at] = byte;
        if let Err(error) = parse(&line) {
            proptest::prop_assert!(!error.to_string().contains(char::is_control));
        }
    }
}
