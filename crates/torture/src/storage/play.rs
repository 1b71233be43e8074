//! Playing a script on a real database, through the port.

use std::sync::Arc;
use std::time::{Duration, Instant};

use roas_db::{Config, Database, OpenError};
use roas_domain::testing::fixtures::{MIDNIGHT, at};
use roas_domain::{
    ActivityRepository, Effect, LeaderboardLimit, RepositoryError, RepositoryErrorKind,
};

use crate::Broken;
use crate::storage::script::{Act, Script, Step};

/// By how much a call may outlive the policy's deadline.
pub const GRACE: Duration = Duration::from_millis(250);

/// After so long a call is taken to hang.
const HANGS: Duration = Duration::from_secs(30);

/// What a caller was told of its write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answer {
    /// It was not asked for: the database was not open.
    NotAsked,
    /// `Ok`.
    Applied,
    /// An error that says that nothing was applied.
    NotApplied,
    /// An error that says that nobody knows.
    Unknown,
}

/// What came of a session.
#[derive(Debug)]
pub struct Played {
    /// What was said of each act.
    pub answers: Vec<Answer>,
    /// The database, where it is open at the end.
    pub database: Option<Database>,
    /// The errors that callers got, reads and openings included.
    pub errors: Vec<String>,
    /// How many of them were those of reads.
    pub failed_reads: usize,
    /// What the openings were refused with.
    pub refusals: Vec<OpenError>,
    /// The kinds of those that the port answered.
    pub kinds: Vec<RepositoryErrorKind>,
    /// The longest that a call took.
    pub longest: Duration,
}

/// What whoever plays a script wants to know while it is played.
pub trait Watch: Send + Sync {
    /// An act is about to be asked for.
    fn asking(&self, act: usize) {
        let _ = act;
    }

    /// The caller of an act got its `Ok`.
    fn answered(&self, act: usize) {
        let _ = act;
    }

    /// A step is done in which a write has failed, for the first time. What was said of each act
    /// until now.
    fn failed_first(&self, answers: &[Answer]) {
        let _ = answers;
    }
}

/// Plays a script on the database of `config`.
///
/// # Errors
///
/// A call that hangs, a panic, an error that says nothing.
pub async fn play(
    script: &Script,
    config: &Config,
    watch: Arc<dyn Watch>,
) -> Result<Played, Broken> {
    let mut session = Session {
        config,
        watch,
        failed_before: false,
        played: Played {
            answers: vec![Answer::NotAsked; script.acts.len()],
            database: None,
            errors: Vec::new(),
            failed_reads: 0,
            refusals: Vec::new(),
            kinds: Vec::new(),
            longest: Duration::ZERO,
        },
    };
    session.open().await?;
    for step in &script.steps {
        if session.played.database.is_none() {
            break;
        }
        match step {
            Step::Alone(act) => session.watch.asking(*act),
            Step::Together(acts) | Step::AtOnce(acts) => {
                acts.clone().for_each(|act| session.watch.asking(act));
            }
            Step::Read | Step::Maintain | Step::Reopen => {}
        }
        session.step(script, step).await?;
        session.tell_of_failure();
    }
    Ok(session.played)
}

/// Opens the database of `config`.
///
/// # Errors
///
/// A call that hangs; the error of the opening is inside.
pub async fn open(config: &Config) -> Result<Result<Database, OpenError>, Broken> {
    in_time(Database::open(config.clone()), "opening").await.0
}

/// Closes a database.
///
/// # Errors
///
/// A call that hangs, or a thread that panicked.
pub async fn close(database: Database) -> Result<(), Broken> {
    let closed = in_time(database.close(), "closing").await.0?;
    closed.map_err(|error| Broken::new(format_args!("closing: {error}")))
}

struct Session<'a> {
    config: &'a Config,
    watch: Arc<dyn Watch>,
    failed_before: bool,
    played: Played,
}

/// The result of a call, unless it hangs, and how long it took.
async fn in_time<T>(call: impl Future<Output = T>, what: &str) -> (Result<T, Broken>, Duration) {
    let began = Instant::now();
    let result = tokio::time::timeout(HANGS, call)
        .await
        .map_err(|_| Broken::new(format_args!("{what} has not returned after {HANGS:?}")));
    (result, began.elapsed())
}

