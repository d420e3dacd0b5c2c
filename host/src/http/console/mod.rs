//! The web console: pages for people, made on the server, of what `service` tells this caller and
//! nobody else. Asks for nothing that the REST API would not give the same token; decides nothing.
//! Every page works without a script; the script keeps what is shown up to date.
//!
//! | file | what lives there |
//! | --- | --- |
//! | here | the routes, and what every answer has: headers, errors as pages |
//! | [`session`] | signing in and out, the cookie, requests that other sites make a browser send |
//! | `visit` | what a page is given: who asks, for what, with which form |
//! | `page` | what is around every page: head, navigation, foot |
//! | `parts` | small things that many pages show: times, sizes, states, tables, actions |
//! | `assets` | the style sheet, the script and the icon |
//! | `overview`, `jobs`, `slots`, `tokens`, `audit` | a page each |
//! | `job`, `checkpoints`, `exceptions`, `looking_on`, `config` | the pages of a job |
//! | `actions` | what is done to a job, and how a page says so |
//! | `submit` | submitting a job |
//! | `artifacts`, `upload` | the catalogue, and what gets into it |
//! | `playground` | trying an operator |
//! | `tenants` | tenants, their quotas, and what they used |
//! | `graph` | a job's plan as a drawing |
//! | `rates` | what happened between two looks |

mod actions;
mod artifacts;
mod assets;
mod audit;
mod checkpoints;
mod config;
mod exceptions;
mod graph;
mod job;
mod jobs;
mod looking_on;
mod overview;
mod page;
mod parts;
mod playground;
mod rates;
pub(super) mod session;
mod slots;
mod submit;
mod tenants;
mod tokens;
mod upload;
mod visit;

use axum::{
    Router,
    extract::Request,
    http::{HeaderValue, Method, StatusCode, header},
    response::{IntoResponse as _, Redirect, Response},
    routing::{get, post},
};

use self::page::Frame;
use super::{Shared, look, problem};
use crate::service::access::Caller;

/// Where the console is.
pub(super) const HOME: &str = "/console";
/// What a script asks for that wants no more of a page than what changes.
const FRAGMENT: &str = "x-fragment";
/// What a page may load, and from where: from here, and nothing that stands in the page itself.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; \
                      connect-src 'self'; form-action 'self'; base-uri 'none'; \
                      frame-ancestors 'none'";

/// The pages, and the forms that are sent from them.
pub(super) fn routes() -> Router<Shared> {
    Router::new()
        .route("/", get(async || Redirect::to(HOME)))
        .route(HOME, get(overview::page))
        .route(session::SIGN_IN, get(session::page).post(session::sign_in))
        .route("/console/sign-out", post(session::sign_out))
        .route("/console/assets/{file}", get(assets::get))
        .route("/console/slots", get(slots::page).post(slots::keep))
        .route("/console/tenants", get(tenants::page))
        .route("/console/tenants/new", get(tenants::fresh))
        .route("/console/tenants/{tenant}", get(tenants::show).post(tenants::put))
        .route("/console/usage", get(tenants::usage))
        .route("/console/tokens", get(tokens::page).post(tokens::make))
        .route("/console/tokens/{token}/revoke", post(tokens::revoke))
        .route("/console/audit", get(audit::page))
        .merge(of_jobs())
        .merge(of_artifacts())
}

fn of_jobs() -> Router<Shared> {
    Router::new()
        .route("/console/jobs", get(jobs::page))
        .route("/console/jobs/new", get(submit::page).post(submit::submit))
        .route("/console/jobs/{id}", get(job::page))
        .route("/console/jobs/{id}/exceptions", get(exceptions::page))
        .route("/console/jobs/{id}/logs", get(looking_on::logs))
        .route("/console/jobs/{id}/tail", get(looking_on::tail))
        .route("/console/jobs/{id}/config", get(config::page))
        .route("/console/jobs/{id}/checkpoints", get(checkpoints::page).post(actions::checkpoint))
        .route("/console/jobs/{id}/savepoints", post(actions::take_savepoint))
        .route("/console/jobs/{id}/savepoints/{savepoint}/delete", post(actions::dispose))
        .route("/console/jobs/{id}/capsules/{capsule}", get(look::capsule))
        .route("/console/jobs/{id}/cancel", post(actions::cancel))
        .route("/console/jobs/{id}/stop", post(actions::stop))
        .route("/console/jobs/{id}/rescale", post(actions::rescale))
        .route("/console/jobs/{id}/restart", post(actions::restart))
        .route("/console/jobs/{id}/delete", post(actions::delete))
}

