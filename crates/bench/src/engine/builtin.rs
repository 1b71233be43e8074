//! The engines of this program.

use std::path::Path;

use async_trait::async_trait;

use super::baseline::Baseline;
use super::meter::{Meter, Write};
use super::original::Original;
use super::plain::Plain;
use super::raw::Raw;
use super::{BoxError, Engine, EngineSet, Noop, Stored};
use crate::scenario::Scenario;

/// The names of the engines, and what they are.
pub const ENGINES: [(&str, &str); 6] = [
    ("meter", "the activity meter, full rule"),
    ("meter-adjust", "the activity meter, plain upsert"),
    (
        "baseline",
        "a connection per worker, rollback journal, no busy timeout, reads and then writes",
    ),
    (
        "original",
        "a connection per worker, WAL, 30 s busy timeout, upsert with RETURNING, retries",
    ),
    (
        "raw",
        "one connection, one thread, --batch N per transaction",
    ),
    ("noop", "stores nothing: the tester's own cost"),
];

/// The engines of this program.
#[derive(Debug, Clone, Copy)]
pub struct BuiltIn;

#[async_trait]
impl EngineSet for BuiltIn {
    async fn prepare(
        &self,
        scenario: &Scenario,
        database: &Path,
        stored: Stored<'_>,
    ) -> Result<(), BoxError> {
        match scenario.engine.as_str() {
            "meter" => Meter::prepare(Write::Record, scenario, database, stored).await,
            "meter-adjust" => Meter::prepare(Write::Adjust, scenario, database, stored).await,
            "baseline" => Plain::<Baseline>::prepare(scenario, database, stored),
            "original" => Plain::<Original>::prepare(scenario, database, stored),
            "raw" => Plain::<Raw>::prepare(scenario, database, stored),
            "noop" => Ok(()),
            #[cfg(feature = "sabotage")]
            name if super::sabotage::Defect::of(name).is_some() => {
                Meter::prepare(Write::Record, scenario, database, stored).await
            }
            unknown => Err(no_engine(unknown)),
        }
    }

    async fn open(
        &self,
        scenario: &Scenario,
        database: &Path,
    ) -> Result<Box<dyn Engine>, BoxError> {
        Ok(match scenario.engine.as_str() {
            "meter" => Box::new(Meter::open(Write::Record, scenario, database).await?),
            "meter-adjust" => Box::new(Meter::open(Write::Adjust, scenario, database).await?),
            "baseline" => Box::new(Plain::<Baseline>::new(scenario, database)),
            "original" => Box::new(Plain::<Original>::new(scenario, database)),
            "raw" => Box::new(Plain::<Raw>::new(scenario, database)),
            "noop" => Box::new(Noop),
            unknown => {
                #[cfg(feature = "sabotage")]
                if let Some(defect) = super::sabotage::Defect::of(unknown) {
                    let meter = Meter::open(Write::Record, scenario, database).await?;
                    return Ok(Box::new(super::sabotage::Sabotaged::new(
                        Box::new(meter),
                        defect,
                    )));
                }
                return Err(no_engine(unknown));
            }
        })
    }
}

/// Whether this program has an engine of this name.
#[must_use]
pub fn is_built_in(engine: &str) -> bool {
    #[cfg(feature = "sabotage")]
    if super::sabotage::Defect::of(engine).is_some() {
        return true;
    }
    ENGINES.iter().any(|(name, _)| *name == engine)
}

fn no_engine(name: &str) -> BoxError {
    let known: Vec<_> = ENGINES.iter().map(|(name, _)| *name).collect();
    format!(
        "there is no engine `{name}`; there are {}",
        known.join(", ")
    )
    .into()
}
