//! The rule of the workspace's crates: dependencies point inwards, and the domain does no I/O.

use std::collections::{BTreeMap, BTreeSet};

use cargo_metadata::{CargoOpt, DependencyKind, MetadataCommand};

/// The workspace crates that a crate may depend on.
const ALLOWED: [(&str, &[&str]); 6] = [
    ("roas-domain", &[]),
    ("roas-db", &["roas-domain"]),
    ("roas-app", &["roas-domain", "roas-db"]),
    ("roas-cli", &["roas-domain", "roas-db", "roas-app"]),
    ("roas-bench", &["roas-domain", "roas-db"]),
    (
        "roas-torture",
        &["roas-domain", "roas-db", "roas-app", "roas-cli"],
    ),
];

/// Crates that drive a database; among the library crates, only `roas-db` depends on them.
const SQLITE: [&str; 5] = [
    "rusqlite",
    "libsqlite3-sys",
    "refinery",
    "refinery-core",
    "sqlx",
];

/// Crates that do I/O or run tasks. The domain must not reach them, nor [`SQLITE`].
const IO: [&str; 16] = [
    "actix-rt",
    "async-io",
    "async-std",
    "curl",
    "diesel",
    "hyper",
    "mio",
    "native-tls",
    "polling",
    "postgres",
    "redis",
    "reqwest",
    "rustls",
    "smol",
    "socket2",
    "tokio",
];

/// The dependency graph by crate name: normal dependencies only, with all features.
#[derive(Debug, Default)]
struct Graph {
    arrows: BTreeMap<String, BTreeSet<String>>,
}

impl Graph {
    fn of(arrows: &[(&str, &[&str])]) -> Self {
        let mut graph = Self::default();
        for (from, to) in arrows {
            graph.add(from, to.iter().copied());
        }
        graph
    }

    fn add<'a>(&mut self, from: &str, to: impl IntoIterator<Item = &'a str>) {
        self.arrows
            .entry(from.to_owned())
            .or_default()
            .extend(to.into_iter().map(str::to_owned));
    }

    /// The workspace in which this crate is tested. As published, the crate is a workspace of one.
    fn of_this_workspace() -> Self {
        let metadata = MetadataCommand::new()
            .manifest_path(concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml"))
            .features(CargoOpt::AllFeatures)
            .exec()
            .expect("cargo knows the workspace");
        let names: BTreeMap<_, _> = metadata
            .packages
            .iter()
            .map(|package| (&package.id, package.name.as_str()))
            .collect();
        let mut graph = Self::default();
        for node in metadata
            .resolve
            .expect("the dependencies are resolved")
            .nodes
        {
            let normal = node.deps.iter().filter(|dependency| {
                dependency
                    .dep_kinds
                    .iter()
                    .any(|kind| kind.kind == DependencyKind::Normal)
            });
            graph.add(
                names[&node.id],
                normal.map(|dependency| names[&dependency.pkg]),
            );
        }
        graph
    }

    fn direct(&self, from: &str) -> impl Iterator<Item = &str> {
        self.arrows
            .get(from)
            .into_iter()
            .flatten()
            .map(String::as_str)
    }

    fn reachable<'a>(&'a self, from: &'a str) -> BTreeSet<&'a str> {
        let mut reached = BTreeSet::new();
        let mut open = vec![from];
        while let Some(next) = open.pop() {
            open.extend(
                self.direct(next)
                    .filter(|&dependency| reached.insert(dependency)),
            );
        }
        reached
    }
}

/// What the domain reaches, directly or not, and must not.
fn io_in_the_domain(graph: &Graph) -> Vec<String> {
    let reached = graph.reachable("roas-domain");
    let found = IO
        .into_iter()
        .chain(SQLITE)
        .filter(|name| reached.contains(name));
    found
        .map(|name| format!("roas-domain reaches {name}"))
        .collect()
}

