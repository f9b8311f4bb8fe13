//! The floor: what one run costs when there is no server around it.
//!
//! A single-threaded process warms an interpreter by the zygote's own steps, then makes one child after another by the
//! jail's own steps, hands each the same job, reads its reply, kills and reaps it. What Mayfly takes beyond this is the
//! price of serving: HTTP, admission, the pool, the event loop. `bench/run` starts it; by hand:
//!
//! ```text
//! cargo build --release --example floor
//! MAYFLY_ROOT=target/jail target/release/examples/floor --script FILE [--runs 200] [--ready]
//! ```
//!
//! Three processes take part, all of this program: one finds the isolation plan as the server does, for which it
//! needs threads, and then becomes the warm process by exec; the third, `floor zygote`, is what the search tries plans with.
//! Settings are the server's: `MAYFLY_ISOLATION`, `MAYFLY_PRELOAD`, `MAYFLY_MEMORY_MB`, … It prints one line of JSON; times are
//! in microseconds.

use mayfly::children::command::ENVIRONMENT;
use mayfly::children::launcher::Launcher;
use mayfly::children::reaper::Reaper;
use mayfly::children::slots::Slots;
use mayfly::config::{Config, Wanted};
use mayfly::jail::{self, ChildDescriptors, ChildLimits, Ids, Jailed, Parentage, Plan, Ruleset};
use mayfly::level::Level;
use mayfly::orders::{Purpose, Spawn};
use mayfly::python::{self, Interpreter, Setup};
use mayfly::survey::isolation::Tools;
use mayfly::survey::manifest::Manifest;
use mayfly::sys;
use mayfly::sys::own_proc::{Alone, OwnProc};
use mayfly::sys::pins::Pins;
use mayfly::sys::{Cloned, HandedIn, OneWay};
use mayfly::wire::{self, Down, Hello, JobFrame, Up};
use mayfly::worker::child;
use mayfly::worker::pages;
use mayfly::worker::written::Written;
use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::sys::resource::{Usage, UsageWho, getrusage};
use nix::sys::signal::{Signal, kill};
use nix::sys::socket::{AddressFamily, SockFlag, SockType, socketpair};
use nix::sys::time::TimeValLike;
use nix::unistd::{Pid, getpid, pipe2, read, write};
use serde::{Deserialize, Serialize};
use serde_json::json;
use std::error::Error;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::process::CommandExt;
use std::process::{Command, ExitCode};
use std::time::Instant;

type Outcome<T> = Result<T, Box<dyn Error>>;

/// Runs before those that count, so that caches and the allocator are as they will be.
const WARM_UP: usize = 20;

