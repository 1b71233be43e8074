//! What the integration tests of this crate share. Each uses a part of it.
#![expect(
    dead_code,
    unreachable_pub,
    reason = "every test file compiles its own copy"
)]

use std::path::Path;

use roas_db::{Config, Durability};

/// A configuration for a database in `folder` that does not wait for the disk.
pub fn quick(folder: &Path) -> Config {
    Config::new(folder.join("roas.db"))
        .durability(Durability::Normal)
        .readers(2)
}

pub fn on_runtime<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap()
        .block_on(future)
}
