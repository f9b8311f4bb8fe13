//! One run: hand the child its job, wait for the reply, keep the limits, stop the child.
//!
//! Runs in the supervisor. Every byte from the child is an attacker's: lengths are checked before anything is allocated, and
//! nothing waits past the deadline.

use super::output::{FLOOD, Output};
use super::verdict::Stop;
use crate::children::child::Child;
use crate::fault::supervisor_leaves_out;
use crate::jail::{Counting, MAX_THREADS};
use crate::job::{Include, Limits};
use crate::layer::Layer;
use crate::machine;
use crate::outcome::{Captured, Exception, Usage};
use crate::sys::Ended;
use crate::wire::{self, Reply};
use std::time::Duration;
use tokio::time::{Instant, sleep, sleep_until};

/// A reply may take this many times the result's size as JSON (a float takes nine bytes here and three there), or hold as much
/// text: the runner clips what it says of a failure to 25,000 characters, each of six bytes at most.
const REPLY_FACTOR: usize = 3;
const REPLY_TEXT: usize = 192 * 1024;

/// For a server without a deadline.
const NEVER: Duration = Duration::from_secs(3600);

/// How a run went.
#[derive(Debug)]
pub struct Driven {
    /// Why it stopped.
    pub stop: Stop,
    /// From the job to the stop.
    pub wall: Duration,
    /// Processor time since the child was ready, where it was measured.
    pub cpu: Duration,
    /// Where it was asked for.
    pub usage: Option<Usage>,
    /// What it wrote, where it was asked for.
    pub stdout: Option<Captured>,
    /// What it wrote, where it was asked for.
    pub stderr: Option<Captured>,
}

/// Runs a job, encoded as `frame`, in `child`.
pub async fn drive(
    mut child: Child,
    limits: Limits,
    counting: Counting,
    include: Include,
    frame: &[u8],
    result_size: usize,
) -> Driven {
    let began = Instant::now();
    let cap = if supervisor_leaves_out(Layer::OutputCap) { usize::MAX } else { limits.output.as_usize() };
    let mut stdout = Output::new(child.stdout.take(), cap);
    let mut stderr = Output::new(child.stderr.take(), cap);
    // As JSON each token takes two bytes at least, its comma or its bracket included.
    let most_tokens = result_size / 2 + 2;
    let reply_cap = result_size.saturating_mul(REPLY_FACTOR).saturating_add(REPLY_TEXT);
    let reply_cap = if supervisor_leaves_out(Layer::ReplyCap) { wire::MAX_FRAME } else { reply_cap };
    let stop = tokio::select! {
        biased;
        stop = exchange(&child, frame, reply_cap, most_tokens) => stop,
        stop = watch_limits(&child, &limits, began) => stop,
        stop = watch_threads(&child, counting) => stop,
        () = drain(&mut stdout, &mut stderr) => Stop::Flood,
    };
    let stop = match stop {
        Stop::Silent if ends_by_itself(&child, began + limits.wall).await => None,
        other => Some(other),
    };
    child.kill();
    let wall = began.elapsed();
    let cpu_at_ready = child.cpu_at_ready;
    let needs_end = stop.is_none() || include.usage;
    let ended = if needs_end { child.end().await } else { None };
    let used = |ended: Option<Ended>| ended.map_or(Duration::ZERO, |ended| ended.cpu.saturating_sub(cpu_at_ready));
    let stop = match (stop, ended) {
        (Some(stop), _) => stop,
        (None, Some(ended)) => Stop::Ended(ended),
        (None, None) => Stop::Silent,
    };
    Driven {
        stop,
        wall,
        cpu: used(ended),
        usage: include.usage.then(|| Usage {
            wall,
            cpu: used(ended),
            peak_memory: ended.map_or(0, |ended| ended.peak_memory),
        }),
        stdout: include.stdout.then(|| stdout.finish()),
        stderr: include.stderr.then(|| stderr.finish()),
    }
}

