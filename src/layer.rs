//! The layers between a script and the machine, each with its one name.
//!
//! Used in every process. `/capabilities`, `mayfly doctor` and the log take names from here, and so do the attack corpus, the matrix
//! of the threat model and the mutation run (`mayfly layers` prints them). Whether a layer is in force is never known here:
//! see [`crate::survey::layers`].

use crate::names::names;

names! {
    /// A layer. A step of the jail that makes just one has its name; a [`crate::step::Step`] that is no layer has one of its own.
    Layer {
        /// A user namespace, in which the server's ids mean nothing.
        UserNamespace => "user-namespace",
        /// No process outside can be named.
        PidNamespace => "pid-namespace",
        /// No file outside the jail root can be named.
        MountNamespace => "mount-namespace",
        /// No network interface is up.
        NetworkNamespace => "network-namespace",
        /// No System V object and no POSIX queue of others.
        IpcNamespace => "ipc-namespace",
        /// The host's name can be neither seen nor set.
        UtsNamespace => "uts-namespace",
        /// The host's control groups can't be seen.
        CgroupNamespace => "cgroup-namespace",
        /// A writable /tmp of the child's own.
        PrivateTmp => "private-tmp",
        /// It holds only so many files.
        TmpInodeCap => "tmp-inode-cap",
        /// The jail root is the process's root.
        OwnRoot => "own-root",
        /// The kernel lets nothing be opened that isn't below the jail root.
        Landlock => "landlock",
        /// The filter lets paths be followed below the jail root alone.
        PathsBelowRoot => "paths-below-root",
        /// Ids that no other child has, and nobody else.
        OwnIds => "own-ids",
        /// No program can give a privilege.
        NoNewPrivileges => "no-new-privileges",
        /// No capability is left.
        NoCapabilities => "no-capabilities",
        /// All limits that the kernel keeps, together.
        ResourceLimits => "resource-limits",
        /// A control group that bounds memory and threads, and weighs each script the same.
        OwnCgroup => "own-cgroup",
        /// Nothing is open but the channel and the outputs.
        Descriptors => "descriptors",
        /// The supervisor's deadline and its watch over processor time.
        Watchdog => "watchdog",
        /// System calls that are not allowed are refused.
        SeccompFilter => "seccomp-filter",

        // From here on no client is told: parts of the layers above, and what is in force everywhere.
        /// The size of the private /tmp.
        TmpSizeCap => "tmp-size-cap",
        /// Nothing in it can be executed.
        TmpNoexec => "tmp-noexec",
        /// `RLIMIT_AS`.
        AddressSpaceLimit => "address-space-limit",
        /// `RLIMIT_CPU`.
        CpuLimit => "cpu-limit",
        /// `RLIMIT_NPROC`.
        ProcessLimit => "process-limit",
        /// `RLIMIT_CORE`.
        CoreLimit => "core-limit",
        /// `RLIMIT_FSIZE`.
        FileSizeLimit => "file-size-limit",
        /// `RLIMIT_NOFILE`.
        OpenFilesLimit => "open-files-limit",
        /// `RLIMIT_STACK`.
        StackLimit => "stack-limit",
        /// `RLIMIT_MEMLOCK`.
        LockedMemoryLimit => "locked-memory-limit",
        /// `RLIMIT_MSGQUEUE`.
        MessageQueueLimit => "message-queue-limit",
        /// `RLIMIT_SIGPENDING`.
        PendingSignalsLimit => "pending-signals-limit",
        /// The child can't be traced.
        Dumpable => "dumpable",
        /// Nothing of the server's environment.
        CleanEnvironment => "clean-environment",
        /// A process runs one script.
        FreshChild => "fresh-child",
        /// Each child has random state of its own.
        Reseed => "reseed",
        /// A reply is checked while it is decoded, and what it says is a claim.
        Decoder => "decoder",
        /// The most bytes that a reply may have.
        ReplyCap => "reply-cap",
        /// The most bytes that a result may have as JSON.
        ResultCap => "result-cap",
        /// How deep a result may be nested.
        DepthCap => "depth-cap",
        /// How many digits a number may have.
        DigitCap => "digit-cap",
        /// How much is kept of what a script writes.
        OutputCap => "output-cap",
        /// After how much output a script is stopped.
        OutputFlood => "output-flood",
        /// Objects are encoded by their exact type, so that none of their code runs.
        ExactTypes => "exact-types",
        /// The deadline.
        WallClock => "wall-clock",
        /// The watch over processor time.
        CpuWatch => "cpu-watch",
        /// `memory.max` of its control group.
        GroupMemoryLimit => "group-memory-limit",
        /// `pids.max` of its control group.
        GroupThreadLimit => "group-thread-limit",
        /// The processors are shared out by control group.
        GroupWeight => "group-weight",
        /// The watch over the memory that a child holds.
        MemoryWatch => "memory-watch",
        /// What a connection may say before it is understood.
        HttpParser => "http-parser",
        /// How long it may take to say it.
        HttpTimeouts => "http-timeouts",
        /// How much of it there may be.
        HttpLimits => "http-limits",
        /// There are these paths and no others.
        HttpRoutes => "http-routes",
        /// Which hosts a request may name, and which pages may post one.
        HttpHosts => "http-hosts",
        /// A request is checked field by field.
        RequestCheck => "request-check",
        /// Only so many scripts run, and wait.
        Admission => "admission",
        /// A client that goes away ends its run.
        Cancellation => "cancellation",
    }
}

impl Layer {
    /// Those that depend on the machine, or that a client may want to be sure of: in `/capabilities` and in `mayfly doctor`, in this
    /// order.
    pub const TOLD: &'static [Self] = Self::ALL.split_at(Self::SeccompFilter as usize + 1).0;
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::step::Step;
    use std::collections::BTreeSet;

    #[test]
    fn each_name_is_of_one_layer_and_one_step() {
        for names in [
            Layer::ALL.iter().map(|one| one.as_str()).collect(),
            Step::ALL.iter().map(|one| one.as_str()).collect::<Vec<_>>(),
        ] {
            assert_eq!(names.iter().collect::<BTreeSet<_>>().len(), names.len(), "{names:?}");
        }
    }

    #[test]
    fn clients_are_told_of_the_filter_and_of_no_part_of_it() {
        assert_eq!(
            (Layer::TOLD.first(), Layer::TOLD.last()),
            (Some(&Layer::UserNamespace), Some(&Layer::SeccompFilter))
        );
        assert!(!Layer::TOLD.contains(&Layer::TmpSizeCap));
    }
}
