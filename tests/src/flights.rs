//! What the flights example must come to: a computation in another language that shares nothing
//! with ours (`tests/reference/flights.py`), and how what a job wrote is compared with it.

#![allow(clippy::unwrap_used, reason = "a test's data is as it is, or the test fails")]

use std::{path::Path, process::Command};

use serde_json::Value;

use crate::place::{Place, repository};

/// What a quantile of the sketch may be off, as a part of its value.
const SKETCH_ERROR: f64 = 0.01;

/// What the reference finds, line by line.
#[derive(Debug)]
pub struct Reference(Vec<Value>);

impl Reference {
    /// Runs it.
    ///
    /// # Panics
    /// If it does not run.
    #[must_use]
    pub fn of(data: &Path) -> Self {
        let output = Command::new("python3")
            .arg(repository().join("tests/reference/flights.py"))
            .arg(data)
            .output()
            .expect("python3 runs");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let text = String::from_utf8(output.stdout).unwrap();
        Self(text.lines().map(|line| serde_json::from_str(line).unwrap()).collect())
    }

    fn of_kind(&self, kind: &str) -> impl Iterator<Item = &Value> {
        self.0.iter().filter(move |line| line["kind"] == kind)
    }

    /// How many there are of what it only counts.
    ///
    /// # Panics
    /// If it does not count that.
    #[must_use]
    pub fn count(&self, kind: &str) -> u64 {
        self.of_kind(kind).next().unwrap()["count"].as_u64().unwrap()
    }

    /// That the job wrote the same into this directory of the place.
    ///
    /// # Panics
    /// If not.
    pub fn assert_equals_what_was_written(&self, place: &Place, out: &str) {
        self.assert_carrier_delays(&place.json(&format!("{out}/carrier-delays")));
        self.assert_worst_carriers(&place.json(&format!("{out}/worst-carriers")));
        let cancelled = place.lines(&format!("{out}/cancelled")).len() as u64;
        assert_eq!(cancelled, self.count("cancelled"));
    }

    fn assert_carrier_delays(&self, found: &[Value]) {
        let by = |line: &Value, key: &str| {
            (text(line, "window_start"), line[key].as_str().unwrap().to_owned())
        };
        let mut found: Vec<&Value> = found.iter().collect();
        found.sort_by_key(|line| by(line, "key"));
        let mut wanted: Vec<&Value> = self.of_kind("carrier-window").collect();
        wanted.sort_by_key(|line| by(line, "carrier"));
        assert_eq!(found.len(), wanted.len(), "windows of carriers");
        for (found, wanted) in found.into_iter().zip(wanted) {
            assert_eq!(found["key"], wanted["carrier"]);
            for name in ["window_start", "window_end", "count", "sum", "min", "max"] {
                assert_eq!(found[name], wanted[name], "{name} of {found}, wanted {wanted}");
            }
            assert_eq!(found["mean"].as_f64(), wanted["mean"].as_f64(), "{found}, wanted {wanted}");
            for name in ["p50", "p95", "p99"] {
                let around = &wanted[&format!("{name}_between")];
                let (low, high) = (around[0].as_f64().unwrap(), around[1].as_f64().unwrap());
                let value = found[name].as_f64().unwrap();
                let within = (low - low.abs() * SKETCH_ERROR)..=(high + high.abs() * SKETCH_ERROR);
                assert!(within.contains(&value), "{name} of {found}, wanted {wanted}");
            }
        }
    }

    fn assert_worst_carriers(&self, found: &[Value]) {
        let mut found: Vec<&Value> = found.iter().collect();
        found.sort_by_key(|line| (text(line, "window_start"), line["rank"].as_u64()));
        let wanted: Vec<&Value> = self.of_kind("worst-carrier").collect();
        assert_eq!(found.len(), wanted.len(), "worst carriers");
        for (found, wanted) in found.into_iter().zip(wanted) {
            for name in ["window_start", "window_end", "rank", "carrier", "count"] {
                assert_eq!(found[name], wanted[name], "{name} of {found}, wanted {wanted}");
            }
            assert_eq!(found["mean"].as_f64(), wanted["mean"].as_f64(), "{found}, wanted {wanted}");
        }
    }
}

/// A text with one thing in it replaced.
///
/// # Panics
/// If it is not there, or more than once.
#[must_use]
pub fn replaced(text: &str, from: &str, to: &str) -> String {
    assert_eq!(text.matches(from).count(), 1, "{from} in the example's job file");
    text.replace(from, to)
}

fn text(line: &Value, name: &str) -> String {
    line[name].as_str().expect("a text").to_owned()
}
