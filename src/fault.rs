//! Faults that tests ask for: a jail step that fails, or a layer that is left out.
//!
//! In test builds only (feature `fault-injection`); a test proves that a release build has none of it. `MAYFLY_FAULT=step:errno`
//! makes a step fail, in every process that takes it; `step:errno:count` in the first so many only, so that what comes after
//! a fault can be seen. `MAYFLY_WITHOUT=name,name` leaves out steps, and layers that are no steps: [`NAMESPACES`] and
//! [`OTHERS`]. The supervisor reads them and hands them on in the plan.

#[cfg(not(debug_assertions))]
compile_error!("fault-injection is for test builds: no optimised build may be made to leave out a layer");

use crate::step::Step;
use nix::sched::CloneFlags;
use serde::{Deserialize, Serialize};
use std::sync::atomic::{AtomicU32, Ordering};

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
    fail: Option<Failure>,
    without: Vec<String>,
    /// How many zygotes were started before this one.
    zygotes_before: u32,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Failure {
    step: String,
    errno: i32,
    /// The processes it happens in, counted from the first that takes the step; `None` is all.
    count: Option<u32>,
}

/// Names by which namespaces are left out.
pub const NAMESPACES: [(&str, CloneFlags); 7] = [
    ("pid-namespace", CloneFlags::CLONE_NEWPID),
    ("mount-namespace", CloneFlags::CLONE_NEWNS),
    ("network-namespace", CloneFlags::CLONE_NEWNET),
    ("ipc-namespace", CloneFlags::CLONE_NEWIPC),
    ("uts-namespace", CloneFlags::CLONE_NEWUTS),
    ("cgroup-namespace", CloneFlags::CLONE_NEWCGROUP),
    // What a kernel does that ignores this flag.
    ("clone-parent", CloneFlags::CLONE_PARENT),
];

/// What else can be left out: layers that are no step of the jail, single limits of the step `common-limits`, and facilities
/// that a kernel may lack.
pub const OTHERS: [&str; 17] = [
    "core-limit",
    "file-size-limit",
    "open-files-limit",
    "stack-limit",
    "message-queue-limit",
    "pending-signals-limit",
    "clean-environment",
    "reseed",
    "reply-cap",
    "result-cap",
    "output-cap",
    "output-flood",
    "wall-clock",
    "cpu-watch",
    // The check at start that the jail holds, so that a server without a layer serves at all.
    "verification",
    "kernel-landlock",
    "kernel-chroot",
];

/// Zygotes that this process, the supervisor, has started with a step to fail.
static ZYGOTES: AtomicU32 = AtomicU32::new(0);

/// Children that this process, a zygote, has ordered; a child has its own number in it.
static CHILDREN: AtomicU32 = AtomicU32::new(0);

/// For a zygote: it is about to make a child.
pub fn count_child() {
    CHILDREN.fetch_add(1, Ordering::Relaxed);
}

/// For the supervisor's own layers: whether one is left out.
#[must_use]
pub fn supervisor_leaves_out(name: &str) -> bool {
    static FAULTS: std::sync::OnceLock<Faults> = std::sync::OnceLock::new();
    FAULTS.get_or_init(Faults::left_out).leaves_out(name)
}

impl Faults {
    /// For the supervisor: the faults of the next zygote.
    #[must_use]
    pub fn for_next_zygote(&self) -> Self {
        let mut faults = self.clone();
        if faults.fail.is_some() {
            faults.zygotes_before = ZYGOTES.fetch_add(1, Ordering::Relaxed);
        }
        faults
    }

    /// As the environment asks.
    ///
    /// # Panics
    /// When `MAYFLY_FAULT` is not a step and an error number, or `MAYFLY_WITHOUT` names something that is not known here: a
    /// misspelt layer would seem to need no test.
    #[must_use]
    pub fn from_environment() -> Self {
        let is_step = |name: &str| Step::ALL.iter().any(|step| step.as_str() == name);
        let fail = std::env::var("MAYFLY_FAULT").ok().map(|text| {
            let mut parts = text.split(':');
            let step = parts.next().filter(|name| is_step(name)).expect("MAYFLY_FAULT names a step");
            let errno = parts.next().and_then(|errno| errno.parse().ok()).expect("MAYFLY_FAULT has an error number");
            let count = parts.next().map(|count| count.parse().expect("the count in MAYFLY_FAULT is a number"));
            Failure { step: step.to_owned(), errno, count }
        });
        let without = std::env::var("MAYFLY_WITHOUT").unwrap_or_default();
        let without: Vec<String> = without.split(',').filter(|name| !name.is_empty()).map(str::to_owned).collect();
        let is_known =
            |name: &str| is_step(name) || NAMESPACES.iter().any(|(known, _)| *known == name) || OTHERS.contains(&name);
        assert!(without.iter().all(|name| is_known(name)), "MAYFLY_WITHOUT names {without:?}, and not all are known");
        Self { fail, without, zygotes_before: 0 }
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
            Some(failure) if failure.step == step.as_str() && self.is_due(failure) => Fault::Fail(failure.errno),
            _ if self.leaves_out(step.as_str()) => Fault::LeaveOut,
            _ => Fault::None,
        }
    }

    /// Whether this process is among those that the failure happens in.
    fn is_due(&self, failure: &Failure) -> bool {
        // A cold child is the first of a zygote of its own.
        let number = self.zygotes_before + CHILDREN.load(Ordering::Relaxed).max(1);
        failure.count.is_none_or(|count| number <= count)
    }

    /// Whether something is left out that has this name.
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
