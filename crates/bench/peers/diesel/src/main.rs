//! roas-bench's workload on diesel with r2d2, as an asynchronous program uses it: each call in
//! `spawn_blocking`, with a connection from a pool of ten, which is the pool's default. The
//! statement is built with diesel's query builder, which caches it, and is the same SQL.

mod schema;

use std::hint::black_box;
use std::process::ExitCode;

use async_trait::async_trait;
use diesel::connection::SimpleConnection;
use diesel::prelude::*;
use diesel::r2d2::{ConnectionManager, CustomizeConnection, Pool};
use diesel::result::{DatabaseErrorKind, Error};
use diesel::sql_types::{BigInt, Text};
use diesel::upsert::excluded;
// Linked for its feature: diesel links the SQLite that this crate brings.
use libsqlite3_sys as _;
use peer_kit::{
    BUSY_TIMEOUT, BoxError, CallError, CallErrorKind, Message, Peer, Prefill, Question, Setup, table,
};
use schema::{activity_meter, greater_score, later, lesser_score};
use tokio::task::spawn_blocking;

#[derive(Debug, Clone)]
struct Diesel {
    pool: Pool<ConnectionManager<SqliteConnection>>,
    tuned: bool,
}

/// What is done to each new connection.
#[derive(Debug)]
struct SetUp(Setup);

impl CustomizeConnection<SqliteConnection, diesel::r2d2::Error> for SetUp {
    fn on_acquire(&self, connection: &mut SqliteConnection) -> Result<(), diesel::r2d2::Error> {
        let set_up = |connection: &mut SqliteConnection| {
            if self.0.tuned {
                let ms = BUSY_TIMEOUT.as_millis();
                connection.batch_execute(&format!("PRAGMA busy_timeout = {ms}"))?;
                connection.batch_execute("PRAGMA journal_mode = WAL")?;
            }
            connection.batch_execute(self.0.synchronous_sql())
        };
        set_up(connection).map_err(diesel::r2d2::Error::QueryError)
    }
}

fn upsert(connection: &mut SqliteConnection, message: Message) -> QueryResult<()> {
    use activity_meter::dsl::{guild_id, last_msg, messages, score, user_id};
    let upsert = diesel::insert_into(activity_meter::table)
        .values((
            guild_id.eq(message.guild),
            user_id.eq(message.user),
            score.eq(message.gain),
            last_msg.eq(message.at),
            messages.eq(1),
        ))
        .on_conflict((guild_id, user_id))
        .do_update()
        .set((
            score.eq(lesser_score(
                table::MAX_SCORE,
                greater_score(0.0, score + excluded(score)),
            )),
            last_msg.eq(later(last_msg, excluded(last_msg))),
            messages.eq(messages + 1),
        ))
        .returning((score, last_msg));
    let row: (f64, i64) = upsert.get_result(connection)?;
    black_box(row);
    Ok(())
}

fn read(connection: &mut SqliteConnection, question: Question) -> QueryResult<()> {
    use activity_meter::dsl::{guild_id, last_msg, messages, score, user_id};
    match question {
        Question::Member(guild, user) => {
            let select = activity_meter::table
                .find((guild, user))
                .select((score, last_msg, messages));
            let row: Option<(f64, i64, i64)> = select.first(connection).optional()?;
            black_box(row);
        }
        Question::Leaderboard(guild) => {
            let select = activity_meter::table
                .filter(guild_id.eq(guild))
                .order((score.desc(), user_id))
                .limit(10)
                .select((user_id, score, last_msg));
            let rows: Vec<(i64, f64, i64)> = select.load(connection)?;
            black_box(rows);
        }
        Question::Rank(guild, user) => {
            #[derive(QueryableByName)]
            struct Rank {
                #[diesel(sql_type = BigInt)]
                rank: i64,
            }
            let sql = table::RANK.replacen("count(*)", "count(*) AS rank", 1);
            let select = diesel::sql_query(sql)
                .bind::<BigInt, _>(guild)
                .bind::<BigInt, _>(user);
            black_box(select.get_result::<Rank>(connection)?.rank);
        }
    }
    Ok(())
}

/// diesel's error as a failure. diesel does not hand out SQLite's result code; a lock is what has
/// SQLite's words for it.
fn failed(error: Error) -> CallError {
    let kind = match &error {
        Error::DatabaseError(DatabaseErrorKind::Unknown, info)
            if info.message().contains("is locked") =>
        {
            CallErrorKind::Locked
        }
        Error::DatabaseError(..) => CallErrorKind::Unknown,
        _ => CallErrorKind::Other,
    };
    CallError::new(kind, error)
}

impl Diesel {
    async fn call<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut SqliteConnection) -> QueryResult<T> + Send + 'static,
    ) -> Result<T, CallError> {
        let pool = self.pool.clone();
        let call = spawn_blocking(move || {
            let refused = |error| CallError::new(CallErrorKind::Overloaded, error);
            let mut connection = pool.get().map_err(refused)?;
            work(&mut connection).map_err(failed)
        });
        // The call panicked: what became of it is not known.
        call.await
            .map_err(|error| CallError::new(CallErrorKind::Unknown, error))?
    }
}

#[async_trait]
impl Peer for Diesel {
    const NAME: &'static str = "diesel";

    async fn create(setup: Setup, prefill: Prefill) -> Result<(), BoxError> {
        let peer = Self::open(setup).await?;
        let create = |connection: &mut SqliteConnection| {
            connection.transaction(|connection| {
                connection.batch_execute(table::CREATE)?;
                prefill
                    .into_iter()
                    .try_for_each(|message| upsert(connection, message))
            })
        };
        peer.call(create).await.map_err(|failure| failure.source)?;
        peer.close().await
    }

    async fn open(setup: Setup) -> Result<Self, BoxError> {
        let tuned = setup.tuned;
        let path = setup.path().to_str().ok_or("diesel takes a path as text")?;
        let manager = ConnectionManager::new(path);
        let builder = Pool::builder().connection_customizer(Box::new(SetUp(setup)));
        // It opens all ten connections and waits for them.
        let pool = spawn_blocking(move || builder.build(manager)).await??;
        Ok(Self { pool, tuned })
    }

    async fn store(&self, message: Message) -> Result<(), CallError> {
        if self.tuned {
            let work = move |connection: &mut SqliteConnection| {
                connection.immediate_transaction(|connection| upsert(connection, message))
            };
            self.call(work).await
        } else {
            self.call(move |connection| upsert(connection, message))
                .await
        }
    }

    async fn read(&self, question: Question) -> Result<(), CallError> {
        self.call(move |connection| read(connection, question))
            .await
    }

    async fn text(&self, sql: &'static str) -> Result<String, BoxError> {
        #[derive(QueryableByName)]
        struct TextRow {
            #[diesel(sql_type = Text)]
            answer: String,
        }
        let (what, from) = sql.strip_prefix("SELECT ").map_or((sql, ""), |query| {
            query.split_once(" FROM ").unwrap_or((query, ""))
        });
        let from = if from.is_empty() {
            String::new()
        } else {
            format!(" FROM {from}")
        };
        let sql = format!("SELECT {what} AS answer{from}");
        let answer =
            self.call(move |connection| diesel::sql_query(sql).get_result::<TextRow>(connection));
        Ok(answer.await.map_err(|failure| failure.source)?.answer)
    }

    async fn close(self) -> Result<(), BoxError> {
        // The last clone closes the connections, which may take a checkpoint.
        Ok(spawn_blocking(move || drop(self)).await?)
    }
}

fn main() -> ExitCode {
    peer_kit::main::<Diesel>()
}
