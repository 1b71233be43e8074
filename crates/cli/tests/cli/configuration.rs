//! File, environment and flags: which of them holds, and how each is refused.

use crate::support::{CommandOutput, Folder};

#[test]
fn flags_are_above_the_environment_and_that_above_the_file() {
    let folder = Folder::new();
    folder.write(
        "roas.toml",
        "db = 'file.db'\njson = true\nsynchronous = 'normal'\n",
    );

    let file = folder.run("migrate").json();
    assert!(
        file["path"].as_str().unwrap().ends_with("file.db"),
        "{file}"
    );
    assert_eq!(folder.run("stats").json()["synchronous"], "normal");

    let mut command = folder.command(["migrate"]);
    command.env("ROAS_DB", "variable.db");
    CommandOutput::of(command).json();
    assert!(folder.path("variable.db").exists());

    let mut command = folder.command(["migrate", "--db", "flag.db"]);
    command.env("ROAS_DB", "other.db").env("ROAS_JSON", "false");
    let answer = CommandOutput::of(command);
    assert!(answer.text().starts_with("Created"), "{answer:?}");
    assert!(folder.path("flag.db").exists() && !folder.path("other.db").exists());

    let mut command = folder.command(["stats", "--db", "flag.db"]);
    command.env("ROAS_SYNCHRONOUS", "full");
    assert_eq!(CommandOutput::of(command).json()["synchronous"], "full");
}

#[test]
fn a_configuration_file_can_be_named_and_then_the_usual_one_is_not_read() {
    let folder = Folder::new();
    folder.write("roas.toml", "db = 'usual.db'");
    std::fs::create_dir(folder.path("etc")).unwrap();
    folder.write("etc/mine.toml", "db = 'named.db'");

    folder.run("--config etc/mine.toml migrate").text();
    assert!(
        folder.path("etc/named.db").exists(),
        "relative to the file's own folder"
    );

    let mut command = folder.command(["stats", "--json"]);
    command.env("ROAS_CONFIG", "etc/mine.toml");
    let stats = CommandOutput::of(command).json();
    assert!(
        stats["path"].as_str().unwrap().ends_with("etc/named.db"),
        "{stats}"
    );
    assert!(!folder.path("usual.db").exists());
}

#[test]
fn what_is_wrong_with_a_file_is_named_with_its_line() {
    let folder = Folder::new();
    for (content, expected) in [
        (
            "\nreader = 4\n",
            "roas.toml, line 2: `reader = 4`: unknown field `reader`",
        ),
        (
            "readers = 0",
            "roas.toml, line 1: `readers = 0`: `0` is not allowed",
        ),
        ("retry = 'never'", "aggressive, balanced, conservative"),
        ("[db", "roas.toml, line 1"),
    ] {
        folder.write("roas.toml", content);
        let answer = folder.run("migrate");
        assert!(answer.line_with_code(2).contains(expected), "{answer:?}");
    }
    let answer = folder.run("--config nowhere.toml migrate --json");
    assert!(
        answer.line_with_code(2).contains("nowhere.toml"),
        "{answer:?}"
    );
    assert_eq!(folder.names(), ["roas.toml"]);
}

#[test]
fn what_is_wrong_with_a_variable_is_said_with_its_name() {
    let folder = Folder::new();
    for (name, value) in [
        ("ROAS_RETRY", "never"),
        ("ROAS_SYNCHRONOUS", "off"),
        ("ROAS_READERS", "0"),
        ("ROAS_QUEUE_CAPACITY", "-1"),
        ("ROAS_REMEMBER_EVENTS_DAYS", "soon"),
        ("ROAS_JSON", "maybe"),
        ("ROAS_LOG", "loud"),
    ] {
        let mut command = folder.command(["migrate"]);
        command.env(name, value);
        let answer = CommandOutput::of(command);
        let line = answer.line_with_code(2);
        assert!(line.contains(name) && line.contains(value), "{line}");
    }
    assert_eq!(folder.names(), [""; 0]);
}

#[test]
fn the_log_goes_to_stderr_as_loud_as_asked() {
    let folder = Folder::new();
    let answer = folder.run("migrate -v --json");
    answer.json();
    assert!(answer.stderr.contains("INFO"), "{answer:?}");
    assert_eq!(folder.run("stats --json").stderr, "");
}
