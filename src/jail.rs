//! The jail: one ordered list of steps, first those that a zygote takes once, then those of each child.
//!
//! Runs in the zygote and in the child. The security argument is the order: each step is taken while the privileges
//! it needs are still held, and nothing that a later step closes off is needed before. No step is optional where its
//! layer was granted, none is weaker in a debug build; the first that fails ends the process and is reported as
//! (step, errno). User code can't run without a [`Jailed`].

mod beneath;
mod descriptors;
pub mod filter;
mod identity;
mod landlock;
mod limits;
mod plan;
mod root;
mod take;
pub mod verify;
mod victim;

pub use self::identity::slot_id;
pub use self::landlock::{Ruleset, make as make_ruleset};
pub use self::limits::{ChildLimits, OPEN_FILES};
pub use self::plan::{Counting, Ids, Joining, MAX_THREADS, MAX_THREADS_TOGETHER, Parentage, Paths, Plan, TMP_INODES};
pub use self::take::Steps;
pub use self::victim::Victim;
pub use crate::step::{JailError, Step};

use crate::handover;
use crate::level::Level;
use crate::sys::{self, HandedIn, OneWay};
use nix::errno::Errno;
use nix::sched::CloneFlags;
use nix::unistd::{chdir, setsid};
use std::mem::ManuallyDrop;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

/// Namespaces that all children of a zygote share: made once, since a network namespace alone costs 0.4 ms and more
/// than all others together. They are empty: no interface is up, no object is in them, and the filter
/// keeps children from putting one there.
const SHARED_NAMESPACES: CloneFlags = CloneFlags::CLONE_NEWNS
    .union(CloneFlags::CLONE_NEWNET)
    .union(CloneFlags::CLONE_NEWIPC)
    .union(CloneFlags::CLONE_NEWUTS)
    .union(CloneFlags::CLONE_NEWCGROUP);

/// Namespaces that each child has for itself.
const CHILD_NAMESPACES: CloneFlags =
    CloneFlags::CLONE_NEWPID.union(CloneFlags::CLONE_NEWNS).union(CloneFlags::CLONE_NEWIPC);

/// Those of the shared ones that children must have for themselves. A zygote in a control group namespace of its own can't clone into
/// groups that are beside it, where such namespaces are boundaries (`nsdelegate` in `cgroups(7)`).
fn child_namespaces(plan: &Plan) -> CloneFlags {
    if plan.joining == Joining::Cloned { CloneFlags::CLONE_NEWCGROUP } else { CloneFlags::empty() }
}

/// The flags of a child's clone: a sibling of its zygote where the kernel grants it, so that the supervisor is its parent; at
/// level `full` in namespaces of its own.
#[must_use]
pub fn clone_flags(plan: &Plan) -> CloneFlags {
    let steps = Steps::new(plan);
    let parentage = match plan.parentage {
        Parentage::Sibling => CloneFlags::CLONE_PARENT,
        Parentage::Adopted => CloneFlags::empty(),
    };
    match plan.level {
        Level::Full => steps.flags(parentage | child_namespaces(plan) | CHILD_NAMESPACES),
        Level::Seccomp | Level::Nsjail => steps.flags(parentage),
    }
}

/// The zygote's very first step: only what the supervisor handed in on purpose stays open.
///
/// # Errors
/// As [`prepare`].
pub fn close_inherited(plan: &Plan, handed_in: &mut HandedIn) -> Result<(), JailError> {
    let kept = if plan.level == Level::Nsjail { handover::PROC } else { handover::CONTROL };
    Steps::new(plan).take(Step::ZygoteDescriptors, || handed_in.close_from(kept + 1))
}

