//! The other processes themselves: the zygote, which warms an interpreter and clones children, and the child, which runs one
//! script.
//!
//! Runs in `mayfly zygote` and `mayfly child`, and in what these clone. No request is known here before a child has its one
//! job, and nothing that ever ran a script makes another process.

pub mod child;
mod files;
mod input;
pub mod pages;
pub mod written;
pub mod zygote;
