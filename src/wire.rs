//! What crosses a descriptor between two of our processes: frames and their messages.
//!
//! Used in every process. A frame is a little-endian `u32` length and a bincode payload; the length is checked
//! against a cap before anything is allocated, the payload is decoded under a limit, and all of it must be consumed.
//! Messages are flat: no type here contains itself. What comes from a child is an attacker's input.

// By its path, so that the fuzz targets, which take this file by its path, find it too.
#[path = "wire/files.rs"]
mod files;
#[path = "wire/frames.rs"]
mod frames;
#[path = "wire/room.rs"]
mod room;

pub use self::files::FileHead;
pub use self::frames::Frames;

use self::room::{NO_MEMORY, is_there_memory, tokens_where_there_is_memory};
use crate::manner::Manner;
use crate::outcome::{Cause, Exception, Exit};
use crate::value::Token;
use bincode::error::DecodeError;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use std::fmt;

/// The largest frame of any kind, in bytes, length prefix not counted. Messages between supervisor and zygote are far
/// smaller; a job is bounded by the request body, a reply by the result limit.
pub const MAX_FRAME: usize = 64 * 1024 * 1024;

/// The length prefix, in bytes.
pub const HEADER: usize = 4;

/// The one job.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct JobFrame {
    /// Python source text.
    pub script: String,
    /// A list of arguments.
    #[serde(deserialize_with = "tokens_where_there_is_memory")]
    pub args: Vec<Token>,
    /// A map of keyword arguments.
    #[serde(deserialize_with = "tokens_where_there_is_memory")]
    pub kwargs: Vec<Token>,
    /// The most bytes the encoded result may take; the child stops encoding there.
    pub result_bytes: u64,
    /// Whether somebody will read stdout or stderr; if so they are flushed by line, so that output survives a kill.
    pub captured: bool,
    /// How it is run.
    pub manner: Manner,
}

/// Supervisor to child: all that it is told, in this order: files, where there are some; what the script reads from its stdin where
/// there is something; then the job, which is the last.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum Down {
    /// What the script reads from its stdin; without it, nothing.
    Input(String),
    /// The one job: it begins now.
    Job(JobFrame),
    /// What is in these files follows, in this order and in no frame. The child writes them into its working directory, and says so.
    Files(Vec<FileHead>),
}

/// Child to supervisor: all that it says, in this order: one word about itself, one about files where
/// there were some, then what became of its job.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum Up {
    /// Before the job: the jail is complete, or not, and no byte of a request was read.
    Hello(Hello),
    /// What became of the job.
    Done(Reply),
    /// Before the job: the files are there, or not.
    Placed {
        /// The system's error number; 0 where there was no error.
        errno: i32,
        /// Processor time used so far, in nanoseconds: not the script's.
        cpu_ns: u64,
    },
}

/// A child's first word.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Hello {
    /// The child waits for its job.
    Ready {
        /// Processor time used so far, in nanoseconds: not the script's.
        cpu_ns: u64,
        /// Memory that is or may become its own without being asked for, in bytes: the interpreter's, not the script's.
        own: u64,
    },
    /// A step of the jail failed; the child is gone.
    Failed {
        /// Index of the step in `jail::Step::ALL`.
        step: u16,
        /// The system's error number.
        errno: i32,
    },
    /// The child was to verify the jail, and did.
    Verified {
        /// A bit for each check of `jail::verify` that failed.
        failed: u32,
    },
}

/// How far a script came.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Phase {
    /// The source does not compile.
    Compile,
    /// The module's body, or `main()`, raised.
    Run,
    /// There is no callable `main`.
    NoMain,
    /// `SystemExit` was raised.
    Exit,
}

/// What `main()` came to. A claim about a value, nothing more: status, times and limits are the
/// supervisor's own.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum Reply {
    /// `main()` returned this; and what was changed on the way to JSON, a line each.
    Value(Vec<Token>, String),
    /// It failed in Python.
    Raised {
        /// Where.
        phase: Phase,
        /// Why.
        cause: Cause,
        /// What is shown to the client.
        exception: Exception,
    },
    /// The result can't be written as JSON.
    NotSerializable {
        /// Where in the result, as `result.rows[3].ts`.
        path: String,
        /// What stands there and what to do about it, as `a generator; return list(...)`.
        problem: String,
    },
    /// The result's encoding passes `result_bytes`: it takes so many bytes at least.
    TooLarge(u64),
    /// A program came to its end.
    Ended {
        /// The value of its last expression; `Null` without one.
        value: Vec<Token>,
        /// What was changed on the way to JSON, a line each.
        notes: String,
        /// How it would end its process.
        exit: Exit,
        /// What it raised and did not catch.
        raised: Option<Raised>,
    },
}

/// What a program raised and did not catch.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Raised {
    /// Where.
    pub phase: Phase,
    /// Why.
    pub cause: Cause,
    /// What is shown to the client.
    pub exception: Exception,
}

