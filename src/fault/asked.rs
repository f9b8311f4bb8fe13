//! Faults as the environment asks for them: in test builds.
//!
//! The supervisor reads them and hands them on in the plan; a zygote and a child read no environment. This is the one place with the
//! names, so that a release build has none of them.

#[cfg(not(debug_assertions))]
compile_error!("fault-injection is for test builds: no optimised build may be made to leave out a layer");

use super::{Facility, Fault};
use crate::layer::Layer;
use crate::step::Step;
use nix::sched::CloneFlags;
use serde::{Deserialize, Serialize};
use std::sync::atomic::{AtomicU32, Ordering};

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

/// Namespaces that are entered together, each left out by itself.
const NAMESPACES: [(Layer, CloneFlags); 6] = [
    (Layer::PidNamespace, CloneFlags::CLONE_NEWPID),
    (Layer::MountNamespace, CloneFlags::CLONE_NEWNS),
    (Layer::NetworkNamespace, CloneFlags::CLONE_NEWNET),
    (Layer::IpcNamespace, CloneFlags::CLONE_NEWIPC),
    (Layer::UtsNamespace, CloneFlags::CLONE_NEWUTS),
    (Layer::CgroupNamespace, CloneFlags::CLONE_NEWCGROUP),
];

/// Other layers that are no step: single limits of the step `common-limits`, control groups, and what the supervisor does.
const LAYERS: [Layer; 19] = [
    Layer::CoreLimit,
    Layer::FileSizeLimit,
    Layer::OpenFilesLimit,
    Layer::StackLimit,
    Layer::MessageQueueLimit,
    Layer::PendingSignalsLimit,
    Layer::CleanEnvironment,
    Layer::Reseed,
    Layer::ReplyCap,
    Layer::ResultCap,
    Layer::OutputCap,
    Layer::OutputFlood,
    Layer::WallClock,
    Layer::CpuWatch,
    Layer::MemoryWatch,
    Layer::OwnCgroup,
    Layer::GroupMemoryLimit,
    Layer::GroupThreadLimit,
    Layer::GroupWeight,
];

impl Facility {
    const ALL: [Self; 4] = [Self::Verification, Self::CloneParent, Self::Landlock, Self::Chroot];

    fn as_str(self) -> &'static str {
        match self {
            Self::Verification => "verification",
            Self::CloneParent => "clone-parent",
            Self::Landlock => "kernel-landlock",
            Self::Chroot => "kernel-chroot",
        }
    }
}

/// Whether a variable of the environment asks for faults.
#[must_use]
pub fn reads(variable: &str) -> bool {
    ["MAYFLY_FAULT", "MAYFLY_WITHOUT"].contains(&variable)
}

/// The variable that leaves out, and all that it knows.
#[must_use]
pub fn can_leave_out() -> Option<(&'static str, Vec<&'static str>)> {
    Some(("MAYFLY_WITHOUT", names().collect()))
}

fn names() -> impl Iterator<Item = &'static str> {
    let layers = NAMESPACES.iter().map(|(layer, _)| layer).chain(&LAYERS).map(|layer| layer.as_str());
    let facilities = Facility::ALL.iter().map(|facility| facility.as_str());
    Step::ALL.iter().map(|step| step.as_str()).chain(layers).chain(facilities)
}

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
pub fn supervisor_leaves_out(layer: Layer) -> bool {
    static FAULTS: std::sync::OnceLock<Faults> = std::sync::OnceLock::new();
    FAULTS.get_or_init(Faults::left_out).leaves_out(layer)
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
        let is_known = |name: &String| names().any(|known| known == name);
        assert!(without.iter().all(is_known), "MAYFLY_WITHOUT names {without:?}, and not all are known");
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
            _ if self.without(step.as_str()) => Fault::LeaveOut,
            _ => Fault::None,
        }
    }

    /// Whether this process is among those that the failure happens in.
    fn is_due(&self, failure: &Failure) -> bool {
        // A cold child is the first of a zygote of its own.
        let number = self.zygotes_before + CHILDREN.load(Ordering::Relaxed).max(1);
        failure.count.is_none_or(|count| number <= count)
    }

    /// Whether a layer that is no step is left out.
    #[must_use]
    pub fn leaves_out(&self, layer: Layer) -> bool {
        self.without(layer.as_str())
    }

    /// Whether a facility is missing.
    #[must_use]
    pub fn lacks(&self, facility: Facility) -> bool {
        self.without(facility.as_str())
    }

    fn without(&self, name: &str) -> bool {
        self.without.iter().any(|without| without == name)
    }

    /// Flags of `clone` and `unshare` that are not to be used.
    #[must_use]
    pub fn flags_left_out(&self) -> CloneFlags {
        let left_out = NAMESPACES.iter().filter(|(layer, _)| self.leaves_out(*layer));
        let namespaces = left_out.fold(CloneFlags::empty(), |flags, (_, namespace)| flags | *namespace);
        if self.lacks(Facility::CloneParent) { namespaces | CloneFlags::CLONE_PARENT } else { namespaces }
    }
}
