//! What may be sent again, and after which time: a decision without any I/O. The rule: nothing
//! may be done twice because an answer was lost.

use std::time::Duration;

use hyper::StatusCode;

/// How often a request is sent again, at most.
const MOST: u32 = 3;
/// The first pause; each further one is three times as long.
const FIRST: Duration = Duration::from_millis(100);
/// The longest pause that a server may ask for.
const LONGEST: Duration = Duration::from_secs(30);

/// How an attempt went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Outcome {
    /// The server has seen nothing of it.
    NotSent,
    /// It may have been done, but no answer came.
    Lost,
    /// There was an answer.
    Answered {
        /// Its status.
        status: StatusCode,
        /// When to try again, if the server says so.
        retry_after: Option<Duration>,
    },
}

/// After which time to send it again, if that is safe and may help. `attempt` counts from 0.
/// `repeatable` says that doing it twice is doing it once, and the second answer as good as the
/// first.
pub(super) fn pause(repeatable: bool, outcome: &Outcome, attempt: u32) -> Option<Duration> {
    let backoff = FIRST * 3_u32.pow(attempt.min(MOST));
    let pause = match *outcome {
        Outcome::NotSent => backoff,
        Outcome::Lost if repeatable => backoff,
        // It was sent away before anything was done.
        Outcome::Answered { status: StatusCode::TOO_MANY_REQUESTS, retry_after } => {
            retry_after.unwrap_or(backoff)
        }
        Outcome::Answered {
            status:
                StatusCode::BAD_GATEWAY | StatusCode::SERVICE_UNAVAILABLE | StatusCode::GATEWAY_TIMEOUT,
            retry_after,
        } if repeatable => retry_after.unwrap_or(backoff),
        Outcome::Lost | Outcome::Answered { .. } => return None,
    };
    (attempt < MOST && pause <= LONGEST).then_some(pause)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answered(status: u16, after: Option<u64>) -> Outcome {
        let status = StatusCode::from_u16(status).unwrap();
        Outcome::Answered { status, retry_after: after.map(Duration::from_secs) }
    }

    #[test]
    fn what_may_have_been_done_is_not_done_again() {
        let again = |repeatable, outcome| pause(repeatable, &outcome, 0).is_some();
        for (outcome, once, repeatable) in [
            (Outcome::NotSent, true, true),
            (Outcome::Lost, false, true),
            (answered(429, None), true, true),
            (answered(503, None), false, true),
            (answered(502, None), false, true),
            (answered(500, None), false, false),
            (answered(409, None), false, false),
            (answered(200, None), false, false),
        ] {
            assert_eq!(again(false, outcome), once, "{outcome:?}");
            assert_eq!(again(true, outcome), repeatable, "{outcome:?}");
        }
    }

    #[test]
    fn pauses_grow_and_end_and_the_server_may_name_them() {
        let pauses: Vec<_> = (0..5).map(|n| pause(true, &Outcome::NotSent, n)).collect();
        let millis = |n| Some(Duration::from_millis(n));
        assert_eq!(pauses, [millis(100), millis(300), millis(900), None, None]);
        assert_eq!(pause(false, &answered(429, Some(2)), 0), millis(2_000));
        assert_eq!(pause(false, &answered(429, Some(31)), 0), None, "too long to wait");
    }
}
