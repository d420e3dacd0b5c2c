//! A case: recorded input, and what is to come of it. A folder with `case.toml` (which may be left
//! out), `input.jsonl` and `expect.jsonl`.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use serde::Deserialize;
use serde_json::{Map, Value, json};

use crate::trial::{Report, TrialRequest, report::Shown, request::GivenRecord};

/// What says how a case is fed.
const FILE: &str = "case.toml";

/// A case.
#[derive(Debug)]
pub struct Case {
    /// What it is called: its folder's name.
    pub name: String,
    /// What is fed, and how.
    pub request: TrialRequest,
    /// What holds of it.
    pub rules: Rules,
    /// Where what is expected stands, and what that is; none if nothing does yet.
    pub expect: Expect,
}

/// What is expected.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Expect {
    /// The file.
    pub file: PathBuf,
    /// Its lines; none if it is not there.
    pub lines: Option<Vec<String>>,
}

/// What holds of a case beside what is fed.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[expect(clippy::struct_excessive_bools, reason = "each is a switch of its own in the file")]
pub struct Rules {
    /// For people.
    pub description: String,
    /// The file with the input, beside this one.
    pub input: String,
    /// The file with what is expected.
    pub expect: String,
    /// Whether each line of the input is a value as it stands, and not a record with `value`,
    /// `key` and `timestamp`.
    pub lines: bool,
    /// Whether what is logged belongs to what is expected.
    pub logs: bool,
    /// Whether what is counted does.
    pub metrics: bool,
    /// What the failure says, if the case is to fail.
    pub fails: Option<String>,
    /// Whether the same answer comes twice.
    pub deterministic: bool,
    /// Whether it is the same wherever batches are cut.
    pub same_for_any_batches: bool,
    /// Whether a fresh instance with the state goes on as the one before it.
    pub survives_restarts: bool,
    /// Whether the answer for a key depends on the records of that key only.
    pub keys_apart: bool,
}

impl Default for Rules {
    fn default() -> Self {
        Self {
            description: String::new(),
            input: "input.jsonl".to_owned(),
            expect: "expect.jsonl".to_owned(),
            lines: false,
            logs: false,
            metrics: false,
            fails: None,
            deterministic: true,
            same_for_any_batches: true,
            survives_restarts: true,
            keys_apart: true,
        }
    }
}

/// The keys of [`Rules`]; all others are those of a trial.
const RULES: [&str; 11] = [
    "description",
    "input",
    "expect",
    "lines",
    "logs",
    "metrics",
    "fails",
    "deterministic",
    "same_for_any_batches",
    "survives_restarts",
    "keys_apart",
];
/// What may be said of a trial in the file: the records stand in files of their own.
const FEEDING: [&str; 9] = [
    "key_field",
    "timestamp_field",
    "timestamp_format",
    "operator",
    "inputs",
    "batch_records",
    "max_out_of_orderness",
    "close",
    "advance_clock",
];

/// Why a case cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum BadCase {
    /// A file cannot be read or written.
    #[error("{}: {reason}", path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// What the system said.
        #[source]
        reason: io::Error,
    },
    /// What stands in it is wrong.
    #[error("{}: {why}", path.display())]
    Wrong {
        /// Which.
        path: PathBuf,
        /// What is wrong.
        why: String,
    },
}

fn read(path: &Path) -> Result<String, BadCase> {
    fs::read_to_string(path).map_err(|reason| BadCase::File { path: path.to_owned(), reason })
}

