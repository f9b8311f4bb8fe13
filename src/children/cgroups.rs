//! A control group for each slot, where cgroup v2 is delegated to this server: memory, processes and processor time of one script.
//!
//! Runs in the supervisor. Below the group that the server was started in, the base, it makes
//!
//! ```text
//! base ─┬─ mayfly-server         the server itself: a group with members can't have groups with limits
//!       └─ mayfly-PID ─┬─ zygotes
//!                      └─ 0, 1, 2 …   one for each slot, kept for the next child with that number
//! ```
//!
//! It takes a group only where nobody else is in it, changes nothing outside of it, and removes what it made, and what a killed server
//! left.

use crate::fault::supervisor_leaves_out;
use crate::jail::{Ids, MAX_THREADS, Plan};
use crate::layer::Layer;
use crate::level::Level;
use nix::errno::Errno;
use nix::fcntl::{OFlag, open};
use nix::sys::signal::kill;
use nix::sys::stat::Mode;
use nix::unistd::{Pid, Uid, chown, getpid};
use std::collections::HashMap;
use std::fmt;
use std::fs;
use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// The group of the server itself, and the start of the name of that of its zygotes and children.
const SERVER: &str = "mayfly-server";
const OURS: &str = "mayfly-";

/// What is limited, or shared out.
const CONTROLLERS: [&str; 3] = ["memory", "pids", "cpu"];

/// Where cgroup v2 is: alone, or beside version 1.
const MOUNTS: [&str; 2] = ["/sys/fs/cgroup", "/sys/fs/cgroup/unified"];

/// What the kernel may hold for a script beside its memory and its /tmp: sockets' buffers, descriptions of mappings and open files,
/// entries of the directory cache; and the part of its memory that it may have as page tables on top.
const KERNEL: u64 = 64 * 1024 * 1024;
const TABLES: u64 = 256;

/// How long the processes of a group may take to be gone once they are killed.
const PATIENCE: Duration = Duration::from_secs(2);

/// Why there are no control groups.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Refused {
    /// No cgroup v2 is mounted.
    NotThere,
    /// The server's group has no such controller to share out.
    NoController(&'static str),
    /// Other processes are in the server's group: it is not the server's own.
    NotAlone,
    /// The kernel refuses something.
    By(&'static str, Errno),
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotThere => f.write_str("no cgroup v2 is mounted"),
            Self::NoController(name) => write!(f, "the server's control group has no controller for {name}"),
            Self::NotAlone => f.write_str("other processes are in the server's control group"),
            Self::By(what, errno) => write!(f, "{what}: {errno}"),
        }
    }
}

fn by(what: &'static str) -> impl Fn(io::Error) -> Refused {
    move |error| Refused::By(what, Errno::from_raw(error.raw_os_error().unwrap_or(0)))
}

/// The groups of this server. Clones are the same.
#[derive(Debug, Clone)]
pub struct Cgroups(Arc<Tree>);

#[derive(Debug)]
struct Tree {
    home: PathBuf,
    zygotes: Arc<Cgroup>,
    slots: Mutex<HashMap<u32, Arc<Cgroup>>>,
}

/// One group.
#[derive(Debug)]
pub struct Cgroup {
    path: PathBuf,
    directory: OwnedFd,
    /// Its `memory.max` as it was last set.
    memory: AtomicU64,
    /// How many of its processes were known to be killed because it had no memory left.
    kills: AtomicU64,
}

impl Cgroups {
    /// Makes the server's groups, and moves the server into its own.
    ///
    /// # Errors
    /// See [`Refused`]: nothing is left behind then, but the server may be in a group of its own.
    pub fn prepare() -> Result<Self, Refused> {
        let mount = MOUNTS.iter().map(Path::new).find(|mount| mount.join("cgroup.controllers").exists());
        let mount = mount.ok_or(Refused::NotThere)?;
        let own = fs::read_to_string("/proc/self/cgroup").map_err(by("/proc/self/cgroup"))?;
        let own = own.lines().find_map(|line| line.strip_prefix("0::/")).ok_or(Refused::NotThere)?;
        let group = mount.join(own);
        // Whoever starts the server again may do so from where the last one was.
        let is_set_up = group.file_name().is_some_and(|name| name == SERVER);
        let base = if is_set_up { group.parent().unwrap_or(mount).to_owned() } else { group };
        let there = fs::read_to_string(base.join("cgroup.controllers")).map_err(by("cgroup.controllers"))?;
        if let Some(name) = CONTROLLERS.into_iter().find(|name| !there.split_whitespace().any(|one| one == *name)) {
            return Err(Refused::NoController(name));
        }
        // The first of all groups has no type, and is the only one that may have members and limit others.
        if !is_set_up && base.join("cgroup.type").exists() {
            // In a container the first process may be another that started this one.
            make_room(&base, own.is_empty())?;
        }
        enable(&base)?;
        // Whatever scripts do, the server answers. In the first of all groups it is nobody's child.
        let _ = fs::write(base.join(SERVER).join("cpu.weight"), "1000");
        remove_left_behind(&base);
        let home = base.join(format!("{OURS}{}", getpid()));
        let made = Self::make(&home);
        if made.is_err() {
            remove(&home);
        }
        made
    }