/// Why bytes are not the message that was due.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum WireError {
    /// The length is over the cap, or zero.
    Length(u32),
    /// The payload is no such message.
    Payload,
    /// Bytes are left over after the message.
    Trailing,
    /// The message can't be encoded under the cap.
    TooLarge,
    /// This process may not have as much memory as the message takes.
    Memory,
}

impl fmt::Display for WireError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Length(length) => write!(f, "a frame of {length} bytes is not allowed"),
            Self::Payload => f.write_str("the frame holds no such message"),
            Self::Trailing => f.write_str("bytes are left over after the message"),
            Self::TooLarge => f.write_str("the message is too large for a frame"),
            Self::Memory => f.write_str("there is no memory for the message"),
        }
    }
}

impl std::error::Error for WireError {}

/// Reads the length prefix.
///
/// # Errors
/// [`WireError::Length`] when it is zero or over `cap`.
pub fn payload_length(header: [u8; HEADER], cap: usize) -> Result<usize, WireError> {
    let claimed = u32::from_le_bytes(header);
    match usize::try_from(claimed) {
        Ok(length) if length > 0 && length <= cap.min(MAX_FRAME) => Ok(length),
        _ => Err(WireError::Length(claimed)),
    }
}

/// Decodes one payload; every byte of it must belong to the message.
///
/// # Errors
/// [`WireError::Payload`] or [`WireError::Trailing`].
pub fn decode<M: DeserializeOwned>(payload: &[u8]) -> Result<M, WireError> {
    // bincode allocates the length that a text claims before it looks for the text, up to its limit, and it counts eight
    // bytes for an integer that takes one. So the limit follows the payload, by that factor.
    match payload.len() {
        ..=0x400 => decode_within::<0x2000, M>(payload),
        0x401..=0x4000 => decode_within::<0x2_0000, M>(payload),
        0x4001..=0x4_0000 => decode_within::<0x20_0000, M>(payload),
        0x4_0001..=0x40_0000 => decode_within::<0x200_0000, M>(payload),
        _ => decode_within::<{ 8 * MAX_FRAME }, M>(payload),
    }
}

fn decode_within<const LIMIT: usize, M: DeserializeOwned>(payload: &[u8]) -> Result<M, WireError> {
    let config = bincode::config::standard().with_limit::<LIMIT>();
    let (message, used) = bincode::serde::decode_from_slice(payload, config).map_err(|error| match error {
        DecodeError::OtherString(reason) if reason == NO_MEMORY => WireError::Memory,
        _ => WireError::Payload,
    })?;
    if used == payload.len() { Ok(message) } else { Err(WireError::Trailing) }
}

/// Decodes what a child is told, in a process that may have no memory for it.
///
/// # Errors
/// As [`decode`], and [`WireError::Memory`].
pub fn decode_down(payload: &[u8]) -> Result<Down, WireError> {
    // Its texts take as much as they do in the frame. What tokens take is looked at on the way.
    if is_there_memory(2 * payload.len()) { decode(payload) } else { Err(WireError::Memory) }
}

/// Decodes what a child says. A value of more than `most_tokens` tokens, each of which takes more room here than in the
/// frame, counts as [`Reply::TooLarge`] and is not decoded.
///
/// # Errors
/// As [`decode`].
pub fn decode_up(payload: &[u8], most_tokens: usize) -> Result<Up, WireError> {
    /// The indices of `Up::Done`, `Reply::Value` and `Reply::Ended`, as bincode writes them.
    const DONE: u32 = 1;
    const VALUE: u32 = 0;
    const ENDED: u32 = 4;
    let config = bincode::config::standard().with_limit::<64>();
    let start: Result<((u32, u32, u64), usize), _> = bincode::serde::decode_from_slice(payload, config);
    match start {
        Ok(((DONE, VALUE | ENDED, tokens), _)) if tokens > most_tokens as u64 => Ok(Up::Done(Reply::TooLarge(tokens))),
        _ => decode(payload),
    }
}

/// Encodes a message with its length prefix.
///
/// # Errors
/// [`WireError::TooLarge`] when the payload passes [`MAX_FRAME`].
pub fn encode<M: Serialize>(message: &M) -> Result<Vec<u8>, WireError> {
    let mut frame = vec![0; HEADER];
    bincode::serde::encode_into_std_write(message, &mut frame, bincode::config::standard())
        .map_err(|_| WireError::TooLarge)?;
    let length = frame.len() - HEADER;
    if length > MAX_FRAME {
        return Err(WireError::TooLarge);
    }
    let prefix = u32::try_from(length).map_err(|_| WireError::TooLarge)?;
    frame[..HEADER].copy_from_slice(&prefix.to_le_bytes());
    Ok(frame)
}

