//! One run: hand the child its job, wait for the reply, keep the limits, stop the child.
//!
//! Runs in the supervisor. Every byte from the child is an attacker's: lengths are checked before anything is allocated, and
//! nothing waits past the deadline.

use super::output::{FLOOD, Output};
use super::shortage::Shortage;
use super::verdict::Stop;
use super::weight::Weight;
use crate::children::child::{Child, Holds, Meter, Mute};
use crate::events::{Event, Listener};
use crate::fault::supervisor_leaves_out;
use crate::jail::{Counting, MAX_THREADS};
use crate::job::{Include, Limits};
use crate::layer::Layer;
use crate::machine;
use crate::outcome::{Captured, Cause, Exception, Usage};
use crate::wire::{self, Reply, Up};
use std::time::Duration;
use tokio::time::{Instant, sleep, sleep_until};

/// A reply may take this many times the result's size as JSON (a float takes nine bytes here and three there), or hold as much
/// text: the runner clips what it says of a failure to 25,000 characters, each of six bytes at most.
const REPLY_FACTOR: usize = 3;
const REPLY_TEXT: usize = 192 * 1024;

/// How long an answer waits for the end of a child that was killed. One that waits for a disk does not end before that has answered;
/// its use is what was known before.
const PATIENCE: Duration = Duration::from_millis(100);

/// How often what a child holds is looked at: longer than most scripts run, and too short to take much memory or many threads in.
const LOOK: Duration = Duration::from_millis(20);

/// The part of its memory that a child may have as page tables on top, where the memory is in one piece, with room to spare; and what
/// the tables of its interpreter may take.
const TABLES: u64 = 256;
const TABLES_AT_FIRST: u64 = 4 * 1024 * 1024;

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
    /// The most memory it was seen to have beyond its interpreter's, in bytes.
    pub memory: u64,
    /// Where it was asked for.
    pub usage: Option<Usage>,
    /// What it wrote, where it was asked for.
    pub stdout: Option<Captured>,
    /// What it wrote, where it was asked for.
    pub stderr: Option<Captured>,
}

/// What a run is held to, and who wants to know of it.
#[derive(Debug, Clone, Copy)]
pub struct Terms<'a> {
    /// The job's limits; on a second run, what is left of them.
    pub limits: Limits,
    /// Who counts its threads.
    pub counting: Counting,
    /// Where it is noticed that all scripts together take too much memory.
    pub shortage: &'a Shortage,
    /// What its client wants to see.
    pub include: Include,
    /// The largest result as JSON, in bytes.
    pub result_size: usize,
}

/// Runs a job in `child`, which is told `told`.
pub async fn drive(mut child: Child, terms: &Terms<'_>, told: &[u8], listener: &mut dyn Listener) -> Driven {
    let Terms { limits, include, result_size, .. } = *terms;
    let began = Instant::now();
    let cap = if supervisor_leaves_out(Layer::OutputCap) { usize::MAX } else { limits.output.as_usize() };
    let mut outputs = Outputs {
        stdout: Output::new(child.stdout.take(), cap),
        stderr: Output::new(child.stderr.take(), cap),
        listener,
    };
    // As JSON each token takes two bytes at least, its comma or its bracket included.
    let most_tokens = result_size / 2 + 2;
    let reply_cap = result_size.saturating_mul(REPLY_FACTOR).saturating_add(REPLY_TEXT);
    let reply_cap = if supervisor_leaves_out(Layer::ReplyCap) { wire::MAX_FRAME } else { reply_cap };
    child.allow(reply_cap);
    outputs.listener.hear(Event::Started);
    let meter = child.meter();
    // Dropped before the child: once that is reaped, its number may be another's.
    let mut weight = Weight::new(meter, began);
    let mut most_seen = 0;
    let stop = tokio::select! {
        biased;
        stop = converse(&mut child, told, most_tokens) => stop,
        stop = watch_limits(meter, terms, began, &mut weight, &mut most_seen) => stop,
        () = outputs.drain() => Stop::Flood,
    };
    let stop = match stop {
        Stop::Silent if ends_by_itself(&child, began + limits.wall).await => {
            // By the kernel's word for whose lack of memory it was, before anything else can be made of its end.
            child.ran_out_of_memory().then_some(Stop::Memory)
        }
        other => Some(other),
    };
    // For one whose end does not come in time.
    let cpu_so_far = if include.usage { meter.used().unwrap_or_default() } else { Duration::ZERO };
    drop(weight);
    child.kill();
    let wall = began.elapsed();
    let (cpu_at_ready, own_memory) = (child.cpu_at_ready(), child.own_memory());
    let needs_end = stop.is_none() || include.usage;
    let ended = if needs_end { child.end(PATIENCE).await } else { None };
    let cpu = ended.map_or(cpu_so_far, |ended| ended.cpu.saturating_sub(cpu_at_ready));
    let stop = match (stop, ended) {
        (Some(stop), _) => stop,
        (None, Some(ended)) => Stop::Ended(ended),
        (None, None) => Stop::Silent,
    };
    if include.stdout || include.stderr || outputs.listener.is_there() {
        outputs.take_rest();
    }
    let at_most = ended.map_or(0, |ended| ended.peak_memory.saturating_sub(own_memory));
    let usage = Usage { wall, cpu, peak_memory: ended.map_or(0, |ended| ended.peak_memory) };
    Driven {
        stop,
        wall,
        cpu,
        memory: most_seen.max(at_most),
        usage: include.usage.then_some(usage),
        stdout: include.stdout.then(|| outputs.stdout.into_captured()),
        stderr: include.stderr.then(|| outputs.stderr.into_captured()),
    }
}

