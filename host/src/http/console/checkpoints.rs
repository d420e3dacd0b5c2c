//! A job's checkpoints, as a timeline, and its savepoints.

use maud::{Markup, html};

use super::{
    job::{Tab, head},
    page::{Page, Section, may},
    parts::{action, ago, badge, bytes, count, empty, figure, float, lasting, micros},
    visit::Visit,
};
use crate::{
    http::Answer,
    human,
    job_manager::status::{CompletedCheckpoint, PastCheckpoint},
    registry::records::{Role, SavepointRecord, SavepointState},
    service::{
        control::{CheckpointConfig, Checkpoints},
        jobs::JobWord,
    },
};

/// How wide a checkpoint is in the drawing, and how high its lane.
const STEP: f64 = 74.0;
const LANE: f64 = 62.0;

/// The page.
pub(super) async fn page(visit: Visit) -> Answer<Page> {
    let id = visit.path.job()?;
    let job = visit.service.view(&visit.caller, id)?;
    let checkpoints = visit.service.checkpoints(&visit.caller, id)?;
    // Its file may have mistakes by now; that is told where the file is.
    let config = visit.service.checkpoint_config(&visit.caller, id).await.ok();
    let savepoints = visit.ask(move |service, caller| service.savepoints(caller, id)).await?;
    let may_take = may(&visit.caller, Role::Operator) && job.state == JobWord::Running;
    let home = format!("/console/jobs/{id}");
    let history: Vec<_> = checkpoints.status.history.iter().collect();
    let body = html! {
        (head(&visit, &job, Tab::Checkpoints))
        section #figures data-live aria-label="Figures" { (figures(&checkpoints)) }
        @if let Some(config) = &config { p.fine { (settings(config)) } }
        section aria-labelledby="timeline-title" {
            div.title {
                h2 #timeline-title { "Last checkpoints" }
                div.actions #take data-live {
                    @if may_take {
                        (action("Take a checkpoint", &format!("{home}/checkpoints"), "The job goes on while its state is written.", "Take it now", "primary"))
                    }
                }
            }
            div #timeline data-live {
                @if history.is_empty() {
                    (empty("No checkpoint since the job was started in this process.", &html! {
                        p { "They are taken as " code { "[checkpoints]" } " of the job file says, and at the job’s end." }
                    }))
                } @else { (timeline(&history)) (table(&visit, &history)) }
            }
        }
        section aria-labelledby="savepoints-title" {
            h2 #savepoints-title { "Savepoints" }
            div #savepoints data-live { (owned(&visit, &savepoints, &home)) }
        }
    };
    Ok(visit.page(Section::Jobs, &format!("Checkpoints of {}", job.record.name), body))
}

fn figures(checkpoints: &Checkpoints) -> Markup {
    let last = checkpoints.status.last.as_ref();
    let sums = &checkpoints.summary;
    html! {
        dl.figures {
            (figure("Completed", &count(checkpoints.status.completed), &html! { (checkpoints.status.failed) " given up" }))
            (figure("Last took", &last.map_or(html! { "–" }, |last| lasting(last.duration_millis)), &html! {
                @if let Some(range) = sums.duration_millis.filter(|range| range.min < range.max) { "from " (lasting(range.min)) " to " (lasting(range.max)) }
            }))
            (figure("Last wrote", &last.map_or(html! { "–" }, |last| bytes(last.bytes)), &html! {
                @if let Some(range) = sums.bytes.filter(|range| range.min < range.max) { "from " (bytes(range.min)) " to " (bytes(range.max)) }
            }))
            (figure("State", &last.map_or(html! { "–" }, |last| bytes(last.full_bytes)), &html! {
                @match checkpoints.status.resumed_from {
                    Some(id) => { "resumed from checkpoint " (id) }
                    None => { "all of it, in the last checkpoint" }
                }
            }))
        }
    }
}

fn settings(config: &CheckpointConfig) -> Markup {
    html! {
        "One "
        @if let Some(every) = config.interval_millis { "every " (lasting(every)) }
        @if config.interval_millis.is_some() && config.every_records.is_some() { ", and " }
        @if let Some(every) = config.every_records { "every " (count(every)) " records" }
        @if config.interval_millis.is_none() && config.every_records.is_none() { "when somebody asks, and at the job’s end" }
        @if config.min_pause_millis > 0 { ", at least " (lasting(config.min_pause_millis)) " apart" }
        "; given up after " (lasting(config.timeout_millis)) ". "
        @if config.retain == 1 { "The last one is kept." }
        @else { "The last " (config.retain) " are kept." }
    }
}

fn completed(past: &PastCheckpoint) -> Option<&CompletedCheckpoint> {
    match past {
        PastCheckpoint::Completed(completed) => Some(completed),
        PastCheckpoint::Failed { .. } => None,
    }
}

fn number_of(past: &PastCheckpoint) -> String {
    match past {
        PastCheckpoint::Completed(completed) => completed.id.to_string(),
        PastCheckpoint::Failed { id, .. } => id.to_string(),
    }
}

