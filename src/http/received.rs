//! Reads a request's body: all of it, within its size and its time, or not at all.
//!
//! Runs in the supervisor. hyper has no deadline for a body and no limit on it.

use super::budget::{Budget, Carrier, Held, SMALL};
use crate::size::ByteSize;
use bytes::Bytes;
use http_body_util::BodyExt;
use hyper::body::{Body, Incoming};
use std::sync::Arc;
use std::time::Duration;

/// Why there is no body. The connection can't be used again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BodyFault {
    /// It is larger than allowed.
    TooLarge,
    /// It did not arrive in time.
    TooSlow,
    /// It ended early, or its framing is broken.
    Broken,
    /// Too much is held for other clients already.
    NoRoom,
}

/// What has arrived so far.
#[derive(Default)]
struct Arrived {
    bytes: Vec<u8>,
    held: Option<Held>,
}

/// Reads the whole body.
pub(super) async fn read(
    body: Incoming,
    size: ByteSize,
    time: Duration,
    budget: &Arc<Budget>,
    carrier: Carrier,
) -> Result<Bytes, BodyFault> {
    let announced = body.size_hint().lower();
    if announced > size.0 {
        return Err(BodyFault::TooLarge);
    }
    if (carrier == Carrier::Stream || announced > SMALL as u64) && !budget.has_room() {
        return Err(BodyFault::NoRoom);
    }
    let whole = collect(body, size.as_usize(), budget, carrier);
    tokio::time::timeout(time, whole).await.map_err(|_| BodyFault::TooSlow)?
}

async fn collect(mut body: Incoming, size: usize, budget: &Arc<Budget>, carrier: Carrier) -> Result<Bytes, BodyFault> {
    let mut arrived = Arrived::default();
    while let Some(frame) = body.frame().await {
        // Trailers are dropped: nothing here reads them.
        let Ok(piece) = frame.map_err(|_| BodyFault::Broken)?.into_data() else { continue };
        if piece.len() > size.saturating_sub(arrived.bytes.len()) {
            return Err(BodyFault::TooLarge);
        }
        if arrived.bytes.is_empty() && body.is_end_stream() {
            return Ok(piece);
        }
        arrived.bytes.extend_from_slice(&piece);
        arrived.held = budget.count(arrived.bytes.capacity(), carrier);
        if arrived.held.is_some() && !budget.has_room() {
            return Err(BodyFault::NoRoom);
        }
    }
    Ok(Bytes::from(arrived.bytes))
}
