//! The attacks that are bytes on a connection: `tests/attacks/http.toml`, step by step, against a server with short times.
//!
//! What the steps mean is told in `tests/attacks/README.md`. After each exchange a canary script is answered.

use crate::attacks::{canary, files, read};
use crate::group::Group;
use crate::record::Record;
use driver::client::{Answer, Connection};
use driver::places::expected;
use driver::server::Server;
use libtest_mimic::Trial;
use mayfly::layer::Layer;
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nix::sys::socket::{setsockopt, sockopt::Linger};
use serde::Deserialize;
use serde_json::Value;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// A file of exchanges.
#[derive(Debug, Deserialize)]
struct Corpus {
    server: Option<Times>,
    #[serde(default)]
    exchange: Vec<Exchange>,
}

/// The times of the server that the exchanges are played against, in milliseconds.
#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(clippy::struct_field_names, reason = "as they are written down, units included")]
struct Times {
    /// The first byte of a connection, for which Mayfly has the same setting as for a header.
    first_byte_ms: u64,
    header_ms: u64,
    body_ms: u64,
    idle_ms: u64,
}

/// One attack, as it is written down.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct Exchange {
    name: String,
    denies: String,
    /// How many connections take each step.
    #[serde(default = "one")]
    connections: usize,
    /// How often each connection takes them.
    #[serde(default = "one")]
    rounds: usize,
    /// What this process needs much of.
    needs: Option<String>,
    steps: Vec<Step>,
    levels: Option<Vec<String>>,
    #[serde(deserialize_with = "crate::attacks::layer_or_none")]
    #[expect(dead_code, reason = "for the table of what stops what, which tools/matrix.py makes")]
    stops: Option<Layer>,
    #[expect(dead_code, reason = "a row of the list that the corpus began with")]
    row: Option<u32>,
}

fn one() -> usize {
    1
}

/// One step: one of the verbs, and what goes with it.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Step {
    send: Option<String>,
    send_hex: Option<String>,
    repeat: Option<usize>,
    every_ms: Option<u64>,
    post: Option<String>,
    pause_ms: Option<u64>,
    expect: Option<Vec<Outcome>>,
    /// As JSON.
    body: Option<String>,
    has_header: Option<String>,
    has_no_header: Option<String>,
    within_ms: Option<u64>,
    expect_closed: Option<u64>,
    close: Option<bool>,
    reset: Option<bool>,
    half_close: Option<bool>,
    answers_meanwhile: Option<usize>,
}

/// A status, or `closed`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(untagged)]
enum Outcome {
    Status(u16),
    Closed(String),
}

pub fn trials() -> Vec<Trial> {
    let corpora: Vec<Corpus> = files().iter().map(|path| read(path)).collect();
    let times = corpora.iter().find_map(|corpus| corpus.server).expect("times of the server");
    let exchanges: Vec<Exchange> = corpora.into_iter().flat_map(|corpus| corpus.exchange).collect();
    assert!(!exchanges.is_empty(), "no exchanges");
    let place = expected()[0];
    let setting = |time: u64| time.to_string();
    let setup = place
        .setup(&[("MAYFLY_PRELOAD", "")])
        .with("MAYFLY_QUEUE", "300")
        .with("MAYFLY_HEADER_MS", &setting(times.header_ms.max(times.first_byte_ms)))
        .with("MAYFLY_BODY_MS", &setting(times.body_ms))
        .with("MAYFLY_IDLE_MS", &setting(times.idle_ms));
    let group = Group::new("exchanges", place.needs(), setup);
    let mut trials = Vec::new();
    let applies = |exchange: &Exchange| {
        exchange.levels.as_ref().is_none_or(|levels| levels.iter().any(|level| level == place.level()))
    };
    let record = Record::new("front", exchanges.iter().filter(|exchange| applies(exchange)).count());
    for exchange in exchanges {
        if applies(&exchange) {
            let name = exchange.name.clone();
            let fills_the_process = exchange.needs.is_some();
            let record = Arc::clone(&record);
            let play = move |server: &Server| {
                exchange.run(server);
                record.write_down(&exchange.name, BTreeSet::new());
            };
            trials.push(if fills_the_process { group.lone_trial(&name, play) } else { group.trial(&name, play) });
        }
    }
    trials.push(Arc::clone(&group).last());
    drop(group);
    trials
}