/// Dependencies between workspace crates that do not point inwards.
fn outward_arrows(graph: &Graph) -> Vec<String> {
    let ours = |name: &str| ALLOWED.iter().any(|(crate_name, _)| *crate_name == name);
    let mut found = Vec::new();
    for (from, allowed) in ALLOWED {
        for to in graph
            .direct(from)
            .filter(|&to| ours(to) && !allowed.contains(&to))
        {
            found.push(format!("{from} depends on {to}"));
        }
    }
    found
}

/// Library crates other than `roas-db` that depend on the database driver. The load tester may,
/// because it compares with engines of its own, and so may the fault injection, which is below the
/// driver.
fn drivers_outside_the_adapter(graph: &Graph) -> Vec<String> {
    let mut found = Vec::new();
    for from in ["roas-domain", "roas-app", "roas-cli"] {
        for to in graph.direct(from).filter(|to| SQLITE.contains(to)) {
            found.push(format!("{from} depends on {to}"));
        }
    }
    found
}

#[test]
fn the_domain_does_no_io() {
    let graph = Graph::of_this_workspace();
    assert!(
        graph.reachable("roas-domain").contains("jiff"),
        "the graph is not the workspace's"
    );
    assert!(
        graph.reachable("roas-domain").contains("proptest"),
        "not all features are on"
    );
    assert_eq!(io_in_the_domain(&graph), [""; 0]);
}

#[test]
fn arrows_point_inwards() {
    assert_eq!(outward_arrows(&Graph::of_this_workspace()), [""; 0]);
}

#[test]
fn only_the_adapter_depends_on_the_driver() {
    assert_eq!(
        drivers_outside_the_adapter(&Graph::of_this_workspace()),
        [""; 0]
    );
}

#[test]
fn io_is_found_at_any_distance() {
    let direct = Graph::of(&[("roas-domain", &["tokio", "jiff"])]);
    assert_eq!(io_in_the_domain(&direct), ["roas-domain reaches tokio"]);
    let distant = Graph::of(&[
        ("roas-domain", &["harmless"]),
        ("harmless", &["client", "roas-domain"]),
        ("client", &["mio", "rusqlite"]),
        ("roas-db", &["tokio"]),
    ]);
    assert_eq!(
        io_in_the_domain(&distant),
        ["roas-domain reaches mio", "roas-domain reaches rusqlite"]
    );
}

#[test]
fn outward_arrows_are_found() {
    let sound = Graph::of(&[
        ("roas-domain", &["jiff"]),
        ("roas-db", &["roas-domain"]),
        ("roas-app", &["roas-db", "roas-domain"]),
        ("roas-bench", &["roas-db", "roas-domain"]),
        ("roas-torture", &["roas-app", "roas-db", "roas-domain"]),
    ]);
    assert_eq!(outward_arrows(&sound), [""; 0]);
    let turned = Graph::of(&[
        ("roas-domain", &["roas-db"]),
        ("roas-db", &["roas-domain", "roas-app", "roas-bench"]),
        ("roas-app", &["roas-bench"]),
    ]);
    assert_eq!(
        outward_arrows(&turned),
        [
            "roas-domain depends on roas-db",
            "roas-db depends on roas-app",
            "roas-db depends on roas-bench",
            "roas-app depends on roas-bench",
        ]
    );
}

#[test]
fn drivers_outside_the_adapter_are_found() {
    let sound = Graph::of(&[
        ("roas-db", &["rusqlite", "refinery"]),
        ("roas-app", &["roas-db"]),
        ("roas-bench", &["rusqlite"]),
    ]);
    assert_eq!(drivers_outside_the_adapter(&sound), [""; 0]);
    let leaking = Graph::of(&[
        ("roas-app", &["rusqlite"]),
        ("roas-domain", &["libsqlite3-sys"]),
    ]);
    assert_eq!(
        drivers_outside_the_adapter(&leaking),
        [
            "roas-domain depends on libsqlite3-sys",
            "roas-app depends on rusqlite"
        ]
    );
}
