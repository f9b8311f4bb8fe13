//! What a script writes to stdout and stderr: kept up to a cap, counted beyond it.
//!
//! Runs in the supervisor. The bytes are a script's: they are never logged, and never looked into.

use crate::outcome::Captured;
use crate::sys;
use nix::errno::Errno;
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use std::io;
use std::os::fd::OwnedFd;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// Output beyond this many bytes, both streams together, stops the script.
pub const FLOOD: u64 = 64 * 1024 * 1024;

/// What one read takes: a pipe's whole capacity (`pipe(7)`).
const CHUNK: usize = 64 * 1024;

/// One of a child's output streams.
#[derive(Debug)]
pub struct Output {
    pipe: Pipe,
    captured: Captured,
    cap: usize,
}

#[derive(Debug)]
enum Pipe {
    /// As it came. It is watched from the first look on, which is after the job was sent: the child need not wait for that.
    Untouched(OwnedFd),
    /// Watched by the event loop.
    Watched(AsyncFd<OwnedFd>),
    /// At its end.
    Closed,
}

impl Output {
    /// Nothing read yet; at most `cap` bytes will be kept.
    #[must_use]
    pub fn new(pipe: Option<OwnedFd>, cap: usize) -> Self {
        Self { pipe: pipe.map_or(Pipe::Closed, Pipe::Untouched), captured: Captured::default(), cap }
    }

    /// Bytes seen so far.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.captured.total
    }

    /// The next piece that is written; never returns once the stream is closed.
    pub async fn next(&mut self) -> Vec<u8> {
        loop {
            if let Err(error) = self.watch() {
                tracing::warn!(%error, "can't watch an output; what the script writes to it is not kept");
                self.pipe = Pipe::Closed;
            }
            let Pipe::Watched(pipe) = &self.pipe else { return std::future::pending().await };
            let read = pipe.async_io(Interest::READABLE, read_some).await;
            match read {
                Ok(bytes) if !bytes.is_empty() => return bytes,
                _ => self.pipe = Pipe::Closed,
            }
        }
    }

    fn watch(&mut self) -> io::Result<()> {
        if let Pipe::Untouched(_) = self.pipe
            && let Pipe::Untouched(fd) = std::mem::replace(&mut self.pipe, Pipe::Closed)
        {
            fcntl(&fd, FcntlArg::F_SETFL(OFlag::O_NONBLOCK))?;
            self.pipe = Pipe::Watched(sys::watch(fd, Interest::READABLE).map_err(|(_, error)| error)?);
        }
        Ok(())
    }

    /// Keeps of a piece what there is room for, and counts all of it.
    pub fn keep(&mut self, piece: &[u8]) {
        let room = self.cap.saturating_sub(self.captured.kept.len());
        self.captured.kept.extend_from_slice(&piece[..room.min(piece.len())]);
        self.captured.total += piece.len() as u64;
    }

    /// What was left in the pipe when the script was stopped. A pipe holds no more than its capacity, and a writer that was killed
    /// adds nothing.
    pub fn rest(&mut self) -> Vec<u8> {
        let fd = match std::mem::replace(&mut self.pipe, Pipe::Closed) {
            Pipe::Untouched(fd) => fcntl(&fd, FcntlArg::F_SETFL(OFlag::O_NONBLOCK)).is_ok().then_some(fd),
            Pipe::Watched(watched) => Some(watched.into_inner()),
            Pipe::Closed => None,
        };
        let mut rest = Vec::new();
        for _ in 0..2 {
            match fd.as_ref().map(read_some) {
                Some(Ok(mut bytes)) if !bytes.is_empty() => rest.append(&mut bytes),
                _ => break,
            }
        }
        rest
    }

    /// All that was kept.
    #[must_use]
    pub fn into_captured(self) -> Captured {
        self.captured
    }
}

fn read_some(fd: &OwnedFd) -> io::Result<Vec<u8>> {
    let mut bytes = vec![0; CHUNK];
    loop {
        match nix::unistd::read(fd, &mut bytes) {
            Ok(count) => {
                bytes.truncate(count);
                return Ok(bytes);
            }
            Err(Errno::EINTR) => {}
            Err(errno) => return Err(errno.into()),
        }
    }
}
