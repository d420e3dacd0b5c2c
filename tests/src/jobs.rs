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
