//! Jobs of a server as text.

use serde::Deserialize as _;
use serde_json::Value;

use super::{fields, moment, text};
use crate::{
    cli::human::{self, table},
    task_manager::slots::Waiting,
};

/// How much of an identifier is shown in a list: enough to name it.
const SHORT: usize = 12;
/// How much of an error is shown in a list, in characters.
const SHORT_ERROR: usize = 60;

pub(super) fn list(page: &Value) -> String {
    let jobs = page["jobs"].as_array().into_iter().flatten();
    let rows: Vec<Vec<String>> = jobs
        .map(|job| {
            vec![
                text(&job["id"]).chars().take(SHORT).collect(),
                text(&job["name"]).to_owned(),
                text(&job["tenant"]).to_owned(),
                text(&job["state"]).to_owned(),
                moment(&job["created_at"]),
                moment(&job["ended_at"]),
                short(text(&job["error"])),
            ]
        })
        .collect();
    table(&["JOB", "NAME", "TENANT", "STATE", "CREATED", "ENDED", "ERROR"], &rows, 7)
}

/// One line of it, and not all of that.
fn short(error: &str) -> String {
    let line = error.lines().next().unwrap_or_default();
    match line.char_indices().nth(SHORT_ERROR) {
        Some((end, _)) => format!("{}…", &line[..end]),
        None => line.to_owned(),
    }
}

pub(super) fn one(job: &Value) -> String {
    let status = &job["status"];
    let mut all = vec![
        ("job", text(&job["id"]).to_owned()),
        ("name", text(&job["name"]).to_owned()),
        ("tenant", text(&job["tenant"]).to_owned()),
        ("state", text(&job["state"]).to_owned()),
        ("created", moment(&job["created_at"])),
    ];
    let mut told = |name: &'static str, value: Option<String>| {
        if let Some(value) = value {
            all.push((name, value));
        }
    };
    let words = |value: &Value| value.as_str().map(str::to_owned);
    told("ended", job["ended_at"].as_i64().map(human::time));
    told("error", words(&job["error"]));
    told("savepoint", words(&job["savepoint"]));
    told("checkpoints", checkpoints(&status["checkpoints"]));
    told("restarts", status["restarts"]["count"].as_u64().map(|count| count.to_string()));
    told("last failure", words(&status["restarts"]["last_failure"]));
    let mut out = fields(&all);
    if let Some(vertices) = status["vertices"].as_array().filter(|all| !all.is_empty()) {
        out.push('\n');
        out += &vertices_table(vertices, &job["artifacts"]);
    }
    out
}

/// What a job that does not run yet waits for, if that is known.
pub(super) fn waits_for(job: &Value) -> Option<String> {
    let status = &job["status"];
    let what = match text(&job["state"]) {
        "queued" => {
            let waiting = Waiting::deserialize(&status["placement"]["waiting"]).ok()?;
            format!("it waits for {waiting}")
        }
        "restarting" => {
            let failure = status["restarts"]["last_failure"].as_str()?;
            format!("it failed, and is started again: {failure}")
        }
        _ => return None,
    };
    Some(format!("{what}\n(`cofferdam job cancel {}` ends it)", text(&job["id"])))
}

/// Which operators rejected records, if any did.
pub(super) fn rejected(status: &Value) -> Option<String> {
    let vertices = status["vertices"].as_array()?.iter();
    let lines: Vec<String> = vertices
        .filter_map(|vertex| {
            let count = vertex["rejected"].as_u64().filter(|count| *count > 0)?;
            let name = text(&vertex["name"]);
            Some(format!(
                "`{name}` rejected {} records: a sink with `input = \"{name}.dead-letters\"` has them, \
                 with the reasons",
                human::exact(count)
            ))
        })
        .collect();
    (!lines.is_empty()).then(|| lines.join("\n"))
}

fn checkpoints(all: &Value) -> Option<String> {
    let mut shown = format!("{} completed, {} failed", all["completed"].as_u64()?, all["failed"]);
    if let Some(id) = all["last"]["id"].as_u64() {
        shown += &format!(
            "; {id} took {} and holds {}",
            human::millis(all["last"]["duration_millis"].as_u64().unwrap_or(0)),
            human::bytes(all["last"]["full_bytes"].as_f64().unwrap_or(0.0)),
        );
    }
    Some(shown)
}

fn vertices_table(vertices: &[Value], artifacts: &Value) -> String {
    let number = |value: &Value| human::exact(value.as_u64().unwrap_or(0));
    let rows: Vec<Vec<String>> = vertices
        .iter()
        .map(|vertex| {
            let name = text(&vertex["name"]);
            vec![
                name.to_owned(),
                text(&vertex["kind"]).to_owned(),
                artifacts[name].as_str().unwrap_or("-").to_owned(),
                vertex["parallelism"].to_string(),
                number(&vertex["records_in"]),
                number(&vertex["records_out"]),
                number(&vertex["rejected"]),
                format!("{:.0} %", vertex["busy"].as_f64().unwrap_or(0.0) * 100.0),
                moment(&vertex["watermark"]),
            ]
        })
        .collect();
    let header =
        ["VERTEX", "KIND", "RUNS", "SUBTASKS", "IN", "OUT", "REJECTED", "BUSY", "WATERMARK"];
    table(&header, &rows, 3)
}

