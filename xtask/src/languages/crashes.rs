//! What a crash looks like in each language: the kind `failing` on a record that has it panic, as
//! `cofferdam operator test` tells it.

use std::{fs, path::Path};

use anyhow::{Context as _, Result, bail};

use super::operator;
use crate::{process, workspace::Workspace};

const RECORDS: &str = "{\"value\":\"fine\"}\n{\"value\":\"panic\"}\n";
/// Expressions cannot crash; one that does not fit a record rejects it.
const EXPRESSION: &str = "[operator]\nconfig = { filter = \"record.delay > 15\" }\n";

/// What is shown in a language, without the project's own figures.
///
/// # Errors
/// If the operator does not build, or does not fail.
pub(super) fn of(
    workspace: &Workspace,
    program: &Path,
    home: &Path,
    language: &str,
) -> Result<String> {
    let fails = language != "expr";
    let kind = if fails { "failing" } else { "filter" };
    let project = home.join("crash");
    let command = |dir: &Path| operator(workspace, program, dir);
    let new = ["new", "crash", "--lang", language, "--kind", kind];
    process::output(command(home).args(new))?;
    process::output(command(&project).arg("build"))?;
    fs::write(project.join("input.jsonl"), RECORDS).context("cannot write the records")?;
    fs::write(project.join("settings.toml"), if fails { "" } else { EXPRESSION })
        .context("cannot write the settings")?;
    let mut test = command(&project);
    test.args(["test", "--no-build", "--quick", "--input", "input.jsonl"]);
    test.args(["--settings", "settings.toml"]).args((!fails).then_some("--show"));
    let ran = test.output().context("the program does not start")?;
    if ran.status.success() == fails {
        bail!("`failing` in {language} ended with {}", ran.status);
    }
    Ok(told(&String::from_utf8_lossy(&ran.stdout)))
}

/// What is told of a failure, or of a rejected record: not the figures of the run.
fn told(shown: &str) -> String {
    let lines = shown.lines().filter(|line| line.starts_with("  "));
    let lines = lines.take_while(|line| !line.trim_start().starts_with("STEP "));
    lines.map(|line| format!("{}\n", line.trim_end())).collect()
}

/// A section of crashes, each under the name of its language.
pub(super) fn section(all: &[(&str, String)]) -> String {
    let mut text = "## What a crash looks like\n\n\
                    The kind `failing`, on the second of two records, as `cofferdam operator test` tells it; a job tells the \
                    same. Expressions do not crash: a record that does not fit is rejected.\n"
        .to_owned();
    for (language, told) in all {
        text += &format!("\n### {language}\n\n```text\n{told}```\n");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_told_of_a_failure_has_no_figures_of_the_run() {
        let shown = "in: 2 records; 3 ms in the guest\n  NO  it failed: boom\n      record 1: \"panic\"\n\
                     1 of 1 case not as expected\n";
        assert_eq!(told(shown), "  NO  it failed: boom\n      record 1: \"panic\"\n");
        let table = "in: 2\n  {\"rejected\":1}\n  STEP  IN\n  batch  2\n";
        assert_eq!(told(table), "  {\"rejected\":1}\n");
        let section = section(&[("c", told(shown))]);
        assert!(section.contains("### c\n\n```text\n  NO"), "{section}");
    }
}
