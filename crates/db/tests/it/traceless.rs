//! Reading leaves nothing behind, whoever reads, and reads what nobody may write.
//!
//! Other users are processes of this test program that give up root's rights. Where the tests do not
//! run as root, they read as the user who runs them alone, and say so.
#![expect(clippy::print_stderr, reason = "a test that is cut short says so")]

use std::collections::BTreeMap;
use std::env;
use std::fs;
use std::io::Write as _;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use roas_db::migration::{audit, check, migration_status, since_takeover};
use roas_db::{Access, Config, Database, OpenError, RetryPolicy, Watcher};
use roas_domain::ActivityRepository;
use roas_domain::testing::fixtures::{MIDNIGHT, member, message};
use tempfile::{TempDir, tempdir};

use crate::support::{on_runtime, quick, raw};

/// The user that owns the databases, as a bot's would.
const OWNER: u32 = 4_001;
const OTHER: u32 = 4_002;

/// What lies in a folder.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// Closed by the last who had it open.
    Closed,
    /// Without WAL mode, as a backup is.
    WithoutWal,
    /// The owner's bot is running.
    Open,
    /// The process that had it open was killed.
    Killed,
    /// As it was copied by hand: database and WAL.
    WithoutSharedMemory,
    /// The WAL was emptied by a checkpoint, and the shared memory removed.
    EmptyWal,
    /// Killed in the midst of a transaction without WAL.
    HotJournal,
}

const STATES: [State; 7] = [
    State::Closed,
    State::WithoutWal,
    State::Open,
    State::Killed,
    State::WithoutSharedMemory,
    State::EmptyWal,
    State::HotJournal,
];

impl State {
    /// The messages that are recorded in it.
    const fn messages(self) -> u64 {
        match self {
            Self::Open | Self::Killed | Self::WithoutSharedMemory => 4,
            _ => 3,
        }
    }
}

/// A database of the owner's in a folder of its own.
struct Case {
    state: State,
    path: PathBuf,
    database: Option<Database>,
    folder: TempDir,
}

impl Case {
    fn new(state: State) -> Self {
        let folder = tempdir().unwrap();
        let path = folder.path().join("roas.db");
        let record = |database: &Database, count| {
            for _ in 0..count {
                let event = message(member(1, 2), MIDNIGHT);
                on_runtime(database.repository().record(event)).unwrap();
            }
        };
        let open = || on_runtime(Database::open(quick(folder.path()))).unwrap();
        let database = open();
        record(&database, 3);
        on_runtime(database.close()).unwrap();
        let copied = |files: &[&str]| {
            for suffix in files {
                // Not by this process: it would lose its locks on them.
                let copy = format!("{}.copy{suffix}", path.display());
                let from = format!("{}{suffix}", path.display());
                assert!(
                    Command::new("cp")
                        .args([from, copy])
                        .status()
                        .unwrap()
                        .success()
                );
            }
        };
        let mut database = None;
        let mut names = vec!["roas.db".to_owned()];
        match state {
            State::Closed => {}
            State::WithoutWal => raw(&path, "PRAGMA journal_mode = DELETE"),
            State::EmptyWal => {
                fs::write(path.with_file_name("roas.db-wal"), "").unwrap();
                names.push("roas.db-wal".to_owned());
            }
            State::Open | State::Killed | State::WithoutSharedMemory => {
                let open = open();
                record(&open, 1);
                names.push("roas.db-wal".to_owned());
                if state != State::WithoutSharedMemory {
                    names.push("roas.db-shm".to_owned());
                }
                if state == State::Open {
                    database = Some(open);
                } else {
                    copied(&["", "-wal", "-shm"]);
                    on_runtime(open.close()).unwrap();
                }
            }
            State::HotJournal => {
                raw(&path, "PRAGMA journal_mode = DELETE");
                let writing = spilling(&path);
                copied(&["", "-journal"]);
                drop(writing);
                names.push("roas.db-journal".to_owned());
            }
        }
        for name in &names {
            let copy = path.with_file_name(name.replace("roas.db", "roas.db.copy"));
            if copy.exists() {
                fs::rename(copy, path.with_file_name(name)).unwrap();
            }
        }
        for entry in fs::read_dir(folder.path()).unwrap() {
            let entry = entry.unwrap();
            let is_needed = names.iter().any(|name| **name == *entry.file_name());
            if !is_needed && database.is_none() {
                fs::remove_file(entry.path()).unwrap();
            }
        }
        Self {
            state,
            path,
            database,
            folder,
        }
    }

    /// Gives all that lies there to its owner, with these modes.
    fn allow(&self, file_mode: u32, folder_mode: u32) {
        let set = |path: &Path, mode| {
            fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
            let _ = chown(path, Some(OWNER), Some(OWNER));
        };
        for entry in fs::read_dir(self.folder.path()).unwrap() {
            set(&entry.unwrap().path(), file_mode);
        }
        set(self.folder.path(), folder_mode);
    }

