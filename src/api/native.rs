//! Mayfly's own protocol: JSON in, JSON out.
//!
//! Runs in the supervisor; pure.

mod arguments;
pub(super) mod encode;
mod files;
mod manner;
pub(super) mod request;
mod rows;

use crate::job::{Bounds, Job};

/// Reads a request's body as a job, the one way there is: `mayfly run` takes it too.
///
/// # Errors
/// One sentence that says what is wrong with it.
pub fn job_from_json(body: &[u8], bounds: &Bounds) -> Result<Job, String> {
    request::parse(body, bounds).map_err(|wrong| wrong.sentence.into_owned())
}
