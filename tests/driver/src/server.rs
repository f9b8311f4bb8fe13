//! A real Mayfly in a process of its own. Whoever drops a [`Server`] ends and reaps it.
//!
//! Runs in the test process, which never runs Python itself. What a test needs to know of processes is read from /proc: the
//! server's own word counts for nothing here.

use crate::client::{Answer, Connection};
use crate::log::Log;
use crate::process::Process;
use crate::same::{Match, assert_same};
use nix::libc::{ENOSYS, SYS_landlock_add_rule, SYS_landlock_create_ruleset, SYS_landlock_restrict_self};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use seccompiler::{BpfProgram, SeccompAction, SeccompFilter};
use serde_json::{Value, json};
use std::net::SocketAddr;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::time::{Duration, Instant};

/// Longer than anything takes that a test waits for, and short enough to see that it hangs.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// The program under test: cargo builds it before any test, and puts it one directory above them.
pub fn program() -> PathBuf {
    let test = std::env::current_exe().expect("a test is a program");
    let program = test.ancestors().nth(2).map(|directory| directory.join("mayfly")).unwrap_or_default();
    assert!(program.is_file(), "there is no {}: tests are run by cargo", program.display());
    program
}

/// The jail root: `MAYFLY_ROOT`, or where `make jail` puts it, beside the directory of the program.
pub fn jail_root() -> PathBuf {
    let beside = || program().ancestors().nth(2).map(|target| target.join("jail"));
    let root = std::env::var_os("MAYFLY_ROOT").map(PathBuf::from).or_else(beside).unwrap_or_default();
    assert!(root.join("mayfly.json").is_file(), "there is no jail root at {}: run `make jail`", root.display());
    root
}

/// What the jail root holds, as its builder wrote it down.
pub fn manifest() -> Value {
    let text = std::fs::read(jail_root().join("mayfly.json")).expect("the manifest can be read");
    serde_json::from_slice(&text).expect("the manifest is JSON")
}

/// A Mayfly command about to be started, with no setting but those named: the environment of whoever runs the tests has
/// no say.
#[derive(Debug, Clone)]
pub struct Setup {
    program: PathBuf,
    root: PathBuf,
    settings: Vec<(String, String)>,
    user: Option<u32>,
    without_landlock: bool,
    leads_group: bool,
}

/// Answers every call of Landlock's with ENOSYS, as a kernel without it does and as the filters of old container engines do.
fn no_landlock() -> BpfProgram {
    let calls = [SYS_landlock_create_ruleset, SYS_landlock_add_rule, SYS_landlock_restrict_self];
    let rules = calls.map(|call| (call, Vec::new())).into();
    let refuse = SeccompAction::Errno(ENOSYS.cast_unsigned());
    let architecture = std::env::consts::ARCH.try_into().expect("an architecture");
    let filter = SeccompFilter::new(rules, SeccompAction::Allow, refuse, architecture);
    filter.and_then(TryInto::try_into).expect("a filter")
}

impl Setup {
    pub fn new(settings: &[(&str, &str)]) -> Self {
        let settings = settings.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        Self {
            program: program(),
            root: jail_root(),
            settings,
            user: None,
            without_landlock: false,
            leads_group: false,
        }
    }

    pub fn with(mut self, name: &str, value: &str) -> Self {
        self.settings.push((name.to_owned(), value.to_owned()));
        self
    }

    /// The server runs as this user, who must be able to reach the program and the jail root.
    pub fn by_user(mut self, user: u32) -> Self {
        self.user = Some(user);
        self
    }

    /// With another jail root than the one that was built, a copy of it.
    pub fn with_root(mut self, root: PathBuf) -> Self {
        self.root = root;
        self
    }

    /// Started by another program, which is to become it.
    pub fn with_program(mut self, program: PathBuf) -> Self {
        self.program = program;
        self
    }

    /// The server finds no Landlock.
    pub fn without_landlock(mut self) -> Self {
        self.without_landlock = true;
        self
    }

    /// As a shell starts a job: in a process group of its own, to which a terminal's Ctrl-C goes.
    pub fn leading_a_group(mut self) -> Self {
        self.leads_group = true;
        self
    }

    /// Whom the server runs as, if not as whoever runs the tests.
    pub fn user(&self) -> Option<u32> {
        self.user
    }

    /// `mayfly` with these arguments.
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(&self.program);
        for (name, _) in std::env::vars_os() {
            if name == "PORT" || name.to_string_lossy().starts_with("MAYFLY_") {
                command.env_remove(name);
            }
        }
        command.args(arguments).env("MAYFLY_ROOT", &self.root).stdin(Stdio::null());
        command.envs(self.settings.iter().map(|(name, value)| (name, value)));
        if let Some(user) = self.user {
            command.uid(user).gid(user).current_dir("/");
        }
        if self.leads_group {
            command.process_group(0);
        }
        if self.without_landlock {
            let filter = no_landlock();
            // SAFETY: between fork and exec two system calls are made, and nothing is allocated: the filter is made before.
            #[expect(unsafe_code, reason = "a process can only be given a filter from within")]
            unsafe {
                command
                    .pre_exec(move || seccompiler::apply_filter(&filter).map_err(|_| std::io::ErrorKind::Other.into()));
            }
        }
        command
    }

    /// Runs a command to its end.
    #[track_caller]
    pub fn run(&self, arguments: &[&str]) -> Output {
        self.command(arguments).output().expect("the program starts")
    }

    /// `mayfly serve` on a port of its own, ready to serve.
    #[track_caller]
    pub fn start(&self) -> Server {
        let server = self.launch().unwrap_or_else(|end| panic!("the server did not start: {end}"));
        server.wait_ready();
        server
    }

    /// `mayfly serve`, up to its first line; else its exit status and what it said.
    pub fn launch(&self) -> Result<Server, Refused> {
        let mut command = self.command(&["serve"]);
        if !self.settings.iter().any(|(name, _)| name == "MAYFLY_LISTEN" || name == "PORT") {
            command.env("MAYFLY_LISTEN", "127.0.0.1:0");
        }
        let mut process = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().expect("the program starts");
        let log = Log::follow(process.stderr.take().expect("a pipe"));
        let first = log.wait_for(|line| line.contains("http://"), PATIENCE);
        let address = first.as_deref().and_then(address_in);
        let Some(address) = address else {
            let _ = process.kill();
            let status = process.wait().expect("a child of ours");
            return Err(Refused { status, said: log.wait_for_end() });
        };
        Ok(Server { process, address, log, root: self.root.clone() })
    }
}

