//! Server-sent events: an answer that goes on. What is sent is made by a task of its own, a few
//! events ahead of who reads; it ends when they go away.

use std::{
    convert::Infallible,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use axum::{
    body::Body,
    http::{HeaderValue, header},
    response::{IntoResponse as _, Response},
};
use bytes::Bytes;
use hyper::body::Frame;
use serde::Serialize;
use tokio::sync::mpsc;

/// How many events may wait for who reads them.
const AHEAD: usize = 16;
/// After so long without an event something is sent, so that nobody takes the connection for dead.
pub(super) const SILENCE: Duration = Duration::from_secs(15);
/// After so long it ends. Who wants more asks again, with a token that is looked at again.
pub(super) const LONGEST: Duration = Duration::from_secs(3_600);

/// Where events are sent to.
pub(super) struct Events(mpsc::Sender<Bytes>);

/// Nobody reads any more.
pub(super) struct Gone;

impl Events {
    /// An event with its name, and its number if there is one.
    pub(super) async fn send(
        &self,
        name: &str,
        id: Option<u64>,
        data: &impl Serialize,
    ) -> Result<(), Gone> {
        let data = serde_json::to_string(data).unwrap_or_default();
        let id = id.map_or_else(String::new, |id| format!("id: {id}\n"));
        self.put(format!("event: {name}\n{id}data: {data}\n\n")).await
    }

    /// What says nothing.
    pub(super) async fn keep_alive(&self) -> Result<(), Gone> {
        self.put(":\n\n".to_owned()).await
    }

    /// The last one.
    pub(super) async fn end(&self) -> Result<(), Gone> {
        self.put("event: end\ndata: {}\n\n".to_owned()).await
    }

    /// Returns when nobody reads any more.
    pub(super) async fn gone(&self) {
        self.0.closed().await;
    }

    async fn put(&self, text: String) -> Result<(), Gone> {
        self.0.send(Bytes::from(text)).await.map_err(|_| Gone)
    }
}

/// An answer whose events are sent by some work.
pub(super) fn answer<W>(work: impl FnOnce(Events) -> W) -> Response
where
    W: Future<Output = ()> + Send + 'static,
{
    let (to, from) = mpsc::channel(AHEAD);
    let work = work(Events(to));
    tokio::spawn(async move {
        let _ = tokio::time::timeout(LONGEST, work).await;
    });
    let kind = HeaderValue::from_static("text/event-stream");
    let fresh = HeaderValue::from_static("no-store");
    let headers = [(header::CONTENT_TYPE, kind), (header::CACHE_CONTROL, fresh)];
    (headers, Body::new(Sent(from))).into_response()
}

struct Sent(mpsc::Receiver<Bytes>);

impl hyper::body::Body for Sent {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        self.0.poll_recv(context).map(|event| event.map(|event| Ok(Frame::data(event))))
    }
}
