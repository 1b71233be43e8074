//! The options of a load, as they are given; [`Scenario`] is what they come to.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;

use crate::foreign::ForeignProcess;
use crate::keys::Keys;
use crate::scenario::{InvalidScenario, Length, MEMBERS, PREFILL_OVER, Scenario, Synchronous};

/// One setting.
#[derive(Debug, Clone, Args)]
pub(super) struct ScenarioArgs {
    /// What to measure: meter, meter-adjust, baseline, original, raw or noop
    #[arg(long, default_value = "meter")]
    engine: String,
    /// How a peer is set up: default or tuned
    #[arg(long, hide = true)]
    tuning: Option<String>,
    /// Writing callers in each process
    #[arg(long, value_name = "N", default_value_t = 64)]
    tasks: u32,
    /// Processes on the one file
    #[arg(long, value_name = "P", default_value_t = 1)]
    processes: u32,
    /// What an acknowledged write survives: full or normal [default: full; normal for original]
    #[arg(long)]
    synchronous: Option<Synchronous>,
    /// Operations in a transaction (raw)
    #[arg(long, value_name = "N", default_value_t = 1)]
    batch: u32,
    /// Members of each guild
    #[arg(long, value_name = "N", default_value_t = MEMBERS)]
    members: u64,
    #[command(flatten)]
    load: LoadArgs,
}

/// What all settings of a comparison have in common.
#[derive(Debug, Clone, Args)]
pub(super) struct LoadArgs {
    /// Reading callers in each process, beside the writing ones
    #[arg(long, value_name = "N")]
    pub(super) readers: Option<u32>,
    /// Pause of a reading caller between an answer and its next read [default: none]
    #[arg(long, value_parser = duration)]
    pub(super) read_every: Option<Duration>,
    /// Guilds
    #[arg(long, value_name = "N", default_value_t = 5)]
    guilds: u64,
    /// How members are drawn: uniform, zipf:S or hot:K
    #[arg(long, default_value = "zipf:1.1")]
    keys: Keys,
    /// Open loop: operations due a second, in all; latency counts from when they were due
    #[arg(long, value_name = "R")]
    rate: Option<f64>,
    /// Seed of the operations
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// How long to run before anything is measured
    #[arg(long, value_parser = duration)]
    warmup: Option<Duration>,
    /// For how long to measure: 500ms, 10s, 2m
    #[arg(long, value_parser = duration, conflicts_with = "operations")]
    duration: Option<Duration>,
    /// How many operations to run, in all, in place of a duration; without a warm-up
    #[arg(long, value_name = "N")]
    operations: Option<u64>,
    /// Store one message of every member beforehand
    #[arg(long)]
    prefill: bool,
    /// Over how long before the run these are spread [default: 30m]
    #[arg(long, value_parser = duration, requires = "prefill")]
    prefill_over: Option<Duration>,
}

/// Foreign processes beside a run.
#[derive(Debug, Clone, Default, Args)]
pub(super) struct ForeignArgs {
    /// Foreign processes on the file meanwhile: lock, vacuum-into, backup, truncate, reader
    #[arg(long, value_name = "KIND,..", value_delimiter = ',')]
    neighbours: Vec<ForeignProcess>,
    /// For how long the foreign reader holds a snapshot at a time; alone, it asks for that reader
    #[arg(long, value_parser = duration)]
    hold: Option<Duration>,
    /// How many times as long as it acted each of them then leaves the database alone, at least
    /// [default: 0; 1 for soak]
    #[arg(long, value_name = "X")]
    rest: Option<f64>,
}

#[cfg(feature = "engines")]
impl ForeignArgs {
    /// Whether it is told which there are.
    pub(super) const fn are_chosen(&self) -> bool {
        !self.neighbours.is_empty()
    }

    /// The scenario with these neighbours.
    pub(super) fn beside(&self, mut scenario: Scenario) -> Result<Scenario, InvalidScenario> {
        for neighbour in &self.neighbours {
            if !scenario.neighbours.contains(neighbour) {
                scenario.neighbours.push(*neighbour);
            }
        }
        if let Some(rest) = self.rest {
            scenario.rest = rest;
        }
        if let Some(hold) = self.hold {
            scenario.hold = hold;
            if scenario.neighbours.is_empty() {
                scenario.neighbours.push(ForeignProcess::Reader);
            }
        }
        scenario.validated()
    }
}

/// Where databases lie.
#[derive(Debug, Clone, Args)]
pub(super) struct DirArgs {
    /// Folder for the databases, on the disk that is to be measured [default: that of temporary
    /// files]
    #[arg(long, value_name = "FOLDER")]
    pub(super) dir: Option<PathBuf>,
}

/// How long a subcommand runs each setting, where it is not told.
#[derive(Debug, Clone, Copy)]
pub(super) struct Lengths {
    pub(super) warmup: Duration,
    pub(super) duration: Duration,
}

