//! The REST API and the web console: what comes in by HTTP is read here, given to `service`, and
//! answered as JSON or as a page; an error is a problem detail (RFC 9457), or a page that tells of it. Decides nothing but who is let in at the door, and
//! how much of a request is read.
//!
//! | file | what lives there |
//! | --- | --- |
//! | here | the routes |
//! | [`server`] | connections: accepted, bounded, ended |
//! | [`tls`] | certificates |
//! | `door` | who is let in: tokens, the open door of loopback |
//! | `traced` | the spans of requests |
//! | [`problem`] | errors as problem details |
//! | `body` | request bodies, bounded in length and in patience |
//! | [`openapi`] | the OpenAPI document |
//! | `events` | answers that go on: server-sent events |
//! | `preconditions` | `If-Match` and `If-None-Match` |
//! | `given` | paths and queries, read with errors that say what to do |
//! | `artifacts`, `jobs`, `checkpoints`, `sources`, `watch`, `look`, `overview`, `tenants`, `keys`, `audit`, `tokens`, `health`, `trial` | the endpoints |
//! | `console` | the web console: pages for people |
//! | `shapes` | what answers of other rooms look like, for the document |
//! | `metrics` | what Prometheus reads |

mod artifacts;
mod audit;
mod body;
mod checkpoints;
mod coding;
mod console;
mod door;
mod events;
mod given;
mod health;
mod jobs;
mod keys;
mod look;
mod metrics;
pub mod openapi;
mod overview;
mod preconditions;
pub mod problem;
pub mod server;
mod shapes;
mod sources;
mod tenants;
pub mod tls;
mod tokens;
mod traced;
mod trial;
mod watch;

use std::sync::Arc;

use axum::{
    Router,
    handler::Handler,
    http::{HeaderValue, Method, StatusCode, header},
    middleware,
    response::{IntoResponse, Response},
    routing::{MethodFilter, on},
};
use serde::Serialize;

use self::problem::Problem;
use crate::service::{Service, error::ServiceError};

/// What every endpoint is given.
pub(crate) type Shared = Arc<Service>;

