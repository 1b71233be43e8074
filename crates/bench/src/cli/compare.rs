//! `roas-bench compare`.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use clap::Args;

use super::args::{DirArgs, ForeignArgs, Lengths, LoadArgs};
use super::output;
use super::program::{CommandError, verified};
use super::report::read;
use super::run::FormArgs;
use super::runner::{Setting, rounds};
use crate::compare::{EngineSpec, Matrix, sum_up};
use crate::report::{compare_markdown, compare_text, saved_text};
use crate::scenario::{Length, MEMBERS, Scenario, Synchronous};

/// How long each setting runs, where that is not told.
const LENGTHS: Lengths = Lengths {
    warmup: Duration::from_secs(1),
    duration: Duration::from_secs(5),
};

/// Where the peers' workspace puts its programs, as seen from the workspace's root.
const PEERS: &str = "crates/bench/peers/target/release";

/// What the name of a peer's program begins with; the peer's own name follows.
const PEER_PREFIX: &str = "peer-";

/// What to compare.
#[derive(Debug, Args)]
pub(super) struct CompareArgs {
    /// The engines; raw:N is raw with N operations in a transaction
    #[arg(
        long,
        value_name = "ENGINE,..",
        value_delimiter = ',',
        default_value = "meter,meter-adjust,baseline,original,raw:1,raw:50,raw:500"
    )]
    engines: Vec<EngineSpec>,
    /// Writing callers in each process
    #[arg(long, value_name = "N,..", value_delimiter = ',', default_value = "64")]
    tasks: Vec<u32>,
    /// Processes on the one file
    #[arg(long, value_name = "P,..", value_delimiter = ',', default_value = "1")]
    processes: Vec<u32>,
    /// What an acknowledged write survives: full, normal
    #[arg(
        long,
        value_name = "S,..",
        value_delimiter = ',',
        default_value = "full"
    )]
    synchronous: Vec<Synchronous>,
    /// Members of each guild
    #[arg(long, value_name = "N,..", value_delimiter = ',', default_values_t = [MEMBERS])]
    members: Vec<u64>,
    /// How often each setting runs; the settings take turns
    #[arg(long, value_name = "R", default_value_t = 3)]
    repeat: u32,
    #[command(flatten)]
    load: LoadArgs,
    #[command(flatten)]
    neighbours: ForeignArgs,
    /// Also the peers, whose programs are built in a workspace of their own
    #[arg(long)]
    peers: bool,
    /// Only these peers
    #[arg(
        long,
        value_name = "NAME,..",
        value_delimiter = ',',
        requires = "peers"
    )]
    only_peers: Vec<String>,
    /// How the peers are set up: as their READMEs show (default), and as well as they can be (tuned)
    #[arg(
        long,
        value_name = "TUNING,..",
        value_delimiter = ',',
        value_parser = ["default", "tuned"],
        default_value = "default,tuned",
        requires = "peers"
    )]
    tunings: Vec<String>,
    /// Where the peers' programs are
    #[arg(long, value_name = "FOLDER", default_value = PEERS, requires = "peers")]
    peers_dir: PathBuf,
    /// The setting, by its label, that ratios are against [default: the first]
    #[arg(long, value_name = "LABEL")]
    reference: Option<String>,
    /// A saved result to set beside
    #[arg(long, value_name = "FILE")]
    baseline: Option<PathBuf>,
    /// The comparison's title
    #[arg(long)]
    title: Option<String>,
    #[command(flatten)]
    form: FormArgs,
    #[command(flatten)]
    dir: DirArgs,
}

/// Runs every setting, in turns.
pub(super) fn compare(args: CompareArgs) -> Result<ExitCode, CommandError> {
    let before = args.baseline.as_deref().map(read).transpose()?;
    let base = args.neighbours.beside(args.load.base(LENGTHS));
    let base = base.map_err(CommandError::usage)?;
    if args.peers && !base.neighbours.is_empty() {
        let message = "the peers' programs have no neighbours: leave out --peers, or --neighbours \
                       and --hold";
        return Err(CommandError::Usage(message.to_owned()));
    }
    let settings = settings(&args, &base)?;
    let labels: Vec<_> = settings
        .iter()
        .map(|setting| setting.scenario.label())
        .collect();
    let reference = match args.reference {
        None => labels.first().cloned().unwrap_or_default(),
        Some(reference) if labels.contains(&reference) => reference,
        Some(reference) => {
            let labels = labels.join(", ");
            return Err(CommandError::Usage(format!(
                "no setting is labelled `{reference}`; there are {labels}"
            )));
        }
    };
    if args.repeat == 0 {
        return Err(CommandError::Usage("repeat must be at least 1".to_owned()));
    }
    let runs = rounds(&settings, args.repeat, args.dir.dir.as_deref())?;
    let title = args
        .title
        .unwrap_or_else(|| title(&base, &args.members, args.repeat));
    let result = sum_up(title, runs, reference, command());
    args.form.tell(&result, compare_markdown, compare_text)?;
    if let Some(before) = before {
        let beside = saved_text(&result, &before);
        if args.form.is_text() {
            output::result(&beside).map_err(CommandError::failed)?;
        } else {
            output::note(beside);
        }
    }
    Ok(verified(result.rows.iter().all(|row| row.verified)))
}

