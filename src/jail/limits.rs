//! Resource limits, soft and hard alike: a script can lower none and raise none.
//!
//! Runs in the zygote, which sets what is the same for all, and in the child.

use super::{Counting, Ids, MAX_THREADS, MAX_THREADS_TOGETHER, Plan};
use crate::layer::Layer;
use nix::errno::Errno;
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use serde::{Deserialize, Serialize};

/// What differs from job to job.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChildLimits {
    /// `RLIMIT_AS`, in bytes: what the interpreter has plus what the job may add.
    pub address_space: u64,
    /// `RLIMIT_CPU`, in whole seconds; a finer limit is the supervisor's to keep.
    pub cpu_seconds: u64,
}

impl ChildLimits {
    /// `RLIMIT_CPU` for a job's processor time: the next whole second and one more, so that the supervisor, who can tell
    /// the client why, comes first.
    #[must_use]
    pub fn whole_seconds(cpu: std::time::Duration) -> u64 {
        cpu.as_secs() + u64::from(cpu.subsec_nanos() > 0) + 1
    }

    pub(super) fn set_address_space(self) -> Result<(), Errno> {
        set(Resource::RLIMIT_AS, self.address_space)
    }

    pub(super) fn set_cpu(self) -> Result<(), Errno> {
        set(Resource::RLIMIT_CPU, self.cpu_seconds)
    }
}

/// Sets a limit, soft and hard alike, or leaves a hard one that is lower already: raising it takes a privilege, and lower is
/// stricter.
fn set(resource: Resource, value: u64) -> Result<(), Errno> {
    let (_, hard) = getrlimit(resource)?;
    let value = value.min(hard);
    match setrlimit(resource, value, value) {
        // gVisor has no signal queues and no message queues to limit, and says so in this way.
        Err(Errno::EPERM) if matches!(resource, Resource::RLIMIT_SIGPENDING | Resource::RLIMIT_MSGQUEUE) => Ok(()),
        result => result,
    }
}

/// Descriptors a child may have open: asyncio, sqlite and a few dozen files fit.
pub const OPEN_FILES: u64 = 64;

/// The main thread's stack, in bytes, as most systems have it.
const STACK: u64 = 8 * 1024 * 1024;

/// Signals that may be queued for one id.
const PENDING_SIGNALS: u64 = 64;

/// The limits that all children share. The zygote sets them for itself and they are inherited.
pub fn set_common(plan: &Plan) -> Result<(), Errno> {
    set_unless(plan, Layer::CoreLimit, Resource::RLIMIT_CORE, 0)?;
    set_unless(plan, Layer::FileSizeLimit, Resource::RLIMIT_FSIZE, plan.tmp_bytes)?;
    set_unless(plan, Layer::OpenFilesLimit, Resource::RLIMIT_NOFILE, OPEN_FILES)?;
    set_unless(plan, Layer::StackLimit, Resource::RLIMIT_STACK, STACK)?;
    set_unless(plan, Layer::MessageQueueLimit, Resource::RLIMIT_MSGQUEUE, 0)?;
    set_unless(plan, Layer::PendingSignalsLimit, Resource::RLIMIT_SIGPENDING, PENDING_SIGNALS)
}

/// One more of these, for which it is time when the zygote has pinned the pages that its children write to.
pub fn set_locked_memory() -> Result<(), Errno> {
    set(Resource::RLIMIT_MEMLOCK, 0)
}

/// Sets a limit that a test build can leave out by itself.
fn set_unless(plan: &Plan, layer: Layer, resource: Resource, value: u64) -> Result<(), Errno> {
    if plan.faults.leaves_out(layer) { Ok(()) } else { set(resource, value) }
}

/// Asks the kernel to give this process no more huge pages; those that the zygote has made stay. The kernel keeps a huge page
/// whole after a part of it was unmapped, until memory is short, but `RLIMIT_AS` counts only what is mapped: a script could hold
/// 2 MiB for each 4 KiB. If huge pages are `madvise` it would do so by letting a mapping of the zygote's grow.
pub fn forbid_huge_pages() -> Result<(), Errno> {
    match nix::sys::prctl::set_thp_disable(true) {
        // gVisor, whose processes have none.
        Err(Errno::EINVAL) => Ok(()),
        result => result,
    }
}

/// Threads. The kernel counts them by id and user namespace; where a child has neither for itself, the count has the server, its
/// other children and whatever else that user runs in it, so there the limit only stops a bomb, and the supervisor counts.
pub fn set_processes(plan: &Plan) -> Result<(), Errno> {
    let most = match (plan.ids, plan.counting) {
        (Ids::Range { .. }, _) | (_, Counting::Alone) => MAX_THREADS,
        (Ids::Shared, Counting::Together) => MAX_THREADS_TOGETHER,
    };
    set(Resource::RLIMIT_NPROC, most)
}

/// Whether a limit of two threads lets this process start one more, and no third.
pub fn try_counting_alone() -> Result<(), Errno> {
    setrlimit(Resource::RLIMIT_NPROC, 2, 2)?;
    let (go, held) = std::sync::mpsc::channel::<()>();
    let start = |held: std::sync::mpsc::Receiver<()>| {
        // It ends when the other end is dropped.
        std::thread::Builder::new().spawn(move || held.recv().is_ok())
    };
    let second = start(held).map_err(|_| Errno::EAGAIN)?;
    let (_, other) = std::sync::mpsc::channel::<()>();
    let third = start(other);
    drop(go);
    let _ = second.join();
    match third {
        Err(_) => Ok(()),
        Ok(third) => {
            let _ = third.join();
            Err(Errno::EOPNOTSUPP)
        }
    }
}
