//! Why a job failed: each failure with its class and whose fault it is, and what is kept of crashes.

use maud::{Markup, html};
use serde::Serialize;

use super::{
    job::{Tab, head},
    page::{Page, Section, may},
    parts::{ago, bytes, command, empty, lasting},
    visit::Visit,
};
use crate::{
    failure::Fault, http::Answer, job_manager::status::PastFailure, registry::records::Role,
    service::look::CapsuleFile,
};

/// The page.
pub(super) async fn page(visit: Visit) -> Answer<Page> {
    let id = visit.path.job()?;
    let job = visit.service.view(&visit.caller, id)?;
    let found = visit.ask(move |service, caller| service.exceptions(caller, id)).await?;
    let home = format!("/console/jobs/{id}");
    let body = html! {
        (head(&visit, &job, Tab::Exceptions))
        section aria-labelledby="failures-title" {
            h2 #failures-title { "Failures" }
            div #failures data-live {
                @if found.restarts > 0 { p.fine { "Restarted " (found.restarts) " times since it was started in this process. The newest failure is first." } }
                @if found.failures.is_empty() {
                    (empty("Nothing has failed.", &html! {
                        p { "Traps, refusals and broken connections appear here, each with its class, and what was kept of it." }
                    }))
                }
                @for failure in found.failures.iter().rev() { (failed(&visit, failure, &home)) }
            }
        }
        section aria-labelledby="capsules-title" {
            h2 #capsules-title { "Crash capsules" }
            div #capsules data-live { (capsules(&visit, &found.capsules, &home)) }
        }
    };
    Ok(visit.page(Section::Jobs, &format!("Exceptions of {}", job.record.name), body))
}

/// What something is called in what the API answers.
pub(super) fn word(value: &impl Serialize) -> String {
    serde_json::to_value(value).ok().and_then(|v| v.as_str().map(str::to_owned)).unwrap_or_default()
}

fn failed(visit: &Visit, failure: &PastFailure, home: &str) -> Markup {
    let whose = match failure.fault {
        Fault::Operator => "The operator’s author has to do something.",
        Fault::Environment => {
            "Whoever feeds the job, or runs what is around it, has to do something."
        }
        Fault::Host => "Cofferdam is at fault: please report it, with the server’s log.",
    };
    html! {
        article.panel.failure {
            h3 {
                (word(&failure.kind).replace('-', " "))
                @if let Some(operator) = &failure.operator {
                    " in " (operator)
                    @if let Some(subtask) = failure.subtask { " (subtask " (subtask) ")" }
                }
            }
            p.fine {
                (ago(visit.now, failure.at)) " · "
                @match failure.restart_after_millis {
                    Some(after) => { "restarted after " (lasting(after)) }
                    None => "given up",
                }
                " · " (whose)
            }
            pre.wrap { (failure.message) }
            @if !failure.backtrace.is_empty() {
                details {
                    summary { "Frames of the guest, the innermost first (" (failure.backtrace.len()) ")" }
                    pre { @for frame in &failure.backtrace { (frame) "\n" } }
                }
            }
            @if let Some(capsule) = failure.capsule.as_ref().filter(|_| may(&visit.caller, Role::Author)) {
                p { a href={ (home) "/capsules/" (capsule) } download { "Crash capsule " (capsule) } }
            }
        }
    }
}

fn capsules(visit: &Visit, capsules: &[CapsuleFile], home: &str) -> Markup {
    let about = html! {
        p { "What led to a crash of a guest is kept in a capsule, which is replayed on a laptop:" }
        (command("cofferdam replay FILE.capsule"))
    };
    if capsules.is_empty() {
        return empty("No capsules.", &about);
    }
    let author = may(&visit.caller, Role::Author);
    html! {
        (about)
        div.scroll tabindex="0" role="region" aria-label="Crash capsules" {
            table {
                caption.hidden { "Crash capsules" }
                thead { tr { th scope="col" { "File" } th.right scope="col" { "Size" } th scope="col" { span.hidden { "Actions" } } } }
                tbody {
                    @for capsule in capsules {
                        tr {
                            th.mono scope="row" { (capsule.name) }
                            td.right { (bytes(capsule.bytes)) }
                            td {
                                @if author { a.button href={ (home) "/capsules/" (capsule.name) } download { "Download" } }
                                @else { span.fine { "It may hold records: for tokens of role author." } }
                            }
                        }
                    }
                }
            }
        }
    }
}
