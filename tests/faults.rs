//! Mayfly fails closed: whatever step of the jail fails, in the zygote or in the child, no script runs.
//!
//! Each test lets one step fail in a server that started well, and sees that the client is told so by a 503, that the log
//! names step and errno, that nothing weaker was put in its place, and that requests are served as soon as the fault is gone.
//! Faults are made by the test build itself (`src/fault.rs`), and where the kernel can be brought to it, by the kernel.

#[expect(dead_code, reason = "shared with the integration tests, which use all of it")]
#[path = "it/server.rs"]
mod server;

use libtest_mimic::{Arguments, Failed, Trial};
use mayfly::jail::Step;
use nix::errno::Errno;
use nix::sys::resource::Resource;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::json;
use server::{Answer, Server, Setup, eventually};
use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::ExitCode;
use std::time::{Duration, Instant};

/// What a client is told, whatever failed: which step it was is the operator's business.
const TOLD: &str = "the jail could not be set up, so the script was not run; try again in a second";

/// A server whose jail has all the steps listed.
struct Place {
    name: &'static str,
    level: &'static str,
    settings: &'static [(&'static str, &'static str)],
    zygote: &'static [Step],
    child: &'static [Step],
}

const PLACES: [Place; 3] = [
    Place {
        name: "full",
        level: "full",
        settings: &[],
        zygote: &[
            Step::ZygoteDescriptors,
            Step::OutOfMemoryScore,
            Step::Umask,
            Step::UserNamespace,
            Step::IdMap,
            Step::ZygoteIds,
            Step::SharedNamespaces,
            Step::HostName,
            Step::PrivateMounts,
            Step::BindRoot,
            Step::BindDevices,
            Step::BindPackages,
            Step::ReadOnlyRoot,
            Step::PivotRoot,
            Step::BoundingSet,
            Step::CommonLimits,
            Step::Interpreter,
            Step::Alone,
            Step::Signals,
            Step::ZygoteDumpable,
            Step::ZygoteParentDeathSignal,
        ],
        child: &[
            Step::Channel,
            Step::Clone,
            Step::Descriptors,
            Step::Session,
            Step::PrivateTmp,
            Step::WorkingDirectory,
            Step::AddressSpaceLimit,
            Step::CpuLimit,
            Step::ProcessLimit,
            Step::Ids,
            Step::Capabilities,
            Step::Dumpable,
            Step::ParentDeathSignal,
            Step::NoNewPrivileges,
            Step::Filter,
        ],
    },
    Place {
        name: "seccomp",
        level: "seccomp",
        settings: &[],
        zygote: &[Step::ZygoteDescriptors, Step::ChangeRoot, Step::BoundingSet, Step::CommonLimits, Step::Alone],
        child: &[Step::Clone, Step::Descriptors, Step::Ids, Step::Capabilities, Step::NoNewPrivileges, Step::Landlock, Step::Filter],
    },
    Place {
        name: "cold",
        level: "full",
        settings: &[("MAYFLY_START", "cold")],
        zygote: &[Step::UserNamespace, Step::PivotRoot, Step::ZygoteDumpable],
        child: &[Step::Interpreter, Step::Clone, Step::Descriptors, Step::PrivateTmp, Step::Ids, Step::NoNewPrivileges, Step::Filter],
    },
];

/// The error number a step is made to fail with: the one it fails with in the field where there is one to expect, else one
/// that no step gives by itself.
fn likely(step: Step) -> Errno {
    match step {
        // Refused after start: a sysctl was flipped, a security module was loaded.
        Step::UserNamespace => Errno::ENOSPC,
        Step::IdMap | Step::SharedNamespaces | Step::BindRoot | Step::PivotRoot | Step::Ids => Errno::EPERM,
        // Out of pids.
        Step::Clone => Errno::EAGAIN,
        // Out of descriptors.
        Step::Channel => Errno::EMFILE,
        // Out of memory.
        Step::PrivateTmp => Errno::ENOMEM,
        // A kernel without it.
        Step::Filter | Step::Landlock => Errno::EINVAL,
        _ => Errno::EIO,
    }
}

