//! `roas-bench torture`.

use std::io::{self, IsTerminal};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use roas_faults::mounted::keep_to_this_process;

use super::output;
use super::program::{CliError, verified};
use crate::torture::{Fault, PART, TortureReport, faults, play as play_part, run, text};

/// What to break, and how often.
///
/// Exits with 0 where every promise was kept, 1 where one was broken, 2 where the command makes no
/// sense. A fault that this machine cannot have is skipped, and the reason told. Run as root, the
/// power-ext4 faults mount file systems below the folder, which nobody else sees and which go with the
/// program.
#[derive(Debug, Args)]
pub(super) struct TortureArgs {
    /// Rounds of each fault
    #[arg(long, value_name = "N", default_value_t = 1)]
    rounds: u64,
    /// Seed of the first round; each round after it has the next
    #[arg(long, value_name = "S", default_value_t = 1)]
    seed: u64,
    /// Run these faults alone
    #[arg(long, value_name = "FAULT,..", value_delimiter = ',')]
    only: Vec<String>,
    /// Say which faults there are, and run none
    #[arg(long, conflicts_with_all = ["only", "json"])]
    list: bool,
    /// Print the report as JSON
    #[arg(long)]
    json: bool,
    /// Folder for the databases [default: that of temporary files]
    #[arg(long, value_name = "FOLDER")]
    dir: Option<PathBuf>,
}

/// Where the program was started to take a part in a fault: plays it.
pub(super) fn play() -> Option<ExitCode> {
    match std::env::args().nth(1)?.as_str() {
        PART => Some(match play_part() {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => {
                output::note(format_args!("error: {}", crate::driver::chain(&*error)));
                ExitCode::FAILURE
            }
        }),
        // The operator's program itself.
        "roas" => Some(roas_cli::run_with(std::env::args_os().skip(1))),
        _ => None,
    }
}

/// Runs the faults, and tells what came of it.
pub(super) fn torture(args: &TortureArgs) -> Result<ExitCode, CliError> {
    let chosen = chosen(faults(), &args.only)?;
    if args.list {
        let lines: Vec<String> = chosen
            .iter()
            .map(|fault| format!("{}: {}\n", fault.name(), fault.about()))
            .collect();
        output::result(&lines.concat()).map_err(CliError::failed)?;
        return Ok(ExitCode::SUCCESS);
    }
    if chosen.iter().any(|fault| fault.mounts()) {
        keep_to_this_process();
    }
    let folder = args.dir.clone().unwrap_or_else(std::env::temp_dir);
    let mut report = TortureReport {
        seed: args.seed,
        faults: Vec::new(),
    };
    for fault in chosen {
        let bar = bar(fault.name(), args.rounds);
        let result = run(&*fault, args.rounds, args.seed, &folder, |done, failed| {
            bar.set_position(done);
            bar.set_message(format!("{failed} failed"));
        });
        bar.finish_and_clear();
        // Where nobody sees the bar, and the whole takes hours, a line a fault is a sign of life.
        if !io::stderr().is_terminal() {
            output::note(format_args!(
                "{}: {} rounds, {} states, {} failed, {:.1} s",
                result.name, result.rounds, result.states, result.failed, result.elapsed_s
            ));
        }
        report.faults.push(result);
    }
    let told = if args.json {
        let json = serde_json::to_string_pretty(&report).map_err(CliError::failed)?;
        format!("{json}\n")
    } else {
        text(&report)
    };
    output::result(&told).map_err(CliError::failed)?;
    Ok(verified(report.kept()))
}

/// Those of the faults that were asked for, all where none was named.
fn chosen(faults: Vec<Box<dyn Fault>>, only: &[String]) -> Result<Vec<Box<dyn Fault>>, CliError> {
    let names: Vec<_> = faults.iter().map(|fault| fault.name()).collect();
    if let Some(unknown) = only.iter().find(|name| !names.contains(&name.as_str())) {
        return Err(CliError::Usage(format!(
            "there is no fault `{unknown}`: expected one of {}",
            names.join(", ")
        )));
    }
    Ok(faults
        .into_iter()
        .filter(|fault| only.is_empty() || only.iter().any(|name| name == fault.name()))
        .collect())
}

fn bar(name: &'static str, rounds: u64) -> ProgressBar {
    let bar = ProgressBar::with_draw_target(Some(rounds), ProgressDrawTarget::stderr_with_hz(4));
    if let Ok(style) = ProgressStyle::with_template("{prefix} [{bar:24}] {pos}/{len} {wide_msg}") {
        bar.set_style(style.progress_chars("=> "));
    }
    bar.set_prefix(name);
    bar
}
