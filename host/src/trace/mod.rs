//! Spans, as OpenTelemetry has them: what was done, when, in which trace, and after what. Whoever
//! does something tells a [`Tracer`]; whoever sends spans to a collector reads the other end of its
//! queue. While nobody does, a tracer is off, and nothing is made for it.
//!
//! Only what is sampled has a [`SpanContext`]. So a batch that is not costs a look at an option
//! that is empty.
//!
//! ```text
//!   source ─ sampler ─▶ a batch with a Trail ─▶ whoever gets it: a span, and a Trail on what it makes
//!                                                     │
//!                                                     ▼ Tracer::end, which never waits
//!                                     bounded queue ─▶ `otlp` ─▶ collector
//! ```
//!
//! | file | what lives there |
//! | --- | --- |
//! | [`context`] | identifiers; the header `traceparent` |
//! | [`state`] | the header `tracestate`, and a span that others name |
//! | [`span`] | a span that has ended, and its attributes |
//! | [`tracer`] | sampling, and the queue |

pub mod context;
pub mod span;
pub mod state;
pub mod tracer;

pub use context::{SpanContext, SpanId, TraceId, TraceParent};
pub use span::{Attribute, Attributes, Span, SpanKind, Trail, Value};
pub use state::{SpanRef, TraceState};
pub use tracer::{BatchSampler, Ratios, TraceCounts, Traced, Tracer};
