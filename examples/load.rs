//! A load generator for what `wrk` does not do: an exact number of requests, every answer waited for, refusals told apart
//! from answers, and arrivals at a fixed rate whether or not the server keeps up.
//!
//! One process, one thread, to this machine only. `bench/run` and `bench/growth` start it; by hand:
//!
//! ```text
//! cargo build --release --example load
//! target/release/examples/load --to 127.0.0.1:8080 --body FILE --clients 8 --seconds 5
//! ```
//!
//! `--requests N` ends after that many instead; `--rate R` has R requests a second start, on up to `--clients` connections. It
//! prints one line of JSON; times are in microseconds, from the first byte sent to the last received.

use serde_json::{Value, json};
use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::error::Error;
use std::net::SocketAddr;
use std::process::ExitCode;
use std::rc::Rc;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep_until};

type Outcome<T> = Result<T, Box<dyn Error>>;

/// How long one answer may take: the longest that a server here lets a request wait, and a script run.
const PATIENCE: Duration = Duration::from_secs(120);

/// What is asked for.
struct Plan {
    to: SocketAddr,
    request: Vec<u8>,
    clients: usize,
    seconds: Option<f64>,
    requests: Option<usize>,
    rate: Option<f64>,
}

/// One request that was answered.
struct Answered {
    at: Instant,
    took: Duration,
    status: u16,
    has_retry_after: bool,
}

/// What all clients share.
struct Shared {
    plan: Plan,
    began: Instant,
    /// Requests started.
    started: Cell<usize>,
    answered: RefCell<Vec<Answered>>,
    /// Requests that got no answer, and why.
    failed: RefCell<BTreeMap<String, usize>>,
    /// How much later than planned requests were sent.
    late: RefCell<Vec<Duration>>,
}

fn main() -> ExitCode {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let run = || -> Outcome<Value> {
        let plan = plan(&std::env::args().skip(1).collect::<Vec<_>>())?;
        Ok(tokio::task::LocalSet::new().block_on(&runtime?, load(plan)))
    };
    match run() {
        Ok(report) => {
            println!("{report}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("load: {error}");
            ExitCode::FAILURE
        }
    }
}

fn plan(arguments: &[String]) -> Outcome<Plan> {
    let value = |name: &str| arguments.iter().position(|given| given == name).and_then(|at| arguments.get(at + 1));
    let needed = |name: &str| value(name).ok_or_else(|| format!("{name} is missing"));
    let to: SocketAddr = needed("--to")?.parse()?;
    if !to.ip().is_loopback() {
        return Err("only this machine is ever put under load: --to takes a loopback address".into());
    }
    let body = std::fs::read(needed("--body")?)?;
    let mut request = format!(
        "POST /execute HTTP/1.1\r\nHost: {to}\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n",
        body.len()
    )
    .into_bytes();
    request.extend(body);
    let plan = Plan {
        to,
        request,
        clients: value("--clients").map_or(Ok(1), |text| text.parse())?,
        seconds: value("--seconds").map(|text| text.parse()).transpose()?,
        requests: value("--requests").map(|text| text.parse()).transpose()?,
        rate: value("--rate").map(|text| text.parse()).transpose()?,
    };
    if plan.seconds.is_none() && plan.requests.is_none() {
        return Err("--seconds or --requests is missing".into());
    }
    Ok(plan)
}

async fn load(plan: Plan) -> Value {
    let shared = Rc::new(Shared {
        began: Instant::now(),
        started: Cell::new(0),
        answered: RefCell::default(),
        failed: RefCell::default(),
        late: RefCell::default(),
        plan,
    });
    let clients: Vec<_> =
        (0..shared.plan.clients).map(|_| tokio::task::spawn_local(client(Rc::clone(&shared)))).collect();
    for client in clients {
        let _ = client.await;
    }
    report(&shared)
}

/// One connection's life: request after request until there are enough.
async fn client(shared: Rc<Shared>) {
    let mut connection = None;
    while let Some(due) = next_request(&shared) {
        // The timer rounds up to whole milliseconds, so it is left alone where nothing is to be waited for.
        if due > Instant::now() {
            sleep_until(due).await;
        }
        let sent = Instant::now();
        shared.late.borrow_mut().push(sent - due);
        match tokio::time::timeout(PATIENCE, exchange(&mut connection, &shared.plan)).await {
            Ok(Ok((status, has_retry_after))) => {
                let at = Instant::now();
                shared.answered.borrow_mut().push(Answered { at, took: at - sent, status, has_retry_after });
            }
            failed => {
                connection = None;
                let why = match failed {
                    Ok(Err(error)) => error.to_string(),
                    _ => "no answer in time".to_owned(),
                };
                *shared.failed.borrow_mut().entry(why).or_default() += 1;
            }
        }
    }
}

/// When the next request is to be sent; `None` when there are enough.
fn next_request(shared: &Shared) -> Option<Instant> {
    let plan = &shared.plan;
    let number = shared.started.get();
    let now = Instant::now();
    let due = match plan.rate {
        #[expect(clippy::cast_precision_loss, reason = "numbers of requests are small")]
        Some(rate) => shared.began + Duration::from_secs_f64(number as f64 / rate),
        None => now,
    };
    let enough = plan.requests.is_some_and(|requests| number >= requests)
        || plan.seconds.is_some_and(|seconds| due.max(now) >= shared.began + Duration::from_secs_f64(seconds));
    if enough {
        return None;
    }
    shared.started.set(number + 1);
    Some(due)
}

/// One request and its answer: the status, and whether there is a `Retry-After`.
async fn exchange(connection: &mut Option<TcpStream>, plan: &Plan) -> std::io::Result<(u16, bool)> {
    let malformed = || std::io::Error::new(std::io::ErrorKind::InvalidData, "malformed answer");
    let stream = if let Some(stream) = connection {
        stream
    } else {
        let stream = TcpStream::connect(plan.to).await?;
        stream.set_nodelay(true)?;
        connection.insert(stream)
    };
    stream.write_all(&plan.request).await?;
    let mut received = Vec::with_capacity(4096);
    let head = loop {
        if let Some(end) = received.windows(4).position(|four| four == b"\r\n\r\n") {
            break end;
        }
        if stream.read_buf(&mut received).await? == 0 {
            return Err(std::io::ErrorKind::UnexpectedEof.into());
        }
    };
    let text = String::from_utf8_lossy(&received[..head]).to_ascii_lowercase();
    let status = text.get(9..12).and_then(|digits| digits.parse().ok()).ok_or_else(malformed)?;
    let header = |name: &str| text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':')).map(str::trim);
    let length: usize = header("content-length").and_then(|digits| digits.parse().ok()).ok_or_else(malformed)?;
    let (has_retry_after, closes) = (header("retry-after").is_some(), header("connection") == Some("close"));
    let mut missing = (head + 4 + length).saturating_sub(received.len());
    let mut rest = vec![0; missing.min(1 << 16)];
    while missing > 0 {
        let most = missing.min(rest.len());
        match stream.read(&mut rest[..most]).await? {
            0 => return Err(std::io::ErrorKind::UnexpectedEof.into()),
            count => missing -= count,
        }
    }
    if closes {
        *connection = None;
    }
    Ok((status, has_retry_after))
}

