//! Other programs that do to the file what they should not.

use std::fs;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use fastrand::Rng;
use nix::sys::signal::Signal;
use roas_db::{Config, Database, Durability, JournalMode, RetryPolicy, SqliteActivityRepository};
use roas_domain::{ActivityRepository, EventOutcome, RepositoryError, RepositoryErrorKind};
use tokio::runtime::Runtime;
use tokio::task::JoinHandle;

use super::ledger::{Ledger, event};
use super::part::{Actor, Part, kind};
use crate::{Broken, Fault, Findings, Round};

/// How much later than its deadline a call may be answered.
pub const RESOLVE_WITHIN: Duration = Duration::from_millis(250);

/// How long calls wait for the lock.
const DEADLINE: Duration = Duration::from_millis(300);

/// Calls that are under way at once.
const CALLERS: u64 = 16;

/// A neighbour of one kind in each round; consecutive seeds go through all of them.
#[derive(Debug)]
pub struct Neighbours {
    /// The program that is started: `roas-bench` itself.
    pub executable: PathBuf,
    /// How much later than its deadline a call may be answered, where that is to be looked at.
    pub resolve_within: Option<Duration>,
}

/// What a neighbour does, by the name under which it is counted.
type Scenario = (&'static str, fn(&mut Scene<'_>) -> Result<(), Broken>);

/// All there are.
const SCENARIOS: [Scenario; 11] = [
    ("lock held shortly", lock_held_shortly),
    ("lock held too long", lock_held_too_long),
    ("holder stopped", holder_stopped),
    ("snapshot kept", snapshot_kept),
    ("VACUUM", vacuum),
    ("file deleted", file_deleted),
    ("file replaced", file_replaced),
    ("journal mode changed", journal_mode_changed),
    (
        "journal mode changed while closed",
        journal_mode_changed_while_closed,
    ),
    (
        "file opened and closed by ourselves",
        file_opened_and_closed,
    ),
    ("checkpoints", checkpoints),
];

impl Neighbours {
    /// How many rounds it takes to meet every neighbour.
    pub const KINDS: u64 = SCENARIOS.len() as u64;
}

impl Fault for Neighbours {
    fn name(&self) -> &'static str {
        "neighbours"
    }

    fn about(&self) -> &'static str {
        "another program holds, stops, vacuums, deletes or replaces: waits, or a typed error in time; no silent loss"
    }

    fn round(&self, round: &Round<'_>) -> Result<Findings, Broken> {
        let place = usize::try_from(round.seed % Self::KINDS).map_err(Broken::new)?;
        let (name, scenario) = SCENARIOS[place];
        let mut scene = Scene::open(self, round)?;
        scenario(&mut scene)
            .and_then(|()| scene.end())
            .map_err(|Broken(what)| Broken::new(format_args!("{name}: {what}")))?;
        scene.findings.states += 1;
        scene.findings.count(name, 1);
        Ok(scene.findings)
    }
}

/// A database in use, and what was asked of it.
struct Scene<'a> {
    fault: &'a Neighbours,
    rng: Rng,
    path: PathBuf,
    runtime: Runtime,
    database: Option<Database>,
    repository: SqliteActivityRepository,
    ledger: Ledger,
    findings: Findings,
    next_id: u64,
    /// Whether the file is where it was, so that what it has can be looked at.
    in_place: bool,
}

/// A call's event and answer.
type Answered = (u64, Result<EventOutcome, RepositoryError>);

impl<'a> Scene<'a> {
    fn open(fault: &'a Neighbours, round: &Round<'_>) -> Result<Self, Broken> {
        let path = round.folder.join("roas.db");
        let runtime = crate::runtime();
        let database = runtime
            .block_on(Database::open(config(&path)))
            .map_err(Broken::new)?;
        let repository = database.repository();
        let mut scene = Self {
            fault,
            rng: Rng::with_seed(round.seed),
            path,
            runtime,
            database: Some(database),
            repository,
            ledger: Ledger::default(),
            findings: Findings::default(),
            next_id: 1,
            in_place: true,
        };
        scene.all_are_acknowledged()?;
        Ok(scene)
    }

    /// Another program with the file open.
    fn neighbour(&self) -> Result<Actor, Broken> {
        let part = Part::Neighbour {
            database: self.path.clone(),
        };
        Actor::start(&self.fault.executable, &part)
    }

