//! Signing in: a token is given once, and the browser gets a cookie that opens the console's pages
//! and nothing else. The cookie is not for scripts, not for other sites, and not for connections
//! without TLS where there is TLS.

use axum::{
    body::Body,
    extract::{Extension, State},
    http::{HeaderMap, HeaderValue, StatusCode, header},
    response::{IntoResponse as _, Redirect, Response},
};
use maud::html;

use super::{
    HOME,
    page::{Frame, Page, Section},
    visit::{self, Form},
};
use crate::{
    http::{
        Answer, Shared, blocking,
        door::{Peer, by_token},
        given::Query,
        problem::Problem,
    },
    service::{audit::Call, sessions::LASTS},
};

/// Where to sign in.
pub(super) const SIGN_IN: &str = "/console/sign-in";
/// What the cookie is called.
const COOKIE: &str = "cofferdam_session";
/// The longest form of a token, in bytes.
const LONGEST: usize = 4 << 10;

/// What a browser brings of a session.
pub(in crate::http) fn brought(headers: &HeaderMap) -> Option<&str> {
    let texts = headers.get_all(header::COOKIE).iter().filter_map(|text| text.to_str().ok());
    let mut pairs = texts.flat_map(|text| text.split(';')).filter_map(|pair| pair.split_once('='));
    pairs.find(|(name, _)| name.trim() == COOKIE).map(|(_, value)| value.trim())
}

/// That a request which changes something was sent by one of these pages: by a browser's own word,
/// or, of an older one, by the place that it names as its origin.
pub(in crate::http) fn must_be_from_a_page(headers: &HeaderMap) -> Answer<()> {
    let text = |name: &str| headers.get(name).map(|value| value.to_str().unwrap_or("?"));
    let same = match (text("sec-fetch-site"), text("origin")) {
        (Some(site), _) => site == "same-origin",
        (None, Some(origin)) => {
            let origin = origin.split_once("://").map(|(_, authority)| authority);
            origin.is_some() && origin == text("host")
        }
        (None, None) => false,
    };
    if same {
        return Ok(());
    }
    Err(Problem::new(
        StatusCode::FORBIDDEN,
        "not-from-here",
        "what changes something must be sent from a page of this console, and this was sent from \
         elsewhere",
    ))
}

/// Where to go after signing in: within the console.
fn next(given: Option<&str>) -> &str {
    let within = |path: &&str| *path == HOME || path.starts_with("/console/");
    given.filter(within).filter(|path| *path != SIGN_IN).unwrap_or(HOME)
}

/// The page to sign in at.
pub(super) async fn page(query: Query) -> Answer<Response> {
    let query = query.only(&["next"])?;
    Ok(form(next(query.get("next")), None, StatusCode::OK))
}

fn form(next: &str, wrong: Option<&str>, status: StatusCode) -> Response {
    let frame = Frame { caller: None, fragment: false };
    let body = html! {
        div.signin {
            h1 { "Sign in" }
            p.lead { "Cofferdam runs other people’s stream operators behind a watertight wall." }
            @if let Some(wrong) = wrong {
                div.notice.bad role="alert" id="wrong" { strong { "Not signed in. " } (wrong) }
            }
            form method="post" action=(SIGN_IN) class="panel stack" {
                input type="hidden" name="next" value=(next);
                div.field {
                    label for="token" { "Token" }
                    input.mono #token name="token" type="password" autocomplete="current-password"
                        required spellcheck="false" autofocus placeholder="cfd_…"
                        aria-describedby="token-help" aria-invalid=[wrong.map(|_| "true")];
                    p.help #token-help {
                        "The first one is in the file " code { "admin-token" }
                        " in the server’s data directory. Others are made with "
                        code { "cofferdam token create" } "."
                    }
                }
                button.primary type="submit" { "Sign in" }
            }
            p.fine { "The token is not kept in the browser. A session ends after 12 hours." }
        }
    };
    let page = Page::new(&frame, Section::None, "Sign in", body);
    (status, page).into_response()
}

