//! Where the body of an HTTP/1 request ends.
//!
//! Runs in the supervisor; pure. The gate counts body bytes with it and hands hyper not one byte of the next
//! request. It must agree with hyper on every body it accepts, which is why it accepts only the strict form.

/// How a body is delimited, and how far it was read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Framing {
    state: State,
    /// Bytes of chunk extensions and trailers so far, which carry nothing.
    idle: usize,
}

/// What the next byte is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// One of so many bytes of a body whose length is known.
    Length(u64),
    /// A digit of a chunk's size, or what follows the digits.
    Size {
        size: u64,
        digits: u8,
    },
    Extension {
        size: u64,
    },
    SizeLf {
        size: u64,
    },
    /// One of so many bytes of a chunk.
    Chunk(u64),
    ChunkCr,
    ChunkLf,
    /// The first byte of a line after the last chunk.
    TrailerStart,
    Trailer,
    TrailerLf,
    EndLf,
    End,
}

/// The chunked coding is broken; nothing after it can be believed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Broken;

/// The most bytes of chunk extensions and trailers in one body, together.
const MAX_IDLE: usize = 4096;

/// The most digits of a chunk's size: 4 GiB, far above any body that is accepted.
const MAX_DIGITS: u8 = 8;

impl Framing {
    /// A body of so many bytes; 0 for none.
    pub(super) const fn length(bytes: u64) -> Self {
        Self { state: State::Length(bytes), idle: 0 }
    }

    /// A body in chunks.
    pub(super) const fn chunked() -> Self {
        Self { state: State::Size { size: 0, digits: 0 }, idle: 0 }
    }

    /// Whether the body is complete.
    pub(super) fn is_complete(&self) -> bool {
        matches!(self.state, State::Length(0) | State::End)
    }

    /// Counts how many of `bytes` belong to the body.
    pub(super) fn take(&mut self, bytes: &[u8]) -> Result<usize, Broken> {
        let mut taken = 0;
        while taken < bytes.len() && !self.is_complete() {
            let rest = &bytes[taken..];
            taken += match &mut self.state {
                State::Length(left) => count_down(left, rest),
                State::Chunk(left) => {
                    let passed = count_down(left, rest);
                    if *left == 0 {
                        self.state = State::ChunkCr;
                    }
                    passed
                }
                state => {
                    *state = state.after(rest[0])?;
                    if matches!(state, State::Extension { .. } | State::Trailer) {
                        self.idle += 1;
                    }
                    if self.idle > MAX_IDLE {
                        return Err(Broken);
                    }
                    1
                }
            };
        }
        Ok(taken)
    }
}

fn count_down(left: &mut u64, bytes: &[u8]) -> usize {
    let passed = bytes.len().min(usize::try_from(*left).unwrap_or(usize::MAX));
    *left -= passed as u64;
    passed
}

impl State {
    /// The state after one byte that is not body text.
    fn after(self, byte: u8) -> Result<Self, Broken> {
        let next = match (self, byte) {
            (Self::Size { size, digits }, _) if byte.is_ascii_hexdigit() && digits < MAX_DIGITS => {
                let digit = char::from(byte).to_digit(16).ok_or(Broken)?;
                Self::Size { size: size * 16 + u64::from(digit), digits: digits + 1 }
            }
            (Self::Size { size, digits: 1.. } | Self::Extension { size }, b'\r') => Self::SizeLf { size },
            (Self::Size { size, digits: 1.. }, b';') => Self::Extension { size },
            (Self::Extension { .. } | Self::Trailer, b'\t' | 0x20..=0x7e | 0x80..) => self,
            (Self::SizeLf { size: 0 } | Self::TrailerLf, b'\n') => Self::TrailerStart,
            (Self::SizeLf { size }, b'\n') => Self::Chunk(size),
            (Self::ChunkCr, b'\r') => Self::ChunkLf,
            (Self::ChunkLf, b'\n') => Self::Size { size: 0, digits: 0 },
            (Self::TrailerStart, b'\r') => Self::EndLf,
            (Self::TrailerStart, 0x21..=0x7e) => Self::Trailer,
            (Self::Trailer, b'\r') => Self::TrailerLf,
            (Self::EndLf, b'\n') => Self::End,
            _ => return Err(Broken),
        };
        Ok(next)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn body_length(bytes: &[u8]) -> Result<Option<usize>, Broken> {
        let mut framing = Framing::chunked();
        let taken = framing.take(bytes)?;
        Ok(framing.is_complete().then_some(taken))
    }

    #[test]
    fn chunked_bodies_end_where_they_end() {
        let cases: &[(&str, usize)] = &[
            ("0\r\n\r\nGET", 5),
            ("5\r\nhello\r\n0\r\n\r\nGET", 15),
            ("00A;name=value\r\n0123456789\r\n0\r\nTrailer: x\r\n\r\n", 45),
        ];
        for (text, length) in cases {
            assert_eq!(body_length(text.as_bytes()), Ok(Some(*length)), "{text:?}");
        }
        assert_eq!(body_length(b"5\r\nhel"), Ok(None));
    }

    #[test]
    fn broken_chunks_are_refused() {
        let long = format!("5;{}", "x".repeat(MAX_IDLE + 1));
        let cases = [
            "\r\n",
            ";\r\n",
            "-1\r\n",
            "g\r\n",
            " 5\r\n",
            "5 \r\n",
            "0x5\r\n",
            "123456789\r\n",
            "5\nhello",
            "5\r\nhello0",
            "5\r\nhello\n0",
            "0\r\n\n",
            "0\r\n folded\r\n\r\n",
            "5;\n",
            &long,
        ];
        for text in cases {
            assert_eq!(body_length(text.as_bytes()), Err(Broken), "{text:?}");
        }
    }

    #[test]
    fn a_length_is_counted_across_pieces() {
        let mut framing = Framing::length(7);
        assert_eq!(framing.take(b"hello"), Ok(5));
        assert!(!framing.is_complete());
        assert_eq!(framing.take(b"hello"), Ok(2));
        assert!(framing.is_complete());
        assert_eq!(framing.take(b"hello"), Ok(0));
    }

    proptest! {
        #[test]
        fn pieces_make_no_difference(chunks in proptest::collection::vec(".{1,20}", 0..5), cut in 0usize..200) {
            use std::fmt::Write;
            let mut text = String::new();
            for chunk in &chunks {
                write!(text, "{:x}\r\n{chunk}\r\n", chunk.len()).expect("a string");
            }
            text.push_str("0\r\n\r\nGET / HTTP/1.1\r\n");
            let bytes = text.as_bytes();
            let whole = body_length(bytes).expect("well-formed");
            let mut framing = Framing::chunked();
            let first = framing.take(&bytes[..cut.min(bytes.len())]).expect("well-formed");
            let second = framing.take(&bytes[first..]).expect("well-formed");
            prop_assert!(framing.is_complete());
            prop_assert_eq!(Some(first + second), whole);
        }
    }
}
