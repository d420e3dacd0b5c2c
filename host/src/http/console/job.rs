//! A job: what it does now, as a drawing, by vertex and by subtask; and what can be done with it.

use maud::{Markup, html};
use serde::Deserialize as _;
use serde_json::Value;

use super::{
    actions::notice,
    graph::Graph,
    jobs::lasted,
    page::{Page, Section, may},
    parts::{
        action, ago, asking, at, badge, bytes, conditions, count, lasting, list, number, part,
        share, text,
    },
    rates::{self, Rates},
    visit::Visit,
};
use crate::{
    http::Answer,
    human,
    registry::records::{EndedAs, Role},
    service::jobs::{JobView, JobWord},
    task_manager::slots::Waiting,
};

/// The pages of a job.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Tab {
    Now,
    Checkpoints,
    Exceptions,
    Logs,
    Tail,
    Config,
}

impl Tab {
    const ALL: [(Self, &'static str, &'static str); 6] = [
        (Self::Now, "", "Now"),
        (Self::Checkpoints, "/checkpoints", "Checkpoints"),
        (Self::Exceptions, "/exceptions", "Exceptions"),
        (Self::Logs, "/logs", "Logs"),
        (Self::Tail, "/tail", "Records"),
        (Self::Config, "/config", "Job file and plan"),
    ];
}

/// What is above each page of a job.
pub(super) fn head(visit: &Visit, job: &JobView, tab: Tab) -> Markup {
    let record = &job.record;
    let home = format!("/console/jobs/{}", record.id);
    html! {
        nav.crumbs aria-label="Where this is" { a href="/console/jobs" { "Jobs" } " / " }
        (notice(visit))
        div.title #job-title data-live {
            h1 { (record.name) " " (badge(job.state.word())) }
        }
        dl.facts #job-facts data-live {
            div { dt { "Identifier" } dd.mono { (record.id) } }
            div { dt { "Tenant" } dd { (record.tenant) } }
            div { dt { "Submitted" } dd { (ago(visit.now, record.created_at)) } }
            div { dt { @if record.ended.is_some() { "Lasted" } @else { "For" } } dd { (lasted(visit.now, job)) } }
            @if let Some(from) = &record.from_savepoint {
                div { dt { "Began with" } dd { "savepoint " (from.savepoint) } }
            }
        }
        div #job-conditions data-live { (conditions(visit.now, &job.conditions)) }
        div #job-ended data-live { (ending(job)) }
        (actions(visit, job, &home))
        nav.tabs aria-label="About this job" {
            ul {
                @for (known, path, name) in Tab::ALL {
                    li { a href={ (home) (path) } aria-current=[(known == tab).then_some("page")] { (name) } }
                }
            }
        }
    }
}

/// How it ended, where that needs words.
fn ending(job: &JobView) -> Markup {
    let Some(ended) = &job.record.ended else { return html! {} };
    html! {
        @match &ended.outcome {
            EndedAs::Failed { error } => { (failed(error)) }
            EndedAs::Stopped { savepoint: Some(savepoint), .. } => {
                div.notice.plain { "Stopped with savepoint " strong { (savepoint) } ". Restart it to go on from there." }
            }
            _ => {}
        }
    }
}

/// What it failed with: the first lines, and all of it for who wants that.
fn failed(error: &str) -> Markup {
    let short: Vec<&str> =
        error.lines().take_while(|line| !line.trim_start().starts_with("at ")).take(3).collect();
    html! {
        div.notice.bad {
            p { strong { "It failed. " } span.pre { (short.join("\n")) } }
            @if short.len() < error.lines().count() {
                details { summary { "All that was said" } pre.wrap { (error) } }
            }
        }
    }
}

/// What can be done with it, as it is, by this caller.
fn actions(visit: &Visit, job: &JobView, home: &str) -> Markup {
    if !may(&visit.caller, Role::Operator) {
        return html! {
            p.fine #actions { "Your token is of role " (visit.caller.role.word()) ": to stop or change a job takes one of role operator." }
        };
    }
    let to = |verb: &str| format!("{home}/{verb}");
    let word = job.state;
    let ended = job.record.ended.is_some();
    let restarts = matches!(word, JobWord::Failed | JobWord::Stopped);
    html! {
        div.actions #actions data-live {
            @if word == JobWord::Running {
                (asking("Rescale", &to("rescale"), "The job takes a checkpoint and goes on from it with another parallelism; its sources stop for a moment.", "Rescale", "primary", &rescaling(job)))
                (asking("Savepoint", &to("savepoints"), "A checkpoint that is yours: it is kept until you dispose of it. The job goes on.", "Take a savepoint", "primary", &naming("taken-as")))
                (asking("Stop", &to("stop"), "The job takes a savepoint and ends. It can be restarted from there.", "Stop with a savepoint", "danger", &naming("stopped-as")))
            }
            @if !ended && word != JobWord::Cancelling {
                (action("Cancel", &to("cancel"), "The job takes a last checkpoint, its sinks commit, and it ends for good: it cannot be restarted.", "Cancel the job", "danger"))
            }
            @if restarts {
                (action("Restart", &to("restart"), "The job goes on from its last checkpoint.", "Restart the job", "primary"))
            }
            @if ended {
                (action("Delete", &to("delete"), "The job is forgotten, with its state, its savepoints and its crash capsules. What it has written stays.", "Delete the job", "danger"))
            }
        }
    }
}

