//! `mayfly run FILE`: one script in the same jail. Its output is shown while it runs, and then what it came to.
//!
//! Runs in the supervisor. Whatever it waits for (its input, the script, who reads its output), a signal ends it at once, and with it
//! all that it started. It must never hold a script up for whoever reads the output.

mod input;
mod output;

use self::output::{Live, Stream};
use super::exit;
use crate::api::native::answer_as_json;
use crate::children::cgroups::Cgroups;
use crate::client::Client;
use crate::config::Config;
use crate::events::{Listener, Nobody};
use crate::job::Include;
use crate::log;
use crate::outcome::{Code, Failure, Outcome, Report};
use crate::size::ByteSize;
use crate::supervisor::Supervisor;
use clap::ArgMatches;
use std::io;
use tokio::signal::unix::{SignalKind, signal};

/// What it prints.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Form {
    /// What the script writes, while it writes it; then the result or the error.
    Live,
    /// At the end, the answer that a client gets who asks for all there is.
    Json,
}

impl Form {
    fn include(self) -> Include {
        let all = self == Self::Json;
        Include { stdout: all, stderr: all, usage: all, isolation: all }
    }
}

pub fn run(mut config: Config, given: &ArgMatches) -> i32 {
    // One script needs one child.
    config.ready = 1;
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            log::fatal(&error.to_string());
            return exit::SOFTWARE;
        }
    };
    let mut cgroups = None;
    let status = runtime.block_on(async {
        tokio::select! {
            biased;
            status = stopped() => status,
            status = to_the_end(config, given, &mut cgroups) => status.unwrap_or_else(|(status, message)| {
                log::fatal(&message);
                status
            }),
        }
    });
    // Ends who keeps zygotes and children, and so those.
    drop(runtime);
    if let Some(cgroups) = cgroups {
        cgroups.remove();
    }
    status
}

/// Returns when a signal asks for the end, with the status that shells give a program which one ended.
async fn stopped() -> i32 {
    let (Ok(mut interrupt), Ok(mut terminate)) = (signal(SignalKind::interrupt()), signal(SignalKind::terminate()))
    else {
        // As they are, they end the process.
        return std::future::pending().await;
    };
    let kind = tokio::select! {
        _ = interrupt.recv() => SignalKind::interrupt(),
        _ = terminate.recv() => SignalKind::terminate(),
    };
    exit::SIGNALLED + kind.as_raw_value()
}

async fn to_the_end(config: Config, given: &ArgMatches, cgroups: &mut Option<Cgroups>) -> Result<i32, (i32, String)> {
    let ours = |error: &dyn std::fmt::Display| (exit::SOFTWARE, error.to_string());
    let form = if given.get_flag("json") { Form::Json } else { Form::Live };
    let job = input::job(&config, form.include(), given).await.map_err(|message| (exit::USAGE, message))?;
    let stdout = Stream::open(io::stdout()).map_err(|error| ours(&error))?;
    let stderr = Stream::open(io::stderr()).map_err(|error| ours(&error))?;
    let size = config.result_size;
    let supervisor = Supervisor::start(config).await.map_err(|error| (exit::CONFIG, error.to_string()))?;
    *cgroups = supervisor.cgroups();
    let (mut live, mut nobody) = (Live::new(&stdout, &stderr), Nobody);
    let listener: &mut dyn Listener = if form == Form::Live { &mut live } else { &mut nobody };
    let report = tokio::select! {
        biased;
        error = stdout.failure() => return not_written(&error),
        report = supervisor.run(job, Client::LOCAL, listener) => report.map_err(|error| ours(&error))?,
    };
    // What follows comes after all that the script wrote, also where both streams are one terminal.
    let _ = stderr.written().await;
    if let Err(error) = stdout.written().await {
        return not_written(&error);
    }
    let status = match form {
        Form::Live => show(report, size, &stdout, &stderr),
        Form::Json => {
            let status = status(&report.outcome);
            let (body, is_result) = answer_as_json(&report, form.include(), size, supervisor.level().as_str());
            stdout.put_line(&body);
            if is_result { exit::OK } else { status.max(exit::FAILED) }
        }
    };
    let _ = stderr.written().await;
    stdout.written().await.map_or_else(|error| not_written(&error), |()| Ok(status))
}

/// Nobody is there to read the rest, as with `| head`, which is no news; or it can't be written.
fn not_written(error: &io::Error) -> Result<i32, (i32, String)> {
    if error.kind() == io::ErrorKind::BrokenPipe {
        return Ok(exit::FAILED);
    }
    Err((exit::FAILED, format!("can't write standard output: {error}")))
}

fn status(outcome: &Outcome) -> i32 {
    match outcome {
        Outcome::Returned(..) => exit::OK,
        Outcome::Failed(Failure { code: Code::Timeout | Code::CpuLimit, .. }) => exit::TIMEOUT,
        Outcome::Failed(_) => exit::FAILED,
    }
}

/// Shows the result on stdout, or the failure on stderr.
fn show(report: Report, size: ByteSize, stdout: &Stream, stderr: &Stream) -> i32 {
    let status = status(&report.outcome);
    match report.outcome {
        Outcome::Returned(value, notes) => {
            for note in notes {
                stderr.put_line(note.as_bytes());
            }
            let mut json = Vec::new();
            if value.write_json(&mut json, size.as_usize()).is_err() {
                let message =
                    format!("the result is larger than {size} as JSON (MAYFLY_RESULT_BYTES); return less of it");
                stderr.put_line(message.as_bytes());
                return exit::FAILED;
            }
            stdout.put_line(&json);
        }
        Outcome::Failed(failure) => stderr.put_line(described(&failure).as_bytes()),
    }
    status
}

/// The traceback, if there is one, and what helps.
fn described(failure: &Failure) -> String {
    let mut text = match &failure.exception {
        Some(exception) if !exception.traceback.is_empty() => {
            let mut text = exception.traceback.trim_end().to_owned();
            // The traceback ends with the exception, and the message has that with a hint after it.
            let named = match exception.message.as_str() {
                "" => exception.kind.clone(),
                message => format!("{}: {message}", exception.kind),
            };
            if let Some(hint) = failure.message.strip_prefix(&named).filter(|hint| !hint.is_empty()) {
                text.push('\n');
                text.push_str(hint.trim_start());
            }
            text
        }
        _ => failure.message.clone(),
    };
    if let Some(advice) = &failure.advice {
        text.push('\n');
        text.push_str(&advice.hint);
    }
    text
}
