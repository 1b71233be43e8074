//! Power loss: a session is recorded, and the database opened from what a power cut at any point
//! of it may have left.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use roas_db::{Config, Durability, RetryPolicy};
use roas_domain::ActivityRepository;

use crate::runtime;
use crate::storage::log::{CrashState, Image};
use crate::storage::play::{Watch, close, open, play};
use crate::storage::script::{Script, Step, Stored};
use crate::storage::vfs::{FaultyVfs, SharedMemory, Syncs};
use crate::{Broken, Findings};

/// The name of the database in its folder.
const NAME: &str = "roas.db";

/// A session under power loss, and what it is held to.
#[derive(Debug, Clone)]
pub struct PowerLoss {
    /// How the database is opened.
    pub durability: Durability,
    /// Whether what was acknowledged has to be there; otherwise only a tail may be missing.
    pub acknowledged_survives: bool,
    /// Whether the database can have WAL.
    pub shared_memory: SharedMemory,
    /// What syncs do: [`Syncs::Lie`] is a disk that breaks the promise.
    pub syncs: Syncs,
    /// When an act counts as acknowledged.
    pub acknowledged: Acknowledged,
    /// Steps of the session.
    pub steps: usize,
    /// States that are made up of each point of the session.
    pub variants: usize,
}

/// When an act counts as acknowledged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Acknowledged {
    /// When its caller was answered.
    WhenAnswered,
    /// When it was asked for: what a writer would do that answers before it commits.
    WhenAsked,
}

/// Puts a mark into the recording for each act that counts as acknowledged.
struct Marker {
    vfs: Arc<FaultyVfs>,
    acknowledged: Acknowledged,
}

impl Watch for Marker {
    fn asking(&self, act: usize) {
        if self.acknowledged == Acknowledged::WhenAsked {
            self.vfs.disk().mark(act as u64);
        }
    }

    fn answered(&self, act: usize) {
        if self.acknowledged == Acknowledged::WhenAnswered {
            self.vfs.disk().mark(act as u64);
        }
    }
}

impl Default for PowerLoss {
    /// `synchronous=FULL` in WAL mode, on an honest disk.
    fn default() -> Self {
        Self {
            durability: Durability::Full,
            acknowledged_survives: true,
            shared_memory: SharedMemory::PassedThrough,
            syncs: Syncs::AreQuick,
            acknowledged: Acknowledged::WhenAnswered,
            steps: 40,
            variants: 12,
        }
    }
}

impl PowerLoss {
    /// Records a session and examines the states it may have left. `folder` is empty.
    ///
    /// # Errors
    ///
    /// The first state that breaks a promise.
    pub fn round(&self, seed: u64, folder: &Path) -> Result<Findings, Broken> {
        let script = Script::new(seed, self.steps);
        let runtime = runtime();
        let written = folder.join("written");
        fs::create_dir(&written).map_err(Broken::new)?;

        let vfs = Arc::new(FaultyVfs::with(self.shared_memory));
        vfs.disk().set_syncs(self.syncs);
        vfs.disk().record();
        let config = config(&written.join(NAME), &vfs).durability(self.durability);
        let marker = Arc::new(Marker {
            vfs: Arc::clone(&vfs),
            acknowledged: self.acknowledged,
        });
        runtime.block_on(async {
            let played = play(&script, &config, marker).await?;
            match played.database {
                Some(database) if played.errors.is_empty() => close(database).await,
                _ => Err(Broken::new(format_args!(
                    "the session failed without a fault: {:?}",
                    played.errors
                ))),
            }
        })?;
        let log = vfs.disk().take_log();
        let acknowledged: Vec<usize> = log
            .marks()
            .into_iter()
            .filter_map(|act| usize::try_from(act).ok())
            .collect();

        let reader = FaultyVfs::with(self.shared_memory);
        reader.disk().set_syncs(Syncs::AreQuick);
        let left = folder.join("left");
        let mut findings = Findings::default();
        for state in log.crash_states(seed, self.variants) {
            lay_out(&state.image, &left).map_err(Broken::new)?;
            let config = self::config(&left.join(NAME), &reader);
            runtime
                .block_on(self.examine(
                    &script,
                    &acknowledged[..state.marks],
                    &config,
                    reader.name(),
                ))
                .map_err(|Broken(what)| {
                    let CrashState { at, loss, .. } = &state;
                    Broken::new(format_args!(
                        "power lost after operation {at} of {}, {loss:?} of what was not synced: \
                         {what}",
                        log.len()
                    ))
                })?;
            findings.states += 1;
        }
        findings.count("operations recorded", log.len() as u64);
        findings.count("writes acknowledged", acknowledged.len() as u64);
        Ok(findings)
    }

    async fn examine(
        &self,
        script: &Script,
        acknowledged: &[usize],
        config: &Config,
        vfs: &str,
    ) -> Result<(), Broken> {
        let database = open(config)
            .await?
            .map_err(|error| Broken::new(format_args!("it does not open: {error:?}")))?;
        let stored = Stored::in_file(config.path(), Some(vfs))?;
        let held = script.held_by(&stored)?;
        only_a_tail_is_missing(script, &held)?;
        if self.acknowledged_survives
            && let Some(lost) = acknowledged.iter().find(|act| !held[**act])
        {
            return Err(Broken::new(format_args!(
                "write {lost} was acknowledged and is lost"
            )));
        }
        // Whoever had no answer delivers again.
        let repository = database.repository();
        repository
            .record_many(script.events())
            .await
            .map_err(|error| Broken::new(format_args!("it does not go on: {error}")))?;
        script.all_counted_once(&Stored::in_file(config.path(), Some(vfs))?)?;
        drop(repository);
        close(database).await
    }
}

fn config(path: &Path, vfs: &FaultyVfs) -> Config {
    Config::new(path)
        .vfs(vfs.name())
        .retry(RetryPolicy::aggressive())
        .readers(1)
}

/// Nothing may be there that was done after something that is not, but for what was done at once.
fn only_a_tail_is_missing(script: &Script, held: &[bool]) -> Result<(), Broken> {
    let mut missing = None;
    for step in &script.steps {
        let acts = match step {
            Step::Alone(act) => *act..act + 1,
            Step::Together(acts) | Step::AtOnce(acts) => acts.clone(),
            Step::Read | Step::Maintain | Step::Reopen => continue,
        };
        if let (Some(missing), Some(there)) = (missing, acts.clone().find(|act| held[*act])) {
            return Err(Broken::new(format_args!(
                "write {missing} is missing, and write {there} after it is there"
            )));
        }
        missing = missing.or_else(|| acts.clone().find(|act| !held[*act]));
    }
    Ok(())
}

/// Makes a folder hold an image, and nothing else.
fn lay_out(image: &Image, folder: &Path) -> std::io::Result<()> {
    if folder.exists() {
        fs::remove_dir_all(folder)?;
    }
    fs::create_dir(folder)?;
    for (name, contents) in &image.files {
        fs::write(folder.join(name), contents)?;
    }
    Ok(())
}
