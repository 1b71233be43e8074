//! What holds for any graph.

use std::collections::BTreeSet;
use std::time::Duration;

use proptest::prelude::*;
use roas_app::startup::{Criticality, PlanError, StartStatus, StartupManager, StartupReport};

use crate::support::{Act, Journal, Scripted};

const MOST_COMPONENTS: usize = 12;

/// A graph by numbers: who depends on whom, how long each start and stop takes (milliseconds), and
/// the order in which they are registered.
#[derive(Clone, Debug)]
struct Graph {
    dependencies: Vec<BTreeSet<usize>>,
    registration: Vec<usize>,
    start_ms: Vec<u64>,
    stop_ms: Vec<u64>,
}

impl Graph {
    fn depends(&self, dependant: usize, dependency: usize) -> bool {
        self.dependencies[dependant].contains(&dependency)
    }

    fn edges(&self) -> impl Iterator<Item = (usize, usize)> {
        let nodes = self.dependencies.iter().enumerate();
        nodes.flat_map(|(dependant, needed)| needed.iter().map(move |&it| (dependant, it)))
    }

    /// `failing` ones do not start; all are optional where there are such.
    fn manager(
        &self,
        journal: &Journal,
        failing: &BTreeSet<usize>,
    ) -> Result<StartupManager, PlanError> {
        let specs = self.registration.iter().map(|&node| {
            let act = if failing.contains(&node) {
                Act::Fail
            } else {
                Act::Take(Duration::from_millis(self.start_ms[node]))
            };
            let criticality = if failing.is_empty() {
                Criticality::Critical
            } else {
                Criticality::Optional
            };
            Scripted::new(&name(node), journal)
                .starts([act])
                .stop(Act::Take(Duration::from_millis(self.stop_ms[node])))
                .spec()
                .depends_on(self.dependencies[node].iter().copied().map(name))
                .criticality(criticality)
        });
        StartupManager::new(specs)
    }
}

fn name(node: usize) -> String {
    format!("c{node}")
}

fn node(name: &str) -> usize {
    name[1..].parse().expect("a name made from a number")
}

fn graphs() -> impl Strategy<Value = Graph> {
    (1..=MOST_COMPONENTS).prop_flat_map(|count| {
        let pairs = count * (count - 1) / 2;
        // Sparse and dense graphs alike.
        let edges = (0.0..0.7).prop_flat_map(move |density| {
            prop::collection::vec(prop::bool::weighted(density), pairs)
        });
        let registration = Just((0..count).collect::<Vec<_>>()).prop_shuffle();
        let times = || prop::collection::vec(0_u64..50, count);
        (edges, registration, times(), times()).prop_map(
            move |(edges, registration, start_ms, stop_ms)| {
                let mut dependencies = vec![BTreeSet::new(); count];
                let all_pairs = (0..count).flat_map(|high| (0..high).map(move |low| (high, low)));
                for ((high, low), present) in all_pairs.zip(edges) {
                    if present {
                        dependencies[high].insert(low);
                    }
                }
                Graph {
                    dependencies,
                    registration,
                    start_ms,
                    stop_ms,
                }
            },
        )
    })
}

fn run<T>(scenario: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .expect("a runtime");
    runtime.block_on(scenario)
}

fn place(lines: &[String], line: &str) -> usize {
    lines
        .iter()
        .position(|other| other == line)
        .expect("a line in the journal")
}

fn skipped(report: &StartupReport) -> BTreeSet<usize> {
    let components = report.components.iter();
    let skipped = components.filter(|it| matches!(it.status, StartStatus::Skipped { .. }));
    skipped.map(|it| node(&it.name)).collect()
}

/// The dependants of `failing`, by the definition: some dependency fails or is skipped itself.
fn expect_skipped(graph: &Graph, failing: &BTreeSet<usize>) -> BTreeSet<usize> {
    let mut missing = failing.clone();
    // Dependencies have smaller numbers, so one pass upwards reaches them all.
    for node in 0..graph.dependencies.len() {
        if !graph.dependencies[node].is_disjoint(&missing) {
            missing.insert(node);
        }
    }
    missing.difference(failing).copied().collect()
}

