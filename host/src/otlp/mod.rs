//! Sends spans to a collector, as OTLP over HTTP with protobuf (OpenTelemetry Protocol 1.x,
//! `POST /v1/traces`). Everything is bounded: what waits, how long a try takes, for how long it is
//! tried. Nobody ever waits for it: spans that cannot be sent are counted, and that is logged now
//! and then.
//!
//! | file | what lives there |
//! | --- | --- |
//! | here | from the queue to the collector |
//! | `encode` | spans as the bytes of OTLP, and what a collector answers |
//!
//! It is a room of its own since nobody else needs to know who gets the spans. Why it does not use
//! OpenTelemetry's own libraries stands in `docs/decisions/`.

mod encode;

use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
use hyper::{
    Method, Request, StatusCode,
    header::{self, HeaderValue},
};
use tokio::{
    sync::{mpsc, watch},
    task::JoinHandle,
    time::{Instant, sleep, timeout, timeout_at},
};
use tokio_rustls::TlsConnector;

use crate::{
    client::{
        address::Address,
        exchange::{Exchanged, Failed, connector, exchange},
    },
    clock::Stopwatch,
    config::{traces::TracesSpec, webhook::Target},
    trace::{Span, TraceCounts, Tracer},
};

/// How many spans go together.
const TOGETHER: usize = 512;
/// For how many times a request's time the same spans are tried; by then others wait.
const TRIED_FOR: u32 = 3;
/// The first wait before another try, and the longest.
const FIRST_BACKOFF: Duration = Duration::from_secs(1);
const LAST_BACKOFF: Duration = Duration::from_secs(10);
/// How long it may take to send what is left when the process ends.
const LAST_WORDS: Duration = Duration::from_secs(5);
/// How often it is logged that spans are lost.
const SAID_EVERY: Duration = Duration::from_secs(60);
const USER_AGENT: HeaderValue =
    HeaderValue::from_static(concat!("cofferdam/", env!("CARGO_PKG_VERSION")));
const PROTOBUF: HeaderValue = HeaderValue::from_static("application/x-protobuf");

/// Sends spans to one collector.
pub struct Exporter {
    tracer: Tracer,
    spans: mpsc::Receiver<Box<Span>>,
    at: Target,
    address: Address,
    tls: Option<TlsConnector>,
    spec: TracesSpec,
    resource: Vec<(String, String)>,
    /// Since it was last said that spans are lost, and what had become of them then.
    said: Option<(Stopwatch, TraceCounts)>,
}

/// An exporter that runs.
#[derive(Debug)]
pub struct Exporting {
    end: watch::Sender<bool>,
    task: JoinHandle<()>,
}

/// What came of one try.
enum Tried {
    Taken { refused: u64, why: String },
    Refused(String),
    Again(String, Option<Duration>),
}

impl Exporter {
    /// As it is configured; none if nothing is to be traced. Reads the file of certificates, if
    /// there is one.
    ///
    /// # Errors
    /// If TLS cannot be set up, in words.
    pub fn open(spec: &TracesSpec) -> Result<Option<(Tracer, Self)>, String> {
        let Some(at) = spec.endpoint.clone() else { return Ok(None) };
        let tls = at.tls.then(|| connector(spec.ca.as_deref())).transpose();
        let tls = tls.map_err(|error| format!("`[traces]` cannot be used: {error}"))?;
        let (tracer, spans) = Tracer::channel(spec.ratios, spec.max_queue);
        let path = String::new();
        let address = Address { tls: at.tls, host: at.host.clone(), port: at.port, path };
        let mut resource = spec.resource.clone();
        resource.insert("service.name".to_owned(), spec.service_name.clone());
        let ours = [
            ("service.version", env!("CARGO_PKG_VERSION").to_owned()),
            ("service.instance.id", format!("{:032x}", rand::random::<u128>())),
            ("process.pid", std::process::id().to_string()),
        ];
        for (key, value) in ours {
            resource.entry(key.to_owned()).or_insert(value);
        }
        let resource = resource.into_iter().collect();
        let (spec, said) = (spec.clone(), None);
        let sent_to = tracer.clone();
        Ok(Some((sent_to, Self { tracer, spans, at, address, tls, spec, resource, said })))
    }

