//! What a machine grants to a server without root, with user namespaces and without them; and that each remedy `doctor`
//! names for a plain host is one that helps.
//!
//! What the kernel of one machine does not refuse by itself is refused here to one process: by a seccomp filter, as systemd
//! and containers have them, and by a limit of zero user namespaces.

use crate::group::{CANARY, CANARY_ANSWER};
use driver::places::{has_nsjail, without_root};
use driver::server::{Server, Setup, eventually};
use driver::tests;
use libtest_mimic::Trial;
use nix::libc::{CLONE_NEWUSER, SYS_clone, SYS_unshare};
use nix::unistd::{Pid, geteuid};
use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter, SeccompRule,
};
use serde_json::{Value, json};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Output};

pub fn trials() -> Vec<Trial> {
    let mut trials = tests![
        an_ordinary_user_has_full_with_user_namespaces,
        an_ordinary_user_has_seccomp_without_user_namespaces,
        a_filter_that_refuses_user_namespaces_is_named,
        a_limit_of_user_namespaces_is_named,
        what_only_root_is_granted_is_named,
        one_script_s_threads_are_nobody_else_s,
        where_the_kernel_counts_all_together_the_supervisor_counts,
    ];
    if has_nsjail() {
        trials.extend(tests![a_missing_nsjail_is_named]);
    }
    trials
}

fn ordinary() -> Setup {
    without_root(Setup::new(&[("MAYFLY_PRELOAD", "")]))
}

/// The server answers, at this level and with these layers, and a script sees nothing it must not.
#[track_caller]
fn holds(server: &Server, level: &str, layers: &[(&str, bool)]) {
    let told = server.get("/capabilities").json();
    assert_eq!(told["isolation"], level, "{told}");
    for (layer, granted) in layers {
        assert_eq!(told["layers"][layer]["granted"], json!(granted), "{layer}: {told}");
    }
    server.check(CANARY, &CANARY_ANSWER.into());
    let attempts = [
        "open('/etc/passwd').read()",
        "open('/proc/self/environ').read()",
        "open('/var/tmp/mayfly', 'w')",
        "__import__('socket').create_connection(('127.0.0.1', 1))",
        "__import__('os').kill(__import__('os').getppid() or 1, 9)",
        "__import__('os').setuid(0)",
    ];
    for attempt in attempts {
        let answer = server.execute(&json!({ "script": format!("def main():\n    {attempt}\n    return 'done'") }));
        assert_eq!(answer.status, 422, "{attempt}: {}", answer.text());
        server.check(CANARY, &CANARY_ANSWER.into());
    }
}

fn an_ordinary_user_has_full_with_user_namespaces() {
    let layers = [
        ("user-namespace", true),
        ("pid-namespace", true),
        ("mount-namespace", true),
        ("network-namespace", true),
        ("own-root", true),
        ("private-tmp", true),
        ("own-ids", false),
    ];
    for wanted in ["full", "auto"] {
        holds(&ordinary().with("MAYFLY_ISOLATION", wanted).start(), "full", &layers);
    }
}

fn an_ordinary_user_has_seccomp_without_user_namespaces() {
    let layers = [
        ("user-namespace", false),
        ("mount-namespace", false),
        ("own-root", false),
        ("own-ids", false),
        ("landlock", true),
    ];
    let server = filtered(|| ordinary().with("MAYFLY_ISOLATION", "auto").start());
    holds(&server, "seccomp", &layers);
    let named = ordinary().with("MAYFLY_ISOLATION", "full");
    let refused = filtered(|| named.launch()).expect_err("this machine refuses it");
    assert_eq!(refused.status.code(), Some(78), "{refused}");
    assert!(
        refused.to_string().contains("user-namespace failed: EPERM") && refused.to_string().contains("doctor"),
        "{refused}"
    );
}

