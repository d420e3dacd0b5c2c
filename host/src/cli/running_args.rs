//! The options of commands that ask something of a job that runs.

use std::path::PathBuf;

use clap::Args;

use crate::ids::OperatorName;

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

pub(super) fn operator(text: &str) -> Result<OperatorName, String> {
    OperatorName::new(text).map_err(|error| error.to_string())
}