fn naming(id: &str) -> Markup {
    html! {
        div.field {
            label for=(id) { "Name (optional)" }
            input id=(id) name="savepoint" autocomplete="off" spellcheck="false" placeholder="one is made up";
        }
    }
}

fn rescaling(job: &JobView) -> Markup {
    let vertices = list(&job.record.plan, "vertices");
    let operators = vertices.iter().filter(|vertex| text(vertex, "kind") == "operator");
    html! {
        div.field {
            label for="rescale-operator" { "Operator" }
            select #rescale-operator name="operator" {
                option value="" { "all that have no parallelism of their own" }
                @for operator in operators {
                    option value=(text(operator, "name")) {
                        (text(operator, "name")) " (now ×" (number(operator, "parallelism")) ")"
                    }
                }
            }
        }
        div.field {
            label for="parallelism" { "Parallelism" }
            input #parallelism name="parallelism" type="number" min="1" max="32768" required value="2";
        }
    }
}

/// The page.
pub(super) async fn page(visit: Visit) -> Answer<Page> {
    let id = visit.path.job()?;
    let job = visit.service.view(&visit.caller, id)?;
    let live = job.record.ended.is_none() && !job.status.is_null();
    let rates = if live { rates::of(id, &job.status) } else { Rates::default() };
    let graph = Graph::new(&job.record.plan, &job.status, &rates, live);
    let body = html! {
        (head(&visit, &job, Tab::Now))
        div #waiting data-live { (waiting(&job.status)) }
        section aria-labelledby="graph-title" {
            h2 #graph-title { "Graph" }
            div #graph data-live {
                @if graph.is_empty() { p.fine { "There is no plan of this job." } }
                @else { (graph.draw()) }
            }
        }
        section aria-labelledby="vertices-title" {
            h2 #vertices-title { "Sources, operators and sinks" }
            div #vertices data-live { (vertices(&job, &rates, live)) }
        }
        section aria-labelledby="subtasks-title" {
            h2 #subtasks-title { "Subtasks" }
            div #subtasks data-live { (subtasks(&job.status)) }
        }
        section aria-labelledby="streams-title" {
            h2 #streams-title { "Streams" }
            div #streams data-live { (streams(&graph, live)) }
        }
    };
    Ok(visit.page(Section::Jobs, job.record.name.as_str(), body))
}

/// What a job waits for that has no slots, or was slowed down by.
fn waiting(status: &Value) -> Markup {
    let waiting = Waiting::deserialize(&status["placement"]["waiting"]).ok();
    let slowed = status["tenant"]["slowed_by"].as_str();
    html! {
        @if let Some(waiting) = waiting {
            div.notice.warn role="status" { "It waits for " (waiting) }
        }
        @if let Some(quota) = slowed {
            div.notice.warn role="status" {
                "Its sources waited " (lasting(number(&status["tenant"], "slowed_millis")))
                " for the tenant’s quota of " (quota) "."
            }
        }
    }
}

fn rate(rate: Option<f64>) -> Markup {
    html! {
        @match rate {
            Some(rate) => span.num { (human::count(rate)) "/s" },
            None => span.num title="Known from the second look on" { "–" },
        }
    }
}

/// The expressions that an operator evaluates.
fn expressions(job: &JobView, name: &str) -> Markup {
    let planned = list(&job.record.plan, "vertices");
    let vertex = planned.iter().find(|vertex| text(vertex, "name") == name);
    html! {
        @for expression in vertex.map(|vertex| list(vertex, "expressions")).unwrap_or_default() {
            div.fine { code { (expression.as_str().unwrap_or_default()) } }
        }
    }
}