/// What one client sees of the exchange so far.
struct Client<'a> {
    exchange: &'a Exchange,
    server: &'a Server,
    connection: Option<Connection>,
    /// The next HTTP/2 stream.
    stream: u32,
}

impl Exchange {
    fn run(&self, server: &Server) {
        if self.needs.as_deref() == Some("descriptors") {
            let (_, most) = getrlimit(Resource::RLIMIT_NOFILE).expect("a limit");
            setrlimit(Resource::RLIMIT_NOFILE, most, most).expect("up to the hard limit");
            let needed = u64::try_from(self.connections).expect("a count") + 200;
            assert!(most >= needed, "{needed} descriptors are needed, and the limit is {most}");
        }
        let open = || Connection::open(server.address()).ok();
        let mut clients: Vec<Client> =
            (0..self.connections).map(|_| Client { exchange: self, server, connection: open(), stream: 1 }).collect();
        for round in 0..self.rounds {
            for client in clients.iter_mut().filter(|client| round > 0 && client.connection.is_none()) {
                client.connection = open();
            }
            for (number, step) in self.steps.iter().enumerate() {
                let began = Instant::now();
                // What is asked of the server as a whole is asked once.
                let takers =
                    if step.pause_ms.is_some() || step.answers_meanwhile.is_some() { 1 } else { clients.len() };
                for client in &mut clients[..takers] {
                    client.take(step, number + 1, began);
                }
            }
        }
        drop(clients);
        canary(server);
    }
}

