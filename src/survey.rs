//! The survey at start: which isolation this machine grants, what is missing, and what would grant it.
//!
//! Runs in the supervisor, before it serves, and in `mayfly doctor`. It finds out by trying, and must never conclude anything from
//! names or versions.

pub mod isolation;
pub mod layers;
pub mod manifest;
pub mod remedy;
