//! The arguments of `cofferdam operator new`, `build`, `test`, `bench` and `dev`.

use std::path::PathBuf;

use clap::Args;

use crate::{
    authoring::{kind::Kind, language::Language},
    hardening::Mode,
    ids::ArtifactName,
};

/// `cofferdam operator new`
#[derive(Debug, Args)]
pub struct NewArgs {
    /// What the operator is called; its folder, too
    #[arg(value_name = "NAME", value_parser = name)]
    pub name: ArtifactName,

    /// What it is written in
    #[arg(long, value_name = "LANG", value_enum)]
    pub lang: Language,

    /// What it does at first
    #[arg(long, value_name = "KIND", value_enum, default_value_t)]
    pub kind: Kind,

    /// Where to make it, if not in a folder of its name
    #[arg(long, value_name = "DIR")]
    pub dir: Option<PathBuf>,
}

/// `cofferdam operator build`
#[derive(Debug, Args)]
pub struct BuildArgs {
    /// The operator's folder
    #[arg(value_name = "DIR", default_value = ".")]
    pub dir: PathBuf,

    /// Print what was built as one JSON object on standard output
    #[arg(long)]
    pub json: bool,
}

/// What is to be tried: a project's operator, or a component.
#[derive(Debug, Args)]
pub struct Subject {
    /// The operator's folder
    #[arg(value_name = "DIR", default_value = ".")]
    pub dir: PathBuf,

    /// Take this component, and build nothing
    #[arg(long, value_name = "FILE.wasm")]
    pub component: Option<PathBuf>,

    /// Take the component of the last build
    #[arg(long, conflicts_with = "component")]
    pub no_build: bool,

    /// Take the cases in this folder [default: tests in DIR]
    #[arg(long, value_name = "DIR", conflicts_with = "input")]
    pub cases: Option<PathBuf>,

    /// Take the case of this name only (may be repeated)
    #[arg(long = "case", value_name = "NAME", conflicts_with = "input")]
    pub only: Vec<String>,

    /// Take this input, and no case: a record a line, as in a case
    #[arg(long, value_name = "FILE")]
    pub input: Option<PathBuf>,

    /// How --input is fed: a file such as a case's case.toml
    #[arg(long, value_name = "FILE", requires = "input")]
    pub settings: Option<PathBuf>,

    /// Print the result as JSON, one object a case, on standard output
    #[arg(long)]
    pub json: bool,

    /// Whether to give up files and system calls that are not needed, as in `run`
    #[arg(long, value_name = "WHEN", value_enum, default_value_t)]
    pub hardening: Mode,
}

/// `cofferdam operator test`
#[derive(Debug, Args)]
pub struct TestArgs {
    #[command(flatten)]
    #[expect(missing_docs, reason = "it says itself what it is")]
    pub subject: Subject,

    /// What is to come of --input
    #[arg(long, value_name = "FILE", requires = "input")]
    pub expect: Option<PathBuf>,

    /// Take what comes for what is expected from now on
    #[arg(long)]
    pub update: bool,

    /// Run each case once, and leave out what every operator should hold
    #[arg(long)]
    pub quick: bool,

    /// Show records, log lines, time and memory of each batch
    #[arg(long)]
    pub show: bool,
}

/// `cofferdam operator bench`
#[derive(Debug, Args)]
pub struct BenchArgs {
    #[command(flatten)]
    #[expect(missing_docs, reason = "it says itself what it is")]
    pub subject: Subject,

    /// For how many seconds to measure each case
    #[arg(long, value_name = "N", default_value_t = 2, value_parser = clap::value_parser!(u64).range(1..=600))]
    pub seconds: u64,
}

/// `cofferdam operator dev`
#[derive(Debug, Args)]
pub struct DevArgs {
    /// The operator's folder
    #[arg(value_name = "DIR", default_value = ".")]
    pub dir: PathBuf,

    /// Show records, log lines, time and memory of each batch
    #[arg(long)]
    pub show: bool,

    /// Run each case once, and leave out what every operator should hold
    #[arg(long)]
    pub quick: bool,

    /// End after so many rounds; for scripts
    #[arg(long, value_name = "N", hide = true)]
    pub rounds: Option<u64>,
}

fn name(text: &str) -> Result<ArtifactName, String> {
    ArtifactName::new(text).map_err(|error| error.to_string())
}

/// The end of `cofferdam operator new --help`.
pub const NEW_HELP: &str = "\
Examples:
  cofferdam operator new errors-only --lang python
  cofferdam operator new visits --lang go --kind keyed
  cd visits && cofferdam operator test

The folder has all that it needs: source, a test, recorded input with what is to come of it, and
the SDK. operator.toml says what it is; README.md, what to do next.";

/// The end of `cofferdam operator build --help`.
pub const BUILD_HELP: &str = "\
Examples:
  cofferdam operator build
  cofferdam operator build ./visits --json | jq .size

What is missing of the language's tools is told with the one line that installs it. The component
is build/NAME.wasm; `cofferdam operator push` takes it to a server.";

/// The end of `cofferdam operator test --help`.
pub const TEST_HELP: &str = "\
Examples:
  cofferdam operator test                    build, run all cases
  cofferdam operator test --case sample --show
  cofferdam operator test --update           what comes is right: write it down
  cofferdam operator test --input my.jsonl --expect my-out.jsonl
  cofferdam operator test --component target/guests/filter.wasm --input in.jsonl --show

A case is a folder with input.jsonl, expect.jsonl and, if need be, case.toml. Each is run in a real
slot, and then again: for the same answer, in other batches, with fresh instances, key by key.

Ends with 0 if all is as expected, with 1 if not, and with 2 if it cannot be tried.";

/// The end of `cofferdam operator bench --help`.
pub const BENCH_HELP: &str = "\
Examples:
  cofferdam operator bench
  cofferdam operator bench --case sample --seconds 10 --json

The records of each case come again and again, in batches of 1,024, on one thread; beside it, an
operator that passes each batch on as it is, which is what crossing into the sandbox costs.";

/// The end of `cofferdam operator dev --help`.
pub const DEV_HELP: &str = "\
Example:
  cofferdam operator dev --show

Builds and runs the cases when a file changes, until Ctrl-C.";
