//! Who the zygote and its children are: ids, groups, capabilities.
//!
//! Runs in the zygote and in the child.

use super::{Ids, Plan};
use crate::level::Level;
use crate::sys;
use nix::errno::Errno;
use nix::unistd::{Gid, Uid, getresgid, getresuid, setgroups, setresgid, setresuid};

/// Drops the supplementary groups. Without `CAP_SETGID` that is refused, and the groups stay, as for any process of this
/// user: at level `full` no file outside the jail root can be named, at level `seccomp` the path policy holds.
pub fn clear_groups_where_allowed() {
    let _ = setgroups(&[]);
}

/// Becomes id 0 of the user namespace just entered: the server's own id, or the first of the range.
pub fn become_root_of_namespace() -> Result<(), Errno> {
    let (user, group) = (Uid::from_raw(0), Gid::from_raw(0));
    setresgid(group, group, group)?;
    setresuid(user, user, user)
}

/// Drops capabilities from the bounding set: no exec can ever give them back.
pub fn drop_bounding_set() -> Result<(), Errno> {
    let capabilities = sys::effective_capabilities()?;
    /// `CAP_SETPCAP`, without which the set can't be changed; the children then have `no_new_privs` alone.
    const SETPCAP: u64 = 1 << 8;
    if capabilities & SETPCAP == 0 {
        return Ok(());
    }
    for capability in 0..64 {
        if !sys::drop_bounding(capability)? {
            break;
        }
    }
    Ok(())
}

/// Takes the ids of a slot, for good, and checks that they were taken.
pub fn take_slot(plan: &Plan, slot: u32) -> Result<(), Errno> {
    let Some(id) = slot_id(plan, slot) else { return Ok(()) };
    let (user, group) = (Uid::from_raw(id), Gid::from_raw(id));
    setresgid(group, group, group)?;
    setresuid(user, user, user)?;
    let (users, groups) = (getresuid()?, getresgid()?);
    let all = [users.real, users.effective, users.saved].iter().all(|now| *now == user)
        && [groups.real, groups.effective, groups.saved].iter().all(|now| *now == group);
    if all { Ok(()) } else { Err(Errno::EPERM) }
}

/// The id of a slot as the child names it; `None` where ids are shared.
#[must_use]
pub fn slot_id(plan: &Plan, slot: u32) -> Option<u32> {
    match plan.ids {
        Ids::Shared => None,
        Ids::Range { first, count } => {
            let number = slot % (count - 1) + 1;
            // Inside its user namespace the range starts at 0.
            Some(if plan.level == Level::Full { number } else { first + number })
        }
    }
}

/// Empties the capability sets, and checks that they are empty.
pub fn drop_capabilities() -> Result<(), Errno> {
    sys::drop_capabilities()?;
    if sys::effective_capabilities()? == 0 { Ok(()) } else { Err(Errno::EPERM) }
}
