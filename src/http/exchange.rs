//! One exchange: a request, and the answer that it gets.
//!
//! Runs in the supervisor. It is what a handler sees of a connection: head, client, body, and what may be held. Whatever becomes of
//! it, the request has its line in the log.

use super::answer::{Answer, REQUEST_ID, Sending, respond};
use super::body::Body;
use super::budget::{Budget, Carrier, Held, STREAM};
use super::gate::{LARGEST_HEAD, Signals};
use super::line::Line;
use super::pieces::{self, Pieces};
use super::presence::{Busy, Presence};
use super::received::{self, BodyFault};
use super::{Front, Handler, Settings};
use crate::client::Client;
use crate::errors::Refused;
use crate::proxies::Proxies;
use crate::size::ByteSize;
use bytes::Bytes;
use hyper::body::{Body as _, Incoming};
use hyper::header::{HOST, ORIGIN};
use hyper::http::request::Parts;
use hyper::{HeaderMap, Method, Request, Response, Version};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use tokio::task::AbortHandle;
use tokio::time::Instant;

/// Where a proxy writes whom it speaks for.
const FORWARDED_FOR: &str = "x-forwarded-for";

/// What an exchange shares with its connection.
#[derive(Clone)]
pub(super) struct Wire {
    pub(super) client: Client,
    pub(super) presence: Arc<Presence>,
    pub(super) signals: Arc<Signals>,
}

/// A request on its way to an answer.
pub struct Exchange {
    head: Parts,
    /// `None` once it was read.
    body: Option<Incoming>,
    wire: Wire,
    settings: Arc<Settings>,
    budget: Arc<Budget>,
    busy: Option<Busy>,
    /// What the stream counts for, over HTTP/2, and what its head does, which goes with the exchange.
    stream: Option<Held>,
    head_held: Option<Held>,
    line: Line,
}

/// Room that something takes, until this is dropped.
pub struct Room {
    _held: Option<Held>,
}

impl Exchange {
    /// The method.
    #[must_use]
    pub fn method(&self) -> &Method {
        &self.head.method
    }

    /// The path, as it was sent.
    #[must_use]
    pub fn path(&self) -> &str {
        self.head.uri.path()
    }

    /// The headers.
    #[must_use]
    pub fn headers(&self) -> &HeaderMap {
        &self.head.headers
    }

    /// Who asks.
    #[must_use]
    pub fn client(&self) -> Client {
        self.wire.client
    }

    /// Reads the whole body, of at most `size` bytes.
    ///
    /// # Errors
    /// See [`BodyFault`]; the connection ends with the answer then.
    pub async fn read_body(&mut self, size: ByteSize) -> Result<Bytes, BodyFault> {
        let Some(body) = self.body.take() else { return Ok(Bytes::new()) };
        let read = received::read(body, size, self.settings.body_time, &self.budget, self.carrier()).await?;
        self.line.bytes_in = read.len();
        Ok(read)
    }

    /// Counts `bytes` that the request takes in memory.
    #[must_use]
    pub fn hold(&self, bytes: usize) -> Room {
        Room { _held: self.budget.count(bytes, self.carrier()) }
    }

    /// The request was read and is worked on from now on: its connection is not closed to make room for others. `false` when it
    /// was closed just before.
    #[must_use]
    pub fn begin(&mut self) -> bool {
        self.busy = self.wire.presence.begin();
        self.busy.is_some()
    }

    /// An answer in pieces, which the task that `start` spawns puts as they come. The client may lag behind by `most` bytes.
    #[must_use]
    pub fn stream(
        &mut self,
        content_type: &'static str,
        most: ByteSize,
        start: impl FnOnce(Pieces) -> AbortHandle,
    ) -> Answer {
        let (time, budget) = (self.settings.body_time, Arc::clone(&self.budget));
        let presence = Arc::clone(&self.wire.presence);
        let busy = self.busy.take().or_else(|| presence.begin());
        let kept = (busy, self.stream.take());
        let source = pieces::channel(most.as_usize(), time, budget, presence, kept, start);
        Answer::in_pieces(content_type, source)
    }

    fn carrier(&self) -> Carrier {
        if self.head.version == Version::HTTP_2 { Carrier::Stream } else { Carrier::Connection }
    }

    /// Counts what a stream of HTTP/2 takes whatever comes of it; `false` when its head is a large one and there is no room for it.
    fn count_stream(&mut self) -> bool {
        if self.carrier() == Carrier::Connection {
            return true;
        }
        self.stream = Some(self.budget.count_all(STREAM));
        self.head_held = self.budget.count(size_of_head(&self.head.headers), Carrier::Stream);
        self.head_held.is_none() || self.budget.has_room()
    }

