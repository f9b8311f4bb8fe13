//! Every layer of the jail, each by itself: looked at from outside, in /proc, or by what it must prevent.
//!
//! A layer that others cover is not seen in what a script can do: a filter hides a capability that was kept. So these tests
//! look at a child that waits for its job. `tools/mutants.py` runs them once for each layer with that layer left out
//! (`LAYERS_WITHOUT`, in a test build), and at least one must fail each time.

use driver::client::Connection;
use driver::places::Place;
use driver::process::is_alive;
use driver::server::{Server, Setup, eventually, jail_root};
use driver::trial::{self, Needs, trial};
use libtest_mimic::Trial;
use mayfly::jail::Step;
use mayfly::layer::Layer;
use nix::fcntl::{FcntlArg, fcntl};
use nix::mount::MsFlags;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::{Value, json};
use std::cell::Cell;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::process::ExitCode;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

/// A server under one set of circumstances, with the lean zygote alone, started by the first test that needs it.
struct Host {
    name: &'static str,
    setup: Setup,
    /// Locked by the test that looks: another one's script would take a child away.
    started: OnceLock<Mutex<Server>>,
}

/// The zygote and two ready children.
#[derive(Debug, Clone, Copy)]
struct Family {
    server: Pid,
    zygote: Pid,
    children: [Pid; 2],
}

impl Host {
    fn new(name: &'static str, setup: Setup) -> Arc<Self> {
        Arc::new(Self { name, setup, started: OnceLock::new() })
    }