    fn pause(&mut self, up_to: Duration) {
        std::thread::sleep(up_to.mul_f64(self.rng.f64()));
    }

    /// Begins the calls of new events, all at once.
    fn begin(&mut self) -> Calls {
        let ids = self.next_id..self.next_id + CALLERS;
        self.next_id = ids.end;
        self.ledger.ask(ids.clone());
        self.begin_with(ids)
    }

    fn begin_with(&self, ids: impl IntoIterator<Item = u64>) -> Calls {
        let call = |id| {
            let repository = self.repository.clone();
            self.runtime.spawn(async move {
                let called = Instant::now();
                let answer = repository.record(event(id)).await;
                ((id, answer), called.elapsed())
            })
        };
        Calls(ids.into_iter().map(call).collect())
    }

    /// Waits for the answers, and takes them down.
    fn finish(&mut self, calls: Calls) -> Result<Vec<Answered>, Broken> {
        let mut answers = Vec::new();
        for call in calls.0 {
            let ((id, answer), took) = self.runtime.block_on(call).map_err(Broken::new)?;
            self.findings.count(kind(&answer), 1);
            self.ledger.answer(id, &answer)?;
            if let Err(error) = &answer
                && let RepositoryErrorKind::Busy { waited, .. } = error.kind()
                && (waited < DEADLINE || waited > took)
            {
                return Err(Broken::new(format_args!(
                    "a call of {took:?} was told that it waited {waited:?} of {DEADLINE:?}"
                )));
            }
            if let Some(within) = self.fault.resolve_within
                && took > DEADLINE + within
            {
                return Err(Broken::new(format_args!(
                    "a call with a deadline of {DEADLINE:?} was answered after {took:?}: {answer:?}"
                )));
            }
            answers.push((id, answer));
        }
        Ok(answers)
    }

    fn all_are_acknowledged(&mut self) -> Result<(), Broken> {
        let calls = self.begin();
        self.finish_acknowledged(calls)
    }

    fn finish_acknowledged(&mut self, calls: Calls) -> Result<(), Broken> {
        for (id, answer) in self.finish(calls)? {
            answer.map_err(|error| Broken::new(format_args!("event {id}: {error}")))?;
        }
        Ok(())
    }

    /// Each call is acknowledged, or told that the lock was not to be had.
    fn finish_or_busy(&mut self, calls: Calls) -> Result<(), Broken> {
        for (id, answer) in self.finish(calls)? {
            match answer {
                Ok(_) => {}
                Err(error) if error.is_retryable() => {}
                Err(error) => return Err(Broken::new(format_args!("event {id}: {error}"))),
            }
        }
        Ok(())
    }

    /// Every call is told that the lock was not to be had, and who has it.
    fn finish_busy(&mut self, calls: Calls, named: &str) -> Result<Vec<u64>, Broken> {
        let mut ids = Vec::new();
        for (id, answer) in self.finish(calls)? {
            match answer {
                Err(error) if matches!(error.kind(), RepositoryErrorKind::Busy { .. }) => {
                    if !error.to_string().contains(named) {
                        return Err(Broken::new(format_args!("`{named}` is not in `{error}`")));
                    }
                    ids.push(id);
                }
                other => {
                    return Err(Broken::new(format_args!(
                        "event {id}, with the lock held: {other:?}"
                    )));
                }
            }
        }
        Ok(ids)
    }

    fn reads_go_on(&self) -> Result<(), Broken> {
        self.runtime
            .block_on(self.repository.counts())
            .map(drop)
            .map_err(|error| Broken::new(format_args!("a read: {error}")))
    }

    fn close(&mut self) -> Result<(), Broken> {
        match self.database.take() {
            Some(database) => self
                .runtime
                .block_on(database.close())
                .map_err(|error| Broken::new(format_args!("closing: {error}"))),
            None => Ok(()),
        }
    }

    fn reopen(&mut self) -> Result<(), Broken> {
        let database = self
            .runtime
            .block_on(Database::open(config(&self.path)))
            .map_err(|error| Broken::new(format_args!("opening again: {error}")))?;
        self.repository = database.repository();
        self.database = Some(database);
        Ok(())
    }

    /// Closes, and holds the file against what was answered.
    fn end(&mut self) -> Result<(), Broken> {
        self.close()?;
        if self.in_place {
            self.ledger.check(&self.path)?;
        }
        Ok(())
    }
}

