//! A case, run and compared with what is expected, with the properties that every operator should
//! hold.

use std::fs;

use serde::Serialize;

use super::{
    case::{BadCase, Case, lines_of},
    properties::{Property, try_all, went_well},
    runner::{Prepared, Runner},
};
use crate::{sandbox::Artifact, trial::Report};

/// What came of a case.
#[derive(Debug, Serialize)]
pub struct Checked {
    /// Which.
    pub name: String,
    /// What the operator made of it.
    pub report: Report,
    /// How that is what was expected.
    pub verdict: Verdict,
    /// What else was tried; nothing after a failure.
    pub properties: Vec<Property>,
}

/// How an answer is what was expected.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "is", rename_all = "kebab-case")]
pub enum Verdict {
    /// It is.
    Expected,
    /// Nothing was expected yet.
    Unknown,
    /// What was expected has been written anew.
    Updated {
        /// Whether that changed anything.
        changed: bool,
    },
    /// It is another one.
    Different {
        /// What was expected.
        expected: Vec<String>,
        /// What came.
        found: Vec<String>,
    },
    /// The operator failed, and should not have.
    Failed,
    /// It did not fail as it should have.
    NotFailed {
        /// What its failure should have said.
        expected: String,
    },
}

impl Checked {
    /// Whether all is as it should be.
    #[must_use]
    pub fn passed(&self) -> bool {
        let fine = match self.verdict {
            Verdict::Expected | Verdict::Unknown | Verdict::Updated { .. } => true,
            Verdict::Different { .. } | Verdict::Failed | Verdict::NotFailed { .. } => false,
        };
        fine && !self.properties.iter().any(Property::is_broken)
    }
}

/// What is done beside running it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Options {
    /// Whether what comes is what is expected from now on.
    pub update: bool,
    /// Whether the properties are left out.
    pub quick: bool,
}

/// Runs a case.
///
/// # Errors
/// In words, if there is no slot, or what is expected cannot be written.
pub async fn check(
    runner: &Runner,
    artifact: &Artifact,
    (case, prepared): (&Case, &Prepared),
    options: Options,
) -> Result<Checked, String> {
    let report = runner.run(artifact, prepared).await?;
    let found = lines_of(&report, case.rules.logs, case.rules.metrics);
    let verdict = match &case.rules.fails {
        Some(expected) => failed_as(&report, expected),
        None if !went_well(&report) => Verdict::Failed,
        None => compared(case, found, options).map_err(|error| error.to_string())?,
    };
    let tried = case.rules.fails.is_none() && went_well(&report) && !options.quick;
    let properties = match tried {
        true => try_all(runner, artifact, prepared, (&case.rules, &report)).await?,
        false => Vec::new(),
    };
    Ok(Checked { name: case.name.clone(), report, verdict, properties })
}

fn failed_as(report: &Report, expected: &str) -> Verdict {
    match &report.failure {
        Some(crash) if crash.message.contains(expected) => Verdict::Expected,
        _ => Verdict::NotFailed { expected: expected.to_owned() },
    }
}

fn compared(case: &Case, found: Vec<String>, options: Options) -> Result<Verdict, BadCase> {
    let expected = case.expect.lines.as_ref();
    if options.update {
        let changed = expected != Some(&found);
        if changed {
            let text: String = found.iter().map(|line| format!("{line}\n")).collect();
            let path = &case.expect.file;
            fs::write(path, text).map_err(|reason| BadCase::File { path: path.clone(), reason })?;
        }
        return Ok(Verdict::Updated { changed });
    }
    Ok(match expected {
        None => Verdict::Unknown,
        Some(expected) if *expected == found => Verdict::Expected,
        Some(expected) => Verdict::Different { expected: expected.clone(), found },
    })
}
