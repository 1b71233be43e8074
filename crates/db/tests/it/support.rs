//! What the integration tests of this crate share.
#![expect(
    clippy::disallowed_methods,
    reason = "tests look at files past the adapter"
)]

use std::path::Path;
use std::process::{Child, Command, Stdio};

use roas_db::{Config, Durability};
use rusqlite::Connection;
use rusqlite::types::FromSql;

/// A configuration for a database in `folder` that does not wait for the disk.
pub(crate) fn quick(folder: &Path) -> Config {
    Config::new(folder.join("roas.db"))
        .durability(Durability::Normal)
        .readers(2)
}

pub(crate) fn on_runtime<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap()
        .block_on(future)
}

/// Runs statements as another program would.
pub(crate) fn raw(path: &Path, sql: &str) {
    Connection::open(path).unwrap().execute_batch(sql).unwrap();
}

/// Asks for one value as another program would.
pub(crate) fn query<T: FromSql>(path: &Path, sql: &str) -> T {
    Connection::open(path)
        .unwrap()
        .query_row(sql, [], |row| row.get(0))
        .unwrap()
}

/// Starts `test` of the running test program, one that is ignored otherwise, as a process of its
/// own with `variables` in its environment.
pub(crate) fn start_process(test: &str, variables: &[(&str, &str)]) -> Child {
    Command::new(std::env::current_exe().unwrap())
        .args([
            test,
            "--exact",
            "--ignored",
            "--nocapture",
            "--test-threads=1",
        ])
        .envs(variables.iter().copied())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap()
}
