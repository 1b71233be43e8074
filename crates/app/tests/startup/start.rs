//! Plans and starts.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use roas_app::startup::{
    Component, ComponentError, ComponentFailure, ComponentSpec, Health, PlanError, StartRetries,
    StartStatus, StartupError, StartupManager,
};
use tokio::sync::Barrier;

use crate::support::{Act, Journal, Scripted, chain};

const SECOND: Duration = Duration::from_secs(1);

fn refusal(specs: impl IntoIterator<Item = ComponentSpec>) -> PlanError {
    StartupManager::new(specs).expect_err("the plan is refused")
}

#[tokio::test(start_paused = true)]
async fn dependencies_start_first_whatever_the_order_of_registration() {
    let journal = Journal::new();
    let named = |name: &str| Scripted::new(name, &journal).spec();
    let mut manager = StartupManager::new([
        named("gateway").depends_on(["activity", "cache"]),
        named("activity").depends_on(["database"]),
        named("cache"),
        named("database"),
    ])
    .unwrap();
    assert_eq!(
        manager.plan(),
        [vec!["cache", "database"], vec!["activity"], vec!["gateway"]]
    );

    let report = manager.start().await.unwrap();
    assert!(report.is_complete());
    let levels: Vec<_> = report
        .components
        .iter()
        .map(|it| (it.name.as_str(), it.level))
        .collect();
    assert_eq!(
        levels,
        [
            ("cache", 0),
            ("database", 0),
            ("activity", 1),
            ("gateway", 2)
        ]
    );
    assert_eq!(
        journal.names("started"),
        ["cache", "database", "activity", "gateway"]
    );
}

#[tokio::test(start_paused = true)]
async fn a_level_starts_concurrently() {
    struct Meets(Arc<Barrier>);

    #[async_trait]
    impl Component for Meets {
        async fn start(&self) -> Result<(), ComponentError> {
            self.0.wait().await;
            Ok(())
        }
    }

    let barrier = Arc::new(Barrier::new(2));
    let mut manager = StartupManager::new([
        ComponentSpec::new("one", Meets(Arc::clone(&barrier))),
        ComponentSpec::new("other", Arc::new(Meets(barrier))),
    ])
    .unwrap();
    assert!(manager.start().await.unwrap().is_complete());
}

#[tokio::test(start_paused = true)]
async fn a_start_takes_as_long_as_the_slowest_of_each_level() {
    let journal = Journal::new();
    let slow = |name: &str, seconds| {
        Scripted::new(name, &journal)
            .starts([Act::Take(SECOND * seconds)])
            .spec()
    };
    let mut manager = StartupManager::new([
        slow("a", 2),
        slow("b", 3),
        slow("c", 4).depends_on(["a"]),
        slow("d", 1).depends_on(["b"]),
    ])
    .unwrap();
    assert_eq!(manager.start().await.unwrap().elapsed.as_secs(), 7);
    assert_eq!(journal.names("started"), ["a", "b", "d", "c"]);
}

#[tokio::test]
async fn an_empty_manager_starts_and_stops() {
    let mut manager = StartupManager::new([]).unwrap();
    assert!(manager.plan().is_empty());
    assert!(manager.start().await.unwrap().is_complete());
    assert_eq!(manager.health().await.overall(), Health::Healthy);
    assert!(matches!(
        manager.start().await,
        Err(StartupError::AlreadyStarted)
    ));
    assert!(manager.shutdown(SECOND).await.is_clean());
    assert!(manager.start().await.is_ok());
}

#[tokio::test]
async fn a_plan_that_cannot_work_is_refused_with_names() {
    let journal = Journal::new();
    let named = |name: &str| Scripted::new(name, &journal).spec();

    let cycle = refusal([
        named("root"),
        named("a").depends_on(["root", "b"]),
        named("b").depends_on(["c"]),
        named("c").depends_on(["root", "a"]),
        named("beyond").depends_on(["a"]),
    ]);
    assert_eq!(
        cycle.to_string(),
        "the components depend on each other in a cycle: a → b → c → a"
    );
    assert_eq!(
        refusal([named("a").depends_on(["a"])]),
        PlanError::Cycle {
            path: vec!["a".to_owned(), "a".to_owned()]
        }
    );
    assert_eq!(
        refusal([named("leaderboard").depends_on(["database"])]).to_string(),
        "`leaderboard` depends on `database`, which is not registered"
    );
    assert_eq!(
        refusal([named("a"), named("b"), named("a")]).to_string(),
        "the name `a` is registered twice"
    );
    assert_eq!(
        refusal([named("a"), named(" ")]),
        PlanError::EmptyName { position: 1 }
    );
}

