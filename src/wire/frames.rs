//! Frames as they arrive: bytes in, whole payloads out.
//!
//! Runs in the supervisor. What comes is an attacker's: a length is checked before anything is allocated, and all frames of a
//! conversation together may be no longer than its budget.

use super::{HEADER, WireError, payload_length};

/// Bytes as they arrive from a child, cut into frames: the one place where a supervisor reads any. All frames together may be as
/// long as the budget; a length is checked against what is left of it before anything is allocated.
#[derive(Debug, Default)]
pub struct Frames {
    received: Vec<u8>,
    /// The payload that is due, once its length is known.
    due: Option<usize>,
    budget: usize,
}

impl Frames {
    /// How many bytes are asked for at first; a long frame doubles it.
    const CHUNK: usize = 4096;

    /// From now on so much may come, in bytes of payload.
    pub fn allow(&mut self, bytes: usize) {
        self.budget = bytes;
    }

    /// Where to put bytes, and how many at most: never far more than is due, so that what follows a frame is seen and not kept.
    pub fn buffer(&mut self) -> (&mut Vec<u8>, usize) {
        let filled = self.received.len();
        let most = HEADER + self.due.unwrap_or(HEADER) + 1;
        let room = Self::CHUNK.max(filled).min(most.max(Self::CHUNK).saturating_sub(filled));
        (&mut self.received, room)
    }

    /// The next whole frame's payload, if it is there. Call [`Self::taken`] after it was read.
    ///
    /// # Errors
    /// [`WireError::Length`] when a frame claims no bytes, or more than the budget has left.
    pub fn payload(&mut self) -> Result<Option<&[u8]>, WireError> {
        let Some(header) = self.received.first_chunk() else { return Ok(None) };
        let length = match self.due {
            Some(length) => length,
            None => *self.due.insert(payload_length(*header, self.budget)?),
        };
        Ok(self.received.get(HEADER..HEADER + length))
    }

    /// The frame at the front was read.
    pub fn taken(&mut self) {
        if let Some(length) = self.due.take() {
            self.budget -= length;
            self.received.drain(..HEADER + length);
        }
    }

    /// Whether bytes are there that belong to no frame that was read.
    #[must_use]
    pub fn holds_more(&self) -> bool {
        !self.received.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Feeds bytes as a socket would, `at_once` at a time, and gives the payloads of the frames among them.
    fn cut(bytes: &[u8], at_once: usize, budget: usize) -> Result<(Vec<Vec<u8>>, bool), WireError> {
        let (mut frames, mut payloads, mut rest) = (Frames::default(), Vec::new(), bytes);
        frames.allow(budget);
        while !rest.is_empty() {
            let (buffer, room) = frames.buffer();
            assert!(room > 0, "there is always room for what is due");
            let count = room.min(at_once).min(rest.len());
            buffer.extend_from_slice(&rest[..count]);
            rest = &rest[count..];
            while let Some(payload) = frames.payload()? {
                payloads.push(payload.to_vec());
                frames.taken();
            }
        }
        Ok((payloads, frames.holds_more()))
    }

    #[test]
    fn a_conversation_is_cut_into_its_frames_however_it_arrives() {
        let frame =
            |length: usize| [&u32::try_from(length).expect("small").to_le_bytes()[..], &vec![7; length]].concat();
        let lengths = [1, 300, 20_000, 2];
        let bytes: Vec<u8> = lengths.iter().flat_map(|length| frame(*length)).collect();
        let all: usize = lengths.iter().sum();
        for at_once in [1, 3, 4, 5, 999, 4096, 100_000] {
            let (payloads, more) = cut(&bytes, at_once, all).expect("within the budget");
            assert_eq!(payloads.iter().map(Vec::len).collect::<Vec<_>>(), lengths, "{at_once}");
            assert!(!more);
            assert_eq!(cut(&bytes, at_once, all - 1), Err(WireError::Length(2)), "the budget is for all together");
        }
        let (payloads, more) = cut(&[&frame(5)[..], &[0]].concat(), 99, 5).expect("within the budget");
        assert_eq!((payloads.len(), more), (1, true), "what follows is seen");
    }

    proptest! {
        #[test]
        fn garbage_never_panics(bytes in proptest::collection::vec(any::<u8>(), 0..256), at_once in 1_usize..64) {
            let _ = cut(&bytes, at_once, 1 << 16);
        }
    }
}