    fn make(home: &Path) -> Result<Self, Refused> {
        make_directory(home).map_err(by("can't make a control group"))?;
        enable(home)?;
        let zygotes = Cgroup::make(home.join("zygotes")).map_err(by("can't make a control group"))?;
        // Whatever scripts do, children are made.
        if !supervisor_leaves_out(Layer::GroupWeight) {
            zygotes.set("cpu.weight", "1000").map_err(by("cpu.weight"))?;
        }
        let tree = Tree { home: home.to_owned(), zygotes: Arc::new(zygotes), slots: Mutex::default() };
        Ok(Self(Arc::new(tree)))
    }

    /// Lets the zygotes of `plan` clone into the groups: where they have an id that nobody else has, these files become theirs.
    ///
    /// # Errors
    /// `EPERM` where the server may not give files away.
    pub fn give_to_zygotes(&self, plan: &Plan) -> Result<(), Errno> {
        let user = zygote_of(plan);
        give(&self.0.home, user)?;
        let slots = self.0.slots.lock().unwrap_or_else(PoisonError::into_inner);
        slots.values().try_for_each(|group| give(&group.path, user))
    }

    /// The group that zygotes are in.
    #[must_use]
    pub fn zygotes(&self) -> Arc<Cgroup> {
        Arc::clone(&self.0.zygotes)
    }

    /// The group of a slot, made when it is first asked for.
    ///
    /// # Errors
    /// What making directories gives: `EAGAIN` where there are too many groups.
    pub fn of_slot(&self, number: u32, plan: &Plan) -> Result<Arc<Cgroup>, Errno> {
        let mut slots = self.0.slots.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(group) = slots.get(&number) {
            return Ok(Arc::clone(group));
        }
        let errno = |error: io::Error| Errno::from_raw(error.raw_os_error().unwrap_or(0));
        let group = Cgroup::make(self.0.home.join(number.to_string())).map_err(errno)?;
        let limits = || {
            if !supervisor_leaves_out(Layer::GroupThreadLimit) {
                group.set("pids.max", &MAX_THREADS.to_string())?;
            }
            // A script has one process, and its threads end together.
            group.set("memory.oom.group", "1")?;
            match group.set("memory.swap.max", "0") {
                // A kernel that counts no swap.
                Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
                result => result,
            }
        };
        if let Err(errno) = limits().map_err(errno).and_then(|()| give(&group.path, zygote_of(plan))) {
            remove(&group.path);
            return Err(errno);
        }
        let group = Arc::new(group);
        slots.insert(number, Arc::clone(&group));
        Ok(group)
    }

