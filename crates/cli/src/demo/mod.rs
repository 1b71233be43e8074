//! `roas demo`: a day of a busy community in a few seconds, by two processes on one database.
//!
//! It is put together as a bot would be: the meter and the second process are components, started
//! in order and stopped in reverse.

mod community;
mod load;
mod report;
mod second;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use roas_db::{Access, OnOldSchema};
use roas_domain::{Clock, LeaderboardLimit, SystemClock, UnixSeconds};
use tokio::time::{Instant, interval};

use self::community::{Community, DAY_SECONDS, Guild};
use self::load::{Load, LoadReport, TASKS};
use self::report::{DemoReport, LeaderboardRow};
use self::second::SecondProcess;
use crate::error::CliError;
use crate::settings::Settings;
use crate::settings::database_config;
use crate::{Console, Output, grouped};
use roas_app::meter::{Meter, MeterComponent};
use roas_app::service::{ActivityMeterService, Places, Ranking};
use roas_app::startup::{ComponentSpec, StartupManager};

/// How the ids of the two processes' messages differ.
const SERVER_OF_FIRST: u64 = 1;
const SERVER_OF_SECOND: u64 = 2;

/// How long the database may take to write what is queued and close.
const SHUTDOWN_LIMIT: Duration = Duration::from_mins(1);

/// Runs the demo. `db` is where the database is to be made; without it, in a fresh folder.
pub(crate) async fn run(
    seconds: u32,
    db: Option<&Path>,
    settings: &Settings,
    output: Output,
    console: &Console,
) -> Result<(), CliError> {
    let settings = Settings {
        db: fresh_database(db)?,
        ..settings.clone()
    };
    let community = Community::new().map_err(defect)?;
    // The day ends now, so that the commands shown at the end find scores that have not decayed.
    let begin = SystemClock
        .now()
        .saturating_add(i64::from(seconds) - DAY_SECONDS);

    let meter = MeterComponent::new(database_config(
        &settings,
        Access::ReadWrite,
        OnOldSchema::Migrate,
    ));
    let second = Arc::new(SecondProcess::new(
        &settings,
        vec![
            "demo-worker".to_owned(),
            format!("--seconds={seconds}"),
            format!("--begin={}", begin.get()),
        ],
    ));
    let mut manager = StartupManager::new([
        ComponentSpec::new("activity meter", meter.clone()),
        ComponentSpec::new("second process", Arc::clone(&second)).depends_on(["activity meter"]),
    ])
    .map_err(defect)?;
    manager.start().await.map_err(not_started)?;
    output.say(&format!(
        "A day of {} guilds and {} members in {seconds} s: {TASKS} tasks in this process, \
         {TASKS} in a\nsecond one, all writing to {}\n\n",
        community.guilds.len(),
        grouped(community::MEMBERS as u64),
        settings.db.display()
    ))?;
    let service = meter.service().await;
    let outcome = match service {
        Some(service) => {
            let load = Load {
                server: SERVER_OF_FIRST,
                begin,
                duration: duration(seconds),
            };
            simulate(&community, load, &service, &second, output, console).await
        }
        None => Err(CliError::Other("the database closed by itself".to_owned())),
    };
    console.end_progress();
    let shutdown = manager.shutdown(SHUTDOWN_LIMIT).await;
    let report = DemoReport {
        path: settings.db,
        seconds,
        ..outcome?
    };
    if !shutdown.is_clean() {
        return Err(CliError::Other(
            "the database could not be closed in order".to_owned(),
        ));
    }
    report.check()?;
    output.report(&report)
}

/// The second process's part: the same load, reported as one JSON line.
pub(crate) async fn work(
    seconds: u32,
    begin: UnixSeconds,
    settings: &Settings,
) -> Result<LoadReport, CliError> {
    let config = database_config(settings, Access::ReadWrite, OnOldSchema::Migrate);
    let meter = Meter::open(config).await?;
    let load = Load {
        server: SERVER_OF_SECOND,
        begin,
        duration: duration(seconds),
    };
    let outcome = load.run(meter.service().clone()).await;
    let closed = meter.close().await;
    let report = outcome.map_err(defect)?;
    closed?;
    Ok(report)
}

