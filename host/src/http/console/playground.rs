//! The playground: records that are pasted are fed to an operator in a throw-away slot, and what it
//! made of them is shown.

use axum::{
    body::Body,
    http::StatusCode,
    response::{IntoResponse as _, Response},
};
use maud::{Markup, html};

use super::{
    artifacts::{kind, tenant_field},
    page::{Page, Section, may, sentence},
    parts::{badge, bytes, command, count, empty, encoded, figure, float, micros},
    visit::{Form, Visit},
};
use crate::{
    http::{Answer, problem::Problem},
    human,
    ids::{ArtifactName, TenantId, VersionName},
    registry::records::Role,
    service::{
        error::ServiceError,
        trial::{TrialRequest, TrialView},
    },
    trial::{
        Report,
        report::{Crash, Ended, Output, Shown},
    },
};

/// Records for those who have none at hand.
const EXAMPLE: &str =
    "{\"user\": \"ada\", \"n\": 1}\n{\"user\": \"bob\", \"n\": 2}\n{\"user\": \"ada\", \"n\": 3}";
/// What of a job file may be said of the operator.
const SETTINGS: &str = "{\"window\": {\"type\": \"tumbling\", \"size\": \"1m\"}, \"config\": {}}";

/// Of which operator.
struct Tried {
    tenant: TenantId,
    name: ArtifactName,
    version: VersionName,
}

/// What was filled in.
#[derive(Default)]
struct Filled {
    lines: String,
    key: String,
    timestamp: String,
    format: String,
    settings: String,
    open: bool,
}

/// The operators that can be tried.
pub(super) async fn list(visit: Visit) -> Answer<Page> {
    let tenant = visit.tenant()?;
    let of = visit.caller.tenant(tenant.as_ref())?;
    let found =
        visit.ask(move |service, caller| service.artifacts(caller, tenant.as_ref())).await?;
    let field = tenant_field(&visit, of.as_str()).await?;
    let tenant = encoded(of.as_str());
    let body = html! {
        h1 { "Playground" }
        p.lead { "Feeds records that you paste to an operator in a throw-away slot, and shows what it makes of them." }
        @if visit.caller.tenant.is_none() {
            form.filter method="get" action="/console/playground" aria-label="Whose" {
                (field)
                button type="submit" { "Show" }
            }
        }
        @if found.is_empty() {
            (empty(&format!("Tenant {of} has no operators to play with."), &html! {
                p { "Upload one:" }
                (command("cofferdam operator push count.wasm --name count --version 1"))
            }))
        } @else {
            ul.choices {
                @for artifact in &found {
                    @if let Some(newest) = artifact.versions.last() {
                        li.panel {
                            strong { (artifact.name) } " " span.fine { (kind(&newest.inspection)) }
                            div.row {
                                @for version in artifact.versions.iter().rev().take(3) {
                                    a.button href={ "/console/artifacts/" (artifact.name) "/" (version.version) "/try?tenant=" (tenant) } {
                                        "Try " (artifact.name) "@" (version.version)
                                    }
                                }
                            }
                        }
                    }
                }
            }
        }
    };
    Ok(visit.page(Section::Playground, "Playground", body))
}

async fn tried(visit: &Visit) -> Answer<Tried> {
    let (tenant, name, version) = (visit.tenant()?, visit.path.artifact()?, visit.path.version()?);
    let found = visit
        .ask(move |service, caller| service.version(caller, tenant.as_ref(), &name, &version))
        .await?;
    Ok(Tried { tenant: found.tenant, name: found.name, version: found.version })
}

/// The page of an operator.
pub(super) async fn page(visit: Visit) -> Answer<Response> {
    let tried = tried(&visit).await?;
    Ok(show(&visit, &tried, &Filled::default(), None))
}

/// Feeds it what the form says.
pub(super) async fn run(visit: Visit, body: Body) -> Answer<Response> {
    let tried = tried(&visit).await?;
    // What is not plain takes three bytes in a form.
    let longest = visit.service.spec().playground.input.saturating_mul(3) + (64 << 10);
    let form = Form::read(&visit.service, body, longest).await?;
    let text = |name| form.filled(name).unwrap_or_default().to_owned();
    let filled = Filled {
        lines: form.get("lines").unwrap_or_default().replace("\r\n", "\n"),
        key: text("key"),
        timestamp: text("timestamp"),
        format: text("format"),
        settings: text("settings"),
        open: form.get("open") == Some("true"),
    };
    let made = match request(&filled) {
        Ok(request) => {
            let artifact = (&tried.name, &tried.version);
            let made =
                visit.service.try_version(&visit.caller, Some(&tried.tenant), artifact, request);
            made.await.map_err(Problem::from)
        }
        Err(problem) => Err(problem),
    };
    match made {
        Err(problem) if problem.status().is_server_error() => Err(problem),
        made => Ok(show(&visit, &tried, &filled, Some(&made))),
    }
}