/// What the first process finds out for the second.
#[derive(Debug, Serialize, Deserialize)]
struct Orders {
    plan: Plan,
    preload: Vec<String>,
    memory: u64,
    cpu_seconds: u64,
    result_bytes: u64,
    script: String,
    runs: usize,
    /// Children copy the pages they will write to beforehand, as the server's do: the answer comes sooner, the whole run costs
    /// the same.
    ready: bool,
}

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let result = match arguments.first().map(String::as_str) {
        Some("zygote" | "child") => return ExitCode::from(u8::try_from(mayfly::worker::zygote::run()).unwrap_or(1)),
        Some("warm") => arguments.get(1).ok_or("no orders").map_err(Into::into).and_then(|orders| warm(orders)),
        _ => find_out(&arguments),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("floor: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Finds the plan that the server would take, and becomes the process that carries it out.
fn find_out(arguments: &[String]) -> Outcome<()> {
    let value = |name: &str| arguments.iter().position(|given| given == name).and_then(|at| arguments.get(at + 1));
    let path = value("--script").ok_or("usage: floor --script FILE [--runs N] [--ready]")?;
    let config = Config::read(&|name| std::env::var(name).ok())?;
    let manifest = Manifest::read(&config)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let attempts = runtime.block_on(async {
        let (launcher, reaper, slots) = (Launcher::start()?, Reaper::start()?, Slots::default());
        let tools = Tools { config: &config, manifest: &manifest, launcher: &launcher, reaper: &reaper, slots: &slots };
        Ok::<_, std::io::Error>(tools.choose(config.isolation).await)
    })?;
    let plan = match attempts.into_iter().next_back().map(|attempt| attempt.result) {
        Some(Ok(plan)) if plan.level != Level::Nsjail => plan,
        Some(Err(why)) => return Err(format!("this machine doesn't provide that isolation: {why}").into()),
        _ => return Err(format!("there is no floor for {:?}", Wanted::Only(Level::Nsjail)).into()),
    };
    let orders = Orders {
        // Its children are its own to reap: it asks for no siblings.
        plan: Plan { parentage: Parentage::Adopted, ..plan },
        preload: config.preload.into_iter().filter(|module| manifest.has_module(module)).collect(),
        memory: config.limits.memory.0,
        cpu_seconds: ChildLimits::whole_seconds(config.limits.cpu),
        result_bytes: config.result_size.0,
        script: std::fs::read_to_string(path)?,
        runs: value("--runs").map_or(Ok(200), |text| text.parse())?,
        ready: arguments.iter().any(|given| given == "--ready"),
    };
    let mut command = Command::new(std::env::current_exe()?);
    command.arg("warm").arg(serde_json::to_string(&orders)?).env_clear().envs(ENVIRONMENT);
    // Where libpython lies outside the usual places, the next process has to find it too.
    command.envs(std::env::vars_os().filter(|(name, _)| name == "LD_LIBRARY_PATH"));
    Err(command.exec().into())
}

/// The warm process: a zygote's steps, then run after run.
fn warm(orders: &str) -> Outcome<()> {
    let orders: Orders = serde_json::from_str(orders)?;
    let plan = &orders.plan;
    let thread_id = sys::thread_id_address()?;
    let mut handed_in = HandedIn::once().ok_or("the process is at its start")?;
    jail::close_inherited(plan, &mut handed_in).map_err(step)?;
    let own_proc = OwnProc::open()?;
    let pins = Pins::new().ok();
    let alone = || own_proc.alone().ok_or("the process is not alone");
    let maps_ids = ask_for_an_id_map(plan, &alone()?)?;
    jail::prepare(plan, maps_ids).map_err(step)?;
    let interpreter = python::start(&Setup {
        stdlib: plan.root_inside().join(plan.stdlib.strip_prefix("/")?).display().to_string(),
        packages: vec![plan.packages_inside().display().to_string()],
    })?;
    for (module, result) in interpreter.preload(&orders.preload) {
        result.map_err(|why| format!("{module}: {why}"))?;
    }
    interpreter.freeze()?;
    let written = pages::settle(&own_proc, &alone()?, &interpreter, pins);
    jail::seal_zygote(plan).map_err(step)?;
    let mut floor = Floor {
        ruleset: plan.needs_ruleset().then(|| jail::make_ruleset(plan)).transpose()?,
        address_space: own_proc.address_space().ok_or("the size of the address space is not known")?,
        alone: alone()?,
        orders: &orders,
        interpreter,
        written,
        thread_id,
    };
    for number in 0..WARM_UP {
        floor.run(number)?;
    }
    let (mut made, mut answered, mut faults) = (Vec::new(), Vec::new(), Vec::new());
    let (began, spent_before) = (Instant::now(), spent()?);
    for number in 0..orders.runs {
        let run = floor.run(number)?;
        made.push(run.made);
        answered.push(run.answered);
        faults.push(run.faults);
    }
    let per_run = |total: u128| total / orders.runs.max(1) as u128;
    println!(
        "{}",
        json!({
            "level": plan.level.as_str(),
            "runs": orders.runs,
            "ready": orders.ready,
            "made_us": quantiles(&mut made),
            "answered_us": quantiles(&mut answered),
            "faults": quantiles(&mut faults)["p50"],
            "cpu_us": per_run(spent()? - spent_before),
            "wall_us": per_run(began.elapsed().as_micros()),
        })
    );
    Ok(())
}

fn step(error: jail::JailError) -> String {
    format!("{}: {}", error.step, Errno::from_raw(error.errno))
}

fn quantiles(samples: &mut [u128]) -> serde_json::Value {
    samples.sort_unstable();
    let at = |share: usize| samples.get((samples.len() * share / 100).min(samples.len().saturating_sub(1)));
    json!({ "p50": at(50), "p99": at(99), "min": at(0) })
}

/// Processor time of this process and of the children it reaped, in microseconds.
fn spent() -> Outcome<u128> {
    let of = |usage: Usage| usage.user_time().num_microseconds() + usage.system_time().num_microseconds();
    let (own, children) = (getrusage(UsageWho::RUSAGE_SELF)?, getrusage(UsageWho::RUSAGE_CHILDREN)?);
    Ok(u128::try_from(of(own) + of(children))?)
}

/// Has a process outside of the coming user namespace write its id map, as the supervisor does for a zygote.
fn ask_for_an_id_map(plan: &Plan, alone: &Alone) -> Outcome<impl FnOnce() -> Result<(), Errno> + use<>> {
    let (theirs, ask) = pipe2(OFlag::O_CLOEXEC)?;
    let (told, tell) = pipe2(OFlag::O_CLOEXEC)?;
    let ids = plan.ids;
    let warm = getpid();
    let Cloned::Parent(helper) = sys::bare_fork(alone)? else {
        drop((ask, told));
        let asked = matches!(read(&theirs, &mut [0]), Ok(1));
        let written = asked && write_id_map(warm, ids).is_ok();
        let _ = write(&tell, &[u8::from(written)]);
        sys::exit_now(0)
    };
    drop((theirs, tell));
    Ok(move || {
        write(&ask, &[1])?;
        let mut written = [0];
        read(&told, &mut written)?;
        sys::reap(helper)?;
        if written == [1] { Ok(()) } else { Err(Errno::EPERM) }
    })
}

fn write_id_map(process: Pid, ids: Ids) -> std::io::Result<()> {
    let (users, groups, count) = match ids {
        Ids::Range { first, count } => (first, first, count),
        Ids::Shared => (nix::unistd::geteuid().as_raw(), nix::unistd::getegid().as_raw(), 1),
    };
    let put = |name: &str, text: String| std::fs::write(format!("/proc/{process}/{name}"), text);
    match put("setgroups", "deny".to_owned()) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
        result => result?,
    }
    put("uid_map", format!("0 {users} {count}\n"))?;
    put("gid_map", format!("0 {groups} {count}\n"))
}

/// The warm process, ready to make children.
struct Floor<'a> {
    alone: Alone,
    orders: &'a Orders,
    interpreter: Interpreter,
    written: Written,
    ruleset: Option<Ruleset>,
    thread_id: sys::ThreadIdAddress,
    address_space: u64,
}

