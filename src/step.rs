//! The names of the jail's steps, and what a failed one says.
//!
//! Used in the zygote and in the child, whose only way to report is two integers, and in the supervisor, which reads them.

use crate::layer::Layer;
use crate::names::names;
use nix::errno::Errno;
use std::fmt;

names! {
    /// A step of the jail, in the order of the list. Its index is what crosses the wire, its text what stands in the log.
    Step {
        /// The zygote's descriptors beyond its control socket are closed.
        ZygoteDescriptors => "zygote-descriptors",
        /// Short of memory, the kernel kills a zygote before the supervisor.
        OutOfMemoryScore => "out-of-memory-score",
        /// Files are created private.
        Umask => "umask",
        /// A user namespace is entered.
        UserNamespace => Layer::UserNamespace.as_str(),
        /// The supervisor wrote the id map.
        IdMap => "id-map",
        /// Mount, network, ipc, uts and cgroup namespaces are entered.
        SharedNamespaces => "shared-namespaces",
        /// The host's name is hidden.
        HostName => "host-name",
        /// No mount event crosses over.
        PrivateMounts => "private-mounts",
        /// The jail root becomes a mount of its own.
        BindRoot => "bind-root",
        /// /dev/null, zero and urandom are placed in it.
        BindDevices => "bind-devices",
        /// The packages are placed in it.
        BindPackages => "bind-packages",
        /// It becomes read-only.
        ReadOnlyRoot => "read-only-root",
        /// It becomes the root, and the old one is detached.
        PivotRoot => "pivot-root",
        /// The zygote becomes id 0 of its user namespace, which is nobody outside.
        ZygoteIds => "zygote-ids",
        /// At level `seccomp`: it becomes the root by chroot.
        ChangeRoot => "chroot",
        /// No capability can ever be gained.
        BoundingSet => "bounding-set",
        /// The limits that are the same for all children.
        CommonLimits => "common-limits",
        /// The interpreter started.
        Interpreter => "interpreter",
        /// The zygote has one thread and shares no writable memory.
        Alone => "alone",
        /// No memory can be locked: `RLIMIT_MEMLOCK`.
        LockedMemoryLimit => Layer::LockedMemoryLimit.as_str(),
        /// Signal dispositions and mask are the default ones.
        Signals => "signals",
        /// The zygote can't be traced.
        ZygoteDumpable => "zygote-dumpable",
        /// The zygote dies with the supervisor.
        ZygoteParentDeathSignal => "zygote-parent-death-signal",
        /// The child's descriptors are made.
        Channel => "channel",
        /// Short of memory, the kernel kills a child before a zygote.
        ChildOutOfMemoryScore => "child-out-of-memory-score",
        /// The child is cloned into its own namespaces.
        Clone => "clone",
        /// Every descriptor but four is closed.
        Descriptors => Layer::Descriptors.as_str(),
        /// A session of its own, with no terminal.
        Session => "session",
        /// A private tmpfs at /tmp.
        PrivateTmp => Layer::PrivateTmp.as_str(),
        /// The working directory.
        WorkingDirectory => "working-directory",
        /// `RLIMIT_AS`.
        AddressSpaceLimit => Layer::AddressSpaceLimit.as_str(),
        /// No page is a huge one, of which a part could stay when it is unmapped.
        HugePages => "huge-pages",
        /// `RLIMIT_CPU`.
        CpuLimit => Layer::CpuLimit.as_str(),
        /// Where ids are shared: a user namespace of its own, in which its threads are counted alone.
        OwnUserNamespace => "own-user-namespace",
        /// `RLIMIT_NPROC`.
        ProcessLimit => Layer::ProcessLimit.as_str(),
        /// The slot's own user and group.
        Ids => Layer::OwnIds.as_str(),
        /// No capability is left.
        Capabilities => Layer::NoCapabilities.as_str(),
        /// The child can't be traced.
        Dumpable => Layer::Dumpable.as_str(),
        /// The child dies with the supervisor.
        ParentDeathSignal => "parent-death-signal",
        /// No privilege can be gained by exec.
        NoNewPrivileges => Layer::NoNewPrivileges.as_str(),
        /// At level `seccomp`: Landlock's path policy.
        Landlock => Layer::Landlock.as_str(),
        /// At level `seccomp` without a chroot: paths are followed below the jail root alone.
        Beneath => Layer::PathsBelowRoot.as_str(),
        /// The seccomp filter, last.
        Filter => Layer::SeccompFilter.as_str(),
    }
}

impl Step {
    /// The step's index, as it crosses the wire.
    #[must_use]
    pub fn index(self) -> u16 {
        // A fieldless enum with fewer than 65,536 variants.
        self as u16
    }

    /// The step that an index from the wire stands for.
    #[must_use]
    pub fn from_index(index: u16) -> Option<Self> {
        Self::ALL.get(usize::from(index)).copied()
    }
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A step that failed. The process it failed in is unusable; the request is answered 503.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct JailError {
    /// Which.
    pub step: Step,
    /// The system's error number.
    pub errno: i32,
}

impl fmt::Display for JailError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "jail step {} failed: {}", self.step, Errno::from_raw(self.errno))
    }
}

impl std::error::Error for JailError {}