    /// What lies there: owner, group, mode and, but for the shared memory, the bytes.
    fn files(&self) -> Files {
        let folder = self.path.parent().unwrap();
        let entries = fs::read_dir(folder).unwrap().map(Result::unwrap);
        entries
            .map(|entry| {
                let file = entry.metadata().unwrap();
                let is_memory = entry.file_name() == "roas.db-shm";
                let bytes = if is_memory || self.database.is_some() {
                    Vec::new()
                } else {
                    #[expect(clippy::disallowed_methods, reason = "nothing has it open")]
                    fs::read(entry.path()).unwrap()
                };
                let all = (file.uid(), file.gid(), file.mode(), bytes);
                (entry.path(), all)
            })
            .collect()
    }
}

/// Owner, group, mode and bytes by path.
type Files = BTreeMap<PathBuf, (u32, u32, u32, Vec<u8>)>;

/// A transaction that has begun to change the file, with its journal on the disk.
#[expect(
    clippy::disallowed_methods,
    reason = "another program writes past the adapter"
)]
fn spilling(path: &Path) -> rusqlite::Connection {
    let connection = rusqlite::Connection::open(path).unwrap();
    connection
        .execute_batch(
            "PRAGMA cache_size = 1; PRAGMA cache_spill = 1; BEGIN IMMEDIATE;
             UPDATE activity_meter SET messages = 9;
             WITH RECURSIVE n(i) AS (SELECT 10 UNION ALL SELECT i + 1 FROM n WHERE i < 3000)
             INSERT INTO activity_event (event_id, recorded_at) SELECT i, 1700000000 FROM n;",
        )
        .unwrap();
    connection
}

/// A user, with one group of that number, and what the files are created with.
#[derive(Debug, Clone, Copy)]
struct User {
    uid: u32,
    gid: u32,
    umask: &'static str,
}

const READ_AS: &str = "traceless::reads_for_another_user";
const PATHS: &str = "ROAS_TEST_PATHS";
const RESTORES: &str = "ROAS_TEST_RESTORES";

/// Reads all cases as `user`, within `wrapper`, where they are restored from, too. One line for each: the messages, or the error.
fn read_as(user: User, cases: &[Case], wrapper: Option<&str>) -> Vec<String> {
    let scratch = tempdir().unwrap();
    fs::set_permissions(scratch.path(), fs::Permissions::from_mode(0o777)).unwrap();
    let paths: Vec<_> = cases
        .iter()
        .map(|case| case.path.to_str().unwrap())
        .collect();
    let script = format!(
        "umask {}; exec {} \"$@\"",
        user.umask,
        wrapper.unwrap_or("")
    );
    let mut command = Command::new("sh");
    command
        .args(["-c", &script, "sh"])
        .arg(env::current_exe().unwrap())
        .args([READ_AS, "--exact", "--ignored", "--nocapture"])
        .env(PATHS, paths.join("\n"))
        .env("TMPDIR", scratch.path())
        .current_dir("/")
        .stderr(Stdio::inherit());
    if wrapper.is_some() {
        command.env(RESTORES, "1");
    }
    if is_root() {
        command.uid(user.uid).gid(user.gid);
    }
    let output = command.output().unwrap();
    let output = String::from_utf8(output.stdout).unwrap();
    let lines: Vec<_> = output
        .lines()
        .filter_map(|line| line.strip_prefix("READ "))
        .map(str::to_owned)
        .collect();
    assert_eq!(lines.len(), cases.len(), "{output}");
    lines
}

#[test]
#[ignore = "the process of the tests that read as another user"]
fn reads_for_another_user() {
    let scratch = tempdir().unwrap();
    for path in env::var(PATHS).unwrap().lines() {
        let said = match read(Path::new(path), scratch.path()) {
            Ok(messages) => messages.to_string(),
            Err(error) => format!("{error:?}").replace('\n', " "),
        };
        writeln!(std::io::stdout(), "\nREAD {said}").unwrap();
    }
}

/// Reads by all functions that only read; answers the messages, which are the same by all.
fn read(path: &Path, scratch: &Path) -> Result<u64, OpenError> {
    let config = Config::new(path)
        .access(Access::ReadOnly)
        .retry(RetryPolicy::aggressive().with_deadline(Duration::from_secs(5)));
    migration_status(path)?;
    assert_eq!(check(&config)?.findings, [""; 0]);
    assert!(!audit(&config)?.has_findings());
    since_takeover(&config)?;
    let copy = scratch.join("copy.db");
    roas_db::backup(&config, &copy, true, &Watcher::default())?;
    let messages = |config: Config| {
        on_runtime(async {
            let database = Database::open(config).await?;
            let repository = database.repository();
            let (one, two, three) = tokio::join!(
                repository.counts(),
                repository.find_member(member(1, 2)),
                repository.counts()
            );
            let messages = two.unwrap().unwrap().messages;
            assert_eq!(one.unwrap().messages, messages);
            assert_eq!(three.unwrap().messages, messages);
            database.close().await.unwrap();
            Ok(messages)
        })
    };
    let read = messages(config)?;
    assert_eq!(messages(Config::new(copy).access(Access::ReadOnly))?, read);
    if env::var(RESTORES).is_ok() {
        let restored = Config::new(scratch.join("restored.db"));
        roas_db::restore(&restored, path, true, &Watcher::default())?;
        assert_eq!(messages(restored)?, read);
    }
    Ok(read)
}

