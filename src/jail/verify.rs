//! Checks from inside a finished jail: a throw-away child tries to get out, at every start of the server.
//!
//! Runs in the child, instead of a script. It uses only calls that the filter refuses with an error number, so that
//! all checks run; what the filter answers by killing is the containment tests' business.

use super::{Jailed, Plan, root};
use crate::level::Level;
use crate::names::names;
use crate::sys;
use nix::fcntl::{OFlag, open};
use nix::sys::socket::{AddressFamily, SockFlag, SockType, socket};
use nix::sys::stat::Mode;
use nix::unistd::{Uid, getpid, getuid, setresuid};

names! {
    /// Something that must hold inside. Its index is its bit in a report, its text what holds when it passes.
    Check {
        /// /etc/passwd and /proc can't be opened.
        HostFiles => "no file of the host can be opened",
        /// Where files can be opened at all, the standard library can.
        Library => "the standard library can be read",
        /// Nothing can be created outside /tmp.
        ReadOnly => "nothing outside /tmp can be written",
        /// A private /tmp can be written where there is one, and nothing where there is none.
        Tmp => "/tmp is private and writable at level full, absent at level seccomp",
        /// No socket can be made.
        Network => "no socket can be made",
        /// No process can be made.
        Fork => "no process can be made",
        /// Id 0 can't be taken back.
        Root => "root can't be regained",
        /// At level full: the child is process 1 of its namespace.
        Processes => "no other process is in sight",
        /// No capability is left.
        Capabilities => "no capability is left",
        /// Limits can't be raised.
        Limits => "limits can't be raised",
    }
}

/// Tries everything; each bit set is a check that failed.
#[must_use]
pub fn escape(plan: &Plan, _jailed: &Jailed) -> u32 {
    let mut failed = 0;
    for (bit, check) in Check::ALL.iter().enumerate() {
        if !holds(plan, *check) {
            failed |= 1 << bit;
        }
    }
    failed
}

/// The checks that a report names.
#[must_use]
pub fn failed_checks(report: u32) -> Vec<Check> {
    Check::ALL.iter().enumerate().filter(|(bit, _)| report & (1 << bit) != 0).map(|(_, check)| *check).collect()
}

fn can_create(path: &str) -> bool {
    open(path, OFlag::O_CREAT | OFlag::O_WRONLY | OFlag::O_CLOEXEC, Mode::from_bits_truncate(0o600)).is_ok()
}

fn holds(plan: &Plan, check: Check) -> bool {
    match check {
        Check::HostFiles => !["/etc/passwd", "/proc/self/environ", "/proc/1/environ", "/sys/kernel", "/root", "/home"]
            .iter()
            .any(|path| root::can_open(path)),
        Check::Library => {
            let library = plan.root_inside().join(plan.stdlib.strip_prefix("/").unwrap_or(&plan.stdlib));
            !plan.has_files() || library.to_str().is_some_and(root::can_open)
        }
        Check::ReadOnly => {
            !["/mayfly-probe", "/usr/lib/mayfly-probe", "/dev/mayfly-probe"].iter().any(|path| can_create(path))
        }
        Check::Tmp => can_create("/tmp/mayfly-probe") == plan.has_tmp(),
        Check::Network => [AddressFamily::Inet, AddressFamily::Inet6, AddressFamily::Unix]
            .iter()
            .all(|family| socket(*family, SockType::Stream, SockFlag::SOCK_CLOEXEC, None).is_err()),
        Check::Fork => !sys::can_fork(),
        Check::Root => {
            let root = Uid::from_raw(0);
            // Where ids are shared and inside a user namespace, id 0 is the server's own unprivileged user.
            setresuid(root, root, root).is_err() && (getuid() != root || plan.ids == super::Ids::Shared)
        }
        Check::Processes => plan.level != Level::Full || getpid().as_raw() == 1,
        Check::Capabilities => sys::effective_capabilities().map_or(true, |set| set == 0),
        Check::Limits => {
            use nix::sys::resource::{Resource, setrlimit};
            setrlimit(Resource::RLIMIT_NOFILE, 32, 32).is_err()
        }
    }
}
