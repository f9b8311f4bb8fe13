//! The process table, read from /proc by the test process.

use nix::unistd::Pid;

/// A line of the process table.
#[derive(Debug, Clone)]
pub struct Process {
    pub pid: i32,
    pub parent: i32,
    /// As in proc(5): `Z` is a zombie.
    pub state: char,
    /// Whether a seccomp filter is on it.
    pub is_jailed: bool,
}

impl Process {
    pub fn all() -> Vec<Self> {
        let entries = std::fs::read_dir("/proc").expect("/proc").filter_map(Result::ok);
        entries.filter_map(|entry| Self::read(entry.file_name().to_str()?.parse().ok()?)).collect()
    }

    fn read(pid: i32) -> Option<Self> {
        let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
        let field =
            |name: &str| status.lines().find_map(|line| Some(line.strip_prefix(name)?.trim_start_matches(':').trim()));
        Some(Self {
            pid,
            parent: field("PPid")?.parse().ok()?,
            state: field("State")?.chars().next()?,
            is_jailed: field("Seccomp")? == "2",
        })
    }
}

/// Whether a process of this id is there and is no zombie.
pub fn is_alive(pid: Pid) -> bool {
    Process::read(pid.as_raw()).is_some_and(|process| process.state != 'Z')
}
