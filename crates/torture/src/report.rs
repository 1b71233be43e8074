//! What came of it.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use comfy_table::{CellAlignment, ContentArrangement, Table, presets};
use indicatif::HumanCount;
use serde::{Deserialize, Serialize};

/// What all faults came to.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct TortureReport {
    /// The seed of the first round of each fault.
    pub seed: u64,
    /// Each fault.
    pub faults: Vec<FaultReport>,
}

/// What one fault came to.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct FaultReport {
    /// Its name.
    pub name: String,
    /// What was done, and what had to hold.
    pub about: String,
    /// Why it was not run, where it was not.
    pub skipped: Option<String>,
    /// Rounds run.
    pub rounds: u64,
    /// States examined in the rounds that kept the promises.
    pub states: u64,
    /// Rounds that broke a promise.
    pub failed: u64,
    /// The first of those.
    pub failures: Vec<Failure>,
    /// Other figures, summed over all rounds.
    pub figures: BTreeMap<String, u64>,
    /// How long it took, in seconds.
    pub elapsed_s: f64,
}

/// A round that broke a promise.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    /// The round's seed.
    pub seed: u64,
    /// Which promise, and how that showed.
    pub what: String,
}

impl TortureReport {
    /// Whether every promise was kept.
    #[must_use]
    pub fn kept(&self) -> bool {
        self.faults.iter().all(|fault| fault.failed == 0)
    }
}

/// The report as a table for the terminal, and below it what broke and how to repeat it.
#[must_use]
pub fn text(report: &TortureReport) -> String {
    let mut table = Table::new();
    table
        .load_style(presets::NOTHING)
        .set_content_arrangement(ContentArrangement::Disabled)
        .set_header(["fault", "rounds", "states", "failed", "seconds"]);
    for fault in &report.faults {
        let figures = match fault.skipped {
            Some(_) => ["skipped", "", "", ""].map(str::to_owned),
            None => [
                HumanCount(fault.rounds).to_string(),
                HumanCount(fault.states).to_string(),
                HumanCount(fault.failed).to_string(),
                format!("{:.1}", fault.elapsed_s),
            ],
        };
        let [rounds, states, failed, seconds] = figures;
        table.add_row([fault.name.clone(), rounds, states, failed, seconds]);
    }
    for column in table.column_iter_mut().skip(1) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    let mut text = format!("{table}\n");
    // Writing to a string does not fail.
    for fault in &report.faults {
        let name = &fault.name;
        if let Some(reason) = &fault.skipped {
            let _ = writeln!(text, "\n{name}: skipped: {reason}");
        } else {
            let _ = writeln!(text, "\n{name}: {}", fault.about);
        }
        for (figure, value) in &fault.figures {
            let _ = writeln!(text, "  {} {figure}", HumanCount(*value));
        }
        for Failure { seed, what } in &fault.failures {
            let _ = writeln!(
                text,
                "  ✗ {what}\n    repeat: roas-torture --only {name} --rounds 1 --seed {seed}"
            );
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report() -> TortureReport {
        let good = FaultReport {
            name: "power-full".to_owned(),
            about: "the power is cut".to_owned(),
            rounds: 3,
            states: 12_345,
            figures: BTreeMap::from([("retries".to_owned(), 7)]),
            ..FaultReport::default()
        };
        let skipped = FaultReport {
            name: "ext4-cut".to_owned(),
            skipped: Some("it needs root".to_owned()),
            ..FaultReport::default()
        };
        TortureReport {
            seed: 1,
            faults: vec![good, skipped],
        }
    }

    #[test]
    fn figures_and_reasons_are_told() {
        let report = report();
        assert!(report.kept());
        let text = text(&report);
        for part in [
            "12,345",
            "7 retries",
            "ext4-cut: skipped: it needs root",
            "power-full: the power is cut",
        ] {
            assert!(text.contains(part), "{part}: {text}");
        }
    }

    #[test]
    fn a_broken_promise_names_the_command_that_repeats_it() {
        let mut report = report();
        report.faults[0].failed = 1;
        report.faults[0].failures.push(Failure {
            seed: 42,
            what: "lost event 7".to_owned(),
        });
        assert!(!report.kept());
        let text = text(&report);
        assert!(text.contains("✗ lost event 7"), "{text}");
        assert!(
            text.contains("roas-torture --only power-full --rounds 1 --seed 42"),
            "{text}"
        );
    }
}
