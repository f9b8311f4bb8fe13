//! `mayfly run FILE`: one script in the same jail, its result on stdout.

use super::exit;
use crate::api::native::job_from_json;
use crate::client::Client;
use crate::config::Config;
use crate::events::Nobody;
use crate::job::Job;
use crate::log;
use crate::outcome::{Code, Failure, Outcome, Report};
use crate::supervisor::Supervisor;
use clap::ArgMatches;
use std::io::{Read, Write};

pub fn run(mut config: Config, given: &ArgMatches) -> i32 {
    let job = match job(&config, given) {
        Ok(job) => job,
        Err(message) => {
            log::fatal(&message);
            return exit::USAGE;
        }
    };
    // One script needs one child.
    config.ready = 1;
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            log::fatal(&error.to_string());
            return exit::SOFTWARE;
        }
    };
    let result_size = config.result_size.as_usize();
    let report = runtime.block_on(async {
        let supervisor = Supervisor::start(config).await.map_err(|error| (exit::CONFIG, error.to_string()))?;
        let report = supervisor.run(job, Client::LOCAL, &mut Nobody).await;
        Ok((report.map_err(|error| (exit::SOFTWARE, error.to_string()))?, supervisor.cgroups()))
    });
    // Ends who keeps zygotes and children, and so those.
    drop(runtime);
    match report {
        Ok((report, cgroups)) => {
            if let Some(cgroups) = cgroups {
                cgroups.remove();
            }
            show(report, result_size)
        }
        Err((status, message)) => {
            log::fatal(&message);
            status
        }
    }
}

/// The job, by way of the same JSON that a client would post.
fn job(config: &Config, given: &ArgMatches) -> Result<Job, String> {
    let text = |name: &str| given.get_one::<String>(name);
    let content = |path: &str| read(path).map_err(|error| format!("can't read {path}: {error}"));
    let json = |name: &str, json: &str| {
        serde_json::from_str(json).map_err(|error| format!("--{name} is not valid JSON: {error}"))
    };
    let mut request = serde_json::Map::new();
    request.insert("script".to_owned(), content(text("FILE").map_or("-", String::as_str))?.into());
    for name in ["args", "kwargs"] {
        if let Some(given) = text(name) {
            request.insert(name.to_owned(), json(name, given)?);
        }
    }
    if let Some(path) = text("stdin") {
        request.insert("stdin".to_owned(), content(path)?.into());
    }
    let body = serde_json::to_vec(&request).map_err(|error| error.to_string())?;
    job_from_json(&body, &config.bounds())
}

fn read(path: &str) -> std::io::Result<String> {
    if path == "-" {
        let mut text = String::new();
        std::io::stdin().read_to_string(&mut text)?;
        return Ok(text);
    }
    std::fs::read_to_string(path)
}

fn show(report: Report, result_size: usize) -> i32 {
    match report.outcome {
        Outcome::Returned(value, notes) => {
            for note in notes {
                eprintln!("{note}");
            }
            let mut json = Vec::new();
            if value.write_json(&mut json, result_size).is_err() {
                eprintln!(
                    "the result is larger than {result_size} bytes as JSON (MAYFLY_RESULT_BYTES); return less of it"
                );
                return exit::FAILED;
            }
            json.push(b'\n');
            if std::io::stdout().write_all(&json).is_err() { exit::FAILED } else { exit::OK }
        }
        Outcome::Failed(Failure { code, message, exception, advice }) => {
            match exception {
                Some(exception) if !exception.traceback.is_empty() => eprintln!("{}", exception.traceback.trim_end()),
                _ => eprintln!("{message}"),
            }
            if let Some(advice) = advice {
                eprintln!("{}", advice.hint);
            }
            if matches!(code, Code::Timeout | Code::CpuLimit) { exit::TIMEOUT } else { exit::FAILED }
        }
    }
}