fn main() -> ExitCode {
    let mut arguments = Arguments::from_args();
    arguments.test_threads.get_or_insert(2);
    let mut trials = vec![
        trial("every_step_is_made_to_fail", every_step_is_made_to_fail),
        trial("really::no_memory_for_the_child", no_memory_for_the_child),
        trial("really::no_process_for_the_child", no_process_for_the_child),
        trial("really::the_jail_root_is_gone", the_jail_root_is_gone),
    ];
    for place in &PLACES {
        for step in place.zygote.iter().chain(place.child) {
            let in_zygote = place.zygote.contains(step);
            let process = if in_zygote { "zygote" } else { "child" };
            let name = format!("{}::{process}::{step}", place.name);
            trials.push(trial(name, move || fails_closed(place, *step, in_zygote, likely(*step))));
        }
    }
    trials.push(trial("full::child::clone-out-of-memory", || fails_closed(&PLACES[0], Step::Clone, false, Errno::ENOMEM)));
    trials.push(trial("full::zygote::user-namespace-forbidden", || {
        fails_closed(&PLACES[0], Step::UserNamespace, true, Errno::EPERM);
    }));
    libtest_mimic::run(&arguments, trials).exit_code()
}

fn trial(name: impl Into<String>, test: impl FnOnce() + Send + 'static) -> Trial {
    Trial::test(name, || {
        catch_unwind(AssertUnwindSafe(test)).map_err(|panic| {
            let words = panic.downcast_ref::<String>().cloned();
            Failed::from(words.or_else(|| panic.downcast_ref::<&str>().map(ToString::to_string)).unwrap_or_default())
        })
    })
}

/// No step can be added without a test of its failure.
fn every_step_is_made_to_fail() {
    for step in Step::ALL {
        let tested = PLACES.iter().any(|place| place.zygote.contains(step) || place.child.contains(step));
        assert!(tested, "no test lets {step} fail");
    }
}

/// How many processes the fault happens in: enough for a request to meet one, and over after a second or so. After a failed
/// zygote, or a child that was not even cloned, the pause doubles; a child that fails later costs 20 ms.
fn count(place: &Place, step: Step, in_zygote: bool) -> u32 {
    match step {
        _ if place.name == "cold" => 2,
        Step::Channel | Step::Clone => 6,
        _ if in_zygote => 6,
        _ => 60,
    }
}

fn fails_closed(place: &Place, step: Step, in_zygote: bool, errno: Errno) {
    let packages = Packages::new(step == Step::BindPackages);
    let fault = format!("{step}:{}:{}", errno as i32, count(place, step, in_zygote));
    let mut setup = Setup::new(&[("MAYFLY_PRELOAD", ""), ("MAYFLY_READY", "1"), ("MAYFLY_FAULT", &fault)])
        .with("MAYFLY_ISOLATION", place.level);
    for (name, value) in place.settings.iter().copied().chain(packages.settings()) {
        setup = setup.with(name, value);
    }
    // Not until it is ready: with this fault it is not, for a while.
    let server = setup.launch().unwrap_or_else(|end| panic!("the start is not what fails here: {end}"));
    let refused = refusals(&server, place.level);
    assert!(refused > 0, "no request met the fault");
    names(&server, step, errno);
    let logged = server.log().lines().iter().filter(|line| line.contains("status=503")).count();
    assert!(logged >= refused, "each refusal has its line: {logged} of {refused}");
    assert_eq!(server.get("/capabilities").json()["isolation"], place.level);
}

/// Sends requests until one is served, and counts those that were refused. The script's answer is its mark: it is in no
/// answer but a good one.
fn refusals(server: &Server, level: &str) -> usize {
    let deadline = Instant::now() + Duration::from_secs(60);
    let request = json!({ "script": "def main(mark):\n    print(mark)\n    return mark * 2", "args": ["ran"], "include": ["stdout"] });
    let mut refused = 0;
    loop {
        let answer = server.execute(&request);
        assert_eq!(answer.header("mayfly-isolation"), Some(level));
        if answer.status == 200 {
            assert_eq!(answer.json(), json!({ "result": "ranran", "stdout": "ran\n" }));
            return refused;
        }
        is_refusal(&answer);
        refused += 1;
        assert!(Instant::now() < deadline, "still refused after {refused} requests: {:?}", server.log().lines());
    }
}

#[track_caller]
fn is_refusal(answer: &Answer) {
    answer.is_error(503, TOLD);
    assert!(answer.header("retry-after").is_some(), "{:?}", answer.headers);
    assert!(!answer.text().contains("ran\\n"), "{}", answer.text());
}

/// The log says which step and which error number, in a line at level ERROR.
#[track_caller]
fn names(server: &Server, step: Step, errno: Errno) {
    let number = format!("errno={}", errno as i32);
    let found = server.log().wait_for(
        |line| {
            let says = line.contains(step.as_str()) && (line.contains(&number) || line.contains(&format!("{errno:?}")));
            line.contains("ERROR") && says
        },
        Duration::from_secs(2),
    );
    assert!(found.is_some(), "no line names {step} and {errno:?}: {:?}", server.log().lines());
}