/// Sends the job and receives one reply.
async fn exchange(child: &Child, frame: &[u8], cap: usize, most_tokens: usize) -> Stop {
    if child.send(frame).await.is_err() {
        return Stop::Silent;
    }
    let mut received = Vec::new();
    let mut length = None;
    loop {
        // One byte more than a whole frame shows that something follows it.
        let most = wire::HEADER + length.unwrap_or(wire::HEADER) + 1;
        match child.receive(&mut received, most.max(4096)).await {
            Ok(0) | Err(_) => return Stop::Silent,
            Ok(_) => {}
        }
        if length.is_none()
            && let Some(header) = received.first_chunk()
        {
            match wire::payload_length(*header, cap) {
                Ok(claimed) => length = Some(claimed),
                Err(_) => return Stop::Forged,
            }
        }
        if let Some(length) = length
            && received.len() >= wire::HEADER + length
        {
            let whole = received.len() == wire::HEADER + length;
            return match wire::decode_reply(&received[wire::HEADER..], most_tokens) {
                Ok(reply) if whole && text_of(&reply) <= REPLY_TEXT => Stop::Reply(reply),
                _ => Stop::Forged,
            };
        }
    }
}

/// How many bytes a reply has to say of a failure.
fn text_of(reply: &Reply) -> usize {
    match reply {
        Reply::Value(_) | Reply::TooLarge => 0,
        Reply::Raised { exception: Exception { kind, message, traceback, .. }, .. } => {
            kind.len() + message.len() + traceback.len()
        }
        Reply::NotSerializable { path, problem } => path.len() + problem.len(),
    }
}

/// Returns when the wall clock or the processor time runs out.
async fn watch_limits(child: &Child, limits: &Limits, began: Instant) -> Stop {
    let deadline = began + limits.wall;
    let deadline = if supervisor_leaves_out(Layer::WallClock) { began + NEVER } else { deadline };
    let cores = u32::try_from(machine::cores()).unwrap_or(1);
    let mut left = limits.cpu;
    loop {
        // All cores together can't have used what is left before this.
        let earliest = Instant::now() + (left / cores).max(Duration::from_millis(5));
        if earliest >= deadline {
            sleep_until(deadline).await;
            return Stop::WallClock;
        }
        sleep_until(earliest).await;
        if supervisor_leaves_out(Layer::CpuWatch) {
            continue;
        }
        left = match child.cpu() {
            Some(used) if used >= limits.cpu => return Stop::Cpu,
            Some(used) => limits.cpu.saturating_sub(used),
            None => limits.cpu,
        };
    }
}

/// Returns when there are too many threads, where the kernel does not keep them from it.
async fn watch_threads(child: &Child, counting: Counting) -> Stop {
    /// Longer than most scripts run, and too short for a script to crowd out others for long.
    const EACH: Duration = Duration::from_millis(20);
    match counting {
        Counting::Alone => std::future::pending().await,
        Counting::Together => loop {
            sleep(EACH).await;
            if child.threads().is_some_and(|threads| threads > MAX_THREADS) {
                return Stop::Threads;
            }
        },
    }
}

/// Keeps the pipes from filling up, and returns only at a flood.
async fn drain(stdout: &mut Output, stderr: &mut Output) {
    let most = if supervisor_leaves_out(Layer::OutputFlood) { u64::MAX } else { FLOOD };
    while stdout.total() + stderr.total() <= most {
        tokio::select! {
            () = stdout.drain() => {}
            () = stderr.drain() => {}
        }
    }
}

/// Whether a child whose channel closed is ending: the kernel closes descriptors before the end can be seen, so it is given
/// a moment. A script that closed the channel itself lives on.
async fn ends_by_itself(child: &Child, deadline: Instant) -> bool {
    let patience = deadline.min(Instant::now() + Duration::from_secs(1));
    let mut pause = Duration::from_micros(100);
    loop {
        if child.has_ended() {
            return true;
        }
        if Instant::now() >= patience {
            return false;
        }
        sleep(pause).await;
        pause = (pause * 2).min(Duration::from_millis(20));
    }
}
