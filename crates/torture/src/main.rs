//! The program `roas-torture`.

use std::io::{self, IsTerminal, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use roas_app::one_line;
use roas_torture::processes::{PART, play};
use roas_torture::storage::mounted::keep_to_this_process;
use roas_torture::{BoxError, Fault, TortureReport, faults, run, text};

/// Break the database on purpose, over and over, and hold it to what it promises
///
/// Exits with 0 where every promise was kept, 1 where one was broken, 2 where the command makes no
/// sense. A fault that this machine cannot have is skipped, and the reason told. Run as root, the
/// power-ext4 faults mount file systems below the folder, which nobody else sees and which go with the
/// program.
#[derive(Debug, Parser)]
#[command(name = "roas-torture", version)]
struct Cli {
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

fn main() -> ExitCode {
    let done = match std::env::args().nth(1).as_deref() {
        // Some faults start this program again, to take a part in them.
        Some(PART) => play().map(|()| ExitCode::SUCCESS),
        // The operator's program itself.
        Some("roas") => return roas_cli::run_with(std::env::args_os().skip(1)),
        _ => torture(&Cli::parse()),
    };
    done.unwrap_or_else(|error| {
        note(&format!("error: {}", one_line(&*error)));
        ExitCode::FAILURE
    })
}

/// Runs the faults, and prints what came of it.
fn torture(args: &Cli) -> Result<ExitCode, BoxError> {
    let chosen = match chosen(faults(), &args.only) {
        Ok(chosen) => chosen,
        Err(unknown) => {
            note(&format!("error: {unknown}"));
            return Ok(ExitCode::from(2));
        }
    };
    if args.list {
        let lines: Vec<String> = chosen
            .iter()
            .map(|fault| format!("{}: {}\n", fault.name(), fault.about()))
            .collect();
        print(&lines.concat())?;
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
            note(&format!(
                "{}: {} rounds, {} states, {} failed, {:.1} s",
                result.name, result.rounds, result.states, result.failed, result.elapsed_s
            ));
        }
        report.faults.push(result);
    }
    let told = if args.json {
        let json = serde_json::to_string_pretty(&report)?;
        format!("{json}\n")
    } else {
        text(&report)
    };
    print(&told)?;
    Ok(if report.kept() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

/// Those of the faults that were asked for, all where none was named.
fn chosen(faults: Vec<Box<dyn Fault>>, only: &[String]) -> Result<Vec<Box<dyn Fault>>, String> {
    let names: Vec<_> = faults.iter().map(|fault| fault.name()).collect();
    if let Some(unknown) = only.iter().find(|name| !names.contains(&name.as_str())) {
        return Err(format!(
            "there is no fault `{unknown}`: expected one of {}",
            names.join(", ")
        ));
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

/// Writes text to standard output. A reader that has gone away is no error.
fn print(text: &str) -> io::Result<()> {
    let mut stdout = io::stdout().lock();
    match stdout
        .write_all(text.as_bytes())
        .and_then(|()| stdout.flush())
    {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        written => written,
    }
}

/// Writes a line to standard error; where that is closed, nothing is left to report to.
fn note(line: &str) {
    let _ = writeln!(io::stderr().lock(), "{line}");
}
