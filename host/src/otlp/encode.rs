//! Spans as the bytes of an `ExportTraceServiceRequest` (opentelemetry-proto 1.x, package
//! `opentelemetry.proto.collector.trace.v1`), and what an `ExportTraceServiceResponse` says. The
//! numbers of fields are those of the published `.proto` files, which never change their meaning. A
//! golden file that OpenTelemetry's own library reads and writes holds this to them.

use crate::trace::{Span, SpanKind, Value};

/// Who tells of the spans.
const SCOPE: &str = "cofferdam";
const VERSION: &str = env!("CARGO_PKG_VERSION");
/// The ways that a field is written (the last three bits of its tag).
const VARINT: u64 = 0;
const FIXED64: u64 = 1;
const BYTES: u64 = 2;
const FIXED32: u64 = 5;
/// `Status.code` of what failed.
const ERROR: u64 = 2;
/// `Span.flags`: sampled, and whether it is known if the parent is another program's.
const SAMPLED: u32 = 1;
const KNOWS_PARENT: u32 = 1 << 8;
const PARENT_IS_REMOTE: u32 = 1 << 9;

/// A message that is being written.
#[derive(Default)]
struct Message(Vec<u8>);

impl Message {
    fn varint(&mut self, mut number: u64) {
        while number >= 0x80 {
            self.0.push(number.to_le_bytes()[0] | 0x80);
            number >>= 7;
        }
        self.0.push(number.to_le_bytes()[0]);
    }

    fn tag(&mut self, field: u64, how: u64) {
        self.varint(field << 3 | how);
    }

    /// A number, which is left out if it is 0.
    fn number(&mut self, field: u64, number: u64) {
        if number != 0 {
            self.tag(field, VARINT);
            self.varint(number);
        }
    }

    fn fixed64(&mut self, field: u64, number: u64) {
        self.tag(field, FIXED64);
        self.0.extend_from_slice(&number.to_le_bytes());
    }

    fn fixed32(&mut self, field: u64, number: u32) {
        self.tag(field, FIXED32);
        self.0.extend_from_slice(&number.to_le_bytes());
    }

    fn bytes(&mut self, field: u64, bytes: &[u8]) {
        self.tag(field, BYTES);
        self.varint(bytes.len() as u64);
        self.0.extend_from_slice(bytes);
    }

    fn message(&mut self, field: u64, write: impl FnOnce(&mut Message)) {
        let mut inner = Message::default();
        write(&mut inner);
        self.bytes(field, &inner.0);
    }

    /// `KeyValue`, whose value is an `AnyValue`.
    fn attribute(&mut self, field: u64, key: &str, value: &Value) {
        self.message(field, |pair| {
            pair.bytes(1, key.as_bytes());
            pair.message(2, |any| match value {
                Value::Text(text) => any.bytes(1, text.as_bytes()),
                // One of several: it is there even if it is 0.
                Value::Bool(whether) => {
                    any.tag(2, VARINT);
                    any.varint(u64::from(*whether));
                }
                Value::Int(number) => {
                    any.tag(3, VARINT);
                    any.varint(number.cast_unsigned());
                }
            });
        });
    }

    fn span(&mut self, field: u64, span: &Span) {
        self.message(field, |to| {
            to.bytes(1, span.context.trace.bytes());
            to.bytes(2, span.context.span.bytes());
            if let Some(state) = &span.state {
                to.bytes(3, state.as_str().as_bytes());
            }
            if let Some(parent) = &span.parent {
                to.bytes(4, parent.bytes());
            }
            to.bytes(5, span.name.as_bytes());
            to.number(6, kind(span.kind));
            to.fixed64(7, span.start);
            to.fixed64(8, span.end);
            let shared = span.shared.iter().flat_map(|shared| shared.iter());
            for (key, value) in shared.chain(&span.attributes) {
                to.attribute(9, key, value);
            }
            for link in &span.links {
                to.message(13, |to| {
                    to.bytes(1, link.context.trace.bytes());
                    to.bytes(2, link.context.span.bytes());
                    if let Some(state) = &link.state {
                        to.bytes(3, state.as_str().as_bytes());
                    }
                    to.fixed32(6, SAMPLED | KNOWS_PARENT);
                });
            }
            if let Some(why) = &span.error {
                to.message(15, |status| {
                    status.bytes(2, why.as_bytes());
                    status.number(3, ERROR);
                });
            }
            // Only a request comes from another program.
            let remote = span.kind == SpanKind::Server && span.parent.is_some();
            let from = if remote { PARENT_IS_REMOTE } else { 0 };
            to.fixed32(16, SAMPLED | KNOWS_PARENT | from);
        });
    }
}

fn kind(kind: SpanKind) -> u64 {
    match kind {
        SpanKind::Internal => 1,
        SpanKind::Server => 2,
    }
}

/// An `ExportTraceServiceRequest` of these spans, told by whom the resource names.
pub(super) fn request(resource: &[(String, String)], spans: &[Box<Span>]) -> Vec<u8> {
    let mut request = Message::default();
    request.message(1, |to| {
        to.message(1, |to| {
            for (key, value) in resource {
                to.attribute(1, key, &Value::from(value.as_str()));
            }
        });
        to.message(2, |to| {
            to.message(1, |scope| {
                scope.bytes(1, SCOPE.as_bytes());
                scope.bytes(2, VERSION.as_bytes());
            });
            for span in spans {
                to.span(2, span);
            }
        });
    });
    request.0
}