    /// The collector's name or address, and its port.
    #[must_use]
    pub fn host(&self) -> (&str, u16) {
        (&self.at.host, self.at.port)
    }

    /// Sends spans from now on, on the runtime that this is called on.
    #[must_use]
    pub fn start(self) -> Exporting {
        let (end, ending) = watch::channel(false);
        Exporting { end, task: tokio::spawn(self.run(ending)) }
    }

    async fn run(mut self, mut ending: watch::Receiver<bool>) {
        loop {
            let spans = self.next(&mut ending).await;
            let last = *ending.borrow();
            if spans.is_empty() {
                return;
            }
            self.deliver(&spans, last, &mut ending).await;
        }
    }

    /// Waits for a span, and a while for others to go with it; at the end there may be none.
    async fn next(&mut self, ending: &mut watch::Receiver<bool>) -> Vec<Box<Span>> {
        let mut spans = Vec::new();
        tokio::select! {
            _ = self.spans.recv_many(&mut spans, TOGETHER) => {}
            () = ended(ending) => {}
        }
        let until = Instant::now() + self.spec.schedule_delay;
        while spans.len() < TOGETHER && !*ending.borrow() {
            let room = TOGETHER - spans.len();
            let more = async {
                tokio::select! {
                    more = self.spans.recv_many(&mut spans, room) => more,
                    () = ended(ending) => 0,
                }
            };
            if timeout_at(until, more).await.unwrap_or(0) == 0 {
                break;
            }
        }
        while spans.len() < TOGETHER
            && let Ok(span) = self.spans.try_recv()
        {
            spans.push(span);
        }
        spans
    }

    /// Tries until the collector has answered, or it has taken too long.
    async fn deliver(
        &mut self,
        spans: &[Box<Span>],
        last: bool,
        ending: &mut watch::Receiver<bool>,
    ) {
        let body = Bytes::from(encode::request(&self.resource, spans));
        let all = spans.len() as u64;
        let (since, mut backoff) = (Stopwatch::start(), FIRST_BACKOFF);
        loop {
            let tried = timeout(self.spec.timeout, self.attempt(body.clone())).await;
            let slow = || Tried::Again(format!("it took more than {:?}", self.spec.timeout), None);
            let (why, asked) = match tried.unwrap_or_else(|_| slow()) {
                Tried::Taken { refused, why } => {
                    let refused = refused.min(all);
                    let exported = all - refused;
                    self.tracer.count(TraceCounts { exported, refused, ..TraceCounts::default() });
                    return self.say(&match refused {
                        0 => "there were more than can be sent; lower the ratios".to_owned(),
                        _ => format!("the collector refuses some: {why}"),
                    });
                }
                Tried::Refused(why) => {
                    self.tracer.count(TraceCounts { refused: all, ..TraceCounts::default() });
                    return self.say(&why);
                }
                Tried::Again(why, asked) => (why, asked),
            };
            let wait = backoff.mul_f64(rand::random_range(0.5..1.0));
            let wait = asked.map_or(wait, |asked| asked.max(wait));
            if last || *ending.borrow() || since.elapsed() + wait > self.spec.timeout * TRIED_FOR {
                self.tracer.count(TraceCounts { lost: all, ..TraceCounts::default() });
                return self.say(&why);
            }
            self.say(&why);
            tokio::select! {
                () = sleep(wait) => {}
                () = ended(ending) => {}
            }
            backoff = (backoff * 2).min(LAST_BACKOFF);
        }
    }

