//! Processes that take part in a fault: this program again, told on its command line what to be.

use std::io::{self, BufRead, BufReader, Lines, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use roas_domain::{EventOutcome, RepositoryError};
use rusqlite::{Connection, OpenFlags};
use serde::{Deserialize, Serialize};

use super::histories;
use super::load::Load;
use crate::BoxError;
use crate::Broken;
use crate::processes::ledger::open;
use roas_app::one_line;

/// The subcommand by which a program is started for a part.
pub const PART: &str = "part";

/// What a process is.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum Part {
    /// Records events, and writes down what it is told of each.
    Load(Load),
    /// Any other program: runs the statements that it is given, a line each.
    Neighbour { database: PathBuf },
    /// Takes its part in histories, a line each.
    Historian { database: PathBuf },
}

/// Plays the part that the command line names.
///
/// # Errors
///
/// Whatever keeps it from playing it to the end.
pub fn play() -> Result<(), BoxError> {
    let part = std::env::args().nth(2).ok_or("no part was named")?;
    match serde_json::from_str(&part)? {
        Part::Load(load) => crate::runtime().block_on(load.run()),
        Part::Neighbour { database } => neighbour(&database),
        Part::Historian { database } => crate::runtime().block_on(histories::take_part(database)),
    }
}

/// Runs statements, and answers after each line: `ok` with the last number that they came to, or the
/// error.
fn neighbour(database: &Path) -> Result<(), BoxError> {
    let connection = open(database, OpenFlags::SQLITE_OPEN_READ_WRITE)?;
    connection.busy_timeout(std::time::Duration::from_secs(5))?;
    let mut stdout = io::stdout().lock();
    writeln!(stdout, "ready")?;
    for line in io::stdin().lock().lines() {
        let answer = match run(&connection, &line?) {
            Ok(value) => format!("ok {value}"),
            Err(error) => format!("failed: {error}"),
        };
        writeln!(stdout, "{answer}")?;
    }
    Ok(())
}

/// Every statement to its last row, as a shell would.
fn run(connection: &Connection, sql: &str) -> rusqlite::Result<i64> {
    use rusqlite::fallible_iterator::FallibleIterator;

    let mut value = 0;
    let mut batch = rusqlite::Batch::new(connection, sql);
    while let Some(mut statement) = batch.next()? {
        let mut rows = statement.query([])?;
        while let Some(row) = rows.next()? {
            // Some pragmas answer text.
            value = row.get(0).unwrap_or(value);
        }
    }
    Ok(value)
}

/// A process that plays a part. It does not outlive this.
#[derive(Debug)]
pub(super) struct Actor {
    child: Child,
    orders: Option<ChildStdin>,
    answers: Lines<BufReader<ChildStdout>>,
}

impl Actor {
    /// Starts `executable`, which is this program, with the part. One that answers says that it is
    /// ready first.
    pub(super) fn start(executable: &Path, part: &Part) -> Result<Self, Broken> {
        let start = || -> Result<Self, BoxError> {
            let mut child = command(executable, part)?
                .stdin(Stdio::piped())
                .stdout(Stdio::piped())
                .spawn()?;
            let orders = child.stdin.take();
            let answers = child.stdout.take().ok_or("nobody listens to it")?;
            Ok(Self {
                child,
                orders,
                answers: BufReader::new(answers).lines(),
            })
        };
        let mut actor = start()
            .map_err(|error| Broken::new(format_args!("no process: {}", one_line(&*error))))?;
        match actor.hear()?.as_str() {
            "ready" => Ok(actor),
            other => Err(Broken::new(format_args!("a process began with `{other}`"))),
        }
    }

    /// Its process id.
    pub(super) fn id(&self) -> u32 {
        self.child.id()
    }

    /// Gives it a line, and waits for its answer.
    pub(super) fn ask(&mut self, line: &str) -> Result<String, Broken> {
        self.tell(line)?;
        self.hear()
    }

    /// Gives it a line.
    pub(super) fn tell(&mut self, line: &str) -> Result<(), Broken> {
        let told = match &mut self.orders {
            Some(orders) => writeln!(orders, "{line}"),
            None => Ok(()),
        };
        told.map_err(|error| Broken::new(format_args!("a process does not listen: {error}")))
    }

    /// Waits for a line of it.
    pub(super) fn hear(&mut self) -> Result<String, Broken> {
        match self.answers.next() {
            Some(Ok(line)) => Ok(line),
            Some(Err(error)) => Err(Broken::new(format_args!("a process is not heard: {error}"))),
            None => Err(Broken::new("a process ended unasked")),
        }
    }

    /// Gives it statements that have to succeed, and answers the last number that they came to.
    pub(super) fn run(&mut self, sql: &str) -> Result<u64, Broken> {
        let answer = self.ask(sql)?;
        answer
            .strip_prefix("ok ")
            .and_then(|value| value.parse().ok())
            .ok_or_else(|| Broken::new(format_args!("a neighbour's `{sql}` {answer}")))
    }

    /// Sends it a signal.
    pub(super) fn signal(&self, signal: Signal) -> Result<(), Broken> {
        let id = i32::try_from(self.child.id()).map_err(Broken::new)?;
        kill(Pid::from_raw(id), signal)
            .map_err(|error| Broken::new(format_args!("cannot send {signal}: {error}")))
    }

    /// Lets it end by itself, and waits until it has.
    pub(super) fn leave(mut self) -> Result<(), Broken> {
        drop(self.orders.take());
        self.child.wait().map(drop).map_err(Broken::new)
    }
}

impl Drop for Actor {
    fn drop(&mut self) {
        // Fails where it has ended already, which is what is wanted. A stopped process dies, too.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The command that starts `executable` with a part.
pub(super) fn command(executable: &Path, part: &Part) -> serde_json::Result<Command> {
    let mut command = Command::new(executable);
    command.arg(PART).arg(serde_json::to_string(part)?);
    Ok(command)
}

/// What an answer is, in a word, for figures.
pub(super) fn kind(answer: &Result<EventOutcome, RepositoryError>) -> &'static str {
    use roas_domain::RepositoryErrorKind as Kind;
    match answer.as_ref().map_err(RepositoryError::kind) {
        Ok(_) => "acknowledged",
        Err(Kind::Busy { .. }) => "busy",
        Err(Kind::OutcomeUnknown) => "outcome unknown",
        Err(_) => "other errors",
    }
}
