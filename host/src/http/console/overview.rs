//! The first page: what runs, what needs somebody, and how full the TaskManager is.

use maud::{Markup, html};

use super::{
    jobs,
    page::{Page, Section, may},
    parts::{bytes, command, conditions, count, empty, figure, float, meter, share},
    visit::Visit,
};
use crate::{
    http::Answer,
    registry::records::Role,
    service::{
        jobs::JobQuery,
        overview::{Overview, TaskManagerView},
    },
};

/// How many jobs are shown of all.
const SHOWN: usize = 8;

/// The page.
pub(super) async fn page(visit: Visit) -> Answer<Page> {
    let (service, caller) = (&visit.service, &visit.caller);
    let overview = service.overview(caller);
    let machine = service.task_manager_view(caller);
    let newest = service.list(caller, &JobQuery { limit: SHOWN, ..JobQuery::default() })?;
    let failed = JobQuery { state: Some("failed".to_owned()), limit: 5, ..JobQuery::default() };
    let failed = service.list(caller, &failed)?;
    let body = html! {
        div.title {
            h1 { "Overview" }
            @if may(caller, Role::Author) {
                a.button.primary href="/console/jobs/new" { "Submit a job" }
            }
        }
        @if !overview.ready {
            div.notice.warn role="status" { "The server is starting its jobs again, or ending." }
        }
        div #conditions data-live { (conditions(visit.now, &overview.conditions)) }
        section #figures data-live aria-label="Figures" { (figures(&overview, &machine)) }
        @if !failed.jobs.is_empty() {
            section aria-labelledby="failed-title" {
                h2 #failed-title { "Need somebody" }
                div #failed data-live { (jobs::table(&visit, &failed.jobs, "Jobs that failed")) }
            }
        }
        section aria-labelledby="newest-title" {
            div.title {
                h2 #newest-title { "Newest jobs" }
                @if newest.more { a href="/console/jobs" { "All jobs" } }
            }
            div #newest data-live {
                @if newest.jobs.is_empty() { (first_steps(may(caller, Role::Author))) }
                @else { (jobs::table(&visit, &newest.jobs, "The newest jobs")) }
            }
        }
    };
    Ok(visit.page(Section::Overview, "Overview", body))
}

/// What to do on a server that has no jobs yet.
pub(super) fn first_steps(author: bool) -> Markup {
    empty(
        "No jobs yet.",
        &html! {
            @if author {
                p { "Upload an operator, then submit a job file that names it — here, or from a terminal:" }
                (command("cofferdam operator push count.wasm --name count --version 1\ncofferdam job submit job.toml"))
                p.row {
                    a.button href="/console/artifacts/new" { "Upload an operator" }
                    a.button href="/console/jobs/new" { "Submit a job" }
                }
            } @else {
                p { "Jobs appear here when somebody with a token of role author submits one." }
            }
        },
    )
}

fn figures(overview: &Overview, machine: &TaskManagerView) -> Markup {
    let of = |words: &[&str]| -> u64 {
        words.iter().filter_map(|word| overview.jobs.get(word)).map(|n| *n as u64).sum()
    };
    let taken = overview.slots_total.saturating_sub(overview.slots_free);
    let (used, limit) = (machine.memory.used as u64, machine.memory.limit as u64);
    let full = if limit == 0 { 0.0 } else { float(used) / float(limit) };
    let slots = f64::from(taken) / f64::from(overview.slots_total.max(1));
    let ended = of(&["finished", "stopped", "cancelled"]);
    let waiting = of(&["created", "queued", "restarting", "stopping", "cancelling"]);
    html! {
        dl.figures {
            (figure("Running", &count(of(&["running"])), &html! { (waiting) " on their way" }))
            (figure("Failed", &count(of(&["failed"])), &html! { (ended) " ended well" }))
            (figure("Slots in use", &html! { (taken) }, &html! {
                "of " (overview.slots_total)
                (meter(slots, &format!("{} of the slots are in use", share(slots))))
            }))
            (figure("Slot memory", &bytes(used), &html! {
                "of " (bytes(limit))
                (meter(full, &format!("{} of the slots’ memory is in use", share(full))))
            }))
        }
    }
}
