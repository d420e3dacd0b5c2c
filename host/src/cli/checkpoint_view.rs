//! Checkpoints as text and as JSON.

use std::fmt::Write as _;

use serde_json::{Value, json};

use super::human::{self, micros};
use crate::{
    checkpoint::{
        Details, GuestState, Manifest, OperatorState, StoreError, SubtaskState, store::StoreSize,
        verify::Verified,
    },
    ids::CheckpointId,
};

/// A checkpoint to show.
pub(super) struct Shown {
    pub(super) id: CheckpointId,
    pub(super) manifest: Result<Manifest, StoreError>,
    pub(super) details: Option<Details>,
}

/// Bytes, for people.
#[expect(clippy::cast_precision_loss, reason = "for people, three figures")]
pub(super) fn size(bytes: u64) -> String {
    human::bytes(bytes as f64)
}

/// `1, 2, 7`, or that there is none.
pub(super) fn numbers(ids: &[CheckpointId]) -> String {
    if ids.is_empty() {
        return "none".to_owned();
    }
    ids.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

/// Checkpoints, a line for each.
pub(super) fn list(all: &[Shown], size_of: StoreSize) -> String {
    let mut rows = Vec::new();
    for shown in all {
        let mut row = vec![shown.id.to_string()];
        match &shown.manifest {
            Ok(manifest) => {
                let state = if manifest.finished { "finished" } else { "" };
                row.extend([manifest.job.to_string(), human::time(manifest.triggered_at)]);
                let took = shown.details.as_ref();
                row.push(took.map_or("-", |d| d.trigger.word()).to_owned());
                row.push(took.map_or("-".to_owned(), |d| micros(d.end_to_end_micros)));
                row.push(took.map_or("-".to_owned(), |d| size(d.written_bytes)));
                row.extend([size(manifest.full_bytes()), state.to_owned()]);
            }
            Err(_) => row.extend(["-", "damaged", "-", "-", "-", "-", ""].map(str::to_owned)),
        }
        rows.push(row);
    }
    let header = ["checkpoint", "job", "began", "trigger", "took", "written", "holds", ""];
    let mut out = human::table(&header, &rows, 4);
    let StoreSize { live, disk } = size_of;
    let _ = writeln!(out, "{} of state in {} on disk", size(live), size(disk));
    out
}

pub(super) fn list_json(all: &[Shown], size: StoreSize) -> String {
    let all: Vec<Value> = all.iter().map(brief).collect();
    format!(
        "{}\n",
        json!({
            "checkpoints": all, "live_bytes": size.live, "disk_bytes": size.disk,
        })
    )
}

fn brief(shown: &Shown) -> Value {
    let mut object = json!({"id": shown.id, "details": shown.details});
    match &shown.manifest {
        Ok(manifest) => {
            object["job"] = json!(manifest.job);
            object["triggered_at"] = json!(manifest.triggered_at);
            object["epoch"] = json!(manifest.epoch);
            object["max_parallelism"] = json!(manifest.max_parallelism);
            object["finished"] = json!(manifest.finished);
            object["full_bytes"] = json!(manifest.full_bytes());
        }
        Err(error) => object["damaged"] = json!(error.to_string()),
    }
    object
}

/// What a source, operator or sink holds.
struct Sums {
    key_groups: usize,
    chunks: usize,
    bytes: u64,
    watermark: Option<i64>,
}

fn sums(state: &OperatorState) -> Sums {
    let guests = state.subtasks.iter().filter_map(|s| s.guest.as_ref());
    let guests = guests.flat_map(GuestState::chunks);
    let chunks: Vec<_> = state.key_groups.values().flatten().copied().chain(guests).collect();
    let watermarks = state.subtasks.iter().map(|s| s.watermark.or(s.newest));
    Sums {
        key_groups: state.key_groups.len(),
        chunks: chunks.len(),
        bytes: chunks.iter().map(|chunk| chunk.bytes).sum(),
        watermark: watermarks.flatten().min(),
    }
}

/// A checkpoint, with each source, operator and sink.
pub(super) fn one(shown: &Shown) -> String {
    let Ok(manifest) = &shown.manifest else { return String::new() };
    let mut out = format!(
        "checkpoint {} of the job {}{}\n  began            {}\n  holds            {}\n",
        shown.id,
        manifest.job,
        if manifest.finished { ", which has finished" } else { "" },
        human::time(manifest.triggered_at),
        size(manifest.full_bytes()),
    );
    let mut line = |what: &str, value: String| {
        let _ = writeln!(out, "  {what:<15}  {value}");
    };
    if let Some(details) = &shown.details {
        line("trigger", details.trigger.word().to_owned());
        line("written", size(details.written_bytes));
        line("took", micros(details.end_to_end_micros));
        line("alignment", format!("{} at most", micros(details.alignment_micros)));
        line("snapshot", format!("{} at most", micros(details.sync_micros)));
        line("writing", micros(details.async_micros));
    }
    line("key groups", manifest.max_parallelism.to_string());
    line("owner", format!("number {}", manifest.epoch));
    let mut rows = Vec::new();
    for (name, state) in &manifest.operators {
        let sums = sums(state);
        let ended = state.subtasks.iter().filter(|s| s.finished).count();
        let took = shown.details.as_ref().and_then(|d| d.subtasks.get(name));
        let longest = |of: fn(&crate::checkpoint::SubtaskDetails) -> u64| {
            took.and_then(|all| all.iter().map(of).max()).map_or("-".to_owned(), micros)
        };
        rows.push(vec![
            name.to_string(),
            state.artifact.map_or("-".to_owned(), |digest| digest.to_string()[..12].to_owned()),
            match ended {
                0 => state.subtasks.len().to_string(),
                ended => format!("{} ({ended} ended)", state.subtasks.len()),
            },
            sums.key_groups.to_string(),
            sums.chunks.to_string(),
            size(sums.bytes),
            sums.watermark.map_or("-".to_owned(), human::time),
            longest(|took| took.alignment_micros),
            longest(|took| took.sync_micros),
        ]);
    }
    let header = [
        "operator",
        "artifact",
        "subtasks",
        "key groups",
        "chunks",
        "bytes",
        "watermark",
        "alignment",
        "snapshot",
    ];
    out.push_str(&human::table(&header, &rows, 3));
    out
}

pub(super) fn one_json(shown: &Shown) -> String {
    let mut object = brief(shown);
    if let Ok(manifest) = &shown.manifest {
        let operators = manifest.operators.iter().map(|(name, state)| {
            let sums = sums(state);
            let groups = state.key_groups.iter().map(|(group, chunks)| {
                json!({
                    "key_group": group.0,
                    "chunks": chunks.len(),
                    "bytes": chunks.iter().map(|chunk| chunk.bytes).sum::<u64>(),
                })
            });
            json!({
                "name": name,
                "artifact": state.artifact.map(|digest| digest.to_string()),
                "chunks": sums.chunks,
                "bytes": sums.bytes,
                "key_groups": groups.collect::<Vec<_>>(),
                "subtasks": state.subtasks.iter().map(subtask).collect::<Vec<_>>(),
            })
        });
        object["operators"] = operators.collect();
    }
    format!("{object}\n")
}

fn subtask(state: &SubtaskState) -> Value {
    let guest = state.guest.as_ref().map(|guest| guest.chunks().map(|c| c.bytes).sum::<u64>());
    json!({
        "guest_bytes": guest,
        "splits": state.positions.keys().collect::<Vec<_>>(),
        "newest": state.newest,
        "watermark": state.watermark,
        "finished": state.finished,
        "records_in": state.counters.records_in,
        "records_out": state.counters.records_out,
    })
}

pub(super) fn verified(id: CheckpointId, found: &Verified) -> String {
    let Verified { chunks, bytes, damage } = found;
    if damage.is_empty() {
        return format!("checkpoint {id} is whole: {chunks} chunks, {}\n", size(*bytes));
    }
    let mut out = format!("checkpoint {id} is damaged:\n");
    for damage in damage {
        let _ =
            writeln!(out, "  {}, {}: a chunk is {}", damage.operator, damage.holds, damage.reason);
    }
    out
}

pub(super) fn verified_json(id: CheckpointId, found: &Verified) -> String {
    let damage = found.damage.iter().map(|damage| {
        json!({
            "operator": damage.operator,
            "holds": damage.holds.to_string(),
            "reason": damage.reason.to_string(),
        })
    });
    let object = json!({
        "id": id,
        "whole": found.damage.is_empty(),
        "chunks": found.chunks,
        "bytes": found.bytes,
        "damage": damage.collect::<Vec<_>>(),
    });
    format!("{object}\n")
}
