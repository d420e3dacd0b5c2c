//! `cofferdam savepoint …`: what can be asked, and the help that goes with it.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::{
    args::{AtServer, job, savepoint},
    job_args::{JobAt, JobThere},
};
use crate::ids::{JobName, SavepointName};

/// `cofferdam savepoint …`
#[derive(Debug, Subcommand)]
pub enum SavepointCommand {
    /// Take a savepoint of a job of a server, or of a state directory
    #[command(visible_alias = "trigger", after_help = TAKE_HELP)]
    Take(TakeArgs),
    /// List the savepoints of a job of a server
    List(JobThere),
    /// Show a savepoint of a job of a server
    Show(SavepointThere),
    /// Dispose of a savepoint of a job of a server
    #[command(visible_alias = "rm")]
    Dispose(SavepointThere),
}

/// `cofferdam savepoint take`
#[derive(Debug, Args)]
#[expect(missing_docs, reason = "each says itself what it is")]
pub struct TakeArgs {
    #[command(flatten)]
    pub job: JobAt,

    /// What to call it on a server; a name of the program's own if not given. Asked for again it is
    /// the same one
    #[arg(long = "name", value_name = "NAME", value_parser = savepoint, conflicts_with = "state")]
    pub savepoint: Option<SavepointName>,

    /// Where to put the one of a state directory; it stays in `savepoints` there if not given
    #[arg(long, value_name = "FILE", requires = "state", conflicts_with = "name")]
    pub to: Option<PathBuf>,

    /// Stop the job at it
    #[arg(long)]
    pub stop: bool,

    /// Have the server take it, and do not wait until it is there
    #[arg(long, conflicts_with_all = ["state", "stop"])]
    pub no_wait: bool,
}

/// A savepoint of a job of a server.
#[derive(Debug, Args)]
#[expect(missing_docs, reason = "each says itself what it is")]
pub struct SavepointThere {
    /// The job: its name, its identifier, or the beginning of that
    #[arg(value_name = "JOB", value_parser = job)]
    pub job: JobName,

    /// The savepoint, as `list` shows it
    #[arg(value_name = "NAME", value_parser = savepoint)]
    pub name: SavepointName,

    #[command(flatten)]
    pub at: AtServer,
}

const TAKE_HELP: &str = "\
Examples:
  cofferdam savepoint take flights --name before-upgrade
  cofferdam savepoint take --state ./state --to flights.savepoint

A job that is submitted with --from-savepoint JOB/NAME begins with the one of a server, and
`cofferdam run --from-savepoint FILE` with the other.";
