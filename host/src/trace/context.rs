//! What a span is called by, and how that travels in the header `traceparent` (W3C Trace Context).

use std::fmt;

use crate::ids::Hex;

/// The header that brings a trace, and the span that a request comes from.
pub const TRACEPARENT: &str = "traceparent";

/// Of a trace: 16 bytes, which are not all zero.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct TraceId([u8; 16]);

/// Of a span: 8 bytes, which are not all zero.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct SpanId([u8; 8]);

impl TraceId {
    /// Its bytes.
    #[must_use]
    pub fn bytes(&self) -> &[u8; 16] {
        &self.0
    }

    fn random() -> Self {
        Self(rand::random::<u128>().max(1).to_be_bytes())
    }
}

impl SpanId {
    /// Its bytes.
    #[must_use]
    pub fn bytes(&self) -> &[u8; 8] {
        &self.0
    }

    fn random() -> Self {
        Self(rand::random::<u64>().max(1).to_be_bytes())
    }
}

impl fmt::Display for TraceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Hex(&self.0).fmt(f)
    }
}

impl fmt::Display for SpanId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Hex(&self.0).fmt(f)
    }
}

/// A span that is sampled, of a trace.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct SpanContext {
    /// The trace.
    pub trace: TraceId,
    /// The span.
    pub span: SpanId,
}

impl SpanContext {
    /// The first span of a new trace.
    #[must_use]
    pub fn root() -> Self {
        Self { trace: TraceId::random(), span: SpanId::random() }
    }

    /// Another span of the same trace.
    #[must_use]
    pub fn child(self) -> Self {
        Self { span: SpanId::random(), ..self }
    }
}

/// What the header `traceparent` says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TraceParent {
    /// The span that the request comes from.
    pub context: SpanContext,
    /// Whether that one is recorded.
    pub sampled: bool,
}

impl TraceParent {
    /// Reads the header's value; none if it is not one. What versions after 00 add is not looked
    /// at, as they demand.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let text = text.as_bytes();
        let version = hex::<1>(text.get(..2)?)?[0];
        let longer = match text.get(55) {
            None => false,
            Some(b'-') => true,
            Some(_) => return None,
        };
        let dashes = [2, 35, 52].iter().all(|at| text.get(*at) == Some(&b'-'));
        if version == 0xff || (version == 0 && longer) || !dashes {
            return None;
        }
        let trace = hex(text.get(3..35)?)?;
        let span = hex(text.get(36..52)?)?;
        let flags = hex::<1>(text.get(53..55)?)?[0];
        if trace == [0; 16] || span == [0; 8] {
            return None;
        }
        let context = SpanContext { trace: TraceId(trace), span: SpanId(span) };
        Some(Self { context, sampled: flags & 1 == 1 })
    }
}

impl fmt::Display for TraceParent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let flags = u8::from(self.sampled);
        write!(f, "00-{}-{}-{flags:02x}", self.context.trace, self.context.span)
    }
}

/// Digits in lower case, two a byte.
fn hex<const N: usize>(digits: &[u8]) -> Option<[u8; N]> {
    let digit = |c: u8| match c {
        b'0'..=b'9' => Some(c - b'0'),
        b'a'..=b'f' => Some(c - b'a' + 10),
        _ => None,
    };
    let mut bytes = [0; N];
    if digits.len() != 2 * N {
        return None;
    }
    for (byte, pair) in bytes.iter_mut().zip(digits.chunks(2)) {
        *byte = digit(pair[0])? << 4 | digit(pair[1])?;
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const GOOD: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

    #[test]
    fn the_example_of_the_standard_is_read() {
        let parent = TraceParent::parse(GOOD).unwrap();
        assert_eq!(parent.context.trace.to_string(), "4bf92f3577b34da6a3ce929d0e0e4736");
        assert_eq!(parent.context.span.to_string(), "00f067aa0ba902b7");
        assert!(parent.sampled);
        assert!(!TraceParent::parse(&GOOD.replace("-01", "-02")).unwrap().sampled);
        assert!(TraceParent::parse(&GOOD.replace("-01", "-03")).unwrap().sampled);
        // A later version may say more behind it.
        let later = GOOD.replacen("00", "cc", 1);
        assert_eq!(TraceParent::parse(&format!("{later}-what-else")), Some(parent));
        assert_eq!(TraceParent::parse(&later), Some(parent));
    }

    #[test]
    fn what_is_malformed_is_as_if_it_were_not_there() {
        let zeros = GOOD.replace("4bf92f3577b34da6a3ce929d0e0e4736", &"0".repeat(32));
        let no_span = GOOD.replace("00f067aa0ba902b7", &"0".repeat(16));
        for bad in [
            "",
            "00",
            &zeros,
            &no_span,
            &GOOD.to_uppercase(),
            &GOOD.replacen("00", "ff", 1),
            &format!("{GOOD}-more"),
            &format!("{GOOD}x"),
            &GOOD[..54],
            &GOOD.replace("-01", "_01"),
            "é0-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
        ] {
            assert_eq!(TraceParent::parse(bad), None, "{bad}");
        }
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_and_anything_else_never_panics(
            trace in 1_u128.., span in 1_u64.., sampled: bool, noise in ".{0,80}",
            at in 0_usize..55, with in any::<char>(),
        ) {
            let (trace, span) = (TraceId(trace.to_be_bytes()), SpanId(span.to_be_bytes()));
            let parent = TraceParent { context: SpanContext { trace, span }, sampled };
            let text = parent.to_string();
            prop_assert_eq!(text.len(), 55);
            prop_assert_eq!(TraceParent::parse(&text), Some(parent));
            prop_assert!(TraceParent::parse(&noise).is_none() || noise.len() >= 55);
            // One character is another: it is refused, or says what stands there.
            let mut changed = text.clone();
            changed.replace_range(at..=at, with.encode_utf8(&mut [0; 4]));
            if let Some(read) = TraceParent::parse(&changed) {
                let same = format!("{}-{}", read.context.trace, read.context.span);
                prop_assert_eq!(Some(&*same), changed.get(3..52));
            }
        }
    }
}
