//! Replays and comparisons as text and as JSON. What comes from guests and records is
//! quoted: it may hold anything.

use std::fmt::Write as _;

use serde_json::{Value, json};

use super::human;
use crate::{
    capsule::{
        Capsule,
        compare::{Comparison, Difference, Shown, Side, Verdict, text},
        machine::Culprit,
        replay::{CrashReport, Replay},
    },
    failure::Failure,
};

/// How many records that crash the guest are shown as text.
const MOST_SHOWN: usize = 5;

fn headline(capsule: &Capsule) -> String {
    let operator = &capsule.operator;
    let what = if capsule.failure.is_some() { "crash" } else { "recording" };
    format!(
        "{what} of `{}` (subtask {} of {}) in job `{}`, taken {} by {}\n  begins at {}; {} events\n",
        operator.name,
        operator.subtask,
        operator.parallelism,
        capsule.job,
        human::time(capsule.taken_at),
        capsule.written_by,
        capsule.begins(),
        capsule.events.len(),
    )
}

/// A replay as text.
pub(super) fn replay_text(capsule: &Capsule, replay: &Replay) -> String {
    let mut out = headline(capsule);
    if let Some(why) = &capsule.incomplete {
        let _ = writeln!(out, "  incomplete: {why}");
    }
    let _ = match replay.digest == capsule.operator.digest {
        true => writeln!(out, "  component {}, the one that was run", short(&replay.digest)),
        false => writeln!(
            out,
            "  component {}, another build: {} was run",
            short(&replay.digest),
            short(&capsule.operator.digest)
        ),
    };
    if let Some(failure) = &capsule.failure {
        let _ = writeln!(out, "then: {failure}");
    }
    let _ = match &replay.crash {
        None => writeln!(
            out,
            "now: {} in {:?}",
            if capsule.failure.is_some() { "it does not crash any more," } else { "no crash," },
            replay.took
        ),
        Some(crash) => {
            let how = if crash.as_before { "in the same way" } else { "in another way" };
            let step = &replay.steps[crash.event];
            let of = match step.records {
                0 => step.event.to_owned(),
                n => format!("{} of {n} records", step.event),
            };
            writeln!(
                out,
                "now: it crashes {how}, in event {} of {} ({of}), after {:?}\n{}",
                crash.event + 1,
                capsule.events.len(),
                replay.took,
                crash.failure,
            )
        }
    };
    if let Some(crash) = &replay.crash {
        out.push_str(&culprits_text(crash));
    }
    out
}

fn culprits_text(crash: &CrashReport) -> String {
    let mut out = String::new();
    if crash.culprits.is_empty() {
        out.push_str(match crash.all_found {
            true => "no single record or timer crashes it by itself\n",
            false => "which records or timers crash it by themselves was not found out\n",
        });
        return out;
    }
    for Culprit { letter, failure, .. } in crash.culprits.iter().take(MOST_SHOWN) {
        let _ = writeln!(
            out,
            "crashes by itself:\n  key   {:?}\n  value {:?}",
            text(&letter.key),
            text(&letter.value)
        );
        if let Some(time) = letter.timestamp {
            let _ = writeln!(out, "  time  {time} ({})", human::time(time));
        }
        let _ = writeln!(out, "  {}: {}", failure.kind.label(), failure.message);
    }
    let more = crash.culprits.len().saturating_sub(MOST_SHOWN);
    if more > 0 || !crash.all_found {
        let least = if crash.all_found { "" } else { "at least " };
        let _ = writeln!(out, "and {least}{more} more");
    }
    out
}

fn short(digest: &str) -> &str {
    digest.get(..12).unwrap_or(digest)
}

/// A replay for programs.
pub(super) fn replay_json(capsule: &Capsule, replay: &Replay) -> Value {
    let crash = replay.crash.as_ref().map(|crash| {
        let culprits = crash.culprits.iter().map(|Culprit { letter, failure, .. }| {
            json!({
                "key": text(&letter.key),
                "value": text(&letter.value),
                "timestamp": letter.timestamp,
                "failure": failure,
            })
        });
        json!({
            "event": crash.event,
            "failure": crash.failure,
            "as_before": crash.as_before,
            "culprits": culprits.collect::<Vec<_>>(),
            "all_found": crash.all_found,
        })
    });
    let operator = &capsule.operator;
    json!({
        "type": "replay",
        "crashes": crash.is_some(),
        "crash": crash,
        "job": capsule.job,
        "operator": operator.name,
        "subtask": operator.subtask,
        "taken_at": capsule.taken_at,
        "redacted": capsule.redacted,
        "incomplete": capsule.incomplete,
        "before": capsule.failure,
        "digest": replay.digest,
        "same_build": replay.digest == operator.digest,
        "steps": replay.steps,
        "took_micros": u64::try_from(replay.took.as_micros()).unwrap_or(u64::MAX),
        "guest_nanos": replay.guest_nanos,
        "most_memory": replay.most_memory,
    })
}

