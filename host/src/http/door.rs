//! Who is let in: whoever brings a token that opens; and, if the server is configured so, whoever
//! comes from this machine. That is not every request that a browser on this machine can be made
//! to send: it must name this machine as its host, and no other site as its origin.

use std::net::{IpAddr, SocketAddr};

use axum::{
    extract::{Request, State},
    http::{HeaderMap, StatusCode, header},
    middleware::Next,
    response::{IntoResponse as _, Response},
};

use super::{
    Shared, health,
    problem::{Problem, name_instance},
};
use crate::service::access::Caller;

/// The other end of the connection.
#[derive(Debug, Clone, Copy)]
pub(super) struct Peer(pub(super) SocketAddr);

/// Lets a request in, or not.
pub(super) async fn enter(
    State(service): State<Shared>,
    mut request: Request,
    next: Next,
) -> Response {
    let path = request.uri().path().to_owned();
    let response = if [health::HEALTHZ, health::READYZ].contains(&path.as_str()) {
        next.run(request).await
    } else {
        match who(&service, &request) {
            Ok(caller) => {
                request.extensions_mut().insert(caller);
                next.run(request).await
            }
            Err(problem) => problem.into_response(),
        }
    };
    name_instance(response, &path)
}

fn who(service: &Shared, request: &Request) -> Result<Caller, Problem> {
    let refuse = |detail| Err(Problem::new(StatusCode::UNAUTHORIZED, "unauthorized", detail));
    let Some(header) = request.headers().get(header::AUTHORIZATION) else {
        let peer = request.extensions().get::<Peer>();
        if service.spec().open_on_loopback
            && peer.is_some_and(|Peer(address)| address.ip().to_canonical().is_loopback())
            && is_of_this_machine(request.headers())
        {
            return Ok(Caller::unasked());
        }
        return refuse("this needs a token: send it as `Authorization: Bearer cfd_…`");
    };
    let bearer = header.to_str().ok().and_then(|text| text.split_once(' '));
    let secret = bearer.filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"));
    let Some((_, secret)) = secret else {
        return refuse("the header `Authorization` must be `Bearer cfd_…`");
    };
    match service.authenticate(secret.trim()) {
        Some(caller) => Ok(caller),
        // Whether it ever was one is not told.
        None => refuse("the token opens nothing: it is unknown, expired or revoked"),
    }
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