proptest! {
    #[test]
    fn every_edge_is_respected_up_and_down(graph in graphs()) {
        let lines = run(async {
            let journal = Journal::new();
            let mut manager = graph.manager(&journal, &BTreeSet::new()).expect("no cycle");
            assert!(manager.start().await.expect("all start").is_complete());
            assert!(manager.shutdown(Duration::from_mins(1)).await.is_clean());
            journal.lines()
        });
        let once = |verb: &str| {
            let mut names: Vec<_> = lines.iter().filter_map(|it| it.strip_prefix(verb)).collect();
            names.sort_unstable();
            names.dedup();
            names.len()
        };
        let count = graph.dependencies.len();
        prop_assert_eq!(lines.len(), 4 * count);
        let verbs = ["start ", "started ", "stop ", "stopped "];
        prop_assert_eq!(verbs.map(once), [count; 4]);
        for (dependant, dependency) in graph.edges() {
            let (dependant, dependency) = (name(dependant), name(dependency));
            let started = place(&lines, &format!("started {dependency}"));
            let start_above = place(&lines, &format!("start {dependant}"));
            prop_assert!(started < start_above);
            let stopped = place(&lines, &format!("stopped {dependant}"));
            let stop_beneath = place(&lines, &format!("stop {dependency}"));
            prop_assert!(stopped < stop_beneath);
        }
    }

    #[test]
    fn a_level_is_the_longest_path_beneath(graph in graphs()) {
        let plan: Vec<Vec<usize>> = run(async {
            let manager = graph.manager(&Journal::new(), &BTreeSet::new()).expect("no cycle");
            manager.plan().into_iter().map(|level| level.into_iter().map(node).collect()).collect()
        });
        let mut longest = vec![0_usize; graph.dependencies.len()];
        for node in 0..longest.len() {
            let beneath = graph.dependencies[node].iter().map(|&it| longest[it] + 1);
            longest[node] = beneath.max().unwrap_or(0);
        }
        let by_level = |level| {
            let nodes = graph.registration.iter().copied();
            nodes.filter(|&node| longest[node] == level).collect::<Vec<_>>()
        };
        prop_assert_eq!(&plan, &(0..plan.len()).map(by_level).collect::<Vec<_>>());
        prop_assert_eq!(plan.iter().map(Vec::len).sum::<usize>(), longest.len());
    }

    #[test]
    fn exactly_the_dependants_of_failures_are_skipped(
        graph in graphs(),
        picks in prop::collection::vec(prop::bool::weighted(0.3), MOST_COMPONENTS),
    ) {
        let count = graph.dependencies.len();
        let picked: BTreeSet<usize> = (0..count).filter(|&node| picks[node]).collect();
        // One that depends on a failure is skipped, so it does not come to fail itself.
        let reached = expect_skipped(&graph, &picked);
        let missing: BTreeSet<usize> = picked.union(&reached).copied().collect();
        let is_tried = |node: &usize| graph.dependencies[*node].is_disjoint(&missing);
        let failing: BTreeSet<usize> = picked.into_iter().filter(is_tried).collect();
        let (report, started, stopped) = run(async {
            let journal = Journal::new();
            let mut manager = graph.manager(&journal, &failing).expect("no cycle");
            let report = manager.start().await.expect("only optional ones fail");
            manager.shutdown(Duration::from_mins(1)).await;
            (report, journal.names("started"), journal.names("stopped"))
        });
        let expected = expect_skipped(&graph, &failing);
        prop_assert_eq!(skipped(&report), expected.clone());
        let is_up = |node: &usize| !expected.contains(node) && !failing.contains(node);
        let up: BTreeSet<usize> = (0..count).filter(is_up).collect();
        prop_assert_eq!(started.iter().map(|it| node(it)).collect::<BTreeSet<_>>(), up.clone());
        prop_assert_eq!(stopped.iter().map(|it| node(it)).collect::<BTreeSet<_>>(), up);
        for component in &report.components {
            if let StartStatus::Skipped { because_of } = &component.status {
                prop_assert!(failing.contains(&node(because_of)));
            }
        }
    }

    #[test]
    fn a_critical_failure_leaves_nothing_up(
        graph in graphs(),
        pick in any::<prop::sample::Index>(),
    ) {
        let broken = pick.index(graph.dependencies.len());
        let (failed, started, stopped, left) = run(async {
            let journal = Journal::new();
            let specs = graph.registration.iter().map(|&node| {
                let acts = if node == broken {
                    [Act::Fail]
                } else {
                    [Act::Take(Duration::from_millis(graph.start_ms[node]))]
                };
                let needed = graph.dependencies[node].iter().copied().map(name);
                Scripted::new(&name(node), &journal).starts(acts).spec().depends_on(needed)
            });
            let mut manager = StartupManager::new(specs).expect("no cycle");
            let failed = manager.start().await.is_err();
            let left = manager.shutdown(Duration::from_mins(1)).await.components.len();
            (failed, journal.names("start"), journal.names("stop"), left)
        });
        prop_assert!(failed);
        prop_assert_eq!(left, 0);
        let started = started.iter().map(|it| node(it));
        let touched: BTreeSet<_> = started.filter(|&it| it != broken).collect();
        let down: Vec<_> = stopped.iter().map(|it| node(it)).collect();
        prop_assert_eq!(down.len(), touched.len());
        prop_assert_eq!(down.iter().copied().collect::<BTreeSet<_>>(), touched);
        for (earlier, &stopped_first) in down.iter().enumerate() {
            for &stopped_later in &down[earlier..] {
                prop_assert!(!graph.depends(stopped_later, stopped_first));
            }
        }
    }

    #[test]
    fn a_cycle_is_refused_and_named(
        mut graph in graphs(),
        ends in any::<(prop::sample::Index, prop::sample::Index)>(),
    ) {
        // A chain from the highest to the lowest of a stretch, closed by an edge upwards.
        let count = graph.dependencies.len();
        let (one, other) = (ends.0.index(count), ends.1.index(count));
        let (low, high) = (one.min(other), one.max(other));
        for node in low..high {
            graph.dependencies[node + 1].insert(node);
        }
        graph.dependencies[low].insert(high);

        let refusal = graph.manager_error();
        let PlanError::Cycle { path } = &refusal else {
            return Err(TestCaseError::fail(format!("not a cycle: {refusal}")));
        };
        let path: Vec<usize> = path.iter().map(|it| node(it)).collect();
        prop_assert!(path.len() >= 2);
        prop_assert_eq!(path.first(), path.last());
        for pair in path.windows(2) {
            prop_assert!(graph.depends(pair[0], pair[1]), "{:?} is not in the input", pair);
        }
        let distinct: BTreeSet<_> = path.iter().collect();
        prop_assert_eq!(distinct.len(), path.len() - 1, "no detour within the cycle");
        prop_assert_eq!(graph.manager_error(), refusal, "the same each time");
    }
}

impl Graph {
    fn manager_error(&self) -> PlanError {
        run(async {
            self.manager(&Journal::new(), &BTreeSet::new())
                .expect_err("a cycle")
        })
    }
}