/// Both output streams of a child. Each piece goes to what is kept and to whoever listens, alike.
struct Outputs<'a> {
    stdout: Output,
    stderr: Output,
    listener: &'a mut dyn Listener,
}

impl Outputs<'_> {
    /// Keeps the pipes from filling up, and returns only at a flood.
    async fn drain(&mut self) {
        let most = if supervisor_leaves_out(Layer::OutputFlood) { u64::MAX } else { FLOOD };
        while self.stdout.total() + self.stderr.total() <= most {
            tokio::select! {
                piece = self.stdout.next() => wrote(&mut self.stdout, Event::Stdout, self.listener, &piece),
                piece = self.stderr.next() => wrote(&mut self.stderr, Event::Stderr, self.listener, &piece),
            }
        }
    }

    fn take_rest(&mut self) {
        let (stdout, stderr) = (self.stdout.rest(), self.stderr.rest());
        wrote(&mut self.stdout, Event::Stdout, self.listener, &stdout);
        wrote(&mut self.stderr, Event::Stderr, self.listener, &stderr);
    }
}

/// A piece of output goes to what is kept and to whoever listens.
fn wrote<'a>(output: &mut Output, event: fn(&'a [u8]) -> Event<'a>, listener: &mut dyn Listener, piece: &'a [u8]) {
    if !piece.is_empty() {
        output.keep(piece);
        listener.hear(event(piece));
    }
}

/// Tells the child its job, and hears what it says until the reply.
async fn converse(child: &mut Child, told: &[u8], most_tokens: usize) -> Stop {
    if child.send(told).await.is_err() {
        return Stop::Silent;
    }
    match child.next(most_tokens).await {
        Ok(Up::Done(reply)) if text_of(&reply) <= REPLY_TEXT => Stop::Reply(reply),
        Ok(Up::Done(_) | Up::Hello(_) | Up::Placed { .. }) | Err(Mute::Forged) => Stop::Forged,
        Err(Mute::Closed) => Stop::Silent,
    }
}

/// How many bytes a reply has beside a value.
fn text_of(reply: &Reply) -> usize {
    match reply {
        Reply::Value(_, notes) => notes.len(),
        Reply::TooLarge(_) => 0,
        Reply::Raised { exception, cause, .. } => text_of_exception(exception, cause),
        Reply::NotSerializable { path, problem } => path.len() + problem.len(),
        Reply::Ended { notes, raised, .. } => {
            notes.len() + raised.as_ref().map_or(0, |raised| text_of_exception(&raised.exception, &raised.cause))
        }
    }
}

fn text_of_exception(Exception { kind, message, traceback, .. }: &Exception, cause: &Cause) -> usize {
    let named = match cause {
        Cause::Call { name, inside, .. } => name.len() + inside.len(),
        Cause::Script | Cause::Memory { .. } => 0,
    };
    kind.len() + message.len() + traceback.len() + named
}

/// Returns when the wall clock or the processor time runs out, or when the child has more than it may. `most_seen` is the most memory
/// that it was seen to have.
async fn watch_limits(
    meter: Meter,
    terms: &Terms<'_>,
    began: Instant,
    weight: &mut Weight,
    most_seen: &mut u64,
) -> Stop {
    let limits = &terms.limits;
    let deadline = began + limits.wall;
    let deadline = if supervisor_leaves_out(Layer::WallClock) { began + NEVER } else { deadline };
    let cores = u32::try_from(machine::cores()).unwrap_or(1);
    // All cores together can't have used what is left before this.
    let earliest = |left: Duration| Instant::now() + (left / cores).max(Duration::from_millis(5));
    let mut look_at_cpu = earliest(limits.cpu);
    let mut look = began + LOOK;
    loop {
        // One timer for all: a short script pays for no more than that.
        sleep_until(deadline.min(look_at_cpu).min(look)).await;
        let now = Instant::now();
        if now >= deadline {
            return Stop::WallClock;
        }
        if now >= look_at_cpu {
            let left = match meter.used().filter(|_| !supervisor_leaves_out(Layer::CpuWatch)) {
                Some(used) if used >= limits.cpu => return Stop::Cpu,
                Some(used) => limits.cpu.saturating_sub(used),
                None => limits.cpu,
            };
            look_at_cpu = earliest(left);
        }
        if now >= look {
            if look == began + LOOK {
                meter.offer_first();
            }
            terms.shortage.look();
            let holds = meter.holds();
            weight.adjust(now, holds.map(|holds| holds.threads));
            if let Some(stop) = holds.and_then(|holds| has_too_much(holds, terms, most_seen)) {
                return stop;
            }
            look = now + LOOK;
        }
    }
}

/// Whether a child has too many threads, where the kernel does not keep it from that, or more memory than its limit. Nearly all memory
/// is kept from it by `RLIMIT_AS`, page tables are not; a script that lives with the one is never stopped here.
fn has_too_much(holds: Holds, terms: &Terms<'_>, most_seen: &mut u64) -> Option<Stop> {
    if terms.counting == Counting::Together && holds.threads > MAX_THREADS {
        return Some(Stop::Threads);
    }
    let memory = holds.memory?;
    *most_seen = memory.max(*most_seen);
    let limit = terms.limits.memory.0;
    let allowed = limit.saturating_add(limit / TABLES).saturating_add(TABLES_AT_FIRST);
    (memory > allowed && !supervisor_leaves_out(Layer::MemoryWatch)).then_some(Stop::Memory)
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
