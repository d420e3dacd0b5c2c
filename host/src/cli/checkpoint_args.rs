//! `cofferdam checkpoint …`: what can be asked, and the help that goes with it.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::server::{
    args::{HereOrThere, job},
    job_args::JobAt,
};
use crate::ids::{CheckpointId, JobName};

/// `cofferdam checkpoint …`
#[derive(Debug, Subcommand)]
pub enum CheckpointCommand {
    /// List the checkpoints of a job of a server, or in a state directory
    List(JobAt),
    /// Have a job that runs take a checkpoint now
    Trigger(JobAt),
    /// Show what a checkpoint holds, and how long it took
    #[command(after_help = SHOW_HELP)]
    Show(ShowArgs),
    /// Read all of a checkpoint and say what is damaged
    #[command(after_help = VERIFY_HELP)]
    Verify(OneArgs),
    /// Write a checkpoint into one file, which can be carried to another machine
    #[command(after_help = EXPORT_HELP)]
    Export(ExportArgs),
    /// Put an exported checkpoint into a state directory; a job goes on from it
    Import(ImportArgs),
    /// Drop all but the newest checkpoints, and give back the room that is of no use
    Prune(PruneArgs),
}

/// Where the checkpoints are.
#[derive(Debug, Args)]
pub struct StateArgs {
    /// The state directory, as in `cofferdam run --state`
    #[arg(long, value_name = "DIR")]
    pub state: PathBuf,
}

/// `cofferdam checkpoint show`
#[derive(Debug, Args)]
#[expect(missing_docs, reason = "each says itself what it is")]
pub struct ShowArgs {
    /// The job on a server: its name, its identifier, or the beginning of that
    #[arg(value_name = "JOB", value_parser = job, conflicts_with = "file")]
    pub job: Option<JobName>,

    /// The checkpoint's number; the newest if not given. With --state it stands alone
    #[arg(value_name = "NUMBER", value_parser = number, conflicts_with = "file")]
    pub id: Option<CheckpointId>,

    /// An exported checkpoint instead
    #[arg(long, value_name = "FILE")]
    #[arg(conflicts_with_all = ["state", "server", "profile", "token", "token_file", "tenant", "ca"])]
    pub file: Option<PathBuf>,

    #[command(flatten)]
    pub place: HereOrThere,
}

/// `cofferdam checkpoint verify`, and `show` of what is here
#[derive(Debug, Args)]
pub struct OneArgs {
    /// The checkpoint's number; the newest if not given
    #[arg(value_name = "NUMBER", value_parser = number, conflicts_with = "file")]
    pub id: Option<CheckpointId>,

    /// The state directory, as in `cofferdam run --state`
    #[arg(long, value_name = "DIR", required_unless_present = "file")]
    pub state: Option<PathBuf>,

    /// An exported checkpoint instead
    #[arg(long, value_name = "FILE", conflicts_with = "state")]
    pub file: Option<PathBuf>,

    /// Print it as JSON
    #[arg(long)]
    pub json: bool,
}

/// `cofferdam checkpoint export`
#[derive(Debug, Args)]
pub struct ExportArgs {
    /// The file to write; there must be none
    #[arg(value_name = "FILE")]
    pub file: PathBuf,

    /// The checkpoint's number; the newest if not given
    #[arg(long, value_name = "NUMBER", value_parser = number)]
    pub id: Option<CheckpointId>,

    #[command(flatten)]
    #[expect(missing_docs, reason = "it says itself what it is")]
    pub state: StateArgs,

    /// Print what was written as JSON
    #[arg(long)]
    pub json: bool,
}

/// `cofferdam checkpoint import`
#[derive(Debug, Args)]
pub struct ImportArgs {
    /// The file to read
    #[arg(value_name = "FILE")]
    pub file: PathBuf,

    #[command(flatten)]
    #[expect(missing_docs, reason = "it says itself what it is")]
    pub state: StateArgs,

    /// Print what was read as JSON
    #[arg(long)]
    pub json: bool,
}

/// `cofferdam checkpoint prune`
#[derive(Debug, Args)]
pub struct PruneArgs {
    #[command(flatten)]
    #[expect(missing_docs, reason = "it says itself what it is")]
    pub state: StateArgs,

    /// How many checkpoints to keep
    #[arg(long, value_name = "N", default_value_t = 1)]
    #[arg(value_parser = clap::value_parser!(u32).range(1..))]
    pub retain: u32,

    /// Drop those that are damaged, and no others; a job then goes on from the newest that
    /// is whole, and repeats what its sinks have committed since
    #[arg(long, conflicts_with = "retain")]
    pub damaged: bool,

    /// Print what was dropped as JSON
    #[arg(long)]
    pub json: bool,
}

pub(super) fn number(text: &str) -> Result<CheckpointId, String> {
    let number = text.parse().map_err(|_| "it must be a number, as `list` shows it".to_owned())?;
    Ok(CheckpointId(number))
}

const SHOW_HELP: &str = "\
Examples:
  cofferdam checkpoint show flights         the newest of a job of a server
  cofferdam checkpoint show flights 7
  cofferdam checkpoint show 7 --state ./state
  cofferdam checkpoint show --file flights-7.checkpoint";

const VERIFY_HELP: &str = "\
Ends with 0 if the checkpoint is whole, and with 4 if it is damaged.

Examples:
  cofferdam checkpoint verify --state ./state
  cofferdam checkpoint verify 7 --state ./state --json
  cofferdam checkpoint verify --file flights-7.checkpoint";

const EXPORT_HELP: &str = "\
What sinks have written, and what sources read, is not in the file.

Examples:
  cofferdam checkpoint export flights.checkpoint --state ./state
  cofferdam checkpoint import flights.checkpoint --state ./elsewhere";
