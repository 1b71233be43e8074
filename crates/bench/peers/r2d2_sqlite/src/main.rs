//! roas-bench's workload on `r2d2_sqlite`, as an asynchronous program uses it: each call in
//! `spawn_blocking`, with a connection from a pool of ten, which is the pool's default.

use std::process::ExitCode;

use async_trait::async_trait;
use peer_kit::{BoxError, CallError, CallErrorKind, Message, Peer, Prefill, Question, Setup};
use peer_rusqlite::{create, execute, failed, immediate, read, refused, set_up, text};
use r2d2::Pool;
use r2d2_sqlite::SqliteConnectionManager;
use rusqlite::Connection;
use tokio::task::spawn_blocking;

#[derive(Debug, Clone)]
struct R2d2 {
    pool: Pool<SqliteConnectionManager>,
    tuned: bool,
}

impl R2d2 {
    async fn call<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut Connection) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T, CallError> {
        let pool = self.pool.clone();
        let call = spawn_blocking(move || {
            let mut connection = pool.get().map_err(refused)?;
            work(&mut connection).map_err(failed)
        });
        // The call panicked: what became of it is not known.
        call.await
            .map_err(|error| CallError::new(CallErrorKind::Unknown, error))?
    }
}

#[async_trait]
impl Peer for R2d2 {
    const NAME: &'static str = "r2d2_sqlite";

    async fn create(setup: Setup, prefill: Prefill) -> Result<(), BoxError> {
        let peer = Self::open(setup).await?;
        let created = peer.call(|connection| create(connection, prefill)).await;
        created.map_err(|failure| failure.source)?;
        peer.close().await
    }

    async fn open(setup: Setup) -> Result<Self, BoxError> {
        let tuned = setup.tuned;
        let manager = SqliteConnectionManager::file(setup.path());
        let manager = manager.with_init(move |connection| set_up(connection, &setup));
        // It opens all ten connections and waits for them.
        let pool = spawn_blocking(move || Pool::new(manager)).await??;
        Ok(Self { pool, tuned })
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
        let answer = self.call(move |connection| text(connection, sql)).await;
        answer.map_err(|failure| failure.source)
    }

    async fn close(self) -> Result<(), BoxError> {
        // The last clone closes the connections, which may take a checkpoint.
        Ok(spawn_blocking(move || drop(self)).await?)
    }
}

fn main() -> ExitCode {
    peer_kit::main::<R2d2>()
}
