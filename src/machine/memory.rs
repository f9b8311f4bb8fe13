//! How much memory there is, and how much of it is left: the machine's, and that of the control groups around this process.
//!
//! Used in the supervisor, at start and while scripts run. It only reads: `/proc/meminfo`, `/proc/self/cgroup` and what is below
//! `/sys/fs/cgroup`, of version 2 and version 1.

use crate::size::ByteSize;
use std::fs;
use std::path::{Path, PathBuf};

/// The files of a control group that tell of its memory.
#[derive(Debug, Clone, Copy)]
struct Version {
    limit: &'static str,
    usage: &'static str,
    /// What counts in its usage and is given up before anything is killed, by the names of `memory.stat`.
    spare: &'static [&'static str],
}

const V2: Version = Version {
    limit: "memory.max",
    usage: "memory.current",
    spare: &["active_file", "inactive_file", "slab_reclaimable"],
};

const V1: Version = Version {
    limit: "memory.limit_in_bytes",
    usage: "memory.usage_in_bytes",
    spare: &["total_active_file", "total_inactive_file"],
};

/// A control group that this process is in, or that one is in.
#[derive(Debug, Clone)]
struct Group {
    directory: PathBuf,
    version: Version,
}

impl Group {
    /// `None` where it has no limit, or none is told.
    fn limit(&self) -> Option<u64> {
        number(&self.directory.join(self.version.limit))
    }

    /// How much is left, in bytes.
    fn available(&self) -> Option<u64> {
        let (limit, used) = (self.limit()?, number(&self.directory.join(self.version.usage))?);
        let stat = fs::read_to_string(self.directory.join("memory.stat")).unwrap_or_default();
        let spare = stat.lines().filter_map(|line| {
            let (name, bytes) = line.split_once(' ')?;
            self.version.spare.contains(&name).then(|| bytes.parse::<u64>().ok())?
        });
        Some(limit.saturating_sub(used.saturating_sub(spare.sum())))
    }
}

fn number(path: &Path) -> Option<u64> {
    fs::read_to_string(path).ok()?.trim().parse().ok()
}

/// Where memory is looked at.
#[derive(Debug, Clone)]
pub struct Memory {
    machine: PathBuf,
    groups: Vec<Group>,
}

impl Memory {
    /// Of this process.
    #[must_use]
    pub fn here() -> Self {
        Self::below(Path::new("/"))
    }

    /// The same below another root.
    fn below(root: &Path) -> Self {
        let own = fs::read_to_string(root.join("proc/self/cgroup")).unwrap_or_default();
        let top = root.join("sys/fs/cgroup");
        let mut groups = Vec::new();
        for line in own.lines() {
            // As `0::/a/b`, or `4:memory:/a/b` (`cgroups(7)`).
            let mut fields = line.splitn(3, ':').skip(1);
            let (Some(controllers), Some(path)) = (fields.next(), fields.next()) else { continue };
            let (top, version) = if controllers.is_empty() {
                (top.clone(), V2)
            } else if controllers.split(',').any(|name| name == "memory") {
                (top.join("memory"), V1)
            } else {
                continue;
            };
            // In a container the path may be the host's, and what is mounted the container's own group: the groups that are not there
            // say nothing.
            let path = Path::new(path.trim_start_matches('/'));
            groups.extend(path.ancestors().map(|path| Group { directory: top.join(path), version }));
        }
        Self { machine: root.join("proc/meminfo"), groups }
    }

    /// All that this process may use: the smallest of the limits.
    #[must_use]
    pub fn total(&self) -> Option<ByteSize> {
        let limits = self.groups.iter().filter_map(Group::limit);
        limits.chain(self.of_machine("MemTotal:")).min().map(ByteSize)
    }

    /// What is left of it before the kernel must kill: the least that any of them has left.
    #[must_use]
    pub fn available(&self) -> Option<ByteSize> {
        let left = self.groups.iter().filter_map(Group::available);
        left.chain(self.of_machine("MemAvailable:")).min().map(ByteSize)
    }

    fn of_machine(&self, name: &str) -> Option<u64> {
        let text = fs::read_to_string(&self.machine).ok()?;
        let line = text.lines().find_map(|line| line.strip_prefix(name))?;
        let kibibytes: u64 = line.trim().trim_end_matches(" kB").parse().ok()?;
        Some(kibibytes * 1024)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MEMINFO: (&str, &str) = ("proc/meminfo", "MemTotal:  8000 kB\nMemFree: 1 kB\nMemAvailable:  5000 kB\n");

    /// What is found among these files: all memory, and what is left of it.
    fn found(name: &str, files: &[(&str, &str)]) -> (Option<u64>, Option<u64>) {
        let root = std::env::temp_dir().join(format!("mayfly-memory-{}-{name}", std::process::id()));
        for (path, text) in files {
            let path = root.join(path);
            fs::create_dir_all(path.parent().expect("below the root")).expect("a directory");
            fs::write(path, text).expect("a file");
        }
        let memory = Memory::below(&root);
        let found = (memory.total().map(|all| all.0), memory.available().map(|left| left.0));
        let _ = fs::remove_dir_all(root);
        found
    }

    #[test]
    fn without_a_limit_it_is_the_machine_s() {
        let machine = (Some(8000 * 1024), Some(5000 * 1024));
        assert_eq!(found("machine", &[MEMINFO]), machine);
        let unlimited = [MEMINFO, ("proc/self/cgroup", "0::/a\n"), ("sys/fs/cgroup/a/memory.max", "max\n")];
        assert_eq!(found("unlimited", &unlimited), machine);
    }

    #[test]
    fn the_smallest_limit_counts_and_what_is_given_up_is_left() {
        let files = [
            MEMINFO,
            ("proc/self/cgroup", "0::/a/b\n"),
            ("sys/fs/cgroup/a/memory.max", "4000000\n"),
            ("sys/fs/cgroup/a/memory.current", "3000000\n"),
            ("sys/fs/cgroup/a/memory.stat", "anon 1\nactive_file 100000\ninactive_file 20000\nslab_reclaimable 3000\n"),
            ("sys/fs/cgroup/a/b/memory.max", "max\n"),
        ];
        assert_eq!(found("v2", &files), (Some(4_000_000), Some(1_123_000)));
    }

    #[test]
    fn in_a_container_the_group_is_what_is_mounted() {
        let files = [
            MEMINFO,
            ("proc/self/cgroup", "5:cpu:/\n4:memory,hugetlb:/docker/abc\n0::/\n"),
            ("sys/fs/cgroup/memory/memory.limit_in_bytes", "2000000\n"),
            ("sys/fs/cgroup/memory/memory.usage_in_bytes", "1500000\n"),
            ("sys/fs/cgroup/memory/memory.stat", "inactive_file 1\ntotal_inactive_file 70000\n"),
        ];
        assert_eq!(found("v1", &files), (Some(2_000_000), Some(570_000)));
    }
}
