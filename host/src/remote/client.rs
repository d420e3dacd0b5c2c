//! Asks a job that runs in another process one question.

use std::{
    io::{self, BufRead as _, BufReader, ErrorKind, Write as _},
    os::unix::net::UnixStream,
    path::{Path, PathBuf},
};

use serde_json::Value;

use super::{Reply, short_name};
use crate::job_manager::control::Ask;

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum AskError {
    /// Nobody listens.
    #[error(
        "no job runs with the state directory {}; start it with `cofferdam run JOB.toml --state {}`",
        .0.display(), .0.display()
    )]
    NoJob(PathBuf),
    /// The system says no.
    #[error("the job with the state directory {} cannot be asked: {error}", path.display())]
    Io {
        /// Which.
        path: PathBuf,
        /// What it said.
        error: io::Error,
    },
    /// The job says no.
    #[error("{0}")]
    Refused(String),
}

/// Asks the job that runs with a state directory. Blocks until it answers.
///
/// # Errors
/// If there is no answer, or it is no.
pub fn ask(state: &Path, ask: &Ask) -> Result<Value, AskError> {
    let fail = |error: io::Error| match error.kind() {
        ErrorKind::NotFound | ErrorKind::ConnectionRefused => AskError::NoJob(state.to_owned()),
        _ => AskError::Io { path: state.to_owned(), error },
    };
    let (_directory, name) = short_name(state).map_err(fail)?;
    let mut connection = UnixStream::connect(&name).map_err(fail)?;
    let mut line = serde_json::to_vec(ask).expect("a question can be written as JSON");
    line.push(b'\n');
    connection.write_all(&line).map_err(fail)?;
    let mut answer = String::new();
    BufReader::new(connection).read_line(&mut answer).map_err(fail)?;
    if answer.is_empty() {
        return Err(AskError::Refused("the job ended before it could answer".to_owned()));
    }
    match serde_json::from_str::<Reply<Value>>(&answer) {
        Ok(Reply::Ok(answer)) => Ok(answer),
        Ok(Reply::Error(error)) => Err(AskError::Refused(error)),
        Err(error) => Err(fail(io::Error::new(ErrorKind::InvalidData, error))),
    }
}