/// The routes, and a list of them.
#[derive(Debug, Default)]
pub struct Routes {
    router: Router<Shared>,
    /// Each with its method.
    pub listed: Vec<(Method, &'static str)>,
}

impl Routes {
    fn add<H, T>(mut self, method: Method, path: &'static str, handler: H) -> Self
    where
        H: Handler<T, Shared>,
        T: 'static,
    {
        let filter = MethodFilter::try_from(method.clone()).expect("a method that is served");
        self.router = self.router.route(path, on(filter, handler));
        self.listed.push((method, path));
        self
    }

    /// All of them.
    #[must_use]
    pub fn all() -> Self {
        const VERSION: &str = "/v1/artifacts/{name}/versions/{version}";
        const SOURCE: &str = "/v1/jobs/{id}/sources/{operator}";
        const CHECKPOINTS: &str = "/v1/jobs/{id}/checkpoints";
        const SAVEPOINTS: &str = "/v1/jobs/{id}/savepoints";
        const SAVEPOINT: &str = "/v1/jobs/{id}/savepoints/{savepoint}";
        Self::default()
            .add(Method::GET, health::HEALTHZ, health::healthz)
            .add(Method::GET, health::READYZ, health::readyz)
            .add(Method::GET, "/metrics", metrics::metrics)
            .add(Method::GET, "/v1/openapi.json", openapi::show)
            .add(Method::GET, "/v1/artifacts", artifacts::list)
            .add(Method::GET, "/v1/artifacts/{name}", artifacts::show)
            .add(Method::GET, VERSION, artifacts::show_version)
            .add(Method::PUT, VERSION, artifacts::upload)
            .add(Method::DELETE, VERSION, artifacts::delete)
            .add(Method::POST, "/v1/artifacts/{name}/versions/{version}/try", trial::run)
            .add(Method::PUT, "/v1/artifacts/{name}/tags/{tag}", artifacts::put_tag)
            .add(Method::GET, "/v1/jobs", jobs::list)
            .add(Method::POST, "/v1/jobs", jobs::submit)
            .add(Method::GET, "/v1/jobs/{id}", jobs::show)
            .add(Method::GET, "/v1/jobs/{id}/plan", jobs::plan)
            .add(Method::GET, "/v1/jobs/{id}/config", jobs::config)
            .add(Method::POST, "/v1/jobs/{id}/cancel", jobs::cancel)
            .add(Method::POST, "/v1/jobs/{id}/stop", jobs::stop)
            .add(Method::GET, "/v1/audit", audit::list)
            .add(Method::POST, "/v1/jobs/{id}/restart", jobs::restart)
            .add(Method::DELETE, "/v1/jobs/{id}", jobs::delete)
            .add(Method::POST, "/v1/jobs/{id}/rescale", jobs::rescale)
            .add(Method::POST, "/v1/jobs/{id}/limits", jobs::limit)
            .add(Method::GET, SOURCE, sources::show)
            .add(Method::POST, SOURCE, sources::post)
            .add(Method::POST, "/v1/jobs/{id}/sources/{operator}/end", sources::end)
            .add(Method::GET, CHECKPOINTS, checkpoints::list)
            .add(Method::POST, CHECKPOINTS, checkpoints::trigger)
            .add(Method::GET, "/v1/jobs/{id}/checkpoints/config", checkpoints::config)
            .add(Method::GET, "/v1/jobs/{id}/checkpoints/{checkpoint}", checkpoints::show)
            .add(Method::GET, SAVEPOINTS, checkpoints::savepoints)
            .add(Method::POST, SAVEPOINTS, checkpoints::take)
            .add(Method::PUT, SAVEPOINT, checkpoints::put)
            .add(Method::GET, SAVEPOINT, checkpoints::savepoint)
            .add(Method::DELETE, SAVEPOINT, checkpoints::dispose)
            .add(Method::GET, "/v1/jobs/{id}/exceptions", look::exceptions)
            .add(Method::GET, "/v1/jobs/{id}/capsules", look::capsules)
            .add(Method::GET, "/v1/jobs/{id}/capsules/{capsule}", look::capsule)
            .add(Method::GET, "/v1/jobs/{id}/logs", watch::logs)
            .add(Method::GET, "/v1/jobs/{id}/vertices/{operator}/tail", watch::tail)
            .add(Method::GET, "/v1/jobs/{id}/vertices", look::vertices)
            .add(Method::GET, "/v1/jobs/{id}/vertices/{operator}", look::vertex)
            .add(Method::GET, "/v1/overview", overview::overview)
            .add(Method::GET, "/v1/config", overview::config)
            .add(Method::GET, "/v1/slots", overview::slots)
            .add(Method::POST, "/v1/slots/{slot}/drain", overview::drain)
            .add(Method::POST, "/v1/slots/{slot}/restore", overview::restore)
            .add(Method::GET, "/v1/taskmanager", overview::task_manager)
            .add(Method::GET, "/v1/tenants", tenants::list)
            .add(Method::GET, "/v1/tenants/{tenant}", tenants::show)
            .add(Method::PUT, "/v1/tenants/{tenant}", tenants::put)
            .add(Method::DELETE, "/v1/tenants/{tenant}", tenants::delete)
            .add(Method::GET, "/v1/keys", keys::list)
            .add(Method::POST, "/v1/keys", keys::add)
            .add(Method::DELETE, "/v1/keys/{key}", keys::remove)
            .add(Method::GET, "/v1/usage", tenants::usage)
            .add(Method::GET, "/v1/tokens", tokens::list)
            .add(Method::POST, "/v1/tokens", tokens::make)
            .add(Method::DELETE, "/v1/tokens/{token}", tokens::revoke)
    }

    /// The router that answers, with the door before it.
    pub fn serving(self, service: Shared) -> Router {
        self.router
            .merge(console::routes())
            .fallback(async || {
                Problem::new(StatusCode::NOT_FOUND, "not-found", "there is nothing here")
            })
            .method_not_allowed_fallback(async || {
                Problem::new(
                    StatusCode::METHOD_NOT_ALLOWED,
                    "method-not-allowed",
                    "this cannot be done here; the header `allow` says what can",
                )
            })
            .layer(middleware::from_fn_with_state(service.clone(), door::enter))
            .with_state(service)
    }
}

/// An answer in JSON.
#[derive(Debug)]
pub(crate) struct Json<T>(pub(crate) T);

impl<T: Serialize> IntoResponse for Json<T> {
    fn into_response(self) -> Response {
        let json = HeaderValue::from_static("application/json");
        match serde_json::to_vec(&self.0) {
            Ok(body) => ([(header::CONTENT_TYPE, json)], body).into_response(),
            Err(error) => Problem::bug(&error).into_response(),
        }
    }
}

/// An answer with the entity tag of what it shows.
fn tagged(tag: &str, answer: impl IntoResponse) -> Response {
    let etag = HeaderValue::try_from(tag).expect("an entity tag is plain text");
    ([(header::ETAG, etag)], answer).into_response()
}

/// An answer, or a problem.
pub(crate) type Answer<T> = Result<T, Problem>;

/// Does what reads and writes files on a thread that nobody waits for.
async fn blocking<T: Send + 'static>(
    service: Shared,
    work: impl FnOnce(&Shared) -> Result<T, ServiceError> + Send + 'static,
) -> Answer<T> {
    let span = tracing::Span::current();
    match tokio::task::spawn_blocking(move || span.in_scope(|| work(&service))).await {
        Ok(done) => done.map_err(Problem::from),
        Err(error) => Err(Problem::bug(&error)),
    }
}