fn vertices(job: &JobView, rates: &Rates, live: bool) -> Markup {
    let vertices = list(&job.status, "vertices");
    if vertices.is_empty() {
        return html! { p.fine { "It has not run yet." } };
    }
    html! {
        div.scroll tabindex="0" role="region" aria-label="Sources, operators and sinks" {
            table.dense {
                caption.hidden { "What each source, operator and sink does" }
                thead { tr {
                    th scope="col" { "Name" }
                    th.right scope="col" { "Subtasks" }
                    th.right scope="col" { "Records in" }
                    th.right scope="col" { "Records out" }
                    th.right scope="col" { "Busy" }
                    th.right scope="col" { abbr title="The part of the time that it waits for room behind it" { "Backpressure" } }
                    th scope="col" { "Watermark" }
                    th.right scope="col" { "Rejected" }
                    th.right scope="col" { "Late" }
                    th.right scope="col" { "Restarts" }
                    th.right scope="col" { "Slot memory" }
                } }
                tbody {
                    @for vertex in vertices {
                        @let name = text(vertex, "name");
                        @let kind = text(vertex, "kind");
                        tr {
                            th scope="row" { (name) div.fine { (kind) } (expressions(job, name)) }
                            td.right { (number(vertex, "parallelism")) }
                            td.right { @if kind != "source" { (count(number(vertex, "records_in"))) @if live { div.fine { (rate(rates.entering(name))) } } } }
                            td.right { @if kind != "sink" { (count(number(vertex, "records_out"))) @if live { div.fine { (rate(rates.leaving(name))) } } } }
                            td.right { @if live { (share(part(vertex, "busy"))) } }
                            td.right { @if live { (share(part(vertex, "backpressured"))) } }
                            td {
                                @if let Some(watermark) = vertex["watermark"].as_i64() {
                                    (at(watermark))
                                    @if let Some(lag) = vertex["lag_millis"].as_u64().filter(|lag| live && *lag < 86_400_000) {
                                        div.fine { (lasting(lag)) " behind" }
                                    }
                                }
                            }
                            td.right { (count(number(vertex, "rejected"))) }
                            td.right { (count(number(vertex, "late"))) }
                            td.right { (number(vertex, "restarts")) }
                            td.right { @if kind == "operator" { (bytes(number(vertex, "slot_memory"))) } }
                        }
                    }
                }
            }
        }
    }
}

/// The subtasks that run, as busy as they are.
fn subtasks(status: &Value) -> Markup {
    let vertices = list(status, "vertices");
    if vertices.iter().all(|vertex| list(vertex, "subtasks").is_empty()) {
        return html! { p.fine { "None runs." } };
    }
    let slots = list(&status["memory"], "slots");
    html! {
        p.fine { "Each cell is a subtask: the busier it is, the darker." }
        dl.heat {
            @for vertex in vertices {
                div {
                    dt { (text(vertex, "name")) " " span.fine { (text(vertex, "kind")) } }
                    dd { ul.cells {
                        @for subtask in list(vertex, "subtasks") { (cell(vertex, subtask, slots)) }
                    } }
                }
            }
        }
    }
}

fn cell(vertex: &Value, subtask: &Value, slots: &[Value]) -> Markup {
    let (name, which) = (text(vertex, "name"), number(subtask, "subtask"));
    let (busy, waits) = (part(subtask, "busy"), part(subtask, "backpressured"));
    let at = usize::try_from(which).unwrap_or(usize::MAX);
    let guest = list(vertex, "guest_millis").get(at).and_then(Value::as_u64);
    let slot = slots.iter().find(|s| text(s, "operator") == name && number(s, "subtask") == which);
    let exact = |name| human::exact(number(subtask, name));
    html! {
        li class={ "cell heat-" (level(busy)) }
            title={ (exact("records_in")) " records in, " (exact("records_out")) " out, " (exact("rejected")) " rejected, " (exact("late")) " late" } {
            span.which { (which) }
            span { "busy " (share(busy)) @if waits >= 0.01 { ", waits " (share(waits)) } }
            @if text(vertex, "kind") == "sink" { span { (count(number(subtask, "records_in"))) " in" } }
            @else { span { (count(number(subtask, "records_out"))) " out" } }
            @if let Some(guest) = guest { span { "guest " (human::millis(guest)) } }
            @if let Some(slot) = slot {
                span { (bytes(number(slot, "used"))) ", " (share(part(slot, "utilisation") / 100.0)) }
            }
        }
    }
}

/// How dark a cell is, 0 to 5.
pub(super) fn level(part: f64) -> u8 {
    match part {
        p if p < 0.02 => 0,
        p if p < 0.2 => 1,
        p if p < 0.4 => 2,
        p if p < 0.6 => 3,
        p if p < 0.85 => 4,
        _ => 5,
    }
}

fn streams(graph: &Graph<'_>, live: bool) -> Markup {
    html! {
        div.scroll tabindex="0" role="region" aria-label="Streams" {
            table {
                caption.hidden { "The streams between them" }
                thead { tr {
                    th scope="col" { "From" }
                    th scope="col" { "To" }
                    th scope="col" { "Exchange" }
                    th.right scope="col" { @if live { "Records a second" } @else { "Records" } }
                    th.right scope="col" { "Sender waits" }
                    th scope="col" { "Watermark" }
                } }
                tbody {
                    @for flow in graph.flows() {
                        tr {
                            th scope="row" { (flow.from) }
                            td { (flow.to) }
                            td { (flow.exchange) @if flow.chained { ", chained" } }
                            td.right { span.num { (flow.rate.as_deref().unwrap_or("–")) } }
                            td.right { @if live { (share(flow.waits)) } }
                            td { @if let Some(watermark) = flow.watermark { (at(watermark)) } }
                        }
                    }
                }
            }
        }
    }
}
