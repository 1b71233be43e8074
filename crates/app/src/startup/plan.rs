//! The order of the components: names become a graph, the graph becomes levels.

use std::collections::HashMap;
use std::collections::hash_map::Entry;

use petgraph::algo::{kosaraju_scc, toposort};
use petgraph::graph::{DiGraph, NodeIndex};

use super::component::ComponentSpec;

/// Why a set of components has no order to start in.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PlanError {
    /// A name is empty or blank.
    #[error("the component registered at position {position} (from 0) has no name")]
    EmptyName {
        /// Its place in the order of registration, from 0.
        position: usize,
    },
    /// Two components carry the same name.
    #[error("the name `{name}` is registered twice")]
    DuplicateName {
        /// The name.
        name: String,
    },
    /// A component depends on one that nobody registered.
    #[error("`{component}` depends on `{dependency}`, which is not registered")]
    MissingDependency {
        /// The one that asks.
        component: String,
        /// The one it asks for.
        dependency: String,
    },
    /// Components wait for each other in a ring.
    #[error("the components depend on each other in a cycle: {}", .path.join(" → "))]
    Cycle {
        /// Each depends on the next. The last is the first again, so that a component which depends
        /// on itself gives a path of two.
        path: Vec<String>,
    },
}

/// The resolved graph. Components are known by their position in the order of registration.
#[derive(Debug)]
pub(super) struct Plan {
    /// For each component, those it depends on directly, in the order it named them.
    pub(super) dependencies: Vec<Vec<usize>>,
    /// A component's dependencies are all in lower levels; within a level, registration order.
    pub(super) levels: Vec<Vec<usize>>,
}

impl Plan {
    pub(super) fn resolve(specs: &[ComponentSpec]) -> Result<Self, PlanError> {
        let positions = positions_by_name(specs)?;
        let dependencies = specs
            .iter()
            .map(|spec| dependencies_of(spec, &positions))
            .collect::<Result<Vec<_>, _>>()?;

        let mut graph = DiGraph::<(), ()>::with_capacity(specs.len(), specs.len());
        let nodes: Vec<NodeIndex> = specs.iter().map(|_| graph.add_node(())).collect();
        for (dependant, needed) in dependencies.iter().enumerate() {
            for &dependency in needed {
                graph.add_edge(nodes[dependency], nodes[dependant], ());
            }
        }

        let Ok(order) = toposort(&graph, None) else {
            let path = find_cycle(&graph, &dependencies);
            let path = path
                .into_iter()
                .map(|position| specs[position].name.clone())
                .collect();
            return Err(PlanError::Cycle { path });
        };
        Ok(Self {
            levels: levels(&order, &dependencies),
            dependencies,
        })
    }

    /// All that depend on `component`, directly or through others, level by level.
    pub(super) fn dependants_of(&self, component: usize) -> Vec<usize> {
        let mut dependants = vec![component];
        for &candidate in self.levels.iter().flatten() {
            if self.dependencies[candidate]
                .iter()
                .any(|needed| dependants.contains(needed))
            {
                dependants.push(candidate);
            }
        }
        dependants.remove(0);
        dependants
    }
}

fn positions_by_name(specs: &[ComponentSpec]) -> Result<HashMap<&str, usize>, PlanError> {
    let mut positions = HashMap::with_capacity(specs.len());
    for (position, spec) in specs.iter().enumerate() {
        if spec.name.trim().is_empty() {
            return Err(PlanError::EmptyName { position });
        }
        match positions.entry(spec.name.as_str()) {
            Entry::Vacant(entry) => entry.insert(position),
            Entry::Occupied(_) => {
                return Err(PlanError::DuplicateName {
                    name: spec.name.clone(),
                });
            }
        };
    }
    Ok(positions)
}

/// Positions of what `spec` depends on.
fn dependencies_of(
    spec: &ComponentSpec,
    positions: &HashMap<&str, usize>,
) -> Result<Vec<usize>, PlanError> {
    let position_of = |name: &String| {
        let position = positions.get(name.as_str()).copied();
        position.ok_or_else(|| PlanError::MissingDependency {
            component: spec.name.clone(),
            dependency: name.clone(),
        })
    };
    spec.dependencies.iter().map(position_of).collect()
}

/// Groups the components by the longest path of dependencies beneath them.
fn levels(order: &[NodeIndex], dependencies: &[Vec<usize>]) -> Vec<Vec<usize>> {
    let mut level_of = vec![0; dependencies.len()];
    for component in order.iter().map(|node| node.index()) {
        let beneath = dependencies[component]
            .iter()
            .map(|&needed| level_of[needed] + 1);
        level_of[component] = beneath.max().unwrap_or(0);
    }
    let mut levels = vec![Vec::new(); level_of.iter().max().map_or(0, |highest| highest + 1)];
    for (component, &level) in level_of.iter().enumerate() {
        levels[level].push(component);
    }
    levels
}

/// One cycle of a graph that has some, as positions that each depend on the next, closed.
///
/// The walk begins at the first registered component that is on a cycle and follows the
/// dependencies as they were named, so that the same input gives the same message each time.
fn find_cycle(graph: &DiGraph<(), ()>, dependencies: &[Vec<usize>]) -> Vec<usize> {
    let on_a_cycle = |component: &Vec<usize>| match component[..] {
        [single] => dependencies[single].contains(&single),
        _ => true,
    };
    let Some(knot) = kosaraju_scc(graph)
        .into_iter()
        .map(|component| {
            component
                .into_iter()
                .map(NodeIndex::index)
                .collect::<Vec<_>>()
        })
        .filter(on_a_cycle)
        .min_by_key(|component| component.iter().min().copied())
    else {
        return Vec::new();
    };

    // Every member of a strongly connected component has a dependency inside it, so a walk that
    // stays inside must come back to a place where it has been.
    let mut walk: Vec<usize> = knot.iter().min().copied().into_iter().collect();
    while let Some(&here) = walk.last() {
        let Some(&next) = dependencies[here]
            .iter()
            .find(|&needed| knot.contains(needed))
        else {
            break;
        };
        if let Some(entrance) = walk.iter().position(|&visited| visited == next) {
            walk.drain(..entrance);
            break;
        }
        walk.push(next);
    }
    walk.extend(walk.first().copied());
    walk
}