    /// Says now and then what has become of spans, if that is not what was hoped for.
    fn say(&mut self, why: &str) {
        let counts = self.tracer.counts().unwrap_or_default();
        let before = self.said.map(|(_, counts)| counts).unwrap_or_default();
        let bad = |c: &TraceCounts| c.dropped + c.lost + c.refused;
        let more = bad(&counts) - bad(&before).min(bad(&counts));
        let early = self.said.is_some_and(|(since, _)| since.elapsed() < SAID_EVERY);
        if more == 0 || early {
            return;
        }
        tracing::warn!(
            "{more} spans did not reach the collector at {} ({} for want of room in the queue); the \
             last reason: {why}",
            self.at,
            counts.dropped - before.dropped.min(counts.dropped)
        );
        self.said = Some((Stopwatch::start(), counts));
    }

    async fn attempt(&self, body: Bytes) -> Tried {
        let mut request = Request::new(Full::new(body));
        *request.method_mut() = Method::POST;
        let Ok(path) = self.at.path.parse() else {
            return Tried::Refused(format!("`{}` is no path", self.at.path));
        };
        *request.uri_mut() = path;
        let headers = request.headers_mut();
        for (name, value) in &self.spec.headers {
            if let Ok(value) = HeaderValue::from_bytes(&value.0) {
                headers.insert(name, value);
            }
        }
        if let Ok(host) = HeaderValue::from_str(&self.at.authority) {
            headers.insert(header::HOST, host);
        }
        headers.entry(header::USER_AGENT).or_insert(USER_AGENT);
        headers.insert(header::CONTENT_TYPE, PROTOBUF);
        let patience = self.spec.timeout;
        match exchange(&self.address, self.tls.as_ref(), request, patience).await {
            Ok(answer) => judge(&answer),
            Err(Failed::Never(error) | Failed::NotSent(error) | Failed::Lost(error)) => {
                Tried::Again(error.to_string(), None)
            }
        }
    }
}

/// Waits until it is to end.
async fn ended(ending: &mut watch::Receiver<bool>) {
    // Whoever could say so may be gone: then it goes on as long as the process.
    if ending.wait_for(|ending| *ending).await.is_err() {
        std::future::pending::<()>().await;
    }
}

/// As the protocol has it: what may pass is tried again, and nothing else.
fn judge(answer: &Exchanged) -> Tried {
    let status = answer.status;
    if status.is_success() {
        let (refused, why) = encode::refused(&answer.body).unwrap_or_default();
        return Tried::Taken { refused, why };
    }
    let why = format!("it answered {status}");
    let passing = [
        StatusCode::TOO_MANY_REQUESTS,
        StatusCode::BAD_GATEWAY,
        StatusCode::SERVICE_UNAVAILABLE,
        StatusCode::GATEWAY_TIMEOUT,
    ];
    if !passing.contains(&status) {
        return Tried::Refused(why);
    }
    let after = answer.headers.get(header::RETRY_AFTER).and_then(|value| value.to_str().ok());
    Tried::Again(why, after.and_then(|s| s.trim().parse().ok()).map(Duration::from_secs))
}

impl Exporting {
    /// Sends what is left, if that does not take long, and ends.
    pub async fn finish(self) {
        self.end.send_replace(true);
        let mut task = self.task;
        if timeout(LAST_WORDS, &mut task).await.is_err() {
            task.abort();
        }
    }
}

#[cfg(test)]
mod tests {
    use hyper::HeaderMap;

    use super::*;

    #[test]
    fn what_may_pass_is_tried_again_and_what_will_not_is_given_up() {
        let of = |status: u16| {
            let mut headers = HeaderMap::new();
            headers.insert(header::RETRY_AFTER, HeaderValue::from_static("7"));
            let status = StatusCode::from_u16(status).unwrap();
            judge(&Exchanged { status, headers, body: Bytes::new() })
        };
        assert!(matches!(of(200), Tried::Taken { refused: 0, .. }));
        for status in [429, 502, 503, 504] {
            let again = |tried| matches!(tried, Tried::Again(_, Some(t)) if t.as_secs() == 7);
            assert!(again(of(status)), "{status}");
        }
        for status in [400, 401, 404, 413, 500] {
            assert!(matches!(of(status), Tried::Refused(_)), "{status}");
        }
    }
}
