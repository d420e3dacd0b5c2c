//! Asking a server that runs elsewhere, by its REST API: who is asked and with which token, one
//! request and its answer, what is tried again, and errors that say what to do. Knows nothing of
//! what is asked for, and shows nothing.
//!
//! | file | what lives there |
//! | --- | --- |
//! | here | requests, answers, and trying again |
//! | [`address`] | where a server is |
//! | `exchange` | one request over one connection, with TLS or without |
//! | `events` | answers that go on: server-sent events |
//! | `retry` | what is safe to try again, and when |
//! | [`error`] | what can go wrong, and the server's problem details |
//! | [`profiles`] | the file of profiles |
//! | [`target`] | whom options, environment and profiles mean |

pub mod address;
pub mod error;
mod events;
pub(crate) mod exchange;
pub mod profiles;
mod retry;
pub mod target;

use std::{fmt::Display, thread, time::Duration};

use bytes::Bytes;
use http_body_util::Full;
use hyper::{
    HeaderMap, Method, Request as Sent, StatusCode,
    header::{self, HeaderName, HeaderValue},
};
use serde_json::Value;
use tokio_rustls::TlsConnector;

use self::{
    address::Address,
    error::{ClientError, Problem},
    events::Events,
    exchange::{Exchanged, Failed},
    retry::Outcome,
    target::Target,
};

/// How long an answer is waited for if nothing else is said.
const PATIENCE: Duration = Duration::from_secs(60);
const USER_AGENT: HeaderValue =
    HeaderValue::from_static(concat!("cofferdam/", env!("CARGO_PKG_VERSION")));

/// A request, which may be sent more than once.
#[derive(Debug, Clone)]
pub struct Request {
    method: Method,
    path: String,
    content_type: Option<&'static str>,
    headers: Vec<(HeaderName, HeaderValue)>,
    body: Bytes,
    patience: Duration,
    /// Whether doing it twice is doing it once, and the second answer is as good as the first.
    repeatable: bool,
}

/// An answer that is no problem.
#[derive(Debug, Clone, PartialEq)]
pub struct Answer {
    /// Its status: 200 to 299.
    pub status: u16,
    /// Its body; null if it has none.
    pub json: Value,
    /// Which state of a thing it shows, if the server says so: what `If-Match` takes.
    pub etag: Option<String>,
}

impl Request {
    fn new(method: Method, parts: &[&str]) -> Self {
        let path = parts.iter().flat_map(|part| ["/".to_owned(), escaped(part)]).collect();
        // The answer to a second DELETE is another one.
        let repeatable = matches!(method, Method::GET | Method::PUT);
        let (headers, body) = (Vec::new(), Bytes::new());
        Self { method, path, content_type: None, headers, body, patience: PATIENCE, repeatable }
    }

    /// Asks for what is at a path, which is given part by part.
    #[must_use]
    pub fn get(parts: &[&str]) -> Self {
        Self::new(Method::GET, parts)
    }

    /// Puts something at a path.
    #[must_use]
    pub fn put(parts: &[&str]) -> Self {
        Self::new(Method::PUT, parts)
    }

    /// Has something done.
    #[must_use]
    pub fn post(parts: &[&str]) -> Self {
        Self::new(Method::POST, parts)
    }

    /// Deletes what is at a path.
    #[must_use]
    pub fn delete(parts: &[&str]) -> Self {
        Self::new(Method::DELETE, parts)
    }

    /// With a value in the query.
    #[must_use]
    pub fn query(mut self, name: &str, value: impl Display) -> Self {
        let sign = if self.path.contains('?') { '&' } else { '?' };
        self.path += &format!("{sign}{name}={}", escaped(&value.to_string()));
        self
    }

    /// With a value in the query, if there is one.
    #[must_use]
    pub fn query_if(self, name: &str, value: Option<impl Display>) -> Self {
        match value {
            Some(value) => self.query(name, value),
            None => self,
        }
    }

    /// With a body.
    #[must_use]
    pub fn body(mut self, content_type: &'static str, body: impl Into<Bytes>) -> Self {
        self.content_type = Some(content_type);
        self.body = body.into();
        self
    }

