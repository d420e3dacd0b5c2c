//! What can go wrong when a server is asked: what happened, and what to do.

use std::fmt;

use hyper::StatusCode;
use serde_json::Value;

/// Why there is no answer, or none that was hoped for.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// What was given to find and open the server cannot be used.
    #[error("{0}")]
    Given(String),
    /// It was not reached, and has seen nothing of the request.
    #[error("the server {address} cannot be reached: {reason}")]
    Unreachable {
        /// Where it should be.
        address: String,
        /// Why, and what to do.
        reason: String,
    },
    /// The request was sent, and no answer came.
    #[error("the server {address} gave no answer: {reason}{advice}")]
    Lost {
        /// Where it is.
        address: String,
        /// Why.
        reason: String,
        /// What to do.
        advice: &'static str,
    },
    /// What answers there is no server of ours.
    #[error(
        "{address} answered with {status}, and not as a Cofferdam server does; is that the \
             right address?"
    )]
    Foreign {
        /// Who answered.
        address: String,
        /// With which status.
        status: StatusCode,
    },
    /// The server said no.
    #[error("{0}")]
    Refused(Problem),
}

/// A problem detail (RFC 9457), as the server told it.
#[derive(Debug, Clone, PartialEq)]
pub struct Problem {
    /// The status of the answer.
    pub status: u16,
    /// The end of its `type`: `not-found`.
    pub kind: String,
    /// What happened, in words.
    pub detail: String,
    /// The mistakes of a job file, ready to be shown.
    pub mistakes: Vec<Mistake>,
}

/// A mistake in a job file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mistake {
    /// Where it is: the server's name for the job file, or `--set`.
    pub origin: String,
    /// With its line and a caret.
    pub shown: String,
}

impl Problem {
    pub(super) fn read(json: Value) -> Self {
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let mistakes = json["errors"].as_array().into_iter().flatten().map(|mistake| Mistake {
            origin: text(&mistake["in"]),
            shown: text(&mistake["shown"]),
        });
        let kind = text(&json["type"]);
        Self {
            status: json["status"].as_u64().and_then(|n| u16::try_from(n).ok()).unwrap_or(0),
            kind: kind.rsplit(':').next().unwrap_or_default().to_owned(),
            detail: text(&json["detail"]),
            mistakes: mistakes.collect(),
        }
    }

    /// What to do about it, where the detail does not say it.
    fn advice(&self) -> &'static str {
        match self.kind.as_str() {
            "unauthorized" => {
                "; give a token with --token, --token-file, COFFERDAM_TOKEN, \
                 COFFERDAM_TOKEN_FILE or a profile (`cofferdam profile add`)"
            }
            "forbidden" => "; `cofferdam token create` makes tokens of other roles",
            "not-found" => "; a token sees what is of its tenant, and --tenant says whose is meant",
            "busy" | "rate-limited" | "unavailable" | "not-ready" => "; try again in a while",
            _ => "",
        }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", self.detail, self.advice())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_problem_says_what_happened_and_what_to_do() {
        let problem = Problem::read(json!({
            "type": "urn:cofferdam:problem:unauthorized", "status": 401, "detail": "no such token"
        }));
        assert_eq!((problem.status, problem.kind.as_str()), (401, "unauthorized"));
        let shown = problem.to_string();
        assert!(shown.starts_with("no such token; ") && shown.contains("--token"), "{shown}");
    }

    #[test]
    fn mistakes_of_a_job_file_come_along() {
        let problem = Problem::read(json!({
            "type": "urn:cofferdam:problem:job-file", "status": 422, "detail": "2 mistakes",
            "errors": [{"in": "job", "shown": "error: a"}, {"in": "--set", "shown": "error: b"}]
        }));
        let origins: Vec<_> = problem.mistakes.iter().map(|m| m.origin.as_str()).collect();
        assert_eq!(origins, ["job", "--set"]);
    }

    #[test]
    fn a_problem_that_says_little_is_a_problem_nevertheless() {
        let problem = Problem::read(json!([1]));
        assert_eq!((problem.status, problem.kind.as_str()), (0, ""));
    }
}
