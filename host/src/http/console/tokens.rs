//! Tokens: who may do what. A new one is shown once, on the page that answers the form.

use axum::{
    body::Body,
    http::StatusCode,
    response::{IntoResponse as _, Redirect, Response},
};
use maud::{Markup, html};

use super::{
    actions::{back, notice},
    artifacts::tenant_field,
    page::{Page, Section},
    parts::{action, ago, at, badge, empty},
    visit::{Form, Visit},
};
use crate::{
    http::{Answer, problem::Problem},
    ids::TenantId,
    registry::records::{Role, TokenRecord},
    service::access::{FreshToken, TokenRequest},
};

/// The longest form, in bytes.
const LONGEST: usize = 4 << 10;
/// The longest text that says what a token is for, in characters.
const LONGEST_NAME: usize = 200;
/// A day, in milliseconds.
const DAY: i64 = 86_400_000;
/// After how many days a token may end.
const DAYS: [i64; 4] = [1, 7, 30, 365];
/// Each with what it may do.
const ROLES: [(Role, &str); 5] = [
    (Role::Viewer, "looks"),
    (Role::Author, "uploads and submits too"),
    (Role::Operator, "stops and changes jobs too"),
    (Role::Admin, "everything, tokens too"),
    (Role::Ingest, "posts records, and nothing else"),
];

/// The page.
pub(super) async fn page(visit: Visit) -> Answer<Page> {
    show(&visit, None).await
}

async fn show(visit: &Visit, fresh: Option<&FreshToken>) -> Answer<Page> {
    let tokens = visit.service.tokens(&visit.caller)?;
    let tenant = tenant_field(visit, "").await?;
    let body = html! {
        (notice(visit))
        h1 { "Tokens" }
        @if let Some(fresh) = fresh { (shown_once(fresh)) }
        section aria-labelledby="tokens-title" {
            h2 #tokens-title { "Who may come in" }
            @if tokens.is_empty() { (empty("No tokens.", &html! { p { "Make one below." } })) }
            @else { (table(visit, &tokens)) }
        }
        section aria-labelledby="new-title" {
            h2 #new-title { "A new token" }
            form.panel.stack method="post" action="/console/tokens" {
                div.columns {
                    div.field { label for="name" { "What it is for" } input #name name="name" required maxlength=(LONGEST_NAME) autocomplete="off" placeholder="CI of the payments team"; }
                    (tenant)
                    div.field {
                        label for="role" { "Role" }
                        select #role name="role" { @for (role, about) in ROLES { option value=(role.word()) { (role.word()) ": " (about) } } }
                    }
                    div.field {
                        label for="expires" { "Ends" }
                        select #expires name="expires" {
                            option value="" { "never" }
                            @for days in DAYS { option value=(days) selected[days == 30] { "after " (days) @if days == 1 { " day" } @else { " days" } } }
                        }
                    }
                }
                @if visit.caller.tenant.is_none() {
                    label.check { input type="checkbox" name="all" value="true"; "For every tenant, not only the one above" }
                }
                button.primary type="submit" { "Make a token" }
            }
        }
    };
    Ok(visit.page(Section::Tokens, "Tokens", body))
}

fn shown_once(fresh: &FreshToken) -> Markup {
    html! {
        div.notice.good role="status" {
            p { strong { "The token for “" (fresh.record.name) "”. " } "It is shown now and never again: keep it where secrets are kept." }
            pre.wrap { code #fresh { (fresh.secret) } }
            p { button type="button" data-copy="fresh" hidden { "Copy" } }
        }
    }
}

fn state(token: &TokenRecord, now: i64) -> &'static str {
    if token.revoked_at.is_some() {
        "revoked"
    } else if token.expires_at.is_some_and(|at| at <= now) {
        "expired"
    } else {
        "good"
    }
}

fn table(visit: &Visit, tokens: &[TokenRecord]) -> Markup {
    html! {
        div.scroll tabindex="0" role="region" aria-label="Tokens" {
            table {
                caption.hidden { "Tokens" }
                thead { tr {
                    th scope="col" { "For" }
                    th scope="col" { "Tenant" }
                    th scope="col" { "Role" }
                    th scope="col" { "State" }
                    th scope="col" { "Made" }
                    th scope="col" { "Ends" }
                    th scope="col" { span.hidden { "Actions" } }
                } }
                tbody {
                    @for token in tokens {
                        @let state = state(token, visit.now);
                        tr {
                            th scope="row" {
                                (token.name)
                                @if Some(token.id) == visit.caller.token { " " span.chip { "yours" } }
                                div.fine.mono { (token.id) }
                            }
                            td { @match &token.tenant { Some(tenant) => (tenant), None => em { "every tenant" } } }
                            td { (token.role.word()) }
                            td { (badge(state)) }
                            td { (ago(visit.now, token.created_at)) }
                            td { @match token.expires_at { Some(end) => (at(end)), None => "never" } }
                            td {
                                @if state == "good" {
                                    (action("Revoke", &format!("/console/tokens/{}/revoke", token.id), "It opens nothing from then on, and its sessions end. That cannot be taken back.", "Revoke the token", "danger"))
                                }
                            }
                        }
                    }
                }
            }
        }
    }
}

/// Makes a token.
pub(super) async fn make(visit: Visit, body: Body) -> Answer<Response> {
    let form = Form::read(&visit.service, body, LONGEST).await?;
    let name = form.filled("name").unwrap_or_default().to_owned();
    if name.is_empty() || name.chars().count() > LONGEST_NAME || name.chars().any(char::is_control)
    {
        let must = format!("`name` must be plain text of {LONGEST_NAME} characters at most");
        return Err(Problem::invalid(must));
    }
    let role = ROLES.iter().find(|(role, _)| form.get("role") == Some(role.word()));
    let (role, _) = role.ok_or_else(|| Problem::invalid("`role` is none"))?;
    let days =
        form.filled("expires").map(|days| days.parse::<i64>().ok().filter(|n| DAYS.contains(n)));
    let days =
        days.map(|days| days.ok_or_else(|| Problem::invalid("`expires` is none"))).transpose()?;
    let named = form.filled("tenant").map(TenantId::new).transpose();
    let named = named.map_err(|bad| Problem::invalid(bad.to_string()))?;
    let every = form.get("all") == Some("true") && visit.caller.tenant.is_none();
    let tenant = if every { None } else { Some(visit.caller.tenant(named.as_ref())?) };
    let expires_at = days.map(|days| visit.now + days * DAY);
    let request = TokenRequest { name, tenant, role: *role, expires_at };
    let fresh = visit.ask(move |service, caller| service.make_token(caller, &request)).await?;
    let page = show(&visit, Some(&fresh)).await?;
    Ok((StatusCode::CREATED, page).into_response())
}

/// Has a token open nothing any more.
pub(super) async fn revoke(visit: Visit) -> Answer<Redirect> {
    let id = visit.path.token()?;
    visit.ask(move |service, caller| service.revoke_token(caller, id)).await?;
    Ok(back("/console/tokens", "revoked"))
}
