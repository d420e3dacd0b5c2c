//! The options of commands that ask something of a job that runs.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use crate::ids::{OperatorName, SlotId};

/// Which job is asked.
#[derive(Debug, Args)]
pub struct JobArgs {
    /// The state directory of the job that runs
    #[arg(long, value_name = "DIR")]
    pub state: PathBuf,

    /// Print the answer as JSON
    #[arg(long)]
    pub json: bool,
}

/// `cofferdam job rescale`
#[derive(Debug, Args)]
pub struct RescaleArgs {
    /// How many subtasks
    #[arg(value_name = "PARALLELISM", value_parser = clap::value_parser!(u32).range(1..))]
    pub parallelism: u32,

    /// Only of this operator; of all that have no parallelism of their own if not given
    #[arg(long, value_name = "NAME", value_parser = operator)]
    pub operator: Option<OperatorName>,

    #[command(flatten)]
    #[expect(missing_docs, reason = "it says itself what it is")]
    pub job: JobArgs,
}

/// `cofferdam job upgrade`
#[derive(Debug, Args)]
pub struct UpgradeArgs {
    /// The operator's name in the job
    #[arg(value_name = "NAME", value_parser = operator)]
    pub operator: OperatorName,

    /// The component of the new version
    #[arg(long, value_name = "NEW.wasm")]
    pub with: PathBuf,

    /// With how many batches each subtask is tried
    #[arg(long, value_name = "N", default_value_t = 16, value_parser = clap::value_parser!(u32).range(1..))]
    pub batches: u32,

    /// Only try it
    #[arg(long)]
    pub dry_run: bool,

    /// Go on with it although what it makes of the same records differs
    #[arg(long)]
    pub accept_differences: bool,

    #[command(flatten)]
    #[expect(missing_docs, reason = "it says itself what it is")]
    pub job: JobArgs,
}

/// `cofferdam savepoint …`
#[derive(Debug, Subcommand)]
pub enum SavepointCommand {
    /// Take a savepoint of a job that runs
    Take(TakeArgs),
}

/// `cofferdam savepoint take`
#[derive(Debug, Args)]
pub struct TakeArgs {
    /// Where to put it; it stays in `savepoints` in the state directory if not given
    #[arg(long, value_name = "FILE")]
    pub to: Option<PathBuf>,

    /// Stop the job at it
    #[arg(long)]
    pub stop: bool,

    #[command(flatten)]
    #[expect(missing_docs, reason = "it says itself what it is")]
    pub job: JobArgs,
}

/// `cofferdam slot …`
#[derive(Debug, Subcommand)]
pub enum SlotCommand {
    /// Show the slots of a job that runs, and what is in them
    List(JobArgs),
    /// Move what is in a slot to another one, and leave it empty
    Drain(SlotArgs),
    /// Use a slot again that was drained or is in quarantine
    Restore(SlotArgs),
}

/// `cofferdam slot drain`, `cofferdam slot restore`
#[derive(Debug, Args)]
pub struct SlotArgs {
    /// The slot's number, counted from 0
    #[arg(value_name = "N", value_parser = slot)]
    pub slot: SlotId,

    #[command(flatten)]
    #[expect(missing_docs, reason = "it says itself what it is")]
    pub job: JobArgs,
}

pub(super) fn operator(text: &str) -> Result<OperatorName, String> {
    OperatorName::new(text).map_err(|error| error.to_string())
}

fn slot(text: &str) -> Result<SlotId, String> {
    text.parse().map(SlotId).map_err(|_| "it must be a number, such as 0".to_owned())
}
