//! Delivering one request, as often as it takes: what is worth another try, and when.
//!
//! | answer | what follows |
//! | --- | --- |
//! | 2xx | it is delivered |
//! | none, 408, 425, 429, 5xx | another try, after a time that doubles, or as long as `Retry-After` says |
//! | anything else | it is refused for good; a redirect too, since it could lead anywhere |

use std::{io, sync::Arc, time::Duration};

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::{
    HeaderMap, Request, StatusCode,
    client::conn::http1,
    header::{self, HeaderName, HeaderValue},
};
use hyper_util::rt::TokioIo;
use rustls::{
    ClientConfig, RootCertStore,
    crypto::ring,
    pki_types::{CertificateDer, ServerName},
};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    time::{sleep, timeout},
};
use tokio_rustls::TlsConnector;

use super::{Outgoing, reach::connect, sign::signature};
use crate::{clock::Clock, config::webhook::WebhookSpec};

/// The first wait before another try.
const FIRST_BACKOFF: Duration = Duration::from_millis(200);
/// The longest wait that a receiver can ask for.
const LONGEST_ASKED: Duration = Duration::from_secs(3_600);
/// How much of an answer is read, to be shown.
const READ_OF_ANSWER: usize = 64 << 10;
const SHOWN_OF_ANSWER: usize = 300;
const USER_AGENT: HeaderValue =
    HeaderValue::from_static(concat!("cofferdam/", env!("CARGO_PKG_VERSION")));

/// Sends requests.
pub(super) struct Sender {
    spec: WebhookSpec,
    tls: Option<TlsConnector>,
    clock: Clock,
}

/// The receiver does not want a request, and will not want it later.
pub(super) struct Refused(pub(super) String);

/// What came of one try.
enum Tried {
    Delivered,
    Refused(String),
    Again(String, Option<Duration>),
}

impl Sender {
    pub(super) fn new(spec: &WebhookSpec, clock: Clock) -> Result<Self, String> {
        let tls = if spec.url.tls { Some(trusting(&spec.roots)?) } else { None };
        Ok(Self { spec: spec.clone(), tls, clock })
    }

    /// Returns when a request is delivered, or refused. Can be cancelled.
    pub(super) async fn deliver(&self, request: &Outgoing) -> Result<(), Refused> {
        let mut backoff = FIRST_BACKOFF;
        loop {
            let (why, asked) = match timeout(self.spec.timeout, self.attempt(request)).await {
                Ok(Tried::Delivered) => return Ok(()),
                Ok(Tried::Refused(why)) => return Err(Refused(why)),
                Ok(Tried::Again(why, asked)) => (why, asked),
                Err(_) => (format!("it took more than {:?}", self.spec.timeout), None),
            };
            // Half of it is random, so that many who wait do not come at once.
            let wait = backoff.mul_f64(rand::random_range(0.5..1.0));
            let wait = asked.map_or(wait, |asked| asked.min(LONGEST_ASKED).max(wait));
            tracing::warn!(
                "{} did not take {}, and is asked again in {wait:?}: {why}",
                self.spec.url,
                request.id
            );
            sleep(wait).await;
            backoff = (backoff * 2).min(self.spec.max_backoff);
        }
    }

    async fn attempt(&self, request: &Outgoing) -> Tried {
        let again = |why: String| Tried::Again(why, None);
        let stream = match connect(&self.spec.url, self.spec.reach).await {
            Ok(stream) => stream,
            Err(why) => return again(why),
        };
        let Some(tls) = &self.tls else { return self.converse(stream, request).await };
        let Ok(name) = ServerName::try_from(self.spec.url.host.clone()) else {
            return Tried::Refused("its name is no host's name".to_owned());
        };
        match tls.connect(name, stream).await {
            Ok(stream) => self.converse(stream, request).await,
            Err(error) => again(tls_refused(&error)),
        }
    }

