//! The gate between a socket and hyper: it lets one checked request through at a time, and nothing that is late.
//!
//! Runs in the supervisor. Over HTTP/1 it holds a request's head back until it is complete and well-formed, passes
//! exactly the body that the head announced, and keeps whatever follows until the answer has left: hyper never sees
//! a doubtful byte, and a wrong head is answered here, with the same JSON as every other wrong request. It also keeps
//! every deadline that hyper doesn't: first byte, head, idle connection, a client that doesn't take its answer. While a
//! script runs it goes on reading, so that hyper learns at once when the client is gone.

use super::deadline::Deadline;
use super::framing::Framing;
use super::head;
use crate::errors::Refused;
use std::future::poll_fn;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::Instant;

/// What an HTTP/2 client with prior knowledge sends first (RFC 9113 §3.4).
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// The largest head of a request, in bytes, and with it the largest buffer; most requests fit one of the first size.
pub(super) const LARGEST_HEAD: usize = 16 * 1024;
const FIRST_BUFFER: usize = 4 * 1024;

/// After the last answer, input is read and dropped for so long and so far: closing a socket with unread input makes
/// the kernel send a reset, which can overtake the answer.
const LINGER: Duration = Duration::from_secs(1);
const LINGER_BYTES: usize = 1024 * 1024;

/// How long an idle connection of a draining server may still send a request that was under way.
pub(super) const DRAIN_IDLE: Duration = Duration::from_millis(250);

/// How long a client may take; see `Settings`.
#[derive(Clone, Copy)]
pub(super) struct Times {
    pub(super) header: Duration,
    pub(super) body: Duration,
    pub(super) idle: Duration,
}

/// What the gate is told from outside.
#[derive(Default)]
pub(super) struct Signals {
    /// Set by the service when it has answered the request; what is flushed next is that answer.
    pub(super) answered: AtomicBool,
    /// Set when the server shuts down.
    pub(super) draining: AtomicBool,
}

/// Builds, and logs, the whole answer to a head that is refused.
type Refuse = Box<dyn Fn(Refused) -> Vec<u8> + Send>;

enum Phase {
    /// Before or in a head; `line` is where its incomplete line begins, `started` whether its deadline runs.
    Head { line: usize, started: bool },
    /// The head has passed, the body has not.
    Body(Framing),
    /// The body's framing is broken.
    Broken,
    /// The request has passed; its answer has not.
    Answer,
    /// HTTP/2: bytes only.
    Through,
    /// A head was refused; so much of the answer is still to be written.
    Refusing { answer: Vec<u8>, written: usize },
    /// Nothing more is read. `unread` tells that the client may still be sending.
    Closed { unread: bool },
    /// The answer is out and the sending side shut; so many more bytes are dropped.
    Linger { left: usize },
}

/// A socket with the gate before it.
pub(super) struct Gate {
    stream: TcpStream,
    input: Input,
    /// How many bytes at the front of `input` hyper may have.
    passed: usize,
    phase: Phase,
    deadline: Deadline,
    stall: Deadline,
    times: Times,
    signals: Arc<Signals>,
    refuse: Refuse,
}

impl Gate {
    pub(super) fn new(stream: TcpStream, times: Times, signals: Arc<Signals>, refuse: Refuse) -> Self {
        let mut deadline = Deadline::default();
        deadline.set(Instant::now() + times.header);
        Self {
            stream,
            input: Input::default(),
            passed: 0,
            phase: Phase::Head { line: 0, started: false },
            deadline,
            stall: Deadline::default(),
            times,
            signals,
            refuse,
        }
    }

    /// Waits for the first bytes. `Some(true)` for HTTP/2, `None` when the client leaves or says nothing in time.
    pub(super) async fn is_http2(&mut self) -> Option<bool> {
        poll_fn(|cx| {
            loop {
                let first = self.input.bytes();
                let length = first.len().min(PREFACE.len());
                if first[..length] != PREFACE[..length] {
                    return Poll::Ready(Some(false));
                }
                if length == PREFACE.len() {
                    self.phase = Phase::Through;
                    self.passed = first.len();
                    return Poll::Ready(Some(true));
                }
                match ready!(self.poll_fill(cx)) {
                    // A client that began gets told, as HTTP/1: what it sent fits that too.
                    Err(error) if error.kind() == io::ErrorKind::TimedOut && length > 0 => {
                        return Poll::Ready(Some(false));
                    }
                    Ok(0) | Err(_) => return Poll::Ready(None),
                    Ok(_) => {}
                }
            }
        })
        .await
    }

