//! Where a run takes place.

use std::fs;
use std::path::Path;
use std::process::Command;

use jiff::Timestamp;
use roas_domain::{Clock, SystemClock};

use crate::engine::Description;
use crate::result::Environment;

/// What stands for anything that cannot be found out.
const UNKNOWN: &str = "unknown";

impl Environment {
    /// Of this machine, for a database in `folder` and an engine that describes itself so.
    #[must_use]
    pub fn find(folder: &Path, description: Description) -> Self {
        let read = |path| fs::read_to_string(path).unwrap_or_default();
        let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        Self {
            cpu: value_of(&read("/proc/cpuinfo"), "model name", ':'),
            cores: u32::try_from(cores).unwrap_or(u32::MAX),
            memory_bytes: memory_bytes(&read("/proc/meminfo")),
            os: os(&read("/etc/os-release")),
            kernel: or_unknown(read("/proc/sys/kernel/osrelease").trim()),
            file_system: file_system(&read("/proc/mounts"), &absolute(folder)),
            sqlite_version: or_unknown(&description.sqlite_version),
            pragmas: description.pragmas,
            crate_version: env!("CARGO_PKG_VERSION").to_owned(),
            commit: commit(),
            started_at: now(),
        }
    }
}

fn or_unknown(text: &str) -> String {
    if text.is_empty() { UNKNOWN } else { text }.to_owned()
}

/// The value of the first line `name<separator>value`.
fn value_of(text: &str, name: &str, separator: char) -> String {
    let value = text.lines().find_map(|line| {
        let (found, value) = line.split_once(separator)?;
        (found.trim() == name).then(|| value.trim().trim_matches('"'))
    });
    or_unknown(value.unwrap_or_default())
}

fn memory_bytes(meminfo: &str) -> u64 {
    let total = value_of(meminfo, "MemTotal", ':');
    let kib = total
        .strip_suffix("kB")
        .and_then(|kib| kib.trim().parse::<u64>().ok());
    kib.unwrap_or(0) * 1_024
}

fn os(release: &str) -> String {
    match value_of(release, "PRETTY_NAME", '=') {
        name if name == UNKNOWN => std::env::consts::OS.to_owned(),
        name => name,
    }
}

fn absolute(folder: &Path) -> std::path::PathBuf {
    folder.canonicalize().unwrap_or_else(|_| folder.to_owned())
}

/// The type of the file system that is mounted nearest above `folder`, the latest where several
/// are mounted on one place.
fn file_system(mounts: &str, folder: &Path) -> String {
    let mut nearest = (0, UNKNOWN);
    for line in mounts.lines() {
        let mut fields = line.split_whitespace().skip(1);
        let (Some(place), Some(kind)) = (fields.next(), fields.next()) else {
            continue;
        };
        // Blanks and the like are written in octal.
        let place = place.replace("\\040", " ");
        let depth = Path::new(&place).components().count();
        if folder.starts_with(&place) && depth >= nearest.0 {
            nearest = (depth, kind);
        }
    }
    nearest.1.to_owned()
}

/// The commit that the source is at, marked `-dirty` where it was changed since.
fn commit() -> String {
    if let Some(commit) = option_env!("ROAS_COMMIT") {
        return commit.to_owned();
    }
    let described = Command::new("git")
        .args([
            "describe",
            "--always",
            "--dirty",
            "--abbrev=12",
            "--exclude=*",
        ])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output();
    let commit = described.ok().filter(|output| output.status.success());
    let commit = commit.and_then(|output| String::from_utf8(output.stdout).ok());
    or_unknown(commit.unwrap_or_default().trim())
}

/// The time, to the second (RFC 3339).
fn now() -> String {
    let now = Timestamp::from_second(SystemClock.now().get());
    now.map_or_else(|_| UNKNOWN.to_owned(), |now| now.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_mount_decides() {
        let mounts = "/dev/a / ext4 rw 0 0\nproc /proc proc rw 0 0\ntmpfs /tmp tmpfs rw 0 0\n\
                      /dev/b /tmp/my\\040disk xfs rw 0 0\nshort\n";
        let of = |folder| file_system(mounts, Path::new(folder));
        assert_eq!(of("/home/someone"), "ext4");
        assert_eq!(of("/tmp/here"), "tmpfs");
        assert_eq!(of("/tmporary"), "ext4");
        assert_eq!(of("/tmp/my disk/here"), "xfs");
        assert_eq!(file_system("", Path::new("/")), "unknown");
    }

    #[test]
    fn names_and_figures_are_read() {
        assert_eq!(
            value_of("a : 1\nmodel name\t: Fast CPU\n", "model name", ':'),
            "Fast CPU"
        );
        assert_eq!(os("ID=x\nPRETTY_NAME=\"X Linux 1\"\n"), "X Linux 1");
        assert_eq!(memory_bytes("MemTotal:   2048 kB\n"), 2_097_152);
        assert_eq!(memory_bytes(""), 0);
    }

    #[test]
    fn a_time_is_found() {
        let found = Environment::find(Path::new("."), Description::default());
        assert!(
            found.started_at.ends_with('Z') && found.cores > 0,
            "{found:?}"
        );
        assert_eq!(found.sqlite_version, "unknown");
    }
}
