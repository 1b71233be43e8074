//! One process, many tasks: records messages concurrently and reads a member back.
//!
//! `cargo run -p roas-db --example embed`

#![expect(clippy::print_stdout, reason = "an example prints what it shows")]

use roas_db::{Config, Database};
use roas_domain::{ActivityEvent, ActivityRepository, MemberKey, UnixSeconds};

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let folder = tempfile::tempdir()?;
    let database = Database::open(Config::new(folder.path().join("roas.db"))).await?;

    let member = MemberKey {
        guild: "743430870758460727".parse()?,
        user: "626234859576321882".parse()?,
    };
    let start = UnixSeconds::new(1_755_820_800)?;
    let mut tasks = Vec::new();
    for minute in 0..100_i64 {
        let repository = database.repository(); // a cheap clone, all on one writer
        let event = ActivityEvent {
            id: Some((1_408_239_251_753_531_324 + minute).to_string().parse()?),
            member,
            at: UnixSeconds::new(start.get() + minute * 60)?,
        };
        // Spawned, so that messages that arrive together share a commit.
        tasks.push(tokio::spawn(async move { repository.record(event).await }));
    }
    for task in tasks {
        task.await??; // committed and synced
    }

    let record = database.repository().find_member(member).await?;
    println!("{record:?}");
    assert_eq!(record.map(|record| record.messages), Some(100));

    database.close().await?;
    Ok(())
}
