//! roas-bench's workload on async-sqlite: a pool of connections, each on a thread of its own. The
//! pool is as large as the driver makes it: the number of processors. Its README opens it in WAL
//! mode, and so does the default here.

// The same statements as the peers on another version of rusqlite have.
#[expect(
    dead_code,
    unreachable_pub,
    reason = "shared with other drivers, as a library"
)]
#[path = "../../rusqlite/src/lib.rs"]
mod statements;

use std::process::ExitCode;

use async_sqlite::{Error, JournalMode, Pool, PoolBuilder};
use async_trait::async_trait;
use peer_kit::{BoxError, CallError, CallErrorKind, Message, Peer, Prefill, Question, Setup};
use rusqlite::Connection;
use statements::{create, failed, immediate, query_row, read, refused, set_up, text};

#[derive(Clone)]
struct AsyncSqlite {
    pool: Pool,
    tuned: bool,
}

impl std::fmt::Debug for AsyncSqlite {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("AsyncSqlite")
            .field("tuned", &self.tuned)
            .finish_non_exhaustive()
    }
}

impl AsyncSqlite {
    async fn call<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut Connection) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T, CallError> {
        self.pool.conn_mut(work).await.map_err(|error| match error {
            Error::Rusqlite(error) => failed(error),
            Error::Panic { .. } => CallError::new(CallErrorKind::Unknown, error),
            other => refused(other),
        })
    }
}

#[async_trait]
impl Peer for AsyncSqlite {
    const NAME: &'static str = "async-sqlite";

    async fn create(setup: Setup, prefill: Prefill) -> Result<(), BoxError> {
        let peer = Self::open(setup).await?;
        peer.pool
            .conn_mut(|connection| create(connection, prefill))
            .await?;
        peer.close().await
    }

    async fn open(setup: Setup) -> Result<Self, BoxError> {
        let tuned = setup.tuned;
        let builder = PoolBuilder::new()
            .path(setup.path())
            .journal_mode(JournalMode::Wal);
        let pool = builder.open().await?;
        let set_up = move |connection: &Connection| set_up(connection, &setup);
        for done in pool.conn_for_each(set_up).await {
            done?;
        }
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
        Ok(self
            .pool
            .conn(move |connection| text(connection, sql))
            .await?)
    }

    async fn close(self) -> Result<(), BoxError> {
        Ok(self.pool.close().await?)
    }
}

fn main() -> ExitCode {
    peer_kit::main::<AsyncSqlite>()
}
