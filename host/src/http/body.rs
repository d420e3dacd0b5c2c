//! Bodies of requests, piece by piece. However slowly one comes, it comes to an end: a client
//! has some patience to begin with, and earns more by what it sends.

use std::time::Duration;

use axum::{body::Body, http::StatusCode};
use bytes::Bytes;
use http_body_util::BodyExt as _;
use serde::de::DeserializeOwned;
use tokio::time::timeout;

use super::problem::Problem;
use crate::clock::Stopwatch;

/// A client that goes on sending sends so many bytes a second at least.
const SLOWEST: u64 = 8 << 10;

/// How long a body may still take.
pub(super) struct Patience {
    least: Duration,
    begun: Stopwatch,
    received: u64,
}

impl Patience {
    pub(super) fn new(least: Duration) -> Self {
        Self { least, begun: Stopwatch::start(), received: 0 }
    }

    /// So many bytes came.
    pub(super) fn earn(&mut self, bytes: usize) {
        self.received += bytes as u64;
    }

    /// Waits for what comes next.
    pub(super) async fn wait<T>(&self, next: impl Future<Output = T>) -> Result<T, Problem> {
        let earned = Duration::from_secs(self.received / SLOWEST);
        let left = (self.least + earned).saturating_sub(self.begun.elapsed());
        let too_slow = "the request's body comes too slowly";
        timeout(left.min(self.least), next)
            .await
            .map_err(|_| Problem::new(StatusCode::REQUEST_TIMEOUT, "too-slow", too_slow))
    }
}

/// A body that is being read.
pub(super) struct Reader {
    body: Body,
    patience: Patience,
}

impl Reader {
    pub(super) fn new(body: Body, patience: Duration) -> Self {
        Self { body, patience: Patience::new(patience) }
    }

    /// The next piece; none at the end.
    pub(super) async fn next(&mut self) -> Result<Option<Bytes>, Problem> {
        loop {
            match self.patience.wait(self.body.frame()).await? {
                None => return Ok(None),
                Some(Err(error)) => {
                    return Err(Problem::invalid(format!("the body ended early: {error}")));
                }
                Some(Ok(frame)) => {
                    // Trailers say nothing to us.
                    let Ok(data) = frame.into_data() else { continue };
                    self.patience.earn(data.len());
                    return Ok(Some(data));
                }
            }
        }
    }

    /// All of it, as text.
    pub(super) async fn text(self, what: &str, limit: usize) -> Result<String, Problem> {
        String::from_utf8(self.bytes(what, limit).await?)
            .map_err(|_| Problem::invalid(format!("{what} must be text in UTF-8")))
    }

    /// All of it, as JSON; `shape` says what that should be like.
    pub(super) async fn json<T: DeserializeOwned>(
        self,
        (what, limit): (&str, usize),
        shape: &str,
    ) -> Result<T, Problem> {
        let text = self.text(what, limit).await?;
        serde_json::from_str(&text)
            .map_err(|error| Problem::invalid(format!("the body must be {shape}: {error}")))
    }

    /// All of it.
    pub(super) async fn bytes(mut self, what: &str, limit: usize) -> Result<Vec<u8>, Problem> {
        let mut bytes = Vec::new();
        while let Some(piece) = self.next().await? {
            bytes.extend_from_slice(&piece);
            if bytes.len() > limit {
                let detail = format!("{what} may have {limit} bytes at most");
                return Err(Problem::new(StatusCode::PAYLOAD_TOO_LARGE, "too-large", detail));
            }
        }
        Ok(bytes)
    }
}
