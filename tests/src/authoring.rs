//! Tests of what authors do: the real program, with the tools of a language.

use std::{
    env,
    ffi::OsString,
    path::{Path, PathBuf},
    process::Output,
};

use serde_json::Value;

use crate::{place::repository, program::program};

/// Set where the tools of every language are to be there, as in CI's check `languages`. Without
/// it, tests that need them are left out: some take minutes.
const ALL: &str = "COFFERDAM_ALL_LANGUAGES";

/// What `cofferdam operator new --kind` may be, in every language but that of expressions.
pub const KINDS: [&str; 10] = [
    "filter",
    "map",
    "flat-map",
    "route",
    "keyed",
    "window",
    "timer",
    "session",
    "stateful",
    "telemetry",
];

/// The variable `PATH` of an author who has installed what `cargo xtask toolchains` installs.
#[must_use]
pub fn path() -> OsString {
    let mut folders: Vec<PathBuf> = tools()
        .into_iter()
        .flat_map(|tools| [tools.join("python/bin"), tools.join("npm/node_modules/.bin")])
        .collect();
    folders.extend(env::split_paths(&env::var_os("PATH").unwrap_or_default()));
    env::join_paths(folders).unwrap_or_default()
}

/// Where tools are: beside what is built.
fn tools() -> Option<PathBuf> {
    let test = env::current_exe().ok()?;
    Some(test.ancestors().nth(3)?.join("tools/languages"))
}

/// Whether the tools of languages are to be there. If not, the test says that it was left out.
///
/// # Panics
/// If a program is missing that should be there.
#[must_use]
#[allow(clippy::print_stderr, reason = "that a test was left out is to be seen")]
pub fn has(programs: &[&str]) -> bool {
    if env::var_os(ALL).is_none() {
        eprintln!("LEFT OUT: `cargo xtask ci --only languages` runs it");
        return false;
    }
    let path = path();
    let is_there = |name: &&&str| env::split_paths(&path).any(|folder| folder.join(name).is_file());
    let missing: Vec<_> = programs.iter().filter(|name| !is_there(name)).collect();
    assert!(missing.is_empty(), "{missing:?} is missing: `cargo xtask toolchains` installs it");
    true
}

/// `cofferdam operator …`, as an author would.
///
/// # Panics
/// If the program does not start.
#[must_use]
pub fn operator(dir: &Path, args: &[&str]) -> Output {
    let mut command = program();
    command.arg("operator").args(args).current_dir(dir).env("PATH", path());
    command.output().expect("the program starts")
}

/// Makes a project, and says where it is.
///
/// # Panics
/// If it is not made.
#[must_use]
pub fn project(dir: &Path, language: &str, kind: &str) -> PathBuf {
    let made = operator(dir, &["new", kind, "--lang", language, "--kind", kind]);
    assert!(made.status.success(), "{}", said(&made));
    dir.join(kind)
}

/// Runs the cases of a folder on a component that was built, each with what every operator should
/// hold; and says what is wrong, with its case.
///
/// # Panics
/// If they cannot be run.
#[must_use]
pub fn failures(project: &Path, cases: &Path) -> Vec<String> {
    let cases = cases.display().to_string();
    let ran = operator(project, &["test", "--no-build", "--json", "--cases", &cases]);
    let text = String::from_utf8_lossy(&ran.stdout);
    let lines: Vec<Value> =
        text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
    assert!(!lines.is_empty(), "no case of {cases} was run: {}", said(&ran));
    let failed = lines.iter().filter(|line| line["passed"] != true);
    failed
        .map(|line| {
            let broken = line["properties"].as_array().into_iter().flatten();
            let broken = broken.filter(|property| property["held"] == "no");
            format!(
                "case {} of {cases}: {}; {}; {}",
                line["name"],
                line["verdict"],
                broken.map(Value::to_string).collect::<Vec<_>>().join("; "),
                line["report"]["failure"],
            )
        })
        .collect()
}

/// The folders of cases that a kind is held to, in every language.
#[must_use]
pub fn suite(kind: &str) -> Vec<PathBuf> {
    let folders = ["guest-sdk/cases", "tests/conformance"];
    let folders = folders.map(|folder| repository().join(folder).join(kind));
    folders.into_iter().filter(|folder| folder.is_dir()).collect()
}

/// What a program said.
#[must_use]
pub fn said(output: &Output) -> String {
    format!(
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    )
}
