//! `cofferdam profile …`: what can be asked, and the help that goes with it.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::args::{profile, tenant};
use crate::{
    client::address::Address,
    ids::{ProfileName, TenantId},
};

/// `cofferdam profile …`
#[derive(Debug, Subcommand)]
pub enum ProfileCommand {
    /// Give a server a name, or change what is known of it
    #[command(after_help = ADD_HELP)]
    Add(AddArgs),
    /// Use it from now on, if nothing else is said
    Use(NameArgs),
    /// List all of them, without their tokens
    List(ListArgs),
    /// Forget it
    Rm(NameArgs),
}

/// `cofferdam profile add`
#[derive(Debug, Args)]
pub struct AddArgs {
    /// What it is to be called
    #[arg(value_name = "NAME", value_parser = profile)]
    pub name: ProfileName,

    /// The server, such as http://127.0.0.1:8080
    #[arg(long, value_name = "URL", value_parser = address)]
    pub server: Address,

    /// The token, which is kept in the file of profiles
    #[arg(long, value_name = "TOKEN", conflicts_with = "token_file")]
    pub token: Option<String>,

    /// A file with the token, which is read each time
    #[arg(long, value_name = "FILE")]
    pub token_file: Option<PathBuf>,

    /// Whose objects are meant, if the token is for every tenant
    #[arg(long, value_name = "NAME", value_parser = tenant)]
    pub tenant: Option<TenantId>,

    /// Certificates (PEM) to trust besides the usual ones
    #[arg(long, value_name = "FILE")]
    pub ca: Option<PathBuf>,

    /// Print an object
    #[arg(long)]
    pub json: bool,
}

/// `cofferdam profile use` and `rm`
#[derive(Debug, Args)]
pub struct NameArgs {
    /// Which
    #[arg(value_name = "NAME", value_parser = profile)]
    pub name: ProfileName,

    /// Print an object
    #[arg(long)]
    pub json: bool,
}

/// `cofferdam profile list`
#[derive(Debug, Args)]
pub struct ListArgs {
    /// Print a list of objects
    #[arg(long)]
    pub json: bool,
}

fn address(text: &str) -> Result<Address, String> {
    text.parse().map_err(|error| format!("it {error}"))
}

const ADD_HELP: &str = "\
Examples:
  cofferdam profile add here --server http://127.0.0.1:8080 --token-file ./data/admin-token
  cofferdam profile add work --server https://streams.example --token cfd_… --tenant acme
  cofferdam profile use work

Profiles are kept in ~/.config/cofferdam/profiles.toml, which only you can read. The first one is
used at once. A profile of the same name is replaced.";
