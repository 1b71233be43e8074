//! The load of those faults that end processes while they write, and what it was told.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::storage::mounted::{PowerCut, cut_power};
use crate::storage::vfs::{FaultyVfs, SharedMemory};
use roas_db::{Config, Database, Durability};
use roas_domain::{ActivityRepository, Effect};
use serde::{Deserialize, Serialize};

use super::ledger;
use crate::BoxError;

/// Its callers.
const TASKS: u64 = 16;

/// How soon a caller tries again.
const AGAIN_AFTER: Duration = Duration::from_millis(5);

/// How long the database may take to close: less than whoever waits for the load's end does.
const CLOSES_WITHIN: Duration = Duration::from_secs(30);

/// Records events one after the other, and writes the id of each to a file when it is acknowledged,
/// with a minus before it where an error says that it was not applied. Callers go on until their
/// first error.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Load {
    pub(super) database: PathBuf,
    pub(super) acks: PathBuf,
    pub(super) ids: std::ops::Range<u64>,
    pub(super) durable: bool,
    pub(super) shared_memory: bool,
    pub(super) acknowledge: Acknowledge,
    pub(super) cut: Option<Cut>,
    /// Whether callers try again after an error, with the same events, until they are killed.
    pub(super) tries_again: bool,
}

/// When a load cuts the power of the file system that it writes to: after so many acknowledgements.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Cut {
    pub(super) after: u64,
    pub(super) how: PowerCut,
    /// Where all processes of that file system write what they are told.
    pub(super) acks: Vec<PathBuf>,
}

/// The line that is written to the files with the acknowledgements before the power is cut.
const CUT: &str = "cut\n";

/// Cuts the power of the file system of `folder`, after a line in each of the files with what the
/// processes are told there. Nobody could be told anything after it, were the power really gone; an
/// ext4 that is shut down answers a sync that is under way as it comes, and it may be with success.
pub(super) fn cut(folder: &Path, how: PowerCut, acks: &[PathBuf]) -> io::Result<()> {
    for acks in acks {
        open(acks)?.write_all(CUT.as_bytes())?;
    }
    cut_power(folder, how)
}

fn open(acks: &Path) -> io::Result<File> {
    OpenOptions::new().create(true).append(true).open(acks)
}

/// When a load says that an event is acknowledged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Acknowledge {
    /// When the repository has answered.
    AfterCommit,
    /// Before it is even asked: what a check for lost events has to find.
    BeforeCommit,
}

