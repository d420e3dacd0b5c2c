//! The list of jobs.

use clap::ValueEnum as _;
use maud::{Markup, html};

use super::{
    actions::notice,
    overview::first_steps,
    page::{Page, Section, may},
    parts::{ago, badge, encoded, lasting},
    visit::Visit,
};
use crate::{
    http::{Answer, problem::Problem},
    registry::records::{EndedAs, Role},
    service::jobs::{JobQuery, JobView, JobWord},
};

/// How many jobs a page has.
const PAGE: usize = 50;

/// The page.
pub(super) async fn page(visit: Visit) -> Answer<Page> {
    let after = visit.said("after").map(|id| {
        id.parse().map_err(|_| Problem::invalid("`after` must be the identifier of a job"))
    });
    let tenant = visit.tenant()?;
    let query = JobQuery {
        tenant: tenant.clone(),
        state: visit.said("state").map(str::to_owned),
        after: after.transpose()?,
        limit: PAGE,
    };
    let found = visit.service.list(&visit.caller, &query)?;
    let filtered = query.state.is_some() || tenant.is_some();
    let next = found.jobs.last().filter(|_| found.more).map(|last| {
        let mut href = format!("/console/jobs?after={}", last.record.id);
        for (name, value) in [("state", visit.said("state")), ("tenant", visit.said("tenant"))] {
            href.extend(value.map(|value| format!("&{name}={}", encoded(value))));
        }
        href
    });
    let body = html! {
        (notice(&visit))
        div.title {
            h1 { "Jobs" }
            @if may(&visit.caller, Role::Author) {
                a.button.primary href="/console/jobs/new" { "Submit a job" }
            }
        }
        (filter(&visit))
        div #jobs data-live {
            @if !found.jobs.is_empty() { (table(&visit, &found.jobs, "Jobs, the newest first")) }
            @else if filtered || query.after.is_some() {
                div.empty {
                    p { strong { "No job is like that." } }
                    p { a href="/console/jobs" { "Show all jobs" } }
                }
            }
            @else { (first_steps(may(&visit.caller, Role::Author))) }
        }
        @if query.after.is_some() || next.is_some() {
            nav.pages aria-label="Pages" {
                @if query.after.is_some() { a.button href="/console/jobs" { "Newest" } }
                @if let Some(next) = next { a.button href=(next) rel="next" { "Older" } }
            }
        }
    };
    Ok(visit.page(Section::Jobs, "Jobs", body))
}

fn filter(visit: &Visit) -> Markup {
    html! {
        form.filter method="get" action="/console/jobs" role="search" aria-label="Which jobs" {
            div.field {
                label for="state" { "State" }
                select #state name="state" {
                    option value="" { "any" }
                    @for state in JobWord::value_variants().iter().map(|state| state.word()) {
                        option value=(state) selected[visit.said("state") == Some(state)] { (state) }
                    }
                }
            }
            @if visit.caller.tenant.is_none() {
                div.field {
                    label for="tenant" { "Tenant" }
                    input #tenant name="tenant" value=[visit.said("tenant")] placeholder="any"
                        autocomplete="off" spellcheck="false";
                }
            }
            button type="submit" { "Filter" }
        }
    }
}

/// Jobs, a row each.
pub(super) fn table(visit: &Visit, jobs: &[JobView], caption: &str) -> Markup {
    let all = visit.caller.tenant.is_none();
    html! {
        div.scroll tabindex="0" role="region" aria-label=(caption) {
            table {
                caption.hidden { (caption) }
                thead { tr {
                    th scope="col" { "Job" }
                    th scope="col" { "State" }
                    @if all { th scope="col" { "Tenant" } }
                    th scope="col" { "Submitted" }
                    th.right scope="col" { "For" }
                } }
                tbody {
                    @for job in jobs {
                        @let record = &job.record;
                        tr {
                            th scope="row" {
                                a href={ "/console/jobs/" (record.id) } { (record.name) }
                                div.fine.mono { (short(&record.id.to_string())) }
                                @if let Some(EndedAs::Failed { error }) = record.ended.as_ref().map(|e| &e.outcome) {
                                    div.why title=(error) { (error) }
                                }
                            }
                            td { (badge(job.state.word())) }
                            @if all { td { (record.tenant) } }
                            td { (ago(visit.now, record.created_at)) }
                            td.right { (lasted(visit.now, job)) }
                        }
                    }
                }
            }
        }
    }
}

/// From when it was submitted to its end, or until now.
pub(super) fn lasted(now: i64, job: &JobView) -> Markup {
    let end = job.record.ended.as_ref().map_or(now, |ended| ended.at);
    lasting(u64::try_from(end - job.record.created_at).unwrap_or(0))
}

/// The beginning of an identifier, by which people know it again.
pub(super) fn short(id: &str) -> &str {
    id.get(..8).unwrap_or(id)
}