impl ScenarioArgs {
    pub(super) fn resolve(self, lengths: Lengths) -> Result<Scenario, InvalidScenario> {
        let synchronous = self.synchronous.unwrap_or(match self.engine.as_str() {
            // What the original sets, and what its figures are from.
            "original" => Synchronous::Normal,
            _ => Synchronous::Full,
        });
        Scenario {
            engine: self.engine,
            tuning: self.tuning,
            tasks: self.tasks,
            processes: self.processes,
            synchronous,
            batch: self.batch,
            members: self.members,
            ..self.load.base(lengths)
        }
        .validated()
    }
}

impl LoadArgs {
    /// Whether it is told how long to run.
    #[cfg(feature = "engines")]
    pub(super) const fn has_length(&self) -> bool {
        self.duration.is_some() || self.operations.is_some()
    }

    /// A scenario with this load, in which engine, tasks, processes, `synchronous` and members are
    /// still to be set.
    pub(super) fn base(&self, lengths: Lengths) -> Scenario {
        Scenario {
            readers: self.readers.unwrap_or(0),
            read_every: self.read_every,
            guilds: self.guilds,
            keys: self.keys,
            rate_per_s: self.rate,
            seed: self.seed,
            warmup: self.warmup.unwrap_or(lengths.warmup),
            length: match self.operations {
                Some(operations) => Length::Operations(operations),
                None => Length::Duration(self.duration.unwrap_or(lengths.duration)),
            },
            prefill: self.prefill,
            prefill_over: self.prefill_over.unwrap_or(PREFILL_OVER),
            ..Scenario::default()
        }
    }
}

/// A duration with its unit.
fn duration(text: &str) -> Result<Duration, String> {
    let invalid = || format!("`{text}` is no duration: expected a number and ms, s, m or h");
    let letters = text
        .find(|letter: char| letter.is_ascii_alphabetic())
        .ok_or_else(invalid)?;
    let (number, unit) = text.split_at(letters);
    let factor_s = match unit {
        "ms" => 1e-3,
        "s" => 1.0,
        "m" => 60.0,
        "h" => 3_600.0,
        _ => return Err(invalid()),
    };
    let number: f64 = number.parse().map_err(|_| invalid())?;
    Duration::try_from_secs_f64(number * factor_s).map_err(|_| invalid())
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Debug, Parser)]
    struct Line {
        #[command(flatten)]
        scenario: ScenarioArgs,
        #[command(flatten)]
        neighbours: ForeignArgs,
    }

    const LENGTHS: Lengths = Lengths {
        warmup: Duration::from_secs(2),
        duration: Duration::from_secs(10),
    };

    fn scenario(line: &[&str]) -> Scenario {
        let line = Line::try_parse_from([&["x"], line].concat()).unwrap();
        let scenario = line.scenario.resolve(LENGTHS).unwrap();
        line.neighbours.beside(scenario).unwrap()
    }

    #[test]
    fn nothing_given_is_the_default() {
        assert_eq!(scenario(&[]), Scenario::default());
    }

    #[test]
    fn the_original_is_normal_unless_told_otherwise() {
        assert_eq!(
            scenario(&["--engine", "original"]).synchronous,
            Synchronous::Normal
        );
        let full = ["--engine", "original", "--synchronous", "full"];
        assert_eq!(scenario(&full).synchronous, Synchronous::Full);
    }

    #[test]
    fn a_scenario_is_repeated_by_its_own_options() {
        let line = "--engine raw --tasks 3 --readers 2 --read-every 2.5ms --guilds 7 --members 9 --keys hot:4 \
                    --synchronous normal --batch 50 --rate 12.5 --seed 9 --warmup 250ms \
                    --duration 1.5s --prefill --prefill-over 90s --neighbours lock,reader --hold 1500ms --rest 0.5";
        let line: Vec<_> = line.split_whitespace().collect();
        let [counted, timed] = [
            scenario(&[
                "--engine",
                "meter",
                "--tuning",
                "tuned",
                "--operations",
                "77",
            ]),
            scenario(&line),
        ];
        for scenario_of in [counted, timed] {
            let options = scenario_of.options();
            let options: Vec<_> = options.iter().map(String::as_str).collect();
            let read = scenario(&options);
            assert_eq!(
                Scenario {
                    warmup: scenario_of.warmup,
                    ..read
                },
                scenario_of
            );
        }
    }

    #[test]
    fn a_time_to_hold_a_snapshot_asks_for_a_reader() {
        let neighbours = |line: &[&str]| scenario(line).neighbours;
        assert_eq!(neighbours(&["--hold", "5s"]), [ForeignProcess::Reader]);
        let line = ["--hold", "5s", "--neighbours", "lock,backup,lock"];
        assert_eq!(
            neighbours(&line),
            [ForeignProcess::Lock, ForeignProcess::Backup]
        );
    }

    #[test]
    fn durations_have_a_unit() {
        assert_eq!(duration("500ms"), Ok(Duration::from_millis(500)));
        assert_eq!(duration("1.5s"), Ok(Duration::from_millis(1_500)));
        assert_eq!(duration("2m"), Ok(Duration::from_mins(2)));
        for wrong in ["", "5", "s", "-1s", "1d", "NaNs", "1e30h"] {
            assert!(duration(wrong).is_err(), "{wrong}");
        }
    }
}
