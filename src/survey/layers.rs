//! The layers of the jail, and why one is not in force.
//!
//! Runs in the supervisor, at start and for `mayfly doctor`.

use super::isolation::Attempt;
use crate::jail::{Ids, Plan};
use crate::level::Level;

/// One layer of the jail and whether it is in force.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Layer {
    /// Its name.
    pub name: &'static str,
    /// `None` is in force; else why not.
    pub missing: Option<String>,
}

/// Every layer, with the reason where one is not in force under `plan`.
#[must_use]
pub fn layers(plan: &Plan, attempts: &[Attempt]) -> Vec<Layer> {
    let why_not_full = || {
        attempts
            .iter()
            .find(|attempt| attempt.level == Level::Full)
            .and_then(|attempt| attempt.result.as_ref().err().map(ToString::to_string))
            .unwrap_or_else(|| "not part of this level".to_owned())
    };
    let found = attempts.iter().find_map(|attempt| attempt.found);
    let namespaces = plan.level != Level::Seccomp;
    let errno = |number: Option<i32>| {
        number.map_or_else(
            || "not part of this level".to_owned(),
            |number| nix::errno::Errno::from_raw(number).to_string(),
        )
    };
    let when = |in_force: bool, why: &dyn Fn() -> String| (!in_force).then(why);
    let mut layers: Vec<Layer> = [
        "user-namespace",
        "pid-namespace",
        "mount-namespace",
        "network-namespace",
        "ipc-namespace",
        "uts-namespace",
        "cgroup-namespace",
        "private-tmp",
    ]
    .into_iter()
    .map(|name| Layer { name, missing: when(namespaces, &why_not_full) })
    .collect();
    let why = || {
        if namespaces { "the tmpfs of this kernel can't limit the number of files".to_owned() } else { why_not_full() }
    };
    layers.push(Layer { name: "tmp-inode-cap", missing: when(namespaces && plan.tmp_inodes.is_some(), &why) });
    let own_root = namespaces || plan.paths.chroot;
    layers.push(Layer { name: "own-root", missing: when(own_root, &|| errno(found.and_then(|found| found.chroot))) });
    let landlock = plan.paths.landlock;
    let why = || {
        if namespaces {
            "not used: the mount namespace already confines paths".to_owned()
        } else {
            errno(found.and_then(|found| found.landlock))
        }
    };
    layers.push(Layer { name: "landlock", missing: when(landlock, &why) });
    let why = || match (namespaces, plan.paths.chroot) {
        (true, _) => "not used: the mount namespace already confines paths".to_owned(),
        (_, true) => "not used: the chroot already confines paths".to_owned(),
        _ => match found.and_then(|found| found.beneath) {
            None => "this needs Landlock; without it the filter follows no path at all".to_owned(),
            number => errno(number),
        },
    };
    layers.push(Layer { name: "paths-below-root", missing: when(plan.paths.beneath, &why) });
    let own_ids = plan.ids != Ids::Shared;
    let why = || match found.and_then(|found| found.ids) {
        Some(number) => errno(Some(number)),
        None => "the server may not change user ids".to_owned(),
    };
    layers.push(Layer { name: "own-ids", missing: when(own_ids, &why) });
    for name in ["no-new-privileges", "no-capabilities", "resource-limits", "descriptors", "watchdog", "seccomp-filter"]
    {
        layers.push(Layer { name, missing: None });
    }
    layers
}
