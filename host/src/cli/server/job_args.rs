//! `cofferdam job submit`, `list`, `show`, `cancel` and `stop`: their options.

use std::path::PathBuf;

use clap::{Args, ValueEnum};

use super::args::{AtServer, job};
use crate::{
    config::Override,
    ids::{JobId, JobName},
};

/// `cofferdam job submit`
#[derive(Debug, Args)]
#[expect(missing_docs, reason = "each says itself what it is")]
pub struct SubmitArgs {
    /// The job file (TOML)
    #[arg(value_name = "JOB.toml")]
    pub file: PathBuf,

    /// What the job is to be called; as its file says if not given
    #[arg(long, value_name = "NAME", value_parser = job)]
    pub name: Option<JobName>,

    /// Change a setting of the job file (may be repeated)
    #[arg(long = "set", value_name = "NAME.KEY=VALUE")]
    pub sets: Vec<Override>,

    /// Wait until the job runs, or has ended
    #[arg(long)]
    pub wait: bool,

    #[command(flatten)]
    pub at: AtServer,
}

/// `cofferdam job list`
#[derive(Debug, Args)]
#[expect(missing_docs, reason = "each says itself what it is")]
pub struct ListArgs {
    /// Only those in this state
    #[arg(long, value_name = "STATE", value_enum)]
    pub state: Option<State>,

    /// How many at most, the newest first
    #[arg(long, value_name = "N", default_value_t = 100,
          value_parser = clap::value_parser!(u32).range(1..=1_000))]
    pub limit: u32,

    /// Those that come after this job
    #[arg(long, value_name = "ID", value_parser = id)]
    pub after: Option<JobId>,

    #[command(flatten)]
    pub at: AtServer,
}

/// A state that a job is in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum State {
    /// It is made ready
    Created,
    /// It waits for slots
    Queued,
    /// Records move
    Running,
    /// It waits to restart after a failure
    Restarting,
    /// It takes its last checkpoint
    Stopping,
    /// It is being cancelled
    Cancelling,
    /// Every input was read
    Finished,
    /// It was stopped with a savepoint
    Stopped,
    /// It was cancelled
    Cancelled,
    /// It failed for good
    Failed,
}

/// A job on a server, or the one of a state directory.
#[derive(Debug, Args)]
#[expect(missing_docs, reason = "each says itself what it is")]
pub struct JobAt {
    /// The job on a server: its name, its identifier, or the beginning of that
    #[arg(value_name = "JOB", value_parser = job, conflicts_with = "state")]
    pub name: Option<JobName>,

    /// The state directory of a job that runs on this machine, in the place of a server
    #[arg(long, value_name = "DIR")]
    #[arg(conflicts_with_all = ["server", "profile", "token", "token_file", "tenant", "ca"])]
    pub state: Option<PathBuf>,

    #[command(flatten)]
    pub at: AtServer,
}

/// `cofferdam job cancel`
#[derive(Debug, Args)]
#[expect(missing_docs, reason = "each says itself what it is")]
pub struct CancelArgs {
    /// The job: its name, its identifier, or the beginning of that
    #[arg(value_name = "JOB", value_parser = job)]
    pub name: JobName,

    #[command(flatten)]
    pub at: AtServer,
}

/// `cofferdam job stop`
#[derive(Debug, Args)]
#[expect(missing_docs, reason = "each says itself what it is")]
pub struct StopArgs {
    /// Where to put the savepoint of a job of a state directory; it stays in `savepoints` there
    /// if not given
    #[arg(long, value_name = "FILE", requires = "state")]
    pub to: Option<PathBuf>,

    #[command(flatten)]
    pub job: JobAt,
}

fn id(text: &str) -> Result<JobId, String> {
    text.parse().map_err(|error| format!("{error}"))
}

/// The end of `cofferdam job submit --help`.
pub const SUBMIT_HELP: &str = "\
Examples:
  cofferdam job submit job.toml --wait
  cofferdam job submit job.toml --name second --set job.parallelism=4
  ID=$(cofferdam job submit job.toml --json | jq -r .id)

The file names operators that were pushed: NAME, NAME@VERSION or NAME@TAG. Its paths are those of
the tenant's directory on the server.";