fn settings(args: &CompareArgs, base: &Scenario) -> Result<Vec<Setting>, CommandError> {
    let matrix = |engines| Matrix {
        engines,
        tasks: args.tasks.clone(),
        processes: args.processes.clone(),
        synchronous: args.synchronous.clone(),
        members: args.members.clone(),
    };
    let built_in = matrix(args.engines.clone()).settings(base);
    let mut settings = built_in
        .into_iter()
        .map(Setting::built_in)
        .collect::<Result<Vec<_>, CommandError>>()?;
    if args.peers {
        for (name, program) in peers(&args.peers_dir, &args.only_peers)? {
            for tuning in &args.tunings {
                let base = Scenario {
                    tuning: Some(tuning.clone()),
                    ..base.clone()
                };
                let engine = EngineSpec {
                    name: name.clone(),
                    batch: None,
                };
                for scenario in matrix(vec![engine]).settings(&base) {
                    settings.push(Setting {
                        scenario: scenario.validated().map_err(CommandError::usage)?,
                        peer: Some(program.clone()),
                    });
                }
            }
        }
    }
    Ok(settings)
}

/// The peers' programs by name: every file `peer-NAME`.
fn peers(folder: &Path, only: &[String]) -> Result<Vec<(String, PathBuf)>, CommandError> {
    let missing = |what: &str| {
        let folder = folder.display();
        CommandError::Usage(format!(
            "{what} in `{folder}`; build them with crates/bench/peers/build.sh, and start this \
             program in the repository's root or name their folder with --peers-dir"
        ))
    };
    let entries = std::fs::read_dir(folder).map_err(|_| missing("there are no peers"))?;
    let mut found: Vec<_> = entries
        .filter_map(|entry| {
            let path = entry.ok()?.path();
            // Cargo leaves lists of dependencies beside its programs.
            let is_program = path.is_file() && path.extension().is_none();
            let name = path
                .file_name()?
                .to_str()?
                .strip_prefix(PEER_PREFIX)?
                .to_owned();
            is_program.then_some((name, path))
        })
        .filter(|(name, _)| only.is_empty() || only.contains(name))
        .collect();
    if found.is_empty() {
        return Err(missing("there are no peers"));
    }
    if let Some(name) = only
        .iter()
        .find(|name| found.iter().all(|(found, _)| found != *name))
    {
        return Err(missing(&format!("there is no peer `{name}`")));
    }
    found.sort();
    Ok(found)
}

/// What all settings have in common.
fn title(base: &Scenario, members: &[u64], repeat: u32) -> String {
    let length = match base.length {
        Length::Duration(length) => format!("{:.1} s", length.as_secs_f64()),
        Length::Operations(operations) => format!("{operations} operations"),
    };
    let pace = match base.rate_per_s {
        None => "closed loop".to_owned(),
        Some(rate) => format!("open loop at {rate}/s"),
    };
    let (guilds, keys) = (base.guilds, base.keys);
    let members: Vec<_> = members.iter().map(u64::to_string).collect();
    let members = members.join(", ");
    let mut title = format!("{guilds} x {members} members, {keys}, {pace}, {repeat} x {length}");
    if base.readers > 0 {
        title = format!("{title}, {} readers", base.readers);
    }
    if !base.neighbours.is_empty() {
        let names: Vec<_> = base.neighbours.iter().map(|kind| kind.name()).collect();
        title = format!("{title}, beside {}", names.join(", "));
    }
    title
}

/// The command as it was given.
pub(super) fn command() -> String {
    let quoted = |argument: String| {
        let is_plain =
            |letter: char| letter.is_ascii_alphanumeric() || "-_=.,:/@+%".contains(letter);
        if !argument.is_empty() && argument.chars().all(is_plain) {
            argument
        } else {
            format!("'{}'", argument.replace('\'', "'\\''"))
        }
    };
    let arguments = std::env::args_os().skip(1);
    let arguments = arguments.map(|argument| quoted(argument.to_string_lossy().into_owned()));
    let arguments: Vec<_> = arguments.collect();
    format!("roas-bench {}", arguments.join(" "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn peers_are_found_by_their_names() {
        let folder = tempfile::tempdir().unwrap();
        let found = |only: &[&str]| {
            let only: Vec<_> = only.iter().map(|name| (*name).to_owned()).collect();
            peers(folder.path(), &only)
                .map(|found| found.into_iter().map(|(name, _)| name).collect::<Vec<_>>())
                .map_err(|error| error.to_string())
        };
        assert!(found(&[]).unwrap_err().contains("peers/build.sh"));
        for file in ["peer-sqlx", "peer-sqlx.d", "peer-diesel", "other"] {
            std::fs::write(folder.path().join(file), "").unwrap();
        }
        std::fs::create_dir(folder.path().join("peer-folder")).unwrap();
        assert_eq!(found(&[]).unwrap(), ["diesel", "sqlx"]);
        assert_eq!(found(&["sqlx"]).unwrap(), ["sqlx"]);
        assert!(
            found(&["sqlx", "nobody"])
                .unwrap_err()
                .contains("no peer `nobody`")
        );
        assert!(peers(&folder.path().join("nowhere"), &[]).is_err());
    }
}
