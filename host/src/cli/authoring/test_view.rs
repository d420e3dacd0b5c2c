//! What came of a case, as text and as JSON. What comes from guests and records may hold anything.

use std::{fmt::Write as _, path::Path};

use serde_json::Value;
use similar::{ChangeTag, TextDiff};

use crate::{
    authoring::{
        case::lines_of,
        check::{Checked, Verdict},
        properties::{Held, Property},
        runner::Prepared,
    },
    cli::human::{self, table},
    trial::{Report, Sample, report::Crash},
};

/// How many lines of a difference are shown.
const MOST_LINES: usize = 60;
/// How many records that crash the operator are shown, and how much of each.
const MOST_RECORDS: usize = 5;
const LONGEST_VALUE: usize = 300;

pub(super) fn json(checked: &Checked) -> Value {
    let mut shown = serde_json::to_value(checked).unwrap_or_default();
    shown["passed"] = checked.passed().into();
    shown
}

/// As text: files of a crash that are in a folder, the operator's, are named from there on.
pub(super) fn text(checked: &Checked, prepared: &Prepared, (dir, show): (&Path, bool)) -> String {
    let report = &checked.report;
    let mut out = headline(&checked.name, report, prepared);
    if show {
        shown(&mut out, report);
    }
    verdict(&mut out, checked, (prepared, dir));
    for Property { what, held } in &checked.properties {
        let (mark, why) = match held {
            Held::Yes(how) => ("ok", how),
            Held::No(why) => ("NO", why),
            Held::NotTried(why) => ("--", why),
        };
        let colon = if why.is_empty() { "" } else { ": " };
        let _ = writeln!(out, "  {mark}  {what}{colon}{why}");
    }
    human::plain(&out)
}

#[expect(clippy::cast_precision_loss, reason = "figures for people")]
fn headline(name: &str, report: &Report, prepared: &Prepared) -> String {
    let batches = report.steps.iter().filter(|step| step.event == "batch").count();
    let emitted: u64 = report.outputs.iter().map(|output| output.count).sum();
    let mut out = format!(
        "{name}: {} in {}, {} emitted",
        counted(prepared.feed.samples.len(), "record"),
        counted(batches, "batch"),
        emitted,
    );
    if !report.rejected.is_empty() {
        let _ = write!(out, ", {} rejected", report.rejected.len());
    }
    if !report.late.is_empty() {
        let _ = write!(out, ", {} late", report.late.len());
    }
    let _ = writeln!(
        out,
        "; {} in the guest, {} at most",
        human::micros(report.cpu_micros),
        human::bytes(report.peak_memory as f64),
    );
    out
}

fn counted(n: usize, word: &str) -> String {
    match (n, word) {
        (1, word) => format!("1 {word}"),
        (n, "batch") => format!("{n} batches"),
        (n, word) => format!("{n} {word}s"),
    }
}

fn shown(out: &mut String, report: &Report) {
    for line in lines_of(report, true, true) {
        let _ = writeln!(out, "  {line}");
    }
    let rows: Vec<Vec<String>> = report
        .steps
        .iter()
        .map(|step| {
            #[expect(clippy::cast_precision_loss, reason = "a figure for people")]
            let memory = human::bytes(step.memory as f64);
            vec![
                step.event.to_owned(),
                step.records.to_string(),
                step.emitted.to_string(),
                step.rejected.to_string(),
                step.fired.to_string(),
                human::micros(step.cpu_micros),
                human::micros(step.micros),
                memory,
            ]
        })
        .collect();
    let header = ["STEP", "IN", "OUT", "REJECTED", "FIRED", "GUEST", "TIME", "MEMORY"];
    for line in table(&header, &rows, 1).lines() {
        let _ = writeln!(out, "  {line}");
    }
}

