//! `cofferdam job logs` and `tail`: their options.

use clap::{Args, ValueEnum};

use super::args::{AtServer, job};
use crate::ids::{JobName, OperatorName};

/// `cofferdam job logs`
#[derive(Debug, Args)]
#[expect(missing_docs, reason = "each says itself what it is")]
pub struct LogsArgs {
    /// The job: its name, its identifier, or the beginning of that
    #[arg(value_name = "JOB", value_parser = job)]
    pub name: JobName,

    /// Go on with each line as it comes, until the job ends
    #[arg(long, short)]
    pub follow: bool,

    /// Of this operator only
    #[arg(long, value_name = "NAME", value_parser = operator)]
    pub operator: Option<OperatorName>,

    /// Of this level and above
    #[arg(long, value_name = "LEVEL", value_enum, default_value_t = Level::Info)]
    pub level: Level,

    /// How many of the last lines
    #[arg(long, value_name = "N", default_value_t = 100,
          value_parser = clap::value_parser!(u32).range(1..=1_000))]
    pub limit: u32,

    #[command(flatten)]
    pub at: AtServer,
}

/// How much a line matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Level {
    /// To be told
    Info,
    /// To be looked at
    Warn,
    /// Something is wrong
    Error,
}

/// `cofferdam job tail`
#[derive(Debug, Args)]
#[expect(missing_docs, reason = "each says itself what it is")]
pub struct TailArgs {
    /// The job: its name, its identifier, or the beginning of that
    #[arg(value_name = "JOB", value_parser = job)]
    pub name: JobName,

    /// The source or operator whose output is shown
    #[arg(value_name = "VERTEX", value_parser = operator)]
    pub vertex: OperatorName,

    /// Only what was rejected
    #[arg(long)]
    pub dead_letters: bool,

    #[command(flatten)]
    pub at: AtServer,
}

fn operator(text: &str) -> Result<OperatorName, String> {
    OperatorName::new(text).map_err(|bad| bad.to_string())
}
