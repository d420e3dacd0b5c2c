//! What every command takes that asks a server.

use std::path::PathBuf;

use clap::Args;

use crate::{
    client::target::Given,
    ids::{ArtifactName, JobName, ProfileName, SavepointName, TenantId, VersionName},
};

/// Which server, and who asks.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "Server")]
pub struct ServerArgs {
    /// The server, such as http://127.0.0.1:8080 [default: COFFERDAM_SERVER, else the profile]
    #[arg(long, value_name = "URL", conflicts_with = "profile")]
    pub server: Option<String>,

    /// A server that was given a name with `cofferdam profile add` [default: COFFERDAM_PROFILE,
    /// else the current one]
    #[arg(long, value_name = "NAME", value_parser = profile)]
    pub profile: Option<ProfileName>,

    /// The token, which other users of this machine may see here [default: COFFERDAM_TOKEN, else
    /// what is in the file COFFERDAM_TOKEN_FILE, else that of the profile]
    #[arg(long, value_name = "TOKEN", conflicts_with = "token_file")]
    pub token: Option<String>,

    /// A file with the token
    #[arg(long, value_name = "FILE")]
    pub token_file: Option<PathBuf>,

    /// Whose objects are meant, if the token is for every tenant [default: that of the profile,
    /// else `default`]
    #[arg(long, value_name = "NAME", value_parser = tenant)]
    pub tenant: Option<TenantId>,

    /// Certificates (PEM) to trust besides the usual ones [default: COFFERDAM_CA]
    #[arg(long, value_name = "FILE")]
    pub ca: Option<PathBuf>,
}

/// A server, and how its answer is shown.
#[derive(Debug, Clone, Default, Args)]
#[expect(missing_docs, reason = "each says itself what it is")]
pub struct AtServer {
    /// Print the server's answer as it is, in JSON
    #[arg(long)]
    pub json: bool,

    #[command(flatten)]
    pub server: ServerArgs,
}

/// A server, or a job of this machine.
#[derive(Debug, Clone, Default, Args)]
#[expect(missing_docs, reason = "each says itself what it is")]
pub struct HereOrThere {
    /// The state directory of a job that runs on this machine, in the place of a server
    #[arg(long, value_name = "DIR")]
    #[arg(conflicts_with_all = ["server", "profile", "token", "token_file", "tenant", "ca"])]
    pub state: Option<PathBuf>,

    #[command(flatten)]
    pub at: AtServer,
}

impl ServerArgs {
    pub(super) fn given(&self) -> Given {
        Given {
            server: self.server.clone(),
            profile: self.profile.clone(),
            token: self.token.clone(),
            token_file: self.token_file.clone(),
            tenant: self.tenant.clone(),
            ca: self.ca.clone(),
        }
    }
}

/// A version of an operator, or all of them: `NAME`, `NAME@VERSION`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OperatorRef {
    /// What it is called.
    pub name: ArtifactName,
    /// A version or a tag.
    pub version: Option<VersionName>,
}

/// One version of an operator: `NAME@VERSION`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VersionRef {
    /// What the operator is called.
    pub name: ArtifactName,
    /// A version or a tag.
    pub version: VersionName,
}

pub(super) fn profile(text: &str) -> Result<ProfileName, String> {
    ProfileName::new(text).map_err(|bad| bad.reason.to_owned())
}

pub(super) fn tenant(text: &str) -> Result<TenantId, String> {
    TenantId::new(text).map_err(|bad| bad.reason.to_owned())
}

pub(super) fn artifact(text: &str) -> Result<ArtifactName, String> {
    ArtifactName::new(text).map_err(|bad| bad.reason.to_owned())
}

pub(super) fn version(text: &str) -> Result<VersionName, String> {
    VersionName::new(text).map_err(|bad| bad.reason.to_owned())
}

/// What names a job: its name, its identifier, or the beginning of that.
pub(in crate::cli) fn job(text: &str) -> Result<JobName, String> {
    JobName::new(text).map_err(|bad| bad.reason.to_owned())
}

pub(super) fn operator(text: &str) -> Result<OperatorRef, String> {
    let (name, of) = match text.split_once('@') {
        Some((name, of)) => (name, Some(version(of)?)),
        None => (text, None),
    };
    Ok(OperatorRef { name: artifact(name)?, version: of })
}

pub(super) fn savepoint(text: &str) -> Result<SavepointName, String> {
    SavepointName::new(text).map_err(|bad| bad.reason.to_owned())
}

/// With a version, or a tag.
pub(super) fn operator_version(text: &str) -> Result<VersionRef, String> {
    let OperatorRef { name, version } = operator(text)?;
    let version = version.ok_or("name a version, too: NAME@VERSION")?;
    Ok(VersionRef { name, version })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_operator_is_named_with_a_version_or_without() {
        let named = operator("filter@1.0.0").unwrap();
        assert_eq!((named.name.as_str(), named.version.unwrap().as_str()), ("filter", "1.0.0"));
        assert_eq!(operator("filter").unwrap().version, None);
        assert!(operator_version("filter").unwrap_err().contains("NAME@VERSION"));
        for bad in ["", "a@", "@1", "a/b@1", "a@../x"] {
            assert!(operator(bad).is_err(), "{bad}");
        }
    }
}