fn verdict(out: &mut String, checked: &Checked, (prepared, dir): (&Prepared, &Path)) {
    let said = match &checked.verdict {
        Verdict::Expected => "  ok  as expected\n".to_owned(),
        Verdict::Unknown => {
            "  --  nothing is expected yet: look at it with --show, write it down with --update\n"
                .to_owned()
        }
        Verdict::Updated { changed: true } => {
            "  ok  what is expected was written anew\n".to_owned()
        }
        Verdict::Updated { changed: false } => "  ok  as expected already\n".to_owned(),
        Verdict::Different { expected, found } => difference(expected, found),
        Verdict::NotFailed { expected } => format!(
            "  NO  it was to fail with `{expected}`, and {}\n",
            checked.report.failure.as_ref().map_or_else(
                || "did not fail".to_owned(),
                |crash| format!("failed with: {}", crash.message)
            )
        ),
        Verdict::Failed => String::new(),
    };
    out.push_str(&said);
    if checked.verdict == Verdict::Failed {
        match &checked.report.failure {
            Some(crash) => failure(out, crash, &checked.report, (prepared, dir)),
            None => out.push_str("  NO  it did not end\n"),
        }
    }
}

fn difference(expected: &[String], found: &[String]) -> String {
    let mut out = "  NO  not as expected (- expected, + found):\n".to_owned();
    let (expected, found) = (joined(expected), joined(found));
    let diff = TextDiff::from_lines(&expected, &found);
    let changes = diff.iter_all_changes().filter(|change| change.tag() != ChangeTag::Equal);
    let changes: Vec<_> = changes.collect();
    let all = changes.len();
    for change in changes.iter().take(MOST_LINES) {
        let line = change.old_index().or(change.new_index()).unwrap_or(0) + 1;
        let _ = writeln!(out, "      {line:>5} {}{}", change.tag(), change.value().trim_end());
    }
    if all > MOST_LINES {
        let _ = writeln!(out, "      … and {} lines more", all - MOST_LINES);
    }
    out
}

fn joined(lines: &[String]) -> String {
    lines.iter().map(|line| format!("{line}\n")).collect()
}

/// What happened, where, and with which records.
fn failure(out: &mut String, crash: &Crash, report: &Report, (prepared, dir): (&Prepared, &Path)) {
    let step = report.steps.get(crash.step).map_or("open", |step| step.event);
    let _ = writeln!(out, "  NO  it failed in `{step}` ({}): {}", crash.kind.word(), crash.message);
    // Not every compiler can be told to leave out where the folder is.
    let here = std::path::absolute(dir).unwrap_or_default();
    for frame in &crash.backtrace {
        let frame = frame.replace(&format!("({}/", here.display()), "(");
        let _ = writeln!(out, "        at {frame}");
    }
    for at in crash.records.iter().take(MOST_RECORDS) {
        if let Some(sample) = prepared.feed.samples.get(*at) {
            let _ = writeln!(out, "      record {at}: {}", record(sample));
        }
    }
    let more = crash.records.len().saturating_sub(MOST_RECORDS);
    if more > 0 {
        let _ = writeln!(out, "      and {more} records more");
    }
    let said = report.logs.iter().rev().take(MOST_LINES);
    // What a panic logged is the message of its trap already.
    let news = said.filter(|line| {
        line.line.level == "error" && !crash.message.contains(line.line.message.trim_end())
    });
    let said: Vec<_> = news.collect();
    for line in said.iter().rev() {
        let _ = writeln!(out, "      it logged: {}", line.line.message);
    }
}

fn record(sample: &Sample) -> String {
    let short = |bytes: &[u8]| {
        let text = String::from_utf8_lossy(bytes);
        let short: String = text.chars().take(LONGEST_VALUE).collect();
        format!("{short:?}")
    };
    let mut out = short(&sample.value);
    if let Some(key) = &sample.key {
        let _ = write!(out, " of key {}", short(key));
    }
    if let Some(at) = sample.timestamp {
        let _ = write!(out, " at {}", human::time(at));
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_difference_is_shown_by_its_lines() {
        let lines = |text: &str| text.split(' ').map(str::to_owned).collect::<Vec<_>>();
        let shown = difference(&lines("a b c"), &lines("a x c"));
        assert!(shown.contains("    2 -b\n") && shown.contains("    2 +x\n"), "{shown}");
        assert!(!shown.contains("-a"), "{shown}");
        let many: Vec<String> = (0..100).map(|n| n.to_string()).collect();
        assert!(difference(&[], &many).contains("and 40 lines more"));
    }
}
