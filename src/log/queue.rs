//! Lines on their way to stderr: a buffer of fixed size, and the one thread that writes it.
//!
//! Runs in the supervisor. To put a line in is a copy under a lock that is never held during a system call, but for the
//! wake-up of a writer that sleeps. It must never wait for whoever reads the log.

use std::fs::File;
use std::io::{self, Write};
use std::mem;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Bytes that may wait to be written, some thousand lines. The writer holds as many once more.
const CAPACITY: usize = 512 * 1024;

/// The longest line; of ours none comes near.
const LONGEST_LINE: usize = 16 * 1024;

/// The writer rests this long after each batch, so that a busy server wakes it a hundred times a second and not for each line.
const REST: Duration = Duration::from_millis(10);

/// How often it is told that lines were lost.
const TELL_EVERY: Duration = Duration::from_secs(1);

/// Log lines that were not written, since the start.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lost {
    /// More of one kind than are let through.
    pub over_rate: u64,
    /// The log was read more slowly than it was written to.
    pub no_room: u64,
    /// stderr did not take them: its reader is gone, or the disk is full.
    pub unwritten: u64,
}

static OVER_RATE: AtomicU64 = AtomicU64::new(0);
static NO_ROOM: AtomicU64 = AtomicU64::new(0);
static UNWRITTEN: AtomicU64 = AtomicU64::new(0);

/// What the log of this process has lost so far.
#[must_use]
pub fn lost() -> Lost {
    let read = |count: &AtomicU64| count.load(Ordering::Relaxed);
    Lost { over_rate: read(&OVER_RATE), no_room: read(&NO_ROOM), unwritten: read(&UNWRITTEN) }
}

#[derive(Debug, Default)]
pub(super) struct Queue {
    state: Mutex<State>,
    /// There is something to write or to tell.
    work: Condvar,
    /// Everything is written.
    idle: Condvar,
}

#[derive(Debug, Default)]
struct State {
    waiting: Vec<u8>,
    is_writing: bool,
    /// The writer is to wake up in time to tell of them.
    has_losses: bool,
}

impl Queue {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Puts a line in, which ends with a line break, or counts it as lost.
    pub(super) fn push(&self, line: &[u8]) {
        let mut state = self.lock();
        if line.len() > LONGEST_LINE || state.waiting.len() + line.len() > CAPACITY {
            drop(state);
            NO_ROOM.fetch_add(1, Ordering::Relaxed);
            self.note_losses();
            return;
        }
        let was_empty = state.waiting.is_empty();
        state.waiting.extend_from_slice(line);
        drop(state);
        if was_empty {
            self.work.notify_one();
        }
    }

    /// A line was left out because there were too many like it.
    pub(super) fn leave_out(&self) {
        OVER_RATE.fetch_add(1, Ordering::Relaxed);
        self.note_losses();
    }

    fn note_losses(&self) {
        if !mem::replace(&mut self.lock().has_losses, true) {
            self.work.notify_one();
        }
    }

    /// The writer's life. `tell` is called each second in which lines were left out, to say so in the log itself.
    pub(super) fn write_to(&self, mut out: File, tell: impl Fn()) {
        let mut batch = Vec::new();
        let (mut works, mut line_is_open) = (true, false);
        let (mut told, mut told_at) = (lost(), Instant::now());
        loop {
            self.take(&mut batch, told_at + TELL_EVERY);
            if !batch.is_empty() {
                let (written, result) = write_all(&mut out, &batch, line_is_open);
                line_is_open = batch[..written].last().map_or(line_is_open, |last| *last != b'\n');
                UNWRITTEN.fetch_add(lines_in(&batch[written..]), Ordering::Relaxed);
                works = result.is_ok();
                batch.clear();
                std::thread::sleep(REST);
            }
            let now = lost();
            // While nothing can be written, there is nobody to tell.
            self.lock().has_losses = works && now != told;
            if works && now != told && told_at.elapsed() >= TELL_EVERY {
                tell();
                let (no_room, unwritten) = (now.no_room - told.no_room, now.unwritten - told.unwritten);
                if no_room + unwritten > 0 {
                    tracing::warn!(no_room, unwritten, "log lines were lost");
                }
                (told, told_at) = (now, Instant::now());
            }
        }
    }

