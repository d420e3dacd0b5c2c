//! Looking on at a job: what its operators log, and some of what goes by.

use std::{sync::Arc, time::Duration};

use maud::{Markup, html};
use serde_json::Value;
use tokio::time::{Instant, timeout_at};

use super::{
    job::{Tab, head},
    page::{Page, Section, may},
    parts::{ago, at, bytes, command, empty, list, text},
    visit::Visit,
};
use crate::{
    http::{Answer, problem::Problem, watch::least_level},
    ids::OperatorName,
    registry::records::Role,
    watching::{
        log_book::{Level, Line, Wanted},
        tap::{Sample, Samples, Seen, Watcher},
    },
};

/// How many lines the page of logs has.
const LINES: usize = 200;
/// How long is looked at what goes by, for one picture of it, and how many records it has.
const WHILE: Duration = Duration::from_secs(1);
const RECORDS: usize = 30;

/// The last lines that operators logged.
pub(super) async fn logs(visit: Visit) -> Answer<Page> {
    let id = visit.path.job()?;
    let job = visit.service.view(&visit.caller, id)?;
    let book = visit.service.log_book(&visit.caller, id)?;
    let level = least_level(visit.said("level"))?;
    let wanted = Wanted { operator: visit.said("operator").map(str::to_owned), level };
    let (lines, _) = book.after(book.before_last(&wanted, LINES), &wanted, LINES);
    let filtered = wanted.operator.is_some() || level != Level::Info;
    let body = html! {
        (head(&visit, &job, Tab::Logs))
        section aria-labelledby="logs-title" {
            h2 #logs-title { "Logs" }
            (log_filter(&visit, &job.record.plan, level))
            div #logs data-live {
                @if lines.is_empty() {
                    (empty(if filtered { "No line is like that." } else { "Nothing was logged." }, &html! {
                        p { "What operators log appears here: the last 1,000 lines of a job are kept for as long as the server runs. In a terminal:" }
                        (command(&format!("cofferdam job logs {id} --follow")))
                    }))
                } @else { (table(&visit, &lines)) }
            }
        }
    };
    Ok(visit.page(Section::Jobs, &format!("Logs of {}", job.record.name), body))
}

fn log_filter(visit: &Visit, plan: &Value, level: Level) -> Markup {
    html! {
        form.filter method="get" role="search" aria-label="Which lines" {
            div.field {
                label for="operator" { "Operator" }
                select #operator name="operator" {
                    option value="" { "any" }
                    (vertices(plan, visit.said("operator"), &["operator"]))
                }
            }
            div.field {
                label for="level" { "Level" }
                select #level name="level" {
                    @for known in Level::ALL {
                        option value=(known.word()) selected[known == level] { (known.word()) @if known != Level::Error { " and above" } }
                    }
                }
            }
            button type="submit" { "Filter" }
        }
    }
}

/// Vertices of some kinds, to choose from.
fn vertices(plan: &Value, chosen: Option<&str>, kinds: &[&str]) -> Markup {
    let known = list(plan, "vertices").iter();
    let known = known.filter(|vertex| kinds.contains(&text(vertex, "kind")));
    html! {
        @for name in known.map(|vertex| text(vertex, "name")) {
            option value=(name) selected[chosen == Some(name)] { (name) }
        }
    }
}

fn table(visit: &Visit, lines: &[Line]) -> Markup {
    html! {
        div.scroll tabindex="0" role="region" aria-label="Lines that were logged" {
            table.stack {
                caption.hidden { "Lines that operators logged, the newest first" }
                thead { tr {
                    th scope="col" { "When" } th scope="col" { "Level" } th scope="col" { "Operator" } th scope="col" { "Message" }
                } }
                tbody {
                    @for line in lines.iter().rev() {
                        tr {
                            td { (ago(visit.now, line.at)) }
                            td { (line.level.word()) }
                            th scope="row" { (line.operator) " " span.fine { (line.subtask) } }
                            td.said { (line.message) }
                        }
                    }
                }
            }
        }
    }
}

