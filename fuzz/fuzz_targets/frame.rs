//! The frame decoder under arbitrary bytes: what a hostile child can send, from the length prefix to the client's JSON.
//!
//! Besides panics, which libFuzzer sees by itself, this holds the promises that a caller builds on: memory taken is bounded by
//! the frame's size, a value nests no deeper than allowed, its JSON is JSON and within its limit, and what was decoded says
//! the same when it is encoded again.
//!
//! The service's own files are included rather than linked, so that the fuzzer instruments them and nothing else: the service as
//! a library brings an interpreter and an HTTP server along.
#![no_main]

#[expect(dead_code, reason = "only the decoding half is used")]
#[path = "../../src/manner.rs"]
mod manner;
#[expect(dead_code, reason = "only the decoding half is used")]
#[path = "../../src/outcome.rs"]
mod outcome;
#[expect(dead_code, reason = "only the decoding half is used")]
#[path = "../../src/size.rs"]
mod size;
#[expect(dead_code, reason = "only the decoding half is used")]
#[path = "../../src/value.rs"]
mod value;
#[path = "../../src/wire.rs"]
mod wire;

use libfuzzer_sys::fuzz_target;
use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use value::{MAX_DEPTH, Token, Value};
use wire::{Down, HEADER, MAX_FRAME, Reply, Up};

/// The largest JSON text asked for.
const JSON_LIMIT: usize = 1 << 16;

/// The most tokens of a value asked for.
const MOST_TOKENS: usize = 16;

/// What decoding a frame may take at once, in bytes: serde reserves at most a mebibyte on the word of a claimed length, and three
/// such can be open at once (a job's two lists, and bytes in the second); the smallest token is one byte on the wire and 32 in memory, with a list half full and its predecessor three times that; a text's
/// claimed length is believed up to 128 times what is there (`wire::decode`).
const fn bound(payload: usize) -> usize {
    (3 << 20) + 16_384 + payload * (32 * 3 + 128)
}

/// Counts the bytes that are allocated, and the most there were at once.
struct Counting;

thread_local! {
    static NOW: Cell<usize> = const { Cell::new(0) };
    static PEAK: Cell<usize> = const { Cell::new(0) };
}

fn count(more: usize, less: usize) {
    // Gone only while the thread ends.
    let _ = NOW.try_with(|now| {
        now.set(now.get().wrapping_add(more).wrapping_sub(less));
        let _ = PEAK.try_with(|peak| peak.set(peak.get().max(now.get())));
    });
}

// SAFETY: every call is handed to the system's allocator as it came.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(layout.size(), 0);
        unsafe { System.alloc(layout) }
    }
    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        count(0, layout.size());
        unsafe { System.dealloc(pointer, layout) }
    }
    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        // For a moment both may be there.
        count(size, 0);
        count(0, layout.size());
        unsafe { System.realloc(pointer, layout, size) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Decodes, and checks what it took.
fn decode<M: serde::de::DeserializeOwned>(payload: &[u8]) -> Option<M> {
    let before = NOW.get();
    PEAK.set(before);
    let message = wire::decode(payload).ok();
    let taken = PEAK.get() - before;
    assert!(taken <= bound(payload.len()), "{taken} bytes taken for a payload of {}", payload.len());
    message
}

/// The same bytes again: nothing of a message is lost or added.
fn survives<M: serde::Serialize + serde::de::DeserializeOwned>(message: &M) {
    let frame = wire::encode(message).expect("it was within a frame");
    let header = *frame.first_chunk::<HEADER>().expect("a header");
    assert_eq!(wire::payload_length(header, MAX_FRAME), Ok(frame.len() - HEADER));
    let again: M = wire::decode(&frame[HEADER..]).expect("our own encoding");
    assert_eq!(wire::encode(&again).as_ref(), Ok(&frame));
}

fn deepest(json: &[u8]) -> usize {
    let (mut depth, mut deepest, mut in_text, mut escaped) = (0usize, 0, false, false);
    for byte in json {
        match byte {
            _ if escaped => escaped = false,
            b'\\' => escaped = true,
            b'"' => in_text = !in_text,
            _ if in_text => {}
            b'[' | b'{' => {
                depth += 1;
                deepest = deepest.max(depth);
            }
            b']' | b'}' => depth -= 1,
            _ => {}
        }
    }
    deepest
}

fn shown(tokens: Vec<Token>) {
    let Ok(value) = Value::try_from(tokens) else { return };
    let mut json = b"before".to_vec();
    if value.write_json(&mut json, JSON_LIMIT).is_ok() {
        let json = json.strip_prefix(b"before").expect("what was there stays");
        assert!(json.len() <= JSON_LIMIT);
        assert!(deepest(json) <= MAX_DEPTH);
        // Its reader gives up at the very depth that is allowed here, so the deepest are left to `deepest`.
        if deepest(json) < MAX_DEPTH {
            serde_json::from_slice::<&serde_json::value::RawValue>(json).expect("JSON");
        }
    }
}

fuzz_target!(|frame: &[u8]| {
    let Some((header, payload)) = frame.split_first_chunk::<HEADER>() else { return };
    for cap in [0, 64, JSON_LIMIT, MAX_FRAME, usize::MAX] {
        let claimed = u32::from_le_bytes(*header) as usize;
        let fits = claimed > 0 && claimed <= cap.min(MAX_FRAME);
        assert_eq!(wire::payload_length(*header, cap).ok(), fits.then_some(claimed));
    }
    if let Some(told) = decode::<Down>(payload) {
        survives(&told);
    }
    // The way that the supervisor takes: a value of more tokens than allowed is not decoded.
    if let Ok(Up::Done(Reply::Value(tokens, _))) = wire::decode_up(payload, MOST_TOKENS) {
        assert!(tokens.len() <= MOST_TOKENS);
    }
    if let Some(said) = decode::<Up>(payload) {
        survives(&said);
        if let Up::Done(Reply::Value(tokens, _)) = said {
            shown(tokens);
        }
    }
});
