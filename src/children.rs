//! The stock of children: who starts processes, keeps some ready, and sees to their end.
//!
//! Runs in the supervisor. It never runs a script and holds no byte of a request: a child leaves here jailed, ready and
//! unused, and comes back dead.

pub mod cgroups;
pub mod child;
pub mod cold;
pub mod command;
pub mod launcher;
pub mod nsjail;
pub mod pool;
pub mod pools;
pub mod reaper;
pub mod slots;
pub mod zygote;
