//! `cargo xtask demo`: from a fresh clone to results on the screen. Builds what
//! the tests build too, so that the heavy dependencies are compiled once.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result};
use serde_json::{Map, Value};

use crate::{
    guests, process,
    workspace::{ARTIFACTS_VARIABLE, Workspace},
};

/// The job that is shown.
const JOB: &str = "examples/flights/job.toml";

/// How late a row of the whole year's file can come: its months stand in the
/// order 1, 10, 11, 12, 2, ..., so February comes 334 days after December.
pub(crate) const FULL_YEAR_OUT_OF_ORDERNESS: &str = "340d";

/// What the job writes, and what it is.
const RESULTS: [(&str, &str); 4] = [
    ("worst-carriers.jsonl", "the worst carriers of each day, by mean departure delay"),
    ("carrier-delays.jsonl", "departure delays of each carrier in windows of 6 hours"),
    ("airport-alerts.jsonl", "departures that were unusually late for their airport"),
    ("cancelled.jsonl", "cancelled flights"),
];

/// How many lines of each result are shown.
const SHOWN: usize = 6;

/// What may be said on the command line.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// Runs the example on another file of the same form, such as that of the
    /// whole year, instead of January
    #[arg(long, value_name = "FILE")]
    full: Option<PathBuf>,
}

/// Sets up, builds, runs, and shows what came out.
///
/// # Errors
/// If a step fails; it has said why.
pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    let workspace = Workspace::load()?;
    let full = arguments
        .full
        .as_deref()
        .map(|file| {
            fs::canonicalize(file).with_context(|| format!("cannot read {}", file.display()))
        })
        .transpose()?;
    step(1, "operators become WebAssembly components");
    guests::build(&workspace, guests::Choice::Auto)?;
    step(2, "the host is built; the first time, wasmtime takes 6 to 10 minutes on two cores");
    process::run(process::cargo().args(["build", "--workspace"]).current_dir(&workspace.root))?;
    step(3, &format!("cofferdam run {JOB}"));
    process::run(&mut cofferdam(&workspace, full.as_deref()))?;
    step(4, "the results");
    let out = workspace.root.join("examples/flights/out");
    for (file, what) in RESULTS {
        let path = out.join(file);
        let text = fs::read_to_string(&path)
            .with_context(|| format!("the job ended well, but {} is not there", path.display()))?;
        println!("\n{what} ({}, {} lines)", workspace.shown(&path), text.lines().count());
        print!("{}", table(text.lines().take(SHOWN)));
    }
    println!("\nThe job is {JOB}: read it, change it, and run");
    println!("  {} run {JOB}", workspace.shown(&program(&workspace)));
    Ok(())
}

fn step(number: u32, what: &str) {
    println!("\n[{number}/4] {what}");
}

fn program(workspace: &Workspace) -> PathBuf {
    workspace.target.join("debug").join(format!("cofferdam{}", std::env::consts::EXE_SUFFIX))
}

fn cofferdam(workspace: &Workspace, full: Option<&Path>) -> Command {
    let mut command = Command::new(program(workspace));
    command
        .args(["run", JOB])
        .current_dir(&workspace.root)
        .env(ARTIFACTS_VARIABLE, workspace.artifacts());
    if let Some(file) = full {
        command
            .arg("--set")
            .arg(format!("flights.path={}", file.display()))
            .arg("--set")
            .arg(format!("flights.max_out_of_orderness={FULL_YEAR_OUT_OF_ORDERNESS}"));
    }
    command
}

/// JSON objects, one a line, as a table with the fields of the first as columns.
/// A line that is no object is shown as it is.
fn table<'a>(lines: impl Iterator<Item = &'a str>) -> String {
    let mut rows: Vec<Vec<String>> = Vec::new();
    let mut plain = String::new();
    for line in lines {
        match serde_json::from_str::<Map<String, Value>>(line) {
            Ok(object) => {
                if rows.is_empty() {
                    rows.push(object.keys().cloned().collect());
                }
                let row = rows[0].iter().map(|name| cell(object.get(name))).collect();
                rows.push(row);
            }
            Err(_) => plain.push_str(&format!("  {line}\n")),
        }
    }
    let columns = rows.first().map_or(0, Vec::len);
    let width = |column: usize| rows.iter().map(|r| r[column].chars().count()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..columns).map(width).collect();
    let mut text = String::new();
    for row in &rows {
        let cells = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}"));
        let line = cells.collect::<Vec<_>>().join("  ");
        text.push_str(&format!("  {}\n", line.trim_end()));
    }
    text + &plain
}

fn cell(value: Option<&Value>) -> String {
    match value {
        None | Some(Value::Null) => "-".into(),
        Some(Value::String(text)) => text.clone(),
        Some(Value::Number(number)) if number.is_f64() => {
            format!("{:.1}", number.as_f64().unwrap_or_default())
        }
        Some(other) => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn objects_become_aligned_columns() {
        let lines = [r#"{"key":"UA","mean":12.34,"n":5}"#, r#"{"n":10,"key":"B6","mean":-3.0}"#];
        let expected = "  key  mean  n\n  UA   12.3  5\n  B6   -3.0  10\n";
        assert_eq!(table(lines.into_iter()), expected);
    }

    #[test]
    fn missing_fields_and_lines_that_are_no_objects_are_shown() {
        let lines = [r#"{"a":null,"b":[1]}"#, r#"{"b":"x"}"#, "7"];
        assert_eq!(table(lines.into_iter()), "  a  b\n  -  [1]\n  -  x\n  7\n");
    }

    #[test]
    fn the_full_file_replaces_the_path_and_allows_for_its_order() {
        let json = r#"{"workspace_root":"/c","target_directory":"/t","packages":[]}"#;
        let workspace: Workspace = serde_json::from_str(json).unwrap();
        let command = cofferdam(&workspace, Some(Path::new("/data/year.csv.gz")));
        assert_eq!(
            process::shown(&command).split_once(' ').unwrap().1,
            "run examples/flights/job.toml --set flights.path=/data/year.csv.gz --set \
             flights.max_out_of_orderness=340d"
        );
    }
}
