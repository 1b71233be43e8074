//! The side of a process that was started as a neighbour.

use std::convert::Infallible;
use std::io::{BufRead, Write};
use std::sync::mpsc::{Receiver, RecvTimeoutError, sync_channel};
use std::thread;
use std::time::{Duration, Instant};

use rusqlite::{Connection, OpenFlags};

use super::act::{Holding, Locking, Truncating};
use super::copy::{BackingUp, Vacuuming};
use super::{ForeignCommand, ForeignProcess, ForeignReply};
use crate::driver::chain;
use crate::engine::BoxError;
use crate::engine::sqlite::{is_locked, open};
use crate::result::ForeignProcessResult;

/// How long one waits after a lock has kept it from what it does.
const PAUSE_AFTER_BUSY: Duration = Duration::from_millis(10);

/// What a neighbour does over and over.
pub(super) trait Act {
    /// Whether what it does is checked.
    const CHECKED: bool = false;

    /// Does it once. Waits for nothing but `stop` and SQLite.
    fn act(&mut self, stop: &Stop) -> Result<Done, BoxError>;

    /// How long to leave the database alone after that, at least.
    fn pause(&mut self) -> Duration;
}

/// What was done.
#[derive(Debug)]
pub(super) struct Done {
    /// For how long it was done, or what it took was held.
    pub(super) took: Duration,
    /// Whether others kept it from doing all of it.
    pub(super) cut_short: bool,
    /// What is wrong with it.
    pub(super) problems: Vec<String>,
}

/// When to stop: when the orders end, which they also do when whoever gave them is gone.
#[derive(Debug)]
pub(super) struct Stop(Receiver<Infallible>);

impl Stop {
    fn when_they_end(mut orders: impl BufRead + Send + 'static) -> std::io::Result<Self> {
        let (going_on, stop) = sync_channel(0);
        thread::Builder::new()
            .name("orders".to_owned())
            .spawn(move || {
                let _going_on = going_on;
                let mut rest = Vec::new();
                // However they end, they have ended.
                let _ = orders.read_to_end(&mut rest);
            })?;
        Ok(Self(stop))
    }

    /// Waits, and answers whether to stop.
    pub(super) fn wait(&self, time: Duration) -> bool {
        match self.0.recv_timeout(time) {
            Err(RecvTimeoutError::Timeout) => false,
            Err(RecvTimeoutError::Disconnected) => true,
            Ok(never) => match never {},
        }
    }
}

/// Serves as a neighbour until the orders end.
///
/// # Errors
///
/// Where it is not spoken to as it should be, has nobody to answer, or cannot open the database.
/// What goes wrong after that is part of what it answers.
pub fn serve(
    mut orders: impl BufRead + Send + 'static,
    mut answers: impl Write,
) -> Result<(), BoxError> {
    let mut line = String::new();
    orders.read_line(&mut line)?;
    let order: ForeignCommand = serde_json::from_str(&line)?;
    let stop = Stop::when_they_end(orders)?;
    let connection = open(&order.database, OpenFlags::SQLITE_OPEN_READ_WRITE)?;
    // Not only opened: this reads the file, and joins those who share its WAL.
    connection.query_row("SELECT count(*) FROM sqlite_schema", [], |_| Ok(()))?;
    answer(&mut answers, &ForeignReply::Ready)?;
    let done = match order.neighbour {
        ForeignProcess::Lock => go_on(Locking::new(connection, &order)?, &order, &stop),
        ForeignProcess::VacuumInto => go_on(Vacuuming::new(connection, &order)?, &order, &stop),
        ForeignProcess::Backup => go_on(BackingUp::new(connection, &order)?, &order, &stop),
        ForeignProcess::Truncate => go_on(Truncating::new(connection, &order)?, &order, &stop),
        ForeignProcess::Reader => go_on(Holding::new(connection, &order), &order, &stop),
    };
    answer(&mut answers, &ForeignReply::Done(done))
}

fn go_on<A: Act>(mut neighbour: A, order: &ForeignCommand, stop: &Stop) -> ForeignProcessResult {
    let mut result = ForeignProcessResult {
        neighbour: order.neighbour.name().to_owned(),
        verified: A::CHECKED.then_some(0),
        ..ForeignProcessResult::default()
    };
    loop {
        let since = Instant::now();
        let pause = match neighbour.act(stop) {
            Ok(done) => {
                let took_s = done.took.as_secs_f64();
                result.done += 1;
                result.busy += u64::from(done.cut_short);
                result.total_s += took_s;
                result.longest_s = result.longest_s.max(took_s);
                if let Some(verified) = &mut result.verified {
                    *verified += u64::from(done.problems.is_empty());
                }
                result.problems.extend(done.problems);
                neighbour.pause().max(since.elapsed().mul_f64(order.rest))
            }
            Err(error) if error.downcast_ref().is_some_and(is_locked) => {
                result.busy += 1;
                PAUSE_AFTER_BUSY
            }
            Err(error) => {
                result.problems.push(chain(&*error));
                return result;
            }
        };
        if stop.wait(pause) {
            return result;
        }
    }
}

/// Opens, for as long as `held` runs, and closes a transaction.
pub(super) fn hold<T>(
    connection: &Connection,
    begin: &str,
    held: impl FnOnce() -> Result<T, BoxError>,
) -> Result<(Duration, T), BoxError> {
    connection.execute_batch(begin)?;
    let since = Instant::now();
    let result = held();
    connection.execute_batch("COMMIT")?;
    Ok((since.elapsed(), result?))
}

fn answer(answers: &mut impl Write, answer: &ForeignReply) -> Result<(), BoxError> {
    let mut line = serde_json::to_vec(answer)?;
    line.push(b'\n');
    answers.write_all(&line)?;
    answers.flush()?;
    Ok(())
}
