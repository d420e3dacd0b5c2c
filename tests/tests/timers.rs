//! Timers of processing time, set by a guest and fired by the host's clock: also
//! when no record comes any more, and when the job was down at their time. Nothing
//! here waits for a time to pass, only for what the job says.

#![allow(clippy::unwrap_used, reason = "these are tests, their helpers too")]

use std::{
    collections::BTreeSet,
    io::{BufRead as _, BufReader, Write as _},
    process::Stdio,
};

use cofferdam_tests::{Place, program};
use serde_json::Value;

/// A job whose guest sets one timer for each key, `after` its first record.
fn job(source: &str, sink: &str, after: &str) -> String {
    format!(
        r#"
[job]
name = "timed"
parallelism = 2

[checkpoints]
interval = "20ms"

[[source]]
name = "records"
{source}

[[operator]]
name = "by-key"
artifact = "project"
input = "records"
config.key = "key"

[[operator]]
name = "alarm"
artifact = "alarm"
input = "by-key"
config.after = "{after}"

[[sink]]
name = "rung"
input = "alarm"
{sink}
"#
    )
}

/// With `roll`, each checkpoint shows what was written before it.
const TO_FILE: &str = "connector = \"jsonl\"\npath = \"rung.jsonl\"\nroll = 1";

/// Records of these three keys without end.
const KEYS: usize = 3;
const ENDLESS: &str =
    "connector = \"generator\"\nrate = 500\nkeys = 3\nfields = { n = { sequence = 1 } }";

fn number(line: &Value, name: &str) -> i64 {
    line[name].as_i64().unwrap_or_else(|| panic!("{name} of {line}"))
}

/// That a timer fired when it was due, and not before.
fn assert_fired_in_time(line: &Value, after: i64) {
    assert_eq!(number(line, "due") - number(line, "armed"), after, "{line}");
    assert!(number(line, "fired") >= number(line, "due"), "too early: {line}");
}

/// That each key's timer fired once.
fn assert_once_for_each_key(lines: &[Value]) {
    let keys: BTreeSet<&str> = lines.iter().map(|line| line["key"].as_str().unwrap()).collect();
    assert_eq!((lines.len(), keys.len()), (KEYS, KEYS), "{lines:?}");
}

#[test]
fn a_timer_fires_although_no_record_comes_any_more() {
    let place = Place::new();
    place.write("job.toml", job("connector = \"stdin\"", "connector = \"stdout\"", "50ms"));
    let mut command = program();
    command.arg("run").arg(place.path("job.toml")).arg("--json");
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
    let mut child = command.spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    for key in ["a", "b"] {
        // Standard input stays open and silent until the timer has fired.
        writeln!(stdin, "{{\"key\":\"{key}\"}}").unwrap();
        let rung = loop {
            let line: Value = serde_json::from_str(&lines.next().unwrap().unwrap()).unwrap();
            if line["due"].is_i64() {
                break line;
            }
            // Beside what is printed there is a status each second.
            assert!(line["elapsed_millis"].as_u64() < Some(30_000), "it does not fire: {line}");
        };
        assert_eq!((rung["key"].as_str(), number(&rung, "records")), (Some(key), 1));
        assert_fired_in_time(&rung, 50);
    }
    drop(stdin);
    let summary: Value = serde_json::from_str(&lines.last().unwrap().unwrap()).unwrap();
    assert_eq!(summary["outcome"], "finished", "{summary}");
    assert_eq!(child.wait().unwrap().code(), Some(0));
}

#[test]
fn timers_fire_between_records_once_for_each_key() {
    let place = Place::new();
    place.write("job.toml", job(ENDLESS, TO_FILE, "30ms"));
    let mut running = place.start("job.toml", &[]);
    running.until("all rung", |status| status["vertices"][2]["records_out"] == KEYS);
    // Records of every key go on coming, and set no further timer.
    running.until_checkpoints(5);
    running.interrupt();
    assert_eq!(running.wait().code, Some(3));
    let lines = place.json("rung");
    assert_once_for_each_key(&lines);
    lines.iter().for_each(|line| assert_fired_in_time(line, 30));
}

#[test]
fn a_timer_that_came_due_while_the_job_was_down_fires_when_it_goes_on() {
    let after = 1_000;
    let place = Place::new();
    place.write("job.toml", job(ENDLESS, TO_FILE, &format!("{after}ms")));
    let armed = |status: &Value| status["vertices"][2]["records_in"].as_u64() > Some(20);
    let arguments = ["--state", "state"];
    let mut killed = place.start("job.toml", &arguments);
    killed.until("armed", armed);
    killed.until_checkpoints(3);
    killed.kill();
    let mut stopped = place.start("job.toml", &arguments);
    stopped.until_checkpoints(1);
    stopped.interrupt();
    assert_eq!(stopped.wait().code, Some(3));
    let mut last = place.start("job.toml", &arguments);
    last.until("all rung", |status| status["vertices"][2]["records_out"] == KEYS);
    last.interrupt();
    let last = last.wait();
    assert_eq!(last.code, Some(3), "{}", last.stderr);
    let lines = place.json("rung");
    assert_once_for_each_key(&lines);
    lines.iter().for_each(|line| assert_fired_in_time(line, after));
}

#[test]
fn a_timer_that_is_not_due_does_not_keep_a_job_from_its_end() {
    let place = Place::new();
    place.write("in.jsonl", "{\"key\":\"a\"}\n{\"key\":\"b\"}\n");
    let source = "connector = \"jsonl\"\npath = \"in.jsonl\"";
    let ended = place.run_job(&job(source, TO_FILE, "1h"), &[]).finished();
    assert_eq!((ended.vertex("alarm", "records_in"), ended.vertex("alarm", "records_out")), (2, 0));
}
