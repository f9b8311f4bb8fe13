//! A real Mayfly in a process of its own, a client that speaks HTTP/1.1 to it, and how answers are compared.
//!
//! Runs in the test process, which never runs Python itself. Whoever drops a [`Server`] ends and reaps it. Everything that a
//! test needs to know of processes is read from /proc: the server's own word counts for nothing here.

use mayfly::sys;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::{Value, json};
use std::fmt::Write as _;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Longer than anything takes that a test waits for, and short enough to see that it hangs.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// The program under test.
pub const PROGRAM: &str = env!("CARGO_BIN_EXE_mayfly");

/// The jail root: `MAYFLY_ROOT`, or where `make jail` puts it, beside the directory of the program.
pub fn jail_root() -> PathBuf {
    let beside = Path::new(PROGRAM).parent().and_then(Path::parent).map(|target| target.join("jail"));
    let root = std::env::var_os("MAYFLY_ROOT").map(PathBuf::from).or(beside).unwrap_or_default();
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
}

/// Answers every call of Landlock's with ENOSYS, as a kernel without it does and as the filters of old container engines do.
const NO_LANDLOCK: [sys::Instruction; 4] = {
    const fn instruction(code: u16, jf: u8, k: u32) -> sys::Instruction {
        sys::Instruction { code, jt: 0, jf, k }
    }
    [
        instruction(0x20, 0, 0),
        // landlock_create_ruleset, on every architecture.
        instruction(0x15, 1, 444),
        instruction(0x06, 0, 0x0005_0000 | 0x26),
        instruction(0x06, 0, 0x7fff_0000),
    ]
};

impl Setup {
    pub fn new(settings: &[(&str, &str)]) -> Self {
        let settings = settings.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        Self { program: PROGRAM.into(), root: jail_root(), settings, user: None, without_landlock: false }
    }

    pub fn with(mut self, name: &str, value: &str) -> Self {
        self.settings.push((name.to_owned(), value.to_owned()));
        self
    }