    /// With a body in JSON.
    #[must_use]
    pub fn json(self, body: &Value) -> Self {
        self.body("application/json", body.to_string())
    }

    /// On condition that the thing is still in the state of this `ETag`; refused otherwise.
    ///
    /// An answer that was lost may have been a success, which a second attempt would not be: it is
    /// not repeated.
    #[must_use]
    pub fn if_match(mut self, etag: &str) -> Self {
        self.repeatable = false;
        self.header(header::IF_MATCH, etag)
    }

    /// On condition that there is no such thing yet; refused otherwise, and not repeated.
    #[must_use]
    pub fn if_new(mut self) -> Self {
        self.repeatable = false;
        self.header(header::IF_NONE_MATCH, "*")
    }

    /// With a header. A value that cannot be one is left out.
    #[must_use]
    pub fn header(mut self, name: HeaderName, value: &str) -> Self {
        self.headers.extend(HeaderValue::try_from(value).ok().map(|value| (name, value)));
        self
    }

    /// May be sent again when its answer was lost, since it names what it makes.
    #[must_use]
    pub fn repeatable(mut self) -> Self {
        self.repeatable = true;
        self
    }

    /// Waits so long for an answer.
    #[must_use]
    pub fn patience(mut self, patience: Duration) -> Self {
        self.patience = patience;
        self
    }
}

/// All but letters, digits and what never means anything, as `%XX`.
fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~') {
            out.push(char::from(byte));
        } else {
            out += &format!("%{byte:02X}");
        }
    }
    out
}

/// Asks one server, one thing after the other.
pub struct Client {
    runtime: tokio::runtime::Runtime,
    address: Address,
    authorization: Option<HeaderValue>,
    tls: Option<TlsConnector>,
}

impl Client {
    /// One that asks this server. Nothing is sent yet.
    ///
    /// # Errors
    /// If the token is none, or the certificates to trust cannot be read.
    pub fn new(target: &Target) -> Result<Self, ClientError> {
        let authorization = target.token.as_ref().map(|token| {
            let mut value = HeaderValue::try_from(format!("Bearer {}", token.secret()))
                .map_err(|_| ClientError::Given("the token has characters of no token".into()))?;
            value.set_sensitive(true);
            Ok(value)
        });
        let address = target.address.clone();
        let tls = address.tls.then(|| exchange::connector(target.ca.as_deref())).transpose()?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime
            .map_err(|error| ClientError::Given(format!("cannot start the runtime: {error}")))?;
        Ok(Self { runtime, address, authorization: authorization.transpose()?, tls })
    }

    /// Whom it asks.
    #[must_use]
    pub fn address(&self) -> &Address {
        &self.address
    }

    /// Sends a request, again if that is safe and may help, and waits for its answer. Blocks.
    ///
    /// # Errors
    /// If there is no answer, or it is a problem.
    pub fn send(&self, request: &Request) -> Result<Answer, ClientError> {
        self.insist(request, |exchanged| self.read(exchanged))
    }

    /// As [`send`](Self::send), for what is no JSON: its bytes.
    ///
    /// # Errors
    /// If there is no answer, or it is a problem.
    pub fn fetch(&self, request: &Request) -> Result<Bytes, ClientError> {
        self.insist(request, |exchanged| match exchanged.status.is_success() {
            true => Ok(exchanged.body.clone()),
            false => Err(self.refused(exchanged)),
        })
    }

    fn insist<T>(
        &self,
        request: &Request,
        read: impl Fn(&Exchanged) -> Result<T, ClientError>,
    ) -> Result<T, ClientError> {
        let mut attempt = 0;
        loop {
            let (outcome, ended) = self.attempt(request, &read)?;
            let pause = match outcome {
                Some(outcome) => retry::pause(request.repeatable, &outcome, attempt),
                None => None,
            };
            let Some(pause) = pause else { return ended };
            if let Err(error) = &ended {
                tracing::info!("{error}; trying again in {} ms", pause.as_millis());
            }
            // Not all of those who were sent away at once come back at once.
            thread::sleep(pause.mul_f64(0.75 + rand::random::<f64>() / 2.0));
            attempt += 1;
        }
    }

