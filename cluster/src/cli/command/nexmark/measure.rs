//! What this process has used of the machine, from /proc; zero where there is none.

use std::fs;

/// Ticks per second of the times in /proc: a constant of Linux's interface.
const TICKS: f64 = 100.0;

/// What this process has used.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Usage {
    pub(super) cpu_seconds: f64,
}

/// Returns what this process has used so far.
pub(super) fn usage() -> Usage {
    let stat = fs::read_to_string("/proc/self/stat").unwrap_or_default();
    Usage { cpu_seconds: cpu_seconds(&stat).unwrap_or(0.0) }
}

impl Usage {
    /// Returns the most memory that this process has had resident.
    pub(super) fn peak_memory_bytes() -> u64 {
        let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
        peak_memory_bytes(&status).unwrap_or(0)
    }
}

/// Fields 14 and 15 are the ticks in user and system mode. The second field, the name, ends with
/// the last parenthesis and may contain anything.
fn cpu_seconds(stat: &str) -> Option<f64> {
    let mut fields = stat.rsplit_once(')')?.1.split_whitespace().skip(11);
    let user: u64 = fields.next()?.parse().ok()?;
    let system: u64 = fields.next()?.parse().ok()?;
    Some((user + system) as f64 / TICKS)
}

fn peak_memory_bytes(status: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    let kilobytes: u64 = line.split_whitespace().next()?.parse().ok()?;
    Some(kilobytes * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_and_memory_are_read() {
        let stat = "17 (a ) b) S 1 2 3 4 5 6 7 8 9 10 250 50 0 0 20 0";
        assert_eq!(cpu_seconds(stat), Some(3.0));
        assert_eq!(peak_memory_bytes("Name:\tx\nVmHWM:\t  2048 kB\n"), Some(2 << 20));
        assert_eq!(cpu_seconds(""), None);
    }
}
