//! Where a server is run: at which isolation level, and under which circumstances that tests care for.
//!
//! Runs in the test process. A place that this machine does not grant is never left out silently: its tests fail, or are named as not run.
//!
//! A *place* is a level under such circumstances: `landlock` is level `seccomp` for a server without
//! root, where no chroot holds and Landlock alone keeps paths; `no-files` is the same where a filter around the server
//! refuses Landlock too, as old container engines do, so that no path is followed. Only attacks are played there, because
//! most scripts need a file.

use crate::server::{Setup, jail_root, program};
use crate::trial::Needs;
use nix::unistd::geteuid;
use std::fs;
use std::hash::{BuildHasher, Hasher, RandomState};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Mutex, OnceLock, PoisonError};

/// Where tests run a server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    Full,
    Seccomp,
    Landlock,
    NoFiles,
    Nsjail,
}

impl Place {
    pub const ALL: [Self; 4] = [Self::Full, Self::Seccomp, Self::Landlock, Self::Nsjail];

    pub fn as_str(self) -> &'static str {
        match self {
            Self::Full => "full",
            Self::Seccomp => "seccomp",
            Self::Landlock => "landlock",
            Self::NoFiles => "no-files",
            Self::Nsjail => "nsjail",
        }
    }

    /// The level's name in settings and answers.
    pub fn level(self) -> &'static str {
        if matches!(self, Self::Landlock | Self::NoFiles) { "seccomp" } else { self.as_str() }
    }

    /// Whether scripts have a /tmp to write to.
    pub fn has_tmp(self) -> bool {
        self.level() != "seccomp"
    }

    /// Whether children can be forked from a warm interpreter.
    pub fn has_warm(self) -> bool {
        self != Self::Nsjail
    }

    /// A chroot is root's alone.
    pub fn needs(self) -> Needs {
        if self == Self::Seccomp { Needs::Root } else { Needs::Nothing }
    }

    /// A server's settings for this place.
    pub fn setup(self, settings: &[(&str, &str)]) -> Setup {
        let mut setup = Setup::new(settings).with("MAYFLY_ISOLATION", self.level());
        if self == Self::NoFiles {
            setup = setup.without_landlock();
        }
        if matches!(self, Self::Landlock | Self::NoFiles) { without_root(setup) } else { setup }
    }
}

/// The same, for a server that is not root: an ordinary user's, whoever runs the tests.
pub fn without_root(setup: Setup) -> Setup {
    if !geteuid().is_root() {
        return setup;
    }
    let (program, root) = public_copy();
    setup.by_user(stranger()).with_program(program).with_root(root)
}

/// The user of a server without root: whom no other process belongs to. `RLIMIT_NPROC` counts all processes of a user on the
/// machine, and zombies that a container's first process never reaps.
pub fn stranger() -> u32 {
    static CHOSEN: OnceLock<u32> = OnceLock::new();
    *CHOSEN.get_or_init(|| {
        let map = fs::read_to_string("/proc/self/uid_map").expect("/proc/self/uid_map");
        let mapped = |line: &str| {
            let mut numbers = line.split_whitespace().filter_map(|number| number.parse::<u32>().ok());
            Some((numbers.next()?, numbers.nth(1)?))
        };
        let (first, count) = map.lines().filter_map(mapped).max_by_key(|(_, count)| *count).expect("a range of ids");
        // Above the ids that systems give away, below those that Mayfly does; in a small namespace, what there is of it.
        let (from, to) =
            if count > 0x7000_0000 { (0x6000_0000, 0x7000_0000) } else { (first + count / 2, first + count) };
        let random = RandomState::new().build_hasher().finish();
        from + u32::try_from(random % u64::from(to - from)).expect("less than the range")
    })
}

/// The places that tests are for: those of `MAYFLY_EXPECT_LEVELS`, else all but nsjail, and that too where there is an `nsjail`
/// on PATH. One that needs what this user lacks is among them, and its tests are named as not run.
pub fn expected() -> Vec<Place> {
    let named = std::env::var("MAYFLY_EXPECT_LEVELS").ok();
    let places: Vec<Place> = match &named {
        Some(named) => named
            .split(',')
            .map(|name| {
                let known = Place::ALL.into_iter().find(|place| place.as_str() == name.trim());
                known.unwrap_or_else(|| {
                    panic!("MAYFLY_EXPECT_LEVELS names {name:?}: full, seccomp, landlock, nsjail are known")
                })
            })
            .collect(),
        None => Place::ALL.into_iter().filter(|place| *place != Place::Nsjail || has_nsjail()).collect(),
    };
    assert!(!places.is_empty(), "MAYFLY_EXPECT_LEVELS names no level");
    places
}

pub fn has_nsjail() -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|directory| directory.join("nsjail").is_file())
}

/// The program and the jail root where every user can reach them: where they are, or a copy.
pub fn public_copy() -> (PathBuf, PathBuf) {
    let (program, root) = (program(), jail_root());
    if is_public(&program) && is_public(&root) {
        return (program, root);
    }
    let mut copy = COPY.lock().unwrap_or_else(PoisonError::into_inner);
    let home = copy.get_or_insert_with(|| {
        let home = std::env::temp_dir().join(format!("mayfly-it-{}", std::process::id()));
        fs::create_dir_all(&home).expect("a directory of our own");
        fs::set_permissions(&home, fs::Permissions::from_mode(0o755)).expect("a directory of our own");
        fs::copy(&program, home.join("mayfly")).expect("the program can be copied");
        // By links where that is the same file system, which takes no time and no space.
        let copied = ["-al", "-a"].into_iter().any(|how| {
            let _ = fs::remove_dir_all(home.join("jail"));
            Command::new("cp").arg(how).arg(&root).arg(home.join("jail")).status().is_ok_and(|status| status.success())
        });
        assert!(copied, "the jail root can be copied to {}", home.display());
        home
    });
    (home.join("mayfly"), home.join("jail"))
}

static COPY: Mutex<Option<PathBuf>> = Mutex::new(None);

/// At the end of the run.
pub fn remove_public_copy() {
    if let Some(home) = COPY.lock().unwrap_or_else(PoisonError::into_inner).take() {
        let _ = fs::remove_dir_all(home);
    }
}

fn is_public(path: &Path) -> bool {
    path.ancestors().filter_map(|part| fs::metadata(part).ok()).all(|part| part.permissions().mode() & 0o005 == 0o005)
}

/// Where attacks are played: the places that are expected, and beside `landlock` what is left without it.
pub fn attacked() -> Vec<Place> {
    let beside = |place| if place == Place::Landlock { vec![place, Place::NoFiles] } else { vec![place] };
    expected().into_iter().flat_map(beside).collect()
}
