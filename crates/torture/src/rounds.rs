//! Running rounds of a fault.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::time::Instant;

use crate::{Broken, Failure, Fault, FaultReport, Findings, Round};

/// Failures that are kept of a fault; the others are counted alone.
const FAILURES_KEPT: usize = 10;

/// Runs `rounds` rounds of a fault, with the seeds from `seed` on, each in a folder of its own below
/// `folder`. `progress` is told after each round how many are done and how many failed.
///
/// A panic breaks a promise, too.
pub fn run(
    fault: &dyn Fault,
    rounds: u64,
    seed: u64,
    folder: &Path,
    mut progress: impl FnMut(u64, u64),
) -> FaultReport {
    let mut report = FaultReport {
        name: fault.name().to_owned(),
        about: fault.about().to_owned(),
        skipped: fault.unavailable(),
        ..FaultReport::default()
    };
    if report.skipped.is_some() {
        return report;
    }
    let started = Instant::now();
    let mut found = Findings::default();
    for number in 0..rounds {
        let seed = seed.wrapping_add(number);
        match one(fault, seed, folder) {
            Ok(findings) => found.add(&findings),
            Err(Broken(what)) => {
                report.failed += 1;
                if report.failures.len() < FAILURES_KEPT {
                    report.failures.push(Failure { seed, what });
                }
            }
        }
        report.rounds += 1;
        progress(report.rounds, report.failed);
    }
    report.states = found.states;
    report.figures = found
        .figures
        .into_iter()
        .map(|(name, figure)| (name.to_owned(), figure))
        .collect();
    report.elapsed_s = started.elapsed().as_secs_f64();
    report
}

fn one(fault: &dyn Fault, seed: u64, folder: &Path) -> Result<Findings, Broken> {
    let folder = tempfile::Builder::new()
        .prefix("torture-")
        .tempdir_in(folder)
        .map_err(|error| Broken::new(format_args!("no folder to work in: {error}")))?;
    let round = Round {
        seed,
        folder: folder.path(),
    };
    catch_unwind(AssertUnwindSafe(|| fault.round(&round))).unwrap_or_else(|panic| {
        let message = panic
            .downcast_ref::<String>()
            .map(String::as_str)
            .or_else(|| panic.downcast_ref::<&str>().copied())
            .unwrap_or("without a message");
        Err(Broken::new(format_args!("a panic: {message}")))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Breaks at seeds that end in 3, panics at those that end in 7.
    #[derive(Debug)]
    struct Moody {
        missing: bool,
    }

    impl Fault for Moody {
        fn name(&self) -> &'static str {
            "moody"
        }

        fn about(&self) -> &'static str {
            "a fault of a test"
        }

        fn unavailable(&self) -> Option<String> {
            self.missing.then(|| "there is no mood".to_owned())
        }

        fn round(&self, round: &Round<'_>) -> Result<Findings, Broken> {
            assert!(std::fs::read_dir(round.folder).unwrap().next().is_none());
            std::fs::write(round.folder.join("left-behind"), "").unwrap();
            assert!(round.seed % 10 != 7, "seed {}", round.seed);
            if round.seed % 10 == 3 {
                return Err(Broken::new("lost one"));
            }
            let mut found = Findings {
                states: 5,
                ..Findings::default()
            };
            found.count("seeds", round.seed);
            Ok(found)
        }
    }

    fn report(missing: bool) -> FaultReport {
        let folder = tempfile::tempdir().unwrap();
        let mut told = Vec::new();
        let report = run(
            &Moody { missing },
            10,
            100,
            folder.path(),
            |done, failed| {
                told.push((done, failed));
            },
        );
        assert_eq!(told.last().copied(), (!missing).then_some((10, 2)));
        assert!(std::fs::read_dir(folder.path()).unwrap().next().is_none());
        report
    }

    #[test]
    fn every_round_has_its_seed_and_failures_name_it() {
        let report = report(false);
        assert_eq!((report.rounds, report.failed, report.states), (10, 2, 40));
        let failures: Vec<_> = report
            .failures
            .iter()
            .map(|failure| (failure.seed, failure.what.as_str()))
            .collect();
        assert_eq!(failures, [(103, "lost one"), (107, "a panic: seed 107")]);
        assert_eq!(report.figures["seeds"], (100..110).sum::<u64>() - 103 - 107);
    }

    #[test]
    fn what_cannot_be_run_says_why() {
        let report = report(true);
        assert_eq!(report.skipped.as_deref(), Some("there is no mood"));
        assert_eq!(report.rounds, 0);
    }
}
