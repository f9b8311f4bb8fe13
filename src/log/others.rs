//! What zygotes and cold children write to stderr, as events of the log.
//!
//! Runs in the supervisor, in one thread that only reads. Packages warn while they are imported, and an interpreter that is lost
//! says why: as they are, such lines would break a log of JSON lines, and they would block a zygote when nobody reads the
//! log. A child's stderr is a pipe of its own before its script runs; nothing of that comes here.

use std::io::{self, PipeWriter, Read};
use std::process::Stdio;
use std::sync::OnceLock;

/// How much of one line is kept, in bytes.
const LONGEST: usize = 1024;

/// Where those processes write.
static ENTRANCE: OnceLock<PipeWriter> = OnceLock::new();

/// What a process of Mayfly is to be started with as its stderr: ours until [`super::start`] was called.
#[must_use]
pub fn stderr_of_others() -> Stdio {
    match ENTRANCE.get().map(PipeWriter::try_clone) {
        Some(Ok(entrance)) => entrance.into(),
        _ => Stdio::inherit(),
    }
}

/// Starts the thread.
pub(super) fn listen() -> io::Result<()> {
    let (exit, entrance) = io::pipe()?;
    let _ = ENTRANCE.set(entrance);
    std::thread::Builder::new().name("log-others".to_owned()).spawn(move || {
        each_line(exit, |text| tracing::warn!(text, "an interpreter wrote to stderr"));
    })?;
    Ok(())
}

/// Calls `then` with the beginning of each line, as text.
fn each_line(mut from: impl Read, mut then: impl FnMut(&str)) {
    let (mut line, mut piece) = (Vec::new(), [0; 4096]);
    loop {
        let length = match from.read(&mut piece) {
            Ok(0) => return,
            Ok(length) => length,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(_) => return,
        };
        for byte in &piece[..length] {
            if *byte == b'\n' {
                then(String::from_utf8_lossy(&line).trim_end());
                line.clear();
            } else if line.len() < LONGEST {
                line.push(*byte);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_cut_and_are_text() {
        let mut lines = Vec::new();
        let written = [b"one\r\n".as_slice(), b"\xff\n", &[b'x'; 5000], b"\nno end"].concat();
        each_line(written.as_slice(), |line| lines.push(line.to_owned()));
        assert_eq!(lines, ["one", "\u{fffd}", &"x".repeat(LONGEST)]);
    }
}
