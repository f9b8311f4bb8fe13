//! What the integration tests share: a real Mayfly over HTTP, the places it is run in, and how a test is named and told.
//!
//! Runs in the test processes alone. It never starts Python in them and knows nothing of the crate `mayfly`: what it says of a
//! server is what anybody could see from outside.

pub mod client;
pub mod log;
pub mod places;
pub mod process;
pub mod same;
pub mod server;
pub mod trial;
