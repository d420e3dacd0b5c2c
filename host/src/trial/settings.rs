//! What a job file would say of an operator, said of one that is tried: so its settings mean what
//! they mean everywhere, and are refused in the same words.

use serde_json::{Map, Value};

use super::{Feed, slot::JOB};
use crate::config::{
    JobFileErrors,
    job::{JobSpec, OperatorSpec, WindowAssigner, WindowSpec},
};

/// How many windows all records may belong to, as far as that can be said beforehand.
const MOST_WINDOWS: u128 = 1_000_000;
/// What of `[[operator]]` may be said of an operator that is tried.
const SETTINGS: [&str; 6] = ["window", "memory", "deadline", "cpu_cap", "ports", "config"];

/// What an operator is called, and where a job file would find it.
#[derive(Debug, Clone, Copy)]
pub struct Tried<'a> {
    /// Its name in the job.
    pub name: &'a str,
    /// Its `artifact`.
    pub artifact: &'a str,
    /// How many input ports it has.
    pub inputs: u32,
}

/// Reads settings as those of a job file, with `parse`, which knows where that would stand.
///
/// # Errors
/// What is wrong with them, in words.
pub fn read_settings(
    tried: Tried<'_>,
    given: Map<String, Value>,
    parse: impl FnOnce(&str) -> Result<JobSpec, JobFileErrors>,
) -> Result<OperatorSpec, String> {
    if let Some(key) = given.keys().find(|key| !SETTINGS.contains(&key.as_str())) {
        let key: String = key.chars().take(80).collect();
        return Err(format!(
            "`operator.{key}` cannot be said of a trial; what can: {}",
            SETTINGS.join(", ")
        ));
    }
    let mut job = parse(&job_file(tried, given)?).map_err(|errors| {
        let told = errors.errors.iter().take(10).map(|error| match &error.help {
            Some(help) => format!("{} ({help})", error.message),
            None => error.message.clone(),
        });
        format!("`operator`: {}", told.collect::<Vec<_>>().join("; "))
    })?;
    job.operators.pop().ok_or_else(|| "no operator was read".to_owned())
}

/// A job file with the operator in it, which is never run.
fn job_file(tried: Tried<'_>, given: Map<String, Value>) -> Result<String, String> {
    let name = tried.name;
    let [source, sink] = match name {
        "records" | "nowhere" => ["fed", "dropped"],
        _ => ["records", "nowhere"],
    };
    let mut operator = given;
    operator.insert("name".to_owned(), name.into());
    operator.insert("artifact".to_owned(), tried.artifact.into());
    operator.insert("inputs".to_owned(), vec![source; tried.inputs as usize].into());
    let file = serde_json::json!({
        "job": {"name": JOB},
        "source": [{"name": source, "connector": "generator"}],
        "operator": [operator],
        "sink": [{"name": sink, "input": name, "connector": "discard"}],
    });
    toml::to_string(&file).map_err(|error| {
        format!("`operator` cannot be written as in a job file, which has no null: {error}")
    })
}

/// Checks that records do not belong to so many windows that the host would be busy with them.
///
/// # Errors
/// If they do, or have no event time.
pub fn check_size(window: &WindowSpec, feed: &Feed) -> Result<(), String> {
    if !feed.samples.is_empty() && !feed.is_timed() {
        return Err("an operator with a `window` needs records with event times".to_owned());
    }
    let WindowAssigner::Sliding { size, slide, .. } = window.assigner else { return Ok(()) };
    let each = size.as_millis().div_ceil(slide.as_millis().max(1));
    if each.saturating_mul(feed.samples.len() as u128) > MOST_WINDOWS {
        return Err(format!(
            "each record belongs to {each} windows, all of them to more than {MOST_WINDOWS}: make \
             `slide` longer, or give fewer records"
        ));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::trial::Sample;

    #[test]
    fn records_of_too_many_windows_are_refused_beforehand() {
        let window = |slide| WindowSpec {
            assigner: WindowAssigner::Sliding {
                size: Duration::from_secs(1_000),
                slide: Duration::from_millis(slide),
                offset: Duration::ZERO,
            },
            allowed_lateness: Duration::ZERO,
        };
        let sample = Sample { port: 0, key: None, value: Vec::new(), timestamp: Some(0) };
        let feed = Feed { samples: vec![sample; 2], ..Feed::default() };
        assert!(check_size(&window(1), &feed).unwrap_err().contains("1000000 windows"));
        assert!(check_size(&window(2), &feed).is_ok());
        let untimed = Sample { timestamp: None, ..feed.samples[0].clone() };
        let feed = Feed { samples: vec![untimed], ..Feed::default() };
        assert!(check_size(&window(2), &feed).unwrap_err().contains("event times"));
    }
}
