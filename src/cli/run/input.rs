//! What `mayfly run` is given: its flags, the script, and standard input → a job.
//!
//! Runs in the supervisor. A script may come from a pipe and so may its input: all of it is read before anything is started, in a
//! thread that nobody has to wait for. It must never read a terminal for the script, nor more from a pipe
//! that nobody named than a request may have.

use crate::api::native::job_from_json;
use crate::config::Config;
use crate::job::{Include, Job};
use crate::size::ByteSize;
use clap::ArgMatches;
use serde_json::{Map, Value};
use std::fs::File;
use std::io::{self, Read};
use std::os::fd::AsFd;
use std::os::unix::fs::FileTypeExt;
use tokio::sync::oneshot;

/// The job, by way of the same JSON that a client would post.
///
/// # Errors
/// One sentence that says what is wrong with it.
pub(super) async fn job(config: &Config, include: Include, given: &ArgMatches) -> Result<Job, String> {
    let (tell, told) = oneshot::channel();
    let (given, most) = (given.clone(), config.body_size);
    let read = move || tell.send(request(&given, include, most));
    std::thread::Builder::new().name("input".to_owned()).spawn(read).map_err(|error| error.to_string())?;
    let request = told.await.map_err(|_| "the input was not read".to_owned())??;
    let body = serde_json::to_vec(&request).map_err(|error| error.to_string())?;
    job_from_json(&body, &config.bounds())
}

fn request(given: &ArgMatches, include: Include, most: ByteSize) -> Result<Map<String, Value>, String> {
    let text = |name: &str| given.get_one::<String>(name);
    let json = |name: &str, json: &str| {
        serde_json::from_str(json).map_err(|error| format!("--{name} is not valid JSON: {error}"))
    };
    let mut request = Map::new();
    let script = text("FILE").map_or("-", String::as_str);
    request.insert("script".to_owned(), content(script)?.into());
    for name in ["args", "kwargs"] {
        if let Some(given) = text(name) {
            request.insert(name.to_owned(), json(name, given)?);
        }
    }
    let stdin = match text("stdin") {
        Some(path) => Some(content(path)?),
        None if script == "-" => None,
        None => piped(most)?,
    };
    if let Some(stdin) = stdin {
        request.insert("stdin".to_owned(), stdin.into());
    }
    let asked = [
        ("stdout", include.stdout),
        ("stderr", include.stderr),
        ("usage", include.usage),
        ("isolation", include.isolation),
    ];
    let asked: Vec<&str> = asked.into_iter().filter_map(|(name, is_asked)| is_asked.then_some(name)).collect();
    request.insert("include".to_owned(), asked.into());
    Ok(request)
}

/// All of a file; of standard input where its name is `-`.
fn content(path: &str) -> Result<String, String> {
    let read = || {
        if path == "-" {
            return io::read_to_string(io::stdin());
        }
        std::fs::read_to_string(path)
    };
    read().map_err(|error| format!("can't read {path}: {error}"))
}

/// All of standard input where that is a file, a pipe or a socket. A terminal is for whoever sits there, and other devices have no end
/// or nothing in them.
fn piped(most: ByteSize) -> Result<Option<String>, String> {
    const NONE: &str = "--stdin /dev/null gives the script none";
    let failed = |error: io::Error| format!("can't read standard input: {error}; {NONE}");
    let input = File::from(io::stdin().as_fd().try_clone_to_owned().map_err(failed)?);
    let kind = input.metadata().map_err(failed)?.file_type();
    if !(kind.is_file() || kind.is_fifo() || kind.is_socket()) {
        return Ok(None);
    }
    let mut bytes = Vec::new();
    input.take(most.0.saturating_add(1)).read_to_end(&mut bytes).map_err(failed)?;
    if bytes.len() as u64 > most.0 {
        return Err(format!("standard input is larger than {most} (MAYFLY_BODY_BYTES); {NONE}"));
    }
    String::from_utf8(bytes).map(Some).map_err(|_| format!("standard input is not text in UTF-8; {NONE}"))
}
