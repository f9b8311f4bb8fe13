//! Room for what is decoded, in a process that may have no memory for it.
//!
//! Used in a child, which has a limit of its own: what it can't hold must be told in words, and never end it.

use crate::value::Token;
use serde::de::{Deserializer, Error, SeqAccess, Visitor};
use std::fmt;

/// What the decoder is told where memory ran out.
pub(super) const NO_MEMORY: &str = "no memory";

/// A list longer than this is looked after.
const SHORT_LIST: usize = 1024;

/// What the C library takes from the system at once, at least, for small allocations (`MMAP_AS_MORECORE_SIZE` in malloc.c).
const GRANULE: usize = 1024 * 1024;

/// Whether that many bytes could be had now.
pub(super) fn is_there_memory(bytes: usize) -> bool {
    Vec::<u8>::new().try_reserve_exact(bytes).is_ok()
}

/// A list of tokens, which may run this process, a child, out of the memory it may have; [`NO_MEMORY`] where it can't be held.
pub(super) fn tokens_where_there_is_memory<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<Token>, D::Error> {
    deserializer.deserialize_seq(TokenList)
}

struct TokenList;

impl<'de> Visitor<'de> for TokenList {
    type Value = Vec<Token>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list of tokens")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut sequence: A) -> Result<Vec<Token>, A::Error> {
        let no_memory = || A::Error::custom(NO_MEMORY);
        let mut tokens = Vec::new();
        while let Some(token) = sequence.next_element()? {
            if tokens.len() == tokens.capacity() {
                let more = tokens.len().max(16);
                tokens.try_reserve_exact(more).map_err(|_| no_memory())?;
                // The short texts among them take as much again; the allocation of one can't fail in a better way.
                if more > SHORT_LIST && !is_there_memory(more * size_of::<Token>() + GRANULE) {
                    return Err(no_memory());
                }
            }
            tokens.push(token);
        }
        Ok(tokens)
    }
}
