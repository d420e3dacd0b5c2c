//! `cofferdam operator push`, `list`, `inspect`, `rm` and `tag`: their options.

use std::path::PathBuf;

use clap::Args;

use super::args::{
    AtServer, OperatorRef, VersionRef, artifact, operator, operator_version, version,
};
use crate::ids::{ArtifactName, VersionName};

/// `cofferdam operator push`
#[derive(Debug, Args)]
#[expect(missing_docs, reason = "each says itself what it is")]
pub struct PushArgs {
    /// The component; or the folder of an operator, which is built first
    #[arg(value_name = "FILE.wasm|DIR", default_value = ".")]
    pub file: PathBuf,

    /// Take the component of the folder's last build
    #[arg(long)]
    pub no_build: bool,

    /// What it is to be called; if not given, as operator.toml says, or as the file
    #[arg(long, value_name = "NAME", value_parser = artifact)]
    pub name: Option<ArtifactName>,

    /// Which version it is; if not given, as operator.toml says, or the first 12 digits of the file's SHA-256
    #[arg(long, value_name = "VERSION", value_parser = version)]
    pub version: Option<VersionName>,

    /// A file with its signature; FILE.wasm.sig if that is there
    #[arg(long, value_name = "FILE", conflicts_with = "key")]
    pub signature: Option<PathBuf>,

    /// Sign it with this secret key (PEM)
    #[arg(long, value_name = "FILE")]
    pub key: Option<PathBuf>,

    /// Point this tag to it, such as latest
    #[arg(long, value_name = "TAG", value_parser = version)]
    pub tag: Option<VersionName>,

    #[command(flatten)]
    pub at: AtServer,
}

/// `cofferdam operator inspect`
#[derive(Debug, Args)]
#[expect(missing_docs, reason = "each says itself what it is")]
pub struct InspectArgs {
    /// The operator, and a version or tag of it; all of them if there is none. Or a component in a
    /// file, or the folder of an operator, which is built first: no server is asked
    #[arg(value_name = "NAME[@VERSION]|FILE.wasm|DIR", value_parser = inspected, default_value = ".")]
    pub operator: Inspected,

    /// Take the component of the folder's last build
    #[arg(long)]
    pub no_build: bool,

    #[command(flatten)]
    pub at: AtServer,
}

/// What is to be inspected.
#[derive(Debug, Clone)]
pub enum Inspected {
    /// What was pushed to a server.
    Pushed(OperatorRef),
    /// A component in a file, or a folder.
    File(PathBuf),
}

fn inspected(text: &str) -> Result<Inspected, String> {
    match text.contains('/') || text.starts_with('.') || text.ends_with(".wasm") {
        true => Ok(Inspected::File(PathBuf::from(text))),
        false => operator(text).map(Inspected::Pushed),
    }
}

/// `cofferdam operator rm`
#[derive(Debug, Args)]
#[expect(missing_docs, reason = "each says itself what it is")]
pub struct RemoveArgs {
    /// The operator, and the version of it
    #[arg(value_name = "NAME@VERSION", value_parser = operator_version)]
    pub operator: VersionRef,

    /// Delete it although jobs use it (`force=true` of the API): they go on, and cannot be started
    /// again once they have ended
    #[arg(long)]
    pub force: bool,

    #[command(flatten)]
    pub at: AtServer,
}

/// `cofferdam operator tag`
#[derive(Debug, Args)]
#[expect(missing_docs, reason = "each says itself what it is")]
pub struct TagArgs {
    /// The operator, and the version of it
    #[arg(value_name = "NAME@VERSION", value_parser = operator_version)]
    pub operator: VersionRef,

    /// The tag
    #[arg(value_name = "TAG", value_parser = version)]
    pub tag: VersionName,

    #[command(flatten)]
    pub at: AtServer,
}

/// The end of `cofferdam operator push --help`.
pub const PUSH_HELP: &str = "\
Examples:
  cofferdam operator push                    builds the operator of this folder, and pushes it
  cofferdam operator push target/guests/filter.wasm
  cofferdam operator push ./my_filter.wasm --name filter --version 1.2.0 --tag latest

  cofferdam operator push ./my_filter.wasm --key signing.pem

The same bytes may be pushed again; other bytes need another version. A job file that names no
version means the tag latest, or what was pushed last.";
