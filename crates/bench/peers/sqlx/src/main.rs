//! roas-bench's workload on sqlx: a pool of ten connections, which is the pool's default, each on a
//! thread of its own. sqlx waits five seconds for a lock without being told to.

use std::hint::black_box;
use std::process::ExitCode;

use async_trait::async_trait;
use peer_kit::{
    BUSY_TIMEOUT, BoxError, CallError, CallErrorKind, Message, Peer, Prefill, Question, Setup,
    Synchronous, kind_of, table,
};
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous};
use sqlx::{Sqlite, SqlitePool};

#[derive(Debug, Clone)]
struct Sqlx {
    pool: SqlitePool,
    tuned: bool,
}

/// A member's row as it is after a message.
type Row = (f64, i64);

fn options(setup: &Setup) -> SqliteConnectOptions {
    let options = SqliteConnectOptions::new().filename(setup.path());
    let options = options.synchronous(match setup.synchronous {
        Synchronous::Normal => SqliteSynchronous::Normal,
        Synchronous::Full => SqliteSynchronous::Full,
    });
    if setup.tuned {
        options
            .journal_mode(SqliteJournalMode::Wal)
            .busy_timeout(BUSY_TIMEOUT)
    } else {
        options
    }
}

async fn upsert(
    executor: impl sqlx::Executor<'_, Database = Sqlite>,
    message: Message,
) -> sqlx::Result<Row> {
    let upsert = sqlx::query_as(table::UPSERT_RETURNING)
        .bind(message.guild)
        .bind(message.user)
        .bind(message.gain)
        .bind(message.at);
    upsert.fetch_one(executor).await
}

impl Sqlx {
    async fn try_read(&self, question: Question) -> sqlx::Result<()> {
        match question {
            Question::Member(guild, user) => {
                let select = sqlx::query_as(table::SELECT).bind(guild).bind(user);
                let row: Option<(f64, i64, i64)> = select.fetch_optional(&self.pool).await?;
                black_box(row);
            }
            Question::Leaderboard(guild) => {
                let select = sqlx::query_as(table::LEADERBOARD).bind(guild);
                let rows: Vec<(i64, f64, i64)> = select.fetch_all(&self.pool).await?;
                black_box(rows);
            }
            Question::Rank(guild, user) => {
                let select = sqlx::query_scalar(table::RANK).bind(guild).bind(user);
                let rank: i64 = select.fetch_one(&self.pool).await?;
                black_box(rank);
            }
        }
        Ok(())
    }
}

/// An error as a failure. `committing` where a commit was part of the call.
fn failed(error: sqlx::Error, committing: bool) -> CallError {
    let kind = match &error {
        sqlx::Error::PoolTimedOut | sqlx::Error::PoolClosed => CallErrorKind::Overloaded,
        sqlx::Error::Database(database) => {
            let code = database.code().and_then(|code| code.parse().ok());
            code.map_or(CallErrorKind::Other, |code| kind_of(code, committing))
        }
        _ if committing => CallErrorKind::Unknown,
        _ => CallErrorKind::Other,
    };
    CallError::new(kind, error)
}

#[async_trait]
impl Peer for Sqlx {
    const NAME: &'static str = "sqlx";

    async fn create(setup: Setup, prefill: Prefill) -> Result<(), BoxError> {
        let options = options(&setup).create_if_missing(true);
        let pool = SqlitePoolOptions::new()
            .max_connections(1)
            .connect_with(options)
            .await?;
        let mut transaction = pool.begin().await?;
        sqlx::query(table::CREATE)
            .execute(&mut *transaction)
            .await?;
        for message in prefill {
            upsert(&mut *transaction, message).await?;
        }
        transaction.commit().await?;
        pool.close().await;
        Ok(())
    }

    async fn open(setup: Setup) -> Result<Self, BoxError> {
        let pool = SqlitePool::connect_with(options(&setup)).await?;
        Ok(Self {
            pool,
            tuned: setup.tuned,
        })
    }

    async fn store(&self, message: Message) -> Result<(), CallError> {
        let row = if self.tuned {
            let begun = self.pool.begin_with("BEGIN IMMEDIATE").await;
            let mut transaction = begun.map_err(|error| failed(error, false))?;
            let row = upsert(&mut *transaction, message).await;
            let row = row.map_err(|error| failed(error, false))?;
            transaction
                .commit()
                .await
                .map_err(|error| failed(error, true))?;
            row
        } else {
            let row = upsert(&self.pool, message).await;
            row.map_err(|error| failed(error, true))?
        };
        black_box(row);
        Ok(())
    }

    async fn read(&self, question: Question) -> Result<(), CallError> {
        self.try_read(question)
            .await
            .map_err(|error| failed(error, false))
    }

    async fn text(&self, sql: &'static str) -> Result<String, BoxError> {
        Ok(sqlx::query_scalar(sql).fetch_one(&self.pool).await?)
    }

    async fn close(self) -> Result<(), BoxError> {
        self.pool.close().await;
        Ok(())
    }
}

fn main() -> ExitCode {
    peer_kit::main::<Sqlx>()
}