    /// Whether the head, over HTTP/2, is larger than over HTTP/1, where the gate has seen to it.
    fn is_head_too_large(&self) -> bool {
        self.head.version == Version::HTTP_2 && LARGEST_HEAD < size_of_head(&self.head.headers)
    }

    /// The answer to a request that is meant for another server, or that a web page of another origin posts.
    fn is_not_ours(&self) -> Option<Answer> {
        let hosts = &self.settings.hosts;
        let named = self.head.uri.authority().map(|authority| Some(authority.as_str()));
        let mut named = named.into_iter().chain(self.head.headers.get_all(HOST).iter().map(|host| host.to_str().ok()));
        let first = named.next();
        // What can't be read as text is not our name.
        if !first.into_iter().chain(named).all(|name| name.is_some_and(|name| hosts.serve(name))) {
            return Some(Answer::refused(Refused::WrongHost));
        }
        let mut origins = self.head.headers.get_all(ORIGIN).iter().map(|origin| origin.to_str());
        let is_trusted = |origin: Result<&str, _>| origin.is_ok_and(|origin| hosts.trust(origin, first.flatten()));
        if self.head.method == Method::POST && !origins.all(is_trusted) {
            return Some(Answer::refused(Refused::ForeignOrigin));
        }
        None
    }

    /// Whether there is, or may be, a body that nobody read.
    fn has_unread_body(&self) -> bool {
        self.body.as_ref().is_some_and(|body| !body.is_end_stream())
    }

    /// Counts what the answer holds, and from when on it is the client's to take.
    fn settle(&mut self, answer: &mut Answer) {
        let Some(size) = answer.size_in_memory() else { return };
        let carrier = self.carrier();
        let mut held = self.budget.count(size, carrier);
        if held.is_some() && !self.budget.has_room() {
            // The script has run, and nothing of it is left: it can run again.
            *answer = Answer::no_room();
            (self.busy, held) = (None, None);
        }
        if carrier == Carrier::Stream {
            // Over HTTP/1 the gate sees to it.
            answer.delivery = Some(self.wire.presence.deliver(Instant::now() + self.settings.body_time));
        }
        answer.busy = self.busy.take();
        answer.held = [held, self.stream.take()];
    }

    fn finish(mut self, mut answer: Answer) -> Response<Body> {
        if self.has_unread_body() {
            // Nobody reads it: the connection ends instead.
            answer = answer.unread();
        }
        self.settle(&mut answer);
        self.line.answer(answer.status, answer.code, answer.spent, answer.size());
        let sending = Sending {
            id: self.line.id.clone(),
            close: self.carrier() == Carrier::Connection
                && (!answer.is_read || self.wire.signals.draining.load(Ordering::Relaxed)),
            head_only: self.head.method == Method::HEAD,
        };
        respond(answer, sending, self.line, self.wire.signals)
    }
}

fn size_of_head(headers: &HeaderMap) -> usize {
    headers.iter().map(|(name, value)| name.as_str().len() + value.len() + 4).sum()
}

/// Who asks: whoever connected, or whom that one names if it is a proxy.
fn asks(proxies: &Proxies, peer: Client, headers: &HeaderMap) -> Client {
    if proxies.is_empty() {
        return peer;
    }
    let lines = headers.get_all(FORWARDED_FOR).iter().map(|line| line.to_str().ok());
    proxies.client(peer.address, lines).map_or(peer, |address| peer.naming(address))
}

/// Answers one request.
pub(super) async fn run<H: Handler>(
    front: Arc<Front<H>>,
    mut wire: Wire,
    request: Request<Incoming>,
) -> Response<Body> {
    wire.presence.touch();
    let (head, body) = request.into_parts();
    wire.client = asks(&front.settings.proxies, wire.client, &head.headers);
    let id = front.ids.take(head.headers.get(REQUEST_ID));
    let route = front.handler.route(head.uri.path());
    let mut line = Line::begin(id, &head.method, route, wire.client, front.handler.isolation());
    line.is_health_check = front.handler.is_health_check(head.uri.path());
    let (settings, budget) = (Arc::clone(&front.settings), Arc::clone(&front.budget));
    let mut exchange =
        Exchange { head, body: Some(body), wire, settings, budget, busy: None, stream: None, head_held: None, line };
    let has_room = exchange.count_stream();
    let answer = if exchange.is_head_too_large() {
        Answer::refused(Refused::HeadTooLarge).unread()
    } else if !has_room {
        Answer::no_room().unread()
    } else if let Some(answer) = exchange.is_not_ours().filter(|_| !exchange.line.is_health_check) {
        answer
    } else {
        front.handler.handle(&mut exchange).await
    };
    exchange.finish(answer)
}
