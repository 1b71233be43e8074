//! roas-bench's workload on deadpool-sqlite: a pool whose connections each run calls on a blocking
//! thread. The pool is as large as the driver makes it: twice the number of processors.

use std::process::ExitCode;

use async_trait::async_trait;
use deadpool_sqlite::{Config, Hook, HookError, Pool, Runtime};
use peer_kit::{BoxError, CallError, CallErrorKind, Message, Peer, Prefill, Question, Setup};
use peer_rusqlite::{create, failed, immediate, query_row, read, refused, set_up, text};
use rusqlite::Connection;

#[derive(Debug, Clone)]
struct Deadpool {
    pool: Pool,
    tuned: bool,
}

impl Deadpool {
    async fn call<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut Connection) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T, CallError> {
        let connection = self.pool.get().await.map_err(refused)?;
        let done = connection.interact(work).await;
        // The call panicked or was given up: what became of it is not known.
        let done = done.map_err(|error| CallError::new(CallErrorKind::Unknown, error.to_string()))?;
        done.map_err(failed)
    }
}

#[async_trait]
impl Peer for Deadpool {
    const NAME: &'static str = "deadpool-sqlite";

    async fn create(setup: Setup, prefill: Prefill) -> Result<(), BoxError> {
        let peer = Self::open(setup).await?;
        let created = peer.call(|connection| create(connection, prefill)).await;
        created.map_err(|failure| failure.source)?;
        peer.close().await
    }

    async fn open(setup: Setup) -> Result<Self, BoxError> {
        let tuned = setup.tuned;
        let builder = Config::new(setup.path()).builder(Runtime::Tokio1)?;
        let hook = Hook::async_fn(move |connection, _| {
            let setup = setup.clone();
            Box::pin(async move {
                let done = connection
                    .interact(move |connection| set_up(connection, &setup))
                    .await;
                done.map_err(|error| HookError::message(error.to_string()))?
                    .map_err(HookError::Backend)
            })
        });
        let pool = builder.post_create(hook).build()?;
        Ok(Self { pool, tuned })
    }

    async fn store(&self, message: Message) -> Result<(), CallError> {
        if self.tuned {
            self.call(move |connection| immediate(connection, message))
                .await
        } else {
            self.call(move |connection| query_row(connection, message))
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
        self.pool.close();
        Ok(())
    }
}

fn main() -> ExitCode {
    peer_kit::main::<Deadpool>()
}