/// A server that ended instead of serving.
#[derive(Debug)]
pub struct Refused {
    pub status: ExitStatus,
    pub said: Vec<String>,
}

impl std::fmt::Display for Refused {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {}", self.status, self.said.join("\n"))
    }
}

/// The address in a line that says `http://127.0.0.1:8080`.
fn address_in(line: &str) -> Option<SocketAddr> {
    let address = line.split("http://").nth(1)?;
    let end =
        address.find(|letter: char| !(letter.is_ascii_hexdigit() || ".:[]".contains(letter))).unwrap_or(address.len());
    address[..end].parse().ok()
}

/// A running server.
#[derive(Debug)]
pub struct Server {
    process: Child,
    address: SocketAddr,
    log: Log,
    root: PathBuf,
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

impl Server {
    #[track_caller]
    pub fn start(settings: &[(&str, &str)]) -> Self {
        Setup::new(settings).start()
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    pub fn pid(&self) -> Pid {
        Pid::from_raw(i32::try_from(self.process.id()).expect("a process id"))
    }

    pub fn log(&self) -> &Log {
        &self.log
    }

    /// The jail root that it was started with.
    pub fn root(&self) -> &Path {
        &self.root
    }

    #[track_caller]
    pub fn wait_ready(&self) {
        eventually("the server is ready", || self.get("/readyz").status == 200);
    }

    #[track_caller]
    pub fn connect(&self) -> Connection {
        Connection::open(self.address).expect("the server accepts")
    }

    #[track_caller]
    pub fn get(&self, path: &str) -> Answer {
        self.connect().request("GET", path, &[], b"")
    }

    /// Posts `request` to /execute.
    #[track_caller]
    pub fn execute(&self, request: &Value) -> Answer {
        self.connect().execute(request)
    }

    /// The script's result is exactly `expected`, and nothing else is in the answer.
    #[track_caller]
    pub fn check(&self, script: &str, expected: &Value) {
        self.check_request(&json!({ "script": script }), 200, &json!({ "result": expected }));
    }

    /// The script fails with this code; the whole answer is returned.
    #[track_caller]
    pub fn check_fails(&self, script: &str, code: &str) -> Value {
        let answer = self.execute(&json!({ "script": script }));
        assert_eq!((answer.status, answer.json()["code"].as_str()), (422, Some(code)), "{}", answer.text());
        answer.json()
    }

    /// The answer has this status and exactly this body.
    #[track_caller]
    pub fn check_request(&self, request: &Value, status: u16, body: &Value) {
        let answer = self.execute(request);
        assert_eq!(answer.status, status, "{}", answer.text());
        assert_same(body, &answer.json(), Match::Exact);
    }

    /// Processes whose parent is the server.
    pub fn processes(&self) -> Vec<Process> {
        Process::all().into_iter().filter(|process| process.parent == self.pid().as_raw()).collect()
    }

    /// Zygotes: those that no filter binds, and that stay so (a child just cloned is not bound yet).
    pub fn zygotes(&self) -> Vec<Pid> {
        let now = || self.processes().into_iter().filter(|process| !process.is_jailed && process.state != 'Z');
        let first: Vec<i32> = now().map(|process| process.pid).collect();
        std::thread::sleep(Duration::from_millis(100));
        now().filter(|process| first.contains(&process.pid)).map(|process| Pid::from_raw(process.pid)).collect()
    }

    /// Jailed children, ready or running.
    pub fn children(&self) -> Vec<Pid> {
        let jailed = |process: &Process| process.is_jailed && process.state != 'Z';
        self.processes().into_iter().filter(jailed).map(|process| Pid::from_raw(process.pid)).collect()
    }

    /// How many descriptors the server has open.
    pub fn descriptors(&self) -> usize {
        std::fs::read_dir(format!("/proc/{}/fd", self.pid())).map_or(0, Iterator::count)
    }

    /// The server's resident memory, in KiB.
    pub fn resident(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.pid())).unwrap_or_default();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap_or_default();
        line.trim().trim_end_matches(" kB").parse().unwrap_or(0)
    }

    pub fn signal(&self, signal: Signal) {
        kill(self.pid(), signal).expect("the server lives");
    }

    /// Waits for the server to end by itself.
    #[track_caller]
    pub fn wait(&mut self, patience: Duration) -> ExitStatus {
        let deadline = Instant::now() + patience;
        loop {
            if let Some(status) = self.process.try_wait().expect("a child of ours") {
                return status;
            }
            assert!(Instant::now() < deadline, "the server did not end within {patience:?}");
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

/// Waits until something holds.
#[track_caller]
pub fn eventually(what: &str, holds: impl Fn() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !holds() {
        assert!(Instant::now() < deadline, "not within {PATIENCE:?}: {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}