/// Runs both loads, and reads what they left.
async fn simulate(
    community: &Community,
    load: Load,
    service: &ActivityMeterService,
    second: &SecondProcess,
    output: Output,
    console: &Console,
) -> Result<DemoReport, CliError> {
    for guild in &community.guilds {
        let rules = guild
            .rules()
            .map_err(|error| CliError::Other(error.to_string()))?;
        service.set_rules(guild.id, rules).await?;
    }
    let end = load.begin.saturating_add(DAY_SECONDS);
    let loads = async {
        tokio::try_join!(
            async { load.clone().run(service.clone()).await.map_err(defect) },
            second.report()
        )
    };
    let (this_process, second_process) = tokio::select! {
        reports = loads => reports?,
        never = watch(service, load.duration, output, console) => match never {},
    };
    console.end_progress();

    let counts = service.counts().await?;
    let busiest = &community.guilds[0];
    Ok(DemoReport {
        guilds: counts.guilds,
        members: counts.members,
        messages_stored: counts.messages,
        this_process,
        second_process,
        guild_id: busiest.id.to_string(),
        guild: busiest.name.to_owned(),
        time_zone: busiest.time_zone.to_owned(),
        leaderboard: leaderboard(busiest, end, service).await?,
        ..DemoReport::default()
    })
}

async fn leaderboard(
    guild: &Guild,
    at: UnixSeconds,
    service: &ActivityMeterService,
) -> Result<Vec<LeaderboardRow>, CliError> {
    let limit = LeaderboardLimit::default();
    let board = service
        .leaderboard(guild.id, Ranking::Score, Some(at), limit)
        .await?;
    let Places::Scores(entries) = board.places else {
        return Ok(Vec::new());
    };
    let mut places = Vec::with_capacity(entries.len());
    for entry in entries {
        let member = roas_domain::MemberKey {
            guild: guild.id,
            user: entry.user,
        };
        let view = service.member(member, Some(at)).await?;
        places.push(LeaderboardRow {
            rank: entry.rank,
            user_id: entry.user.to_string(),
            name: guild.name_of(entry.user),
            score: entry.score.get(),
            messages: view.map_or(0, |view| view.record.messages),
        });
    }
    Ok(places)
}

/// Shows how far it is, until it is dropped. The figure is read from the database, so it has the
/// messages of both processes.
async fn watch(
    service: &ActivityMeterService,
    duration: Duration,
    output: Output,
    console: &Console,
) -> std::convert::Infallible {
    let steps = milliseconds(duration);
    let template = "{spinner:.cyan} {bar:24.cyan} {msg}";
    let bar = console.progress(!output.is_json(), Some(steps), template);
    if bar.is_hidden() {
        return std::future::pending().await;
    }
    let started = Instant::now();
    let mut ticks = interval(Duration::from_millis(200));
    // The first one comes at once, when there is nothing to see.
    ticks.tick().await;
    let (mut stored, mut since) = (0, started);
    loop {
        let now = ticks.tick().await;
        bar.set_position(milliseconds(now - started).min(steps));
        // A glance that fails is not worth a word: what fails for good, fails the load as well.
        if let Ok(counts) = service.counts().await {
            let new = counts.messages.saturating_sub(stored);
            bar.set_message(format!(
                "{} messages, {}/s",
                grouped(counts.messages),
                grouped(new * 1_000 / milliseconds(now - since).max(1))
            ));
            (stored, since) = (counts.messages, now);
        }
    }
}

/// Where the database is made: at `db` where nothing is yet, else in a folder of its own.
fn fresh_database(db: Option<&Path>) -> Result<PathBuf, CliError> {
    match db {
        Some(path) if path.exists() => Err(CliError::Other(format!(
            "{} exists already: the demo makes a database of its own, name a new file",
            path.display()
        ))),
        Some(path) => std::path::absolute(path).map_err(CliError::io("cannot name the database")),
        None => {
            let folder = tempfile::Builder::new().prefix("roas-demo-").tempdir();
            let folder = folder.map_err(CliError::io("cannot make a folder for the demo"))?;
            Ok(folder.keep().join("roas.db"))
        }
    }
}

fn duration(seconds: u32) -> Duration {
    Duration::from_secs(seconds.into())
}

fn milliseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// What kept a component from starting, in its own words: the demo has but two, and which of them it
/// was goes without saying.
fn not_started(error: roas_app::startup::StartupError) -> CliError {
    let failure = std::error::Error::source(&error);
    match failure.and_then(std::error::Error::source) {
        Some(own) => CliError::Other(roas_app::one_line(own)),
        None => defect(error),
    }
}

fn defect(error: impl std::error::Error) -> CliError {
    CliError::Other(roas_app::one_line(&error))
}
