//! A script's output as text that comes in pieces.
//!
//! Runs in the supervisor; pure. The bytes are a script's: what is made of them is the text that a plain answer has, whatever way they
//! were cut, and never more of it than may be kept.

use std::io::Write as _;

/// The most text in one event, in bytes. JSON makes six of one at worst.
const LONGEST_TEXT: usize = 16 * 1024;

/// One of the two streams, as far as it was sent.
#[derive(Debug, Default)]
pub(super) struct Text {
    /// The first bytes of a character whose others are still to come.
    begun: Vec<u8>,
    /// How many bytes were sent, or are in `begun`.
    pub(super) kept: usize,
    /// How many were written.
    pub(super) total: u64,
    /// Whether something was lost, so that nothing more of it is sent.
    pub(super) is_cut: bool,
}

impl Text {
    /// What can be said of these bytes now: whole characters.
    pub(super) fn hear(&mut self, bytes: &[u8], cap: usize) -> String {
        self.total += bytes.len() as u64;
        if self.is_cut {
            return String::new();
        }
        let room = cap - self.kept;
        let taken = &bytes[..room.min(bytes.len())];
        self.is_cut = taken.len() < bytes.len();
        self.kept += taken.len();
        self.begun.extend_from_slice(taken);
        let whole = match std::str::from_utf8(&self.begun) {
            Ok(_) => self.begun.len(),
            Err(_) => self.begun.len() - unfinished(&self.begun),
        };
        let rest = self.begun.split_off(whole);
        let said = String::from_utf8_lossy(&std::mem::replace(&mut self.begun, rest)).into_owned();
        if self.is_cut {
            // A character cut in two is left out.
            self.begun.clear();
        }
        said
    }

    /// The last so many bytes were not sent, and nothing more will be.
    pub(super) fn lose(&mut self, bytes: usize) {
        self.is_cut = true;
        self.kept = self.kept.saturating_sub(bytes + self.begun.len());
        self.begun.clear();
    }

    /// What is left at the end: a character that was never finished.
    pub(super) fn rest(&mut self) -> Option<String> {
        let begun = std::mem::take(&mut self.begun);
        (!begun.is_empty()).then(|| String::from_utf8_lossy(&begun).into_owned())
    }
}

/// How many bytes at the end are the beginning of a character.
fn unfinished(bytes: &[u8]) -> usize {
    (1..=bytes.len().min(3))
        .find(|&count| {
            let tail = &bytes[bytes.len() - count..];
            tail[0] >= 0xc0 && std::str::from_utf8(tail).is_err_and(|error| error.error_len().is_none())
        })
        .unwrap_or(0)
}

/// A text in parts that fit an event each.
pub(super) fn parts(text: &str) -> impl Iterator<Item = &str> {
    let mut rest = text;
    std::iter::from_fn(move || {
        let mut end = rest.len().min(LONGEST_TEXT);
        while !rest.is_char_boundary(end) {
            end -= 1;
        }
        let (part, others) = rest.split_at(end);
        rest = others;
        (!part.is_empty()).then_some(part)
    })
}

/// JSON with every other character escaped: no parser of lines can take one of them for the end of a line.
pub(super) fn in_ascii(json: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(json.len());
    for chunk in json.utf8_chunks() {
        for character in chunk.valid().chars() {
            if character.is_ascii() {
                // ASCII is one byte.
                out.push(character as u8);
                continue;
            }
            for unit in character.encode_utf16(&mut [0; 2]) {
                let _ = write!(out, "\\u{unit:04x}");
            }
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn json_in_ascii_is_the_same_json() {
        let json = "{\"a\":\"é\u{2028}😀\\n\"}";
        let ascii = in_ascii(json.as_bytes());
        assert_eq!(String::from_utf8_lossy(&ascii), "{\"a\":\"\\u00e9\\u2028\\ud83d\\ude00\\n\"}");
        let (before, after): (serde_json::Value, serde_json::Value) =
            (serde_json::from_str(json).expect("JSON"), serde_json::from_slice(&ascii).expect("JSON"));
        assert_eq!(before, after);
    }

    #[test]
    fn a_stream_that_was_cut_ends_with_a_whole_character() {
        let mut text = Text::default();
        assert_eq!(text.hear("aé€".as_bytes(), 5), "aé");
        assert_eq!((text.hear(b"more", 5), text.rest()), (String::new(), None));
        assert_eq!((text.kept, text.total, text.is_cut), (5, 10, true));
    }

    proptest! {
        /// However a text comes, what is said of it is what a plain answer says.
        #[test]
        fn pieces_make_the_same_text(bytes in proptest::collection::vec(any::<u8>(), 0..60), cuts in proptest::collection::vec(0_usize..60, 0..6)) {
            let mut cuts: Vec<usize> = cuts.into_iter().map(|cut| cut.min(bytes.len())).collect();
            cuts.sort_unstable();
            let (mut text, mut said, mut at) = (Text::default(), String::new(), 0);
            for cut in cuts.into_iter().chain([bytes.len()]) {
                said += &text.hear(&bytes[at..cut], 1000);
                at = cut;
            }
            said += &text.rest().unwrap_or_default();
            prop_assert_eq!(said, String::from_utf8_lossy(&bytes).into_owned());
        }

        #[test]
        fn parts_are_all_of_it(text in "\\PC{0,40}") {
            let long = text.repeat(2000);
            prop_assert_eq!(parts(&long).collect::<String>(), long.clone());
            prop_assert!(parts(&long).all(|part| part.len() <= LONGEST_TEXT));
        }
    }
}
