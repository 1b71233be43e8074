//! The command line.

mod args;
#[cfg(feature = "engines")]
mod compare;
#[cfg(feature = "engines")]
mod gate;
#[cfg(feature = "engines")]
mod live;
mod output;
mod peer;
#[cfg(feature = "engines")]
mod report;
#[cfg(feature = "engines")]
mod run;
#[cfg(feature = "engines")]
mod runner;
#[cfg(feature = "engines")]
mod soak;
#[cfg(feature = "engines")]
mod verify;

pub use peer::peer_main;

#[cfg(feature = "engines")]
pub use program::main;

#[cfg(feature = "engines")]
mod program {
    use std::process::ExitCode;

    use clap::{Parser, Subcommand};
    use thiserror::Error;

    use super::{compare, gate, output, peer, report, run, soak, verify};
    use crate::engine::{BoxError, BuiltIn};
    use crate::foreign::FOREIGN_PROCESS;

    /// A threshold was not kept.
    pub(in crate::cli) const BREACH: u8 = 99;

    /// Load tester of the activity meter: measures it, and what it replaces, on this machine, and
    /// checks after every run that the database holds exactly what was acknowledged
    #[derive(Debug, Parser)]
    #[command(name = "roas-bench", version)]
    struct Cli {
        #[command(subcommand)]
        command: Command,
    }

    #[derive(Debug, Subcommand)]
    enum Command {
        /// Run one scenario
        Run(run::RunArgs),
        /// Run several engines or settings in turns, and set them side by side
        Compare(compare::CompareArgs),
        /// Hold a run against thresholds; exits with 99 where one is not kept
        Gate(gate::GateArgs),
        /// Run many processes beside foreign ones that lock, copy and read the same file; fails
        /// where an error reaches a caller
        Soak(soak::SoakArgs),
        /// Render saved results as an HTML page
        Report(report::ReportArgs),
        /// Look into a database that a run has left
        #[command(hide = true)]
        Verify(verify::VerifyArgs),
    }

    /// Why the program could not do what it was asked.
    #[derive(Debug, Error)]
    pub(in crate::cli) enum CommandError {
        /// It was asked wrongly.
        #[error("{0}")]
        Usage(String),
        /// It failed.
        #[error(transparent)]
        Failed(#[from] BoxError),
    }

    impl CommandError {
        pub(in crate::cli) fn usage(error: impl std::fmt::Display) -> Self {
            Self::Usage(error.to_string())
        }

        pub(in crate::cli) fn failed(error: impl Into<BoxError>) -> Self {
            Self::Failed(error.into())
        }
    }

    /// What `main` does. Exit codes: 0; 1 for a failure, which a run is that was not verified, and a
    /// promise that was broken; 2 for a command that makes no sense; 99 for a threshold that was not
    /// kept.
    #[must_use]
    pub fn main() -> ExitCode {
        if peer::is_worker() {
            return peer::worker(&BuiltIn);
        }
        if peer::is_started_as(FOREIGN_PROCESS) {
            return neighbour();
        }
        let done = match Cli::parse().command {
            Command::Run(args) => run::run(args),
            Command::Compare(args) => compare::compare(args),
            Command::Gate(args) => gate::gate(args),
            Command::Soak(args) => soak::soak(&args),
            Command::Report(args) => report::report(&args),
            Command::Verify(args) => verify::verify(&args),
        };
        match done {
            Ok(code) => code,
            Err(CommandError::Usage(message)) => {
                output::note(format_args!("error: {message}"));
                ExitCode::from(2)
            }
            Err(CommandError::Failed(error)) => {
                output::note(format_args!("error: {}", crate::driver::chain(&*error)));
                ExitCode::FAILURE
            }
        }
    }

    /// What a process does that was started as a run's neighbour.
    fn neighbour() -> ExitCode {
        let orders = std::io::BufReader::new(std::io::stdin());
        match crate::foreign::serve(orders, std::io::stdout()) {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => {
                output::note(format_args!("error: {error}"));
                ExitCode::FAILURE
            }
        }
    }

    /// 0, or 1 where something was not verified.
    pub(in crate::cli) fn verified(all: bool) -> ExitCode {
        if all {
            ExitCode::SUCCESS
        } else {
            ExitCode::FAILURE
        }
    }
}