    fn started(&self) -> MutexGuard<'_, Server> {
        let server = self.started.get_or_init(|| Mutex::new(self.setup.start()));
        server.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The oldest process is the zygote. (Which have a filter, or which ids, is what is to be found out.)
fn family(server: &Server) -> Family {
    let by_age = || {
        let mut all: Vec<(u64, Pid)> = server
            .processes()
            .into_iter()
            .filter(|process| process.state != 'Z')
            .filter_map(|process| {
                Some((stat(Pid::from_raw(process.pid), 22)?.parse().ok()?, Pid::from_raw(process.pid)))
            })
            .collect();
        all.sort();
        all.into_iter().map(|(_, pid)| pid).collect::<Vec<Pid>>()
    };
    let all = Cell::new(Vec::new());
    eventually("two children are ready", || {
        let before = by_age();
        // Jailed and waiting, and nobody else about: those that the start or another test left are gone.
        std::thread::sleep(Duration::from_millis(100));
        let waiting = before.iter().all(|pid| stat(*pid, 3).as_deref() == Some("S"));
        let settled = before.len() == 3 && waiting && before == by_age();
        all.set(before);
        settled
    });
    let all = all.into_inner();
    let [zygote, first, second] = all[..] else { panic!("not a zygote and two children: {:?}", server.processes()) };
    Family { server: server.pid(), zygote, children: [first, second] }
}

/// A field of /proc/PID/stat by its number in `proc_pid_stat(5)`, from the third on.
fn stat(pid: Pid, number: usize) -> Option<String> {
    let text = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    text.rsplit_once(") ")?.1.split(' ').nth(number - 3).map(str::to_owned)
}

#[track_caller]
fn status(pid: Pid, name: &str) -> String {
    let text = fs::read_to_string(format!("/proc/{pid}/status")).expect("it lives");
    let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
    line.unwrap_or_else(|| panic!("no {name} in {text}")).trim().to_owned()
}

#[track_caller]
fn link(path: &str) -> String {
    fs::read_link(path).unwrap_or_else(|error| panic!("{path}: {error}")).display().to_string()
}

fn namespace(pid: Pid, kind: &str) -> String {
    link(&format!("/proc/{pid}/ns/{kind}"))
}

/// The settings that all hosts here have, with what is left out by those who ask.
fn setup(place: Place, settings: &[(&str, &str)]) -> Setup {
    let mut setup = place.setup(&[("MAYFLY_PRELOAD", ""), ("MAYFLY_READY", "2"), (SECRET.0, SECRET.1)]);
    for (name, value) in settings {
        setup = setup.with(name, value);
    }
    match std::env::var("LAYERS_WITHOUT") {
        Ok(names) if cfg!(feature = "fault-injection") => setup.with("MAYFLY_WITHOUT", &names),
        Ok(names) => panic!("only a test build can do without {names}: --features fault-injection"),
        Err(_) => setup,
    }
}

/// Something in the server's environment that is nobody's business.
const SECRET: (&str, &str) = ("SECRET_OF_THE_SERVER", "MARKER-SECRET-environment");

/// Root alone may see, in /proc, what a process that can't be traced has open, its root and its namespaces.
const ROOT: Needs = Needs::Root;
const ANYONE: Needs = Needs::Nothing;

type Check = fn(&Server, Family);
type Alone = fn();

/// Checks of a host's processes, by the circumstances they hold in and by what they need of whoever runs them: `full` as root, `shared` at level full without root (all
/// children have the server's own id), `seccomp` with chroot, `landlock` at level seccomp without root.
const CHECKS: &[(&str, &[&str], Needs, Check)] = &[
    (Layer::UserNamespace.as_str(), &["full", "shared"], ROOT, |_, family| own_namespace(family, "user")),
    (Layer::NetworkNamespace.as_str(), &["full", "shared"], ROOT, |_, family| own_namespace(family, "net")),
    (Layer::UtsNamespace.as_str(), &["full", "shared"], ROOT, |_, family| own_namespace(family, "uts")),
    (Layer::CgroupNamespace.as_str(), &["full", "shared"], ROOT, |_, family| own_namespace(family, "cgroup")),
    (Layer::IpcNamespace.as_str(), &["full", "shared"], ROOT, |_, family| namespace_of_each(family, "ipc")),
    (Layer::PidNamespace.as_str(), &["full", "shared"], ROOT, |_, family| namespace_of_each(family, "pid")),
    (Layer::MountNamespace.as_str(), &["full", "shared"], ROOT, |_, family| namespace_of_each(family, "mnt")),
    (Step::HostName.as_str(), &["full", "shared"], ANYONE, host_name),
    (Layer::OwnRoot.as_str(), &["full", "shared", "seccomp"], ROOT, own_root),
    ("mounts", &["full", "shared"], ANYONE, mounts),
    (Step::PrivateMounts.as_str(), &["full", "shared"], ANYONE, private_mounts),
    ("devices", &["full", "shared"], ANYONE, devices),
    (Layer::PrivateTmp.as_str(), &["full", "shared"], ANYONE, private_tmp),
    (Step::WorkingDirectory.as_str(), &["full", "shared", "seccomp", "landlock"], ROOT, working_directory),
    ("files-of-the-host", &["full", "shared", "seccomp", "landlock"], ANYONE, files_of_the_host),
    (Layer::OwnIds.as_str(), &["full", "seccomp"], ANYONE, ids_of_each),
    (Step::ZygoteIds.as_str(), &["full"], ANYONE, zygote_ids),
    ("groups", &["full", "seccomp"], ANYONE, groups),
    (Layer::NoCapabilities.as_str(), &["full", "shared", "seccomp", "landlock"], ANYONE, capabilities),
    (Step::BoundingSet.as_str(), &["full", "shared", "seccomp", "landlock"], ANYONE, bounding_set),
    (Layer::NoNewPrivileges.as_str(), &["full", "shared", "seccomp", "landlock"], ANYONE, no_new_privileges),
    (Layer::SeccompFilter.as_str(), &["full", "shared", "seccomp", "landlock"], ANYONE, filter),
    (Layer::Dumpable.as_str(), &["full", "shared", "seccomp", "landlock"], ANYONE, |_, family| {
        untraceable(family.children[0]);
    }),
    (Step::ZygoteDumpable.as_str(), &["full", "shared", "seccomp", "landlock"], ANYONE, |_, family| {
        untraceable(family.zygote);
    }),
    (Layer::Descriptors.as_str(), &["full", "shared", "seccomp", "landlock"], ROOT, descriptors),
    (Layer::CleanEnvironment.as_str(), &["full", "shared", "seccomp", "landlock"], ROOT, environment),
    (Step::Umask.as_str(), &["full", "seccomp"], ANYONE, |_, family| {
        assert_eq!(status(family.children[0], "Umask"), "0077");
    }),
    (Step::Session.as_str(), &["full", "shared", "seccomp"], ANYONE, session),
    (Step::Signals.as_str(), &["full", "shared", "seccomp"], ANYONE, signals),
    (Step::OutOfMemoryScore.as_str(), &["full", "shared", "seccomp", "landlock"], ANYONE, out_of_memory_score),
    (Step::ChildOutOfMemoryScore.as_str(), &["full", "shared", "seccomp", "landlock"], ANYONE, |_, family| {
        assert_eq!(out_of_memory_score_of(family.children[0]), "700");
    }),
    (Layer::ResourceLimits.as_str(), &["full", "shared", "seccomp", "landlock"], ANYONE, limits),
    (Step::HugePages.as_str(), &["full", "shared", "seccomp", "landlock"], ANYONE, |_, family| {
        assert_eq!(status(family.children[0], "THP_enabled"), "0");
    }),
    (Step::OwnUserNamespace.as_str(), &["shared", "landlock"], ROOT, own_user_namespace),
    (Layer::ProcessLimit.as_str(), &["full", "shared", "seccomp", "landlock"], ANYONE, |_, family| {
        limit(family, "Max processes", "64");
    }),
    (Layer::WallClock.as_str(), &["full"], ANYONE, wall_clock),
    (Layer::CpuWatch.as_str(), &["full"], ANYONE, processor_time),
    (Layer::MemoryWatch.as_str(), &["full", "landlock"], ANYONE, memory_watch),
    (Layer::ReplyCap.as_str(), &["full"], ANYONE, reply_cap),
    (Layer::ResultCap.as_str(), &["full"], ANYONE, result_cap),
    (Layer::OutputCap.as_str(), &["full"], ANYONE, output_cap),
    (Layer::OutputFlood.as_str(), &["full"], ANYONE, output_flood),
];

/// Checks that need a server of their own.
const ALONE: &[(&str, Needs, Alone)] = &[
    (Step::ZygoteDescriptors.as_str(), ROOT, zygote_descriptors),
    ("private-mounts-where-others-are-shared", ROOT, private_mounts_where_others_are_shared),
    (Step::ZygoteParentDeathSignal.as_str(), ANYONE, zygote_parent_death_signal),
    (Step::ParentDeathSignal.as_str(), ANYONE, parent_death_signal),
    (Step::Alone.as_str(), ANYONE, alone),
    (Layer::Reseed.as_str(), ANYONE, reseed),
];

fn main() -> ExitCode {
    trial::run(2, trials, || ())
}

fn trials() -> Vec<Trial> {
    let hosts = [
        (Needs::Root, Host::new("full", setup(Place::Full, &[]))),
        // Level full for a server without root.
        (Needs::Nothing, Host::new("shared", setup(Place::Landlock, &[("MAYFLY_ISOLATION", "full")]))),
        (Needs::Root, Host::new("seccomp", setup(Place::Seccomp, &[]))),
        (Needs::Nothing, Host::new("landlock", setup(Place::Landlock, &[]))),
    ];
    let mut trials = Vec::new();
    for (name, places, needs, check) in CHECKS {
        for (host_needs, host) in hosts.iter().filter(|(_, host)| places.contains(&host.name)) {
            let started = Arc::clone(host);
            let trial = trial(format!("{}::{name}", host.name), move || {
                let server = started.started();
                check(&server, family(&server));
            });
            trials.push(host_needs.allow(needs.allow(trial)));
        }
    }
    trials.extend(ALONE.iter().map(|(name, needs, check)| needs.allow(trial(*name, check))));
    trials
}

/// Made once, for all children of a zygote.
fn own_namespace(family: Family, kind: &str) {
    for process in [family.zygote, family.children[0]] {
        assert_ne!(namespace(process, kind), namespace(family.server, kind));
    }
}

/// Made for each child.
fn namespace_of_each(family: Family, kind: &str) {
    let [first, second] = family.children.map(|child| namespace(child, kind));
    let others: BTreeSet<String> =
        [first, second, namespace(family.zygote, kind), namespace(family.server, kind)].into_iter().collect();
    let shared_by_zygote = usize::from(kind == "pid");
    assert_eq!(others.len(), 4 - shared_by_zygote, "{others:?}");
}

/// In which its threads are counted, and nobody else's.
fn own_user_namespace(_: &Server, family: Family) {
    let [first, second] = family.children.map(|child| namespace(child, "user"));
    assert_ne!(first, second);
    for other in [family.zygote, family.server] {
        assert!(![&first, &second].contains(&&namespace(other, "user")), "{other}");
    }
}

fn host_name(server: &Server, _: Family) {
    server.check("import os\ndef main():\n    return os.uname().nodename", &json!("mayfly"));
}

fn own_root(_: &Server, family: Family) {
    let identity = |path: &str| fs::metadata(path).map(|meta| (meta.dev(), meta.ino())).expect("a directory");
    let inside = identity(&format!("/proc/{}/root/.", family.children[0]));
    assert_ne!(inside, identity("/"), "the child's root is the host's");
    let text = fs::read_to_string(format!("/proc/{}/root/mayfly.json", family.children[0]));
    assert!(text.is_ok(), "the child's root is not the jail root: {text:?}");
}

/// Mount points, with the options of the mount and of what is mounted, and the propagation tags.
fn mount_table(pid: Pid) -> BTreeMap<String, (String, String, String)> {
    let text = fs::read_to_string(format!("/proc/{pid}/mountinfo")).expect("it lives");
    text.lines()
        .map(|line| {
            let fields: Vec<&str> = line.split(' ').collect();
            let dash = fields.iter().position(|field| *field == "-").expect("proc_pid_mountinfo(5)");
            let what = format!("{} {}", fields[dash + 1], fields[dash + 3]);
            (fields[4].to_owned(), (fields[5].to_owned(), fields[6..dash].join(" "), what))
        })
        .collect()
}

fn mounts(_: &Server, family: Family) {
    let table = mount_table(family.children[0]);
    let points: Vec<&str> = table.keys().map(String::as_str).collect();
    assert_eq!(points, ["/", "/dev/null", "/dev/urandom", "/dev/zero", "/tmp"]);
    let (options, ..) = &table["/"];
    for option in ["ro", "nosuid", "nodev"] {
        assert!(options.split(',').any(|one| one == option), "/ is {options}");
    }
    for device in ["/dev/null", "/dev/urandom", "/dev/zero"] {
        let (options, ..) = &table[device];
        assert!(options.split(',').any(|one| one == "ro"), "{device} is {options}");
    }
    let (options, _, what) = &table["/tmp"];
    for option in ["nosuid", "nodev", "noexec"] {
        assert!(options.split(',').any(|one| one == option), "/tmp is {options}");
    }
    assert!(what.starts_with("tmpfs ") && what.contains("size=16384k") && what.contains("nr_inodes=1024"), "{what}");
}

/// Whether the machine's own mounts are shared or not: nothing mounted outside comes in.
fn private_mounts(_: &Server, family: Family) {
    for (point, (_, propagation, _)) in mount_table(family.children[0]) {
        assert_eq!(propagation, "", "{point}");
    }
}

fn devices(server: &Server, _: Family) {
    let script = "def main():\n    open('/dev/null', 'w').write('x')\n    \
                  return [open('/dev/null').read(), len(open('/dev/zero', 'rb').read(9)), len(set(open('/dev/urandom', 'rb').read(64))) > 20]";
    server.check(script, &json!(["", 9, true]));
}

fn private_tmp(server: &Server, _: Family) {
    let script = "import os\ndef main():\n    before = os.listdir('/tmp')\n    open('/tmp/left', 'w').write('x')\n    return before + os.listdir('/tmp')";
    for _ in 0..2 {
        server.check(script, &json!(["left"]));
    }
}

fn working_directory(server: &Server, family: Family) {
    let told = server.get("/capabilities").json();
    let granted = |layer: &str| told["layers"][layer]["granted"] == true;
    let jail_root = jail_root();
    let expected = match told["isolation"].as_str() {
        Some("full") => "/tmp",
        _ if granted("own-root") => "/",
        // The jail root itself, where it is or a copy of it.
        _ => {
            let inside = link(&format!("/proc/{}/cwd", family.children[0]));
            assert!(Path::new(&inside).join("mayfly.json").is_file(), "{inside} is not {}", jail_root.display());
            return;
        }
    };
    let root = link(&format!("/proc/{}/root", family.children[0]));
    let inside = link(&format!("/proc/{}/cwd", family.children[0]));
    // Seen from outside, a chroot's directories have the chroot's path in front.
    let inside = if root == "/" { inside } else { inside.strip_prefix(&root).unwrap_or(&inside).to_owned() };
    assert_eq!(if inside.is_empty() { "/" } else { &inside }, expected);
}

fn files_of_the_host(server: &Server, _: Family) {
    let script = "import os\ndef main():\n    seen = []\n    for path in ('/etc/passwd', '/proc/self/status', '/proc/1/environ', '/etc/hostname', '/var/lib', '/root', '/sys/kernel'):\n        \
                  try:\n            seen.append(os.listdir(path) and path if os.path.isdir(path) else open(path).read(3))\n        except OSError:\n            pass\n    return seen";
    server.check(script, &json!([]));
}

fn ids_of_each(_: &Server, family: Family) {
    let of = |pid: Pid, name: &str| {
        let all: BTreeSet<u32> = status(pid, name).split_whitespace().map(|id| id.parse().expect("an id")).collect();
        assert_eq!(all.len(), 1, "{name}: real, effective, saved and file system id are one: {all:?}");
        all.into_iter().next().expect("one")
    };
    let [first, second] = family.children.map(|child| (of(child, "Uid"), of(child, "Gid")));
    assert_ne!(first, second, "two children have the same ids");
    for (user, group) in [first, second] {
        assert!(user > 0x7000_0000 && group > 0x7000_0000, "{user} {group}");
    }
}

/// Root of its own user namespace, the zygote is nobody outside of it.
fn zygote_ids(_: &Server, family: Family) {
    for name in ["Uid", "Gid"] {
        let ids = status(family.zygote, name);
        let nobody = ids.split_whitespace().all(|id| id.parse::<u32>().is_ok_and(|id| id >= 0x7000_0000));
        assert!(nobody, "the zygote's {name} outside: {ids}");
    }
}

fn groups(_: &Server, family: Family) {
    assert_eq!(status(family.children[0], "Groups"), "");
}

fn capabilities(_: &Server, family: Family) {
    for set in ["CapInh", "CapPrm", "CapEff", "CapAmb"] {
        assert_eq!(status(family.children[0], set), "0000000000000000", "{set}");
    }
}

fn bounding_set(_: &Server, family: Family) {
    assert_eq!(status(family.children[0], "CapBnd"), "0000000000000000");
}

fn no_new_privileges(_: &Server, family: Family) {
    assert_eq!(status(family.children[0], "NoNewPrivs"), "1");
}

fn filter(_: &Server, family: Family) {
    assert_eq!(
        (status(family.children[0], "Seccomp"), status(family.children[0], "Seccomp_filters")),
        ("2".into(), "1".into())
    );
}

/// What belongs to a process that can't be traced is root's in /proc, whoever runs it (proc(5)).
fn untraceable(process: Pid) {
    let owner = fs::metadata(format!("/proc/{process}/environ")).expect("it lives").uid();
    assert_eq!(owner, 0, "the owner of /proc/{process}/environ; its ids are {}", status(process, "Uid"));
}

fn open_files(pid: Pid) -> BTreeMap<i32, String> {
    let entries = fs::read_dir(format!("/proc/{pid}/fd")).expect("it lives").filter_map(Result::ok);
    entries
        .filter_map(|entry| {
            let number = entry.file_name().to_str()?.parse().ok()?;
            Some((number, fs::read_link(entry.path()).ok()?.display().to_string()))
        })
        .collect()
}

fn descriptors(_: &Server, family: Family) {
    let open = open_files(family.children[0]);
    let kinds: Vec<(i32, &str)> =
        open.iter().map(|(number, what)| (*number, what.split([':', '[']).next().unwrap_or_default())).collect();
    assert_eq!(kinds[1..], [(1, "pipe"), (2, "pipe"), (3, "socket")], "{open:?}");
    // Seen from outside, what is below a chroot has the chroot's path in front.
    assert!(kinds[0].0 == 0 && kinds[0].1.ends_with("/dev/null"), "{open:?}");
}

fn environment(server: &Server, family: Family) {
    for process in [family.zygote, family.children[0]] {
        let text = fs::read(format!("/proc/{process}/environ")).expect("it lives");
        let names: BTreeSet<String> = text
            .split(|byte| *byte == 0)
            .filter(|line| !line.is_empty())
            .map(|line| String::from_utf8_lossy(line).split('=').next().unwrap_or_default().to_owned())
            .collect();
        let allowed = mayfly::children::command::ENVIRONMENT.iter().map(|(name, _)| *name).chain(["LD_LIBRARY_PATH"]);
        let allowed: BTreeSet<String> = allowed.map(str::to_owned).collect();
        assert!(names.is_subset(&allowed), "{:?}", names.difference(&allowed));
    }
    let script = format!(
        "import os\ndef main():\n    return [name for name in os.environ if name.startswith('SECRET')] + [{:?} in str(os.environ)]",
        SECRET.1
    );
    server.check(&script, &json!([false]));
}

fn session(_: &Server, family: Family) {
    let child = family.children[0];
    assert_eq!(stat(child, 6), Some(child.to_string()), "session");
    assert_eq!(stat(child, 7).as_deref(), Some("0"), "terminal");
}

fn signals(_: &Server, family: Family) {
    // SIGPIPE is ignored, as CPython has it. The two below the real-time signals are the C library's own, which it lets nobody
    // change: they are as whoever started the server had them.
    let own = |set: &str| u64::from_str_radix(&status(family.children[0], set), 16).expect("a set") & !(0b11 << 31);
    assert_eq!(["SigBlk", "SigIgn", "SigCgt"].map(own), [0, 1 << (Signal::SIGPIPE as u32 - 1), 0]);
}

fn out_of_memory_score(_: &Server, family: Family) {
    let scores = [family.server, family.zygote].map(out_of_memory_score_of);
    assert_eq!(scores, ["0", "400"], "of the server and the zygote");
}

fn out_of_memory_score_of(pid: Pid) -> String {
    fs::read_to_string(format!("/proc/{pid}/oom_score_adj")).expect("it lives").trim().to_owned()
}

/// A limit's soft and hard value are this.
#[track_caller]
fn limit(family: Family, name: &str, expected: &str) {
    let text = fs::read_to_string(format!("/proc/{}/limits", family.children[0])).expect("it lives");
    let line = text.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_else(|| panic!("no {name} in {text}"));
    let values: Vec<&str> = line.split_whitespace().take(2).collect();
    assert_eq!(values, [expected, expected], "{name}");
}

fn limits(_: &Server, family: Family) {
    // 5 s of processor time for a job, the next whole second and one more.
    let fixed = [
        ("Max cpu time", "6"),
        ("Max file size", "16777216"),
        ("Max stack size", "8388608"),
        ("Max core file size", "0"),
        ("Max open files", "64"),
        ("Max locked memory", "0"),
        ("Max pending signals", "64"),
        ("Max msgqueue size", "0"),
    ];
    for (name, expected) in fixed {
        limit(family, name, expected);
    }
    let size: u64 = stat(family.zygote, 23).and_then(|size| size.parse().ok()).expect("a size");
    let text = fs::read_to_string(format!("/proc/{}/limits", family.children[0])).expect("it lives");
    let line = text.lines().find_map(|line| line.strip_prefix("Max address space")).expect("a line");
    let values: Vec<Option<u64>> = line.split_whitespace().take(2).map(|value| value.parse().ok()).collect();
    let (Some(soft), Some(hard)) = (values[0], values[1]) else { panic!("the address space has no limit: {line}") };
    assert_eq!(soft, hard);
    // What the interpreter has, measured a moment before, and 256 MiB.
    assert!(soft.abs_diff(size + (256 << 20)) < 32 << 20, "{soft} bytes for a zygote of {size}");
}

/// The answer, if it comes within the time.
fn answer_within(server: &Server, request: &Value, patience: Duration) -> Option<Value> {
    let mut connection: Connection = server.connect();
    connection.stream().set_read_timeout(Some(patience)).expect("a socket");
    let body = request.to_string();
    let head = format!(
        "POST /execute HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    );
    connection.send(head.as_bytes()).expect("sent");
    connection.answer().ok().map(|answer| answer.json())
}

#[track_caller]
fn ends_with(server: &Server, request: &Value, code: &str, patience: u64) -> Value {
    let answer = answer_within(server, request, Duration::from_secs(patience));
    let answer = answer.unwrap_or_else(|| panic!("no answer within {patience} s"));
    assert_eq!(answer["code"], code, "{:.300}", answer.to_string());
    answer
}

fn wall_clock(server: &Server, _: Family) {
    let request = json!({ "script": "import time\ndef main():\n    time.sleep(30)", "limits": { "wall_ms": 300 } });
    ends_with(server, &request, "timeout", 5);
}

fn processor_time(server: &Server, _: Family) {
    let request = json!({ "script": "def main():\n    while True:\n        pass", "limits": { "cpu_ms": 300, "wall_ms": 20_000 } });
    let began = Instant::now();
    ends_with(server, &request, "cpu_limit", 20);
    assert!(began.elapsed() < Duration::from_secs(5), "after {:?}", began.elapsed());
}

/// Page tables, of which `RLIMIT_AS` knows nothing: up to 8 KiB for each page that lies apart from others.
fn memory_watch(server: &Server, _: Family) {
    let script = "import ctypes, time\nmap = ctypes.CDLL(None).mmap\nmap.restype = ctypes.c_size_t\n\
                  map.argtypes = [ctypes.c_size_t] * 4 + [ctypes.c_int, ctypes.c_size_t]\n\
                  def main():\n    for number in range(20000):\n        ctypes.memset(map((1 << 40) + (number << 30), 4096, 3, 0x100022, -1, 0), 1, 1)\n    time.sleep(3)";
    let limits = json!({ "memory_mb": 64, "wall_ms": 30_000, "cpu_ms": 20_000 });
    ends_with(server, &json!({ "script": script, "limits": limits }), "memory_limit", 30);
}

/// A frame one byte longer than any reply may be is refused when its length is known.
fn reply_cap(server: &Server, _: Family) {
    let script = "import os, time\ndef main():\n    os.write(3, (3 * (1 << 20) + 196608 + 1).to_bytes(4, 'little'))\n    time.sleep(30)";
    ends_with(server, &json!({ "script": script, "limits": { "wall_ms": 3000 } }), "result_not_serializable", 10);
}

/// A frame that holds more than the runner would ever encode.
fn result_cap(server: &Server, _: Family) {
    let script = "import os, time\ndef main():\n    size = 2 << 20\n    text = b'\\xfc' + size.to_bytes(4, 'little') + b'x' * size\n    \
                  payload = b'\\1\\0\\1\\5' + text + b'\\0'\n    rest = len(payload).to_bytes(4, 'little') + payload\n    while rest:\n        rest = rest[os.write(3, rest):]\n    time.sleep(30)";
    ends_with(server, &json!({ "script": script, "limits": { "wall_ms": 5000 } }), "result_too_large", 10);
}

fn output_cap(server: &Server, _: Family) {
    let request = json!({ "script": "def main():\n    print('x' * 99999)", "include": ["stdout"], "limits": { "output_bytes": 10 } });
    let answer = answer_within(server, &request, Duration::from_secs(10)).expect("an answer");
    assert_eq!(answer["stdout"], "xxxxxxxxxx");
}

fn output_flood(server: &Server, _: Family) {
    let script = "import os\ndef main():\n    for _ in range(200):\n        os.write(1, b'x' * (1 << 20))";
    ends_with(
        server,
        &json!({ "script": script, "limits": { "wall_ms": 30_000, "cpu_ms": 30_000 } }),
        "output_limit",
        40,
    );
}

/// Whoever starts the server may have left a descriptor open for all it starts.
fn zygote_descriptors() {
    let left_open =
        fs::File::open("/etc/hostname").or_else(|_| fs::File::open("/etc/passwd")).expect("a file of the host");
    // Far above the numbers that a zygote's own take the place of, and open across exec.
    let number = fcntl(&left_open, FcntlArg::F_DUPFD(200)).expect("a descriptor");
    let server = setup(Place::Full, &[]).start();
    nix::unistd::close(number).expect("ours");
    let family = family(&server);
    assert!(open_files(family.server).values().any(|what| what.starts_with("/etc/")), "the server has it");
    let open = open_files(family.zygote);
    assert!(!open.values().any(|what| what.starts_with("/etc/")), "{open:?}");
}

/// On most machines every mount is shared with the namespaces made from it. This test sees to it that it is so, in a mount
/// namespace that ends with it, and looks whether anything mounted outside could come in.
fn private_mounts_where_others_are_shared() {
    let look = || {
        nix::sched::unshare(nix::sched::CloneFlags::CLONE_NEWNS).expect("this test needs root");
        let shared = MsFlags::MS_REC | MsFlags::MS_SHARED;
        nix::mount::mount(None::<&str>, "/", None::<&str>, shared, None::<&str>).expect("this test needs root");
        let server = setup(Place::Full, &[]).start();
        let family = family(&server);
        assert!(mount_table(family.server)["/"].1.contains("shared:"), "the server's mounts are shared");
        for (point, (_, propagation, _)) in mount_table(family.children[0]) {
            assert_eq!(propagation, "", "{point}");
        }
    };
    // A namespace belongs to a thread, and those whom it starts.
    std::thread::scope(|scope| scope.spawn(look).join()).unwrap_or_else(|panic| std::panic::resume_unwind(panic));
}

/// Even a zygote that can't notice dies with the server. So do its children.
fn zygote_parent_death_signal() {
    let server = setup(Place::Full, &[]).start();
    let family = family(&server);
    kill(family.zygote, Signal::SIGSTOP).expect("it lives");
    drop(server);
    let gone = within(Duration::from_secs(3), || !is_alive(family.zygote));
    let _ = kill(family.zygote, Signal::SIGKILL);
    assert!(gone, "the zygote outlives the server");
}

/// A child that is busy does not see its channel close.
fn parent_death_signal() {
    let server = setup(Place::Full, &[("MAYFLY_ISOLATION", "full")]).start();
    let before = family(&server);
    let body = json!({ "script": "import time\ndef main():\n    time.sleep(40)", "limits": { "wall_ms": 40_000 } })
        .to_string();
    let mut connection = server.connect();
    let head = format!(
        "POST /execute HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    connection.send((head + &body).as_bytes()).expect("sent");
    std::thread::sleep(Duration::from_millis(500));
    drop(server);
    let gone = within(Duration::from_secs(3), || !before.children.iter().any(|child| is_alive(*child)));
    for child in before.children.into_iter().filter(|child| is_alive(*child)) {
        let _ = kill(child, Signal::SIGKILL);
    }
    assert!(gone, "a busy child outlives the server");
}

fn within(patience: Duration, holds: impl Fn() -> bool) -> bool {
    let deadline = Instant::now() + patience;
    while Instant::now() < deadline {
        if holds() {
            return true;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    holds()
}

/// A package whose import starts a thread: forked from such a zygote, a child would have locks that nobody holds.
fn alone() {
    let home = std::env::temp_dir().join(format!("mayfly-layers-{}", std::process::id()));
    fs::create_dir_all(&home).expect("a directory of our own");
    let module = "import threading, time\nthreading.Thread(target=time.sleep, args=(1000,), daemon=True).start()\n";
    fs::write(home.join("starts_a_thread.py"), module).expect("ours");
    let settings = [("MAYFLY_PACKAGES", home.to_str().expect("text")), ("MAYFLY_PRELOAD", "starts_a_thread")];
    let server = setup(Place::Full, &settings).launch().unwrap_or_else(|end| panic!("{end}"));
    let line = server
        .log()
        .wait_for(|line| line.contains("zygote=\"loaded\"") || line.contains("zygote=loaded"), Duration::from_secs(20));
    let _ = fs::remove_dir_all(&home);
    let line = line.expect("the loaded zygote comes to something");
    assert!(line.contains("alone"), "{line}");
    server.check("def main():\n    return 1", &json!(1));
}

fn reseed() {
    let server = setup(Place::Full, &[("MAYFLY_PRELOAD", "numpy.random,tempfile")]).start();
    eventually("numpy is warm", || server.log().lines().iter().filter(|line| line.contains("warm")).count() >= 2);
    let script = "import numpy.random, tempfile\ndef main():\n    return [float(numpy.random.random()), next(tempfile._get_candidate_names())]";
    let answers: Vec<Value> =
        (0..4).map(|_| server.execute(&json!({ "script": script })).json()["result"].clone()).collect();
    for part in 0..2 {
        let different: BTreeSet<String> = answers.iter().map(|answer| answer[part].to_string()).collect();
        assert_eq!(different.len(), answers.len(), "{answers:?}");
    }
}