    async fn converse<S>(&self, stream: S, request: &Outgoing) -> Tried
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let again = |error: hyper::Error| Tried::Again(error.to_string(), None);
        let (mut sender, connection) = match http1::handshake(TokioIo::new(stream)).await {
            Ok(both) => both,
            Err(error) => return again(error),
        };
        let request = match self.request(request) {
            Ok(request) => request,
            Err(error) => return Tried::Refused(error.to_string()),
        };
        let answered = async {
            let (head, body) = match sender.send_request(request).await {
                Ok(answer) => answer.into_parts(),
                Err(error) => return again(error),
            };
            // What it says is only shown.
            let body = Limited::new(body, READ_OF_ANSWER).collect().await;
            judge(head.status, &head.headers, &body.map(|b| b.to_bytes()).unwrap_or_default())
        };
        tokio::pin!(connection, answered);
        tokio::select! {
            biased;
            tried = &mut answered => tried,
            // What it has left behind is still to be taken.
            _ = &mut connection => answered.await,
        }
    }

    fn request(&self, outgoing: &Outgoing) -> Result<Request<Full<Bytes>>, hyper::http::Error> {
        let url = &self.spec.url;
        let seconds = self.clock.now_millis().div_euclid(1_000);
        let kind = if self.spec.array { "application/json" } else { "application/x-ndjson" };
        let mut request = Request::post(&url.path)
            .header(header::HOST, &url.authority)
            .header(header::USER_AGENT, USER_AGENT)
            .header(header::CONTENT_TYPE, kind)
            .header("webhook-id", &outgoing.id)
            .header("idempotency-key", &outgoing.id)
            .header("webhook-timestamp", seconds);
        if let Some(key) = &self.spec.sign_with {
            let signature = signature(&key.0, &outgoing.id, seconds, &outgoing.body);
            request = request.header("webhook-signature", signature);
        }
        for (name, value) in &self.spec.headers {
            let name: &HeaderName = name;
            request = request.header(name, value.0.as_slice());
        }
        request.body(Full::new(Bytes::from(outgoing.body.clone())))
    }
}

fn tls_refused(error: &io::Error) -> String {
    let cause = error.get_ref().and_then(|cause| cause.downcast_ref::<rustls::Error>());
    match cause {
        Some(rustls::Error::InvalidCertificate(why)) => format!(
            "its certificate is not trusted ({why}); if it is signed by an authority of its own, the \
             sink's `ca` can name that one's certificate, or the server's `[network] webhook_ca` for \
             hosts of `webhook_hosts`"
        ),
        _ => format!("no TLS with it: {error}"),
    }
}

/// Trusts whom everybody trusts, and these.
fn trusting(more: &[CertificateDer<'static>]) -> Result<TlsConnector, String> {
    let mut roots = RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() };
    for root in more {
        let added = roots.add(root.clone());
        added.map_err(|error| format!("a certificate of `ca` is of no use: {error}"))?;
    }
    let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|error| format!("TLS cannot be set up: {error}"))?;
    let mut config = config.with_root_certificates(roots).with_no_client_auth();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(TlsConnector::from(Arc::new(config)))
}

fn judge(status: StatusCode, headers: &HeaderMap, body: &[u8]) -> Tried {
    if status.is_success() {
        return Tried::Delivered;
    }
    let said: String = String::from_utf8_lossy(body).chars().take(SHOWN_OF_ANSWER).collect();
    let why = format!("it answered {status}: {}", said.escape_debug());
    let is_passing = status.is_server_error()
        || [StatusCode::REQUEST_TIMEOUT, StatusCode::TOO_EARLY, StatusCode::TOO_MANY_REQUESTS]
            .contains(&status);
    if !is_passing {
        return Tried::Refused(why);
    }
    let after = headers.get(header::RETRY_AFTER).and_then(|value| value.to_str().ok());
    Tried::Again(why, after.and_then(|s| s.trim().parse().ok()).map(Duration::from_secs))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_may_pass_is_tried_again_and_what_will_not_is_refused() {
        let mut headers = HeaderMap::new();
        headers.insert(header::RETRY_AFTER, HeaderValue::from_static("7"));
        let of = |status: u16| judge(StatusCode::from_u16(status).unwrap(), &headers, b"why");
        for status in [200, 201, 204] {
            assert!(matches!(of(status), Tried::Delivered), "{status}");
        }
        for status in [408, 425, 429, 500, 502, 503] {
            let again = |tried| matches!(tried, Tried::Again(_, Some(t)) if t.as_secs() == 7);
            assert!(again(of(status)), "{status}");
        }
        for status in [301, 302, 307, 400, 401, 404, 410, 422] {
            assert!(matches!(of(status), Tried::Refused(why) if why.contains("why")), "{status}");
        }
    }
}
