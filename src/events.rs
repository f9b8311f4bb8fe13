//! What happens in a run while it goes on, for whoever wants to know before its end.
//!
//! Used in the supervisor. The report at the end says all of it once more: nobody has to listen. A listener is called from the run
//! itself, so it must never wait, and what it hears of a script's output is a script's: it is never logged.

/// Something that happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Event<'a> {
    /// A child has the job. From now on the run is not repeated.
    Started,
    /// The script wrote this to its stdout.
    Stdout(&'a [u8]),
    /// The same of its stderr.
    Stderr(&'a [u8]),
}

/// Whoever listens to a run.
pub trait Listener: Send {
    /// Something happened. Events of one stream come in the order in which they were written; the two streams are apart.
    fn hear(&mut self, event: Event<'_>);

    /// Whether it wants to hear: otherwise output is kept only as far as the job includes it.
    fn is_there(&self) -> bool;
}

/// Nobody listens: the report is all.
#[derive(Debug, Clone, Copy, Default)]
pub struct Nobody;

impl Listener for Nobody {
    fn hear(&mut self, _event: Event<'_>) {}

    fn is_there(&self) -> bool {
        false
    }
}