/// A column each, the latest to the right: how long it took, above; what it wrote, below.
fn timeline(history: &[&PastCheckpoint]) -> Markup {
    let durations = history.iter().map(|past| completed(past).map(|c| c.duration_millis));
    let sizes = history.iter().map(|past| completed(past).map(|c| c.bytes));
    let columns = u32::try_from(history.len()).unwrap_or(u32::MAX);
    let (width, height) = (f64::from(columns) * STEP + 84.0, 2.0 * (LANE + 36.0) + 26.0);
    html! {
        div.scroll.drawing tabindex="0" role="region" aria-label="Checkpoints as a timeline" {
            svg.chart viewBox={ "0 0 " (width) " " (height) } width=(width) height=(height) role="img"
                aria-label="Of each checkpoint how long it took, and what it wrote. The table below says the same." {
                (lane("Took", 0.0, durations.collect(), &human::millis))
                (lane("Wrote", LANE + 36.0, sizes.collect(), &|n| human::bytes(float(n))))
                @for (at, past) in (0_u32..).zip(history) {
                    text.tick x=(84.0 + (f64::from(at) + 0.5) * STEP) y=(height - 8.0) { "#" (number_of(past)) }
                }
            }
        }
    }
}

fn lane(name: &str, top: f64, values: Vec<Option<u64>>, show: &dyn Fn(u64) -> String) -> Markup {
    let most = values.iter().flatten().copied().max().unwrap_or(0).max(1);
    let floor = top + 22.0 + LANE;
    html! {
        text.lane x="4" y=(floor) { (name) }
        line.floor x1="76" x2=(84.0 + f64::from(u32::try_from(values.len()).unwrap_or(0)) * STEP) y1=(floor) y2=(floor) {}
        @for (at, value) in (0_u32..).zip(values) {
            @let x = 84.0 + f64::from(at) * STEP;
            @match value {
                Some(value) => {
                    @let high = (float(value) / float(most) * LANE).max(2.0);
                    rect.bar-of x=(x + 15.0) y=(floor - high) width=(STEP - 30.0) height=(high) rx="3" {}
                    text.value x=(x + STEP / 2.0) y=(floor - high - 6.0) { (show(value)) }
                }
                None => { text.value.bad x=(x + STEP / 2.0) y=(floor - 6.0) { "given up" } }
            }
        }
    }
}

fn table(visit: &Visit, history: &[&PastCheckpoint]) -> Markup {
    html! {
        div.scroll.below tabindex="0" role="region" aria-label="Checkpoints" {
            table {
                caption.hidden { "Checkpoints, the newest first" }
                thead { tr {
                    th scope="col" { "Checkpoint" }
                    th scope="col" { "Outcome" }
                    th scope="col" { "Cause" }
                    th scope="col" { "Begun" }
                    th.right scope="col" { "Took" }
                    th.right scope="col" { abbr title="The longest time between a subtask’s first barrier and its last" { "Alignment" } }
                    th.right scope="col" { abbr title="The longest time that a subtask was held up for its snapshot" { "Held up" } }
                    th.right scope="col" { "Wrote" }
                    th.right scope="col" { "State" }
                } }
                tbody { @for past in history.iter().rev() { (row(visit, past)) } }
            }
        }
    }
}

fn row(visit: &Visit, past: &PastCheckpoint) -> Markup {
    html! {
        tr {
            th scope="row" { "#" (number_of(past)) }
            @match past {
                PastCheckpoint::Completed(done) => {
                    td { (badge("completed")) }
                    td { (done.trigger.word()) }
                    td { (ago(visit.now, done.triggered_at)) }
                    td.right { (lasting(done.duration_millis)) }
                    td.right { (micros(done.alignment_micros)) }
                    td.right { (micros(done.sync_micros)) }
                    td.right { (bytes(done.bytes)) }
                    td.right { (bytes(done.full_bytes)) }
                }
                PastCheckpoint::Failed { reason, .. } => {
                    td { (badge("failed")) }
                    td colspan="7" { (reason) }
                }
            }
        }
    }
}

fn owned(visit: &Visit, savepoints: &[SavepointRecord], home: &str) -> Markup {
    if savepoints.is_empty() {
        return empty(
            "No savepoints.",
            &html! {
                p { "A savepoint is a checkpoint that is yours: it is kept until you dispose of it, and other jobs can begin with it. Take one above, while the job runs." }
            },
        );
    }
    html! {
        div.scroll tabindex="0" role="region" aria-label="Savepoints" {
            table {
                caption.hidden { "Savepoints" }
                thead { tr {
                    th scope="col" { "Savepoint" }
                    th scope="col" { "State" }
                    th scope="col" { "Taken" }
                    th.right scope="col" { "Size" }
                    th scope="col" { "To begin another job with it" }
                    th scope="col" { span.hidden { "Actions" } }
                } }
                tbody {
                    @for savepoint in savepoints { (savepoint_row(visit, savepoint, home)) }
                }
            }
        }
    }
}

fn savepoint_row(visit: &Visit, savepoint: &SavepointRecord, home: &str) -> Markup {
    let word = match &savepoint.state {
        SavepointState::InProgress => "in-progress",
        SavepointState::Completed { .. } => "completed",
        SavepointState::Failed { .. } => "failed",
    };
    let done = word != "in-progress";
    html! {
        tr {
            th scope="row" {
                (savepoint.name)
                @if let SavepointState::Failed { error } = &savepoint.state { div.why title=(error) { (error) } }
            }
            td { (badge(word)) }
            td { (ago(visit.now, savepoint.created_at)) }
            td.right { @if let SavepointState::Completed { bytes: size, .. } = savepoint.state { (bytes(size)) } }
            td { @if word == "completed" { code { (savepoint.job) "/" (savepoint.name) } } }
            td {
                @if done && may(&visit.caller, Role::Operator) {
                    (action("Dispose", &format!("{home}/savepoints/{}/delete", savepoint.name), "Its file is removed. Jobs that began with it go on.", "Dispose of it", "danger"))
                }
            }
        }
    }
}
