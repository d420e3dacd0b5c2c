//! The `http` source: what was posted to a server and acknowledged, out of the log that it was
//! written to (`intake`). Who posts is answered by `http`; what may be posted is said here, by the
//! same code that makes records of it later.
//!
//! The log is dealt to 64 splits, request by request: the requests of a split are read by
//! one subtask, in the order in which they were acknowledged. A subtask goes through the log once,
//! and passes over what is not its own.

use std::{collections::BTreeMap, path::PathBuf, sync::Arc};

use async_trait::async_trait;
use serde::{Deserialize, Serialize};

use crate::{
    config::job::{HttpFormat, HttpSource as Spec},
    intake::{
        IntakeError,
        cursor::Cursor,
        frame::{Head, Kind},
        log::Log,
    },
    trace::SpanRef,
};

use super::{
    ConnectorContext, ConnectorError, Source, SourceEvent, SplitPositions,
    file_source::{Output, bad_utf8},
    jsonl_source::JsonLinesFormat,
};

/// How many splits there are; more parallel instances than that have no work.
pub(crate) const SPLITS: u64 = 64;
/// How many bad lines are told at once.
const MOST_TOLD: usize = 100;

/// A line that cannot be taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BadLine {
    /// Which, from 1.
    pub line: u64,
    /// What is wrong with it.
    pub reason: String,
}

/// Says whether what is posted to a source can be taken.
#[derive(Debug)]
pub struct Checker(Lines);

impl Checker {
    /// For a source.
    #[must_use]
    pub fn new(spec: &Spec) -> Self {
        Self(Lines::new(spec))
    }

    /// How many records are in a body.
    ///
    /// # Errors
    /// The lines that are none, up to a hundred.
    pub fn check(&self, body: &[u8]) -> Result<u32, Vec<BadLine>> {
        let (mut records, mut bad) = (0, Vec::new());
        let (mut at, mut line) = (0, 0);
        while let Some(text) = next_line(body, &mut at) {
            line += 1;
            if self.0.is_skipped(text) {
                continue;
            }
            match self.0.look(text) {
                Ok(()) => records += 1,
                Err(reason) => bad.push(BadLine { line, reason }),
            }
            if bad.len() == MOST_TOLD {
                break;
            }
        }
        if bad.is_empty() { Ok(records) } else { Err(bad) }
    }
}

/// How lines become records.
#[derive(Debug)]
struct Lines {
    json: Option<JsonLinesFormat>,
    max_line: usize,
}

impl Lines {
    fn new(spec: &Spec) -> Self {
        let json = match &spec.format {
            HttpFormat::JsonLines { key, timestamp } => {
                Some(JsonLinesFormat::of(key.clone(), timestamp.clone()))
            }
            HttpFormat::Lines => None,
        };
        Self { json, max_line: spec.max_line }
    }

    /// A blank line stands for nothing where there is JSON.
    fn is_skipped(&self, line: &[u8]) -> bool {
        self.json.is_some() && line.iter().all(u8::is_ascii_whitespace)
    }

    fn length(&self, line: &[u8]) -> Result<(), String> {
        if line.len() <= self.max_line {
            return Ok(());
        }
        let (is, most) = (line.len(), self.max_line);
        Err(format!("it is {is} bytes long, more than max_line = {most}"))
    }

    fn look(&self, line: &[u8]) -> Result<(), String> {
        self.length(line)?;
        match &self.json {
            Some(json) => json.look(line).map(|_| ()),
            None => std::str::from_utf8(line).map(|_| ()).map_err(bad_utf8),
        }
    }

    /// A line that was taken may be none any more, if the job file is another one by now.
    fn accept(&self, line: &[u8], out: &mut Output) {
        let accepted = self.length(line).and_then(|()| match &self.json {
            Some(json) => json.accept(line, out),
            None => {
                std::str::from_utf8(line).map_err(bad_utf8)?;
                out.batch.push(None, line, None);
                Ok(())
            }
        });
        if let Err(reason) = accepted {
            out.reject(reason, line);
        }
    }
}

/// The line that begins at a place, without its end; then the place is that of the next one.
fn next_line<'a>(body: &'a [u8], at: &mut usize) -> Option<&'a [u8]> {
    let rest = body.get(*at..).filter(|rest| !rest.is_empty())?;
    let (line, taken) = match memchr::memchr(b'\n', rest) {
        Some(end) => (&rest[..end], end + 1),
        None => (rest, rest.len()),
    };
    *at += taken;
    Some(line.strip_suffix(b"\r").unwrap_or(line))
}

/// A place in the log: a frame, and how much of its body was read.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
struct Place {
    offset: u64,
    within: u32,
}

/// From where on the log must be kept for who goes on from these positions.
///
/// # Errors
/// If one of them is none.
pub fn needed_from(positions: &BTreeMap<String, Vec<u8>>) -> Result<Option<u64>, ConnectorError> {
    let places = positions.values().map(|saved| decode(saved).map(|place| place.offset));
    places.collect::<Result<Vec<u64>, _>>().map(|all| all.into_iter().min())
}

fn decode(saved: &[u8]) -> Result<Place, ConnectorError> {
    postcard::from_bytes(saved).map_err(|error| {
        let reason = format!("its saved position is damaged: {error}");
        ConnectorError::CannotResume { path: "what was posted".into(), reason }
    })
}

