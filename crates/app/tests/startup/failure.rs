//! Starts that fail, in whole or in part, and one that is dropped.

use std::error::Error;
use std::time::Duration;

use roas_app::startup::{Health, StartupError, StartupManager};
use tokio::time;

use crate::support::{Act, Journal, Refused, Scripted, chain};

const SECOND: Duration = Duration::from_secs(1);

#[tokio::test(start_paused = true)]
async fn a_critical_failure_takes_everything_down_in_reverse() {
    let journal = Journal::new();
    let named = |name: &str| Scripted::new(name, &journal);
    let mut manager = StartupManager::new([
        named("a").spec(),
        named("b").spec().depends_on(["a"]),
        named("b2").spec().depends_on(["a"]),
        named("slow").starts([Act::Hang]).spec().depends_on(["b"]),
        named("broken").starts([Act::Fail]).spec().depends_on(["b"]),
        named("never").spec().depends_on(["broken"]),
    ])
    .unwrap();

    let error = manager.start().await.unwrap_err();
    assert_eq!(
        chain(&error),
        [
            "`broken` did not start (attempts: 1); rollback: 4 of 4 stopped",
            "it returned an error",
            "connection refused",
            "no route to host",
        ]
    );
    let returned = error.source().and_then(Error::source).unwrap();
    assert!(
        returned.is::<Refused>(),
        "the component's own type is in the chain"
    );
    assert_eq!(journal.names("stop"), ["slow", "b2", "b", "a"]);
    assert_eq!(journal.names("start"), ["a", "b", "b2", "slow", "broken"]);

    assert!(matches!(
        manager.health().await.overall(),
        Health::Unhealthy(_)
    ));
    assert!(manager.shutdown(SECOND).await.components.is_empty());
    assert!(
        matches!(
            manager.start().await,
            Err(StartupError::ComponentFailed { .. })
        ),
        "after the rollback another start is possible"
    );
}

#[tokio::test(start_paused = true)]
async fn one_of_several_failures_is_named_and_none_of_them_is_stopped() {
    let journal = Journal::new();
    let named = |name: &str| Scripted::new(name, &journal);
    let mut manager = StartupManager::new([
        named("base").spec(),
        named("broken")
            .starts([Act::Fail])
            .spec()
            .depends_on(["base"]),
        named("broken too")
            .starts([Act::Fail])
            .spec()
            .depends_on(["base"]),
    ])
    .unwrap();
    let error = manager.start().await.unwrap_err();
    assert!(
        matches!(&error, StartupError::ComponentFailed { component, .. } if component == "broken")
    );
    assert_eq!(journal.names("start").len(), 3);
    assert_eq!(
        journal.names("stop"),
        ["base"],
        "a start that returned an error cleaned up"
    );
}

#[tokio::test(start_paused = true)]
async fn a_rollback_that_goes_wrong_is_told() {
    let journal = Journal::new();
    let named = |name: &str| Scripted::new(name, &journal);
    let mut manager = StartupManager::new([
        named("stubborn").stop(Act::Fail).spec(),
        named("sleepy").stop(Act::Hang).spec().stop_timeout(SECOND),
        named("broken")
            .starts([Act::Panic])
            .spec()
            .depends_on(["stubborn", "sleepy"]),
    ])
    .unwrap();
    let error = manager.start().await.unwrap_err();
    assert_eq!(
        chain(&error),
        [
            "`broken` did not start (attempts: 1); rollback: 0 of 2 stopped, `sleepy` failed to \
             stop: no answer within 1s, `stubborn` failed to stop: connection refused: no route to \
             host",
            "it panicked: as told",
        ]
    );
}

#[tokio::test(start_paused = true)]
async fn an_optional_failure_skips_its_dependants_alone() {
    let journal = Journal::new();
    let named = |name: &str| Scripted::new(name, &journal);
    let mut manager = StartupManager::new([
        named("database").spec(),
        named("metrics")
            .starts([Act::Fail])
            .optional()
            .depends_on(["database"]),
        named("exporter").optional().depends_on(["metrics"]),
        named("dashboard").optional().depends_on(["exporter"]),
        named("gateway").spec().depends_on(["database"]),
    ])
    .unwrap();

    let report = manager.start().await.unwrap();
    assert!(!report.is_complete());
    let text = report.to_string();
    let lines: Vec<&str> = text.lines().collect();
    assert!(
        lines[0].starts_with("2 of 5 components up after "),
        "{text}"
    );
    assert!(
        lines[1].starts_with("  level 0  database   started in "),
        "{text}"
    );
    assert_eq!(
        lines[2],
        "  level 1  metrics    failed (attempts: 1): connection refused: no route to host"
    );
    assert_eq!(
        lines[4],
        "  level 2  exporter   skipped: `metrics` did not start"
    );
    assert_eq!(
        lines[5],
        "  level 3  dashboard  skipped: `metrics` did not start"
    );

    let health = manager.health().await;
    assert_eq!(
        health.overall(),
        Health::Degraded("`metrics`: did not start: connection refused: no route to host".into())
    );
    assert_eq!(
        health.components[3].health,
        Health::Degraded("skipped: `metrics` did not start".into())
    );

    manager.shutdown(SECOND).await;
    assert_eq!(journal.names("stop"), ["gateway", "database"]);
}

#[tokio::test(start_paused = true)]
async fn a_critical_component_makes_its_optional_dependency_critical() {
    let journal = Journal::new();
    let named = |name: &str| Scripted::new(name, &journal);
    let mut manager = StartupManager::new([
        named("database").spec(),
        named("cache").starts([Act::Fail]).optional(),
        named("index").optional().depends_on(["cache"]),
        named("gateway").spec().depends_on(["database", "index"]),
    ])
    .unwrap();
    let error = manager.start().await.unwrap_err();
    assert_eq!(
        chain(&error)[..2],
        [
            "`gateway` cannot start, because it depends on `cache`, which did not start \
             (attempts: 1); rollback: 1 of 1 stopped",
            "it returned an error",
        ]
    );
    assert_eq!(journal.names("stop"), ["database"]);
    assert!(matches!(
        error,
        StartupError::DependencyFailed { component, dependency, .. }
            if component == "gateway" && dependency == "cache"
    ));
}

#[tokio::test(start_paused = true)]
async fn a_start_that_is_dropped_leaves_nothing_unknown() {
    let journal = Journal::new();
    let named = |name: &str| Scripted::new(name, &journal);
    let mut manager = StartupManager::new([
        named("a").spec(),
        named("quick").spec().depends_on(["a"]),
        named("slow")
            .starts([Act::Take(SECOND * 9)])
            .spec()
            .depends_on(["a"]),
        named("never").spec().depends_on(["slow"]),
    ])
    .unwrap();
    assert!(time::timeout(SECOND, manager.start()).await.is_err());
    assert!(matches!(
        manager.start().await,
        Err(StartupError::AlreadyStarted)
    ));
    let health = manager.health().await;
    assert_eq!(
        health.overall(),
        Health::Unhealthy("`slow`: its start was not completed".into())
    );

    // Longer than the start would have taken: it was cancelled, and does not end by itself.
    time::sleep(SECOND * 20).await;
    assert_eq!(journal.names("started"), ["a", "quick"]);
    let report = manager.shutdown(SECOND).await;
    assert!(report.is_clean());
    assert_eq!(journal.names("stop"), ["slow", "quick", "a"]);
    assert!(manager.start().await.unwrap().is_complete());
}
