//! The protocols over HTTP: which path is answered how, and how a request becomes a job and a report an answer.
//!
//! Runs in the supervisor. It knows JSON and the routes; it knows nothing of sockets, descriptors, processes or Python. It reaches the
//! connections through [`Exchange`] and whoever runs scripts through [`Service`], and must never hold anything of one request when
//! the next comes.

mod aside;
mod execute;
mod live;
pub mod native;
mod routes;

use self::aside::Aside;
use crate::http::{Answer, Exchange, Handler};
use crate::job::Bounds;
use crate::service::Service;
use crate::size::ByteSize;
use std::sync::Arc;

/// What the protocols hold requests to.
#[derive(Debug, Clone, Copy)]
pub struct Settings {
    /// What a job is held to.
    pub bounds: Bounds,
    /// Largest request body, as sent.
    pub body_size: ByteSize,
    /// Largest result, as JSON.
    pub result_size: ByteSize,
    /// How many large requests and results are read and written at once.
    pub large_at_once: usize,
}

/// All protocols, over one service.
#[derive(Debug)]
pub struct Api<S> {
    service: Arc<S>,
    settings: Settings,
    aside: Aside,
}

impl<S: Service> Api<S> {
    /// For `service`.
    #[must_use]
    pub fn new(service: Arc<S>, settings: Settings) -> Self {
        Self { service, settings, aside: Aside::new(settings.large_at_once) }
    }
}

impl<S> Clone for Api<S> {
    fn clone(&self) -> Self {
        Self { service: Arc::clone(&self.service), settings: self.settings, aside: self.aside.clone() }
    }
}

impl<S: Service> Handler for Api<S> {
    async fn handle(&self, exchange: &mut Exchange) -> Answer {
        routes::answer(self, exchange).await
    }

    fn route(&self, path: &str) -> &'static str {
        routes::name(path)
    }

    fn is_health_check(&self, path: &str) -> bool {
        routes::is_health_check(path)
    }

    fn isolation(&self) -> &'static str {
        self.service.isolation()
    }
}
