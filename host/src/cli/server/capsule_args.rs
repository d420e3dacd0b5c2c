//! `cofferdam capsule …`: what can be asked.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::{
    args::{AtServer, job},
    job_args::JobThere,
};
use crate::ids::JobName;

/// `cofferdam capsule …`
#[derive(Debug, Subcommand)]
pub enum CapsuleCommand {
    /// List the crash capsules of a job of a server
    List(JobThere),
    /// Get a crash capsule, for `cofferdam replay`
    #[command(after_help = GET_HELP)]
    Get(GetArgs),
}

/// `cofferdam capsule get`
#[derive(Debug, Args)]
#[expect(missing_docs, reason = "each says itself what it is")]
pub struct GetArgs {
    /// The job: its name, its identifier, or the beginning of that
    #[arg(value_name = "JOB", value_parser = job)]
    pub job: JobName,

    /// The capsule, as `list` shows it; the newest if not given
    #[arg(value_name = "NAME")]
    pub name: Option<String>,

    /// The file to write; there must be none. As the capsule is called if not given
    #[arg(long, value_name = "FILE")]
    pub to: Option<PathBuf>,

    #[command(flatten)]
    pub at: AtServer,
}

const GET_HELP: &str = "\
Examples:
  cofferdam capsule get flights
  cofferdam replay delays-0-1700000000000.capsule

A capsule may hold records, so that it takes a token of an author.";
