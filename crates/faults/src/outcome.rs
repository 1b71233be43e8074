//! What a round of a fault comes to.

use std::collections::BTreeMap;

use thiserror::Error;

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
