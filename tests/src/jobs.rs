//! Parts of job files that several tests have in common. What a job must come to stands
//! in the tests.

/// A job that takes its time: so many records, 15,000 in a second, of 100 keys, go through
/// one operator, `guest`, and into `out.txt`. `head` is what comes before the sources;
/// `operator` says of the operator at least its `artifact`.
#[must_use]
pub fn paced(head: &str, records: u64, operator: &str) -> String {
    format!(
        r#"
{head}

[[source]]
name = "records"
connector = "generator"
records = {records}
rate = 15_000
keys = 100

[[operator]]
name = "guest"
input = "records"
{operator}

[[sink]]
name = "out"
input = "guest"
connector = "lines"
path = "out.txt"
"#
    )
}

/// An operator over the source `readings`, whose records have a `reading`: windows.
pub const WINDOWS: &str = r#"
[[operator]]
name = "windows"
artifact = "window-stats"
input = "readings"
window = { type = "tumbling", size = "20s" }
config.field = "reading"
"#;

/// The same: sessions.
pub const VISITS: &str = r#"
[[operator]]
name = "visits"
artifact = "sessionize"
input = "readings"
window = { type = "session", gap = "1500ms" }
config.first = ["reading"]
"#;

/// The same: keyed state, and timers that take it away.
pub const ONCE: &str = r#"
[[operator]]
name = "once"
artifact = "dedupe"
input = "readings"
ports = ["first", "again"]
config.ttl = "5s"
"#;

/// The same: a guest with state of its own, which passes all records on.
pub const OWN_STATE: &str = r#"
[[operator]]
name = "own-state"
artifact = "crasher"
input = "readings"
"#;

/// A job that goes on until it is ended, with a checkpoint every 20 ms: operator `copied` (the
/// artifact `identity`) copies 2,000 records a second into files below `out/copied.txt`.
pub const ENDLESS: &str = r#"
[job]
name = "endless"

[checkpoints]
interval = "20ms"

[[source]]
name = "numbers"
connector = "generator"
rate = 2_000

[[operator]]
name = "copied"
artifact = "identity"
input = "numbers"

[[sink]]
name = "out"
input = "copied"
connector = "lines"
path = "out/copied.txt"
roll = "1KiB"
"#;

/// As [`ENDLESS`], without files, and without a checkpoint by itself.
pub const DISCARDING: &str = r#"
[job]
name = "endless"

[[source]]
name = "numbers"
connector = "generator"
rate = 2_000

[[operator]]
name = "copied"
artifact = "identity"
input = "numbers"

[[sink]]
name = "out"
input = "copied"
connector = "discard"
"#;

/// A job with keyed state that goes on until it is ended, with a checkpoint every 100 ms: operator
/// `count` counts 5,000 records a second of 100 keys.
pub const COUNTING: &str = r#"
[job]
name = "counts"

[checkpoints]
interval = "100ms"

[[source]]
name = "numbers"
connector = "generator"
keys = 100
rate = 5_000

[[operator]]
name = "count"
artifact = "count"
input = "numbers"

[[sink]]
name = "out"
input = "count"
connector = "discard"
"#;

/// A job that crashes twice on a record of `in.jsonl`, and is given up: see [`crashing_records`].
pub const CRASHING: &str = r#"
[job]
name = "crashes"

[restart]
strategy = "fixed-delay"
attempts = 1
delay = "1ms"

[[source]]
name = "records"
connector = "jsonl"
path = "in.jsonl"
key = "k"
timestamp = { field = "t", format = "millis" }

[[operator]]
name = "guest"
artifact = "fragile"
input = "records"
poison = "fail"
config.poison = ['number 70.']

[[sink]]
name = "out"
input = "guest"
connector = "discard"
"#;

/// What [`CRASHING`] reads: a hundred records, of which it bears all but one.
#[must_use]
pub fn crashing_records() -> String {
    let record = |i: u32| format!("{{\"k\":\"key\",\"t\":{i},\"n\":\"number {i}.\"}}\n");
    (0..100).map(record).collect()
}