impl Load {
    pub(super) async fn run(self) -> Result<(), BoxError> {
        let mut config = Config::new(&self.database).durability(if self.durable {
            Durability::Full
        } else {
            Durability::Normal
        });
        let vfs = (!self.shared_memory).then(|| FaultyVfs::with(SharedMemory::Missing));
        if let Some(vfs) = &vfs {
            config = config.vfs(vfs.name());
        }
        let database = Database::open(config).await?;
        let load = Arc::new(Running {
            acks: OpenOptions::new()
                .create(true)
                .append(true)
                .open(&self.acks)?,
            acknowledged: AtomicU64::new(0),
            load: self,
        });
        let tasks: Vec<_> = (0..TASKS)
            .map(|task| {
                let (load, repository) = (Arc::clone(&load), database.repository());
                tokio::spawn(async move { load.call(&repository, task).await })
            })
            .collect();
        // Checkpoints are what its end is to meet, too.
        let mut maintained = Ok(());
        while tasks.iter().any(|task| !task.is_finished()) {
            maintained = maintained.and(database.maintain().await.map(drop));
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        let mut called = Ok(());
        for task in tasks {
            called = called.and(task.await.map_err(BoxError::from).and_then(|ended| ended));
        }
        // Also where the callers have failed: without a disk, it has to come to an end, too. That it
        // does not is no error of the disk's, so a panic tells it.
        let closed = tokio::time::timeout(CLOSES_WITHIN, database.close()).await;
        assert!(closed.is_ok(), "the database does not close");
        called?;
        maintained?;
        closed??;
        Ok(())
    }
}

/// A load at work.
struct Running {
    load: Load,
    acks: File,
    acknowledged: AtomicU64,
}

impl Running {
    /// One of the callers.
    async fn call(&self, repository: &impl ActivityRepository, task: u64) -> Result<(), BoxError> {
        let ids = self.load.ids.clone();
        let mut own = (ids.start + task..ids.end).step_by(usize::try_from(TASKS)?);
        // One of them sends batches, so that the end meets those, too.
        let size = if task == 0 { 20 } else { 1 };
        loop {
            let batch: Vec<u64> = own.by_ref().take(size).collect();
            if batch.is_empty() {
                return Ok(());
            }
            if self.load.acknowledge == Acknowledge::BeforeCommit {
                self.acknowledge(&batch)?;
            }
            let events: Vec<_> = batch.iter().map(|id| ledger::event(*id)).collect();
            let answer = loop {
                let answer = match events[..] {
                    [event] => repository.record(event).await.map(drop),
                    _ => repository.record_many(events.clone()).await.map(drop),
                };
                if answer.is_ok() || !self.load.tries_again {
                    break answer;
                }
                tokio::time::sleep(AGAIN_AFTER).await;
            };
            if let Err(error) = answer {
                if error.effect() == Effect::NotApplied {
                    self.write("-", &batch)?;
                }
                return Err(error.into());
            }
            if self.load.acknowledge == Acknowledge::AfterCommit {
                self.acknowledge(&batch)?;
            }
        }
    }

    fn acknowledge(&self, ids: &[u64]) -> io::Result<()> {
        self.write("", ids)?;
        let count = ids.len() as u64;
        let before = self.acknowledged.fetch_add(count, Ordering::Relaxed);
        match &self.load.cut {
            Some(Cut { after, how, acks }) if (before..before + count).contains(after) => {
                let folder = self.load.database.parent().unwrap_or(Path::new("."));
                cut(folder, *how, acks)
            }
            _ => Ok(()),
        }
    }

    /// In one call, which reaches the kernel whole: a kill after it loses none of it.
    fn write(&self, sign: &str, ids: &[u64]) -> io::Result<()> {
        let mut lines = Vec::new();
        for id in ids {
            writeln!(lines, "{sign}{id}")?;
        }
        (&self.acks).write_all(&lines)
    }
}

/// What a load was told, by the ids of the events.
#[derive(Debug, Default)]
pub(super) struct Told {
    pub(super) acknowledged: Vec<u64>,
    /// With an error that says that they were not applied.
    pub(super) refused: Vec<u64>,
    /// As acknowledged, but after the power was cut.
    pub(super) too_late: Vec<u64>,
}

impl Told {
    /// What is in a file, but for a last line that the process's end cut off.
    pub(super) fn read(acks: &Path) -> Self {
        Self::read_from(acks, 0)
    }

    /// As [`Self::read`], of what was written behind the first so many bytes.
    pub(super) fn read_from(acks: &Path, bytes: u64) -> Self {
        let text = fs::read_to_string(acks).unwrap_or_default();
        let text = usize::try_from(bytes)
            .ok()
            .and_then(|bytes| text.get(bytes..));
        let text = text.unwrap_or_default();
        let whole = text.rfind('\n').map_or("", |end| &text[..end]);
        let mut told = Self::default();
        let mut is_cut = false;
        for line in whole.lines() {
            is_cut |= line == CUT.trim();
            match line.parse::<i64>().map(|id| (id, id.unsigned_abs())) {
                Ok((..0, id)) => told.refused.push(id),
                Ok((_, id)) if is_cut => told.too_late.push(id),
                Ok((_, id)) => told.acknowledged.push(id),
                Err(_) => {}
            }
        }
        told
    }
}
