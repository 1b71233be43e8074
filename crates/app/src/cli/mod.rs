//! The `roas` program: reads the command line, runs one command, answers.
//!
//! Stdout carries the answer and nothing else (`output`), stderr everything else (`console`). A
//! command that fails says so in one line on stderr and prints no answer.

mod args;
mod change;
mod console;
mod demo;
mod ingest;
mod migrate;
mod output;
mod query;

use std::ffi::OsString;
use std::path::Path;
use std::process::ExitCode;

use clap::Parser;
use roas_db::{Access, OnOldSchema};

use self::args::{Cli, Command};
use self::console::Console;
use self::output::{Column, Output, Report, Style, duration_us, grouped, table};
use crate::config::Settings;

use crate::error::Failure;
use crate::meter::{Meter, database_config};

/// Runs the program on the process's own arguments and environment, and answers its exit code.
#[must_use]
pub fn run() -> ExitCode {
    run_with(std::env::args_os())
}

/// Runs the program on other arguments, of which the first is its own name.
#[must_use]
pub fn run_with(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    let cli = match Cli::try_parse_from(arguments) {
        Ok(cli) => cli,
        Err(usage) => {
            // Where neither stdout nor stderr takes it, there is nobody left to tell.
            let _ = usage.print();
            return ExitCode::from(if usage.use_stderr() { 2 } else { 0 });
        }
    };
    let console = Console::default();
    start(cli, &console).unwrap_or_else(|failure| {
        console.end_progress();
        console.line(&format!("roas: {}", failure.line()));
        failure.exit_code()
    })
}

fn start(cli: Cli, console: &Console) -> Result<ExitCode, Failure> {
    let config = cli.global.config.as_deref();
    let settings = Settings::load(config, cli.global.layer(), &|name| std::env::var_os(name))?;
    console.install_log(settings.log);
    let on_old_schema = if cli.global.no_migrate {
        OnOldSchema::Refuse
    } else {
        OnOldSchema::Migrate
    };
    let context = Context {
        output: Output::new(settings.json),
        settings,
        on_old_schema,
        console,
    };

    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(Failure::io("cannot start the runtime"))?;
    let outcome = runtime.block_on(execute(cli.command, cli.global.db.as_deref(), &context));
    // A thread may still wait for a line on stdin. What is to be kept has been closed by now.
    runtime.shutdown_background();
    outcome
}

/// What every command needs.
struct Context<'a> {
    settings: Settings,
    output: Output,
    on_old_schema: OnOldSchema,
    console: &'a Console,
}

async fn execute(
    command: Command,
    db: Option<&Path>,
    context: &Context<'_>,
) -> Result<ExitCode, Failure> {
    let Context {
        settings,
        output,
        console,
        ..
    } = context;
    match command {
        Command::Migrate(args) => migrate::migrate(&args, context)?,
        Command::Ingest(args) => return ingest::ingest(args, context).await,
        Command::Member(args) => query::member(args, context).await?,
        Command::Leaderboard(args) => query::leaderboard(args, context).await?,
        Command::Stats => query::stats(context).await?,
        Command::Adjust(args) => change::adjust(args, context).await?,
        Command::Rules(args) => change::rules(args, context).await?,
        Command::Demo(args) => demo::run(args.seconds, db, settings, *output, console).await?,
        Command::DemoWorker(args) => {
            Output::object(&demo::work(args.seconds, args.begin, settings).await?)?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

impl Context<'_> {
    /// Opens the meter, hands it to `work`, and closes it whatever came of that.
    async fn with_meter<T>(
        &self,
        access: Access,
        work: impl AsyncFnOnce(&Meter) -> Result<T, Failure>,
    ) -> Result<T, Failure> {
        let meter =
            Meter::open(database_config(&self.settings, access, self.on_old_schema)).await?;
        let outcome = work(&meter).await;
        let closed = meter.close().await;
        // Of two failures the first is the cause.
        let outcome = outcome?;
        closed?;
        Ok(outcome)
    }
}
