//! The span of a request: sampled as whoever sent it says in `traceparent` (W3C Trace Context), or by
//! chance; what `tracestate` says goes with it. Names are those of OpenTelemetry's semantic conventions for HTTP servers.

use axum::{
    extract::{MatchedPath, Request},
    http::{Method, StatusCode, header},
};

use crate::{
    clock::{Moment, Stopwatch},
    ids::TenantId,
    trace::{
        Span, SpanKind, SpanRef, TraceParent, TraceState, Traced, Tracer, context::TRACEPARENT,
        state::TRACESTATE,
    },
};

/// A request that is traced and not answered yet.
pub(super) struct Asked {
    traced: Traced,
    began: Moment,
    method: Method,
    path: String,
    /// As the route has it, without what varies.
    route: Option<String>,
    agent: Option<String>,
}

impl Asked {
    /// None if it is not traced.
    pub(super) fn begin(tracer: &Tracer, request: &Request, watch: Stopwatch) -> Option<Self> {
        if !tracer.is_on() {
            return None;
        }
        let headers = request.headers();
        let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
        // More than one would be from more than one caller: then it is from nobody.
        let alone = headers.get_all(TRACEPARENT).iter().count() == 1;
        let parent = text(TRACEPARENT).filter(|_| alone).and_then(TraceParent::parse);
        // One that is no text is as malformed as any other.
        let state = || {
            let values = headers.get_all(TRACESTATE).iter();
            let texts: Result<Vec<&str>, _> = values.map(|value| value.to_str()).collect();
            TraceState::parse(texts.ok()?)
        };
        let traced = tracer.request(parent, state)?;
        let route = request.extensions().get::<MatchedPath>();
        Some(Self {
            traced,
            began: Moment::of(watch),
            method: request.method().clone(),
            path: request.uri().path().to_owned(),
            route: route.map(|path| path.as_str().to_owned()),
            agent: text(header::USER_AGENT.as_str()).map(str::to_owned),
        })
    }

    /// Its span.
    pub(super) fn span(&self) -> &SpanRef {
        &self.traced.span
    }

    /// It was answered. Whoever was not let in has no say in what is traced.
    pub(super) fn answered(
        self,
        tracer: &Tracer,
        status: StatusCode,
        tenant: Option<&TenantId>,
        id: &str,
    ) {
        let let_in = ![StatusCode::UNAUTHORIZED, StatusCode::TOO_MANY_REQUESTS].contains(&status);
        if !let_in && self.traced.parent.is_some() {
            return;
        }
        let name = match &self.route {
            Some(route) => format!("{} {route}", self.method),
            None => self.method.to_string(),
        };
        let span = Span::new(name, self.traced.span.context, self.began)
            .carrying(self.traced.span.state.as_ref())
            .with("http.request.method", self.method.as_str())
            .with("url.path", &*self.path)
            .with("http.response.status_code", u64::from(status.as_u16()))
            .with("cofferdam.request.id", id);
        let texts = [
            ("http.route", self.route.as_deref()),
            ("user_agent.original", self.agent.as_deref()),
            ("cofferdam.tenant", tenant.map(TenantId::as_str)),
        ];
        let given = texts.into_iter().filter_map(|(key, text)| Some((key, text?)));
        let span = given.fold(span, |span, (key, text)| span.with(key, text));
        let failed = status.is_server_error().then(|| status.to_string());
        let span = span.failed(failed.as_deref());
        tracer.end(Span { parent: self.traced.parent, kind: SpanKind::Server, ..span });
    }
}
