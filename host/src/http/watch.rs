//! `/v1/jobs/{id}/logs` and `/v1/jobs/{id}/vertices/{operator}/tail`: looking on while a job runs.

use axum::{
    extract::State,
    http::HeaderMap,
    response::{IntoResponse as _, Response},
};
use serde::Serialize;
use tokio::time::sleep;
use utoipa::ToSchema;

use super::{
    Answer, Json, Shared,
    events::{self, Events, Gone, SILENCE},
    given::{InPath, Query},
    problem::Problem,
    shapes,
};
use crate::{
    service::access::Caller,
    watching::{
        log_book::{Level, Line, LogBook, Wanted},
        tap::{Sample, Samples, Seen, Watcher},
    },
};

/// How many lines a page has if nothing is said, and at most.
const PAGE: usize = 100;
const LARGEST_PAGE: usize = 1_000;

/// Some lines, the oldest first.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct LogPage {
    lines: Vec<LogLine>,
    /// To be given as `after`, for those that come then.
    next: u64,
}

/// A line that an operator logged.
#[derive(Debug, Serialize, ToSchema)]
struct LogLine {
    /// Grows with each line of the job. What is missing was dropped for newer lines, or is not
    /// what was asked for.
    id: u64,
    /// Milliseconds since 1970.
    at: i64,
    /// `info`, `warn` or `error`.
    level: &'static str,
    operator: String,
    subtask: u32,
    message: String,
}

impl From<&Line> for LogLine {
    fn from(line: &Line) -> Self {
        Self {
            id: line.id,
            at: line.at,
            level: line.level.word(),
            operator: line.operator.to_string(),
            subtask: line.subtask,
            message: line.message.clone(),
        }
    }
}

/// What operators log
///
/// The last lines that are kept, or each as it comes: then the events are `line`, and `end` when
/// the job has ended. They are kept as long as the server runs.
#[utoipa::path(get, path = "/v1/jobs/{id}/logs", operation_id = "showLogs",
    params(
        ("operator" = Option<String>, Query, description = "Of this operator only"),
        ("level" = Option<String>, Query, description = "`info`, `warn` or `error`: of this level and above; `info` if not given"),
        ("after" = Option<u64>, Query, description = "The `next` of the page before, or the `id` of the last event; the last lines if not given"),
        ("limit" = Option<usize>, Query, minimum = 1, maximum = 1000, description = "How many; 100 if not given"),
        ("follow" = Option<bool>, Query, description = "Whether to send lines as they come")),
    responses((status = 200, description = "A page, or events",
        content((LogPage = "application/json"), (shapes::Event = "text/event-stream")))))]
pub(super) async fn logs(
    State(service): State<Shared>,
    caller: Caller,
    path: InPath,
    query: Query,
    headers: HeaderMap,
) -> Answer<Response> {
    let query = query.only(&["operator", "level", "after", "limit", "follow"])?;
    let book = service.log_book(&caller, path.job()?)?;
    let level = least_level(query.get("level"))?;
    let wanted = Wanted { operator: query.get("operator").map(str::to_owned), level };
    let limit = query.number("limit", PAGE, LARGEST_PAGE)?;
    // A browser that comes back says where it was.
    let last = headers.get("last-event-id").and_then(|id| id.to_str().ok());
    let after = match query.get("after").or(last) {
        None => book.before_last(&wanted, limit),
        Some(number) => number.parse().map_err(|_| {
            Problem::invalid("`after` must be the `next` of a page: a whole number")
        })?,
    };
    match query.get("follow") {
        None | Some("false") => {
            let (lines, next) = book.after(after, &wanted, limit);
            let lines = lines.iter().map(LogLine::from).collect();
            Ok(Json(LogPage { lines, next }).into_response())
        }
        Some("true") => {
            let place = service.take_place(&caller, path.job()?)?;
            Ok(events::answer(async move |events| {
                let _place = place;
                // Whoever went away wants no more.
                let _ = follow(&events, &book, &wanted, after).await;
            }))
        }
        Some(other) => {
            Err(Problem::invalid(format!("`follow` must be true or false, not `{other}`")))
        }
    }
}

/// The level that is asked for, with those above it.
pub(super) fn least_level(word: Option<&str>) -> Answer<Level> {
    let Some(word) = word else { return Ok(Level::Info) };
    Level::named(word).ok_or_else(|| Problem::invalid("`level` must be info, warn or error"))
}

async fn follow(
    events: &Events,
    book: &LogBook,
    wanted: &Wanted,
    mut after: u64,
) -> Result<(), Gone> {
    loop {
        let (lines, next) = book.after(after, wanted, PAGE);
        for line in &lines {
            events.send("line", Some(line.id), &LogLine::from(line)).await?;
        }
        after = next;
        if lines.len() == PAGE {
            continue;
        }
        tokio::select! {
            more = book.beyond(after) => {
                if !more {
                    return events.end().await;
                }
            }
            () = sleep(SILENCE) => events.keep_alive().await?,
            () = events.gone() => return Err(Gone),
        }
    }
}

/// Some records of a batch.
#[derive(Debug, Serialize)]
struct Tailed {
    /// A number, `late` or `dead-letters`.
    output: String,
    /// How many records were in the batch.
    of: usize,
    records: Vec<TailedRecord>,
}

#[derive(Debug, Serialize)]
struct TailedRecord {
    key: String,
    /// The first 1,024 bytes.
    value: String,
    value_bytes: usize,
    timestamp: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
}

impl From<&Samples> for Tailed {
    fn from(samples: &Samples) -> Self {
        let record = |sample: &Sample| TailedRecord {
            key: String::from_utf8_lossy(&sample.key).into_owned(),
            value: String::from_utf8_lossy(&sample.value).into_owned(),
            value_bytes: sample.value_bytes,
            timestamp: sample.timestamp,
            reason: sample.reason.clone(),
        };
        Self {
            output: samples.output.to_string(),
            of: samples.of,
            records: samples.records.iter().map(record).collect(),
        }
    }
}

/// How many samples were missed.
#[derive(Debug, Serialize)]
struct Missed {
    samples: u64,
}

/// What a source or operator puts out
///
/// Samples, from now on: events `records`, with a few records of a batch, at most twenty a second
/// of each output; `missed`, if they are read too slowly; and `end` when the job has ended.
#[utoipa::path(get, path = "/v1/jobs/{id}/vertices/{operator}/tail", operation_id = "tailVertex",
    responses((status = 200, description = "Events", body = shapes::Event, content_type = "text/event-stream")))]
pub(super) async fn tail(
    State(service): State<Shared>,
    caller: Caller,
    path: InPath,
    query: Query,
) -> Answer<Response> {
    query.only(&[])?;
    let watcher = service.watch(&caller, path.job()?, &path.operator()?)?;
    let place = service.take_place(&caller, path.job()?)?;
    Ok(events::answer(async move |events| {
        let _place = place;
        // Whoever went away wants no more.
        let _ = show(&events, watcher).await;
    }))
}

async fn show(events: &Events, mut watcher: Watcher) -> Result<(), Gone> {
    // So that who asks knows that they are looking.
    events.keep_alive().await?;
    loop {
        tokio::select! {
            seen = watcher.next() => match seen {
                Seen::Samples(samples) => {
                    events.send("records", None, &Tailed::from(&*samples)).await?;
                }
                Seen::Missed(samples) => events.send("missed", None, &Missed { samples }).await?,
                Seen::End => return events.end().await,
            },
            () = sleep(SILENCE) => events.keep_alive().await?,
            () = events.gone() => return Err(Gone),
        }
    }
}