/// Why a job failed: each failure with what the guest was doing.
pub(super) fn exceptions(all: &Value) -> String {
    let mut out = String::new();
    if let Some(error) = all["ended_with"].as_str() {
        out += &format!("it failed for good: {error}\n");
    }
    let failures = all["failures"].as_array().map(Vec::as_slice).unwrap_or_default();
    if failures.is_empty() {
        out += "nothing has failed\n";
    }
    for failure in failures {
        let place = match (failure["operator"].as_str(), failure["subtask"].as_u64()) {
            (Some(operator), Some(subtask)) => format!("{operator}/{subtask}"),
            (Some(operator), None) => operator.to_owned(),
            _ => "the job".to_owned(),
        };
        out += &format!(
            "{}  {place}  {} (fault: {}): {}\n",
            moment(&failure["at"]),
            text(&failure["kind"]),
            text(&failure["fault"]),
            text(&failure["message"]).replace('\n', "\n    "),
        );
        for frame in failure["backtrace"].as_array().into_iter().flatten() {
            out += &format!("    at {}\n", text(frame));
        }
        out += &match failure["restart_after_millis"].as_u64() {
            Some(pause) => format!("    restarted after {}\n", human::millis(pause)),
            None => "    not restarted\n".to_owned(),
        };
        if let Some(capsule) = failure["capsule"].as_str() {
            out += &format!("    capsule {capsule}\n");
        }
    }
    out + &format!("{} restarts since it was last started\n", all["restarts"])
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_job_that_has_no_status_is_shown_nevertheless() {
        let shown = one(&json!({
            "id": "0123", "name": "a", "tenant": "t", "state": "failed", "created_at": 0,
            "ended_at": 1_000, "error": "no slots", "status": null
        }));
        assert!(shown.contains("error    no slots\n"), "{shown}");
        assert!(!shown.contains("checkpoints"), "{shown}");
    }

    #[test]
    fn what_a_job_waits_for_and_what_it_rejected_is_told() {
        let job = |state: &str| {
            let waiting = json!({"for": "slots", "asked": 3, "free": 1, "total": 4, "ahead": 0});
            let restarts = json!({"last_failure": "`o` (subtask 0) failed: connector failure"});
            let status = json!({"placement": {"waiting": waiting}, "restarts": restarts});
            waits_for(&json!({"id": "0123", "state": state, "status": status}))
        };
        let cancel = "\n(`cofferdam job cancel 0123` ends it)";
        let waits = "it waits for 3 slots; 1 of 4 are free";
        assert_eq!(job("queued"), Some(format!("{waits}{cancel}")));
        let failed = "it failed, and is started again: `o` (subtask 0) failed: connector failure";
        assert_eq!(job("restarting"), Some(format!("{failed}{cancel}")));
        assert_eq!(job("running"), None);
        assert_eq!(waits_for(&json!({"state": "queued", "status": null})), None);

        let vertex = |name: &str, rejected: u64| json!({"name": name, "rejected": rejected});
        let told = rejected(&json!({"vertices": [vertex("a", 0), vertex("b", 1_000)]}));
        let dead_letters = "a sink with `input = \"b.dead-letters\"` has them, with the reasons";
        assert_eq!(told, Some(format!("`b` rejected 1,000 records: {dead_letters}")));
        assert_eq!(rejected(&json!({"vertices": [vertex("a", 0)]})), None);
        assert_eq!(rejected(&json!(null)), None);
    }

    #[test]
    fn each_failure_is_shown_with_its_class_and_where_it_was() {
        let shown = exceptions(&json!({
            "ended_with": "gave up", "restarts": 2, "capsules": [], "failures": [
                {"at": 0, "kind": "guest-trap", "fault": "operator", "operator": "a", "subtask": 1,
                 "message": "unreachable", "backtrace": ["a::b"], "capsule": "a-1-0.capsule",
                 "restart_after_millis": 1_500},
                {"at": 0, "kind": "host-bug", "fault": "host", "operator": null, "subtask": null,
                 "message": "x", "backtrace": [], "capsule": null, "restart_after_millis": null},
            ]
        }));
        let expected = "it failed for good: gave up\n\
            1970-01-01 00:00:00  a/1  guest-trap (fault: operator): unreachable\n    at a::b\n    \
            restarted after 1.5 s\n    capsule a-1-0.capsule\n\
            1970-01-01 00:00:00  the job  host-bug (fault: host): x\n    not restarted\n\
            2 restarts since it was last started\n";
        assert_eq!(shown, expected);
        let none = exceptions(&json!({"ended_with": null, "restarts": 0, "failures": []}));
        assert!(none.starts_with("nothing has failed"), "{none}");
    }

    #[test]
    fn a_list_shows_one_line_for_each() {
        let error = format!("{}\nsecond", "x".repeat(70));
        let page = json!({"jobs": [
            {"id": "0123456789abcdef", "name": "a", "tenant": "t", "state": "failed",
             "created_at": 0, "ended_at": 1_000, "error": error},
            {"id": "fedcba9876543210", "name": "b", "tenant": "t", "state": "running",
             "created_at": 0, "ended_at": null, "error": null},
        ]});
        let shown = list(&page);
        let lines: Vec<_> = shown.lines().collect();
        assert_eq!(lines.len(), 3, "{shown}");
        assert!(lines[1].starts_with("0123456789ab  a"), "{shown}");
        assert!(lines[1].ends_with(&format!("{}…", "x".repeat(60))), "{shown}");
        assert!(lines[2].ends_with("1970-01-01 00:00:00  -"), "{shown}");
    }
}