fn request(filled: &Filled) -> Answer<TrialRequest> {
    let given = |text: &String| Some(text).filter(|text| !text.is_empty()).cloned();
    let operator = match filled.settings.as_str() {
        "" => serde_json::Map::new(),
        text => serde_json::from_str(text).map_err(|error| {
            ServiceError::Invalid(format!("the settings must be a JSON object: {error}"))
        })?,
    };
    Ok(TrialRequest {
        lines: Some(filled.lines.clone()),
        key_field: given(&filled.key),
        timestamp_field: given(&filled.timestamp),
        timestamp_format: given(&filled.format).filter(|_| !filled.timestamp.is_empty()),
        operator,
        close: Some(!filled.open),
        ..TrialRequest::default()
    })
}

fn show(
    visit: &Visit,
    tried: &Tried,
    filled: &Filled,
    made: Option<&Answer<TrialView>>,
) -> Response {
    let tenant = encoded(tried.tenant.as_str());
    let here = format!("/console/artifacts/{}/{}", tried.name, tried.version);
    let body = html! {
        nav.crumbs aria-label="Where this is" {
            a href={ "/console/playground?tenant=" (tenant) } { "Playground" } " / "
        }
        div.title {
            h1 { "Try " (tried.name) "@" (tried.version) }
            a.button href={ (here) "?tenant=" (tenant) } { "What it is" }
        }
        @match made {
            None => {}
            Some(Ok(view)) => (outcome(view)),
            Some(Err(problem)) => {
                div.notice.bad #refused role="alert" { strong { "It was not tried. " } (sentence(problem.detail())) }
            }
        }
        @if !may(&visit.caller, Role::Author) {
            div.notice.warn { "Your token is of role " (visit.caller.role.word()) ": to try an operator takes one of role author." }
        }
        (form(visit, &format!("{here}/try?tenant={tenant}"), filled))
    };
    let page =
        visit.page(Section::Playground, &format!("Try {}@{}", tried.name, tried.version), body);
    let status = match made {
        Some(Err(problem)) => problem.status(),
        _ => StatusCode::OK,
    };
    (status, page).into_response()
}

