//! Files that are removed, renamed, replaced or spoiled under processes that write to them.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use fastrand::Rng;
use roas_db::{Config, Database};

use super::ledger::Ledger;
use super::load::{Acknowledge, Load, Told};
use super::part::{Part, command};
use crate::{Broken, Fault, Findings, Round};

/// Processes that write to the file.
const PROCESSES: usize = 2;

/// Events that are meant for one process: more than it comes to.
const IDS: u64 = 1_000_000;

/// How soon both have to acknowledge again, on a machine with other work.
const RECOVERS_WITHIN: Duration = Duration::from_secs(20);

/// What is said to be acknowledged after a file was spoiled may be an answer from before on its way.
const ON_ITS_WAY: Duration = Duration::from_millis(50);

/// A vandal of one kind in each round; consecutive seeds go through all of them.
#[derive(Debug)]
pub struct LostFiles {
    /// The program that is started: this one.
    pub executable: PathBuf,
    /// When the loads say that an event is acknowledged.
    pub acknowledge: Acknowledge,
}

/// What a vandal does, by the name under which it is counted.
type Vandal = (&'static str, fn(&Path) -> std::io::Result<()>, Keeps);

/// What has to be in the file after the processes are killed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Keeps {
    /// All that was acknowledged.
    All,
    /// What was acknowledged after the vandal: it has destroyed what was there.
    Later,
}

const VANDALS: [Vandal; 13] = [
    (
        "WAL removed",
        |db| fs::remove_file(beside(db, "-wal")),
        Keeps::All,
    ),
    (
        "WAL renamed",
        |db| fs::rename(beside(db, "-wal"), beside(db, "-wal.tmp")),
        Keeps::All,
    ),
    (
        "WAL replaced by an old one",
        |db| fs::rename(beside(db, "-old"), beside(db, "-wal")),
        Keeps::All,
    ),
    (
        "WAL replaced by an empty one",
        |db| {
            fs::write(beside(db, "-new"), "")?;
            fs::rename(beside(db, "-new"), beside(db, "-wal"))
        },
        Keeps::All,
    ),
    (
        "WAL truncated",
        |db| truncate(&beside(db, "-wal")),
        Keeps::Later,
    ),
    (
        "WAL overwritten",
        |db| fs::write(beside(db, "-wal"), [0xa5; 5_000]),
        Keeps::Later,
    ),
    (
        "shared memory removed",
        |db| fs::remove_file(beside(db, "-shm")),
        Keeps::All,
    ),
    (
        "shared memory renamed",
        |db| fs::rename(beside(db, "-shm"), beside(db, "-shm.tmp")),
        Keeps::All,
    ),
    (
        "shared memory replaced",
        |db| {
            fs::write(beside(db, "-new"), [0; 32_768])?;
            fs::rename(beside(db, "-new"), beside(db, "-shm"))
        },
        Keeps::All,
    ),
    // The system ends who looks at it then.
    (
        "shared memory truncated",
        |db| truncate(&beside(db, "-shm")),
        Keeps::All,
    ),
    (
        "both removed",
        |db| {
            fs::remove_file(beside(db, "-wal"))?;
            fs::remove_file(beside(db, "-shm"))
        },
        Keeps::All,
    ),
    (
        "hard link for a while",
        |db| {
            fs::hard_link(db, beside(db, "-link"))?;
            std::thread::sleep(ON_ITS_WAY);
            fs::remove_file(beside(db, "-link"))
        },
        Keeps::All,
    ),
    (
        "folder read-only for a while",
        |db| {
            let folder = db.parent().unwrap_or(db);
            fs::set_permissions(folder, fs::Permissions::from_mode(0o555))?;
            std::thread::sleep(ON_ITS_WAY);
            fs::set_permissions(folder, fs::Permissions::from_mode(0o755))
        },
        Keeps::All,
    ),
];

impl LostFiles {
    /// How many rounds it takes to meet every vandal.
    pub const KINDS: u64 = VANDALS.len() as u64;
}

impl Fault for LostFiles {
    fn name(&self) -> &'static str {
        "lost-files"
    }

    fn about(&self) -> &'static str {
        "WAL or shared memory removed, renamed, replaced, truncated or overwritten, a hard link, a read-only \
         folder, under two loads that are killed later: nothing acknowledged is lost, but for what was destroyed"
    }

    fn round(&self, round: &Round<'_>) -> Result<Findings, Broken> {
        let place = usize::try_from(round.seed % Self::KINDS).map_err(Broken::new)?;
        let (name, spoil, keeps) = VANDALS[place];
        let mut findings = Findings::default();
        self.beset(round, spoil, keeps, &mut findings)
            .map_err(|Broken(what)| Broken::new(format_args!("{name}: {what}")))?;
        findings.states += 1;
        findings.count(name, 1);
        Ok(findings)
    }
}

