//! A span that has ended, and what a batch carries from one span to the next.

use std::sync::Arc;

use super::{SpanContext, SpanId, SpanRef, TraceState};
use crate::clock::Moment;

/// The longest text of an attribute, in bytes.
const LONGEST_TEXT: usize = 256;
/// How many attributes a span has of its own.
const MOST_ATTRIBUTES: usize = 24;
/// How many spans it says it comes from, beside its parent.
pub const MOST_LINKS: usize = 16;

/// What is known of a span.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// A text.
    Text(Arc<str>),
    /// A number.
    Int(i64),
    /// Whether.
    Bool(bool),
}

impl From<&str> for Value {
    fn from(text: &str) -> Self {
        let end = (0..=LONGEST_TEXT.min(text.len())).rev().find(|end| text.is_char_boundary(*end));
        Self::Text(text[..end.unwrap_or(0)].into())
    }
}

impl From<u64> for Value {
    fn from(number: u64) -> Self {
        Self::Int(i64::try_from(number).unwrap_or(i64::MAX))
    }
}

impl From<usize> for Value {
    fn from(number: usize) -> Self {
        Self::from(number as u64)
    }
}

impl From<bool> for Value {
    fn from(whether: bool) -> Self {
        Self::Bool(whether)
    }
}

/// Something that is known of a span, and what that is.
pub type Attribute = (&'static str, Value);
/// Those that many spans have.
pub type Attributes = Arc<[Attribute]>;

/// How a span stands to others (OpenTelemetry's word for it).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum SpanKind {
    /// Something that the host does.
    #[default]
    Internal,
    /// Answering a request.
    Server,
}

/// Something that was done.
#[derive(Debug, Clone, PartialEq)]
pub struct Span {
    /// What it is called by.
    pub context: SpanContext,
    /// What it was done for, in the same trace.
    pub parent: Option<SpanId>,
    /// What travels with the trace.
    pub state: Option<TraceState>,
    /// What it is, in a few words: `process flights`.
    pub name: String,
    /// How it stands to others.
    pub kind: SpanKind,
    /// When it began, in nanoseconds since 1970.
    pub start: u64,
    /// When it ended.
    pub end: u64,
    /// What it shares with others.
    pub shared: Option<Attributes>,
    /// What is known of it alone.
    pub attributes: Vec<Attribute>,
    /// Other spans that it comes from.
    pub links: Vec<SpanRef>,
    /// Why it did not go well.
    pub error: Option<String>,
}

impl Span {
    /// One that began then, and ends now.
    #[must_use]
    pub fn new(name: impl Into<String>, context: SpanContext, began: Moment) -> Self {
        Self::between(name, context, began.nanos(), began.until_now())
    }

    /// One that was between two moments, in nanoseconds since 1970.
    #[must_use]
    pub fn between(name: impl Into<String>, context: SpanContext, start: u64, end: u64) -> Self {
        Self {
            context,
            parent: None,
            state: None,
            name: name.into(),
            kind: SpanKind::Internal,
            start,
            end: end.max(start),
            shared: None,
            attributes: Vec::new(),
            links: Vec::new(),
            error: None,
        }
    }

    /// Done for another one of its trace.
    #[must_use]
    pub fn below(self, parent: SpanId) -> Self {
        Self { parent: Some(parent), ..self }
    }

    /// Of a trace with which something travels.
    #[must_use]
    pub fn carrying(self, state: Option<&TraceState>) -> Self {
        Self { state: state.cloned(), ..self }
    }

    /// With what it shares with others.
    #[must_use]
    pub fn sharing(self, shared: &Attributes) -> Self {
        Self { shared: Some(shared.clone()), ..self }
    }

    /// With something that is known of it. There is a limit to how much is.
    #[must_use]
    pub fn with(mut self, key: &'static str, value: impl Into<Value>) -> Self {
        if self.attributes.len() < MOST_ATTRIBUTES {
            self.attributes.push((key, value.into()));
        }
        self
    }

    /// Did not go well, if there is a reason.
    #[must_use]
    pub fn failed(self, why: Option<&str>) -> Self {
        let error = why.map(|why| match Value::from(why) {
            Value::Text(text) => text.to_string(),
            Value::Int(_) | Value::Bool(_) => String::new(),
        });
        Self { error, ..self }
    }

    /// Comes from these too: from [`MOST_LINKS`] of them.
    #[must_use]
    pub fn linked(mut self, to: impl IntoIterator<Item: Into<SpanRef>>) -> Self {
        self.links.extend(to.into_iter().map(Into::into));
        self.links.truncate(MOST_LINKS);
        self
    }
}

/// What a sampled batch carries: the span that made it, and since when it is on its way.
#[derive(Debug, Clone)]
pub struct Trail {
    /// The span that made it.
    pub context: SpanContext,
    /// Since when it is on its way.
    pub since: Moment,
}

impl Trail {
    /// On its way from now on.
    #[must_use]
    pub fn of(context: SpanContext) -> Self {
        Self { context, since: Moment::now() }
    }
}

impl PartialEq for Trail {
    fn eq(&self, other: &Self) -> bool {
        self.context == other.context
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_attributes_and_links_are_bounded() {
        let long = "é".repeat(LONGEST_TEXT);
        let Value::Text(text) = Value::from(&*long) else { panic!("a text") };
        assert_eq!((text.len(), text.chars().all(|c| c == 'é')), (LONGEST_TEXT, true));
        let odd = format!("x{long}");
        assert_eq!(Value::from(&*odd), Value::from(&odd[..LONGEST_TEXT - 1]));
        assert_eq!(Value::from(u64::MAX), Value::Int(i64::MAX));
        let mut span = Span::new("s", SpanContext::root(), Moment::now()).failed(Some(&long));
        for n in 0..100_usize {
            span = span.with("n", n).linked([SpanContext::root()]);
        }
        assert_eq!((span.attributes.len(), span.links.len()), (MOST_ATTRIBUTES, MOST_LINKS));
        assert_eq!(span.error.map(|why| why.len()), Some(LONGEST_TEXT));
        assert_eq!(Span::between("s", SpanContext::root(), 5, 3).end, 5);
    }
}
