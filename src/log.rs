//! The log: Mayfly's own events to stderr, for people or as JSON lines.
//!
//! Runs in the supervisor and in the other commands. The log never hurts: an event costs its thread a copy into a buffer of
//! fixed size (`queue`), and one thread writes that buffer. A reader that stops, a pipe that closes and a disk that is full
//! cost lines, which are counted in [`lost`], and nothing else. What strangers can cause cheaply is capped by kind (`rate`), and
//! no other crate's events are let in: h2 warns of a stranger's frames, one line for each. What zygotes write to stderr
//! becomes events too (`others`). Nothing here may block, print or panic in a thread that serves.

mod others;
mod queue;
mod rate;

pub use self::others::stderr_of_others;
pub use self::queue::{Lost, lost};

use self::queue::Queue;
use self::rate::Rate;
use crate::config::LogForm;
use std::io::{self, IsTerminal, Write};
use std::os::fd::AsFd;
use std::sync::OnceLock;
use std::time::Duration;
use tracing::Level;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

/// How long the end of the process waits for lines that are still to be written.
const LAST_WORDS: Duration = Duration::from_millis(500);

/// The log of this process, once it is started.
static LOG: OnceLock<Log> = OnceLock::new();

#[derive(Debug)]
struct Log {
    form: LogForm,
    queue: &'static Queue,
}

/// Starts the log, with events from `level` up.
///
/// # Errors
/// When there is no descriptor or no thread left.
pub fn start(form: LogForm, level: Level) -> io::Result<()> {
    let stderr = io::stderr();
    let is_terminal = stderr.is_terminal();
    // A descriptor of its own: std's lock would be held for as long as a write blocks, and a panic prints under that lock.
    let out = std::fs::File::from(stderr.as_fd().try_clone_to_owned()?);
    let queue: &'static Queue = Box::leak(Box::default());
    let rate: &'static Rate = Box::leak(Box::new(Rate::new(queue)));
    let lines = tracing_subscriber::fmt::layer().with_target(false).with_writer(Lines(queue));
    // What it says of its own failures goes to stderr by `eprintln!`, which panics where stderr is gone.
    let lines = lines.log_internal_errors(false);
    let own = Targets::new().with_target("mayfly", level);
    let registry = tracing_subscriber::registry();
    match form {
        LogForm::Text => registry.with(lines.with_ansi(is_terminal)).with(rate).with(own).init(),
        LogForm::Json => {
            let lines = lines.with_ansi(false).json().flatten_event(true);
            registry.with(lines).with(rate).with(own).init();
        }
    }
    let _ = LOG.set(Log { form, queue });
    std::thread::Builder::new().name("log".to_owned()).spawn(move || queue.write_to(out, || rate.tell()))?;
    std::panic::set_hook(Box::new(|panic| {
        let place = panic.location().map(ToString::to_string).unwrap_or_default();
        let words = panic.payload();
        let text = words.downcast_ref::<&str>().copied().or_else(|| words.downcast_ref::<String>().map(String::as_str));
        let words = text.unwrap_or("no message");
        fatal(&format!("panicked at {place}: {words}"));
        end();
    }));
    others::listen()
}

/// Says why the process is about to end, in the form that the log has: as a plain line where people read it.
pub fn fatal(message: &str) {
    match LOG.get() {
        Some(Log { form: LogForm::Json, .. }) => tracing::error!("{message}"),
        Some(Log { form: LogForm::Text, queue }) => queue.push(format!("mayfly: {message}\n").as_bytes()),
        None => {
            let _ = writeln!(io::stderr(), "mayfly: {message}");
        }
    }
}

/// Waits until every line is written, and not for long: who does not read by now won't.
pub fn end() {
    if let Some(log) = LOG.get() {
        log.queue.wait_until_written(LAST_WORDS);
    }
}

/// Hands each event, as one line, to the queue.
#[derive(Debug, Clone, Copy)]
struct Lines(&'static Queue);

impl MakeWriter<'_> for Lines {
    type Writer = Self;

    fn make_writer(&self) -> Self {
        *self
    }
}

impl Write for Lines {
    /// `tracing-subscriber` writes each event by one call.
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        self.0.push(line);
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