    /// Ends all that is in the groups, and removes them: at the server's end.
    pub fn remove(&self) {
        let _ = fs::write(self.0.home.join("cgroup.kill"), "1");
        let deadline = Instant::now() + PATIENCE;
        while !remove(&self.0.home) && Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

impl Cgroup {
    fn make(path: PathBuf) -> io::Result<Self> {
        make_directory(&path)?;
        let directory = open(&path, OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC, Mode::empty())?;
        Ok(Self { path, directory, memory: AtomicU64::new(u64::MAX), kills: AtomicU64::new(0) })
    }

    fn set(&self, file: &str, value: &str) -> io::Result<()> {
        // Without creating it: that would be refused for another reason than its absence.
        io::Write::write_all(&mut fs::File::options().write(true).open(self.path.join(file))?, value.as_bytes())
    }

    /// Its directory, to clone into.
    #[must_use]
    pub fn directory(&self) -> &OwnedFd {
        &self.directory
    }

    /// Puts a process in. That holds up every clone on the machine for a moment, and takes the kernel milliseconds where it did not just
    /// do the same.
    ///
    /// # Errors
    /// `ESRCH` when the process is gone, `EACCES` when it is not the server's to move.
    pub fn take_in(&self, pid: Pid) -> io::Result<()> {
        self.set("cgroup.procs", &pid.to_string())
    }

    /// Whether this process is in it.
    #[must_use]
    pub fn has(&self, pid: Pid) -> bool {
        let (Some(name), Some(home)) = (self.path.file_name(), self.path.parent().and_then(Path::file_name)) else {
            return false;
        };
        let end = Path::new(home).join(name);
        let text = fs::read_to_string(format!("/proc/{pid}/cgroup")).unwrap_or_default();
        text.lines().any(|line| line.strip_prefix("0::").is_some_and(|path| Path::new(path).ends_with(&end)))
    }

    /// Bounds its memory for a script that may add `memory` to the `own` of its interpreter and has a /tmp of `tmp`, all in bytes.
    ///
    /// # Errors
    /// None is known for a group of the server's own.
    pub fn bound(&self, memory: u64, own: u64, tmp: u64) -> Result<(), Errno> {
        let most = [memory, memory / TABLES, own, tmp, KERNEL].into_iter().fold(0, u64::saturating_add);
        if supervisor_leaves_out(Layer::GroupMemoryLimit) || self.memory.swap(most, Ordering::Relaxed) == most {
            return Ok(());
        }
        self.set("memory.max", &most.to_string()).map_err(|error| {
            self.memory.store(u64::MAX, Ordering::Relaxed);
            Errno::from_raw(error.raw_os_error().unwrap_or(0))
        })
    }

    /// Whether a process was killed for want of memory in it since this was last asked.
    #[must_use]
    pub fn ran_out_of_memory(&self) -> bool {
        let events = fs::read_to_string(self.path.join("memory.events")).unwrap_or_default();
        let kills = events.lines().find_map(|line| line.strip_prefix("oom_kill ")?.parse().ok()).unwrap_or(0);
        self.kills.swap(kills, Ordering::Relaxed) < kills
    }
}

/// The id of a plan's zygotes, where it is not the server's own.
fn zygote_of(plan: &Plan) -> Option<u32> {
    match (plan.level, plan.ids) {
        (Level::Full, Ids::Range { first, .. }) => Some(first),
        _ => None,
    }
}

/// Lets `user` clone into a group, or from one below it into another.
fn give(group: &Path, user: Option<u32>) -> Result<(), Errno> {
    user.map_or(Ok(()), |user| chown(&group.join("cgroup.procs"), Some(Uid::from_raw(user)), None))
}

fn make_directory(path: &Path) -> io::Result<()> {
    match fs::create_dir(path) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        result => result,
    }
}

/// Lets the groups below this one have limits.
fn enable(group: &Path) -> Result<(), Refused> {
    let used = CONTROLLERS.iter().filter(|name| **name != "cpu" || !supervisor_leaves_out(Layer::GroupWeight));
    let all: Vec<String> = used.map(|name| format!("+{name}")).collect();
    fs::write(group.join("cgroup.subtree_control"), all.join(" ")).map_err(by("can't share a control group out"))
}

/// Moves the server out of its group into one below it, and in a container those that started it.
fn make_room(base: &Path, is_container: bool) -> Result<(), Refused> {
    let members = fs::read_to_string(base.join("cgroup.procs")).map_err(by("cgroup.procs"))?;
    let own = if is_container { ancestors() } else { vec![getpid()] };
    let members: Vec<Pid> = members.lines().filter_map(|line| line.parse().ok().map(Pid::from_raw)).collect();
    if !members.iter().all(|member| own.contains(member)) {
        return Err(Refused::NotAlone);
    }
    let group = base.join(SERVER);
    make_directory(&group).map_err(by("can't make a control group"))?;
    members.into_iter().try_for_each(|member| {
        fs::write(group.join("cgroup.procs"), member.to_string()).map_err(by("can't join a control group"))
    })
}

/// This process, who started it, and so on up.
fn ancestors() -> Vec<Pid> {
    let parent = |pid: &Pid| {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        let parent: i32 = stat.rsplit_once(')')?.1.split_whitespace().nth(1)?.parse().ok()?;
        (parent > 0).then(|| Pid::from_raw(parent))
    };
    std::iter::successors(Some(getpid()), parent).collect()
}

/// Removes the groups of servers that are gone.
fn remove_left_behind(base: &Path) {
    for entry in fs::read_dir(base).into_iter().flatten().flatten() {
        let name = entry.file_name();
        let server = name.to_str().and_then(|name| name.strip_prefix(OURS)?.parse().ok().map(Pid::from_raw));
        if server.is_some_and(|server| server == getpid() || kill(server, None) == Err(Errno::ESRCH)) {
            remove(&entry.path());
        }
    }
}

/// Removes a group and those in it; those with members stay.
fn remove(group: &Path) -> bool {
    for entry in fs::read_dir(group).into_iter().flatten().flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            let _ = fs::remove_dir(entry.path());
        }
    }
    fs::remove_dir(group).is_ok() || !group.exists()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ancestors_are_found_up_to_the_first() {
        let all = ancestors();
        assert_eq!(all.first(), Some(&getpid()));
        assert!(all.len() > 1 && all.iter().all(|pid| pid.as_raw() > 0), "{all:?}");
    }

    #[test]
    fn what_a_server_left_behind_is_removed_and_nothing_else() {
        let base = std::env::temp_dir().join(format!("cgroups-{}", getpid()));
        let dead = format!("{OURS}{}", i32::MAX);
        let living = format!("{OURS}{}", nix::unistd::getppid());
        for path in [&format!("{dead}/3"), &format!("{living}/3"), SERVER, "mayfly-other", "7"] {
            fs::create_dir_all(base.join(path)).expect("a directory");
        }
        remove_left_behind(&base);
        let mut left: Vec<_> =
            fs::read_dir(&base).expect("a directory").flatten().map(|entry| entry.file_name()).collect();
        left.sort();
        fs::remove_dir_all(&base).expect("ours");
        let mut expected = ["7", "mayfly-other", SERVER, living.as_str()];
        expected.sort_unstable();
        assert_eq!(left, expected);
    }
}
