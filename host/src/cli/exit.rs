//! Exit codes: what a script can rely on. Also shown by `--help`.

use std::process::ExitCode;

/// How the program ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// 0: the job finished, the check found nothing, a replay does not crash, or versions are the
    /// same.
    Success,
    /// 1: the job failed, a replay crashes, versions differ, or what is asked of a job or a server
    /// does not go as things are.
    JobFailed,
    /// 2: wrong arguments, a bad job file, an operator, input or output that cannot be used, or a
    /// server that refuses what it is asked for.
    Usage,
    /// 3: a signal stopped the job; with `--state` the same command resumes it.
    Stopped,
    /// 4: the state or data directory cannot be used.
    State,
    /// 5: the server is not there, gives no answer, or cannot do it now.
    Server,
    /// 130: a second signal ended the program at once.
    Aborted,
}

impl Exit {
    /// The number.
    #[must_use]
    pub fn code(self) -> u8 {
        match self {
            Self::Success => 0,
            Self::JobFailed => 1,
            Self::Usage => 2,
            Self::Stopped => 3,
            Self::State => 4,
            Self::Server => 5,
            Self::Aborted => 130,
        }
    }
}

impl From<Result<(), Exit>> for Exit {
    fn from(done: Result<(), Self>) -> Self {
        done.err().unwrap_or(Self::Success)
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit.code())
    }
}

/// The exit codes as `--help` shows them.
pub const EXIT_CODES: &str = "\
Exit codes:
  0    the job finished (or: the check found nothing wrong, a replay does not crash, versions are
       the same)
  1    the job failed (or: a replay crashes, versions differ; a job or server says no as things are)
  2    wrong arguments, a bad job file, or an operator, input or output that cannot be used (or: a
       server refuses it)
  3    a signal stopped the job; with --state, the same command resumes it
  4    the state or data directory cannot be used
  5    the server is not there, gives no answer, or cannot do it now
  130  a second signal ended the program at once";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn help_lists_every_code() {
        for exit in [
            Exit::Success,
            Exit::JobFailed,
            Exit::Usage,
            Exit::Stopped,
            Exit::State,
            Exit::Server,
            Exit::Aborted,
        ] {
            let line = format!("\n  {:<5}", exit.code());
            assert!(EXIT_CODES.contains(&line), "{exit:?}");
        }
    }
}
