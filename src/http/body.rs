//! The body of an answer as hyper takes it: whole, or in pieces as they come.
//!
//! Runs in the supervisor. The end of the body is the end of the exchange, whichever form it has: only then is the request
//! logged, only then does the gate count it as answered. Dropping it before its end means that the client went away.

use super::gate::Signals;
use super::line::Line;
use super::pieces::{Piece, Source};
use bytes::Bytes;
use hyper::body::{Frame, SizeHint};
use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll};

/// A body on its way to the client.
pub(super) struct Body {
    content: Content,
    /// Dropped after the content.
    end: End,
}

pub(super) enum Content {
    /// All of it; `None` once hyper has it.
    Whole(Option<Bytes>),
    /// What comes until the source ends.
    Pieces(Source),
}

/// What happens when the body is at its end, or is given up.
struct End {
    line: Line,
    signals: Arc<Signals>,
}

impl Drop for End {
    fn drop(&mut self) {
        // The next flush is this answer's last.
        self.signals.answered.store(true, Ordering::Relaxed);
    }
}

impl Body {
    pub(super) fn new(content: Content, line: Line, signals: Arc<Signals>) -> Self {
        Self { content, end: End { line, signals } }
    }
}

impl hyper::body::Body for Body {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let Self { content, end } = self.get_mut();
        let bytes = match content {
            Content::Whole(bytes) => Poll::Ready(bytes.take()),
            Content::Pieces(source) => match source.poll_next(cx) {
                Poll::Pending => Poll::Pending,
                Poll::Ready(Piece::Bytes(bytes)) => {
                    end.line.bytes_out += bytes.len();
                    Poll::Ready(Some(bytes))
                }
                Poll::Ready(Piece::End(ending)) => {
                    end.line.end(ending);
                    Poll::Ready(None)
                }
            },
        };
        bytes.map(|bytes| bytes.map(|bytes| Ok(Frame::data(bytes))))
    }

    fn is_end_stream(&self) -> bool {
        match &self.content {
            Content::Whole(bytes) => bytes.as_ref().is_none_or(Bytes::is_empty),
            Content::Pieces(_) => false,
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.content {
            Content::Whole(bytes) => SizeHint::with_exact(bytes.as_ref().map_or(0, |bytes| bytes.len() as u64)),
            Content::Pieces(_) => SizeHint::default(),
        }
    }
}
