//! What every request passes: it gets an identifier; who sent it is found out, and how often they
//! may ask; whoever may only post records to sources gets no further than there; and if it is to
//! change something, it is written down.
//!
//! Who is let in: whoever brings a token that opens; and, if the server is configured so, whoever
//! comes from this machine. That is not every request that a browser on this machine can be made
//! to send: it must name this machine as its host, and no other site as its origin. The pages of
//! the console, and nothing else, open to a session too; what changes something there must come
//! from one of these pages.

use std::net::{IpAddr, SocketAddr};

use axum::{
    extract::{Request, State},
    http::{HeaderMap, HeaderValue, Method, StatusCode, header},
    middleware::Next,
    response::{IntoResponse as _, Response},
};
use tracing::Instrument as _;

use super::{
    Answer, Shared, blocking, console, health,
    problem::{Problem, name_instance},
    traced::Asked as Tracing,
};
use crate::{
    clock::Stopwatch,
    ids::TenantId,
    registry::records::AuditRecord,
    service::{access::Caller, audit::Call},
    trace::SpanRef,
};

/// The other end of the connection.
#[derive(Debug, Clone, Copy)]
pub(super) struct Peer(pub(super) SocketAddr);

/// The header that says what a request is called by.
pub(super) const REQUEST_ID: &str = "x-request-id";
/// The longest identifier that a client may choose, in bytes.
const LONGEST_ID: usize = 64;
/// What may be asked without a token.
pub(super) const OPEN: [&str; 2] = [health::HEALTHZ, health::READYZ];
/// What may be asked as often as wanted, by who has a token: whoever watches the server must not
/// be the one who is sent away.
const UNCOUNTED: [&str; 1] = ["/metrics"];

/// Lets a request in, or not.
pub(super) async fn enter(
    State(service): State<Shared>,
    mut request: Request,
    next: Next,
) -> Response {
    let path = request.uri().path().to_owned();
    let id = request_id(request.headers());
    if let Ok(id) = HeaderValue::try_from(id.as_str()) {
        request.headers_mut().insert(REQUEST_ID, id);
    }
    let method = request.method().clone();
    let watch = Stopwatch::start();
    let traced = Tracing::begin(service.tracer(), &request, watch);
    // Of a level that is never filtered out, so that what is logged on the way says whose it is.
    let span = tracing::error_span!(
        "request",
        request_id = id,
        %method,
        path,
        tenant = tracing::field::Empty,
        trace_id = tracing::field::Empty
    );
    if let Some(traced) = &traced {
        span.record("trace_id", tracing::field::display(traced.span().context.trace));
        request.extensions_mut().insert(traced.span().clone());
    }
    let tracer = service.tracer().clone();
    let answering = answer(service, request, next, (&path, &id)).instrument(span.clone());
    let (mut response, tenant) = answering.await;
    if let Some(traced) = traced {
        traced.answered(&tracer, response.status(), tenant.as_ref(), &id);
    }
    let _in = span.enter();
    tracing::info!(status = response.status().as_u16(), micros = watch.micros(), "answered");
    if let Ok(id) = HeaderValue::try_from(id) {
        response.headers_mut().insert(REQUEST_ID, id);
    }
    response
}

async fn answer(
    service: Shared,
    mut request: Request,
    next: Next,
    (path, id): (&str, &str),
) -> (Response, Option<TenantId>) {
    let asked = console::Asked::of(&request);
    let mut known = None;
    let response = if OPEN.contains(&path) || console::is_open(path) {
        next.run(request).await
    } else {
        match admit(&service, &request) {
            Ok(mut caller) => {
                caller.traced = request.extensions().get::<SpanRef>().cloned();
                if let Some(tenant) = &caller.tenant {
                    tracing::Span::current().record("tenant", tenant.as_str());
                }
                request.extensions_mut().insert(caller.clone());
                known = Some(caller.clone());
                written_down(service, caller, id, request, next)
                    .await
                    .unwrap_or_else(Problem::into_response)
            }
            Err(problem) => problem.into_response(),
        }
    };
    let response = match asked {
        Some(asked) => asked.answered(response, known.as_ref(), id),
        None => name_instance(response, path, id),
    };
    (response, known.and_then(|caller| caller.tenant))
}

/// The client's, so that one call can be followed through several programs; else one that nobody
/// has.
fn request_id(headers: &HeaderMap) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    let given = headers.get(REQUEST_ID).and_then(|id| id.to_str().ok());
    match given.filter(|id| (1..=LONGEST_ID).contains(&id.len()) && id.bytes().all(plain)) {
        Some(id) => id.to_owned(),
        None => format!("{:032x}", rand::random::<u128>()),
    }
}

/// Who asks, if they may, and not too often.
fn admit(service: &Shared, request: &Request) -> Answer<Caller> {
    let caller = who(service, request)?;
    if !UNCOUNTED.contains(&request.uri().path()) {
        service.limits().request(service.spec(), caller.tenant.as_ref()).map_err(|wait| {
            Problem::too_often(
                "the tenant asks more often than `[limits]` of the server allow",
                wait,
            )
        })?;
    }
    caller.may_ask(request.method() == Method::POST, request.uri().path())?;
    Ok(caller)
}

