//! Mayfly's own protocol: JSON in, JSON out.
//!
//! Runs in the supervisor; pure.

mod arguments;
pub(super) mod encode;
mod files;
mod manner;
pub(super) mod request;
mod rows;

use crate::job::{Bounds, Include, Job};
use crate::outcome::Report;
use crate::size::ByteSize;

/// Reads a request's body as a job, the one way there is: `mayfly run` takes it too.
///
/// # Errors
/// One sentence that says what is wrong with it.
pub fn job_from_json(body: &[u8], bounds: &Bounds) -> Result<Job, String> {
    request::parse(body, bounds).map_err(|wrong| wrong.sentence.into_owned())
}

/// A report as a client's answer has it, and whether that has a result.
#[must_use]
pub fn answer_as_json(report: &Report, include: Include, size: ByteSize, isolation: &'static str) -> (Vec<u8>, bool) {
    let answer = encode::encode(report, include, size, isolation);
    (answer.body, answer.status.is_success())
}
