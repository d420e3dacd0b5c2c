//! What a job is: its file, what was changed of it, what its operators run, and its plan.

use maud::html;

use super::{
    job::{Tab, head},
    page::{Page, Section},
    parts::encoded,
    visit::Visit,
};
use crate::http::Answer;

/// The page.
pub(super) async fn page(visit: Visit) -> Answer<Page> {
    let id = visit.path.job()?;
    let job = visit.service.view(&visit.caller, id)?;
    let record = &job.record;
    let plan = serde_json::to_string_pretty(&record.plan).unwrap_or_default();
    let tenant = encoded(record.tenant.as_str());
    let body = html! {
        (head(&visit, &job, Tab::Config))
        section aria-labelledby="runs-title" {
            h2 #runs-title { "What its operators run" }
            @if record.pins.is_empty() { p.fine { "It has no operators." } }
            @else {
                div.scroll tabindex="0" role="region" aria-label="What its operators run" {
                    table {
                        caption.hidden { "What each operator runs, whatever names point to by now" }
                        thead { tr { th scope="col" { "Operator" } th scope="col" { "Artifact" } th scope="col" { "Digest" } } }
                        tbody {
                            @for (operator, pin) in &record.pins {
                                tr {
                                    th scope="row" { (operator) }
                                    td { a href={ "/console/artifacts/" (pin.name) "?tenant=" (tenant) } { (pin.name) "@" (pin.version) } }
                                    td.mono title={ "sha256-" (pin.digest) } { (pin.digest.to_string().chars().take(16).collect::<String>()) "…" }
                                }
                            }
                        }
                    }
                }
            }
        }
        section aria-labelledby="file-title" {
            h2 #file-title { "Job file, as it was submitted" }
            @if !record.overrides.is_empty() {
                p { "Changed since, or with it:" }
                ul { @for set in &record.overrides { li { code { (set) } } } }
            }
            pre tabindex="0" aria-labelledby="file-title" { code { (record.file) } }
        }
        section aria-labelledby="plan-title" {
            h2 #plan-title { "Plan" }
            details { summary { "As JSON, as the API has it" } pre tabindex="0" { code { (plan) } } }
        }
    };
    Ok(visit.page(Section::Jobs, &format!("Job file of {}", record.name), body))
}
