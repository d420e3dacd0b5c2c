//! `cofferdam job …`: the options of what asks a server.

use std::path::PathBuf;

use clap::Args;

use super::args::{AtServer, HereOrThere, job, savepoint};
use crate::{
    cli::running_args::operator,
    config::Override,
    ids::{JobId, JobName, OperatorName, SavepointName},
    service::jobs::JobWord,
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

    /// Begin with this savepoint of a job of the server
    #[arg(long, value_name = "JOB/NAME", value_parser = savepoint_of)]
    pub from_savepoint: Option<SavepointRef>,

    /// Leave out state of sources, operators and sinks that the job file does not have any more
    #[arg(long, requires = "from_savepoint")]
    pub allow_non_restored_state: bool,

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
    pub state: Option<JobWord>,

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

/// A job on a server, or the one of a state directory.
#[derive(Debug, Args)]
#[expect(missing_docs, reason = "each says itself what it is")]
pub struct JobAt {
    /// The job on a server: its name, its identifier, or the beginning of that
    #[arg(value_name = "JOB", value_parser = job, conflicts_with = "state")]
    pub name: Option<JobName>,

    #[command(flatten)]
    pub place: HereOrThere,
}

/// A job on a server.
#[derive(Debug, Args)]
#[expect(missing_docs, reason = "each says itself what it is")]
pub struct JobThere {
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
    #[arg(long, value_name = "FILE", requires = "state", conflicts_with = "name")]
    pub to: Option<PathBuf>,

    /// What to call the savepoint of a job of a server; a name of the program's own if not given
    #[arg(long, value_name = "NAME", value_parser = savepoint, conflicts_with = "state")]
    pub savepoint: Option<SavepointName>,

    #[command(flatten)]
    pub job: JobAt,
}

/// `cofferdam job rescale`
#[derive(Debug, Args)]
#[expect(missing_docs, reason = "each says itself what it is")]
pub struct RescaleArgs {
    // First: a job that is not named leaves its place to the number.
    #[command(flatten)]
    pub job: JobAt,

    /// How many subtasks
    #[arg(value_name = "PARALLELISM", value_parser = clap::value_parser!(u32).range(1..))]
    pub parallelism: u32,

    /// Only of this operator; of all that have no parallelism of their own if not given
    #[arg(long, value_name = "NAME", value_parser = operator)]
    pub operator: Option<OperatorName>,
}

/// `cofferdam job limits`
#[derive(Debug, Args)]
#[command(group = clap::ArgGroup::new("limit").required(true).multiple(true))]
#[expect(missing_docs, reason = "each says itself what it is")]
pub struct LimitsArgs {
    #[command(flatten)]
    pub job: JobThere,

    /// The operator that they are for
    #[arg(value_name = "OPERATOR", value_parser = operator)]
    pub operator: OperatorName,

    /// Memory of each of its slots, such as 512MiB
    #[arg(long, value_name = "SIZE", group = "limit")]
    pub memory: Option<String>,

    /// How long a call may take, such as 10s
    #[arg(long, value_name = "DURATION", group = "limit")]
    pub deadline: Option<String>,

    /// What each of its slots may use of one core, such as 50%
    #[arg(long, value_name = "PERCENT", group = "limit")]
    pub cpu_cap: Option<String>,
}

/// The end of `cofferdam job limits --help`.
pub const LIMITS_HELP: &str = "\
Examples:
  cofferdam job limits flights delays --memory 1GiB
  cofferdam job limits flights delays --cpu-cap 50% --deadline 10s

The job goes on from a checkpoint, after a short pause; what is not given stays. The limits stay
after a restart of the server.";

/// A savepoint of a job: `JOB/NAME`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SavepointRef {
    /// The job: its name, its identifier, or the beginning of that.
    pub job: JobName,
    /// The savepoint.
    pub name: SavepointName,
}

fn savepoint_of(text: &str) -> Result<SavepointRef, String> {
    let (of, name) = text.split_once('/').ok_or("it must be JOB/NAME")?;
    Ok(SavepointRef { job: job(of)?, name: savepoint(name)? })
}

fn id(text: &str) -> Result<JobId, String> {
    text.parse().map_err(|error| format!("{error}"))
}

/// The end of `cofferdam job submit --help`.
pub const SUBMIT_HELP: &str = "\
Examples:
  cofferdam job submit job.toml --wait
  cofferdam job submit job.toml --name second --set job.parallelism=4
  cofferdam job submit job.toml --from-savepoint flights/before-upgrade
  ID=$(cofferdam job submit job.toml --json | jq -r .id)

The file names operators that were pushed: NAME, NAME@VERSION or NAME@TAG. Its paths are those of
the tenant's directory on the server.";

/// The end of `cofferdam job rescale --help`.
pub const RESCALE_HELP: &str = "\
Examples:
  cofferdam job rescale flights 4
  cofferdam job rescale flights 2 --operator delays
  cofferdam job rescale 4 --state ./state";