impl LostFiles {
    fn beset(
        &self,
        round: &Round<'_>,
        spoil: fn(&Path) -> std::io::Result<()>,
        keeps: Keeps,
        findings: &mut Findings,
    ) -> Result<(), Broken> {
        let mut rng = Rng::with_seed(round.seed);
        let database = round.folder.join("roas.db");
        let mut ledger = Ledger::default();
        let mut loads = Vec::new();
        for number in 0..PROCESSES as u64 {
            let ids = number * IDS + 1..(number + 1) * IDS + 1;
            ledger.ask(ids.clone());
            loads.push(self.start(round.folder, number, ids, rng.bool())?);
        }
        let bytes = rng.u64(1..5_000);
        all_come_to(&mut loads, &[bytes; PROCESSES])?;
        // By another process, though in this one nobody has the database open.
        copy(&beside(&database, "-wal"), &beside(&database, "-old"))?;
        std::thread::sleep(Duration::from_millis(rng.u64(0..30)));
        spoil(&database).map_err(Broken::new)?;
        if keeps == Keeps::Later {
            std::thread::sleep(ON_ITS_WAY);
        }
        let spoiled: Vec<_> = loads.iter().map(Running::bytes).collect();
        let later: Vec<_> = spoiled.iter().map(|from| from + bytes).collect();
        all_come_to(&mut loads, &later)?;
        let before_the_kill = Instant::now();
        for load in &mut loads {
            // Fails where it has ended already: a process that looks at memory that was cut off does.
            let _ = load.child.kill();
            load.child.wait().map_err(Broken::new)?;
        }
        for (load, from) in loads.iter().zip(spoiled) {
            let told = Told::read_from(&load.acks, if keeps == Keeps::Later { from } else { 0 });
            told.acknowledged
                .iter()
                .for_each(|id| ledger.acknowledge(*id));
        }
        findings.count("acknowledged", ledger.acknowledged());
        crate::runtime().block_on(async {
            let failed = |error: &dyn std::error::Error| {
                Broken::new(format_args!("the next start failed: {error}"))
            };
            let next = Database::open(Config::new(&database))
                .await
                .map_err(|error| failed(&error))?;
            next.close().await.map_err(|error| failed(&error))
        })?;
        let stored = ledger.check(&database)?;
        findings.count("stored", stored);
        findings.count(
            "milliseconds to the next start",
            u64::try_from(before_the_kill.elapsed().as_millis()).unwrap_or(0),
        );
        Ok(())
    }

    fn start(
        &self,
        folder: &Path,
        number: u64,
        ids: std::ops::Range<u64>,
        durable: bool,
    ) -> Result<Running, Broken> {
        let acks = folder.join(format!("acks-{number}"));
        let part = Part::Load(Load {
            database: folder.join("roas.db"),
            acks: acks.clone(),
            ids,
            durable,
            shared_memory: true,
            acknowledge: self.acknowledge,
            cut: None,
            tries_again: true,
        });
        let said = fs::File::create(acks.with_extension("stderr")).map_err(Broken::new)?;
        let mut command: Command = command(&self.executable, &part).map_err(Broken::new)?;
        let child = command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(said)
            .spawn()
            .map_err(Broken::new)?;
        Ok(Running { child, acks })
    }
}

/// A load. It does not outlive this.
#[derive(Debug)]
struct Running {
    child: Child,
    acks: PathBuf,
}

impl Running {
    fn bytes(&self) -> u64 {
        fs::metadata(&self.acks).map_or(0, |acks| acks.len())
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Waits until each that is alive has said this much.
fn all_come_to(loads: &mut [Running], bytes: &[u64]) -> Result<(), Broken> {
    let since = Instant::now();
    for (load, &bytes) in loads.iter_mut().zip(bytes) {
        while load.bytes() < bytes && load.child.try_wait().map_err(Broken::new)?.is_none() {
            if since.elapsed() > RECOVERS_WITHIN {
                return Err(Broken::new(format_args!(
                    "a process does not acknowledge anything any more: {}",
                    fs::read_to_string(load.acks.with_extension("stderr")).unwrap_or_default()
                )));
            }
            std::thread::sleep(Duration::from_millis(1));
        }
    }
    Ok(())
}

fn beside(database: &Path, suffix: &str) -> PathBuf {
    let mut name = database.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}

fn truncate(path: &Path) -> std::io::Result<()> {
    fs::OpenOptions::new().write(true).open(path)?.set_len(0)
}

fn copy(from: &Path, to: &Path) -> Result<(), Broken> {
    let copied = Command::new("cp").args([from, to]).status();
    if copied.map_err(Broken::new)?.success() {
        Ok(())
    } else {
        Err(Broken::new("the WAL cannot be copied"))
    }
}
