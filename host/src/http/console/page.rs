//! What is around every page: the head, the navigation, the foot; and the page of a problem.

use axum::{
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use maud::{DOCTYPE, Markup, PreEscaped, html};

use super::{HOME, assets};
use crate::{http::problem::Problem, registry::records::Role, service::access::Caller};

/// The parts of the console, as the navigation has them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Section {
    None,
    Overview,
    Jobs,
    Artifacts,
    Playground,
    Slots,
    Tenants,
    Usage,
    Tokens,
    Audit,
}

impl Section {
    /// Those that a caller has something to do with: where each is, and what it is called.
    fn all(caller: &Caller) -> Vec<(Self, &'static str, &'static str)> {
        let mut all = vec![
            (Self::Overview, HOME, "Overview"),
            (Self::Jobs, "/console/jobs", "Jobs"),
            (Self::Artifacts, "/console/artifacts", "Operators"),
            (Self::Playground, "/console/playground", "Playground"),
            (Self::Slots, "/console/slots", "Slots"),
            (Self::Tenants, "/console/tenants", "Tenants"),
            (Self::Usage, "/console/usage", "Usage"),
        ];
        if may(caller, Role::Admin) {
            all.push((Self::Tokens, "/console/tokens", "Tokens"));
            all.push((Self::Audit, "/console/audit", "Audit log"));
        }
        all
    }
}

/// For whom a page is made, and whether whole.
#[derive(Debug)]
pub(super) struct Frame<'a> {
    pub(super) caller: Option<&'a Caller>,
    /// Only what is in it is asked for.
    pub(super) fragment: bool,
}

/// A page.
#[derive(Debug)]
pub(super) struct Page(Markup);

impl IntoResponse for Page {
    fn into_response(self) -> Response {
        let kind = HeaderValue::from_static("text/html; charset=utf-8");
        ([(header::CONTENT_TYPE, kind)], self.0.into_string()).into_response()
    }
}

impl Page {
    pub(super) fn new(frame: &Frame<'_>, section: Section, title: &str, body: Markup) -> Self {
        if frame.fragment {
            return Self(html! { main #main { (body) } });
        }
        Self(html! {
            (DOCTYPE)
            html lang="en" {
                head {
                    meta charset="utf-8";
                    meta name="viewport" content="width=device-width, initial-scale=1";
                    meta name="color-scheme" content="light dark";
                    title { (title) " · Cofferdam" }
                    link rel="stylesheet" href=(assets::href("app.css"));
                    link rel="icon" type="image/svg+xml" href=(assets::href("icon.svg"));
                    script defer src=(assets::href("app.js")) {}
                }
                body class=[frame.caller.is_none().then_some("alone")] {
                    a.skip href="#main" { "Skip to content" }
                    (head(frame.caller, section))
                    main #main tabindex="-1" { (body) }
                    footer.foot {
                        span { "Cofferdam " (env!("CARGO_PKG_VERSION")) }
                        // The script says here whether it keeps the page up to date.
                        span #live hidden {
                            button.quiet type="button" #pause aria-pressed="false" { "Pause updates" }
                            span #live-state role="status" { "Updating" }
                        }
                    }
                }
            }
        })
    }
}

fn head(caller: Option<&Caller>, section: Section) -> Markup {
    html! {
        header.bar {
            a.brand href=(HOME) { (logo()) span { "Cofferdam" } }
            @if let Some(caller) = caller {
                nav.sections aria-label="Main" {
                    ul {
                        @for (known, href, name) in Section::all(caller) {
                            li {
                                a href=(href) aria-current=[(known == section).then_some("page")] {
                                    (name)
                                }
                            }
                        }
                    }
                }
                div.who {
                    span.whose {
                        @match &caller.tenant {
                            Some(tenant) => { "tenant " strong { (tenant) } }
                            None => { strong { "every tenant" } }
                        }
                        span.role { " · " (caller.role.word()) }
                    }
                    @if caller.token.is_some() {
                        form method="post" action="/console/sign-out" {
                            button.quiet type="submit" { "Sign out" }
                        }
                    } @else {
                        span.fine title="The server is configured to let this machine in without a token" { "open on loopback" }
                    }
                }
            }
        }
    }
}

/// Two walls and the water between them.
fn logo() -> Markup {
    PreEscaped(
        "<svg class=\"logo\" viewBox=\"0 0 24 24\" width=\"24\" height=\"24\" aria-hidden=\"true\">\
         <rect class=\"wall\" x=\"3\" y=\"3\" width=\"4\" height=\"18\" rx=\"1.5\"/>\
         <rect class=\"wall\" x=\"17\" y=\"3\" width=\"4\" height=\"18\" rx=\"1.5\"/>\
         <path class=\"water\" d=\"M8.5 10c1.2-1.2 2.3-1.2 3.5 0s2.3 1.2 3.5 0M8.5 15c1.2-1.2 2.3-1.2 3.5 0s2.3 1.2 3.5 0\"/>\
         </svg>"
            .to_owned(),
    )
}

/// That something is not there, not allowed, or went wrong: what, and what to do.
pub(super) fn problem(frame: &Frame<'_>, problem: &Problem, id: &str) -> Response {
    let status = problem.status();
    let (title, what_next) = match status {
        StatusCode::NOT_FOUND => {
            ("Not found", "It may have been deleted, or it is not yours to see.")
        }
        StatusCode::FORBIDDEN => {
            ("Not allowed", "Sign in with a token of a higher role, or ask an admin of the tenant.")
        }
        StatusCode::CONFLICT => ("Not as things are now", "Go back, look again, and decide anew."),
        StatusCode::TOO_MANY_REQUESTS => ("Too many requests", "Wait a little, and try again."),
        StatusCode::UNAUTHORIZED => ("Signed out", "Sign in again."),
        status if status.is_server_error() => (
            "Something went wrong",
            "Try again; the server’s log says more, by the request’s name.",
        ),
        _ => ("That did not work", "Go back, change it, and try again."),
    };
    let body = html! {
        div.trouble {
            p.code { (status.as_u16()) }
            h1 { (title) }
            p.lead { (sentence(problem.detail())) }
            @for mistake in problem.mistakes() { pre.mistake { (mistake) } }
            p { (what_next) }
            p { a.button href=(HOME) { "To the overview" } }
            p.fine { "Request " code { (id) } }
        }
    };
    (status, Page::new(frame, Section::None, title, body)).into_response()
}

/// What the service says, as a sentence.
pub(super) fn sentence(text: &str) -> String {
    let mut chars = text.chars();
    let first = chars.next().map(|c| c.to_uppercase().to_string()).unwrap_or_default();
    let end = if text.ends_with(['.', '!', '?', '`', '}']) { "" } else { "." };
    format!("{first}{}{end}", chars.as_str())
}

/// Whether somebody may do what a role may.
pub(super) fn may(caller: &Caller, role: Role) -> bool {
    caller.role >= role
}
