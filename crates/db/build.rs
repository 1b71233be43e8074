//! Embeds the scripts that undo the migrations, and rebuilds the crate when one is added: the macro
//! that embeds the migrations sees only those that were there when it last ran.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::{env, fs};

fn main() {
    println!("cargo::rerun-if-changed=migrations");
    println!("cargo::rerun-if-changed=migrations/rollback");
    let root = PathBuf::from(env::var("CARGO_MANIFEST_DIR").expect("cargo sets it"));
    let folder = root.join("migrations/rollback");
    let mut scripts: Vec<PathBuf> = fs::read_dir(&folder)
        .expect("the folder of the scripts")
        .map(|entry| entry.expect("a readable folder").path())
        .collect();
    scripts.sort();
    let mut code = String::from("&[\n");
    for script in scripts {
        let (version, name) = parsed(&script);
        let file = script.file_name().and_then(|name| name.to_str());
        let file = format!("/migrations/rollback/{}", file.expect("it was parsed"));
        // Where the crate lies is asked when it is compiled: what is generated here may be used again
        // for a copy of it elsewhere.
        writeln!(
            code,
            "    ({version}, {name:?}, include_str!(concat!(env!(\"CARGO_MANIFEST_DIR\"), {file:?}))),"
        )
        .expect("a string takes all");
    }
    code.push(']');
    let out = PathBuf::from(env::var("OUT_DIR").expect("cargo sets it"));
    fs::write(out.join("rollback.rs"), code).expect("a writable folder");
}

/// `undo_V1__activity_schema.sql` undoes version 1, which is named `activity_schema`.
fn parsed(script: &Path) -> (i32, String) {
    let stem = script.file_stem().and_then(|stem| stem.to_str());
    stem.and_then(|stem| stem.strip_prefix("undo_V"))
        .and_then(|rest| rest.split_once("__"))
        .and_then(|(version, name)| Some((version.parse().ok()?, name.to_owned())))
        .unwrap_or_else(|| panic!("`{}` is not named undo_V<n>__<words>.sql", script.display()))
}