fn split_name(number: u64) -> String {
    format!("http-{number}")
}

/// A request that is being read.
#[derive(Debug)]
struct Reading {
    head: Head,
    body: Vec<u8>,
    at: usize,
}

/// Reads what was posted.
pub(crate) struct HttpSource {
    lines: Lines,
    log: Arc<Log>,
    cursor: Cursor,
    /// Where each split of this subtask went on from.
    splits: BTreeMap<u64, Place>,
    reading: Option<Reading>,
    /// Where the first and the last request begin that the last batch was made of.
    made_of: Option<(u64, u64)>,
    ended: bool,
    out: Output,
}

impl HttpSource {
    pub(crate) fn open(
        spec: &Spec,
        log: Option<&Arc<Log>>,
        context: ConnectorContext,
        restore: Option<&SplitPositions>,
    ) -> Result<Self, ConnectorError> {
        let none = || ConnectorError::CannotResume {
            path: "what was posted".into(),
            reason: "a source `http` runs in `cofferdam serve` only".to_owned(),
        };
        let log = log.ok_or_else(none)?.clone();
        let (first, end) = (log.first(), log.durable());
        let begin = Place { offset: first, within: 0 };
        let mut splits = BTreeMap::new();
        let parallelism = u64::from(context.parallelism);
        for number in (0..SPLITS).filter(|n| n % parallelism == u64::from(context.subtask)) {
            let saved = restore.and_then(|saved| saved.get(&split_name(number)));
            let place = saved.map_or(Ok(begin), |saved| decode(saved))?;
            if !(first..=end).contains(&place.offset) {
                return Err(ConnectorError::CannotResume {
                    path: "what was posted".into(),
                    reason: format!(
                        "the checkpoint goes on from {}, and what is kept reaches from {first} to \
                         {end}: bring the server's data directory back as it was",
                        place.offset
                    ),
                });
            }
            splits.insert(number, place);
        }
        let from = splits.values().min().map_or(end, |place| place.offset);
        Ok(Self {
            lines: Lines::new(spec),
            cursor: Cursor::new(log.clone(), from),
            log,
            splits,
            reading: None,
            made_of: None,
            ended: false,
            out: Output::default(),
        })
    }

    /// Fills a batch with what is there. False if there is nothing more for now.
    fn fill(&mut self) -> Result<bool, IntakeError> {
        while !self.out.is_full() {
            if let Some(reading) = &mut self.reading {
                match next_line(&reading.body, &mut reading.at) {
                    Some(line) if self.lines.is_skipped(line) => {}
                    Some(line) => self.lines.accept(line, &mut self.out),
                    None => {
                        self.cursor.pass(&reading.head);
                        self.reading = None;
                    }
                }
                continue;
            }
            let Some((head, header)) = self.cursor.head()? else {
                // It may have been restored from behind the end.
                self.ended = self.log.is_over_at(self.cursor.offset());
                return Ok(false);
            };
            if head.kind == Kind::End {
                self.cursor.pass(&head);
                self.ended = true;
                return Ok(false);
            }
            match self.splits.get(&(head.number % SPLITS)) {
                Some(place) if place.offset <= head.offset => {
                    let at = if place.offset == head.offset { place.within } else { 0 };
                    let body = self.cursor.body(&head, &header)?;
                    let first = self.made_of.map_or(head.offset, |(first, _)| first);
                    self.made_of = Some((first, head.offset));
                    self.reading = Some(Reading { head, body, at: at as usize });
                }
                _ => self.cursor.pass(&head),
            }
        }
        Ok(true)
    }
}

fn failed(error: IntakeError) -> ConnectorError {
    let (path, reason) = match error {
        IntakeError::Damaged { path, reason } | IntakeError::Disk { path, reason, .. } => {
            (path, reason)
        }
        other => (PathBuf::from("what was posted"), other.to_string()),
    };
    ConnectorError::Malformed { path, line: None, reason }
}

#[async_trait]
impl Source for HttpSource {
    async fn next(&mut self) -> Result<SourceEvent, ConnectorError> {
        loop {
            self.made_of = self.reading.as_ref().map(|r| (r.head.offset, r.head.offset));
            if !self.ended {
                self.fill().map_err(failed)?;
            }
            if !self.out.is_empty() {
                return Ok(self.out.take());
            }
            if self.ended || self.splits.is_empty() {
                return Ok(SourceEvent::End);
            }
            // Nothing was taken that is not returned: this can be cancelled.
            self.log.beyond(self.cursor.offset()).await;
        }
    }

    fn positions(&self) -> SplitPositions {
        let within = self.reading.as_ref().map_or(0, |reading| reading.at);
        let within = u32::try_from(within).unwrap_or(u32::MAX);
        let here = Place { offset: self.cursor.offset(), within };
        let encode = |place| postcard::to_stdvec(&place).expect("two numbers can be encoded");
        // The cursor may be behind where a split went on from, for the sake of another one.
        let at = |(number, place): (&u64, &Place)| (split_name(*number), encode(here.max(*place)));
        self.splits.iter().map(at).collect()
    }

    fn posted_by(&self) -> Vec<SpanRef> {
        let Some((first, last)) = self.made_of else { return Vec::new() };
        self.log
            .traced()
            .within(first..=last, |number| self.splits.contains_key(&(number % SPLITS)))
    }
}

#[cfg(test)]
#[path = "http_source_tests.rs"]
mod tests;
