//! Health and shutdown.

use std::time::Duration;

use async_trait::async_trait;
use roas_app::startup::{
    Component, ComponentError, ComponentFailure, ComponentSpec, Health, StartupManager, StopStatus,
};
use tokio::time::{self, Instant};

use crate::support::{Act, Journal, Scripted};

const SECOND: Duration = Duration::from_secs(1);

#[tokio::test(start_paused = true)]
async fn health_is_the_worst_of_the_answers_and_silence_is_unhealthy() {
    struct Panics;

    #[async_trait]
    impl Component for Panics {
        async fn start(&self) -> Result<(), ComponentError> {
            Ok(())
        }

        async fn health(&self) -> Health {
            panic!("what a question")
        }
    }

    let journal = Journal::new();
    let answering = |name: &str, health| Scripted::new(name, &journal).health(health).spec();
    let lag = || Some(Health::Degraded("lags".into()));
    let mut manager = StartupManager::new([
        answering("fine", Some(Health::Healthy)),
        answering("lagging", lag()),
        answering("mute", None).health_timeout(SECOND * 2),
        answering("dumb", None).health_timeout(SECOND * 3),
        ComponentSpec::new("jumpy", Panics),
    ])
    .unwrap();
    assert_eq!(
        manager.health().await.overall(),
        Health::Unhealthy("`fine`: not up".into())
    );

    manager.start().await.unwrap();
    let asked = Instant::now();
    let report = manager.health().await;
    assert_eq!(asked.elapsed().as_secs(), 3, "all are asked at once");
    assert_eq!(
        report.to_string(),
        "unhealthy: `mute`: no answer within 2s\n  \
           fine     healthy\n  \
           lagging  degraded: lags\n  \
           mute     unhealthy: no answer within 2s\n  \
           dumb     unhealthy: no answer within 3s\n  \
           jumpy    unhealthy: it panicked: what a question"
    );

    let mut manager = StartupManager::new([
        answering("fine", Some(Health::Healthy)),
        answering("lag", lag()),
    ])
    .unwrap();
    manager.start().await.unwrap();
    assert_eq!(
        manager.health().await.overall(),
        Health::Degraded("`lag`: lags".into())
    );
}

#[tokio::test(start_paused = true)]
async fn shutdown_goes_down_the_levels_and_reports_what_went_wrong() {
    let journal = Journal::new();
    let named = |name: &str, stop| Scripted::new(name, &journal).stop(stop).spec();
    let mut manager = StartupManager::new([
        named("base", Act::Succeed),
        named("fails", Act::Fail).depends_on(["base"]),
        named("panics", Act::Panic).depends_on(["base"]),
        named("hangs", Act::Hang)
            .depends_on(["base"])
            .stop_timeout(SECOND * 2),
        named("slow", Act::Take(SECOND)).depends_on(["base"]),
        named("top", Act::Take(SECOND)).depends_on(["slow"]),
    ])
    .unwrap();
    manager.start().await.unwrap();

    let report = manager.shutdown(SECOND * 60).await;
    assert!(!report.is_clean());
    assert_eq!(report.elapsed.as_secs(), 1 + 2);
    let order: Vec<_> = report
        .components
        .iter()
        .map(|it| it.name.as_str())
        .collect();
    assert_eq!(order, ["top", "slow", "hangs", "panics", "fails", "base"]);
    assert_eq!(journal.names("stop"), order);
    assert_eq!(journal.names("stopped"), ["top", "slow", "base"]);
    let text = report.to_string();
    assert!(
        text.starts_with("3 of 6 components stopped after 3"),
        "{text}"
    );
    assert!(
        text.contains("\n  panics  failed to stop: it panicked: as told\n"),
        "{text}"
    );
    assert!(matches!(
        &report.components[2].status,
        StopStatus::Failed {
            error: ComponentFailure::TimedOut { .. }
        }
    ));

    let again = manager.shutdown(SECOND).await;
    assert!(again.components.is_empty() && again.is_clean());
    assert_eq!(
        journal.names("stop").len(),
        6,
        "a second shutdown calls nobody"
    );
}