/// The cases in a folder, in the order of their names: each is a folder with a `case.toml` or an
/// `input.jsonl`.
///
/// # Errors
/// If one of them cannot be read.
pub fn all_in(folder: &Path) -> Result<Vec<Case>, BadCase> {
    let mut folders: Vec<PathBuf> = match fs::read_dir(folder) {
        Ok(entries) => entries.flatten().map(|entry| entry.path()).collect(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
        Err(reason) => return Err(BadCase::File { path: folder.to_owned(), reason }),
    };
    folders.retain(|path| path.join(FILE).is_file() || path.join("input.jsonl").is_file());
    folders.sort();
    folders.iter().map(|path| Case::open(path)).collect()
}

impl Case {
    /// Reads the case in a folder.
    ///
    /// # Errors
    /// If it is none.
    pub fn open(folder: &Path) -> Result<Self, BadCase> {
        let file = folder.join(FILE);
        let text = if file.is_file() { read(&file)? } else { String::new() };
        let wrong = |why: String| BadCase::Wrong { path: file.clone(), why };
        let (rules, request) = settings(&text).map_err(wrong)?;
        let name = folder.file_name().map(|name| name.to_string_lossy().into_owned());
        let (input, expect) = (folder.join(&rules.input), folder.join(&rules.expect));
        Self::of(name.unwrap_or_default(), (rules, request), &input, expect)
    }

    /// A case of two files, fed as nothing says otherwise.
    ///
    /// # Errors
    /// If they cannot be read.
    pub fn of_files(settings: &str, input: &Path, expect: &Path) -> Result<Self, BadCase> {
        let wrong = |why: String| BadCase::Wrong { path: PathBuf::from("the settings"), why };
        let settings = self::settings(settings).map_err(wrong)?;
        Self::of(input.display().to_string(), settings, input, expect.to_owned())
    }

    fn of(
        name: String,
        (rules, mut request): (Rules, TrialRequest),
        input: &Path,
        expect: PathBuf,
    ) -> Result<Self, BadCase> {
        let text = read(input)?;
        if rules.lines {
            request.lines = Some(text);
        } else {
            request.records =
                records(&text).map_err(|why| BadCase::Wrong { path: input.to_owned(), why })?;
        }
        let lines = match fs::read_to_string(&expect) {
            Ok(text) => Some(text.lines().map(str::to_owned).collect()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(reason) => return Err(BadCase::File { path: expect, reason }),
        };
        Ok(Self { name, request, rules, expect: Expect { file: expect, lines } })
    }
}

fn settings(text: &str) -> Result<(Rules, TrialRequest), String> {
    let table: Map<String, Value> = toml::from_str(text).map_err(|error| error.to_string())?;
    let (mut rules, mut request) = (Map::new(), Map::new());
    for (key, value) in table {
        match key.as_str() {
            known if RULES.contains(&known) => rules.insert(key, value),
            known if FEEDING.contains(&known) => request.insert(key, value),
            other => {
                return Err(format!(
                    "`{other}` cannot be said of a case; what can: {}",
                    [&RULES[..], &FEEDING[..]].concat().join(", ")
                ));
            }
        };
    }
    let rules = serde_json::from_value(rules.into()).map_err(|error| error.to_string())?;
    let request = serde_json::from_value(request.into()).map_err(|error| error.to_string())?;
    Ok((rules, request))
}

fn records(text: &str) -> Result<Vec<GivenRecord>, String> {
    let lines = text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty());
    let read = lines.map(|(i, line)| {
        serde_json::from_str(line).map_err(|error| {
            format!(
                "line {} is no record such as {{\"value\":\"a text\",\"key\":\"k\",\"timestamp\":0}}: \
                 {error}; if lines are values as they stand, say `lines = true` in {FILE}",
                i + 1
            )
        })
    });
    read.collect()
}

/// What came of a trial, as `expect.jsonl` has it: records by port and in order, then what was
/// rejected or late, then what was logged and counted, where that is wanted.
#[must_use]
pub fn lines_of(report: &Report, logs: bool, metrics: bool) -> Vec<String> {
    let mut lines: Vec<Value> = Vec::new();
    for output in &report.outputs {
        lines.extend(output.records.iter().map(|record| shown(output.port, record)));
    }
    for rejected in &report.rejected {
        let (record, reason) = (rejected.record, &rejected.reason);
        lines.push(json!({"rejected": {"record": record, "reason": reason}}));
    }
    lines.extend(report.late.iter().map(|record| json!({"late": {"record": record}})));
    if logs {
        lines.extend(report.logs.iter().map(
            |logged| json!({"log": {"level": logged.line.level, "message": logged.line.message}}),
        ));
    }
    if metrics {
        let counted = &report.metrics;
        let named =
            |kind: &str, name: &str, value: Value| json!({kind: {"name": name, "value": value}});
        lines.extend(counted.counters.iter().map(|(name, n)| named("counter", name, (*n).into())));
        lines.extend(counted.gauges.iter().map(|(name, v)| named("gauge", name, (*v).into())));
        lines.extend(counted.histograms.iter().map(|(name, seen)| {
            json!({"histogram": {"name": name, "count": seen.count, "sum": seen.sum}})
        }));
    }
    lines.iter().map(Value::to_string).collect()
}

fn shown(port: u32, record: &Shown) -> Value {
    let mut line = Map::new();
    line.insert("port".to_owned(), port.into());
    let texts = [
        ("key", &record.key),
        ("key_base64", &record.key_base64),
        ("value", &record.value),
        ("value_base64", &record.value_base64),
    ];
    for (name, text) in texts {
        if let Some(text) = text {
            line.insert(name.to_owned(), text.as_str().into());
        }
    }
    if let Some(at) = record.timestamp {
        line.insert("timestamp".to_owned(), at.into());
    }
    line.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn case(files: &[(&str, &str)]) -> Result<Case, BadCase> {
        let dir = tempfile::tempdir().unwrap();
        let folder = dir.path().join("one");
        fs::create_dir(&folder).unwrap();
        for (name, text) in files {
            fs::write(folder.join(name), text).unwrap();
        }
        Case::open(&folder)
    }

    #[test]
    fn a_case_needs_its_input_only() {
        let read =
            case(&[("input.jsonl", "{\"value\":\"a\"}\n\n{\"value\":{\"x\":1}}\n")]).unwrap();
        assert_eq!((read.name.as_str(), read.request.records.len()), ("one", 2));
        assert_eq!((read.rules, read.expect.lines), (Rules::default(), None));
    }

    #[test]
    fn what_is_said_of_it_is_said_of_the_trial() {
        let read = case(&[
            (
                "case.toml",
                "lines = true\nkey_field = \"k\"\nbatch_records = 7\n[operator]\nwindow = 1",
            ),
            ("input.jsonl", "{\"k\":1}"),
            ("expect.jsonl", "{}\n{}\n"),
        ])
        .unwrap();
        let request = read.request;
        assert_eq!((request.lines.as_deref(), request.batch_records), (Some("{\"k\":1}"), Some(7)));
        assert_eq!(request.operator["window"], 1);
        assert_eq!(read.expect.lines.unwrap().len(), 2);
    }

    #[test]
    fn mistakes_are_told_with_the_file_and_the_line() {
        for (files, said) in [
            (vec![("case.toml", "batchrecords = 1")], "`batchrecords` cannot be said of a case"),
            (vec![("case.toml", "records = []")], "`records` cannot be said"),
            (vec![("case.toml", "x = [")], "case.toml"),
            (vec![("case.toml", "logs = 3")], "expected a boolean"),
            (vec![("case.toml", "")], "input.jsonl"),
            (vec![("input.jsonl", "{\"value\":1}\n{\"vlaue\":1}")], "line 2 is no record"),
        ] {
            let error = case(&files).unwrap_err().to_string();
            assert!(error.contains(said), "`{said}` is not in `{error}`");
        }
    }
}
