//! roas-bench's workload on tokio-rusqlite: one connection on a thread of its own, which takes
//! calls from a queue.

use std::process::ExitCode;

use async_trait::async_trait;
use peer_kit::{BoxError, CallError, Message, Peer, Prefill, Question, Setup};
use peer_rusqlite::{create, execute, failed, immediate, read, refused, set_up, text};
use tokio_rusqlite::{Connection, Error};

#[derive(Debug, Clone)]
struct TokioRusqlite {
    connection: Connection,
    tuned: bool,
}

impl TokioRusqlite {
    async fn call<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut rusqlite::Connection) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T, CallError> {
        self.connection
            .call(work)
            .await
            .map_err(|error| match error {
                Error::Error(error) => failed(error),
                other => refused(other),
            })
    }
}

#[async_trait]
impl Peer for TokioRusqlite {
    const NAME: &'static str = "tokio-rusqlite";

    async fn create(setup: Setup, prefill: Prefill) -> Result<(), BoxError> {
        let peer = Self::open(setup).await?;
        peer.connection
            .call(|connection| create(connection, prefill))
            .await?;
        peer.close().await
    }

    async fn open(setup: Setup) -> Result<Self, BoxError> {
        let tuned = setup.tuned;
        let connection = Connection::open(setup.path()).await?;
        connection
            .call(move |connection| set_up(connection, &setup))
            .await?;
        Ok(Self { connection, tuned })
    }

    async fn store(&self, message: Message) -> Result<(), CallError> {
        if self.tuned {
            self.call(move |connection| immediate(connection, message))
                .await
        } else {
            self.call(move |connection| execute(connection, message))
                .await
        }
    }

    async fn read(&self, question: Question) -> Result<(), CallError> {
        self.call(move |connection| read(connection, question))
            .await
    }

    async fn text(&self, sql: &'static str) -> Result<String, BoxError> {
        Ok(self
            .connection
            .call(move |connection| text(connection, sql))
            .await?)
    }

    async fn close(self) -> Result<(), BoxError> {
        Ok(self.connection.close().await?)
    }
}

fn main() -> ExitCode {
    peer_kit::main::<TokioRusqlite>()
}