/// The zygote's part, taken once, before the interpreter starts. `map_ids` asks the supervisor to write the id map of
/// the new user namespace, and returns when that is done.
///
/// # Errors
/// The first step that fails. The process must end: it is neither outside nor in.
pub fn prepare(plan: &Plan, map_ids: impl FnOnce() -> Result<(), Errno>) -> Result<Victim, JailError> {
    let steps = Steps::new(plan);
    let mut victim = steps.part(Step::OutOfMemoryScore, Victim::open)?;
    steps.take(Step::OutOfMemoryScore, || victim.prefer_zygote())?;
    steps.take(Step::Umask, || {
        nix::sys::stat::umask(nix::sys::stat::Mode::from_bits_truncate(0o077));
        Ok(())
    })?;
    match plan.level {
        Level::Full => {
            identity::clear_groups_where_allowed();
            steps.take(Step::UserNamespace, || nix::sched::unshare(CloneFlags::CLONE_NEWUSER))?;
            steps.take(Step::IdMap, map_ids)?;
            let shared = SHARED_NAMESPACES.difference(child_namespaces(plan));
            steps.take(Step::SharedNamespaces, || nix::sched::unshare(steps.flags(shared)))?;
            steps.take(Step::HostName, || nix::unistd::sethostname("mayfly"))?;
            steps.take(Step::PrivateMounts, root::make_private)?;
            steps.take(Step::BindRoot, || root::bind(&plan.root))?;
            steps.take(Step::BindDevices, || root::bind_devices(&plan.root))?;
            if let Some(packages) = &plan.packages {
                steps.take(Step::BindPackages, || root::bind_packages(packages, &plan.root))?;
            }
            steps.take(Step::ReadOnlyRoot, || root::make_read_only(&plan.root))?;
            steps.take(Step::PivotRoot, || root::pivot(&plan.root))?;
            // Only now: the way to the jail root may lead through directories that are closed to everybody else.
            steps.take(Step::ZygoteIds, identity::become_root_of_namespace)?;
        }
        Level::Seccomp => {
            identity::clear_groups_where_allowed();
            if plan.paths.chroot {
                steps.take(Step::ChangeRoot, || root::change(&plan.root))?;
            }
        }
        // nsjail has done all this from outside, by seccomp/nsjail.cfg.
        Level::Nsjail => {}
    }
    steps.take(Step::BoundingSet, identity::drop_bounding_set)?;
    steps.take(Step::CommonLimits, || limits::set_common(plan))?;
    Ok(victim)
}

/// Makes the zygote untouchable, after its interpreter is warm: ids no longer change from here on.
///
/// # Errors
/// As [`prepare`].
pub fn seal_zygote(plan: &Plan) -> Result<(), JailError> {
    let steps = Steps::new(plan);
    steps.take(Step::LockedMemoryLimit, limits::set_locked_memory)?;
    steps.take(Step::Signals, sys::reset_signals)?;
    steps.take(Step::ZygoteDumpable, || nix::sys::prctl::set_dumpable(false))?;
    steps.take(Step::ZygoteParentDeathSignal, || nix::sys::prctl::set_pdeathsig(nix::sys::signal::Signal::SIGKILL))
}

/// Tries to open below the jail root by itself, for a probe that ends after it.
///
/// # Errors
/// `ENOSYS` before Linux 5.6, `EPERM` where a filter around the server knows no `openat2`.
pub fn try_beneath(plan: &Plan) -> Result<(), Errno> {
    beneath::attempt(plan)
}

/// Tries `chroot` by itself, for a probe that ends after it.
///
/// # Errors
/// `EPERM` without `CAP_SYS_CHROOT`.
pub fn try_chroot(plan: &Plan) -> Result<(), Errno> {
    root::change(&plan.root)
}

/// Tries to take ids of the plan's range by itself, for a probe that ends after it.
///
/// # Errors
/// `EPERM` without `CAP_SETUID` or `CAP_SETGID`, `EINVAL` for ids that the user namespace does not have.
pub fn try_ids(plan: &Plan) -> Result<(), Errno> {
    // Not one of the first, which a child of another server on this machine may have now: its threads would be counted too.
    identity::take_slot(plan, u32::MAX)
}

/// Tries whether the kernel counts a child's threads alone, for a probe that ends after it: by the id that it took, or in a user
/// namespace of its own.
///
/// # Errors
/// `EPERM` or `ENOSPC` where no such namespace is granted, `EAGAIN` where the kernel counts all processes of an id together (before
/// Linux 5.14), `EOPNOTSUPP` where it does not keep the limit (gVisor).
pub fn try_counting_alone(ids: Ids) -> Result<(), Errno> {
    if ids == Ids::Shared {
        nix::sched::unshare(CloneFlags::CLONE_NEWUSER)?;
    }
    limits::try_counting_alone()
}

