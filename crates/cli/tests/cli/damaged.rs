//! Files that are damaged, cut off or no database, from the operator's side.

use crate::support::{Folder, bytes, fixture};

/// What a file of ours becomes.
type Spoil = fn(&mut Vec<u8>);

const SPOILED: [(&str, Spoil); 6] = [
    ("cut in half", |content| {
        content.truncate(content.len() / 2);
    }),
    ("cut in its first page", |content| content.truncate(2_000)),
    ("its header alone", |content| content.truncate(100)),
    ("garbage in its last page", |content| {
        let page = content.len() - 4_096;
        content[page..].fill(0x5a);
    }),
    ("garbage everywhere", |content| content.fill(0x5a)),
    ("nothing", Vec::clear),
];

#[test]
fn a_spoiled_file_is_exit_code_4_of_audit_and_check_and_the_others_name_it() {
    let folder = Folder::new();
    folder.write("whole.db", bytes(&fixture("legacy/v241-primary-key.db")));
    folder.run("--db whole.db migrate").text();
    let whole = bytes(&folder.path("whole.db"));
    for (name, spoil) in SPOILED {
        let mut content = whole.clone();
        spoil(&mut content);
        let path = folder.write("roas.db", &content);
        let files = folder.names();

        let checked = folder.run("check --json");
        assert_eq!(checked.code, Some(4), "{name}: {checked:?}");
        let object = checked.object();
        assert_eq!(object["ok"], false, "{name}");
        assert!(!object["findings"].as_array().unwrap().is_empty(), "{name}");
        if name != "nothing" {
            assert_ne!(object["contents"], "an empty database", "{name}");
        }
        assert_eq!(folder.run("check").code, Some(4), "{name}");

        let audited = folder.run("audit --json");
        assert_eq!(audited.code, Some(4), "{name}: {audited:?}");
        assert_eq!(audited.object()["findings"], true, "{name}");
        assert_ne!(audited.object()["integrity"], "ok", "{name}");
        assert_eq!(folder.run("audit").code, Some(4), "{name}");

        if name != "nothing" {
            let named = format!("`{}` is ", path.canonicalize().unwrap().display());
            let failed = folder.run("backup copy.db");
            assert!(failed.failure().starts_with(&named), "{name}: {failed:?}");
        }
        assert!(bytes(&path) == content, "{name}");
        assert_eq!(folder.names(), files, "{name}");
    }
}

#[test]
fn a_migration_names_the_damaged_file_and_not_its_own_copy() {
    let folder = Folder::new();
    let mut content = bytes(&fixture("legacy/v240-duplicates.db"));
    let page = content.len() - 4_096;
    content[page..].fill(0x5a);
    let path = folder.write("roas.db", &content);
    let named = format!("`{}` is damaged: ", path.canonicalize().unwrap().display());
    for line in ["migrate --dry-run", "migrate"] {
        let failed = folder.run(line);
        assert!(failed.failure().starts_with(&named), "{line}: {failed:?}");
    }
    assert!(bytes(&path) == content);
}

#[test]
fn a_check_of_a_newer_schema_says_so() {
    let folder = Folder::new();
    folder.write("roas.db", bytes(&fixture("schema/newer.db")));
    let checked = folder.run("check --json");
    assert_eq!(checked.code, Some(4), "{checked:?}");
    let object = checked.object();
    assert_eq!(object["version"], 9_999);
    let finding = object["findings"][0].as_str().unwrap();
    assert!(
        finding.starts_with("schema version 9999 is newer than this program"),
        "{finding}"
    );
    assert!(folder.run("check").stdout.contains(finding));
}
