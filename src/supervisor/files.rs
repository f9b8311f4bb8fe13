//! Hands a child the files of its job, before it has the job.
//!
//! Runs in the supervisor. The child has seen no byte of the script yet, so its word for it that the files are there counts. Nothing
//! here opens a path.

use crate::children::child::Child;
use crate::files::SCRIPT;
use crate::job::Job;
use crate::outcome::Refusal;
use crate::wire::{self, Down, FileHead, Up};
use std::time::Duration;
use tokio::time::timeout;

/// How long a child may take to write them: no script runs yet that a limit could stop.
const PATIENCE: Duration = Duration::from_secs(10);

/// A child's word that the files are there, with room to spare.
const WORD: usize = 64;

/// Has `child` write the job's files, if there are any, and the script beside them.
///
/// # Errors
/// [`Refusal::Files`]; the child is of no use any more.
pub async fn place(child: &mut Child, job: &Job) -> Result<(), Refusal> {
    if job.files().is_empty() {
        return Ok(());
    }
    let placed = timeout(PATIENCE, tell(child, job)).await;
    let why = match placed {
        Ok(Ok(())) => return Ok(()),
        Ok(Err(why)) => why,
        Err(_) => "they took too long".to_owned(),
    };
    tracing::error!(why, "the files of a request could not be written for its script");
    Err(Refusal::Files)
}

async fn tell(child: &mut Child, job: &Job) -> Result<(), String> {
    let files = || {
        let brought = job.files().as_slice().iter().map(|file| (file.path.as_str(), &file.content[..]));
        std::iter::once((SCRIPT, job.script().as_bytes())).chain(brought)
    };
    let heads = files().map(|(path, content)| FileHead { path: path.to_owned(), bytes: content.len() as u64 });
    let list = wire::encode(&Down::Files(heads.collect())).map_err(|error| error.to_string())?;
    let gone = |error: std::io::Error| error.to_string();
    child.send(&list).await.map_err(gone)?;
    for (_, content) in files().filter(|(_, content)| !content.is_empty()) {
        child.send(content).await.map_err(gone)?;
    }
    child.allow(WORD);
    match child.next(0).await {
        Ok(Up::Placed { errno: 0, cpu_ns }) => {
            child.has_used(Duration::from_nanos(cpu_ns));
            Ok(())
        }
        Ok(Up::Placed { errno, .. }) => Err(std::io::Error::from_raw_os_error(errno).to_string()),
        Ok(_) | Err(_) => Err("their process ended".to_owned()),
    }
}