/// The same, into memory at hand and without taking any; `None` when the frame is longer than `space`.
#[must_use]
pub fn encode_within<'a, M: Serialize>(message: &M, space: &'a mut [u8]) -> Option<&'a [u8]> {
    let (header, payload) = space.split_first_chunk_mut::<HEADER>()?;
    let length = bincode::serde::encode_into_slice(message, payload, bincode::config::standard()).ok()?;
    *header = u32::try_from(length).ok()?.to_le_bytes();
    space.get(..HEADER + length)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::value::Value;
    use proptest::prelude::*;

    fn payload(frame: &[u8]) -> &[u8] {
        let header = frame[..HEADER].try_into().expect("four bytes");
        let length = payload_length(header, MAX_FRAME).expect("within the cap");
        assert_eq!(length, frame.len() - HEADER);
        &frame[HEADER..]
    }

    #[test]
    fn a_message_survives_the_wire() {
        let reply = Reply::Value(vec![Token::List(2), Token::Int(-5), Token::Str("é".into())], "note".into());
        let frame = encode(&reply).expect("small");
        assert_eq!(decode::<Reply>(payload(&frame)), Ok(reply));
    }

    #[test]
    fn a_frame_is_the_same_in_memory_at_hand_or_does_not_fit() {
        let reply = Reply::Value(vec![Token::Str("text".into())], String::new());
        let frame = encode(&reply).expect("small");
        let mut space = [0xaa; 64];
        assert_eq!(encode_within(&reply, &mut space), Some(&frame[..]));
        assert_eq!(encode_within(&reply, &mut space[..frame.len()]), Some(&frame[..]));
        for short in 0..frame.len() {
            assert_eq!(encode_within(&reply, &mut space[..short]), None, "{short}");
        }
    }

    #[test]
    fn lengths_are_checked_before_anything_is_allocated() {
        assert_eq!(payload_length([0; 4], 10), Err(WireError::Length(0)));
        assert_eq!(payload_length([11, 0, 0, 0], 10), Err(WireError::Length(11)));
        assert_eq!(payload_length([0xff; 4], usize::MAX), Err(WireError::Length(u32::MAX)));
        assert_eq!(payload_length([10, 0, 0, 0], 10), Ok(10));
    }

    #[test]
    fn a_value_of_too_many_tokens_is_not_decoded() {
        let value = Up::Done(Reply::Value(vec![Token::Null; 11], String::new()));
        let frame = encode(&value).expect("small");
        assert_eq!(decode_up(&frame[HEADER..], 10), Ok(Up::Done(Reply::TooLarge(11))));
        assert_eq!(decode_up(&frame[HEADER..], 11), Ok(value));
        let (value, exit) = (vec![Token::Null; 11], Exit::Code(3));
        let ended = Up::Done(Reply::Ended { value, notes: String::new(), exit, raised: None });
        let frame = encode(&ended).expect("small");
        assert_eq!(decode_up(&frame[HEADER..], 10), Ok(Up::Done(Reply::TooLarge(11))));
        assert_eq!(decode_up(&frame[HEADER..], 11), Ok(ended));
        let others = [Up::Done(Reply::TooLarge(u64::MAX)), Up::Hello(Hello::Ready { cpu_ns: u64::MAX, own: u64::MAX })];
        for other in others {
            let frame = encode(&other).expect("small");
            assert_eq!(decode_up(&frame[HEADER..], 0), Ok(other));
        }
    }

    #[test]
    fn a_job_survives_the_wire() {
        let numbers = (0..5000).map(Token::Int);
        let job = Down::Job(JobFrame {
            script: "def main(*args):\n    pass".into(),
            args: std::iter::once(Token::List(5000)).chain(numbers).collect(),
            kwargs: vec![Token::Map(1), Token::Str("é".into()), Token::Null],
            result_bytes: 1 << 20,
            captured: true,
            manner: Manner { env: vec![("A".into(), "é".into())], seed: Some(u32::MAX), ..Manner::default() },
        });
        let frame = encode(&job).expect("small");
        assert_eq!(decode_down(payload(&frame)), Ok(job));
        assert_eq!(decode_down(&frame[HEADER..frame.len() - 1]), Err(WireError::Payload));
    }

    #[test]
    fn trailing_bytes_are_refused() {
        let mut frame = encode(&Reply::TooLarge(0)).expect("small");
        frame.push(0);
        assert_eq!(decode::<Reply>(&frame[HEADER..]), Err(WireError::Trailing));
    }

    #[test]
    fn a_claimed_length_inside_the_payload_allocates_nothing() {
        // Reply::Value with a list of 2^60 tokens, then nothing.
        let hostile = [0, 253, 0, 0, 0, 0, 0, 0, 0, 16];
        assert_eq!(decode::<Reply>(&hostile), Err(WireError::Payload));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(4096))]
        #[test]
        fn garbage_never_panics(bytes in proptest::collection::vec(any::<u8>(), 0..256)) {
            if let Ok(Reply::Value(tokens, _)) = decode::<Reply>(&bytes)
                && let Ok(value) = Value::try_from(tokens)
            {
                let mut out = Vec::new();
                let _ = value.write_json(&mut out, 1 << 16);
            }
            let _ = decode_up(&bytes, 1 << 16);
        }
    }
}
