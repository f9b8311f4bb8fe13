//! What the supervisor and a zygote say to each other.
//!
//! Used in both. They talk over one `SOCK_SEQPACKET` pair, a message a packet. No byte of any request passes here: the
//! supervisor asks for a child, the zygote makes the child's three channels, clones it and hands the supervisor's ends over;
//! the job goes straight to the child.

use crate::jail::{ChildLimits, Plan};
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// What the process is for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Role {
    /// Import these modules, then serve.
    Warm {
        /// On top of the common part of the standard library.
        preload: Vec<String>,
    },
    /// No interpreter here: the child initialises its own and imports these modules before it is jailed.
    Cold {
        /// Those that the script names.
        preload: Vec<String>,
    },
    /// No interpreter at all: its children only verify the jail.
    Bare,
    /// Try each layer of level `seccomp` by itself and report.
    Probe,
}

/// Supervisor to zygote.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Order {
    /// First of all.
    Setup {
        /// The jail.
        plan: Plan,
        /// The purpose.
        role: Role,
    },
    /// The id map is written.
    IdsMapped,
    /// Make a child.
    Spawn(Spawn),
}

/// What a child is made for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Purpose {
    /// To run a job.
    Job,
    /// To try to get out, and report.
    Verify,
}

/// An order for one child.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Spawn {
    /// Whose ids it takes.
    pub slot: u32,
    /// What it may add to the zygote's address space, in bytes.
    pub memory: u64,
    /// `RLIMIT_CPU`, in seconds.
    pub cpu_seconds: u64,
    /// What for.
    pub purpose: Purpose,
}

impl Spawn {
    /// For a job with these limits, under the ids of slot number `slot`.
    #[must_use]
    pub fn for_job(slot: u32, memory: u64, cpu: Duration) -> Self {
        Self { slot, memory, cpu_seconds: ChildLimits::whole_seconds(cpu), purpose: Purpose::Job }
    }

    /// The child's limits, on top of the address space that the interpreter has and the processor time that its start took.
    #[must_use]
    pub fn limits(self, address_space: u64, cpu_used: Duration) -> ChildLimits {
        let started = cpu_used.as_secs() + u64::from(cpu_used.subsec_nanos() > 0);
        ChildLimits {
            address_space: address_space.saturating_add(self.memory),
            cpu_seconds: self.cpu_seconds.saturating_add(started),
        }
    }
}

/// Zygote to supervisor.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Word {
    /// Write my id map, please.
    MapIds,
    /// Ready to make children.
    Warm(Warm),
    /// A child was made; its three channels come with this packet.
    Spawned {
        /// As the zygote's process namespace counts, which is the supervisor's.
        pid: i32,
    },
    /// A step failed. After `Setup` the process ends; after `Spawn` it goes on.
    Failed {
        /// Index in `jail::Step::ALL`.
        step: u16,
        /// The system's error number.
        errno: i32,
    },
    /// The interpreter did not start; the process ends.
    NoInterpreter {
        /// `CPython`'s own words.
        why: String,
    },
    /// What a probe found.
    Found(Found),
}

/// What a zygote says of itself.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Warm {
    /// As `3.11.2`; empty for a cold one.
    pub python: String,
    /// Modules that could not be preloaded, and why.
    pub missing: Vec<(String, String)>,
    /// Whether its children get copies of the pages they write to by the clone, rather than by a fault each.
    pub pinned: bool,
    /// Its address space, in bytes: the base of every child's `RLIMIT_AS`.
    pub address_space: u64,
}

/// Error numbers of the layers that level `seccomp` may have; `None` is granted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Found {
    /// `chroot` into the jail root.
    pub chroot: Option<i32>,
    /// Landlock.
    pub landlock: Option<i32>,
    /// Opening files below the jail root alone.
    pub beneath: Option<i32>,
    /// Taking an id of the range.
    pub ids: Option<i32>,
    /// Counting threads in a user namespace of their own. At level `full` too.
    pub counting: Option<i32>,
}

/// The largest packet either side sends.
pub const MAX_PACKET: usize = 64 * 1024;