/// Calls that are under way, and how long each took.
struct Calls(Vec<JoinHandle<(Answered, Duration)>>);

fn config(path: &std::path::Path) -> Config {
    Config::new(path)
        .durability(Durability::Normal)
        .retry(RetryPolicy::aggressive().with_deadline(DEADLINE))
        .readers(2)
}

fn lock_held_shortly(scene: &mut Scene<'_>) -> Result<(), Broken> {
    let mut holder = scene.neighbour()?;
    holder.run("BEGIN IMMEDIATE")?;
    let calls = scene.begin();
    scene.pause(DEADLINE / 2);
    scene.reads_go_on()?;
    holder.run("ROLLBACK")?;
    scene.finish_acknowledged(calls)
}

fn lock_held_too_long(scene: &mut Scene<'_>) -> Result<(), Broken> {
    let mut holder = scene.neighbour()?;
    holder.run("BEGIN IMMEDIATE")?;
    let calls = scene.begin();
    scene.pause(DEADLINE / 2);
    let later = scene.begin();
    scene.reads_go_on()?;
    let named = format!("process {} (", holder.id());
    let mut refused = scene.finish_busy(calls, &named)?;
    refused.extend(scene.finish_busy(later, &named)?);
    holder.run("ROLLBACK")?;
    // The same events again: not one of them was applied.
    let again = scene.begin_with(refused);
    scene.finish_acknowledged(again)
}

fn holder_stopped(scene: &mut Scene<'_>) -> Result<(), Broken> {
    let mut holder = scene.neighbour()?;
    holder.run("BEGIN IMMEDIATE; UPDATE activity_meter SET score = 50")?;
    holder.signal(Signal::SIGSTOP)?;
    let calls = scene.begin();
    scene.reads_go_on()?;
    let refused = scene.finish_busy(calls, "which is stopped")?;
    if scene.rng.bool() {
        holder.signal(Signal::SIGCONT)?;
        holder.run("ROLLBACK")?;
    }
    // Killed, it has let go, and what it changed is not there.
    drop(holder);
    let again = scene.begin_with(refused);
    scene.finish_acknowledged(again)
}

fn snapshot_kept(scene: &mut Scene<'_>) -> Result<(), Broken> {
    let mut reader = scene.neighbour()?;
    reader.run("BEGIN; SELECT count(*) FROM activity_meter")?;
    for _ in 0..scene.rng.u32(1..20) {
        scene.all_are_acknowledged()?;
    }
    let copied = |scene: &mut Scene<'_>| {
        let Some(database) = &scene.database else {
            return Ok(true);
        };
        let report = scene
            .runtime
            .block_on(database.maintain())
            .map_err(|error| Broken::new(format_args!("maintenance: {error}")))?;
        Ok(report.wal_frames == report.checkpointed_frames)
    };
    if copied(scene)? {
        return Err(Broken::new("what a reader still needs was overwritten"));
    }
    reader.run("COMMIT")?;
    if !copied(scene)? {
        return Err(Broken::new("the WAL is not copied with the reader gone"));
    }
    scene.all_are_acknowledged()
}

fn vacuum(scene: &mut Scene<'_>) -> Result<(), Broken> {
    let mut neighbour = scene.neighbour()?;
    for _ in 0..5 {
        let calls = scene.begin();
        // It may be told that the file is busy; what counts is what becomes of ours.
        neighbour.ask("VACUUM")?;
        scene.finish_or_busy(calls)?;
    }
    Ok(())
}

fn checkpoints(scene: &mut Scene<'_>) -> Result<(), Broken> {
    let mut neighbour = scene.neighbour()?;
    for mode in ["PASSIVE", "FULL", "RESTART", "TRUNCATE"] {
        let calls = scene.begin();
        neighbour.ask(&format!("PRAGMA wal_checkpoint({mode})"))?;
        scene.finish_or_busy(calls)?;
    }
    Ok(())
}

fn file_deleted(scene: &mut Scene<'_>) -> Result<(), Broken> {
    let calls = scene.begin();
    scene.pause(Duration::from_millis(2));
    fs::remove_file(&scene.path).map_err(Broken::new)?;
    scene.finish(calls)?;
    scene.in_place = false;
    nothing_is_acknowledged(scene)?;
    if scene.path.exists() {
        return Err(Broken::new(
            "an empty file took the place of the deleted one",
        ));
    }
    scene.close()?;
    if scene.path.exists() {
        return Err(Broken::new(
            "closing put a file in the place of the deleted one",
        ));
    }
    Ok(())
}