/// How many spans a collector refused of those that it took all the same, and why
/// (`ExportTracePartialSuccess`); none if the answer cannot be read.
pub(super) fn refused(answer: &[u8]) -> Option<(u64, String)> {
    let mut found = (0, String::new());
    for_each_field(answer, &mut |field, value| {
        if let (1, Field::Bytes(partial)) = (field, value) {
            for_each_field(partial, &mut |field, value| {
                match (field, value) {
                    (1, Field::Number(refused)) => found.0 = refused,
                    (2, Field::Bytes(why)) => {
                        found.1 = String::from_utf8_lossy(why).chars().take(200).collect();
                    }
                    _ => {}
                }
                Some(())
            })?;
        }
        Some(())
    })?;
    Some(found)
}

enum Field<'a> {
    Number(u64),
    Bytes(&'a [u8]),
}

/// Every field of a message that is a number or bytes; none if the message is malformed.
fn for_each_field<'a>(
    mut message: &'a [u8],
    look: &mut dyn FnMut(u64, Field<'a>) -> Option<()>,
) -> Option<()> {
    while !message.is_empty() {
        let tag = varint(&mut message)?;
        match tag & 7 {
            VARINT => {
                let number = varint(&mut message)?;
                look(tag >> 3, Field::Number(number))?;
            }
            FIXED64 => message = message.get(8..)?,
            BYTES => {
                let length = usize::try_from(varint(&mut message)?).ok()?;
                let (bytes, rest) = message.split_at_checked(length)?;
                message = rest;
                look(tag >> 3, Field::Bytes(bytes))?;
            }
            FIXED32 => message = message.get(4..)?,
            _ => return None,
        }
    }
    Some(())
}

fn varint(message: &mut &[u8]) -> Option<u64> {
    let mut number = 0_u64;
    for shift in (0..64).step_by(7) {
        let (first, rest) = message.split_first()?;
        *message = rest;
        number |= u64::from(first & 0x7f) << shift;
        if first & 0x80 == 0 {
            return Some(number);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::trace::{SpanContext, SpanRef, TraceParent, TraceState};

    /// Written by OpenTelemetry's own library: see `golden.py` beside it.
    const GOLDEN: &[u8] = include_bytes!("golden/request.bin");
    const ANSWER: &[u8] = include_bytes!("golden/response.bin");

    fn context(trace: u8, span: u8) -> SpanContext {
        let text = format!(
            "00-{}-{}-01",
            format!("{trace:02x}").repeat(16),
            format!("{span:02x}").repeat(8)
        );
        TraceParent::parse(&text).unwrap().context
    }

    #[test]
    fn it_is_byte_for_byte_what_opentelemetrys_own_library_writes() {
        let start = 1_795_000_000_000_000_000;
        let read = Span::between("read flights", context(1, 2), start, start + 5)
            .sharing(&[("cofferdam.tenant", Value::from("acme"))].into())
            .with("n", 300_u64)
            .with("none", 0_u64)
            .with("yes", true)
            .with("no", false);
        let state = TraceState::parse(["rojo=1,congo=t61"]);
        let request = Span {
            kind: SpanKind::Server,
            ..Span::between("GET /é", context(1, 3), start + 1, start + 9)
                .below(context(1, 2).span)
                .carrying(state.as_ref())
                .linked([context(4, 5).into(), SpanRef { context: context(6, 7), state }])
                .failed(Some("why"))
        };
        let less =
            Span { kind: SpanKind::Internal, links: Vec::new(), state: None, ..request.clone() };
        let resource = [("service.name", "s"), ("service.version", "1")];
        let resource = resource.map(|(key, value)| (key.to_owned(), value.to_owned()));
        let spans = [read, request, less].map(Box::new);
        let written = super::request(&resource, &spans);
        // It tells of the program's version, which changes.
        let version = |v: &str| [&[18, v.len().to_le_bytes()[0]], v.as_bytes()].concat();
        let (ours, theirs) = (version(VERSION), version("0.1.0"));
        assert_eq!(ours.len(), theirs.len(), "make the golden file anew with this version");
        let at = written.windows(ours.len()).position(|w| w == ours).unwrap();
        let written = [&written[..at], &theirs, &written[at + ours.len()..]].concat();
        assert_eq!(written, GOLDEN);
    }

    #[test]
    fn what_a_collector_refuses_is_read() {
        assert_eq!(refused(ANSWER), Some((7, "too many attributes".to_owned())));
        assert_eq!(refused(b""), Some((0, String::new())));
        assert_eq!(refused(b"<html>"), None);
        assert_eq!(refused(&ANSWER[..ANSWER.len() - 1]), None);
    }

    proptest! {
        #[test]
        fn no_answer_of_a_collector_panics(answer in prop::collection::vec(any::<u8>(), 0..64)) {
            let _ = refused(&answer);
        }

        #[test]
        fn a_number_is_read_as_it_was_written(number: u64) {
            let mut message = Message::default();
            message.varint(number);
            prop_assert_eq!(varint(&mut &*message.0), Some(number));
        }
    }
}