    /// The server runs as this user, who must be able to reach `program` and `root`.
    pub fn by_user(mut self, user: u32, program: PathBuf, root: PathBuf) -> Self {
        (self.user, self.program, self.root) = (Some(user), program, root);
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
        if self.without_landlock {
            // SAFETY: between fork and exec two calls are made, which are async-signal-safe and allocate nothing.
            #[expect(unsafe_code, reason = "a process can only be given a filter from within")]
            unsafe {
                command.pre_exec(|| {
                    nix::sys::prctl::set_no_new_privs()?;
                    Ok(sys::install_filter(&NO_LANDLOCK)?)
                });
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

/// What a server writes to stderr, line by line.
#[derive(Debug, Clone)]
pub struct Log(Arc<(Mutex<Lines>, Condvar)>);

#[derive(Debug, Default)]
struct Lines {
    lines: Vec<String>,
    ended: bool,
}

impl Log {
    fn follow(stderr: impl Read + Send + 'static) -> Self {
        let log = Self(Arc::default());
        let followed = log.clone();
        std::thread::spawn(move || {
            for line in BufReader::new(stderr).split(b'\n') {
                let Ok(line) = line else { break };
                followed.change(|lines| lines.lines.push(String::from_utf8_lossy(&line).into_owned()));
            }
            followed.change(|lines| lines.ended = true);
        });
        log
    }

    fn change(&self, change: impl FnOnce(&mut Lines)) {
        change(&mut self.0.0.lock().unwrap_or_else(PoisonError::into_inner));
        self.0.1.notify_all();
    }

    /// All lines so far.
    pub fn lines(&self) -> Vec<String> {
        self.0.0.lock().unwrap_or_else(PoisonError::into_inner).lines.clone()
    }

    /// The first line that fits, waited for; `None` when the time or the log ends before.
    pub fn wait_for(&self, fits: impl Fn(&str) -> bool, patience: Duration) -> Option<String> {
        let deadline = Instant::now() + patience;
        let mut lines = self.0.0.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            if let Some(line) = lines.lines.iter().find(|line| fits(line)) {
                return Some(line.clone());
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if lines.ended || left.is_zero() {
                return None;
            }
            lines = self.0.1.wait_timeout(lines, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    fn wait_for_end(&self) -> Vec<String> {
        self.wait_for(|_| false, Duration::from_secs(5));
        self.lines()
    }
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

/// A line of the process table.
#[derive(Debug, Clone)]
pub struct Process {
    pub pid: i32,
    pub parent: i32,
    /// As in proc(5): `Z` is a zombie.
    pub state: char,
    /// Whether a seccomp filter is on it.
    pub is_jailed: bool,
}

impl Process {
    pub fn all() -> Vec<Self> {
        let entries = std::fs::read_dir("/proc").expect("/proc").filter_map(Result::ok);
        entries.filter_map(|entry| Self::read(entry.file_name().to_str()?.parse().ok()?)).collect()
    }

    fn read(pid: i32) -> Option<Self> {
        let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
        let field =
            |name: &str| status.lines().find_map(|line| Some(line.strip_prefix(name)?.trim_start_matches(':').trim()));
        Some(Self {
            pid,
            parent: field("PPid")?.parse().ok()?,
            state: field("State")?.chars().next()?,
            is_jailed: field("Seccomp")? == "2",
        })
    }
}

/// Whether a process of this id is there and is no zombie.
pub fn is_alive(pid: Pid) -> bool {
    Process::read(pid.as_raw()).is_some_and(|process| process.state != 'Z')
}

/// One connection, kept alive.
#[derive(Debug)]
pub struct Connection(BufReader<TcpStream>);

impl Connection {
    pub fn open(address: SocketAddr) -> io::Result<Self> {
        let stream = TcpStream::connect_timeout(&address, PATIENCE)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        stream.set_nodelay(true)?;
        Ok(Self(BufReader::new(stream)))
    }

    pub fn stream(&self) -> &TcpStream {
        self.0.get_ref()
    }

    /// Sends bytes as they are.
    pub fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.0.get_mut().write_all(bytes)
    }

    /// One request and its answer.
    #[track_caller]
    pub fn request(&mut self, method: &str, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Answer {
        let mut head = format!("{method} {path} HTTP/1.1\r\nHost: mayfly\r\n");
        for (name, value) in headers {
            write!(head, "{name}: {value}\r\n").expect("a string");
        }
        if !body.is_empty() || method == "POST" {
            write!(head, "Content-Length: {}\r\n", body.len()).expect("a string");
        }
        head.push_str("\r\n");
        let sent = self.send(&[head.as_bytes(), body].concat());
        // A server may answer and close before it has read all; then sending fails, and the answer still counts.
        self.answer_to(method).unwrap_or_else(|error| panic!("{method} {path}: no answer: {error} (sent: {sent:?})"))
    }

    #[track_caller]
    pub fn execute(&mut self, request: &Value) -> Answer {
        let body = serde_json::to_vec(request).expect("JSON");
        self.request("POST", "/execute", &[("Content-Type", "application/json")], &body)
    }

    /// Reads the next answer that is not an interim one.
    pub fn answer(&mut self) -> io::Result<Answer> {
        self.answer_to("GET")
    }

    fn answer_to(&mut self, method: &str) -> io::Result<Answer> {
        loop {
            let answer = Answer::read(&mut self.0, method == "HEAD")?;
            if answer.status >= 200 {
                return Ok(answer);
            }
        }
    }

    /// Reads one answer, interim ones included.
    pub fn interim(&mut self) -> io::Result<Answer> {
        Answer::read(&mut self.0, false)
    }

    /// Whether the server ends the connection, without another byte, before the patience does.
    pub fn is_closed_within(&mut self, patience: Duration) -> bool {
        self.stream().set_read_timeout(Some(patience)).expect("a socket");
        let closed = match self.0.read(&mut [0]) {
            Ok(count) => count == 0,
            Err(error) => error.kind() == io::ErrorKind::ConnectionReset,
        };
        self.stream().set_read_timeout(Some(PATIENCE)).expect("a socket");
        closed
    }

    /// Tells the server that nothing more comes.
    pub fn half_close(&self) {
        self.stream().shutdown(Shutdown::Write).expect("a socket");
    }
}

/// What the server sent back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl Answer {
    fn read(from: &mut impl BufRead, head_only: bool) -> io::Result<Self> {
        let malformed = |what: &str| io::Error::new(io::ErrorKind::InvalidData, what.to_owned());
        let mut line = || -> io::Result<String> {
            let mut line = String::new();
            match from.read_line(&mut line)? {
                0 => Err(io::ErrorKind::UnexpectedEof.into()),
                _ => Ok(line.trim_end_matches("\r\n").to_owned()),
            }
        };
        let first = line()?;
        let status = first.strip_prefix("HTTP/1.1 ").and_then(|rest| rest.get(..3)?.parse().ok());
        let status = status.ok_or_else(|| malformed(&first))?;
        let mut headers = Vec::new();
        loop {
            let field = line()?;
            if field.is_empty() {
                break;
            }
            let (name, value) = field.split_once(':').ok_or_else(|| malformed(&field))?;
            headers.push((name.to_ascii_lowercase(), value.trim().to_owned()));
        }
        let mut answer = Self { status, headers, body: Vec::new() };
        if !head_only && status >= 200 {
            let length = answer.header("content-length").and_then(|length| length.parse().ok());
            answer.body = vec![0; length.ok_or_else(|| malformed("no Content-Length"))?];
            from.read_exact(&mut answer.body)?;
        }
        Ok(answer)
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(other, _)| other == name).map(|(_, value)| value.as_str())
    }

    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    #[track_caller]
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error} in {:?}", self.text()))
    }

    /// `{"error": …}` alone, with this sentence.
    #[track_caller]
    pub fn is_error(&self, status: u16, sentence: &str) {
        assert_eq!((self.status, self.json()), (status, json!({ "error": sentence })));
    }
}

/// How much of an answer is laid down.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Match {
    /// This and nothing more.
    Exact,
    /// Every key here must be there and equal; others may be. `{"contains": …}` asks for pieces of a text.
    Subset,
}

#[track_caller]
pub fn assert_same(expected: &Value, actual: &Value, how: Match) {
    let mut found = Vec::new();
    differences("body", expected, actual, how, &mut found);
    assert!(found.is_empty(), "{}", found.join("\n"));
}

/// Where `actual` is not what was expected, one line each. `1` and `1.0` differ; `1.0` and `1e0` do not.
pub fn differences(path: &str, expected: &Value, actual: &Value, how: Match, found: &mut Vec<String>) {
    match (expected, actual) {
        (Value::Object(wanted), Value::String(text)) if how == Match::Subset && wanted.contains_key("contains") => {
            let pieces = wanted["contains"].as_array().cloned().unwrap_or_else(|| vec![wanted["contains"].clone()]);
            for piece in pieces.iter().filter_map(Value::as_str).filter(|piece| !text.contains(piece)) {
                found.push(format!("{path}: {piece:?} is not in {text:?}"));
            }
        }
        (Value::Object(wanted), Value::Object(given)) => {
            for (key, value) in wanted {
                match given.get(key) {
                    Some(other) => differences(&format!("{path}.{key}"), value, other, how, found),
                    None => found.push(format!("{path}.{key} is missing from {actual}")),
                }
            }
            for key in given.keys().filter(|key| how == Match::Exact && !wanted.contains_key(*key)) {
                found.push(format!("{path}.{key} was not expected: {}", given[key]));
            }
        }
        (Value::Array(wanted), Value::Array(given)) if wanted.len() == given.len() => {
            for (index, (one, other)) in wanted.iter().zip(given).enumerate() {
                differences(&format!("{path}[{index}]"), one, other, how, found);
            }
        }
        (Value::Number(wanted), Value::Number(given)) if same_number(wanted, given) => {}
        _ if expected == actual => {}
        _ => found.push(format!("{path}: expected {expected}, got {actual}")),
    }
}

fn same_number(wanted: &serde_json::Number, given: &serde_json::Number) -> bool {
    let (wanted, given) = (wanted.to_string(), given.to_string());
    let is_float = |text: &str| text.contains(['.', 'e', 'E']);
    wanted == given || (is_float(&wanted) && is_float(&given) && wanted.parse::<f64>() == given.parse::<f64>())
}