fn a_filter_that_refuses_user_namespaces_is_named() {
    let told = doctor(&filtered(|| ordinary().run(&["doctor", "--json"])));
    assert_eq!((&told["isolation"], &told["levels"]["full"]["granted"]), (&json!("seccomp"), &json!(false)), "{told}");
    let remedy = told["levels"]["full"]["remedy"].as_str().unwrap_or_default();
    assert!(
        remedy.starts_with(either("start Mayfly without the seccomp filter", "docker run --security-opt")),
        "{told}"
    );
    is_granted(&ordinary().run(&["doctor", "--json"]));
}

fn a_limit_of_user_namespaces_is_named() {
    let told = doctor(&limited("0"));
    assert_eq!((&told["isolation"], &told["levels"]["full"]["granted"]), (&json!("seccomp"), &json!(false)), "{told}");
    let remedy = told["levels"]["full"]["remedy"].as_str().unwrap_or_default();
    let limit = remedy.strip_prefix("on the host: sysctl -w user.max_user_namespaces=");
    is_granted(&limited(limit.unwrap_or_else(|| panic!("no limit in {told}"))));
}

/// Starts threads with the smallest stacks there are, as many as it can, and holds them.
const MANY_THREADS: &str = "import _thread, threading, time\ndef main(hold):\n    threading.stack_size(32768)\n    made, end = 1, time.time() + hold\n    \
                            while time.time() < end:\n        try:\n            _thread.start_new_thread(time.sleep, (hold,))\n            made += 1\n        \
                            except RuntimeError:\n            time.sleep(0.01)\n    return made";

/// One thread, and its end.
const ONE_THREAD: &str = "import threading\ndef main():\n    thread = threading.Thread(target=int)\n    thread.start()\n    thread.join()\n    return 'ran'";

/// Where children share the server's id.
fn one_script_s_threads_are_nobody_else_s() {
    const AT_ONCE: usize = 20;
    for level in ["full", "seccomp"] {
        let server = ordinary().with("MAYFLY_ISOLATION", level).with("MAYFLY_CONCURRENCY", "40").start();
        std::thread::scope(|scope| {
            let many = || server.execute(&json!({ "script": MANY_THREADS, "args": [2] }));
            let bombs: Vec<_> = (0..AT_ONCE).map(|_| scope.spawn(many)).collect();
            // All together would have 1,280.
            std::thread::sleep(std::time::Duration::from_secs(1));
            for _ in 0..20 {
                server.check(ONE_THREAD, &json!("ran"));
            }
            for bomb in bombs {
                let answer = bomb.join().expect("an answer");
                assert_eq!(answer.json(), json!({ "result": 64 }), "{level}");
            }
        });
    }
}

fn where_the_kernel_counts_all_together_the_supervisor_counts() {
    let server = filtered(|| ordinary().with("MAYFLY_ISOLATION", "seccomp").start());
    let answer = server.execute(&json!({ "script": MANY_THREADS, "args": [3] }));
    assert_eq!((answer.status, &answer.json()["code"]), (422, &json!("blocked")), "{}", answer.text());
    assert!(answer.json()["error"].as_str().is_some_and(|error| error.contains("64 threads")), "{}", answer.text());
    // What was stopped takes a moment to be gone, and counts until then.
    eventually("another script has its thread", || {
        server.execute(&json!({ "script": ONE_THREAD })).json() == json!({ "result": "ran" })
    });
    // As many as are said.
    let few = "import threading, time\ndef main():\n    made = [threading.Thread(target=time.sleep, args=(0.3,)) for _ in range(63)]\n    \
               [one.start() for one in made]\n    [one.join() for one in made]\n    return len(made)";
    let threads = |pid: &Pid| std::fs::read_dir(format!("/proc/{pid}/task")).map_or(0, Iterator::count);
    eventually("all of its threads are gone", || server.children().iter().map(threads).sum::<usize>() < 64);
    server.check(few, &json!(63));
}

