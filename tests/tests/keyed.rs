//! Keyed state, event time and windows: results equal what a few lines of this
//! file compute from the same input.

#![allow(clippy::unwrap_used, reason = "these are tests, their helpers too")]

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write as _,
};

use cofferdam_tests::Place;
use serde_json::Value;

/// Events of a reproducible pseudo-random stream: key, event time in
/// milliseconds, and a number. Times come up to `disorder` late.
fn events(n: u64, keys: u64, disorder: i64) -> Vec<(String, i64, i64)> {
    let mut seed = 88_172_645_463_325_252_u64;
    let mut random = move |below: u64| {
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        seed % below
    };
    let mut now = 1_000_000;
    let mut event = || {
        // Now and then a pause, for sessions to end.
        now += if random(50) == 0 { 4_000 } else { 20 };
        let late = i64::try_from(random(disorder.unsigned_abs() + 1)).unwrap();
        let value = i64::try_from(random(1_000)).unwrap() - 300;
        (format!("k{}", random(keys)), now - late, value)
    };
    (0..n).map(|_| event()).collect()
}

fn jsonl(events: &[(String, i64, i64)]) -> String {
    let mut text = String::new();
    for (i, (key, time, value)) in events.iter().enumerate() {
        writeln!(text, r#"{{"i":{i},"k":"{key}","t":{time},"v":{value}}}"#).unwrap();
    }
    text
}

/// A job over `in.jsonl`, keyed by `k` with event times `t`.
fn job(parallelism: u32, disorder: i64, rest: &str) -> String {
    format!(
        r#"
[job]
name = "keyed"
parallelism = {parallelism}

[[source]]
name = "events"
connector = "jsonl"
path = "in*.jsonl"
key = "k"
timestamp = {{ field = "t", format = "millis" }}
max_out_of_orderness = "{disorder}ms"

{rest}
"#
    )
}

fn int(line: &Value, name: &str) -> i64 {
    line[name].as_i64().unwrap_or_else(|| panic!("no {name} in {line}"))
}

/// An RFC 3339 time of 1970-01-01 in milliseconds.
fn millis(line: &Value, name: &str) -> i64 {
    let text = line[name].as_str().unwrap_or_else(|| panic!("no {name} in {line}"));
    let time = text.strip_prefix("1970-01-01T").and_then(|text| text.strip_suffix('Z')).unwrap();
    let mut parts = time.split(':');
    let mut whole = || parts.next().unwrap().parse::<f64>().unwrap();
    let seconds = whole() * 3_600.0 + whole() * 60.0 + whole();
    #[expect(clippy::cast_possible_truncation, reason = "a day at most")]
    let millis = (seconds * 1_000.0).round() as i64;
    millis
}

#[test]
fn running_counts_are_the_same_at_any_parallelism_and_in_chains_or_not() {
    let events = events(20_000, 300, 0);
    let mut wanted = BTreeMap::<&str, i64>::new();
    for (key, ..) in &events {
        *wanted.entry(key).or_default() += 1;
    }
    for (parallelism, chaining) in [(1, true), (1, false), (2, true), (2, false), (4, true)] {
        let place = Place::new();
        place.write("in.jsonl", jsonl(&events));
        let rest = r#"
[[operator]]
name = "counts"
artifact = "count"
input = "events"
[[sink]]
name = "out"
input = "counts"
connector = "jsonl"
path = "out.jsonl""#;
        let head = format!("[job]\noperator_chaining = {chaining}");
        let job = job(parallelism, 0, rest).replace("[job]", &head);
        let _ = place.run_job(&job, &[]).finished();
        let found = place.json("out.jsonl");
        let mut most = BTreeMap::<&str, i64>::new();
        for line in &found {
            let count = most.entry(line["key"].as_str().unwrap()).or_default();
            *count = int(line, "count").max(*count);
        }
        assert_eq!(most, wanted, "at parallelism {parallelism}, chaining {chaining}");
    }
}

#[test]
fn sliding_windows_equal_an_independent_computation() {
    let (size, slide) = (3_000, 1_000);
    let events = events(5_000, 10, 500);
    let mut wanted = BTreeMap::<(i64, String), (i64, i64)>::new();
    for (key, time, value) in &events {
        let last = time.div_euclid(slide) * slide;
        for start in [last, last - slide, last - 2 * slide] {
            let (count, sum) = wanted.entry((start, key.clone())).or_default();
            (*count, *sum) = (*count + 1, *sum + value);
        }
    }
    for parallelism in [1, 3] {
        let place = Place::new();
        place.write("in.jsonl", jsonl(&events));
        let rest = format!(
            r#"
[[operator]]
name = "stats"
artifact = "window-stats"
input = "events"
window = {{ type = "sliding", size = "{size}ms", slide = "{slide}ms" }}
config.field = "v"
[[sink]]
name = "out"
input = "stats"
connector = "jsonl"
path = "out.jsonl""#
        );
        let _ = place.run_job(&job(parallelism, 500, &rest), &[]).finished();
        let mut found = BTreeMap::new();
        for line in place.json("out.jsonl") {
            let start = millis(&line, "window_start");
            assert_eq!(millis(&line, "window_end"), start + size);
            let key = (start, line["key"].as_str().unwrap().to_owned());
            let twice = found.insert(key, (int(&line, "count"), int(&line, "sum")));
            assert_eq!(twice, None, "twice: {line}");
        }
        assert_eq!(found, wanted, "at parallelism {parallelism}");
    }
}

#[test]
fn sessions_equal_an_independent_computation() {
    let gap = 1_500;
    let events = events(5_000, 20, 700);
    let mut times = BTreeMap::<&str, Vec<i64>>::new();
    for (key, time, _) in &events {
        times.entry(key).or_default().push(*time);
    }
    let mut wanted = BTreeSet::new();
    for (key, mut times) in times {
        times.sort_unstable();
        // Flink's rule: an event's window is [t, t + gap), and windows that
        // overlap or touch become one.
        for session in times.chunk_by(|one, next| next - one <= gap) {
            wanted.insert((key.to_owned(), session[0], *session.last().unwrap(), session.len()));
        }
    }
    assert!(wanted.len() > 200, "{} sessions", wanted.len());
    for parallelism in [1, 2, 4] {
        let place = Place::new();
        place.write("in.jsonl", jsonl(&events));
        let rest = format!(
            r#"
[[operator]]
name = "sessions"
artifact = "sessionize"
input = "events"
window = {{ type = "session", gap = "{gap}ms" }}
[[sink]]
name = "out"
input = "sessions"
connector = "jsonl"
path = "out.jsonl""#
        );
        let _ = place.run_job(&job(parallelism, 700, &rest), &[]).finished();
        let session = |line: &Value| {
            let count = usize::try_from(int(line, "events")).unwrap();
            let key = line["key"].as_str().unwrap().to_owned();
            (key, millis(line, "start"), millis(line, "end"), count)
        };
        let lines = place.json("out.jsonl");
        let found: BTreeSet<_> = lines.iter().map(session).collect();
        assert_eq!(lines.len(), found.len(), "no session twice");
        assert_eq!(found, wanted, "at parallelism {parallelism}");
    }
}

#[test]
fn dedupe_lets_a_key_pass_again_when_its_time_is_over() {
    let events = events(5_000, 40, 0);
    let ttl = 2_500;
    let mut passed_at = BTreeMap::<&str, i64>::new();
    let mut wanted = BTreeSet::new();
    for (i, (key, time, _)) in events.iter().enumerate() {
        if passed_at.get(key.as_str()).is_none_or(|passed| time - passed >= ttl) {
            passed_at.insert(key, *time);
            wanted.insert(i64::try_from(i).unwrap());
        }
    }
    let place = Place::new();
    place.write("in.jsonl", jsonl(&events));
    let rest = format!(
        r#"
[[operator]]
name = "once"
artifact = "dedupe"
input = "events"
ports = ["first", "again"]
config.ttl = "{ttl}ms"
[[sink]]
name = "first"
input = "once.first"
connector = "jsonl"
path = "first.jsonl"
[[sink]]
name = "again"
input = "once.again"
connector = "jsonl"
path = "again.jsonl""#
    );
    let _ = place.run_job(&job(2, 0, &rest), &[]).finished();
    let found: BTreeSet<i64> = place.json("first.jsonl").iter().map(|l| int(l, "i")).collect();
    assert_eq!(found, wanted);
    assert_eq!(place.lines("again.jsonl").len(), events.len() - wanted.len());
}

/// Three records in time, then one 10 s on which closes their window, then two
/// for the closed window.
const LATE: &str = r#"{"k":"a","t":100,"v":1}
{"k":"a","t":200,"v":1}
{"k":"b","t":300,"v":1}
{"k":"a","t":10500,"v":1}
"#;
const STRAGGLERS: &str = r#"{"k":"a","t":400,"v":1}
{"k":"b","t":500,"v":1}
{"k":"a","t":10600,"v":1}
"#;

/// Runs a windowed count over standard input, so that the second part comes when
/// the watermark has passed the first, and returns `key@start=count` and the late.
fn late(lateness: &str) -> (Vec<String>, Vec<Value>) {
    let place = Place::new();
    // Batches hold 1,024 records at most: the filling between the parts makes
    // the stragglers come in a later one, behind the watermark.
    let filling: String = (0..3_000).map(|_| "{\"k\":\"z\",\"t\":10500,\"v\":0}\n").collect();
    place.write("in.jsonl", format!("{LATE}{filling}{STRAGGLERS}"));
    let rest = format!(
        r#"
[[operator]]
name = "counts"
artifact = "count"
input = "events"
window = {{ type = "tumbling", size = "1s", allowed_lateness = "{lateness}" }}
[[sink]]
name = "out"
input = "counts"
connector = "jsonl"
path = "out.jsonl"
[[sink]]
name = "late"
input = "counts.late"
connector = "jsonl"
path = "late.jsonl""#
    );
    let ended = place.run_job(&job(1, 0, &rest), &[]).finished();
    let late = if place.files("late.jsonl").is_empty() { vec![] } else { place.json("late.jsonl") };
    assert_eq!(ended.vertex("counts", "late"), late.len() as u64);
    let fired = |line: &Value| {
        let (key, start) = (line["key"].as_str().unwrap(), millis(line, "window_start"));
        format!("{key}@{start}={}", int(line, "count"))
    };
    (place.json("out.jsonl").iter().map(fired).collect(), late)
}

#[test]
fn records_for_a_closed_window_go_to_the_late_output() {
    let (mut fired, late) = late("0s");
    fired.sort();
    assert_eq!(fired, ["a@0=2", "a@10000=2", "b@0=1", "z@10000=3000"]);
    let times: BTreeSet<i64> = late.iter().map(|line| int(line, "t")).collect();
    assert_eq!(times, BTreeSet::from([400, 500]));
}

#[test]
fn a_window_fires_again_for_records_within_the_allowed_lateness() {
    let (mut fired, late) = late("1m");
    fired.sort();
    assert_eq!(fired, ["a@0=2", "a@0=3", "a@10000=2", "b@0=1", "b@0=2", "z@10000=3000"]);
    assert!(late.is_empty(), "{late:?}");
}

#[test]
fn an_idle_source_does_not_hold_windows_back() {
    use std::process::Stdio;
    // Standard input says nothing and never ends; the other source goes on
    // slowly. Its windows can close only if the silent one is taken for idle.
    let place = Place::new();
    place.write(
        "job.toml",
        r#"
[job]
name = "idle"
[[source]]
name = "silent"
connector = "stdin"
idle_timeout = "100ms"
[[source]]
name = "ticks"
connector = "generator"
rate = 500
keys = 1
step = "10ms"
[[operator]]
name = "counts"
artifact = "count"
inputs = [["silent", "ticks"]]
window = { type = "tumbling", size = "1s" }
[[sink]]
name = "out"
input = "counts"
connector = "stdout"
"#,
    );
    let mut command = cofferdam_tests::program();
    command.arg("run").arg(place.path("job.toml")).arg("--json");
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
    let mut child = command.spawn().unwrap();
    let stdin = child.stdin.take().unwrap();
    let stdout = std::io::BufReader::new(child.stdout.take().unwrap());
    let mut fired = 0;
    for line in std::io::BufRead::lines(stdout) {
        let line: Value = serde_json::from_str(&line.unwrap()).unwrap();
        fired += usize::from(line["count"].is_u64());
        // Half a minute of ticks is enough to know that nothing fires.
        if fired >= 2 || line["vertices"][1]["records_out"].as_u64() > Some(15_000) {
            break;
        }
    }
    child.kill().unwrap();
    child.wait().unwrap();
    drop(stdin);
    assert!(fired >= 2, "{fired} windows");
}

#[test]
fn a_join_finds_rows_of_the_other_input_whichever_comes_first() {
    let place = Place::new();
    let events = events(2_000, 30, 0);
    place.write("in.jsonl", jsonl(&events));
    // A row for every key but k7.
    let table: String = (0..30)
        .filter(|i| *i != 7)
        .map(|i| format!("{{\"k\":\"k{i}\",\"name\":\"key number {i}\"}}\n"))
        .collect();
    place.write("table.jsonl", table);
    let rest = r#"
[[source]]
name = "table"
connector = "jsonl"
path = "table.jsonl"
key = "k"
[[operator]]
name = "named"
artifact = "enrich-join"
inputs = ["events", "table"]
ports = ["named", "unknown"]
config = { wait = "buffer", buffer = 10_000, fields = ["name"] }
[[sink]]
name = "named-file"
input = "named.named"
connector = "jsonl"
path = "named.jsonl"
[[sink]]
name = "unknown-file"
input = "named.unknown"
connector = "jsonl"
path = "unknown.jsonl""#;
    let _ = place.run_job(&job(2, 0, rest), &[]).finished();
    let (named, unknown) = (place.json("named.jsonl"), place.json("unknown.jsonl"));
    assert!(named.iter().all(|line| {
        let key = line["k"].as_str().unwrap();
        line["name"].as_str() == Some(&format!("key number {}", &key[1..]))
    }));
    assert!(!unknown.is_empty() && unknown.iter().all(|line| line["k"] == "k7"));
    let all = named.iter().chain(&unknown).map(|line| int(line, "i"));
    let all: BTreeSet<i64> = all.collect();
    assert_eq!((all.len(), named.len() + unknown.len()), (2_000, 2_000));
}

#[test]
fn side_outputs_and_dead_letters_divide_the_input() {
    let place = Place::new();
    place.write("in.jsonl", "{\"k\":\"a\",\"t\":1,\"v\":5}\n{\"k\":\"b\",\"t\":2,\"v\":50}\n");
    place.write("other.txt", "{\"v\":60}\nno json\n{\"v\":1}\n");
    let rest = r#"
[[source]]
name = "other"
connector = "lines"
path = "other.txt"
[[operator]]
name = "great"
artifact = "filter"
inputs = [["events", "other"]]
ports = ["yes", "no"]
config.where = [{ field = "v", op = "gt", value = 10 }]
[[sink]]
name = "yes"
input = "great"
connector = "lines"
path = "yes.txt"
[[sink]]
name = "no"
input = "great.no"
connector = "lines"
path = "no.txt"
[[sink]]
name = "dead"
input = "great.dead-letters"
connector = "jsonl"
path = "dead.jsonl""#;
    let ended = place.run_job(&job(1, 0, rest), &[]).finished();
    assert_eq!(ended.vertex("great", "rejected"), 1);
    assert_eq!(place.lines("yes.txt"), [r#"{"k":"b","t":2,"v":50}"#, r#"{"v":60}"#]);
    assert_eq!(place.lines("no.txt"), [r#"{"k":"a","t":1,"v":5}"#, r#"{"v":1}"#]);
    let dead = place.json("dead.jsonl");
    assert_eq!(dead.len(), 1);
    assert_eq!((&dead[0]["operator"], &dead[0]["value"]), (&"great".into(), &"no json".into()));
    assert!(dead[0]["reason"].as_str().is_some_and(|reason| reason.len() > 5), "{}", dead[0]);
}
