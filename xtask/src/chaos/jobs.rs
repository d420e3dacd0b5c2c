//! The jobs that are disturbed. What they write does not depend on how the stream falls
//! into batches, nor on the parallelism; but a record that is lost or counted twice, a
//! timer or a window that is forgotten, changes it.

use std::{fs, path::Path};

use anyhow::{Context, Result, bail};

use super::schedule::{Bounds, Life};

/// A job, and what is to be known of it.
pub(super) struct Job {
    pub(super) name: &'static str,
    pub(super) text: String,
    /// The names that its complete files begin with, in `out`.
    pub(super) outputs: &'static [&'static str],
    /// Subtasks of its sinks.
    pub(super) sinks: u32,
    pub(super) bounds: Bounds,
    /// Operators that trap as they are told, and how many subtasks each has.
    flaky: &'static [(&'static str, u32)],
    /// Settings that keep it from coming to its end too early.
    pace: Vec<String>,
}

/// Slots: what the job needs at its highest parallelism, and some to move to.
const KEYED_SLOTS: u32 = 22 + 5;
const FLIGHTS_SLOTS: u32 = 7 * 4 + 2 + 4;

/// How much of the work is meant to be done between two kills.
const SECONDS_A_LIFE: f64 = 0.5;

impl Job {
    /// Of so many generated records, to be killed so often: tumbling and sliding windows,
    /// sessions, timers, keyed state, guests that say their own state or have their memory saved, files that roll and
    /// are compressed; in two regions.
    pub(super) fn keyed(records: u64, kills: u32) -> Self {
        let (ordered, readings) = (records / 5, records - records / 5);
        let keys = (records / 2_000).clamp(50, 5_000);
        // Event time goes on by 10 ms a record.
        let window = (readings * 10 / 40).max(1_000);
        let (gap, ttl) = (keys * 40, keys * 20);
        #[expect(
            clippy::cast_precision_loss,
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "a pace need not be exact"
        )]
        let pace = |records: u64| {
            (records as f64 / (f64::from(kills.max(1)) * SECONDS_A_LIFE)).max(1_000.0) as u64
        };
        let pace = vec![
            format!("readings.rate={}", pace(readings)),
            format!("ordered.rate={}", pace(ordered)),
        ];
        let source = |name: &str, records: u64, seed: u32| {
            format!(
                r#"
[[source]]
name = "{name}"
connector = "generator"
records = {records}
seed = {seed}
keys = {keys}
start = 2026-01-01T00:00:00Z
step = "10ms"
fields = {{ reading = {{ sequence = 1 }}, room = {{ one_of = ["kitchen", "workshop", "cellar"] }} }}
"#
            )
        };
        let text = format!(
            r#"{HEAD}
{readings}
{ordered}parallelism = 1 # so that there is an order for `once` to go by

# Keep their own state; they go down as they are told.
[[operator]]
name = "flaky"
artifact = "crasher"
input = "readings"
parallelism = 4
config.traps = 0

[[operator]]
name = "flaky-ordered"
artifact = "crasher"
input = "ordered"
parallelism = 1
config.traps = 0

[[operator]]
name = "windows"
artifact = "window-stats"
input = "flaky"
window = {{ type = "tumbling", size = "{window}ms" }}
config.field = "reading"

[[operator]]
name = "overlapping"
artifact = "window-stats"
input = "flaky"
window = {{ type = "sliding", size = "{window}ms", slide = "{slide}ms" }}
config.field = "reading"

[[operator]]
name = "visits"
artifact = "sessionize"
input = "flaky"
window = {{ type = "session", gap = "{gap}ms" }}
config.first = ["reading"]

[[operator]]
name = "once"
artifact = "dedupe"
input = "flaky-ordered"
ports = ["first", "again"]
config.ttl = "{ttl}ms"

# Counts in its memory, and does not say what: its memory is saved.
[[operator]]
name = "remembered"
artifact = "memory-count"
input = "flaky-ordered"
parallelism = 1
state = "memory"

[[sink]]
name = "windows-file"
input = "windows"
parallelism = 2
connector = "jsonl"
path = "out/windows.jsonl"

[[sink]]
name = "overlapping-file"
input = "overlapping"
connector = "jsonl"
path = "out/overlapping.jsonl.gz"

[[sink]]
name = "visits-file"
input = "visits"
connector = "jsonl"
path = "out/visits.jsonl"
roll = "64KiB"

[[sink]]
name = "all"
input = "flaky-ordered"
connector = "jsonl"
path = "out/all.jsonl"
roll = "256KiB"

[[sink]]
name = "counted"
input = "remembered"
connector = "lines"
path = "out/counted.txt"

[[sink]]
name = "first"
input = "once.first"
parallelism = 2
connector = "jsonl"
path = "out/first.jsonl"

[[sink]]
name = "again"
input = "once.again"
connector = "lines"
path = "out/again.txt"
"#,
            readings = source("readings", readings, 3),
            ordered = source("ordered", ordered, 4),
            slide = window / 2,
        );
        Self {
            name: "keyed",
            text,
            outputs: &["windows", "overlapping", "visits", "all", "counted", "first", "again"],
            sinks: 9,
            bounds: Bounds { slots: KEYED_SLOTS, parallelism: 4, trapping: 5 },
            flaky: &[("flaky", 4), ("flaky-ordered", 1)],
            pace,
        }
    }

    /// The flights example, of this file of flights, which the example's is replaced with.
    /// Its alerts depend on the order of arrival, and are left out.
    ///
    /// # Errors
    /// If the example is not as it was.
    pub(super) fn flights(examples: &Path, data: Option<&Path>) -> Result<Self> {
        let example = examples.join("flights");
        let text = fs::read_to_string(example.join("job.toml"))
            .context("cannot read the job file of the flights example")?;
        let january = example.join("flights-2013-01.csv.gz");
        let path = format!("path = {:?}", data.unwrap_or(&january));
        let mut text = replaced(&text, "path = \"flights-2013-01.csv.gz\"", &path)?;
        if data.is_some() {
            let late =
                format!("max_out_of_orderness = \"{}\"", crate::demo::FULL_YEAR_OUT_OF_ORDERNESS);
            text = replaced(&text, "max_out_of_orderness = \"24h\"", &late)?;
        }
        text = replaced(&text, "input = \"flights\"", "input = \"flaky\"")?;
        let (own, rest) = text.split_once("[[source]]").context("the example has no source")?;
        if !own.contains("[checkpoints]") {
            bail!("the flights example does not begin as it did");
        }
        let text = format!(
            r#"{HEAD}
[[source]]{rest}
[[operator]]
name = "flaky"
artifact = "crasher"
input = "flights"
parallelism = 1
config = {{ traps = 0, work = 0 }}
"#
        );
        // So that it takes a few seconds: it is read again and again all the same.
        let work = if data.is_some() { 20_000 } else { 200_000 };
        Ok(Self {
            name: "flights",
            text,
            outputs: &["carrier-delays", "worst-carriers", "cancelled"],
            sinks: 4,
            bounds: Bounds { slots: FLIGHTS_SLOTS, parallelism: 4, trapping: 1 },
            flaky: &[("flaky", 1)],
            pace: vec![format!("flaky.work={work}")],
        })
    }

    /// The settings of a life.
    pub(super) fn settings(&self, life: &Life, disturbed: bool) -> Vec<String> {
        let mut settings = vec![format!("job.parallelism={}", life.parallelism)];
        if disturbed {
            settings.extend(self.pace.iter().cloned());
        }
        if let Some(traps) = life.traps {
            let mut subtask = traps.subtask;
            for (operator, subtasks) in self.flaky {
                if subtask < *subtasks {
                    settings.extend([
                        format!("{operator}.traps=1_000_000"),
                        format!("{operator}.trap_after_snapshots={}", traps.snapshots),
                        format!("{operator}.late_by={}", traps.records),
                        format!("{operator}.only_subtask={subtask}"),
                    ]);
                    break;
                }
                subtask -= subtasks;
            }
        }
        settings
    }
}

