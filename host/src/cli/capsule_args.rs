//! The arguments of `cofferdam replay` and `cofferdam operator …`.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::{
    authoring::args::{
        BENCH_HELP, BUILD_HELP, BenchArgs, BuildArgs, DEV_HELP, DevArgs, NEW_HELP, NewArgs,
        TEST_HELP, TestArgs,
    },
    running_args::{JobArgs, operator},
    server::{
        args::AtServer,
        key_args::{KEYGEN_HELP, KeygenArgs, SIGN_HELP, SignArgs},
        operator_args::{InspectArgs, PUSH_HELP, PushArgs, RemoveArgs, TagArgs},
    },
};
use crate::{hardening::Mode, ids::OperatorName, sandbox::Metering};

/// What both have.
#[derive(Debug, Args)]
pub struct Common {
    /// Look for components in this directory first
    #[arg(long, value_name = "DIR")]
    pub artifacts: Option<PathBuf>,

    /// Print the result as one JSON object on standard output
    #[arg(long)]
    pub json: bool,

    /// What the operator's work is counted in
    #[arg(long, value_name = "WHAT", value_enum, default_value_t)]
    pub metering: Metering,

    /// Whether to give up files and system calls that are not needed, as in `run`
    #[arg(long, value_name = "WHEN", value_enum, default_value_t)]
    pub hardening: Mode,
}

/// `cofferdam replay`
#[derive(Debug, Args)]
pub struct ReplayArgs {
    /// The capsule
    #[arg(value_name = "CAPSULE")]
    pub file: PathBuf,

    /// Run this component instead of the one that crashed
    #[arg(long, value_name = "BUILD.wasm")]
    pub with: Option<PathBuf>,

    #[command(flatten)]
    #[expect(missing_docs, reason = "it says itself what it is")]
    pub common: Common,
}

/// `cofferdam operator …`
#[derive(Debug, Subcommand)]
pub enum OperatorCommand {
    /// Make a project for an operator, in one of the languages
    #[command(after_help = NEW_HELP)]
    New(NewArgs),
    /// Build an operator with the tools of its language, and check it against the contract
    #[command(after_help = BUILD_HELP)]
    Build(BuildArgs),
    /// Build an operator and run its cases in a sandbox
    #[command(after_help = TEST_HELP)]
    Test(TestArgs),
    /// Measure how fast an operator is
    #[command(after_help = BENCH_HELP)]
    Bench(BenchArgs),
    /// Build and test an operator again when its files change
    #[command(after_help = DEV_HELP)]
    Dev(DevArgs),
    /// Push an operator to a server
    // Its own `--version` says which version it is.
    #[command(after_help = PUSH_HELP, disable_version_flag = true)]
    Push(PushArgs),
    /// List the operators of a server, with their versions and tags
    List(AtServer),
    /// Show what a server found out about an operator, or what one in a file is
    Inspect(InspectArgs),
    /// Delete a version of an operator that no job uses
    Rm(RemoveArgs),
    /// Point a tag to a version
    Tag(TagArgs),
    /// Make a pair of keys to sign operators with
    #[command(after_help = KEYGEN_HELP)]
    Keygen(KeygenArgs),
    /// Sign an operator, into a file beside it
    #[command(after_help = SIGN_HELP)]
    Sign(SignArgs),
    /// Record what an operator of a running job is given, from a checkpoint on
    #[command(after_help = RECORD_HELP)]
    Record(RecordArgs),
    /// Feed a recording to two versions of an operator, and say how they differ
    #[command(after_help = COMPARE_HELP)]
    Compare(CompareArgs),
}

/// `cofferdam operator record`
#[derive(Debug, Args)]
pub struct RecordArgs {
    /// The operator's name in the job
    #[arg(value_name = "OPERATOR", value_parser = operator)]
    pub operator: OperatorName,

    /// Which of its subtasks, counted from 0
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub subtask: u32,

    /// How many batches
    #[arg(long, value_name = "N", default_value_t = 100,
          value_parser = clap::value_parser!(u32).range(1..))]
    pub batches: u32,

    /// Where to put the recording; it stays in `recordings` in the state directory if not given
    #[arg(long, value_name = "FILE")]
    pub to: Option<PathBuf>,

    #[command(flatten)]
    #[expect(missing_docs, reason = "it says itself what it is")]
    pub job: JobArgs,
}

/// `cofferdam operator compare`
#[derive(Debug, Args)]
pub struct CompareArgs {
    /// The recording, or a crash capsule
    #[arg(value_name = "RECORDING")]
    pub file: PathBuf,

    /// The version that runs; the one that was recorded if not given
    #[arg(long, value_name = "OLD.wasm")]
    pub old: Option<PathBuf>,

    /// The version that would
    #[arg(long, value_name = "NEW.wasm")]
    pub new: PathBuf,

    #[command(flatten)]
    #[expect(missing_docs, reason = "it says itself what it is")]
    pub common: Common,
}

/// The end of `cofferdam replay --help`.
pub const REPLAY_HELP: &str = "\
Examples:
  cofferdam replay state/capsules/op-0-1700000000000.capsule
  cofferdam replay op.capsule --with target/fixed.wasm   does my fix help?

Ends with 0 if it does not crash, with 1 if it crashes, and with 2 if it cannot be tried.
The operator gets its grants, but no folder and no host of the network.";

const RECORD_HELP: &str = "\
Example:
  cofferdam operator record delays --state ./state --batches 500 --to delays.recording
  cofferdam operator compare delays.recording --new ./delays-2.wasm";

const COMPARE_HELP: &str = "\
Examples:
  cofferdam operator compare op.recording --new op-2.wasm
  cofferdam operator compare op.recording --old a.wasm --new b.wasm --metering fuel --json

Ends with 0 if both do the same, with 1 if they differ or one crashes, and with 2 if that
cannot be tried.";
