//! What travels beside a trace in the header `tracestate` (W3C Trace Context): what tracing systems
//! that the caller uses want to know of it. It is nothing to us, and goes on as it came, within
//! bounds.

use std::{collections::BTreeSet, fmt, sync::Arc};

use super::SpanContext;

/// The header, of which there may be several: they are as one.
pub const TRACESTATE: &str = "tracestate";
/// How many entries there may be; the standard's number.
const MOST_ENTRIES: usize = 32;
/// How much of it goes on, in bytes: what the standard asks for at least.
const LONGEST: usize = 512;
/// Entries that are longer than this go first where it is too much, as the standard says.
const LONG_ENTRY: usize = 128;
/// The longest key and value of an entry, in bytes.
const LONGEST_PART: usize = 256;

/// What the headers `tracestate` say, checked: entries `key=value`, with commas between them.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct TraceState(Arc<str>);

impl TraceState {
    /// Reads the headers' values, in their order. None if they have no entry, or are malformed:
    /// then they are as if they were not there, as the standard says.
    pub fn parse<'a>(headers: impl IntoIterator<Item = &'a str>) -> Option<Self> {
        let mut entries = Vec::new();
        let texts = headers.into_iter().flat_map(|header| header.split(','));
        for entry in texts.map(|text| text.trim_matches([' ', '\t'])).filter(|e| !e.is_empty()) {
            let (key, value) = entry.split_once('=')?;
            let fits = is_key(key) && is_value(value) && entries.len() < MOST_ENTRIES;
            if !fits {
                return None;
            }
            entries.push(entry);
        }
        let keys: BTreeSet<_> = entries.iter().filter_map(|e| e.split('=').next()).collect();
        if keys.len() < entries.len() {
            return None;
        }
        shorten(&mut entries);
        (!entries.is_empty()).then(|| Self(entries.join(",").into()))
    }

    /// As it is written.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for TraceState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Takes whole entries away until the rest fits: long ones first, and then the oldest, which stand
/// last.
fn shorten(entries: &mut Vec<&str>) {
    let length = |entries: &[&str]| entries.iter().map(|entry| entry.len() + 1).sum::<usize>();
    while length(entries) > LONGEST + 1 {
        let long = entries.iter().rposition(|entry| entry.len() > LONG_ENTRY);
        entries.remove(long.unwrap_or(entries.len() - 1));
    }
}

fn is_key(key: &str) -> bool {
    let first = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let rest = |byte: u8| first(byte) || b"_-*/@".contains(&byte);
    let bytes = key.as_bytes();
    let ends_well = |part: &str| part.as_bytes().first().is_some_and(|byte| first(*byte));
    // `tenant@system`, or a name alone.
    let parts = key.split('@');
    (1..=LONGEST_PART).contains(&bytes.len())
        && bytes.iter().all(|byte| rest(*byte))
        && parts.clone().count() <= 2
        && parts.into_iter().all(ends_well)
}

fn is_value(value: &str) -> bool {
    let fits = |byte: u8| (0x20..=0x7e).contains(&byte) && byte != b',' && byte != b'=';
    (1..=LONGEST_PART).contains(&value.len()) && value.bytes().all(fits)
}

/// A span that another one names: one of its trace that asked for it, or one that it comes from.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct SpanRef {
    /// Which.
    pub context: SpanContext,
    /// What travels with its trace.
    pub state: Option<TraceState>,
}

impl From<SpanContext> for SpanRef {
    fn from(context: SpanContext) -> Self {
        Self { context, state: None }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn parse(header: &str) -> Option<String> {
        TraceState::parse([header]).map(|state| state.to_string())
    }

    #[test]
    fn entries_go_on_as_they_came_and_several_headers_are_as_one() {
        let rojo = "rojo=00f067aa0ba902b7,congo=t61rcWkgMzE";
        assert_eq!(parse(rojo).as_deref(), Some(rojo));
        assert_eq!(parse(" rojo=1 ,\t, congo=a b!").as_deref(), Some("rojo=1,congo=a b!"));
        let both = TraceState::parse(["rojo=1", "fw529a3039@dt=FfuxDQ,0x/*_-=z"]);
        assert_eq!(both.unwrap().as_str(), "rojo=1,fw529a3039@dt=FfuxDQ,0x/*_-=z");
        assert_eq!((parse(""), parse(" , ,"), TraceState::parse([])), (None, None, None));
    }

    #[test]
    fn what_is_malformed_is_as_if_it_were_not_there() {
        let many = (0..=MOST_ENTRIES).map(|n| format!("k{n}=v")).collect::<Vec<_>>().join(",");
        let (key, value) = ("k".repeat(LONGEST_PART + 1), "v".repeat(LONGEST_PART + 1));
        for bad in [
            "rojo",
            "rojo=",
            "=1",
            "Rojo=1",
            "_a=1",
            "a@b@c=1",
            "a@=1",
            "@a=1",
            "a b=1",
            "rojo=1=2",
            "rojo=\u{7f}",
            "rojo=é",
            "rojo=1,rojo=2",
            "rojo=1,congo",
            &many,
            &format!("{key}=v"),
            &format!("k={value}"),
        ] {
            assert_eq!(parse(bad), None, "{bad}");
        }
        assert!(parse(many.rsplit_once(',').unwrap().0).is_some());
    }

    #[test]
    fn where_it_is_too_long_long_entries_go_first_and_then_the_last_ones() {
        let entry = |key: char, length: usize| format!("{key}={}", "v".repeat(length - 2));
        let (a, b) = (entry('a', 200), entry('b', 200));
        let short: Vec<_> = ('c'..='i').map(|key| entry(key, 60)).collect();
        let all = [&[a.clone(), b][..], &short].concat().join(",");
        assert_eq!(parse(&all), Some(short.join(",")));
        let many: Vec<_> = ('c'..='m').map(|key| entry(key, 60)).collect();
        assert_eq!(parse(&many.join(",")), Some(many[..8].join(",")));
        let exact = [entry('a', 255), entry('b', 256)].join(",");
        assert_eq!((exact.len(), parse(&exact)), (LONGEST, Some(exact)));
    }

    proptest! {
        #[test]
        fn what_goes_on_is_bounded_and_reads_as_itself(header in "[a-c0@=, v!é]{0,700}") {
            if let Some(state) = TraceState::parse([&*header]) {
                prop_assert!(state.as_str().len() <= LONGEST);
                prop_assert_eq!(TraceState::parse([state.as_str()]), Some(state));
            }
        }
    }
}
