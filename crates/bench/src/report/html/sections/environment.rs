//! Where the runs took place, and how to repeat them.

use std::collections::BTreeMap;

use crate::result::{CompareResult, Environment, RunResult};

use super::super::format::{bytes, count};
use super::super::markup::{Page, Text};
use super::super::shown::index;
use super::listed;

/// Writes each environment once, with the runs that it is the environment of.
pub(in super::super) fn put(page: &mut Page, all: &[&RunResult]) {
    if all.is_empty() {
        page.paragraph("There are no runs, and so no environment.");
        return;
    }
    let mut environments: Vec<(Environment, Vec<&RunResult>)> = Vec::new();
    for run in all {
        // When a run began is no difference; engine and settings are, and they have their own rows.
        let key = Environment {
            sqlite_version: String::new(),
            pragmas: BTreeMap::new(),
            started_at: String::new(),
            ..run.environment.clone()
        };
        match environments.iter_mut().find(|(known, _)| *known == key) {
            Some((_, runs)) => runs.push(run),
            None => environments.push((key, vec![run])),
        }
    }
    if environments.len() > 1 {
        page.put(format_args!(
            "<p><strong class=\"bad\">These runs come from different environments.</strong> \
             Figures of one are not to be compared with figures of another.</p>\n"
        ));
    }
    for (place, (environment, runs)) in environments.iter().enumerate() {
        if environments.len() > 1 {
            page.put(format_args!("<h3>Environment {}</h3>\n", place + 1));
            page.paragraph(&format!("Of {}.", listed(&labels(runs))));
        }
        put_environment(page, environment, runs);
    }
}

fn labels<'a>(runs: &[&'a RunResult]) -> Vec<&'a str> {
    let mut labels: Vec<&str> = runs.iter().map(|run| run.label.as_str()).collect();
    labels.dedup();
    labels
}

fn put_environment(page: &mut Page, environment: &Environment, runs: &[&RunResult]) {
    let starts = || runs.iter().map(|run| run.environment.started_at.as_str());
    let (first, last) = (starts().min().unwrap_or(""), starts().max().unwrap_or(""));
    let started = if first == last {
        first.to_owned()
    } else {
        format!("{first} to {last}")
    };
    page.put(format_args!("<dl class=\"facts\">\n"));
    let facts = [
        ("Processor", environment.cpu.clone()),
        ("Cores", count(environment.cores.into())),
        ("Memory", bytes(environment.memory_bytes)),
        ("System", environment.os.clone()),
        ("Kernel", environment.kernel.clone()),
        ("File system", environment.file_system.clone()),
        ("Version", environment.crate_version.clone()),
        ("Commit", environment.commit.clone()),
        ("Started", started),
    ];
    for (name, value) in &facts {
        put_fact(page, name, value);
    }
    for (engines, value) in by_engine(runs, |run| run.environment.sqlite_version.clone()) {
        put_fact(
            page,
            &engines.map_or_else(|| "SQLite".to_owned(), |of| format!("SQLite of {of}")),
            &value,
        );
    }
    for (engines, value) in by_engine(runs, pragmas) {
        put_fact(
            page,
            &engines.map_or_else(|| "Settings".to_owned(), |of| format!("Settings of {of}")),
            &value,
        );
    }
    page.put(format_args!("</dl>\n"));
}

fn put_fact(page: &mut Page, name: &str, value: &str) {
    let value = if value.is_empty() { "unknown" } else { value };
    page.put(format_args!(
        "<div><dt>{}</dt><dd>{}</dd></div>\n",
        Text(name),
        Text(value)
    ));
}

fn pragmas(run: &RunResult) -> String {
    let pragmas = run.environment.pragmas.iter();
    let pragmas = pragmas.map(|(name, value)| format!("{name}={value}"));
    pragmas.collect::<Vec<_>>().join(", ")
}

/// The values of a fact, each with the engines that it holds for; without them where it is the
/// same for all.
fn by_engine(runs: &[&RunResult], fact: fn(&RunResult) -> String) -> Vec<(Option<String>, String)> {
    let mut values = Vec::new();
    let mut engines = Vec::<Vec<String>>::new();
    for run in runs {
        let place = index(&mut values, fact(run));
        engines.resize_with(values.len(), Vec::new);
        let engine = match &run.tuning {
            Some(tuning) => format!("{} {tuning}", run.engine),
            None => run.engine.clone(),
        };
        index(&mut engines[place], engine);
    }
    let one = values.len() == 1;
    let named = values.into_iter().zip(engines);
    named
        .map(|(value, engines)| ((!one).then(|| engines.join(", ")), value))
        .collect()
}

/// Writes the commands, each once.
pub(in super::super) fn put_commands(
    page: &mut Page,
    runs: &[RunResult],
    comparisons: &[CompareResult],
) {
    let mut commands = Vec::new();
    for command in runs
        .iter()
        .map(|run| &run.command)
        .chain(comparisons.iter().map(|comparison| &comparison.command))
    {
        if !command.trim().is_empty() {
            index(&mut commands, command.clone());
        }
    }
    if commands.is_empty() {
        page.paragraph("The files do not tell with which command they were made.");
        return;
    }
    page.paragraph(
        "The same command with the same seed offers every engine the same operations. Figures vary \
         with the machine, its disk and what else runs on it: repeat them on yours.",
    );
    for command in &commands {
        page.put(format_args!(
            "<pre class=\"scroll\" tabindex=\"0\"><code>{}</code></pre>\n",
            Text(command)
        ));
    }
}