/// Carries a request out; one that is to change something with a record of it before and after.
async fn written_down(
    service: Shared,
    caller: Caller,
    id: &str,
    request: Request,
    next: Next,
) -> Answer<Response> {
    if [Method::GET, Method::HEAD, Method::OPTIONS].contains(request.method()) {
        return Ok(next.run(request).await);
    }
    if !service.is_audited(&caller, request.uri().path()) {
        return Ok(next.run(request).await);
    }
    let call = Call {
        tenant: named_tenant(request.uri().query().unwrap_or_default()),
        method: request.method().to_string(),
        path: request.uri().path().to_owned(),
        request: id.to_owned(),
    };
    let begun: AuditRecord =
        blocking(service.clone(), move |service| service.audit_begin(&caller, call)).await?;
    let response = next.run(request).await;
    let status = response.status().as_u16();
    blocking(service, move |service| {
        service.audit_end(begun, status);
        Ok(())
    })
    .await?;
    Ok(response)
}

/// The tenant that a query names, if it does.
fn named_tenant(query: &str) -> Option<TenantId> {
    let named = query.split('&').rev().find_map(|pair| pair.strip_prefix("tenant="));
    TenantId::new(named?).ok()
}

fn who(service: &Shared, request: &Request) -> Result<Caller, Problem> {
    let headers = request.headers();
    let address = request.extensions().get::<Peer>().map(|Peer(address)| address.ip());
    if let Some(header) = headers.get(header::AUTHORIZATION) {
        let bearer = header.to_str().ok().and_then(|text| text.split_once(' '));
        let secret = bearer.filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"));
        let Some((_, secret)) = secret else {
            return Err(refused("the header `Authorization` must be `Bearer cfd_…`"));
        };
        return by_token(service, address, || service.authenticate(secret.trim()));
    }
    let page = console::is_page(request.uri().path());
    let session = console::session::brought(headers).filter(|_| page);
    let open = || {
        let near = address.is_some_and(|address| address.to_canonical().is_loopback());
        let open = service.spec().open_on_loopback && near && is_of_this_machine(headers);
        open.then(Caller::unasked)
    };
    let Some(caller) = session.and_then(|secret| service.in_session(secret)).or_else(open) else {
        return Err(refused("this needs a token: send it as `Authorization: Bearer cfd_…`"));
    };
    if page && !request.method().is_safe() {
        console::session::must_be_from_a_page(headers)?;
    }
    Ok(caller)
}

fn refused(detail: &str) -> Problem {
    Problem::new(StatusCode::UNAUTHORIZED, "unauthorized", detail)
}

/// What a token opens, for an address that has not tried too many.
pub(super) fn by_token<T>(
    service: &Shared,
    address: Option<IpAddr>,
    open: impl FnOnce() -> Option<T>,
) -> Answer<T> {
    let tries = address.map(|address| service.limits().may_try(service.spec(), address));
    if let Some(Err(wait)) = tries {
        // Before it is looked at: a guess that is right must not be told from others.
        let detail = "too many tokens from this address opened nothing";
        return Err(Problem::too_often(detail, wait));
    }
    if let Some(opened) = open() {
        return Ok(opened);
    }
    if let Some(address) = address {
        service.limits().failed(service.spec(), address);
    }
    // Whether it ever was one is not told.
    Err(refused("the token opens nothing: it is unknown, expired or revoked"))
}

/// That a request was meant for this machine by somebody on it, as far as a browser tells.
fn is_of_this_machine(headers: &HeaderMap) -> bool {
    let text = |name| headers.get(name).map(|value| value.to_str().unwrap_or("?"));
    let host = text(header::HOST).is_some_and(is_loopback);
    let origin = text(header::ORIGIN).is_none_or(|origin| {
        let origin = origin.strip_prefix("http://").or_else(|| origin.strip_prefix("https://"));
        origin.is_some_and(is_loopback)
    });
    host && origin
}

/// `localhost`, `127.0.0.1` or `[::1]`, with a port or without.
fn is_loopback(authority: &str) -> bool {
    let host = match authority.rsplit_once(':') {
        Some((host, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => host,
        _ => authority,
    };
    let host = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    host.eq_ignore_ascii_case("localhost")
        || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_browser_that_was_led_here_by_another_site_is_not_of_this_machine() {
        let of = |host: &str, origin: Option<&str>| {
            let mut headers = HeaderMap::new();
            headers.insert(header::HOST, host.parse().unwrap());
            if let Some(origin) = origin {
                headers.insert(header::ORIGIN, origin.parse().unwrap());
            }
            is_of_this_machine(&headers)
        };
        for host in ["localhost", "localhost:8080", "127.0.0.1:1", "[::1]:8080", "[::1]"] {
            assert!(of(host, None), "{host}");
            assert!(of(host, Some("http://localhost:8080")), "{host}");
            assert!(!of(host, Some("https://evil.example")), "{host}");
            assert!(!of(host, Some("null")), "{host}");
        }
        for host in ["evil.example", "evil.example:8080", "localhost.evil.example", "10.0.0.1"] {
            assert!(!of(host, None), "{host}");
        }
        assert!(!is_of_this_machine(&HeaderMap::new()));
    }
}
