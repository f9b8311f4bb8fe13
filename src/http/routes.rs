//! Which path and method is answered how, and what every answer has in common.
//!
//! Runs in the supervisor.

use super::Front;
use super::answer::{self, Answer, REQUEST_ID, Sending};
use super::execute::execute;
use super::gate::{LARGEST_HEAD, Signals};
use super::head;
use super::line::Line;
use super::presence::Presence;
use crate::service::Service;
use bytes::Bytes;
use http_body_util::Full;
use hyper::body::{Body, Incoming};
use hyper::{HeaderMap, Method, Request, Response, StatusCode, Version};
use std::sync::Arc;
use std::sync::atomic::Ordering;

const NO_SUCH_PATH: &str =
    "No such path. There are POST /execute and GET /healthz, /livez, /readyz, /version, /capabilities.";

/// What there is to be asked for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Route {
    Execute,
    Health,
    Ready,
    Version,
    Capabilities,
    None,
}

impl Route {
    fn of(path: &str) -> (Self, &'static str) {
        match path {
            "/execute" => (Self::Execute, "/execute"),
            "/healthz" => (Self::Health, "/healthz"),
            "/livez" => (Self::Health, "/livez"),
            "/readyz" => (Self::Ready, "/readyz"),
            "/version" => (Self::Version, "/version"),
            "/capabilities" => (Self::Capabilities, "/capabilities"),
            _ => (Self::None, "-"),
        }
    }

    fn methods(self) -> &'static str {
        match self {
            Self::Execute => "POST",
            _ => "GET, HEAD",
        }
    }

    fn takes(self, method: &Method) -> bool {
        match self {
            Self::Execute => method == Method::POST,
            _ => method == Method::GET || method == Method::HEAD,
        }
    }
}

/// Answers one request.
pub(super) async fn respond<S: Service>(
    front: Arc<Front<S>>,
    presence: Arc<Presence>,
    signals: Arc<Signals>,
    request: Request<Incoming>,
) -> Response<Full<Bytes>> {
    presence.touch();
    let id = front.ids.take(request.headers().get(REQUEST_ID));
    let (route, name) = Route::of(request.uri().path());
    let isolation = front.service.isolation();
    let mut line = Line::begin(id, request.method(), name, isolation);
    let head_only = request.method() == Method::HEAD;

    let answer = if is_head_too_large(&request) {
        Answer::error(head::TOO_LARGE.status, "malformed", head::TOO_LARGE.message).unread()
    } else if route == Route::Execute && route.takes(request.method()) {
        execute(&front, &presence, request, &mut line).await
    } else {
        let answer = answer_without_body(&*front.service, route, request.method());
        // Nobody reads a body that should not be there: the connection ends instead.
        if request.body().is_end_stream() { answer } else { answer.unread() }
    };

    line.answer(answer.status, answer.code, answer.spent, answer.body.len());
    let close = !answer.is_read || signals.draining.load(Ordering::Relaxed);
    let sending =
        Sending { id: line.id.clone(), isolation: (route == Route::Execute).then_some(isolation), close, head_only };
    let response = answer::respond(answer, sending);
    signals.answered.store(true, Ordering::Relaxed);
    response
}

/// Whether an HTTP/2 request's headers are larger than HTTP/1's may be, which the gate has seen to.
fn is_head_too_large(request: &Request<Incoming>) -> bool {
    let size = |headers: &HeaderMap| headers.iter().map(|(name, value)| name.as_str().len() + value.len() + 4).sum();
    request.version() == Version::HTTP_2 && LARGEST_HEAD < size(request.headers())
}

/// Everything but `POST /execute`.
fn answer_without_body<S: Service>(service: &S, route: Route, method: &Method) -> Answer {
    // CONNECT has an authority in place of a path.
    if method == Method::CONNECT {
        return method_not_allowed("GET, HEAD, POST");
    }
    if route == Route::None {
        return Answer::error(StatusCode::NOT_FOUND, "not_found", NO_SUCH_PATH);
    }
    if !route.takes(method) {
        return method_not_allowed(route.methods());
    }
    match route {
        Route::Ready if !service.ready() => {
            not_now("not ready: no interpreter is warm, or the service is shutting down")
        }
        Route::Health if !service.alive() => not_now("not alive"),
        Route::Ready => Answer::new(StatusCode::OK, "ok", br#"{"status":"ready"}"#.to_vec()),
        Route::Version => Answer::new(StatusCode::OK, "ok", version()),
        Route::Capabilities => Answer::new(StatusCode::OK, "ok", capabilities(service)),
        Route::Health | Route::Execute | Route::None => {
            Answer::new(StatusCode::OK, "ok", br#"{"status":"alive"}"#.to_vec())
        }
    }
}

fn method_not_allowed(methods: &'static str) -> Answer {
    let message = format!("Method not allowed here. Allowed: {methods}.");
    let mut answer = Answer::error(StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", &message);
    answer.allow = Some(methods);
    answer
}

fn not_now(message: &str) -> Answer {
    Answer::error(StatusCode::SERVICE_UNAVAILABLE, "not_ready", message)
}

fn capabilities<S: Service>(service: &S) -> Vec<u8> {
    // Writing plain data to memory can't fail.
    serde_json::to_vec(&service.capabilities()).unwrap_or_default()
}

fn version() -> Vec<u8> {
    format!(r#"{{"name":"mayfly","version":"{}"}}"#, env!("CARGO_PKG_VERSION")).into_bytes()
}
