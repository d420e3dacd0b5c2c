//! How much memory this machine, or the container that we run in, has.

use std::{fs, path::Path};

/// The share of it that slots may have if nothing else is said, in percent. The
/// rest is for the host itself, for compiling, and for files in the page cache.
const SHARE: u64 = 75;
/// What slots may have where nothing can be found out.
const UNKNOWN: u64 = 2 << 30;

/// The memory that there is, and who says so.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MachineMemory {
    /// Bytes that slots may have together.
    pub budget: usize,
    /// Bytes that there are; none if that cannot be found out.
    pub total: Option<u64>,
    /// Whether that is a container's limit rather than the machine's memory.
    pub container: bool,
}

/// Looks at `/proc/meminfo` and at the limits of the control groups that this
/// process is in.
#[must_use]
pub fn this_machine() -> MachineMemory {
    let read = |path: &Path| fs::read_to_string(path).ok();
    let machine = read(Path::new("/proc/meminfo")).and_then(|text| mem_total(&text));
    let groups = read(Path::new("/proc/self/cgroup")).unwrap_or_default();
    let limits = limit_files(&groups);
    let container = limits.iter().filter_map(|path| read(Path::new(path)));
    choose(machine, container.filter_map(|text| text.trim().parse().ok()).min())
}

fn choose(machine: Option<u64>, container: Option<u64>) -> MachineMemory {
    // An unlimited group of the first version has a limit beyond all memory.
    let container = container.filter(|limit| machine.is_none_or(|machine| *limit < machine));
    let total = container.or(machine);
    let budget = total.map_or(UNKNOWN, |total| total / 100 * SHARE);
    MachineMemory {
        budget: usize::try_from(budget).unwrap_or(usize::MAX),
        total,
        container: container.is_some(),
    }
}

/// `MemTotal:       16318436 kB`
fn mem_total(meminfo: &str) -> Option<u64> {
    let line = meminfo.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    kib.checked_mul(1024)
}

/// Where the limits of a process stand, of whose groups `/proc/self/cgroup` says
/// `0::/a/b` (version 2) or `4:memory:/a/b` (version 1). A group's ancestors
/// limit it too.
fn limit_files(groups: &str) -> Vec<String> {
    let mut files = Vec::new();
    for line in groups.lines() {
        let mut fields = line.splitn(3, ':').skip(1);
        let (Some(controllers), Some(group)) = (fields.next(), fields.next()) else { continue };
        let (root, file) = match controllers {
            "" => ("/sys/fs/cgroup", "memory.max"),
            c if c.split(',').any(|c| c == "memory") => {
                ("/sys/fs/cgroup/memory", "memory.limit_in_bytes")
            }
            _ => continue,
        };
        let mut group = group.trim_end_matches('/');
        loop {
            files.push(format!("{root}{group}/{file}"));
            match group.rfind('/') {
                Some(end) => group = &group[..end],
                None => break,
            }
        }
    }
    files
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_least_of_machine_and_container_counts() {
        let of = |machine, container| {
            let found = choose(machine, container);
            (found.budget, found.container)
        };
        assert_eq!(of(Some(1_000), None), (750, false));
        assert_eq!(of(Some(1_000), Some(400)), (300, true));
        assert_eq!(of(Some(1_000), Some(u64::MAX)), (750, false));
        assert_eq!(of(None, None), (2 << 30, false));
    }

    #[test]
    fn meminfo_counts_in_kib() {
        let text = "MemTotal:       16318436 kB\nMemFree:  1 kB\n";
        assert_eq!(mem_total(text), Some(16_318_436 * 1024));
        assert_eq!(mem_total("nothing"), None);
    }

    #[test]
    fn a_group_is_limited_by_its_ancestors() {
        assert_eq!(
            limit_files("0::/a/b\n"),
            [
                "/sys/fs/cgroup/a/b/memory.max",
                "/sys/fs/cgroup/a/memory.max",
                "/sys/fs/cgroup/memory.max"
            ]
        );
        assert_eq!(
            limit_files("7:cpu:/x\n4:memory,hugetlb:/\n"),
            ["/sys/fs/cgroup/memory/memory.limit_in_bytes"]
        );
    }
}