/// Takes a token, and begins a session.
pub(super) async fn sign_in(
    State(service): State<Shared>,
    Extension(Peer(peer)): Extension<Peer>,
    headers: HeaderMap,
    secure: Option<Extension<Secure>>,
    body: Body,
) -> Answer<Response> {
    must_be_from_a_page(&headers)?;
    let given = Form::read(&service, body, LONGEST).await?;
    let token = given.get("token").unwrap_or_default().trim();
    let next = next(given.get("next"));
    let begun = by_token(&service, Some(peer.ip()), || service.begin_session(token));
    let (secret, caller) = match begun {
        Ok(begun) => begun,
        Err(problem) if problem.status() == StatusCode::UNAUTHORIZED => {
            let wrong = "This token opens nothing: it is unknown, expired or revoked.";
            return Ok(form(next, Some(wrong), StatusCode::UNAUTHORIZED));
        }
        Err(problem) => return Err(problem),
    };
    let call = Call {
        tenant: None,
        method: "POST".to_owned(),
        path: SIGN_IN.to_owned(),
        request: visit::request_id(&headers),
    };
    blocking(service, move |service| {
        let begun = service.audit_begin(&caller, call)?;
        service.audit_end(begun, StatusCode::SEE_OTHER.as_u16());
        Ok(())
    })
    .await?;
    let mut response = Redirect::to(next).into_response();
    let cookie = cookie(&secret, LASTS.as_secs(), is_secure(secure, &headers))?;
    response.headers_mut().insert(header::SET_COOKIE, cookie);
    Ok(response)
}

/// Ends the session.
pub(super) async fn sign_out(
    State(service): State<Shared>,
    headers: HeaderMap,
    secure: Option<Extension<Secure>>,
) -> Answer<Response> {
    if let Some(secret) = brought(&headers) {
        service.end_session(secret);
    }
    let mut response = Redirect::to(SIGN_IN).into_response();
    let gone = cookie("", 0, is_secure(secure, &headers))?;
    response.headers_mut().insert(header::SET_COOKIE, gone);
    Ok(response)
}

/// That a request came by a connection with TLS.
#[derive(Debug, Clone, Copy)]
pub(in crate::http) struct Secure;

/// Whether the browser speaks TLS, be it to a proxy before this server.
fn is_secure(secure: Option<Extension<Secure>>, headers: &HeaderMap) -> bool {
    let origin = headers.get(header::ORIGIN).map(HeaderValue::as_bytes);
    secure.is_some() || origin.is_some_and(|origin| origin.starts_with(b"https://"))
}

fn cookie(value: &str, seconds: u64, secure: bool) -> Answer<HeaderValue> {
    let secure = if secure { "; Secure" } else { "" };
    let text = format!(
        "{COOKIE}={value}; Path={HOME}; Max-Age={seconds}; HttpOnly; SameSite=Strict{secure}"
    );
    HeaderValue::try_from(text).map_err(|error| Problem::bug(&error))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(of: &[(&'static str, &str)]) -> HeaderMap {
        of.iter().map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap())).collect()
    }

    #[test]
    fn what_another_site_has_a_browser_send_is_refused() {
        let here = ("host", "cofferdam.example:8080");
        for (sent, good) in [
            (vec![here, ("sec-fetch-site", "same-origin")], true),
            (vec![here, ("origin", "https://cofferdam.example:8080")], true),
            (vec![here, ("sec-fetch-site", "cross-site")], false),
            (vec![here, ("sec-fetch-site", "same-site")], false),
            (vec![here, ("sec-fetch-site", "none")], false),
            (vec![here, ("origin", "https://evil.example")], false),
            (vec![here, ("origin", "null")], false),
            (
                vec![
                    here,
                    ("sec-fetch-site", "cross-site"),
                    ("origin", "http://cofferdam.example:8080"),
                ],
                false,
            ),
            (vec![here], false),
        ] {
            assert_eq!(must_be_from_a_page(&headers(&sent)).is_ok(), good, "{sent:?}");
        }
    }

    #[test]
    fn a_session_is_found_among_other_cookies_and_leads_nowhere_else() {
        let sent = headers(&[("cookie", "theme=dark; cofferdam_session=abc; x=y")]);
        assert_eq!(brought(&sent), Some("abc"));
        assert_eq!(brought(&headers(&[("cookie", "not_cofferdam_session=abc")])), None);
        for (given, wanted) in [
            (Some("/console/jobs?state=failed"), "/console/jobs?state=failed"),
            (Some("https://evil.example/console"), HOME),
            (Some("//evil.example"), HOME),
            (Some("/console.evil.example"), HOME),
            (Some(SIGN_IN), HOME),
            (None, HOME),
        ] {
            assert_eq!(next(given), wanted);
        }
    }
}