    /// Sends a request whose answer is events, and gives each with its name as it comes, until it
    /// is told that this is enough. Silence of the request's patience is the end of it. Blocks.
    ///
    /// # Errors
    /// If there is no answer, or it is a problem, or it ends early.
    pub fn listen(
        &self,
        request: &Request,
        mut heard: impl FnMut(&str, &Value) -> bool,
    ) -> Result<(), ClientError> {
        let sent = self.dress(request)?;
        let mut events = Events::default();
        let mut pieces = |piece: &[u8]| events.take(piece, &mut heard);
        let (address, tls) = (&self.address, self.tls.as_ref());
        let listened = exchange::listen(address, tls, sent, request.patience, &mut pieces);
        match self.runtime.block_on(listened) {
            Ok(ended) if ended.status.is_success() => Ok(()),
            Ok(problem) => self.read(&problem).map(|_| ()),
            Err(Failed::Never(error) | Failed::NotSent(error) | Failed::Lost(error)) => Err(error),
        }
    }

    /// One attempt: how it went, if it might be made again, and what comes of it if it is not.
    fn attempt<T>(
        &self,
        request: &Request,
        read: impl Fn(&Exchanged) -> Result<T, ClientError>,
    ) -> Result<(Option<Outcome>, Result<T, ClientError>), ClientError> {
        let sent = self.dress(request)?;
        let exchanged =
            exchange::exchange(&self.address, self.tls.as_ref(), sent, request.patience);
        Ok(match self.runtime.block_on(exchanged) {
            Ok(exchanged) => {
                let outcome = Outcome::Answered {
                    status: exchanged.status,
                    retry_after: retry_after(&exchanged.headers),
                };
                (Some(outcome), read(&exchanged))
            }
            Err(Failed::Never(error)) => (None, Err(error)),
            Err(Failed::NotSent(error)) => (Some(Outcome::NotSent), Err(error)),
            Err(Failed::Lost(error)) => (Some(Outcome::Lost), Err(error)),
        })
    }

    fn dress(&self, request: &Request) -> Result<Sent<Full<Bytes>>, ClientError> {
        let mut sent = Sent::builder()
            .method(request.method.clone())
            .uri(format!("{}{}", self.address.path, request.path))
            .header(header::HOST, self.address.authority())
            .header(header::USER_AGENT, USER_AGENT)
            .header(
                header::ACCEPT,
                "application/json, text/event-stream, application/problem+json",
            );
        if let Some(value) = &self.authorization {
            sent = sent.header(header::AUTHORIZATION, value);
        }
        if let Some(value) = request.content_type {
            sent = sent.header(header::CONTENT_TYPE, value);
        }
        for (name, value) in &request.headers {
            sent = sent.header(name, value);
        }
        sent.body(Full::new(request.body.clone()))
            .map_err(|error| ClientError::Given(format!("this cannot be asked: {error}")))
    }

    fn read(&self, exchanged: &Exchanged) -> Result<Answer, ClientError> {
        let Exchanged { status, headers, body } = exchanged;
        if !status.is_success() {
            return Err(self.refused(exchanged));
        }
        let json = match body.is_empty() {
            true => Value::Null,
            false => serde_json::from_slice(body).map_err(|_| self.foreign(*status))?,
        };
        let etag = headers.get(header::ETAG).and_then(|etag| etag.to_str().ok());
        Ok(Answer { status: status.as_u16(), json, etag: etag.map(str::to_owned) })
    }

    /// What is wrong, as the server says; or that it is none of ours.
    fn refused(&self, exchanged: &Exchanged) -> ClientError {
        let Exchanged { status, headers, body } = exchanged;
        let kind = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
        let is_problem = kind.is_some_and(|kind| kind.starts_with("application/problem+json"));
        match serde_json::from_slice(body).ok().filter(|_| is_problem) {
            Some(json) => ClientError::Refused(Problem::read(json)),
            None => self.foreign(*status),
        }
    }

    fn foreign(&self, status: StatusCode) -> ClientError {
        ClientError::Foreign { address: self.address.to_string(), status }
    }
}

/// `Retry-After` in seconds; what is a date is not looked at.
fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let text = headers.get(header::RETRY_AFTER)?.to_str().ok()?;
    text.trim().parse().ok().map(Duration::from_secs)
}

#[cfg(test)]
mod tests;