fn of_artifacts() -> Router<Shared> {
    Router::new()
        .route("/console/artifacts", get(artifacts::list))
        .route("/console/artifacts/new", get(upload::page).post(upload::upload))
        .route("/console/artifacts/{name}", get(artifacts::show))
        .route("/console/artifacts/{name}/{version}", get(artifacts::version))
        .route("/console/playground", get(playground::list))
        .route(
            "/console/artifacts/{name}/{version}/try",
            get(playground::page).post(playground::run),
        )
        .route("/console/artifacts/{name}/{version}/tag", post(artifacts::tag))
        .route("/console/artifacts/{name}/{version}/delete", post(artifacts::delete))
}

/// Whether a path is one of the console's.
pub(super) fn is_page(path: &str) -> bool {
    path == "/" || path == HOME || path.starts_with("/console/")
}

/// Whether a path may be asked for by whoever comes.
pub(super) fn is_open(path: &str) -> bool {
    path == "/" || path == session::SIGN_IN || path.starts_with("/console/assets/")
}

/// A request for a page, as far as its answer depends on it.
#[derive(Debug)]
pub(super) struct Asked {
    path: String,
    query: Option<String>,
    safe: bool,
    fragment: bool,
}

impl Asked {
    /// None if it is not for a page.
    pub(super) fn of(request: &Request) -> Option<Self> {
        let uri = request.uri();
        is_page(uri.path()).then(|| Self {
            path: uri.path().to_owned(),
            query: uri.query().map(str::to_owned),
            safe: request.method() == Method::GET,
            fragment: request.headers().contains_key(FRAGMENT),
        })
    }

    /// The answer as a browser gets it: with the headers of a page, and problems as pages.
    pub(super) fn answered(
        self,
        mut response: Response,
        caller: Option<&Caller>,
        id: &str,
    ) -> Response {
        let problem = problem::told(&mut response);
        let mut response = match problem {
            Some(problem) if problem.status() == StatusCode::UNAUTHORIZED && !self.fragment => {
                Redirect::to(&self.sign_in()).into_response()
            }
            Some(problem) => {
                let frame = Frame { caller, fragment: self.fragment };
                let mut page = page::problem(&frame, &problem, id).into_response();
                if let Some(wait) = response.headers().get(header::RETRY_AFTER) {
                    page.headers_mut().insert(header::RETRY_AFTER, wait.clone());
                }
                page
            }
            None => response,
        };
        let headers = response.headers_mut();
        let fixed = |value| HeaderValue::from_static(value);
        headers.insert(header::CONTENT_SECURITY_POLICY, fixed(POLICY));
        headers.insert(header::X_CONTENT_TYPE_OPTIONS, fixed("nosniff"));
        headers.insert(header::X_FRAME_OPTIONS, fixed("DENY"));
        // Not `no-referrer`: a form would then say that it comes from nowhere.
        headers.insert(header::REFERRER_POLICY, fixed("same-origin"));
        headers.insert("cross-origin-opener-policy", fixed("same-origin"));
        headers.entry(header::CACHE_CONTROL).or_insert(fixed("no-store"));
        response
    }

    /// Where to sign in, and come back from to what was asked for.
    fn sign_in(&self) -> String {
        if !self.safe || self.path == HOME {
            return session::SIGN_IN.to_owned();
        }
        let mut back = self.path.clone();
        if let Some(query) = &self.query {
            back.push('?');
            back.push_str(query);
        }
        format!("{}?next={}", session::SIGN_IN, parts::encoded(&back))
    }
}