#[tokio::test(start_paused = true)]
async fn shutdown_ends_at_its_deadline_and_another_goes_on() {
    let journal = Journal::new();
    let named = |name: &str, stop| Scripted::new(name, &journal).stop(stop).spec();
    let mut manager = StartupManager::new([
        named("base", Act::Succeed),
        named("slow", Act::Take(SECOND * 5)).depends_on(["base"]),
        named("quick", Act::Succeed).depends_on(["base"]),
    ])
    .unwrap();
    manager.start().await.unwrap();

    let report = manager.shutdown(SECOND * 3).await;
    assert_eq!(report.elapsed.as_secs(), 3);
    assert!(matches!(
        report.components[0].status,
        StopStatus::Stopped { .. }
    ));
    assert!(matches!(
        report.components[1].status,
        StopStatus::NotStopped { called: true }
    ));
    assert!(matches!(
        report.components[2].status,
        StopStatus::NotStopped { called: false }
    ));
    assert_eq!(journal.names("stop"), ["quick", "slow"]);
    assert!(manager.start().await.is_err(), "some are still up");

    let report = manager.shutdown(Duration::ZERO).await;
    assert_eq!(report.components.len(), 2);
    assert_eq!(
        journal.names("stop").len(),
        2,
        "without time nobody is called"
    );

    let report = manager.shutdown(Duration::MAX).await;
    assert!(report.is_clean(), "{report}");
    assert_eq!(journal.names("stop"), ["quick", "slow", "slow", "base"]);
    assert!(manager.start().await.unwrap().is_complete());
}

#[tokio::test(start_paused = true)]
async fn a_shutdown_that_is_dropped_can_be_completed() {
    let journal = Journal::new();
    let named = |name: &str, stop| Scripted::new(name, &journal).stop(stop).spec();
    let mut manager = StartupManager::new([
        named("base", Act::Succeed),
        named("slow", Act::Take(SECOND * 5)).depends_on(["base"]),
    ])
    .unwrap();
    manager.start().await.unwrap();
    assert!(
        time::timeout(SECOND, manager.shutdown(SECOND * 60))
            .await
            .is_err()
    );
    time::sleep(SECOND * 20).await;
    assert_eq!(
        journal.lines().last().map(String::as_str),
        Some("stop slow")
    );
    assert!(manager.shutdown(SECOND * 60).await.is_clean());
    assert_eq!(journal.names("stop"), ["slow", "slow", "base"]);
}

#[tokio::test(start_paused = true)]
async fn what_was_shut_down_starts_again() {
    let journal = Journal::new();
    let named = |name: &str| Scripted::new(name, &journal);
    let acts = [Act::Fail, Act::Succeed];
    let mut manager = StartupManager::new([
        named("base").spec(),
        named("late").starts(acts).optional().depends_on(["base"]),
    ])
    .unwrap();
    assert!(!manager.start().await.unwrap().is_complete());
    manager.shutdown(SECOND).await;
    for component in manager.health().await.components {
        assert_eq!(component.health, Health::Unhealthy("not up".into()));
    }
    assert!(manager.start().await.unwrap().is_complete());
    manager.shutdown(SECOND).await;
    assert_eq!(journal.names("started"), ["base", "base", "late"]);
    assert_eq!(journal.names("stop"), ["base", "late", "base"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_manager_moves_between_tasks() {
    let journal = Journal::new();
    let mut manager = StartupManager::new([Scripted::new("a", &journal).spec()]).unwrap();
    let task = tokio::spawn(async move {
        manager.start().await.unwrap();
        let health = manager.health().await.overall();
        (health, manager.shutdown(SECOND).await)
    });
    let (health, report) = task.await.unwrap();
    assert_eq!(health, Health::Healthy);
    assert!(report.is_clean());
}
