//! What this process has used of the machine, from `/proc`.

use std::fs;

/// Clock ticks a second in `/proc`: `USER_HZ`, which is 100 on every Linux that Rust runs on.
const TICKS_PER_S: f64 = 100.0;

/// What this process has used. Zeros where there is no `/proc`.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Usage {
    /// Processor time, of user and system together, in seconds.
    pub cpu_s: f64,
    /// The most memory that was resident, in bytes.
    pub max_rss_bytes: u64,
}

impl Usage {
    /// Up to now.
    #[must_use]
    pub fn now() -> Self {
        let read = |path| fs::read_to_string(path).unwrap_or_default();
        Self {
            cpu_s: cpu_s(&read("/proc/self/stat")).unwrap_or(0.0),
            max_rss_bytes: max_rss_bytes(&read("/proc/self/status")).unwrap_or(0),
        }
    }
}

/// Fields 14 and 15, `utime` and `stime`. The second field is the program's name, in brackets, and
/// may hold anything.
fn cpu_s(stat: &str) -> Option<f64> {
    let (_, fields) = stat.rsplit_once(')')?;
    let mut fields = fields.split_whitespace().skip(11);
    let user: f64 = fields.next()?.parse().ok()?;
    let system: f64 = fields.next()?.parse().ok()?;
    Some((user + system) / TICKS_PER_S)
}

fn max_rss_bytes(status: &str) -> Option<u64> {
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmHWM:"))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kib * 1_024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_found_behind_any_name() {
        let stat = "7 (a) b) S 1 7 7 0 -1 4194560 900 0 2 0 150 50 0 0 20 0 5 0 1234";
        assert_eq!(cpu_s(stat), Some(2.0));
        assert_eq!(cpu_s(""), None);
        assert_eq!(
            max_rss_bytes("Name:\tx\nVmHWM:\t   2048 kB\n"),
            Some(2_097_152)
        );
        assert_eq!(max_rss_bytes("Name:\tx\n"), None);
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn this_process_uses_memory() {
        assert!(Usage::now().max_rss_bytes > 100_000);
    }
}
