//! What a fault is, what a round of one is given, and what it comes to.

use std::collections::BTreeMap;
use std::path::Path;

use thiserror::Error;

/// One way of breaking a database.
pub trait Fault: std::fmt::Debug {
    /// Its name, for `--only` and the table: lower case, words joined by hyphens.
    fn name(&self) -> &'static str;

    /// What is done, and what has to hold, in a line.
    fn about(&self) -> &'static str;

    /// Why it cannot be run on this machine, where it cannot: what is missing.
    fn unavailable(&self) -> Option<String> {
        None
    }

    /// Whether it mounts file systems.
    fn mounts(&self) -> bool {
        false
    }

    /// Runs one round.
    ///
    /// # Errors
    ///
    /// The promise that was broken, and how that showed.
    fn round(&self, round: &Round<'_>) -> Result<Findings, Broken>;
}

/// What a round is given.
#[derive(Debug, Clone, Copy)]
pub struct Round<'a> {
    /// Decides all that is random.
    pub seed: u64,
    /// An empty folder that nobody else uses, removed afterwards.
    pub folder: &'a Path,
}

/// A promise that was not kept: which, and how that showed.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{0}")]
pub struct Broken(pub String);

impl Broken {
    /// A broken promise.
    pub fn new(what: impl std::fmt::Display) -> Self {
        Self(what.to_string())
    }
}

/// What a round that kept its promises has looked at.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Findings {
    /// States of the database that were examined: crash images, sessions with a fault in them,
    /// histories, whatever the fault counts.
    pub states: u64,
    /// Other figures that are worth publishing, by name; the sum over all rounds is shown.
    pub figures: BTreeMap<&'static str, u64>,
}

impl Findings {
    /// Adds to a figure.
    pub fn count(&mut self, name: &'static str, by: u64) {
        *self.figures.entry(name).or_default() += by;
    }

    /// Adds what another round has looked at.
    pub fn add(&mut self, other: &Self) {
        self.states += other.states;
        for (name, by) in &other.figures {
            self.count(name, *by);
        }
    }
}
