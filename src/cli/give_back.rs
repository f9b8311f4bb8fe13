//! Gives memory back to the system after a burst.
//!
//! Runs in the supervisor, one task. What many clients made us hold is freed when they are served or leave, and stays with the C
//! allocator: in small blocks, between others that are in use. Scripts and zygotes need it, and a limit on the container counts it.
//! It must never be in a request's way: it looks once a second, and does nothing as long as memory is about what it was at first.

use crate::sys::memory;
use std::time::Duration;
use tokio::task::spawn_blocking;
use tokio::time::sleep;

/// How often it looks, and how often at least while there is nothing to give back, because all of it is in use.
const LOOK: Duration = Duration::from_secs(1);
const RARELY: Duration = Duration::from_secs(8);

/// How much more than at first, in bytes, is left alone.
const SLACK: u64 = 8 * 1024 * 1024;

/// For as long as the server runs; begun before it serves anybody.
pub(super) async fn after_bursts() {
    let mut pause = LOOK;
    // Before the first client.
    let Some(first) = resident() else { return };
    loop {
        sleep(pause).await;
        pause = LOOK;
        let Some(resident) = resident() else { return };
        if resident <= first + SLACK {
            continue;
        }
        // Fails only when the runtime ends, and this with it.
        let _ = spawn_blocking(memory::give_back_what_is_free).await;
        let given = resident.saturating_sub(self::resident().unwrap_or(resident));
        if given < SLACK / 8 {
            pause = RARELY;
        }
    }
}

/// How much memory this process has, in bytes (`proc_pid_statm(5)`).
fn resident() -> Option<u64> {
    let text = std::fs::read_to_string("/proc/self/statm").ok()?;
    let pages: u64 = text.split_whitespace().nth(1)?.parse().ok()?;
    u64::try_from(memory::page_size()).ok()?.checked_mul(pages)
}
