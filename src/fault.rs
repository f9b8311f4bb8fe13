//! Faults that tests ask for: a jail step that fails, or is left out.
//!
//! In test builds only (feature `fault-injection`); a test proves that a release build has none of it. `MAYFLY_FAULT=step:errno`
//! makes a step fail, `MAYFLY_WITHOUT=step,step` leaves steps out; `pid-namespace` and the like leave out a namespace.
//! The supervisor reads them and hands them on in the plan.

use crate::jail::Step;
use nix::sched::CloneFlags;
use serde::{Deserialize, Serialize};

/// What to do with a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// Take it.
    None,
    /// Pretend it was taken.
    LeaveOut,
    /// Pretend its call gave this error number.
    Fail(i32),
}

/// The faults of a plan.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Faults {
    fail: Option<(String, i32)>,
    without: Vec<String>,
}

/// Names by which namespaces are left out.
const NAMESPACES: [(&str, CloneFlags); 7] = [
    ("pid-namespace", CloneFlags::CLONE_NEWPID),
    ("mount-namespace", CloneFlags::CLONE_NEWNS),
    ("network-namespace", CloneFlags::CLONE_NEWNET),
    ("ipc-namespace", CloneFlags::CLONE_NEWIPC),
    ("uts-namespace", CloneFlags::CLONE_NEWUTS),
    ("cgroup-namespace", CloneFlags::CLONE_NEWCGROUP),
    // What a kernel does that takes this flag for nothing.
    ("clone-parent", CloneFlags::CLONE_PARENT),
];

impl Faults {
    /// As the environment asks.
    ///
    /// # Panics
    /// When `MAYFLY_FAULT` is not a step and an error number.
    #[must_use]
    pub fn from_environment() -> Self {
        let fail = std::env::var("MAYFLY_FAULT").ok().map(|text| {
            let (step, errno) = text.split_once(':').expect("MAYFLY_FAULT is step:errno");
            (step.to_owned(), errno.parse().expect("an error number"))
        });
        let without = std::env::var("MAYFLY_WITHOUT").unwrap_or_default();
        Self { fail, without: without.split(',').filter(|name| !name.is_empty()).map(str::to_owned).collect() }
    }

    /// The same but for the step that fails: for verifying at start, so that it fails later.
    #[must_use]
    pub fn left_out() -> Self {
        Self { fail: None, ..Self::from_environment() }
    }

    /// What to do with `step`.
    #[must_use]
    pub fn at(&self, step: Step) -> Fault {
        match &self.fail {
            Some((name, errno)) if name == step.as_str() => Fault::Fail(*errno),
            _ if self.without.iter().any(|name| name == step.as_str()) => Fault::LeaveOut,
            _ => Fault::None,
        }
    }

    /// Whether something that is no step, named so, is left out.
    #[must_use]
    pub fn leaves_out(&self, name: &str) -> bool {
        self.without.iter().any(|without| without == name)
    }

    /// Namespaces not to enter.
    #[must_use]
    pub fn namespaces_left_out(&self) -> CloneFlags {
        NAMESPACES
            .iter()
            .filter(|(name, _)| self.leaves_out(name))
            .fold(CloneFlags::empty(), |flags, (_, namespace)| flags | *namespace)
    }
}
