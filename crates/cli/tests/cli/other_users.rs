//! The reading commands as a user who may write to the folder and not to the files.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::os::unix::process::CommandExt;

use crate::support::{CommandOutput, Folder, message};

const OWNER: u32 = 4_001;
const MONITORING: u32 = 4_002;

#[test]
#[expect(
    clippy::disallowed_methods,
    reason = "this process has no database open"
)]
fn reading_commands_of_a_monitoring_user_leave_nothing() {
    if fs::metadata("/proc/self").unwrap().uid() != 0 {
        eprintln!("SKIPPED: it takes root to become another user");
        return;
    }
    let folder = Folder::new();
    let input = folder.write("input", message(1, 10, 20, "2025-08-22T12:00:00+00:00"));
    folder.run(&format!("ingest {}", input.display())).text();
    fs::remove_file(input).unwrap();
    let backups = Folder::new();
    let root = folder.path("");
    for entry in fs::read_dir(&root).unwrap() {
        let path = entry.unwrap().path();
        chown(&path, Some(OWNER), Some(OWNER)).unwrap();
        fs::set_permissions(path, fs::Permissions::from_mode(0o644)).unwrap();
    }
    for open_to_all in [&root, &backups.path("")] {
        fs::set_permissions(open_to_all, fs::Permissions::from_mode(0o777)).unwrap();
    }
    let files = || -> BTreeMap<_, _> {
        let entries = fs::read_dir(&root).unwrap().map(Result::unwrap);
        entries
            .map(|entry| (entry.path(), fs::read(entry.path()).unwrap()))
            .collect()
    };
    let before = files();
    let backup = format!("backup {}", backups.path("copy.db").display());
    for line in [
        "member --guild 10 --user 20",
        "leaderboard --guild 10",
        "rules --guild 10",
        "stats",
        "check",
        "audit",
        "migrate --status",
        "migrate --dry-run",
        &backup,
    ] {
        let mut command = folder.command(line.split_whitespace());
        command.uid(MONITORING).gid(MONITORING);
        CommandOutput::of(command).text();
        assert!(files() == before, "`{line}` left or changed something");
    }
}