fn is_root() -> bool {
    fs::metadata("/proc/self").unwrap().uid() == 0
}

fn needs_root(what: &str) -> bool {
    if !is_root() {
        eprintln!("SKIPPED {what}: it takes root to become another user");
    }
    is_root()
}

#[test]
fn nobody_leaves_anything_by_reading() {
    let member_of_the_group = User {
        uid: OTHER,
        gid: OWNER,
        umask: "077",
    };
    let other = User {
        gid: OTHER,
        umask: "000",
        ..member_of_the_group
    };
    let owner = User {
        uid: OWNER,
        gid: OWNER,
        umask: "027",
    };
    let owner_in_another_group = User {
        gid: OTHER,
        ..owner
    };
    let root = User {
        uid: 0,
        gid: 0,
        umask: "077",
    };
    // Who reads, the modes of the files and of the folder, and whether a journal can be rolled back.
    let readers = [
        (root, 0o600, 0o700, true),
        (owner, 0o600, 0o700, true),
        (owner, 0o600, 0o555, false),
        (owner, 0o400, 0o755, false),
        (owner_in_another_group, 0o660, 0o770, true),
        (member_of_the_group, 0o660, 0o770, true),
        (member_of_the_group, 0o660, 0o750, false),
        (member_of_the_group, 0o640, 0o770, false),
        (other, 0o666, 0o777, true),
        (other, 0o644, 0o777, false),
        (other, 0o444, 0o555, false),
    ];
    if !needs_root("readers of other users") {
        return;
    }
    let mut cases: Vec<_> = STATES.map(Case::new).into();
    for (user, file_mode, folder_mode, may_roll_back) in readers {
        let mut before = Vec::new();
        for case in &cases {
            case.allow(file_mode, folder_mode);
            before.push(case.files());
        }
        let read = read_as(user, &cases, None);
        for ((case, before), read) in cases.iter().zip(before).zip(read) {
            let state = case.state;
            let name = format!("{user:?} {file_mode:o} {folder_mode:o} {state:?}");
            let after = case.files();
            let is_rolled_back = state == State::HotJournal && may_roll_back;
            if state == State::HotJournal && !may_roll_back {
                assert!(read.starts_with("NeedsRecovery"), "{name}: {read}");
            } else {
                assert_eq!(read, state.messages().to_string(), "{name}");
            }
            let names = |files: &Files| files.keys().cloned().collect::<Vec<_>>();
            if is_rolled_back {
                assert_eq!(names(&after), std::slice::from_ref(&case.path), "{name}");
            } else {
                assert_eq!(names(&after), names(&before), "{name}");
                // Who may write to the file, and not remove the journal, rolls back again and again.
                let is_same = state == State::HotJournal || after == before;
                assert!(is_same, "{name}: a file was changed");
            }
        }
        if may_roll_back {
            cases.retain(|case| case.state != State::HotJournal);
            cases.push(Case::new(State::HotJournal));
        }
    }
    // The owner, whose files they are still, goes on.
    for case in &mut cases {
        if let Some(database) = case.database.take() {
            let event = message(member(1, 2), MIDNIGHT);
            on_runtime(database.repository().record(event)).unwrap();
            on_runtime(database.close()).unwrap();
        }
    }
}

#[test]
fn a_database_on_a_read_only_medium_is_read_backed_up_and_restored_from() {
    if !needs_root("a read-only medium") {
        return;
    }
    let can_mount = Command::new("unshare").args(["-m", "true"]).status();
    if !can_mount.is_ok_and(|status| status.success()) {
        eprintln!("SKIPPED a read-only medium: mounting is not allowed here");
        return;
    }
    let root = User {
        uid: 0,
        gid: 0,
        umask: "022",
    };
    let states = STATES
        .into_iter()
        .filter(|state| *state != State::Open)
        .map(Case::new);
    let cases: Vec<_> = states.collect();
    let mounts = cases
        .iter()
        .map(|case| {
            let folder = case.path.parent().unwrap().display();
            format!("mount --bind {folder} {folder} && mount -o remount,ro,bind {folder} && ")
        })
        .collect::<Vec<_>>()
        .concat();
    let wrapper = format!(
        "{mounts} touch {} 2>&1 | grep -q Read-only && ",
        cases[0].path.display()
    );
    // The mounts are of a name space of their own, which ends with the process.
    let wrapper = format!("unshare -m sh -c '{wrapper} exec \"$@\"' sh");
    for (case, read) in cases.iter().zip(read_as(root, &cases, Some(&wrapper))) {
        let state = case.state;
        if state == State::HotJournal {
            assert!(read.starts_with("NeedsRecovery"), "{state:?}: {read}");
        } else {
            assert_eq!(read, state.messages().to_string(), "{state:?}");
        }
    }
}
