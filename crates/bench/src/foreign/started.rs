//! The side that starts the neighbours and stops them.

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};

use super::{FOREIGN_PROCESS, ForeignCommand, ForeignProcess, ForeignReply};
use crate::driver::RunError;
use crate::result::ForeignProcessResult;
use crate::scenario::Scenario;

/// The neighbours of a run. They do not outlive this.
#[derive(Debug)]
pub(crate) struct ForeignProcesses(Vec<Started>);

impl ForeignProcesses {
    /// Starts the scenario's neighbours from `executable`, a program that calls [`super::serve`]
    /// for the subcommand [`FOREIGN_PROCESS`]. All have opened the database when this returns.
    pub(crate) fn start(
        scenario: &Scenario,
        database: &Path,
        executable: &Path,
    ) -> Result<Self, RunError> {
        let started = scenario.neighbours.iter().map(|&neighbour| {
            let order = ForeignCommand {
                neighbour,
                database: database.to_owned(),
                engine: scenario.engine.clone(),
                prefilled: scenario.prefilled(),
                hold: scenario.hold,
                rest: scenario.rest,
                seed: scenario.seed,
            };
            Started::new(executable, &order)
        });
        let mut neighbours = Self(started.collect::<Result<_, _>>()?);
        for started in &mut neighbours.0 {
            match started.answer()? {
                ForeignReply::Ready => {}
                ForeignReply::Done(_) => {
                    return Err(started.failed("it stopped before it began", None));
                }
            }
        }
        Ok(neighbours)
    }

    /// Tells all of them to stop, and answers what they did. Each first ends what it is about.
    pub(crate) fn stop(mut self) -> Result<Vec<ForeignProcessResult>, RunError> {
        for started in &mut self.0 {
            drop(started.child.stdin.take());
        }
        self.0
            .iter_mut()
            .map(|started| match started.answer()? {
                ForeignReply::Done(result) => Ok(result),
                ForeignReply::Ready => Err(started.failed("it began twice", None)),
            })
            .collect()
    }
}

#[derive(Debug)]
struct Started {
    neighbour: ForeignProcess,
    child: Child,
    said: Option<BufReader<ChildStdout>>,
}

impl Started {
    fn new(executable: &Path, order: &ForeignCommand) -> Result<Self, RunError> {
        let failed = |doing| {
            move |source| RunError::ForeignProcess {
                neighbour: order.neighbour,
                doing,
                source: Some(source),
            }
        };
        let mut child = Command::new(executable)
            .arg(FOREIGN_PROCESS)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .map_err(failed("cannot start it"))?;
        let said = child.stdout.take().map(BufReader::new);
        let started = Self {
            neighbour: order.neighbour,
            child,
            said,
        };
        let give = |mut orders: &std::process::ChildStdin| {
            let mut line = serde_json::to_vec(order)?;
            line.push(b'\n');
            orders.write_all(&line)
        };
        let sent = started.child.stdin.as_ref().map_or(Ok(()), give);
        sent.map_err(failed("cannot tell it what to do"))?;
        Ok(started)
    }

    /// What it says next.
    fn answer(&mut self) -> Result<ForeignReply, RunError> {
        let mut line = String::new();
        let read = self
            .said
            .as_mut()
            .map_or(Ok(0), |said| said.read_line(&mut line));
        read.and_then(|_| Ok(serde_json::from_str(&line)?))
            .map_err(|source| self.failed("it ended without a report", Some(source)))
    }

    fn failed(&self, doing: &'static str, source: Option<std::io::Error>) -> RunError {
        RunError::ForeignProcess {
            neighbour: self.neighbour,
            doing,
            source,
        }
    }
}

impl Drop for Started {
    fn drop(&mut self) {
        // Fails where it has ended already, which is what is wanted.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