/// After the file has gone: no call that begins now is acknowledged.
fn nothing_is_acknowledged(scene: &mut Scene<'_>) -> Result<(), Broken> {
    for _ in 0..3 {
        let calls = scene.begin();
        if let Some((id, _)) = scene
            .finish(calls)?
            .into_iter()
            .find(|(_, answer)| answer.is_ok())
        {
            return Err(Broken::new(format_args!(
                "event {id} was acknowledged with the file gone"
            )));
        }
    }
    Ok(())
}

/// An operator who puts a backup into the file's place while the bot runs, and clears the old WAL
/// away, as has to be done: SQLite would apply it to the new file.
fn file_replaced(scene: &mut Scene<'_>) -> Result<(), Broken> {
    let other = scene.path.with_extension("backup");
    let mut neighbour = scene.neighbour()?;
    neighbour.run(&format!("VACUUM INTO '{}'", other.display()))?;
    neighbour.leave()?;
    let kept = std::mem::take(&mut scene.ledger);
    let calls = scene.begin();
    scene.pause(Duration::from_millis(2));
    fs::rename(&other, &scene.path).map_err(Broken::new)?;
    for suffix in ["-wal", "-shm"] {
        let mut stale = scene.path.clone().into_os_string();
        stale.push(suffix);
        fs::remove_file(stale).map_err(Broken::new)?;
    }
    scene.finish(calls)?;
    nothing_is_acknowledged(scene)?;
    scene.close()?;
    // What the backup has is untouched by what the dead file's connections did.
    kept.check(&scene.path)?;
    scene.ledger = kept;
    scene.reopen()?;
    scene.all_are_acknowledged()
}

fn journal_mode_changed(scene: &mut Scene<'_>) -> Result<(), Broken> {
    let mut neighbour = scene.neighbour()?;
    let calls = scene.begin();
    // With the file in use it cannot be had, and it is told so.
    for mode in ["DELETE", "TRUNCATE", "OFF"] {
        let answer = neighbour.ask(&format!(
            "PRAGMA busy_timeout = 20; PRAGMA journal_mode = {mode}"
        ))?;
        if answer.starts_with("ok") {
            return Err(Broken::new("the journal mode was changed under us"));
        }
    }
    scene.finish_acknowledged(calls)?;
    scene.all_are_acknowledged()
}

fn journal_mode_changed_while_closed(scene: &mut Scene<'_>) -> Result<(), Broken> {
    scene.close()?;
    let mut neighbour = scene.neighbour()?;
    neighbour.run("PRAGMA journal_mode = DELETE")?;
    neighbour.leave()?;
    scene.reopen()?;
    let mode = scene
        .database
        .as_ref()
        .map(|database| database.info().journal_mode);
    if mode != Some(JournalMode::Wal) {
        return Err(Broken::new(format_args!("opened in journal mode {mode:?}")));
    }
    scene.all_are_acknowledged()
}

/// A module of the bot that reads the database's bytes, for a backup of its own: closing the file
/// drops the locks by which SQLite, in this process, keeps others from clearing the WAL away.
fn file_opened_and_closed(scene: &mut Scene<'_>) -> Result<(), Broken> {
    for _ in 0..3 {
        scene.all_are_acknowledged()?;
        #[expect(clippy::disallowed_methods, reason = "this is what must do no harm")]
        drop(fs::File::open(&scene.path).map_err(Broken::new)?);
        // The neighbour is the last to close, as far as it can see.
        let mut neighbour = scene.neighbour()?;
        neighbour.run("SELECT count(*) FROM activity_meter")?;
        neighbour.leave()?;
        let mut writer = scene.neighbour()?;
        let calls = scene.begin();
        writer.ask("UPDATE activity_meter SET score = score")?;
        scene.finish(calls)?;
        let seen = writer.run("SELECT count(*) FROM activity_event")?;
        let acknowledged = scene.ledger.acknowledged();
        if seen < acknowledged {
            return Err(Broken::new(format_args!(
                "{acknowledged} events are acknowledged, and other programs see {seen}"
            )));
        }
        writer.leave()?;
    }
    Ok(())
}