fn report(shared: &Shared) -> Value {
    let mut answered = shared.answered.take();
    answered.sort_by_key(|answer| answer.at);
    let is_refusal = |answer: &&Answered| matches!(answer.status, 429 | 503);
    let served: Vec<&Answered> = answered.iter().filter(|answer| !is_refusal(answer)).collect();
    let refused: Vec<&Answered> = answered.iter().filter(is_refusal).collect();
    let elapsed = answered.last().map_or(Duration::ZERO, |last| last.at - shared.began).as_secs_f64();
    let mut statuses = BTreeMap::<String, usize>::new();
    for answer in &answered {
        *statuses.entry(answer.status.to_string()).or_default() += 1;
    }
    let times = |answers: &[&Answered]| quantiles(answers.iter().map(|answer| answer.took).collect());
    let tenth = served.len().div_ceil(10).max(1);
    let tenths: Vec<Value> = served.chunks(tenth).map(|part| times(part)["p50"].clone()).collect();
    #[expect(clippy::cast_precision_loss, reason = "numbers of requests are small")]
    let rate = if elapsed > 0.0 { served.len() as f64 / elapsed } else { 0.0 };
    json!({
        "seconds": elapsed,
        "served": times(&served),
        "served_per_second": rate,
        "refused": times(&refused),
        "refused_with_retry_after": refused.iter().filter(|answer| answer.has_retry_after).count(),
        "statuses": statuses,
        "failed": shared.failed.take(),
        "late": quantiles(shared.late.take()),
        "p50_of_each_tenth": tenths,
    })
}

fn quantiles(mut times: Vec<Duration>) -> Value {
    times.sort_unstable();
    let at = |thousandths: usize| {
        let place = (times.len() * thousandths / 1000).min(times.len().saturating_sub(1));
        times.get(place).map(|time| u64::try_from(time.as_micros()).unwrap_or(u64::MAX))
    };
    json!({ "count": times.len(), "p50": at(500), "p90": at(900), "p99": at(990), "max": at(1000) })
}
