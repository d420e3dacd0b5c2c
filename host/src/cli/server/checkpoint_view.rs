//! Checkpoints of a server's job as text.

use serde_json::Value;

use super::{fields, moment, text};
use crate::cli::human::{self, table};

fn size(value: &Value) -> String {
    value.as_f64().map_or_else(|| "-".to_owned(), human::bytes)
}

fn millis(value: &Value) -> String {
    value.as_u64().map_or_else(|| "-".to_owned(), human::millis)
}

fn micros(value: &Value) -> String {
    value.as_u64().map_or_else(|| "-".to_owned(), human::micros)
}

/// The last ones, a line for each, the newest first.
pub(super) fn list(all: &Value) -> String {
    let history = all["history"].as_array().map(Vec::as_slice).unwrap_or_default();
    let rows: Vec<Vec<String>> = history
        .iter()
        .rev()
        .map(|past| {
            let outcome = match past["reason"].as_str() {
                Some(reason) => {
                    format!("failed: {}", reason.lines().next().unwrap_or_default())
                }
                None => text(&past["outcome"]).to_owned(),
            };
            vec![
                past["id"].to_string(),
                past["trigger"].as_str().unwrap_or("-").to_owned(),
                moment(&past["triggered_at"]),
                millis(&past["duration_millis"]),
                size(&past["bytes"]),
                size(&past["full_bytes"]),
                outcome,
            ]
        })
        .collect();
    let header = ["CHECKPOINT", "TRIGGER", "BEGAN", "TOOK", "WRITTEN", "HOLDS", "OUTCOME"];
    let mut out = table(&header, &rows, 7);
    out += &format!("{} completed, {} failed", all["completed"], all["failed"]);
    if let Some(from) = all["resumed_from"].as_u64() {
        out += &format!("; resumed from {from}");
    }
    out + "\n"
}

/// One of them, with each source, operator and sink, if it is kept.
pub(super) fn one(checkpoint: &Value) -> String {
    let (past, kept) = (&checkpoint["history"], &checkpoint["kept"]);
    let mut shown = vec![("checkpoint", checkpoint["id"].to_string())];
    let mut told = |name, value: Option<String>| shown.extend(value.map(|value| (name, value)));
    told(
        "began",
        [past, kept]
            .map(|of| of["triggered_at"].as_i64())
            .iter()
            .flatten()
            .next()
            .map(|at| human::time(*at)),
    );
    told("outcome", past["outcome"].as_str().map(str::to_owned));
    told("reason", past["reason"].as_str().map(str::to_owned));
    told("trigger", past["trigger"].as_str().map(str::to_owned));
    for (name, key) in [
        ("took", "end_to_end_micros"),
        ("alignment", "alignment_micros"),
        ("snapshot", "sync_micros"),
        ("writing", "async_micros"),
    ] {
        told(name, past[key].as_u64().map(human::micros));
    }
    told("written", past["bytes"].as_f64().map(human::bytes));
    let holds = kept["full_bytes"].as_f64().or_else(|| past["full_bytes"].as_f64());
    told("holds", holds.map(human::bytes));
    let Some(operators) = kept["operators"].as_array() else {
        told("kept", Some("no: a later one has taken its place".to_owned()));
        return fields(&shown);
    };
    told("key groups", Some(kept["max_parallelism"].to_string()));
    fields(&shown) + "\n" + &operators_table(operators, &kept["details"]["subtasks"])
}

fn operators_table(operators: &[Value], took: &Value) -> String {
    let rows: Vec<Vec<String>> = operators
        .iter()
        .map(|operator| {
            let name = text(&operator["name"]);
            let subtasks = operator["subtasks"].as_array().map(Vec::as_slice).unwrap_or_default();
            let watermark = subtasks
                .iter()
                .filter_map(|subtask| {
                    subtask["watermark"].as_i64().or_else(|| subtask["newest"].as_i64())
                })
                .min();
            let longest = |key: &str| {
                let all = took[name].as_array().into_iter().flatten();
                micros(&all.filter_map(|subtask| subtask[key].as_u64()).max().into())
            };
            vec![
                name.to_owned(),
                operator["artifact"]
                    .as_str()
                    .map_or("-", |digest| digest.get(..12).unwrap_or(digest))
                    .to_owned(),
                subtasks.len().to_string(),
                operator["key_groups"].to_string(),
                operator["chunks"].to_string(),
                size(&operator["bytes"]),
                moment(&watermark.into()),
                longest("alignment_micros"),
                longest("sync_micros"),
            ]
        })
        .collect();
    let header = [
        "OPERATOR",
        "ARTIFACT",
        "SUBTASKS",
        "KEY GROUPS",
        "CHUNKS",
        "BYTES",
        "WATERMARK",
        "ALIGNMENT",
        "SNAPSHOT",
    ];
    table(&header, &rows, 2)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn completed_and_failed_ones_stand_in_one_list_the_newest_first() {
        let shown = list(&json!({
            "completed": 7, "failed": 1, "resumed_from": 3, "history": [
                {"outcome": "completed", "id": 8, "trigger": "interval", "triggered_at": 0,
                 "duration_millis": 12, "bytes": 2_048, "full_bytes": 4_096},
                {"outcome": "failed", "id": 9, "reason": "timed out"},
            ]
        }));
        let lines: Vec<Vec<&str>> =
            shown.lines().map(|line| line.split_whitespace().collect()).collect();
        assert_eq!(lines[1], ["9", "-", "-", "-", "-", "-", "failed:", "timed", "out"]);
        assert_eq!(lines[2][..2], ["8", "interval"]);
        assert!(shown.ends_with("7 completed, 1 failed; resumed from 3\n"), "{shown}");
    }

    #[test]
    fn one_that_is_not_kept_any_more_is_shown_as_far_as_it_is_known() {
        let past = json!({"outcome": "completed", "id": 8, "trigger": "interval",
            "triggered_at": 0, "end_to_end_micros": 1_500, "bytes": 2_048, "full_bytes": 4_096});
        let shown = one(&json!({"id": 8, "history": past, "kept": null}));
        assert!(shown.contains("took        1.5 ms\n"), "{shown}");
        assert!(shown.contains("a later one has taken its place"), "{shown}");
        let kept = json!({"full_bytes": 4_096, "max_parallelism": 128, "triggered_at": 0,
            "details": {"subtasks": {"a": [{"alignment_micros": 7, "sync_micros": 8}]}},
            "operators": [{"name": "a", "artifact": "0123456789abcdef", "key_groups": 2,
                "chunks": 3, "bytes": 4, "subtasks": [{"watermark": 0}, {"newest": 1_000}]}]});
        let shown = one(&json!({"id": 8, "history": null, "kept": kept}));
        let row: Vec<_> = shown
            .lines()
            .last()
            .unwrap()
            .split("  ")
            .map(str::trim)
            .filter(|cell| !cell.is_empty())
            .collect();
        let expected =
            ["a", "0123456789ab", "2", "2", "3", "4 B", "1970-01-01 00:00:00", "7 µs", "8 µs"];
        assert_eq!(row, expected, "{shown}");
    }
}
