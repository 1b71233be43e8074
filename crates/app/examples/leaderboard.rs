//! Records a few messages through the service and prints who is most active.
//!
//! `cargo run -p roas-app --example leaderboard`

#![expect(clippy::print_stdout, reason = "an example prints what it shows")]

use std::sync::Arc;

use roas_app::{ActivityMeterService, Places, Ranking};
use roas_db::{Config, Database};
use roas_domain::{
    ActivityEvent, GuildId, LeaderboardLimit, MemberKey, SystemClock, UnixSeconds, UserId,
};

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let folder = tempfile::tempdir()?;
    let database = Database::open(Config::new(folder.path().join("roas.db"))).await?;
    let meter = ActivityMeterService::new(Arc::new(database.repository()), Arc::new(SystemClock));

    let guild: GuildId = "743430870758460727".parse()?;
    let start = 1_755_820_800;
    for (user, messages) in [("11", 3), ("12", 9), ("13", 5)] {
        let user: UserId = user.parse()?;
        for minute in 0..messages {
            let event = ActivityEvent {
                id: None,
                member: MemberKey { guild, user },
                at: UnixSeconds::new(start + minute * 60)?,
            };
            meter.record(event).await?;
        }
    }

    let at = Some(UnixSeconds::new(start + 600)?);
    let limit = LeaderboardLimit::default();
    let board = meter.leaderboard(guild, Ranking::Score, at, limit).await?;
    if let Places::Scores(places) = &board.places {
        for entry in places {
            println!("{}. {} with {}", entry.rank, entry.user, entry.score);
        }
        assert_eq!(places.len(), 3);
    }

    database.close().await?;
    Ok(())
}
