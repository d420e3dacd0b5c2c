//! `cofferdam token …`: what can be asked, and the help that goes with it.

use std::time::Duration;

use clap::{Args, Subcommand, ValueEnum};

use super::args::AtServer;
use crate::{config::units::parse_duration, ids::TokenId};

/// `cofferdam token …`
#[derive(Debug, Subcommand)]
pub enum TokenCommand {
    /// Make a token, and print it: once, and never again
    #[command(after_help = CREATE_HELP)]
    Create(CreateArgs),
    /// List tokens, but not what opens the door
    List(AtServer),
    /// Revoke a token
    Revoke(RevokeArgs),
}

/// `cofferdam token create`
#[derive(Debug, Args)]
#[expect(missing_docs, reason = "each says itself what it is")]
pub struct CreateArgs {
    /// What it is for, in words
    #[arg(value_name = "TEXT")]
    pub name: String,

    /// What it may do
    #[arg(long, value_name = "ROLE", value_enum)]
    pub role: RoleArg,

    /// After how long it opens nothing any more, such as 30d; never if not given
    #[arg(long, value_name = "TIME", value_parser = lifetime)]
    pub expires: Option<Duration>,

    /// Make one for every tenant, not for the one of --tenant or the profile
    #[arg(long, conflicts_with = "tenant")]
    pub all_tenants: bool,

    #[command(flatten)]
    pub at: AtServer,
}

/// `cofferdam token revoke`
#[derive(Debug, Args)]
#[expect(missing_docs, reason = "each says itself what it is")]
pub struct RevokeArgs {
    /// The token's identifier, as `list` shows it
    #[arg(value_name = "ID", value_parser = id)]
    pub id: TokenId,

    #[command(flatten)]
    pub at: AtServer,
}

/// What a token may do. From `viewer` on each role may do what those before it may.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum RoleArg {
    /// Post records to sources, and nothing else
    Ingest,
    /// Look
    Viewer,
    /// Push operators, submit jobs
    Author,
    /// Stop and cancel jobs
    Operator,
    /// Make and revoke tokens
    Admin,
}

fn lifetime(text: &str) -> Result<Duration, String> {
    parse_duration(text)
        .map_err(|error| format!("it must be a time such as 12h or 30d, but {error}"))
}

fn id(text: &str) -> Result<TokenId, String> {
    text.parse().map_err(|error| format!("{error}"))
}

const CREATE_HELP: &str = "\
Examples:
  cofferdam token create ci --role author --tenant acme --expires 30d > ci.token
  COFFERDAM_TOKEN_FILE=ci.token cofferdam job list

Standard output has the token and nothing else.";