/// A comparison as text.
pub(super) fn comparison_text(capsule: &Capsule, comparison: &Comparison) -> String {
    let mut out = headline(capsule);
    let Comparison { old, new, .. } = comparison;
    let _ = writeln!(
        out,
        "{}: {} events with {} records were compared",
        match comparison.verdict {
            Verdict::Same => "the same",
            Verdict::Differs => "different",
            Verdict::OldCrashes => "the old version crashes",
            Verdict::NewCrashes => "the new version crashes",
            Verdict::BothCrash => "both versions crash",
        },
        comparison.events,
        comparison.records
    );
    let _ = writeln!(out, "{:<22}{:>16}{:>16}", "", "old", "new");
    let mut row = |name: &str, one: String, other: String| {
        let _ = writeln!(out, "  {name:<20}{one:>16}{other:>16}");
    };
    row("component", short(&old.digest).to_owned(), short(&new.digest).to_owned());
    let ports: std::collections::BTreeSet<_> =
        old.emitted.keys().chain(new.emitted.keys()).collect();
    for port in ports {
        let of = |side: &Side| side.emitted.get(port).copied().unwrap_or(0).to_string();
        row(&format!("emitted to port {port}"), of(old), of(new));
    }
    row("rejected", old.rejected.to_string(), new.rejected.to_string());
    row("late", old.late.to_string(), new.late.to_string());
    #[expect(clippy::cast_precision_loss, reason = "shown to three digits")]
    let millis = |nanos: u64| format!("{:.2} ms", nanos as f64 / 1e6);
    row("time of the guest", millis(old.guest_nanos), millis(new.guest_nanos));
    if old.guest_fuel + new.guest_fuel > 0 {
        row("fuel", human::exact(old.guest_fuel), human::exact(new.guest_fuel));
    }
    #[expect(clippy::cast_precision_loss, reason = "shown to three digits")]
    let bytes = |side: &Side| human::bytes(side.most_memory as f64);
    row("memory at most", bytes(old), bytes(new));
    for (name, crash) in [("old", &old.crash), ("new", &new.crash)] {
        if let Some(failure) = crash {
            let _ = writeln!(
                out,
                "the {name} version, in event {}: {}",
                comparison.events,
                say(failure)
            );
        }
    }
    if let Some(first) = &comparison.first {
        let _ =
            writeln!(out, "{} events differ; the first difference:", comparison.differing_events);
        out.push_str(&difference_text(first));
    }
    let state = &comparison.state;
    if let Some((key, of_old, of_new)) = &state.first {
        let _ = writeln!(
            out,
            "the states differ: {} keys changed, {} only in the old one, {} only in the new one; the \
             first is {key:?}\n  old {}\n  new {}",
            state.changed,
            state.only_old,
            state.only_new,
            quoted(of_old.as_ref()),
            quoted(of_new.as_ref())
        );
    }
    out
}

fn say(failure: &Failure) -> String {
    failure.to_string()
}

fn quoted(text: Option<&String>) -> String {
    text.map_or_else(|| "nothing".to_owned(), |text| format!("{text:?}"))
}

fn difference_text(difference: &Difference) -> String {
    let shown = |record: &Option<Shown>| match record {
        None => "nothing".to_owned(),
        Some(Shown { key, value, timestamp }) => {
            let time = timestamp.map(|time| format!(", time {time}")).unwrap_or_default();
            format!("key {key:?}, value {value:?}{time}")
        }
    };
    match difference {
        Difference::Record { event, port, index, old, new } => format!(
            "  event {}, port {port}, record {}\n  old {}\n  new {}\n",
            event + 1,
            index + 1,
            shown(old),
            shown(new)
        ),
        Difference::Rejected { event, old, new } => {
            let why = |rejected: &Option<(u32, String)>| match rejected {
                None => "nothing".to_owned(),
                Some((index, why)) => format!("record {index} rejected: {why:?}"),
            };
            format!("  event {}\n  old {}\n  new {}\n", event + 1, why(old), why(new))
        }
    }
}
