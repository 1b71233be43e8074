//! A host whose clock jumps: by hours, by years, backwards, while the database is open or closed.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use fastrand::Rng;
use roas_db::{Config, Database, Durability};
use roas_domain::testing::ManualClock;
use roas_domain::testing::fixtures::{at, member, message_with_id};
use roas_domain::{ActivityRepository, Clock, EventOutcome};

use crate::{Broken, Fault, Findings, Round};

const HOUR: i64 = 3_600;
const YEAR: i64 = 365 * 24 * HOUR;

/// For how long ids are remembered. Jumps by hours add up to less within it.
const WINDOW: Duration = Duration::from_hours(30 * 24);

/// Steps of a round.
const STEPS: u64 = 60;

/// 2025, in seconds.
const START: i64 = 1_755_820_800;

/// Events are recorded while the clock jumps; within the window of the time that really passes, each
/// counts once.
#[derive(Debug, Clone, Copy)]
pub struct ClockJumps {
    /// Whether ids age by the file's own time, as the database has it; otherwise by what the host's
    /// clock showed, which the check must find.
    pub own_time: bool,
}

impl Fault for ClockJumps {
    fn name(&self) -> &'static str {
        "clock-jumps"
    }

    fn about(&self) -> &'static str {
        "the host's clock jumps by hours and years, to and fro: no id is forgotten within its window"
    }

    fn round(&self, round: &Round<'_>) -> Result<Findings, Broken> {
        crate::runtime().block_on(self.play(round))
    }
}

impl ClockJumps {
    async fn play(self, round: &Round<'_>) -> Result<Findings, Broken> {
        let mut rng = Rng::with_seed(round.seed);
        let clock = ManualClock::new(at(START));
        let path = round.folder.join("roas.db");
        let config = Config::new(&path)
            .durability(Durability::Normal)
            .clock(Arc::new(clock.clone()))
            .remember_events_for(WINDOW)
            .max_clock_skew(None);
        let mut findings = Findings::default();
        // The time that really passes, by which the window is meant; and when each id was recorded by it.
        let mut real = START;
        let mut recorded = HashMap::<u64, i64>::new();
        let mut database = open(&config).await?;
        for id in 1..=STEPS {
            let passed = rng.i64(0..12 * HOUR);
            real += passed;
            clock.advance(passed);
            match rng.u8(0..6) {
                0 => clock.advance(rng.i64(-3 * HOUR..3 * HOUR)),
                1 => clock.advance(rng.i64(1..25) * YEAR * if rng.bool() { 1 } else { -1 }),
                2 => clock.set(at(real)),
                3 => {
                    database.close().await.map_err(Broken::new)?;
                    if rng.bool() {
                        clock.set(at(real));
                    }
                    database = open(&config).await?;
                }
                _ => {}
            }
            let repository = database.repository();
            let event = |id| message_with_id(id, member(1, id % 7 + 1), 1_000);
            repository.record(event(id)).await.map_err(Broken::new)?;
            recorded.insert(id, real);
            if !self.own_time {
                age_by_the_hosts_clock(&path, id, clock.now().get())?;
            }
            database.maintain().await.map_err(Broken::new)?;
            let again = rng.u64(1..=id);
            let age = real - recorded[&again];
            if age <= i64::try_from(WINDOW.as_secs()).unwrap_or(i64::MAX) {
                findings.count("redelivered", 1);
                let outcome = repository.record(event(again)).await.map_err(Broken::new)?;
                if outcome != EventOutcome::Duplicate {
                    return Err(Broken::new(format_args!(
                        "event {again} counted again after {} hours",
                        age / HOUR
                    )));
                }
            }
            findings.states += 1;
        }
        database.close().await.map_err(Broken::new)?;
        Ok(findings)
    }
}

async fn open(config: &Config) -> Result<Database, Broken> {
    Database::open(config.clone()).await.map_err(Broken::new)
}

/// What a database does that stamps ids with the host's clock.
fn age_by_the_hosts_clock(path: &Path, id: u64, now: i64) -> Result<(), Broken> {
    let id = i64::try_from(id).map_err(Broken::new)?;
    let flags = rusqlite::OpenFlags::SQLITE_OPEN_READ_WRITE;
    let connection = crate::processes::open(path, flags).map_err(Broken::new)?;
    let set = || {
        connection.execute(
            "UPDATE activity_event SET recorded_at = ?2 WHERE event_id = ?1",
            [id, now],
        )?;
        connection.execute(
            "INSERT OR REPLACE INTO activity_clock (id, recording_time, clock_seen) VALUES (1, ?1, ?1)",
            [now],
        )
    };
    connection
        .busy_timeout(Duration::from_secs(5))
        .and_then(|()| set())
        .map(drop)
        .map_err(Broken::new)
}
