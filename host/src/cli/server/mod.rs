//! Commands that ask a server: whom they ask, how its answer is shown, and how a refusal ends the
//! program. Decides nothing that the server should.
//!
//! | file | what lives there |
//! | --- | --- |
//! | here | the server that is meant, its answers and refusals |
//! | [`args`] | what all of them take |
//! | [`operator_args`], `operators` | `cofferdam operator push`, `list`, `inspect`, `rm`, `tag` |
//! | [`job_args`], `jobs`, `job_view` | `cofferdam job …` |
//! | [`key_args`], `keys` | `cofferdam tenant keys …`, `cofferdam operator keygen` and `sign` |
//! | `checkpoints`, `checkpoint_view` | `cofferdam checkpoint trigger`, `list`, `show` |
//! | [`savepoint_args`], `savepoints` | `cofferdam savepoint …` |
//! | [`slot_args`], `slots` | `cofferdam slot …` |
//! | [`capsule_args`], `capsules` | `cofferdam capsule …` |
//! | `tenants`, `tenant_read` | `cofferdam tenant …` and `cofferdam usage`, and what a server says of them |
//! | [`top_args`], `top`, `dashboard` | `cofferdam top` and `cofferdam dashboard` |
//! | `way` | whether a server is asked, or a job of this machine |
//! | [`looking_on_args`], `looking_on` | `cofferdam job logs`, `tail` |
//! | `which` | the job that is meant by a name |
//! | [`token_args`], `tokens` | `cofferdam token …` |
//! | [`profile_args`], `profiles` | `cofferdam profile …` |

pub mod args;
pub mod capsule_args;
pub(super) mod capsules;
mod checkpoint_view;
pub(super) mod checkpoints;
pub(super) mod dashboard;
pub mod job_args;
mod job_view;
pub(super) mod jobs;
pub mod key_args;
pub(super) mod keys;
pub(super) mod looking_on;
pub mod looking_on_args;
pub mod operator_args;
pub(super) mod operators;
pub mod profile_args;
pub(super) mod profiles;
pub mod savepoint_args;
pub(super) mod savepoints;
pub mod slot_args;
pub(super) mod slots;
mod tenant_read;
pub(super) mod tenants;
pub mod token_args;
pub(super) mod tokens;
pub(super) mod top;
pub mod top_args;
mod way;
mod which;

use std::path::PathBuf;

use serde_json::Value;

use self::args::ServerArgs;
use super::{exit::Exit, human, terminal};
use crate::{
    client::{
        Answer, Client, Request,
        error::ClientError,
        profiles::{Profiles, ProfilesError, default_path},
        target,
    },
    ids::TenantId,
};

/// A server that can be asked.
pub(super) struct Server {
    client: Client,
    /// Whose objects are meant, if somebody said so.
    tenant: Option<TenantId>,
}

impl Server {
    /// The one that is meant.
    fn of(args: &ServerArgs) -> Result<Self, Exit> {
        match Self::find(args)? {
            Some(server) => Ok(server),
            None => Err(refuse(
                "no server is named: give --server URL, set COFFERDAM_SERVER, or make a profile \
                 with `cofferdam profile add`",
            )),
        }
    }

    /// The one that is meant, if any is.
    pub(super) fn find(args: &ServerArgs) -> Result<Option<Self>, Exit> {
        let (_, profiles) = load_profiles()?;
        let found = target::find(&args.given(), &variable, &profiles).map_err(|e| failed(&e))?;
        let Some(target) = found else { return Ok(None) };
        if target.token.is_some() && !target.address.is_private() {
            terminal::say(&format!(
                "warning: the token goes to {} unencrypted; use https://",
                target.address
            ));
        }
        let client = Client::new(&target).map_err(|error| failed(&error))?;
        Ok(Some(Self { client, tenant: target.tenant }))
    }

    fn ask(&self, request: &Request) -> Result<Answer, Exit> {
        self.client.send(request).map_err(|error| failed(&error))
    }
}

/// An environment variable.
fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

/// The profiles, and where they are.
fn load_profiles() -> Result<(Option<PathBuf>, Profiles), Exit> {
    let path = default_path(&variable);
    let profiles = match &path {
        Some(path) => Profiles::load(path).map_err(|error| unusable(&error))?,
        None => Profiles::default(),
    };
    Ok((path, profiles))
}

fn unusable(error: &ProfilesError) -> Exit {
    refuse(&error.to_string())
}

fn refuse(what: &str) -> Exit {
    terminal::refuse(&human::plain(what))
}

/// Says why there is no answer, or not the one that was hoped for.
fn failed(error: &ClientError) -> Exit {
    if let ClientError::Refused(problem) = error {
        for mistake in &problem.mistakes {
            terminal::say(&human::plain(&mistake.shown));
        }
    }
    let _ = refuse(&error.to_string());
    exit_of(error)
}

fn exit_of(error: &ClientError) -> Exit {
    match error {
        ClientError::Given(_) => Exit::Usage,
        ClientError::Unreachable { .. }
        | ClientError::Lost { .. }
        | ClientError::Foreign { .. } => Exit::Server,
        ClientError::Refused(problem) => match problem.status {
            409 | 412 => Exit::JobFailed,
            429 | 500.. => Exit::Server,
            _ => Exit::Usage,
        },
    }
}

/// Prints an answer: as it is, or in words.
fn show(json: bool, answer: &Value, words: impl FnOnce(&Value) -> String) -> Result<Exit, Exit> {
    let text = if json { format!("{answer}\n") } else { human::plain(&words(answer)) };
    terminal::print(&text).map(|()| Exit::Success)
}

/// A text in an answer.
fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

/// A list of texts in an answer, one after the other.
fn words(value: &Value) -> String {
    value.as_array().into_iter().flatten().map(text).collect::<Vec<_>>().join(", ")
}

/// A moment in an answer; `-` if there is none.
fn moment(value: &Value) -> String {
    value.as_i64().map_or_else(|| "-".to_owned(), human::time)
}

/// Names and values, one a line.
fn fields(all: &[(&str, String)]) -> String {
    let width = all.iter().map(|(name, _)| name.chars().count()).max().unwrap_or(0);
    all.iter().map(|(name, value)| format!("{name:<width$}  {value}\n")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_of_the_server_is_told_from_one_of_the_caller() {
        let gone = ClientError::Unreachable { address: String::new(), reason: String::new() };
        assert_eq!(exit_of(&gone), Exit::Server);
        assert_eq!(exit_of(&ClientError::Given(String::new())), Exit::Usage);
    }

    #[test]
    fn names_and_values_stand_below_each_other() {
        let all = [("id", "1".to_owned()), ("tenant", "acme".to_owned())];
        assert_eq!(fields(&all), "id      1\ntenant  acme\n");
    }
}