fn form(visit: &Visit, action: &str, filled: &Filled) -> Markup {
    let limits = &visit.service.spec().playground;
    let formats = [("", "RFC 3339"), ("millis", "milliseconds"), ("seconds", "seconds")];
    html! {
        form.panel.stack method="post" action=(action) {
            div.field {
                label for="lines" { "Records, a line each" }
                textarea #lines name="lines" required spellcheck="false" autocomplete="off" placeholder=(EXAMPLE) aria-describedby="lines-help" { (filled.lines) }
                p.help #lines-help {
                    "JSON Lines. " (human::exact(limits.records as u64)) " records at most, in " (human::bytes(float(limits.input as u64)))
                    "; the operator has " (human::millis(u64::try_from(limits.time.as_millis()).unwrap_or(u64::MAX))) " for all of them."
                }
            }
            div.columns {
                div.field { label for="key" { "Field that is the key" } input #key name="key" value=(filled.key) placeholder="none" autocomplete="off" spellcheck="false"; }
                div.field { label for="timestamp" { "Field that is the event time" } input #timestamp name="timestamp" value=(filled.timestamp) placeholder="none" autocomplete="off" spellcheck="false"; }
                div.field {
                    label for="format" { "The event time is in" }
                    select #format name="format" { @for (value, about) in formats { option value=(value) selected[filled.format == value] { (about) } } }
                }
            }
            div.field {
                label for="settings" { "Settings of the operator" }
                textarea.short #settings name="settings" spellcheck="false" autocomplete="off" placeholder=(SETTINGS) aria-describedby="settings-help" { (filled.settings) }
                p.help #settings-help { "As JSON, what a job file would say: " code { "config" } ", " code { "window" } ", " code { "ports" } ", " code { "memory" } ", " code { "deadline" } "." }
            }
            label.check {
                input type="checkbox" name="open" value="true" checked[filled.open];
                "The input goes on after these records: windows and timers that are not due stay open"
            }
            button.primary type="submit" { "Feed it" }
        }
    }
}

/// What became of it.
fn outcome(view: &TrialView) -> Markup {
    let report = &view.report;
    let emitted: u64 = report.outputs.iter().map(|output| output.count).sum();
    let (tone, word) = match report.ended {
        Ended::Finished | Ended::Running => ("good", "It took all records."),
        Ended::Failed => ("bad", "It failed."),
        Ended::OutOfTime => ("bad", "It took longer than it may."),
        Ended::SlotTaken => ("warn", "Its slot was wanted for a job. Try again."),
    };
    html! {
        div #outcome class={ "notice " (tone) } role="status" { strong { (word) } }
        @if let Some(crash) = &report.failure { (crashed(crash)) }
        dl.figures {
            (figure("Fed", &count(view.records as u64), &html! { (report.rejected.len() as u64 + report.left_out.rejected) " rejected, " (report.late.len()) " late" }))
            (figure("Emitted", &count(emitted), &html! { (report.fired) " windows and timers fired" }))
            (figure("CPU", &micros(report.cpu_micros), &html! { (micros(report.took_micros)) " in all" }))
            (figure("Memory", &bytes(report.peak_memory as u64), &html! {
                @match &report.state {
                    Some(state) => { "at most; state of " (state.keys) " keys, " (bytes(state.bytes as u64)) },
                    None => "at most",
                }
            }))
        }
        (outputs(report))
        (rejected(report))
        (logs(report))
    }
}

fn crashed(crash: &Crash) -> Markup {
    html! {
        article.panel.failure {
            h3 { (super::exceptions::word(&crash.kind).replace('-', " ")) }
            pre.wrap { (crash.message) }
            @if !crash.records.is_empty() {
                p { "Records that crash it by themselves, from 0: " (crash.records.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")) @if !crash.all_found { ", and maybe others" } }
            }
            @if !crash.backtrace.is_empty() {
                details {
                    summary { "Frames of the guest, the innermost first (" (crash.backtrace.len()) ")" }
                    pre { @for frame in &crash.backtrace { (frame) "\n" } }
                }
            }
        }
    }
}

fn outputs(report: &Report) -> Markup {
    html! {
        section aria-labelledby="outputs-title" {
            h2 #outputs-title { "Outputs" }
            @if report.outputs.is_empty() { p.fine { "It emitted nothing." } }
            @for output in &report.outputs { (output_of(output)) }
            @if report.left_out.records > 0 { p.fine { (count(report.left_out.records)) " more records are not shown: there was no room." } }
        }
    }
}

fn output_of(output: &Output) -> Markup {
    let name = output.name.clone().unwrap_or_else(|| format!("port {}", output.port));
    html! {
        div.scroll.below tabindex="0" role="region" aria-label={ "Output " (name) } {
            table.dense {
                caption { (name) ": " (count(output.count)) " records" }
                thead { tr { th scope="col" { "Key" } th scope="col" { "Value" } th scope="col" { "Event time" } } }
                tbody { @for record in &output.records { (record_of(record)) } }
            }
        }
    }
}

fn record_of(record: &Shown) -> Markup {
    let shown = |text: &Option<String>, base64: &Option<String>| {
        html! {
            @if let Some(text) = text { (text) }
            @else if let Some(base64) = base64 { span.chip { "base64" } " " (base64) }
        }
    };
    html! {
        tr {
            td.mono { (shown(&record.key, &record.key_base64)) }
            td.mono.anywhere { (shown(&record.value, &record.value_base64)) }
            td { @if let Some(at) = record.timestamp { (super::parts::at(at)) } }
        }
    }
}

fn rejected(report: &Report) -> Markup {
    if report.rejected.is_empty() {
        return html! {};
    }
    html! {
        section aria-labelledby="rejected-title" {
            h2 #rejected-title { "Rejected" }
            div.scroll tabindex="0" role="region" aria-label="Rejected" {
                table.dense {
                    caption.hidden { "Records that it rejected" }
                    thead { tr { th scope="col" { "Record, from 0" } th scope="col" { "Why" } } }
                    tbody {
                        @for rejected in &report.rejected {
                            tr {
                                th scope="row" { @match rejected.record { Some(record) => (record), None => "a timer" } }
                                td { (rejected.reason) }
                            }
                        }
                    }
                }
            }
        }
    }
}

fn logs(report: &Report) -> Markup {
    if report.logs.is_empty() {
        return html! {};
    }
    html! {
        section aria-labelledby="logs-title" {
            h2 #logs-title { "What it logged" }
            div.scroll tabindex="0" role="region" aria-label="What it logged" {
                table.dense {
                    caption.hidden { "What it logged" }
                    thead { tr { th scope="col" { "Level" } th scope="col" { "Line" } } }
                    tbody { @for line in &report.logs { tr { td { (badge(line.line.level)) } td.mono.anywhere { (line.line.message) } } } }
                }
            }
        }
    }
}
