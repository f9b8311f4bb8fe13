//! Which layers of the jail are in force, and why one is not.
//!
//! Runs in the supervisor, at start and for `mayfly doctor`. It reads what the attempts found, and must never try anything itself.

use super::isolation::{Attempt, Unavailable};
use crate::children::cgroups::{Cgroups, Refused};
use crate::jail::{Ids, Joining, Plan};
use crate::layer::Layer;
use crate::level::Level;
use nix::errno::Errno;
use std::fmt;

/// One layer of the jail and whether it is in force.
#[derive(Debug)]
pub struct Finding<'a> {
    /// Which.
    pub layer: Layer,
    /// `None` is in force; else why not.
    pub missing: Option<Missing<'a>>,
}

/// Why a layer is not in force.
#[derive(Debug)]
pub enum Missing<'a> {
    /// The level does without, and a stronger one was not asked for.
    NotOfThisLevel,
    /// This other layer does the same.
    NotNeeded(Layer),
    /// It is part of level `full`, which this machine refuses.
    NoFull(&'a Unavailable),
    /// The machine refuses it.
    Refused(Errno),
    /// It holds with Landlock only.
    NoLandlock,
    /// The kernel can't do that.
    NoInodeCap,
    /// The server may not change ids.
    NoIds,
    /// There are no control groups to be had.
    NoCgroups(&'a Refused),
    /// There are, but no child can be put into one.
    NotJoined,
}

impl Missing<'_> {
    /// Whether that is the machine's doing, so that there may be a remedy.
    #[must_use]
    pub fn is_refused(&self) -> bool {
        !matches!(self, Self::NotOfThisLevel | Self::NotNeeded(_))
    }

    /// By error number, where the layer was tried.
    fn refused(errno: Option<i32>) -> Self {
        errno.map_or(Self::NotOfThisLevel, |errno| Self::Refused(Errno::from_raw(errno)))
    }

    /// A layer of level `full`, where another level is in force.
    fn not_full(attempts: &[Attempt]) -> Missing<'_> {
        let full = attempts.iter().find(|attempt| attempt.level == Level::Full);
        full.and_then(|attempt| attempt.result.as_ref().err()).map_or(Missing::NotOfThisLevel, Missing::NoFull)
    }
}

impl fmt::Display for Missing<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotOfThisLevel => f.write_str("not part of this level"),
            Self::NotNeeded(other) => {
                let other = match other {
                    Layer::MountNamespace => "mount namespace",
                    Layer::OwnRoot => "chroot",
                    other => other.as_str(),
                };
                write!(f, "not used: the {other} already confines paths")
            }
            Self::NoFull(why) => why.fmt(f),
            Self::Refused(errno) => errno.fmt(f),
            Self::NoLandlock => f.write_str("this needs Landlock; without it the filter follows no path at all"),
            Self::NoInodeCap => f.write_str("the tmpfs of this kernel can't limit the number of files"),
            Self::NoCgroups(why) => why.fmt(f),
            Self::NotJoined => f.write_str("a child can't be put into a control group of its own"),
            Self::NoIds => f.write_str("the server may not change user ids"),
        }
    }
}

/// Every layer that clients are told of, with the reason where one is not in force under `plan`.
#[must_use]
pub fn layers<'a>(plan: &Plan, attempts: &'a [Attempt], cgroups: &'a Result<Cgroups, Refused>) -> Vec<Finding<'a>> {
    let missing = |layer| match (layer, cgroups) {
        (Layer::OwnCgroup, Err(refused)) => Some(Missing::NoCgroups(refused)),
        (Layer::OwnCgroup, Ok(_)) => (plan.joining == Joining::No).then_some(Missing::NotJoined),
        _ => missing(layer, plan, attempts),
    };
    Layer::TOLD.iter().map(|&layer| Finding { layer, missing: missing(layer) }).collect()
}

fn missing<'a>(layer: Layer, plan: &Plan, attempts: &'a [Attempt]) -> Option<Missing<'a>> {
    let found = attempts.iter().find_map(|attempt| attempt.found).unwrap_or_default();
    let namespaces = plan.level != Level::Seccomp;
    match layer {
        Layer::UserNamespace
        | Layer::PidNamespace
        | Layer::MountNamespace
        | Layer::NetworkNamespace
        | Layer::IpcNamespace
        | Layer::UtsNamespace
        | Layer::CgroupNamespace
        | Layer::PrivateTmp
        | Layer::TmpInodeCap
            if !namespaces =>
        {
            Some(Missing::not_full(attempts))
        }
        Layer::TmpInodeCap if plan.tmp_inodes.is_none() => Some(Missing::NoInodeCap),
        Layer::OwnRoot if !namespaces && !plan.paths.chroot => Some(Missing::refused(found.chroot)),
        Layer::Landlock if plan.paths.landlock => None,
        Layer::PathsBelowRoot if plan.paths.beneath => None,
        Layer::Landlock | Layer::PathsBelowRoot if namespaces => Some(Missing::NotNeeded(Layer::MountNamespace)),
        Layer::Landlock => Some(Missing::refused(found.landlock)),
        Layer::PathsBelowRoot if plan.paths.chroot => Some(Missing::NotNeeded(Layer::OwnRoot)),
        Layer::PathsBelowRoot if found.beneath.is_none() => Some(Missing::NoLandlock),
        Layer::PathsBelowRoot => Some(Missing::refused(found.beneath)),
        Layer::OwnIds if plan.ids == Ids::Shared => {
            Some(found.ids.map_or(Missing::NoIds, |errno| Missing::refused(Some(errno))))
        }
        // The rest is part of every level: without it a server does not start.
        _ => None,
    }
}
