//! The `roas` program: reads the command line, runs one command, answers.
//!
//! Stdout carries the answer and nothing else (`output`), stderr everything else (`console`). A
//! command that fails says so in one line on stderr and prints no answer.

/// The snippets of the repository's README, compiled as tests.
#[cfg(doctest)]
#[doc = include_str!("../../../README.md")]
struct Readme;

mod args;
mod audit;
mod boards;
mod change;
mod console;
mod copies;
mod demo;
mod error;
mod ingest;
mod input_format;
mod migrate;
mod output;
mod progress;
mod query;
pub mod settings;
mod signals;
mod versions;

use std::ffi::OsString;
use std::io;
use std::num::NonZero;
use std::path::Path;
use std::process::ExitCode;
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use clap::Parser;
use roas_db::{Access, OnOldSchema, OpenError};

use self::args::{Cli, Command};
use self::console::Console;
use self::output::{Column, Output, Report, Style, duration_us, grouped, table};
use self::signals::Interrupt;
use crate::settings::Settings;

use crate::error::{CliError, with_advice};
use crate::settings::database_config;
use roas_app::meter::Meter;

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
        console.line(&format!("roas: {}", with_advice(&failure)));
        failure.exit_code()
    })
}

fn start(cli: Cli, console: &Console) -> Result<ExitCode, CliError> {
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
        interrupt: Interrupt::default(),
    };

    let workers = thread::available_parallelism().map_or(1, NonZero::get);
    find_threads(workers + MORE_THREADS).map_err(CliError::io("cannot start threads"))?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        // As many as were found: tokio's own number can be another.
        .worker_threads(workers)
        .enable_all()
        .thread_keep_alive(KEEP_THREADS)
        .build()
        .map_err(CliError::io("cannot start the runtime"))?;
    let outcome = runtime.block_on(async {
        start_a_thread().await?;
        if cli.command.works_on_the_whole_file() {
            context.interrupt.listen()?;
        }
        execute(cli.command, cli.global.db.as_deref(), &context).await
    });
    // A thread may still wait for a line on stdin. What is to be kept has been closed by now.
    runtime.shutdown_background();
    outcome.map_err(|failure| match (failure, context.interrupt.code()) {
        (CliError::Open(source @ OpenError::Interrupted { .. }), Some(code)) => {
            CliError::Interrupted { code, source }
        }
        (failure, _) => failure,
    })
}

/// Besides the runtime's workers: the writer, the maintenance, and those that block.
const MORE_THREADS: usize = 4;

/// Starts `count` threads, as many as a command needs, all at once, and ends them. A runtime that is
/// refused one while it starts panics, or waits for itself; asked for before, it is an error.
fn find_threads(count: usize) -> io::Result<()> {
    let gate = Mutex::new(());
    thread::scope(|scope| {
        let _closed = gate.lock();
        for _ in 0..count {
            thread::Builder::new()
                .name("roas-probe".to_owned())
                .spawn_scoped(scope, || drop(gate.lock()))?;
        }
        Ok(())
    })
}

/// How long a thread for what blocks stays when it has nothing to do: for good.
const KEEP_THREADS: Duration = Duration::from_hours(365 * 24);

/// How long the system may take to start a thread.
const THREAD_WITHIN: Duration = Duration::from_secs(5);

/// Makes sure that there is a thread for what blocks. Where the system has none to give, tokio has such
/// work wait for one that is busy, and before the first of them is there, for ever.
async fn start_a_thread() -> Result<(), CliError> {
    let thread = tokio::task::spawn_blocking(|| ());
    match tokio::time::timeout(THREAD_WITHIN, thread).await {
        Ok(Ok(())) => Ok(()),
        _ => Err(CliError::io("cannot start a thread")(
            io::ErrorKind::TimedOut.into(),
        )),
    }
}

/// What every command needs.
struct Context<'a> {
    settings: Settings,
    output: Output,
    on_old_schema: OnOldSchema,
    console: &'a Console,
    /// What interrupts an operation on the whole file.
    interrupt: Interrupt,
}

async fn execute(
    command: Command,
    db: Option<&Path>,
    context: &Context<'_>,
) -> Result<ExitCode, CliError> {
    let Context {
        settings,
        output,
        console,
        ..
    } = context;
    match command {
        Command::Audit => return audit::audit(context),
        Command::Migrate(args) => migrate::migrate(&args, context)?,
        Command::Rollback(args) => versions::rollback(&args, context)?,
        Command::Repair => versions::repair(context)?,
        Command::Backup(args) => copies::backup(&args, context)?,
        Command::Restore(args) => copies::restore(&args, context)?,
        Command::Check => return versions::check(context),
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

/// The exit code of a command that looked and found something.
const FOUND: u8 = 4;

impl Context<'_> {
    /// The database's configuration for a command that works on the file as a whole.
    fn file_config(&self) -> roas_db::Config {
        database_config(&self.settings, Access::ReadWrite, self.on_old_schema)
            .interrupt(Arc::clone(&self.interrupt.flag))
    }

    /// Tells on stderr how far an operation on the file is: as a bar on a terminal, elsewhere a line
    /// for each tenth. Small files are done before anyone asks.
    fn watcher(&self) -> roas_db::Watcher {
        const LARGE_BYTES: u64 = 32 * 1024 * 1024;
        let large =
            std::fs::metadata(&self.settings.db).is_ok_and(|file| file.len() >= LARGE_BYTES);
        if large {
            progress::watcher(self.console.clone())
        } else {
            roas_db::Watcher::default()
        }
    }

    /// Opens the meter, hands it to `work`, and closes it whatever came of that.
    async fn with_meter<T>(
        &self,
        access: Access,
        work: impl AsyncFnOnce(&Meter) -> Result<T, CliError>,
    ) -> Result<T, CliError> {
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
