//! `cofferdam tenant keys …`, `cofferdam operator keygen` and `sign`: what can be asked.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::args::AtServer;
use crate::ids::KeyId;

/// `cofferdam tenant keys …`
#[derive(Debug, Subcommand)]
pub enum KeysCommand {
    /// Register a public key of the tenant of --tenant or the profile
    #[command(after_help = ADD_HELP)]
    Add(AddArgs),
    /// List the keys of the tenant
    List(AtServer),
    /// Take a key away, and say which operators count as unsigned then
    Remove(RemoveArgs),
}

/// `cofferdam tenant keys add`
#[derive(Debug, Args)]
#[expect(missing_docs, reason = "each says itself what it is")]
pub struct AddArgs {
    /// The public key (PEM)
    #[arg(value_name = "FILE")]
    pub file: PathBuf,

    /// What it is for, in words; as the file is called if not given
    #[arg(long, value_name = "TEXT")]
    pub name: Option<String>,

    #[command(flatten)]
    pub at: AtServer,
}

/// `cofferdam tenant keys remove`
#[derive(Debug, Args)]
#[expect(missing_docs, reason = "each says itself what it is")]
pub struct RemoveArgs {
    /// The key's identifier, as `list` shows it
    #[arg(value_name = "ID", value_parser = id)]
    pub id: KeyId,

    #[command(flatten)]
    pub at: AtServer,
}

/// `cofferdam operator keygen`
#[derive(Debug, Args)]
pub struct KeygenArgs {
    /// Where to put the secret key, which only you can read; the public one goes to FILE.pub. There
    /// must be neither
    #[arg(value_name = "FILE")]
    pub file: PathBuf,

    /// Print an object
    #[arg(long)]
    pub json: bool,
}

/// `cofferdam operator sign`
#[derive(Debug, Args)]
pub struct SignArgs {
    /// The component
    #[arg(value_name = "FILE.wasm")]
    pub file: PathBuf,

    /// The secret key (PEM)
    #[arg(long, value_name = "FILE")]
    pub key: PathBuf,

    /// Where to put the signature; FILE.wasm.sig if not given
    #[arg(long, value_name = "FILE")]
    pub to: Option<PathBuf>,

    /// Print an object
    #[arg(long)]
    pub json: bool,
}

fn id(text: &str) -> Result<KeyId, String> {
    text.parse().map_err(|error| format!("{error}"))
}

const ADD_HELP: &str = "\
Examples:
  cofferdam operator keygen signing.pem
  cofferdam tenant keys add signing.pem.pub --name 'release builds' --tenant acme
  cofferdam tenant set acme --require-signatures true";

/// The end of `cofferdam operator keygen --help`.
pub const KEYGEN_HELP: &str = "\
Keys are those of OpenSSL, too:
  openssl genpkey -algorithm ed25519 -out signing.pem
  openssl pkey -in signing.pem -pubout -out signing.pem.pub";

/// The end of `cofferdam operator sign --help`.
pub const SIGN_HELP: &str = "\
Example:
  cofferdam operator sign filter.wasm --key signing.pem && cofferdam operator push filter.wasm

What is signed is a line of text: `cofferdam artifact sha256-` and the file's SHA-256.";
