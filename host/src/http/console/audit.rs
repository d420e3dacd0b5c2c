//! The audit log: who changed what, and when.

use maud::html;

use super::{
    page::{Page, Section},
    parts::{ago, empty, encoded},
    visit::Visit,
};
use crate::http::{Answer, problem::Problem};

/// How many calls a page has.
const PAGE: usize = 100;

/// The page.
pub(super) async fn page(visit: Visit) -> Answer<Page> {
    let tenant = visit.tenant()?;
    let after = visit
        .said("after")
        .map(|id| id.parse().map_err(|_| Problem::invalid("`after` must be a number")));
    let after: Option<u64> = after.transpose()?;
    let found = visit
        .ask(move |service, caller| service.audited(caller, tenant.as_ref(), after, PAGE))
        .await?;
    let next = found.calls.last().filter(|_| found.more).map(|last| {
        let tenant =
            visit.said("tenant").map(|t| format!("&tenant={}", encoded(t))).unwrap_or_default();
        format!("/console/audit?after={}{tenant}", last.id)
    });
    let all = visit.caller.tenant.is_none();
    let body = html! {
        h1 { "Audit log" }
        p.lead { "Each call that was to change something, by the API or from here, the newest first." }
        @if all {
            form.filter method="get" action="/console/audit" aria-label="Whose" {
                div.field { label for="tenant" { "Tenant" } input #tenant name="tenant" value=[visit.said("tenant")] placeholder="any" autocomplete="off" spellcheck="false"; }
                button type="submit" { "Filter" }
            }
        }
        @if found.calls.is_empty() { (empty("No calls.", &html! { p { "What changes something is written down before it is done." } })) }
        @else {
            div.scroll tabindex="0" role="region" aria-label="Calls" {
                table {
                    caption.hidden { "Calls that were to change something, the newest first" }
                    thead { tr {
                        th scope="col" { "Call" }
                        th scope="col" { "When" }
                        th.right scope="col" { "Answer" }
                        @if all { th scope="col" { "Tenant" } }
                        th scope="col" { "By token" }
                        th scope="col" { "Request" }
                    } }
                    tbody {
                        @for call in &found.calls {
                            tr {
                                th.mono scope="row" { (call.method) " " (call.path) }
                                td { (ago(visit.now, call.at)) }
                                td.right { @match call.status { Some(status) => (status), None => "none" } }
                                @if all { td { @if let Some(tenant) = &call.tenant { (tenant) } } }
                                td { @match call.token { Some(token) => span.mono { (token) }, None => "none" } div.fine { (call.role.word()) } }
                                td.mono.fine { (call.request) }
                            }
                        }
                    }
                }
            }
        }
        @if after.is_some() || next.is_some() {
            nav.pages aria-label="Pages" {
                @if after.is_some() { a.button href="/console/audit" { "Newest" } }
                @if let Some(next) = next { a.button href=(next) rel="next" { "Older" } }
            }
        }
    };
    Ok(visit.page(Section::Audit, "Audit log", body))
}