const HEAD: &str = r#"
[job]
name = "chaos"
parallelism = 4
channel_capacity = "64KiB"

[checkpoints]
interval = "200ms"

[restart]
strategy = "fixed-delay"
attempts = 1_000_000
delay = "10ms"
"#;

fn replaced(text: &str, from: &str, to: &str) -> Result<String> {
    if text.matches(from).count() != 1 {
        bail!("the flights example does not have `{from}` once any more");
    }
    Ok(text.replace(from, to))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::chaos::schedule::Traps;

    #[test]
    fn traps_are_set_in_the_operator_that_has_the_subtask() {
        let job = Job::keyed(1_000_000, 20);
        let trap_in = |subtask| {
            let mut life = Life::quiet(0, 2);
            life.traps = Some(Traps { snapshots: 3, records: 70, subtask });
            job.settings(&life, false)
        };
        assert!(trap_in(3).contains(&"flaky.only_subtask=3".to_owned()));
        assert!(trap_in(4).contains(&"flaky-ordered.only_subtask=0".to_owned()));
        assert!(trap_in(4).contains(&"flaky-ordered.late_by=70".to_owned()));
        assert_eq!(job.settings(&Life::quiet(0, 2), false), ["job.parallelism=2"]);
        let paced = job.settings(&Life::quiet(0, 2), true);
        assert_eq!(paced[1..], ["readings.rate=80000", "ordered.rate=20000"]);
    }

    #[test]
    fn the_flights_example_can_still_be_disturbed() {
        let examples = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples");
        let january = Job::flights(&examples, None).unwrap();
        assert!(january.text.contains("interval = \"200ms\""));
        let year = Job::flights(&examples, Some(Path::new("/data/year.csv.gz"))).unwrap();
        assert!(year.text.contains("path = \"/data/year.csv.gz\""));
        assert!(year.text.contains("max_out_of_orderness = \"340d\""));
    }
}
