//! The table of routes: what there is to be asked for, by which methods, and what answers.
//!
//! Runs in the supervisor. Dispatch, 404, 405 and the name in the log all read the one table; a path that is not in it does not exist.

use super::Api;
use super::execute::execute;
use crate::errors::Refused;
use crate::http::{Answer, Exchange};
use crate::service::Service;
use hyper::{Method, StatusCode};

/// A path and what answers there.
#[derive(Debug, Clone, Copy)]
struct Route {
    path: &'static str,
    verb: Verb,
    endpoint: Endpoint,
}

/// By which methods a route is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Verb {
    /// GET, and HEAD for its headers.
    Get,
    /// POST.
    Post,
}

/// What answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Endpoint {
    Execute,
    Alive,
    Ready,
    Version,
    Capabilities,
}

const ROUTES: &[Route] = &[
    Route { path: "/execute", verb: Verb::Post, endpoint: Endpoint::Execute },
    Route { path: "/healthz", verb: Verb::Get, endpoint: Endpoint::Alive },
    Route { path: "/livez", verb: Verb::Get, endpoint: Endpoint::Alive },
    Route { path: "/readyz", verb: Verb::Get, endpoint: Endpoint::Ready },
    Route { path: "/version", verb: Verb::Get, endpoint: Endpoint::Version },
    Route { path: "/capabilities", verb: Verb::Get, endpoint: Endpoint::Capabilities },
];

impl Verb {
    fn methods(self) -> &'static str {
        match self {
            Self::Post => "POST",
            Self::Get => "GET, HEAD",
        }
    }

    fn takes(self, method: &Method) -> bool {
        match self {
            Self::Post => method == Method::POST,
            Self::Get => method == Method::GET || method == Method::HEAD,
        }
    }
}

fn find(path: &str) -> Option<&'static Route> {
    ROUTES.iter().find(|route| route.path == path)
}

/// What a path is called in the log.
pub(super) fn name(path: &str) -> &'static str {
    find(path).map_or("-", |route| route.path)
}

/// Whether a path only tells how the service is.
pub(super) fn is_health_check(path: &str) -> bool {
    find(path).is_some_and(|route| matches!(route.endpoint, Endpoint::Alive | Endpoint::Ready))
}

/// Answers one request.
pub(super) async fn answer<S: Service>(api: &Api<S>, exchange: &mut Exchange) -> Answer {
    let route = find(exchange.path());
    let mut answer = match route {
        // CONNECT has an authority in place of a path.
        _ if exchange.method() == Method::CONNECT => method_not_allowed("GET, HEAD, POST"),
        None => Answer::refused_with(Refused::NotFound, &no_such_path()),
        Some(route) if !route.verb.takes(exchange.method()) => method_not_allowed(route.verb.methods()),
        Some(route) => match route.endpoint {
            Endpoint::Execute => execute(api, exchange).await,
            Endpoint::Alive => alive(&*api.service),
            Endpoint::Ready => ready(&*api.service),
            Endpoint::Version => Answer::new(StatusCode::OK, "ok", version()),
            Endpoint::Capabilities => Answer::new(StatusCode::OK, "ok", capabilities(&*api.service)),
        },
    };
    if route.is_some_and(|route| route.endpoint == Endpoint::Execute) {
        answer.isolation = Some(api.service.isolation());
    }
    answer
}

fn no_such_path() -> String {
    let all = |verb: Verb| {
        let paths: Vec<&str> = ROUTES.iter().filter(|route| route.verb == verb).map(|route| route.path).collect();
        paths.join(", ")
    };
    format!("No such path. There are POST {} and GET {}.", all(Verb::Post), all(Verb::Get))
}

fn method_not_allowed(methods: &'static str) -> Answer {
    let message = format!("Method not allowed here. Allowed: {methods}.");
    let mut answer = Answer::refused_with(Refused::MethodNotAllowed, &message);
    answer.allow = Some(methods);
    answer
}

fn alive<S: Service>(service: &S) -> Answer {
    if service.alive() { status("alive") } else { Answer::refused(Refused::NotAlive) }
}

fn ready<S: Service>(service: &S) -> Answer {
    if service.ready() { status("ready") } else { Answer::refused(Refused::NotReady) }
}

fn status(word: &str) -> Answer {
    Answer::new(StatusCode::OK, "ok", format!(r#"{{"status":"{word}"}}"#).into_bytes())
}

fn version() -> Vec<u8> {
    format!(r#"{{"name":"mayfly","version":"{}"}}"#, env!("CARGO_PKG_VERSION")).into_bytes()
}

fn capabilities<S: Service>(service: &S) -> Vec<u8> {
    // Writing plain data to memory can't fail.
    serde_json::to_vec(&service.capabilities()).unwrap_or_default()
}