/// Some of what a source or an operator puts out, while the page is made.
pub(super) async fn tail(visit: Visit) -> Answer<Page> {
    let id = visit.path.job()?;
    let job = visit.service.view(&visit.caller, id)?;
    let chosen = visit.said("vertex");
    let looks = may(&visit.caller, Role::Author);
    let ended = job.record.ended.is_some();
    let seen = match chosen.filter(|_| looks && !ended) {
        None => None,
        Some(vertex) => {
            let vertex =
                OperatorName::new(vertex).map_err(|bad| Problem::invalid(bad.to_string()))?;
            let _place = visit.service.take_place(&visit.caller, id)?;
            Some(look(visit.service.watch(&visit.caller, id, &vertex)?).await)
        }
    };
    let body = html! {
        (head(&visit, &job, Tab::Tail))
        section aria-labelledby="tail-title" {
            h2 #tail-title { "What goes by" }
            @if !looks {
                p { "These are records: to see them takes a token of role author." }
            } @else if ended {
                p #tail data-live { "The job has ended: nothing goes by any more." }
            } @else {
                form.filter method="get" role="search" aria-label="Whose records" {
                    div.field {
                        label for="vertex" { "Put out by" }
                        select #vertex name="vertex" required { (vertices(&job.record.plan, chosen, &["source", "operator"])) }
                    }
                    button type="submit" { "Look" }
                }
                div #tail data-live {
                    @match &seen {
                        None => { (empty("Choose a source or an operator.", &html! {
                            p { "Some of the records that it puts out are shown, of each of its outputs, and what it rejects. The job does not wait for who looks on. In a terminal:" }
                            (command(&format!("cofferdam job tail {id} VERTEX")))
                        })) }
                        Some(seen) if seen.is_empty() => { (empty("Nothing went by within a second.", &html! { p { "The page goes on looking." } })) }
                        Some(seen) => { (samples(seen)) }
                    }
                }
            }
        }
    };
    Ok(visit.page(Section::Jobs, &format!("Records of {}", job.record.name), body))
}

/// What goes by within a while, or until there is enough of it.
async fn look(mut watcher: Watcher) -> Vec<Arc<Samples>> {
    let until = Instant::now() + WHILE;
    let (mut seen, mut records) = (Vec::new(), 0);
    while records < RECORDS {
        match timeout_at(until, watcher.next()).await {
            Ok(Seen::Samples(samples)) => {
                records += samples.records.len();
                seen.push(samples);
            }
            Ok(Seen::Missed(_)) => {}
            Ok(Seen::End) | Err(_) => break,
        }
    }
    seen
}

fn samples(seen: &[Arc<Samples>]) -> Markup {
    let rejects = seen.iter().any(|samples| samples.records.iter().any(|r| r.reason.is_some()));
    let of: usize = seen.iter().map(|samples| samples.of).sum();
    let each = seen.iter().flat_map(|samples| samples.records.iter().map(move |r| (samples, r)));
    html! {
        p.fine { "Samples of " (of) " records that went by within a second." }
        div.scroll tabindex="0" role="region" aria-label="Records" {
            table.stack {
                caption.hidden { "Some records that went by" }
                thead { tr {
                    th scope="col" { "Output" } th scope="col" { "Event time" } th scope="col" { "Key" } th scope="col" { "Value" }
                    @if rejects { th scope="col" { "Rejected because" } }
                } }
                tbody {
                    @for (samples, record) in each.take(RECORDS) {
                        tr {
                            th scope="row" { (samples.output) }
                            td { @if let Some(time) = record.timestamp { (at(time)) } }
                            td.mono.key { (String::from_utf8_lossy(&record.key)) }
                            td.said { (value(record)) }
                            @if rejects { td { @if let Some(reason) = &record.reason { (reason) } } }
                        }
                    }
                }
            }
        }
    }
}

fn value(record: &Sample) -> Markup {
    let rest = record.value_bytes.saturating_sub(record.value.len());
    html! {
        (String::from_utf8_lossy(&record.value))
        @if rest > 0 { span.fine { " and " (bytes(rest as u64)) " more" } }
    }
}