impl Session<'_> {
    async fn open(&mut self) -> Result<(), Broken> {
        // What failed once may have passed: a second attempt shows whether anything was broken.
        for _ in 0..2 {
            match open(self.config).await? {
                Ok(database) => {
                    self.played.database = Some(database);
                    return Ok(());
                }
                Err(error) => {
                    self.heard(&error)?;
                    self.played.refusals.push(error);
                }
            }
        }
        Ok(())
    }

    async fn step(&mut self, script: &Script, step: &Step) -> Result<(), Broken> {
        let Some(database) = self.played.database.take() else {
            return Ok(());
        };
        let repository = database.repository();
        match step {
            Step::Alone(act) => {
                let (act, index) = (&script.acts[*act], *act);
                let call = async {
                    match act {
                        Act::Record(event) => repository.record(*event).await.map(drop),
                        Act::Adjust { member, delta, at } => repository
                            .adjust_score(*member, *delta, *at)
                            .await
                            .map(drop),
                        Act::SetRules { guild, rules } => {
                            repository.set_guild_rules(*guild, rules.clone()).await
                        }
                    }
                };
                let (result, took) = in_time(call, "a write").await;
                self.took(took);
                self.answer(index..index + 1, result?)?;
            }
            Step::Together(acts) => {
                let events = acts.clone().filter_map(|act| match &script.acts[act] {
                    Act::Record(event) => Some(*event),
                    _ => None,
                });
                let call = repository.record_many(events.collect());
                let (result, took) = in_time(call, "a write of many").await;
                self.took(took);
                self.answer(acts.clone(), result?.map(drop))?;
            }
            Step::AtOnce(acts) => {
                let mut calls = Vec::new();
                for act in acts.clone() {
                    let Act::Record(event) = script.acts[act] else {
                        continue;
                    };
                    let repository = repository.clone();
                    let watch = Arc::clone(&self.watch);
                    calls.push(tokio::spawn(async move {
                        let (result, took) = in_time(repository.record(event), "a write").await;
                        if let Ok(Ok(_)) = &result {
                            watch.answered(act);
                        }
                        (act, result, took)
                    }));
                }
                for call in calls {
                    let (act, result, took) = call.await.map_err(Broken::new)?;
                    self.took(took);
                    let result = result?.map(drop);
                    self.note(act..act + 1, result)?;
                }
            }
            Step::Read => {
                let limit = LeaderboardLimit::new(10).map_err(Broken::new)?;
                for member in Script::members().into_iter().step_by(4) {
                    let found = in_time(repository.find_member(member), "a read").await;
                    self.read(found)?;
                    let top = repository.top_scores(member.guild, at(MIDNIGHT + 10_000), limit);
                    self.read(in_time(top, "a read").await)?;
                }
                self.read(in_time(repository.counts(), "a read").await)?;
            }
            Step::Maintain => {
                let (result, took) = in_time(database.maintain(), "maintenance").await;
                self.took(took);
                if let Err(error) = result? {
                    self.failed(&error)?;
                }
            }
            Step::Reopen => {
                drop(repository);
                close(database).await?;
                return self.open().await;
            }
        }
        self.played.database = Some(database);
        Ok(())
    }

    /// After a whole step, so that nothing is under way.
    fn tell_of_failure(&mut self) {
        let failed = |answer| matches!(answer, Answer::NotApplied | Answer::Unknown);
        if !self.failed_before && self.played.answers.iter().copied().any(failed) {
            self.failed_before = true;
            self.watch.failed_first(&self.played.answers);
        }
    }

    fn took(&mut self, took: Duration) {
        self.played.longest = self.played.longest.max(took);
    }

    fn read<T>(
        &mut self,
        (result, took): (Result<Result<T, RepositoryError>, Broken>, Duration),
    ) -> Result<(), Broken> {
        self.took(took);
        match result? {
            Ok(_) => Ok(()),
            Err(error) => {
                self.played.failed_reads += 1;
                self.failed(&error)
            }
        }
    }

    fn answer(
        &mut self,
        acts: std::ops::Range<usize>,
        result: Result<(), RepositoryError>,
    ) -> Result<(), Broken> {
        if result.is_ok() {
            acts.clone().for_each(|act| self.watch.answered(act));
        }
        self.note(acts, result)
    }

    fn note(
        &mut self,
        acts: std::ops::Range<usize>,
        result: Result<(), RepositoryError>,
    ) -> Result<(), Broken> {
        let answer = match result {
            Ok(()) => Answer::Applied,
            Err(error) => {
                self.failed(&error)?;
                match error.effect() {
                    Effect::NotApplied => Answer::NotApplied,
                    Effect::Unknown => Answer::Unknown,
                }
            }
        };
        self.played.answers[acts].fill(answer);
        Ok(())
    }

    fn failed(&mut self, error: &RepositoryError) -> Result<(), Broken> {
        self.played.kinds.push(error.kind());
        self.heard(error)
    }

    /// An error that a caller got: it is kept, and must not speak of a panic or a defect.
    fn heard(&mut self, error: &dyn std::error::Error) -> Result<(), Broken> {
        let mut text = error.to_string();
        let mut source = error.source();
        while let Some(cause) = source {
            text = format!("{text}: {cause}");
            source = cause.source();
        }
        if text.contains("panic") || text.is_empty() {
            return Err(Broken::new(format_args!("a caller was told: {text}")));
        }
        self.played.errors.push(text);
        Ok(())
    }
}
