//! Mayfly runs untrusted Python over HTTP: each script in a fresh, jailed `CPython` that lives for one request.
//!
//! # Theory of operation
//!
//! ```text
//! mayfly serve        supervisor: hyper and tokio, many threads, no Python. Owns HTTP, admission, deadlines, verdicts
//!   ├ mayfly zygote   one thread, warm CPython, started with a clean environment; sees no byte of any request
//!   └ child           cloned by a zygote as the supervisor's own child; jailed; serves one request; is killed
//! ```
//!
//! The supervisor starts zygotes, which warm an interpreter inside the jail root and then clone children on order. A child
//! enters the jail, copies what it will write to and waits. A request takes a ready child and sends it one job over a socket that only
//! these two hold; the child runs the script and replies with a value or an exception. The supervisor kills the child
//! at the first complete reply, or when a limit is passed, and decides by itself what happened.
//!
//! A zygote holds nothing worth stealing: whatever it has, every child can read. A child is an attacker from the moment it
//! has its job: whatever it sends is checked, and nothing it says about itself is believed.
//!
//! # In reading order
//!
//! A folder belongs to one process, or to all. `tests/tidy.rs` holds the walls between them, and that no two folders need each other.
//!
//! The nouns, which every process may know: [`size`], [`value`], [`job`], [`files`], [`manner`], [`outcome`], [`errors`], [`events`], [`client`], [`hosts`], [`proxies`],
//! [`level`], [`layer`], [`step`], [`config`], [`capabilities`]. What crosses a descriptor, and by which number: [`wire`], [`orders`],
//! [`handover`].
//!
//! In the supervisor, from the client inwards: [`http`], the connections; [`api`], the protocols over them; [`service`], what
//! these know of the rest; [`supervisor`], the way of a job; [`children`], the stock of processes; [`survey`], which isolation this
//! machine grants; [`machine`], how large it is; [`log`], where it says what happens.
//!
//! In the other processes: [`worker`], the zygote and the child; [`jail`], the ordered list of steps; [`python`], the interpreter.
//!
//! Below all: [`sys`]. Around all: [`cli`].

pub mod api;
pub mod capabilities;
pub mod children;
pub mod cli;
pub mod client;
pub mod config;
pub mod errors;
pub mod events;
pub mod fault;
pub mod files;
pub mod handover;
pub mod hosts;
pub mod http;
pub mod jail;
pub mod job;
pub mod layer;
pub mod level;
pub mod log;
pub mod machine;
pub mod manner;
mod names;
pub mod orders;
pub mod outcome;
pub mod proxies;
pub mod python;
pub mod service;
pub mod size;
pub mod step;
pub mod supervisor;
pub mod survey;
pub mod sys;
pub mod value;
pub mod wire;
pub mod worker;