fn what_only_root_is_granted_is_named() {
    let told = doctor(&ordinary().run(&["doctor", "--json"]));
    let layers = &told["levels"]["seccomp"]["layers"];
    for layer in ["own-root", "own-ids"] {
        let remedy = layers[layer]["remedy"].as_str().unwrap_or_default();
        assert!(remedy.starts_with(either("run as root", "docker run --user 0")), "{layer}: {told}");
    }
    // Where there is no root to run as, the remedy is seen to be named only.
    if geteuid().is_root() {
        let told = doctor(&Setup::new(&[]).run(&["doctor", "--json"]));
        for layer in ["own-root", "own-ids"] {
            assert_eq!(told["levels"]["seccomp"]["layers"][layer]["granted"], true, "{layer}: {told}");
        }
    }
}

fn a_missing_nsjail_is_named() {
    let told = doctor(&Setup::new(&[("PATH", "/nowhere")]).run(&["doctor", "--json"]));
    let remedy = told["levels"]["nsjail"]["remedy"].as_str().unwrap_or_default();
    assert!(remedy.starts_with("put an nsjail program on PATH"), "{told}");
    let told = doctor(&Setup::new(&[]).run(&["doctor", "--json"]));
    assert_eq!(told["levels"]["nsjail"]["granted"], true, "{told}");
}

/// What `doctor` says on a machine, or in a container if the tests themselves run in one.
fn either<'a>(machine: &'a str, container: &'a str) -> &'a str {
    let first = std::fs::read_link("/proc/self/ns/pid").is_ok_and(|link| link == Path::new("pid:[4026531836]"));
    let marks = ["/.dockerenv", "/run/.containerenv"].into_iter().any(|mark| Path::new(mark).exists());
    if first || !(marks || std::env::var_os("container").is_some()) { machine } else { container }
}

#[track_caller]
fn doctor(output: &Output) -> Value {
    let said = String::from_utf8_lossy(&output.stderr);
    serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {said}"))
}

#[track_caller]
fn is_granted(output: &Output) {
    let told = doctor(output);
    assert_eq!(told["levels"]["full"]["granted"], true, "{told}");
}

/// Runs `start` on a thread under a filter that refuses user namespaces; what it starts inherits the filter.
#[track_caller]
fn filtered<T: Send>(start: impl FnOnce() -> T + Send) -> T {
    let filter = no_user_namespaces();
    let filtered = std::thread::scope(|scope| {
        let start = || {
            seccompiler::apply_filter(&filter).expect("the filter fits");
            start()
        };
        scope.spawn(start).join()
    });
    filtered.unwrap_or_else(|panic| std::panic::resume_unwind(panic))
}

fn no_user_namespaces() -> BpfProgram {
    let flag = u64::try_from(CLONE_NEWUSER).expect("a flag");
    let rules = [SYS_clone, SYS_unshare].map(|call| {
        let asked = SeccompCondition::new(0, SeccompCmpArgLen::Qword, SeccompCmpOp::MaskedEq(flag), flag);
        (call, vec![SeccompRule::new(vec![asked.expect("a condition")]).expect("a rule")])
    });
    let refuse = SeccompAction::Errno(u32::try_from(nix::libc::EPERM).expect("a number"));
    let architecture = std::env::consts::ARCH.try_into().expect("an architecture");
    let filter = SeccompFilter::new(rules.into(), SeccompAction::Allow, refuse, architecture);
    filter.and_then(TryInto::try_into).expect("a filter")
}

/// `mayfly doctor` in a user namespace below which there may be so many. Its own user is an ordinary one there too.
fn limited(limit: &str) -> Output {
    let setup = ordinary();
    let doctor = setup.command(&["doctor", "--json"]);
    let script = format!(
        "echo {limit} > /proc/sys/user/max_user_namespaces && exec setpriv --inh-caps=-all --ambient-caps=-all \"$@\""
    );
    let mut command = Command::new("unshare");
    command.args(["--user", "--map-current-user", "--keep-caps", "sh", "-c", &script, "sh"]);
    command.arg(doctor.get_program()).args(doctor.get_args());
    for (name, value) in doctor.get_envs() {
        match value {
            Some(value) => command.env(name, value),
            None => command.env_remove(name),
        };
    }
    if let Some(user) = setup.user() {
        command.uid(user).gid(user).current_dir("/");
    }
    command.output().expect("unshare is on every Debian")
}
