//! `cofferdam top` and `cofferdam dashboard`: their options.

use std::time::Duration;

use clap::{Args, ValueEnum};

use super::args::AtServer;
use crate::config::units::parse_duration;

/// The shortest time from one look to the next: a server counts what each tenant asks.
const SHORTEST: Duration = Duration::from_millis(200);

/// `cofferdam top`
#[derive(Debug, Args)]
#[expect(missing_docs, reason = "each says itself what it is")]
pub struct TopArgs {
    /// What comes first
    #[arg(long, value_name = "COLUMN", value_enum, default_value_t)]
    pub sort: Sort,

    /// From one look to the next, such as 500ms or 5s
    #[arg(long, value_name = "TIME", default_value = "2s", value_parser = interval)]
    pub interval: Duration,

    /// Also jobs that have ended and are remembered
    #[arg(long)]
    pub all: bool,

    /// Look twice, print once what was in between, and end
    #[arg(long)]
    pub once: bool,

    #[command(flatten)]
    pub at: AtServer,
}

/// What a table of jobs is sorted by.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub enum Sort {
    /// The job's name
    Name,
    /// The tenant
    Tenant,
    /// Its state
    State,
    /// Records that its sources bring in a second
    #[default]
    In,
    /// Records that reach its sinks a second
    Out,
    /// How busy its busiest operator is
    Busy,
    /// How long it waits for who comes after
    Backpressured,
    /// What its guests use of the cores
    Cpu,
    /// What its slots hold
    Memory,
    /// How often it was restarted
    Restarts,
}

/// `cofferdam dashboard`
#[derive(Debug, Args)]
#[expect(missing_docs, reason = "each says itself what it is")]
pub struct DashboardArgs {
    /// Open it in a browser: that of BROWSER, else the desktop's
    #[arg(long)]
    pub open: bool,

    #[command(flatten)]
    pub at: AtServer,
}

fn interval(text: &str) -> Result<Duration, String> {
    let read = parse_duration(text).map_err(|error| format!("it must be a time, but {error}"))?;
    if read < SHORTEST {
        return Err("it must be 200ms or longer".to_owned());
    }
    Ok(read)
}

/// The end of `cofferdam top --help`.
pub const TOP_HELP: &str = "\
Keys: n name, t tenant, s state, i in, o out, b busy, p backpressured, c cpu, m memory,
r restarts; the same again turns the order round. Arrows scroll, space holds still, q ends.

Examples:
  cofferdam top --sort cpu
  cofferdam top --once --json | jq '.jobs[] | select(.busy > 0.9) | .name'";
