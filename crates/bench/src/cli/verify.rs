//! `roas-bench verify`: for programs that run a workload of their own.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;

use super::output;
use super::program::{CommandError, verified};
use crate::verify::{Expected, check};

/// Where to look, and what for.
#[derive(Debug, Args)]
pub(super) struct VerifyArgs {
    /// The database, which nobody has open any more
    file: PathBuf,
    /// Operations that were acknowledged
    #[arg(long, value_name = "N")]
    expect: u64,
    /// Operations that may be there or not
    #[arg(long, value_name = "N", default_value_t = 0)]
    unknown: u64,
    /// The engine that wrote it
    #[arg(long, default_value = "peer")]
    engine: String,
}

/// Looks into a database, and prints what it found as JSON.
pub(super) fn verify(args: &VerifyArgs) -> Result<ExitCode, CommandError> {
    let expected = Expected {
        engine: args.engine.clone(),
        acknowledged: args.expect,
        unknown: args.unknown,
        prefilled: 0,
    };
    let found = check(&args.file, &expected);
    let json = serde_json::to_string_pretty(&found).map_err(CommandError::failed)?;
    output::result(&format!("{json}\n")).map_err(CommandError::failed)?;
    Ok(verified(found.problems.is_empty()))
}
