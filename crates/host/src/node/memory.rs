//! How much memory there is for more processes.

use std::fs;
use std::path::Path;

/// Bytes that programs could take without others having to give them back: what the system says, or what is left of the control group's
/// limit, of this OS process's and those above it. `None`: the system does not tell.
pub(super) fn available_bytes() -> Option<u64> {
    let system = fs::read_to_string("/proc/meminfo").ok().and_then(|text| of_system(&text));
    let group = fs::read_to_string("/proc/self/cgroup").ok();
    let group = group.as_deref().and_then(|own| own.lines().find_map(|at| at.strip_prefix("0::/")));
    let above = group.into_iter().flat_map(|group| Path::new(group).ancestors());
    let left = above.filter_map(|group| {
        let directory = Path::new("/sys/fs/cgroup").join(group);
        let read = |name: &str| fs::read_to_string(directory.join(name)).ok();
        left_of(&read("memory.max")?, &read("memory.current")?)
    });
    left.chain(system).min()
}

/// `MemAvailable` of proc_meminfo(5), in kibibytes.
fn of_system(text: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix("MemAvailable:"))?;
    let kibibytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    kibibytes.checked_mul(1024)
}

/// Of a control group's limit, which may be `max`.
fn left_of(limit: &str, used: &str) -> Option<u64> {
    let (limit, used): (u64, u64) = (limit.trim().parse().ok()?, used.trim().parse().ok()?);
    Some(limit.saturating_sub(used))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_system_says_is_read() {
        let text = "MemTotal:       24689340 kB\nMemFree: 1 kB\nMemAvailable:   20000000 kB\n";
        assert_eq!(of_system(text), Some(20_000_000 * 1024));
        for none in ["", "MemAvailable: much kB", "MemAvailable: 5", "MemTotal: 5 kB"] {
            assert_eq!(of_system(none), None, "{none}");
        }
        assert_eq!(left_of("1000\n", "300\n"), Some(700));
        assert_eq!(left_of("1000", "1300"), Some(0));
        assert_eq!(left_of("max\n", "300\n"), None);
        assert!(available_bytes().is_some_and(|bytes| bytes > 0));
    }
}