impl Client<'_> {
    fn take(&mut self, step: &Step, number: usize, began: Instant) {
        let within = step.within_ms.or(step.expect_closed).map_or(Duration::from_secs(5), Duration::from_millis);
        let left = || within.saturating_sub(began.elapsed()).max(Duration::from_millis(100));
        if let Some(text) = &step.send {
            self.send(step, |_| text.as_bytes().to_vec());
        } else if let Some(digits) = &step.send_hex {
            self.send(step, |stream| bytes(&digits.replace("{stream}", &format!("{stream:08x}"))));
        } else if let Some(body) = &step.post {
            let request = request(body);
            self.send(step, |_| request.clone().into_bytes());
        } else if let Some(pause) = step.pause_ms {
            std::thread::sleep(Duration::from_millis(pause));
        } else if let Some(outcomes) = &step.expect {
            if self.connection.is_some() {
                let answer = self.receive(left());
                self.judge(step, number, outcomes, answer);
            }
        } else if step.expect_closed.is_some() {
            let closed = self.connection.as_mut().is_none_or(|connection| ends_within(connection, left()));
            assert!(closed, "{}: step {number}: not closed within {within:?}", self.exchange.denies);
        } else if let Some(others) = step.answers_meanwhile {
            let served = |_: &usize| Connection::open(self.server.address()).is_ok_and(|mut other| asks(&mut other));
            let refused = others - (0..others).filter(served).count();
            assert_eq!(refused, 0, "{}: so many of {others} others were not served", self.exchange.denies);
        } else if step.half_close == Some(true) {
            if let Some(connection) = &self.connection {
                connection.half_close();
            }
        } else if step.reset == Some(true) {
            if let Some(connection) = &self.connection {
                let linger = nix::libc::linger { l_onoff: 1, l_linger: 0 };
                setsockopt(connection.stream(), Linger, &linger).expect("a socket");
            }
            self.connection = None;
        } else if step.close == Some(true) {
            self.connection = None;
        } else {
            panic!("{}: step {number} has no verb", self.exchange.name);
        }
    }

    /// Sends until all is out or the server wants no more, which a later step judges.
    fn send(&mut self, step: &Step, piece: impl Fn(u32) -> Vec<u8>) {
        let Some(connection) = &mut self.connection else { return };
        connection.stream().set_write_timeout(Some(Duration::from_secs(5))).expect("a socket");
        let mut ready = Vec::new();
        for _ in 0..step.repeat.unwrap_or(1) {
            ready.extend(piece(self.stream));
            self.stream += 2;
            if let Some(pause) = step.every_ms {
                std::thread::sleep(Duration::from_millis(pause));
            } else if ready.len() < 1 << 16 {
                continue;
            }
            if connection.send(&std::mem::take(&mut ready)).is_err() {
                return;
            }
        }
        let _ = connection.send(&ready);
    }

    /// The next answer, if one comes in time.
    fn receive(&mut self, patience: Duration) -> Option<Answer> {
        let connection = self.connection.as_mut()?;
        connection.stream().set_read_timeout(Some(patience)).expect("a socket");
        let answer = connection.interim();
        match answer {
            Err(error) if matches!(error.kind(), std::io::ErrorKind::WouldBlock | std::io::ErrorKind::TimedOut) => {
                panic!("{}: neither answered nor closed within {patience:?}", self.exchange.denies)
            }
            answer => answer.ok(),
        }
    }

    fn judge(&mut self, step: &Step, number: usize, outcomes: &[Outcome], answer: Option<Answer>) {
        let place = format!("{}: step {number}", self.exchange.denies);
        let Some(answer) = answer else {
            assert!(outcomes.contains(&Outcome::Closed("closed".to_owned())), "{place}: closed, expected {outcomes:?}");
            self.connection = None;
            return;
        };
        let shown = format!("{place}: got {} {}", answer.status, answer.text());
        assert!(outcomes.contains(&Outcome::Status(answer.status)), "{shown}, expected {outcomes:?}");
        if let Some(body) = &step.body {
            let body: Value = serde_json::from_str(body).expect("a body is JSON");
            assert_eq!(answer.json(), body, "{shown}");
        }
        if (400..500).contains(&answer.status) && ![422, 429].contains(&answer.status) {
            let body = answer.json();
            let error_alone = body["error"].is_string() && body.as_object().map(serde_json::Map::len) == Some(1);
            assert!(error_alone, "{shown}, expected an error alone");
        }
        if let Some(name) = &step.has_header {
            assert!(answer.header(name).is_some(), "{shown}, without {name}");
        }
        if let Some(name) = &step.has_no_header {
            assert!(answer.header(name).is_none(), "{shown}, with {name}");
        }
    }
}

/// Whether `GET /healthz` is answered as by a healthy server.
fn asks(connection: &mut Connection) -> bool {
    let sent = connection.send(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n");
    sent.is_ok() && connection.answer().is_ok_and(|answer| answer.status == 200)
}

/// `POST /execute` with this body.
fn request(body: &str) -> String {
    let length = body.len();
    format!(
        "POST /execute HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n\r\n{body}"
    )
}

fn bytes(digits: &str) -> Vec<u8> {
    let digits: Vec<u32> = digits.chars().filter_map(|digit| digit.to_digit(16)).collect();
    digits.chunks(2).map(|pair| u8::try_from(pair[0] * 16 + pair[1]).expect("a byte")).collect()
}

/// Whether the connection ends in time; what is still sent on it before is not looked at.
fn ends_within(connection: &mut Connection, patience: Duration) -> bool {
    use std::io::Read;
    let deadline = Instant::now() + patience;
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return false;
        }
        let mut stream = connection.stream();
        stream.set_read_timeout(Some(left)).expect("a socket");
        match stream.read(&mut [0; 4096]) {
            Ok(0) => return true,
            Ok(_) => {}
            Err(error) => {
                return !matches!(error.kind(), std::io::ErrorKind::WouldBlock | std::io::ErrorKind::TimedOut);
            }
        }
    }
}
