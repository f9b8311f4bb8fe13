//! What the jail depends on: level, ids, paths, sizes.
//!
//! The supervisor decides it once, at start; zygotes and children take it as given. It says what is to hold and never how:
//! the steps are in `jail.rs`.

use super::filter;
use crate::fault::Faults;
use crate::level::Level;
use serde::{Deserialize, Serialize};
use std::path::PathBuf;

/// The user and group ids that children run under.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Ids {
    /// Each slot has its own id, `first` plus its number plus one, outside of any user namespace.
    Range {
        /// The zygote's own id; the children's follow.
        first: u32,
        /// How many ids there are, the zygote's included.
        count: u32,
    },
    /// All children share the server's id: it may not change ids.
    Shared,
}

/// What holds a path policy at level `seccomp`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Paths {
    /// The zygote's root is the jail root.
    pub chroot: bool,
    /// Landlock allows reading below the jail root and nothing else.
    pub landlock: bool,
    /// Without a chroot, and with Landlock: the filter lets no path be followed but by [`crate::sys::beneath`], from the jail root.
    pub beneath: bool,
}

/// How a child that a zygote makes becomes the supervisor's own, to reap and to die with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Parentage {
    /// By `CLONE_PARENT`.
    Sibling,
    /// Where the kernel ignores `CLONE_PARENT` (gVisor): a process in between makes the child and ends, and the
    /// supervisor, a subreaper, inherits it.
    Adopted,
}

/// Who keeps a child from having more than [`MAX_THREADS`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Counting {
    /// The kernel, which counts processes and threads by id, and by user namespace: a child has one of its own where ids are
    /// shared.
    Alone,
    /// The supervisor: ids are shared and no namespace is granted, so the kernel counts all children together, or it does not count
    /// (gVisor).
    Together,
}

/// How a child comes into the control group of its slot.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Joining {
    /// It is cloned into it (`CLONE_INTO_CGROUP`, since Linux 5.7), which costs nothing.
    Cloned,
    /// The supervisor moves it, before it is ready.
    Moved,
    /// Not at all: there are none.
    No,
}

/// Everything the jail depends on: decided by the supervisor at start, the same for all children.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Plan {
    /// The isolation level.
    pub level: Level,
    /// The jail root, as the supervisor sees it.
    pub root: PathBuf,
    /// The standard library's path below it, from its root on.
    pub stdlib: PathBuf,
    /// A directory of packages mounted over the jail root's own.
    pub packages: Option<PathBuf>,
    /// Whose ids the children have.
    pub ids: Ids,
    /// Who keeps a child's threads from being too many.
    pub counting: Counting,
    /// At level `seccomp`: what keeps paths.
    pub paths: Paths,
    /// How children become the supervisor's.
    pub parentage: Parentage,
    /// How they come into control groups of their own.
    pub joining: Joining,
    /// Size of a child's /tmp, in bytes.
    pub tmp_bytes: u64,
    /// How many files and directories a child's /tmp may hold; `None` where the kernel can't cap them.
    pub tmp_inodes: Option<u32>,
    /// What a test build is to leave out or to let fail; nothing in other builds.
    pub faults: Faults,
}

/// Files and directories that a child's /tmp may hold.
pub const TMP_INODES: u32 = 1024;

/// Threads that a child may have, its first included.
pub const MAX_THREADS: u64 = 64;

/// Processes and threads that one id may have where the kernel counts all children and the server together: it stops a bomb before
/// the supervisor has counted.
pub const MAX_THREADS_TOGETHER: u64 = 1024;

impl Plan {
    /// Where the jail root is for a process that took all of [`super::prepare`].
    #[must_use]
    pub fn root_inside(&self) -> PathBuf {
        match self.level {
            Level::Seccomp if !self.paths.chroot => self.root.clone(),
            _ => PathBuf::from("/"),
        }
    }

    /// Where scripts import packages from, seen from inside.
    #[must_use]
    pub fn packages_inside(&self) -> PathBuf {
        match (&self.packages, self.level) {
            (Some(packages), Level::Seccomp) if !self.paths.chroot => packages.clone(),
            _ => self.root_inside().join("packages"),
        }
    }

    /// The filter that children of this plan get.
    #[must_use]
    pub fn filter(&self) -> &'static filter::Policy {
        match self.level {
            Level::Full | Level::Nsjail => &filter::FULL,
            Level::Seccomp if self.paths.chroot => &filter::READ_ONLY,
            Level::Seccomp if self.paths.beneath => &filter::BENEATH,
            Level::Seccomp => &filter::NO_FILES,
        }
    }

    /// Whether each child enters a user namespace of its own.
    #[must_use]
    pub fn has_own_user_namespaces(&self) -> bool {
        self.ids == Ids::Shared && self.counting == Counting::Alone && self.level != Level::Nsjail
    }

    /// Whether a Landlock ruleset is part of it.
    #[must_use]
    pub fn needs_ruleset(&self) -> bool {
        self.level == Level::Seccomp && self.paths.landlock
    }

    /// Whether children can open files.
    #[must_use]
    pub fn has_files(&self) -> bool {
        self.level != Level::Seccomp || self.paths.chroot || self.paths.beneath
    }

    /// Where a child works: a private /tmp, or its root.
    pub(super) fn working_directory(&self) -> PathBuf {
        if self.has_tmp() {
            PathBuf::from("/tmp")
        } else if self.paths.beneath {
            self.root.clone()
        } else {
            PathBuf::from("/")
        }
    }

    /// Whether children have a private, writable /tmp.
    #[must_use]
    pub fn has_tmp(&self) -> bool {
        self.level != Level::Seccomp
    }
}