    /// Waits for lines, or until it is time to tell of losses, and takes what there is.
    fn take(&self, batch: &mut Vec<u8>, tell_at: Instant) {
        let mut state = self.lock();
        state.is_writing = false;
        while state.waiting.is_empty() {
            self.idle.notify_all();
            state = if state.has_losses {
                let left = tell_at.saturating_duration_since(Instant::now());
                if left.is_zero() {
                    break;
                }
                self.work.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0
            } else {
                self.work.wait(state).unwrap_or_else(PoisonError::into_inner)
            };
        }
        mem::swap(&mut state.waiting, batch);
        state.is_writing = true;
    }

    /// Waits until all is written that is here now, or for as long as `patience`.
    pub(super) fn wait_until_written(&self, patience: Duration) {
        let busy = |state: &mut State| state.is_writing || !state.waiting.is_empty();
        // It returns in both cases, and in both there is nothing more to do.
        drop(self.idle.wait_timeout_while(self.lock(), patience, busy).unwrap_or_else(PoisonError::into_inner));
    }
}

/// How many lines end here.
fn lines_in(text: &[u8]) -> u64 {
    text.split(|byte| *byte == b'\n').count() as u64 - 1
}

/// Writes as much as goes; a line that was cut short before is ended first, so that the next one begins a line.
fn write_all(out: &mut File, mut batch: &[u8], line_is_open: bool) -> (usize, io::Result<()>) {
    let length = batch.len();
    let mut to_end = if line_is_open { &b"\n"[..] } else { &[] };
    while !batch.is_empty() {
        let ending = !to_end.is_empty();
        match out.write(if ending { to_end } else { batch }) {
            Ok(0) => return (length - batch.len(), Err(io::ErrorKind::WriteZero.into())),
            Ok(_) if ending => to_end = &[],
            Ok(written) => batch = &batch[written..],
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            // Another process that shares the pipe has made it non-blocking.
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => std::thread::sleep(REST),
            Err(error) => return (length - batch.len(), Err(error)),
        }
    }
    (length, Ok(()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read;
    use std::sync::Arc;

    fn pipe() -> (File, File) {
        let (reader, writer) = nix::unistd::pipe().expect("a pipe");
        (reader.into(), writer.into())
    }

    #[test]
    fn lines_arrive_whole_and_in_order() {
        let queue = Arc::new(Queue::default());
        let (mut reader, writer) = pipe();
        let writing = Arc::clone(&queue);
        std::thread::spawn(move || writing.write_to(writer, || {}));
        for number in 0..100 {
            queue.push(format!("line {number}\n").as_bytes());
        }
        queue.wait_until_written(Duration::from_secs(20));
        let mut text = vec![0; 4096];
        let length = reader.read(&mut text).expect("text");
        let text = String::from_utf8_lossy(&text[..length]);
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines, (0..100).map(|number| format!("line {number}")).collect::<Vec<_>>());
    }

    #[test]
    fn who_does_not_read_holds_nobody_up() {
        let queue = Arc::new(Queue::default());
        let (reader, writer) = pipe();
        let writing = Arc::clone(&queue);
        std::thread::spawn(move || writing.write_to(writer, || {}));
        let line = [&[b'x'; 999][..], b"\n"].concat();
        let before = lost().no_room;
        // Far more than the pipe and both buffers take.
        for _ in 0..4 * CAPACITY / line.len() {
            queue.push(&line);
        }
        assert!(lost().no_room > before);
        assert!(queue.lock().waiting.len() <= CAPACITY);
        queue.wait_until_written(Duration::from_millis(10));
        drop(reader);
    }

    #[test]
    fn a_line_that_was_cut_short_is_ended_before_the_next() {
        let (mut reader, mut writer) = pipe();
        let (written, result) = write_all(&mut writer, b"next\n", true);
        assert!(result.is_ok() && written == 5);
        drop(writer);
        let mut text = String::new();
        reader.read_to_string(&mut text).expect("text");
        assert_eq!(text, "\nnext\n");
    }

    #[test]
    fn a_reader_that_is_gone_costs_lines() {
        let (reader, mut writer) = pipe();
        drop(reader);
        let (written, result) = write_all(&mut writer, b"one\ntwo\n", false);
        assert!(written == 0 && result.is_err());
        assert_eq!(lines_in(b"one\ntwo\n"), 2);
    }
}