#[tokio::test]
async fn a_dependency_named_twice_counts_once() {
    let journal = Journal::new();
    let named = |name: &str| Scripted::new(name, &journal).spec();
    let manager = StartupManager::new([
        named("a"),
        named("b").depends_on(["a", "a"]).depends_on(["a"]),
    ]);
    assert_eq!(manager.unwrap().plan(), [["a"], ["b"]]);
}

#[tokio::test(start_paused = true)]
async fn a_failing_start_is_repeated_after_growing_waits() {
    let journal = Journal::new();
    let retries = StartRetries {
        attempts: 5,
        initial_delay: SECOND,
        factor: 3.0,
        max_delay: SECOND * 5,
    };
    let acts = [Act::Fail, Act::Panic, Act::Fail, Act::Succeed];
    let flaky = Scripted::new("flaky", &journal)
        .starts(acts)
        .spec()
        .retries(retries);
    let mut manager = StartupManager::new([flaky]).unwrap();

    let report = manager.start().await.unwrap();
    let StartStatus::Started {
        attempts: 4,
        elapsed,
    } = report.components[0].status
    else {
        panic!("started at the fourth attempt: {report}");
    };
    assert_eq!(elapsed.as_secs(), 1 + 3 + 5);
    let seconds: Vec<_> = journal
        .times("start", "flaky")
        .iter()
        .map(Duration::as_secs)
        .collect();
    assert_eq!(seconds, [0, 1, 4, 9]);
    assert_eq!(
        journal.names("stop"),
        ["flaky"],
        "only the panic left something to clean up"
    );
}

#[test]
fn waits_are_bounded_whatever_the_numbers() {
    let delays = |attempts, factor| {
        let max_delay = SECOND * 4;
        let retries = StartRetries {
            attempts,
            initial_delay: SECOND,
            factor,
            max_delay,
        };
        retries
            .delays()
            .map(|delay| delay.as_secs())
            .collect::<Vec<_>>()
    };
    assert_eq!(delays(5, 2.0), [1, 2, 4, 4]);
    assert_eq!(delays(4, f64::INFINITY), [1, 4, 4]);
    assert_eq!(delays(4, f64::NAN), [1, 1, 1]);
    assert_eq!(delays(4, -2.0), [1, 1, 1]);
    assert_eq!((delays(1, 2.0), delays(0, 2.0)), (vec![], vec![]));
    let first_bounded = StartRetries {
        attempts: 2,
        initial_delay: SECOND * 60,
        ..Default::default()
    };
    assert_eq!(first_bounded.delays().collect::<Vec<_>>(), [SECOND * 5]);
}

#[tokio::test(start_paused = true)]
async fn each_attempt_has_its_own_time_limit_and_is_cleaned_up() {
    let journal = Journal::new();
    let retries = StartRetries {
        attempts: 2,
        initial_delay: SECOND,
        ..Default::default()
    };
    let stuck = Scripted::new("stuck", &journal).starts([Act::Hang]);
    let stuck = stuck.spec().start_timeout(SECOND * 3).retries(retries);
    let mut manager = StartupManager::new([stuck]).unwrap();

    let error = manager.start().await.unwrap_err();
    let StartupError::ComponentFailed {
        attempts: 2,
        failure,
        rollback,
        ..
    } = &error
    else {
        panic!("two attempts: {error:?}");
    };
    assert!(matches!(failure, ComponentFailure::TimedOut { limit } if *limit == SECOND * 3));
    assert!(rollback.components.is_empty());
    assert_eq!(chain(&error)[1], "no answer within 3s");
    assert_eq!(
        journal.lines(),
        ["start stuck", "stop stuck", "stopped stuck"].repeat(2)
    );
    let seconds: Vec<_> = journal
        .times("stop", "stuck")
        .iter()
        .map(Duration::as_secs)
        .collect();
    assert_eq!(seconds, [3, 7]);
}