/// One run, in microseconds and page faults.
struct Run {
    /// From the clone to the child's word that it is ready.
    made: u128,
    /// From the job to the reply.
    answered: u128,
    /// Minor faults of the whole child.
    faults: u128,
}

impl Floor<'_> {
    fn run(&mut self, number: usize) -> Outcome<Run> {
        let (ours, channel) = socketpair(AddressFamily::Unix, SockType::Stream, None, SockFlag::SOCK_CLOEXEC)?;
        let (read_stdout, stdout) = pipe2(OFlag::O_CLOEXEC)?;
        let (read_stderr, stderr) = pipe2(OFlag::O_CLOEXEC)?;
        let descriptors = ChildDescriptors { channel, stdout, stderr };
        let began = Instant::now();
        let flags = jail::clone_flags(&self.orders.plan);
        let Some(child) = self.interpreter.fork(|| sys::clone_process(&self.alone, flags, self.thread_id))? else {
            drop((ours, read_stdout, read_stderr));
            self.be_child(number, descriptors)
        };
        drop(descriptors);
        match receive(ours.as_fd()).and_then(|frame| wire::decode::<Up>(&frame).ok()) {
            Some(Up::Hello(Hello::Ready { .. })) => {}
            other => return Err(format!("the child is not ready: {other:?}").into()),
        }
        let ready = Instant::now();
        let job = JobFrame {
            script: self.orders.script.clone(),
            args: vec![mayfly::value::Token::List(0)],
            kwargs: vec![mayfly::value::Token::Map(0)],
            result_bytes: self.orders.result_bytes,
            captured: false,
            manner: mayfly::manner::Manner::default(),
        };
        send(ours.as_fd(), &wire::encode(&Down::Job(job))?)?;
        let reply = receive(ours.as_fd()).and_then(|frame| wire::decode::<Up>(&frame).ok());
        let answered = ready.elapsed().as_micros();
        if reply.is_none() {
            return Err("the child did not reply".into());
        }
        kill(child, Signal::SIGKILL)?;
        let ended = sys::reap(child)?;
        Ok(Run { made: (ready - began).as_micros(), answered, faults: ended.minor_faults.into() })
    }

    /// The child's life, as in `mayfly::worker::child`, with the rehearsal left to choice.
    fn be_child(&mut self, number: usize, descriptors: ChildDescriptors) -> ! {
        sys::to_the_end(|one_way| match self.serve(number, descriptors, &one_way) {
            Ok(()) => sys::exit_now(0),
            Err(error) => {
                eprintln!("floor: in the child: {error}");
                sys::exit_now(1)
            }
        })
    }

    fn serve(&mut self, number: usize, descriptors: ChildDescriptors, one_way: &OneWay) -> Outcome<()> {
        self.interpreter.reseed()?;
        let spawn = Spawn {
            slot: u32::try_from(number)?,
            memory: self.orders.memory,
            cpu_seconds: self.orders.cpu_seconds,
            purpose: Purpose::Job,
        };
        let limits = spawn.limits(self.address_space, std::time::Duration::ZERO);
        // This process's copy of it: the warm one keeps its own.
        let ruleset = self.ruleset.take();
        let jailed = jail::enter(&self.orders.plan, spawn.slot, limits, descriptors, ruleset, one_way).map_err(step)?;
        if self.orders.ready {
            child::make_ready(&jailed, &self.interpreter, &self.written, &self.alone);
        }
        self.answer(&jailed)
    }

    fn answer(&self, jailed: &Jailed) -> Outcome<()> {
        let channel = jailed.channel();
        send(channel, &wire::encode(&Up::Hello(Hello::Ready { cpu_ns: 0, own: 0 }))?)?;
        let job = receive(channel).ok_or("no job came")?;
        let Down::Job(job) = wire::decode(&job)? else { return Err("no job came".into()) };
        let reply = self.interpreter.run(jailed, job, String::new());
        send(channel, &wire::encode(&Up::Done(reply))?)?;
        let _ = receive(channel.as_fd());
        Ok(())
    }
}

fn send(channel: BorrowedFd<'_>, mut rest: &[u8]) -> Result<(), Errno> {
    while !rest.is_empty() {
        rest = &rest[write(channel, rest)?..];
    }
    Ok(())
}

/// The payload of the next frame; `None` when the other side is gone.
fn receive(channel: BorrowedFd<'_>) -> Option<Vec<u8>> {
    let fill = |buffer: &mut [u8]| -> Option<()> {
        let mut filled = 0;
        while filled < buffer.len() {
            match read(channel, &mut buffer[filled..]) {
                Ok(count @ 1..) => filled += count,
                _ => return None,
            }
        }
        Some(())
    };
    let mut header = [0; wire::HEADER];
    fill(&mut header)?;
    let mut payload = vec![0; wire::payload_length(header, wire::MAX_FRAME).ok()?];
    fill(&mut payload)?;
    Some(payload)
}
