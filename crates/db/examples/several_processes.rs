//! Several processes on one file, as the shards of a large bot: no lock error, nothing lost.
//!
//! `cargo run -p roas-db --example several_processes`

#![expect(clippy::print_stdout, reason = "an example prints what it shows")]

use std::env;
use std::path::Path;
use std::process::Command;

use roas_db::{Config, Database};
use roas_domain::{ActivityEvent, ActivityRepository, MemberKey, UnixSeconds};

const PROCESSES: u64 = 3;
const MESSAGES: u64 = 500;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let runtime = tokio::runtime::Runtime::new()?;
    if let [_, file, shard] = &env::args().collect::<Vec<_>>()[..] {
        return runtime.block_on(shard_main(Path::new(file), shard.parse()?));
    }

    let folder = tempfile::tempdir()?;
    let file = folder.path().join("roas.db");
    let shards = (1..=PROCESSES)
        .map(|shard| {
            Command::new(env::current_exe()?)
                .arg(&file)
                .arg(shard.to_string())
                .spawn()
        })
        .collect::<Result<Vec<_>, _>>()?;
    for mut shard in shards {
        assert!(shard.wait()?.success());
    }
    runtime.block_on(async {
        let database = Database::open(Config::new(&file)).await?;
        let counts = database.repository().counts().await?;
        println!("{} messages of {} processes", counts.messages, PROCESSES);
        assert_eq!(counts.messages, PROCESSES * MESSAGES);
        database.close().await?;
        Ok(())
    })
}

/// What one process does: opens the same file and records its own shard's messages.
async fn shard_main(file: &Path, shard: u64) -> Result<(), Box<dyn std::error::Error>> {
    let database = Database::open(Config::new(file)).await?;
    let repository = database.repository();
    for message in 0..MESSAGES {
        let event = ActivityEvent {
            id: Some((shard * 1_000_000 + message + 1).to_string().parse()?),
            member: MemberKey {
                guild: shard.to_string().parse()?,
                user: (message % 10 + 1).to_string().parse()?,
            },
            at: UnixSeconds::new(1_755_820_800)?,
        };
        repository.record(event).await?;
    }
    database.close().await?;
    Ok(())
}
