//! `cofferdam config …`: its options, and the help that goes with it.

use std::path::PathBuf;

use clap::{Args, Subcommand};

/// `cofferdam config …`
#[derive(Debug, Subcommand)]
pub enum ConfigCommand {
    /// Say what is wrong with a server's configuration and the variables of the environment
    Check(ConfigArgs),
    /// Print every key with what holds and where that comes from
    #[command(after_help = SHOW_HELP)]
    Show(ShowArgs),
}

/// `cofferdam config show`
#[derive(Debug, Args)]
pub struct ShowArgs {
    #[command(flatten)]
    #[expect(missing_docs, reason = "it says itself what it is")]
    pub of: ConfigArgs,

    /// Print an object: of each table's keys the value (null if there is none) and where it comes from
    #[arg(long)]
    pub json: bool,
}

/// Which configuration.
#[derive(Debug, Args)]
pub struct ConfigArgs {
    /// The server's configuration (TOML); without it, the defaults and the environment
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
}

const SHOW_HELP: &str = "\
Examples:
  cofferdam config show --config server.toml
  COFFERDAM_JOBS_MAX_LIVE=10 cofferdam config show

What is printed is itself a configuration that means the same. `cofferdam serve --listen` goes
before the environment, and the environment before the file.";