/// The descriptors a child keeps.
#[derive(Debug)]
pub struct ChildDescriptors {
    /// Job in, reply out.
    pub channel: OwnedFd,
    /// Becomes descriptor 1.
    pub stdout: OwnedFd,
    /// Becomes descriptor 2.
    pub stderr: OwnedFd,
}

/// Proof that this process took every step. Only [`enter`] makes one.
///
/// Whoever has one can use it:
///
/// ```no_run
/// fn channel_of(jailed: &mayfly::jail::Jailed) -> std::os::fd::BorrowedFd<'_> {
///     jailed.channel()
/// }
/// ```
///
/// Nobody else can make one, whatever descriptors they have:
///
/// ```compile_fail
/// fn forged(channel: std::os::fd::OwnedFd) -> mayfly::jail::Jailed {
///     mayfly::jail::Jailed { channel }
/// }
/// ```
#[derive(Debug)]
pub struct Jailed {
    channel: OwnedFd,
}

impl Jailed {
    /// Job in, reply out: the one descriptor beside 0, 1 and 2.
    #[must_use]
    pub fn channel(&self) -> BorrowedFd<'_> {
        self.channel.as_fd()
    }
}

/// The child's part. `ruleset` is the Landlock ruleset that the zygote made, where the plan has one.
///
/// # Errors
/// The first step that fails. The process must end at once.
pub fn enter(
    plan: &Plan,
    slot: u32,
    child_limits: ChildLimits,
    descriptors: ChildDescriptors,
    ruleset: Option<Ruleset>,
    one_way: &OneWay,
) -> Result<Jailed, JailError> {
    let steps = Steps::new(plan);
    let (channel, ruleset) = steps.part(Step::Descriptors, || descriptors::place(one_way, descriptors, ruleset))?;
    steps.take(Step::Descriptors, || descriptors::close_others(one_way, &channel, ruleset.as_ref()))?;
    // Whoever reports a step that fails reaches it by its number: it must stay open.
    let channel = ManuallyDrop::new(channel);
    steps.take(Step::Session, || setsid().map(drop))?;
    if plan.level == Level::Full {
        steps.take(Step::PrivateTmp, || root::mount_tmp(plan.tmp_bytes, plan.tmp_inodes))?;
    }
    steps.take(Step::WorkingDirectory, || chdir(&plan.working_directory()))?;
    steps.take(Step::AddressSpaceLimit, || child_limits.set_address_space())?;
    steps.take(Step::HugePages, limits::forbid_huge_pages)?;
    steps.take(Step::CpuLimit, || child_limits.set_cpu())?;
    if plan.has_own_user_namespaces() {
        // Before the limit of processes: the namespace keeps the one it was made under as that of all its parents' children.
        steps.take(Step::OwnUserNamespace, || nix::sched::unshare(CloneFlags::CLONE_NEWUSER))?;
        // Whoever enters one has a full set again.
        steps.take(Step::BoundingSet, identity::drop_bounding_set)?;
    }
    steps.take(Step::ProcessLimit, || limits::set_processes(plan))?;
    steps.take(Step::Ids, || identity::take_slot(plan, slot))?;
    steps.take(Step::Capabilities, identity::drop_capabilities)?;
    steps.take(Step::Dumpable, || nix::sys::prctl::set_dumpable(false))?;
    steps.take(Step::ParentDeathSignal, || nix::sys::prctl::set_pdeathsig(nix::sys::signal::Signal::SIGKILL))?;
    steps.take(Step::NoNewPrivileges, nix::sys::prctl::set_no_new_privs)?;
    if plan.needs_ruleset() {
        steps.take(Step::Landlock, || landlock::enforce(ruleset))?;
    }
    if plan.paths.beneath {
        steps.take(Step::Beneath, || beneath::confine(plan))?;
    }
    steps.take(Step::Filter, || filter::install(plan.filter()))?;
    Ok(Jailed { channel: ManuallyDrop::into_inner(channel) })
}
