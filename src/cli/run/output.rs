//! Standard output and error of `mayfly run`: what the script writes, as soon as it is there.
//!
//! Runs in the supervisor, a thread for each stream. The run never waits for whoever reads: what they have not taken is kept, and is
//! never more than a script can write before it is stopped (`supervisor::output::FLOOD`). The bytes go out as the script wrote them.

use crate::events::{Event, Listener};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use std::fs::File;
use std::io::{self, Write};
use std::os::fd::AsFd;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use tokio::sync::Notify;

/// One of the two, which a thread writes.
#[derive(Debug, Clone)]
pub(super) struct Stream(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    state: Mutex<State>,
    /// Rings when there is something to write.
    filled: Condvar,
    /// Rings when all is written, and when no more can be.
    news: Notify,
}

#[derive(Debug, Default)]
struct State {
    waiting: Vec<u8>,
    /// Whether the thread writes what it took.
    is_writing: bool,
    /// Whether the last line has no end.
    is_in_line: bool,
    failure: Option<io::Error>,
}

impl Stream {
    /// Starts a thread that writes to a copy of this descriptor. It ends with the process.
    pub(super) fn open(to: impl AsFd) -> io::Result<Self> {
        let to = File::from(to.as_fd().try_clone_to_owned()?);
        let shared = Arc::<Shared>::default();
        let writer = Arc::clone(&shared);
        std::thread::Builder::new().name("output".to_owned()).spawn(move || writer.write(to))?;
        Ok(Self(shared))
    }

    /// Has these bytes written.
    pub(super) fn put(&self, bytes: &[u8]) {
        let mut state = self.0.lock();
        if let Some(last) = bytes.last()
            && state.failure.is_none()
        {
            state.is_in_line = *last != b'\n';
            state.waiting.extend_from_slice(bytes);
            self.0.filled.notify_one();
        }
    }

    /// Has a line written, which begins none in the middle.
    pub(super) fn put_line(&self, line: &[u8]) {
        if self.0.lock().is_in_line {
            self.put(b"\n");
        }
        self.put(&[line, b"\n"].concat());
    }

    /// Returns when all is written.
    ///
    /// # Errors
    /// When not all of it could be.
    pub(super) async fn written(&self) -> io::Result<()> {
        loop {
            {
                let mut state = self.0.lock();
                if let Some(error) = state.failure.take() {
                    // It stays so.
                    state.failure = Some(error.kind().into());
                    return Err(error);
                }
                if state.waiting.is_empty() && !state.is_writing {
                    return Ok(());
                }
            }
            self.0.news.notified().await;
        }
    }

    /// Returns only if something can't be written.
    pub(super) async fn failure(&self) -> io::Error {
        loop {
            if let Err(error) = self.written().await {
                return error;
            }
            self.0.news.notified().await;
        }
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self, mut to: File) {
        let mut state = self.lock();
        loop {
            if state.waiting.is_empty() {
                state = self.filled.wait(state).unwrap_or_else(PoisonError::into_inner);
                continue;
            }
            let piece = std::mem::take(&mut state.waiting);
            state.is_writing = true;
            drop(state);
            let result = write_all(&mut to, &piece);
            state = self.lock();
            state.is_writing = false;
            if let Err(error) = result {
                state.failure = Some(error);
                state.waiting = Vec::new();
            }
            self.news.notify_one();
            if state.failure.is_some() {
                return;
            }
        }
    }
}

/// Writes all of it, also where another program that has the same pipe or terminal open made it one that never waits.
fn write_all(to: &mut File, mut bytes: &[u8]) -> io::Result<()> {
    while !bytes.is_empty() {
        match to.write(bytes) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(count) => bytes = &bytes[count..],
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                poll(&mut [PollFd::new(to.as_fd(), PollFlags::POLLOUT)], PollTimeout::NONE)?;
            }
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Hears the run.
#[derive(Debug)]
pub(super) struct Live {
    stdout: Stream,
    stderr: Stream,
}

impl Live {
    pub(super) fn new(stdout: &Stream, stderr: &Stream) -> Self {
        Self { stdout: stdout.clone(), stderr: stderr.clone() }
    }
}

impl Listener for Live {
    fn hear(&mut self, event: Event<'_>) {
        match event {
            Event::Started => {}
            Event::Stdout(bytes) => self.stdout.put(bytes),
            Event::Stderr(bytes) => self.stderr.put(bytes),
        }
    }

    fn is_there(&self) -> bool {
        true
    }
}
