//! What the machine, or the container around us, can carry.
//!
//! Used in the supervisor. It only reads, and decides nothing.

pub mod memory;

use self::memory::Memory;
use crate::size::ByteSize;
use std::sync::OnceLock;

/// Scripts a core may run at once: most wait for something or are short, and a place costs nothing while it is empty.
const PLACES_PER_CORE: usize = 16;

/// Requests that one connection may have at once, however much memory there is: what one client alone can make us do.
const MOST_STREAMS: u32 = 64;

/// Kept for the supervisor and the zygotes when memory is shared out.
const RESERVE: u64 = 200 * 1024 * 1024;

/// The cores this process may use, control group limits included. Found once: it takes a dozen system calls.
#[must_use]
pub fn cores() -> usize {
    static CORES: OnceLock<usize> = OnceLock::new();
    *CORES.get_or_init(|| std::thread::available_parallelism().map_or(1, usize::from))
}

/// How many scripts may run at once: by cores, and no more than fit the memory if each uses all it may.
#[must_use]
pub fn concurrency(cores: usize, memory_each: ByteSize) -> usize {
    let by_cores = cores * PLACES_PER_CORE;
    let by_memory = memory().map_or(by_cores, |ByteSize(all)| {
        usize::try_from(all.saturating_sub(RESERVE) / memory_each.0.max(1)).unwrap_or(by_cores)
    });
    by_cores.min(by_memory).max(1)
}

/// How many connections there may be, and how many requests each may have at once, so that all together fit `memory` if each takes
/// `request`: the connections come first.
#[must_use]
pub fn streams(memory: ByteSize, request: ByteSize, connections: usize) -> (usize, u32) {
    let all = usize::try_from(memory.0 / request.0.max(1)).unwrap_or(usize::MAX);
    let connections = connections.min(all).max(1);
    (connections, u32::try_from(all / connections).unwrap_or(u32::MAX).clamp(1, MOST_STREAMS))
}

/// The memory this process may use: the smallest of the machine's and its control groups'.
#[must_use]
pub fn memory() -> Option<ByteSize> {
    Memory::here().total()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn streams_fit_the_memory() {
        let of = |memory, connections| streams(ByteSize::mebibytes(memory), ByteSize(16 * 1024), connections);
        assert_eq!(of(3072, 1024), (1024, 64), "more are of no use");
        assert_eq!(of(128, 1024), (1024, 8));
        assert_eq!(of(16, 1024), (1024, 1));
        assert_eq!(of(3, 1024), (192, 1), "fewer connections, where one request each is too many");
        assert_eq!(of(0, 1024), (1, 1));
    }
}