    /// Reads more into `input`; 0 is the end of input, `TimedOut` that of the client's time.
    fn poll_fill(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        match self.input.poll_read_from(&mut self.stream, cx) {
            Poll::Pending if self.deadline.poll_passed(cx) => Poll::Ready(Err(io::ErrorKind::TimedOut.into())),
            other => other,
        }
    }

    /// Looks whether `input` now holds a whole head, and if so lets it pass with what is there of its body.
    fn admit(&mut self, mut line: usize, started: bool) -> Result<(), Refused> {
        if line == 0 {
            // RFC 9112 §2.2: empty lines before a request are skipped.
            while self.input.bytes().starts_with(b"\r\n") {
                self.input.consume(2);
            }
        }
        let Some(end) = head::find_end(self.input.bytes(), &mut line)? else {
            if self.input.bytes().len() >= LARGEST_HEAD {
                return Err(Refused::HeadTooLarge);
            }
            let begun = !self.input.bytes().is_empty();
            if begun && !started {
                self.deadline.set(Instant::now() + self.times.header);
            }
            self.phase = Phase::Head { line, started: started || begun };
            return Ok(());
        };
        let (head, rest) = self.input.bytes().split_at(end);
        let mut framing = head::check(head)?;
        self.passed = end;
        self.deadline.clear();
        self.phase = match framing.take(rest) {
            Ok(taken) => {
                self.passed += taken;
                Phase::Body(framing)
            }
            Err(_) => Phase::Broken,
        };
        Ok(())
    }

    fn refusal(&self, refused: Refused) -> Phase {
        Phase::Refusing { answer: (self.refuse)(refused), written: 0 }
    }

    /// Moves on by one step; ready when there is something for hyper to read, or the end of input.
    fn poll_step(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while self.passed == 0 {
            match &mut self.phase {
                Phase::Head { line, started } => {
                    let (line, started) = (*line, *started);
                    if let Err(fault) = self.admit(line, started) {
                        self.phase = self.refusal(fault);
                        continue;
                    }
                    if self.passed > 0 {
                        continue;
                    }
                    if self.signals.draining.load(Ordering::Relaxed) && self.input.bytes().is_empty() {
                        self.deadline.bring_forward(Instant::now() + DRAIN_IDLE);
                    }
                }
                Phase::Body(framing) if framing.is_complete() => {
                    self.phase = Phase::Answer;
                    continue;
                }
                Phase::Body(framing) if !self.input.bytes().is_empty() => {
                    match framing.take(self.input.bytes()) {
                        Ok(taken) => self.passed = taken,
                        Err(_) => self.phase = Phase::Broken,
                    }
                    continue;
                }
                Phase::Broken => return Poll::Ready(Err(io::ErrorKind::InvalidData.into())),
                // The flush of the answer wakes the task.
                Phase::Answer if self.input.is_full() => return Poll::Pending,
                Phase::Body(_) | Phase::Answer => {}
                Phase::Refusing { answer, written } => {
                    match Pin::new(&mut self.stream).poll_write(cx, &answer[*written..]) {
                        Poll::Ready(Ok(count @ 1..)) if *written + count < answer.len() => *written += count,
                        Poll::Pending if !stalls(&mut self.stall, self.times.body, cx) => return Poll::Pending,
                        _ => self.phase = Phase::Closed { unread: true },
                    }
                    continue;
                }
                Phase::Through | Phase::Closed { .. } | Phase::Linger { .. } => return Poll::Ready(Ok(())),
            }
            match ready!(self.poll_fill(cx)) {
                Ok(0) => self.phase = Phase::Closed { unread: false },
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::TimedOut => {
                    self.phase = match self.phase {
                        Phase::Head { started: true, .. } => self.refusal(Refused::HeadTooSlow),
                        _ => Phase::Closed { unread: false },
                    };
                }
                Err(error) => return Poll::Ready(Err(error)),
            }
        }
        Poll::Ready(Ok(()))
    }

    /// Watches a write: hyper's answer, or what it has of it, must be out in time, counted from the first moment the client doesn't take it.
    fn watch_write<T>(&mut self, cx: &mut Context<'_>, write: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        match write {
            Poll::Pending if stalls(&mut self.stall, self.times.body, cx) => {
                Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
            }
            other => other,
        }
    }
}