/// A directory of packages of the test's own, where a step needs one.
struct Packages(Option<std::path::PathBuf>);

impl Packages {
    fn new(needed: bool) -> Self {
        Self(needed.then(|| {
            let path = std::env::temp_dir().join(format!("mayfly-faults-{}", std::process::id()));
            fs::create_dir_all(&path).expect("a directory of our own");
            path
        }))
    }

    fn settings(&self) -> impl Iterator<Item = (&'static str, &str)> {
        self.0.iter().filter_map(|path| Some(("MAYFLY_PACKAGES", path.to_str()?)))
    }
}

impl Drop for Packages {
    fn drop(&mut self) {
        if let Some(path) = &self.0 {
            let _ = fs::remove_dir_all(path);
        }
    }
}

/// A server at level full that has served, and its zygote.
fn served() -> (Server, Pid) {
    let setup = Setup::new(&[("MAYFLY_PRELOAD", ""), ("MAYFLY_READY", "1"), ("MAYFLY_ISOLATION", "full")]);
    let server = setup.start();
    assert_eq!(refusals(&server, "full"), 0);
    eventually("a child is ready again", || server.children().len() == 1);
    let zygotes = server.zygotes();
    assert_eq!(zygotes.len(), 1, "{zygotes:?}");
    (server, zygotes[0])
}

/// Until a request is refused; those before it meet children made before the fault.
fn until_refused(server: &Server) {
    eventually("a request is refused", || {
        let answer = server.execute(&json!({ "script": "def main():\n    return 'fine'" }));
        if answer.status != 200 {
            is_refusal(&answer);
        }
        answer.status == 503
    });
}

/// The zygote's own limit is below what a child is to have, and inside its user namespace nobody may raise it. Nor may a
/// server without `CAP_SYS_RESOURCE`, so the zygote's successor is what serves again.
fn no_memory_for_the_child() {
    let (server, zygote) = served();
    let stat = fs::read_to_string(format!("/proc/{zygote}/stat")).expect("it lives");
    let size: u64 = stat.rsplit_once(") ").and_then(|(_, rest)| rest.split(' ').nth(20)?.parse().ok()).expect("a size");
    mayfly::sys::set_limit_of(zygote, Resource::RLIMIT_AS, size + (8 << 20)).expect("root may");
    until_refused(&server);
    names(&server, Step::AddressSpaceLimit, Errno::EPERM);
    kill(zygote, Signal::SIGKILL).expect("it lives");
    eventually("it serves again", || server.execute(&json!({ "script": "def main():\n    return 1" })).status == 200);
}

fn no_process_for_the_child() {
    let (server, zygote) = served();
    // The soft limit alone, which can be raised again.
    let limit = |value: &str| {
        let mut command = std::process::Command::new("prlimit");
        command.arg(format!("--pid={zygote}")).arg(format!("--nproc={value}:"));
        assert!(command.status().is_ok_and(|status| status.success()), "prlimit of util-linux");
    };
    limit("0");
    until_refused(&server);
    names(&server, Step::Clone, Errno::EAGAIN);
    limit("1000");
    eventually("it serves again", || server.execute(&json!({ "script": "def main():\n    return 1" })).status == 200);
}

/// A renewed zygote finds no root to enter. It does not make do with another.
fn the_jail_root_is_gone() {
    let home = std::env::temp_dir().join(format!("mayfly-faults-root-{}", std::process::id()));
    let (root, aside) = (home.join("jail"), home.join("aside"));
    fs::create_dir_all(&home).expect("a directory of our own");
    let copied = std::process::Command::new("cp").arg("-al").arg(server::jail_root()).arg(&root).status();
    let copied = copied.is_ok_and(|status| status.success())
        || std::process::Command::new("cp").arg("-a").arg(server::jail_root()).arg(&root).status().is_ok_and(|status| status.success());
    assert!(copied, "the jail root can be copied");
    let setup = Setup::new(&[("MAYFLY_PRELOAD", ""), ("MAYFLY_READY", "1"), ("MAYFLY_ISOLATION", "full")])
        .with("MAYFLY_ROOT", root.to_str().expect("text"));
    let server = setup.start();
    assert_eq!(refusals(&server, "full"), 0);
    fs::rename(&root, &aside).expect("ours");
    kill(server.zygotes()[0], Signal::SIGKILL).expect("it lives");
    until_refused(&server);
    names(&server, Step::BindRoot, Errno::ENOENT);
    fs::rename(&aside, &root).expect("ours");
    eventually("it serves again", || server.execute(&json!({ "script": "def main():\n    return 1" })).status == 200);
    drop(server);
    let _ = fs::remove_dir_all(&home);
}