/// Starts the time for a blocked write if it isn't running; whether it is over.
fn stalls(stall: &mut Deadline, time: Duration, cx: &mut Context<'_>) -> bool {
    if !stall.is_set() {
        stall.set(Instant::now() + time);
    }
    stall.poll_passed(cx)
}

impl AsyncRead for Gate {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, out: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let gate = self.get_mut();
        ready!(gate.poll_step(cx))?;
        if gate.passed == 0 && matches!(gate.phase, Phase::Through) {
            return Pin::new(&mut gate.stream).poll_read(cx, out);
        }
        let count = gate.passed.min(out.remaining());
        out.put_slice(&gate.input.bytes()[..count]);
        gate.input.consume(count);
        gate.passed -= count;
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Gate {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let gate = self.get_mut();
        let write = Pin::new(&mut gate.stream).poll_write(cx, bytes);
        gate.watch_write(cx, write)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let gate = self.get_mut();
        let write = Pin::new(&mut gate.stream).poll_write_vectored(cx, slices);
        gate.watch_write(cx, write)
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    /// hyper flushes when all it had was written: after an answer, the next request may come.
    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let gate = self.get_mut();
        gate.stall.clear();
        if matches!(gate.phase, Phase::Answer) && gate.signals.answered.swap(false, Ordering::Relaxed) {
            gate.phase = Phase::Head { line: 0, started: false };
            let is_draining = gate.signals.draining.load(Ordering::Relaxed);
            let time = if is_draining { DRAIN_IDLE.min(gate.times.idle) } else { gate.times.idle };
            gate.deadline.set(Instant::now() + time);
            // hyper's last read is still pending: nothing but this wakes it for the deadline, or for what is here already.
            if gate.deadline.poll_passed(cx) || !gate.input.bytes().is_empty() {
                cx.waker().wake_by_ref();
            }
        }
        Poll::Ready(Ok(()))
    }

    /// Shuts the sending side, then lets a client that is still sending read its answer before the socket goes.
    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let gate = self.get_mut();
        loop {
            match &mut gate.phase {
                Phase::Linger { left } => {
                    let left = *left;
                    gate.input.clear();
                    match ready!(gate.poll_fill(cx)) {
                        Ok(count @ 1..) if count < left => gate.phase = Phase::Linger { left: left - count },
                        _ => return Poll::Ready(Ok(())),
                    }
                }
                phase => {
                    let unread = match phase {
                        Phase::Body(framing) => !framing.is_complete(),
                        Phase::Closed { unread } => *unread,
                        Phase::Broken | Phase::Refusing { .. } => true,
                        _ => !gate.input.bytes().is_empty(),
                    };
                    ready!(Pin::new(&mut gate.stream).poll_shutdown(cx))?;
                    if !unread {
                        return Poll::Ready(Ok(()));
                    }
                    gate.deadline.set(Instant::now() + LINGER);
                    gate.phase = Phase::Linger { left: LINGER_BYTES };
                }
            }
        }
    }
}

/// Bytes read from the socket and not yet handed on.
#[derive(Default)]
struct Input {
    buffer: Vec<u8>,
    start: usize,
    end: usize,
}

impl Input {
    fn bytes(&self) -> &[u8] {
        &self.buffer[self.start..self.end]
    }

    fn consume(&mut self, count: usize) {
        self.start += count;
        if self.start == self.end {
            self.clear();
        }
    }

    fn clear(&mut self) {
        (self.start, self.end) = (0, 0);
    }

    fn is_full(&self) -> bool {
        self.bytes().len() >= LARGEST_HEAD
    }

    /// Reads once, into what space there is or can be made.
    fn poll_read_from(&mut self, stream: &mut TcpStream, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        if self.end == self.buffer.len() {
            if self.start > 0 {
                self.buffer.copy_within(self.start..self.end, 0);
                (self.start, self.end) = (0, self.end - self.start);
            } else {
                let larger = (self.buffer.len() * 2).clamp(FIRST_BUFFER, LARGEST_HEAD);
                self.buffer.resize(larger, 0);
            }
        }
        let mut space = ReadBuf::new(&mut self.buffer[self.end..]);
        ready!(Pin::new(stream).poll_read(cx, &mut space))?;
        let count = space.filled().len();
        self.end += count;
        Poll::Ready(Ok(count))
    }
}
