//! The scanner: RFC 8259, the same texts as `serde_json` takes (nesting below
//! 128 included), with the values left where they stand.

use std::borrow::Cow;

use super::Raw;
use crate::Error;

/// Deeper nesting is refused, as `serde_json` does.
const DEEPEST: u32 = 127;

struct Scanner<'a> {
    text: &'a str,
    bytes: &'a [u8],
    at: usize,
}

/// What is wrong at the scanner's position.
type Wrong = &'static str;

pub(super) fn object<'a>(
    value: &'a [u8],
    visit: impl FnMut(Cow<'a, str>, Raw<'a>),
) -> Result<(), Error> {
    let text = std::str::from_utf8(value)
        .map_err(|e| Error::new(format!("not JSON: not UTF-8 from byte {}", e.valid_up_to())))?;
    let mut scanner = Scanner { text, bytes: value, at: 0 };
    scanner.whole(visit).map_err(|wrong| {
        Error::new(format!("not a JSON object: {wrong} at byte {} of {}", scanner.at, value.len()))
    })
}

impl<'a> Scanner<'a> {
    #[inline]
    fn whole(&mut self, visit: impl FnMut(Cow<'a, str>, Raw<'a>)) -> Result<(), Wrong> {
        self.space();
        if self.peek() != Some(b'{') {
            return Err("expected `{`");
        }
        self.members(1, visit)?;
        self.space();
        if self.at < self.bytes.len() { Err("something after the object") } else { Ok(()) }
    }

    #[inline]
    fn peek(&self) -> Option<u8> {
        self.bytes.get(self.at).copied()
    }

    #[inline]
    fn space(&mut self) {
        while let Some(b' ' | b'\t' | b'\n' | b'\r') = self.peek() {
            self.at += 1;
        }
    }

    /// An object, from its `{` on.
    #[inline]
    fn members(
        &mut self,
        depth: u32,
        mut visit: impl FnMut(Cow<'a, str>, Raw<'a>),
    ) -> Result<(), Wrong> {
        self.at += 1;
        self.space();
        if self.peek() == Some(b'}') {
            self.at += 1;
            return Ok(());
        }
        loop {
            if self.peek() != Some(b'"') {
                return Err("expected a field's name");
            }
            let name = self.value_at(depth)?;
            self.space();
            if self.peek() != Some(b':') {
                return Err("expected `:`");
            }
            self.at += 1;
            self.space();
            let value = self.value_at(depth)?;
            visit(name.string().unwrap_or_default(), value);
            self.space();
            match self.peek() {
                Some(b',') => self.at += 1,
                Some(b'}') => {
                    self.at += 1;
                    return Ok(());
                }
                _ => return Err("expected `,` or `}`"),
            }
            self.space();
        }
    }

    fn elements(&mut self, depth: u32) -> Result<(), Wrong> {
        self.at += 1;
        self.space();
        if self.peek() == Some(b']') {
            self.at += 1;
            return Ok(());
        }
        loop {
            self.value_at(depth)?;
            self.space();
            match self.peek() {
                Some(b',') => self.at += 1,
                Some(b']') => {
                    self.at += 1;
                    return Ok(());
                }
                _ => return Err("expected `,` or `]`"),
            }
            self.space();
        }
    }

    /// The value that begins here, inside `depth` objects and arrays.
    #[inline]
    fn value_at(&mut self, depth: u32) -> Result<Raw<'a>, Wrong> {
        let start = self.at;
        match self.peek() {
            Some(b'"') => self.string()?,
            Some(b'-' | b'0'..=b'9') => self.number()?,
            Some(b'{' | b'[') if depth >= DEEPEST => return Err("nested too deeply"),
            Some(b'{') => self.nested_object(depth + 1)?,
            Some(b'[') => self.elements(depth + 1)?,
            Some(b't') => self.word("true")?,
            Some(b'f') => self.word("false")?,
            Some(b'n') => self.word("null")?,
            _ => return Err("expected a value"),
        }
        Ok(Raw(&self.text[start..self.at]))
    }

    /// Not inlined: the recursion ends here.
    #[inline(never)]
    fn nested_object(&mut self, depth: u32) -> Result<(), Wrong> {
        self.members(depth, |_, _| ())
    }

    fn word(&mut self, word: &str) -> Result<(), Wrong> {
        if !self.bytes[self.at..].starts_with(word.as_bytes()) {
            return Err("expected a value");
        }
        self.at += word.len();
        Ok(())
    }

    /// A string, from its quote on.
    #[inline]
    fn string(&mut self) -> Result<(), Wrong> {
        let start = self.at;
        let mut escapes = false;
        self.at += 1;
        loop {
            self.at += plain_prefix(&self.bytes[self.at..]);
            match self.peek() {
                Some(b'"') => break,
                Some(b'\\') => {
                    escapes = true;
                    self.at = self.bytes.len().min(self.at + 2);
                }
                Some(_) => return Err("a control character in a string"),
                None => return Err("a string does not end"),
            }
        }
        self.at += 1;
        // Escapes are rare, and their rules (surrogates) are serde_json's affair.
        if escapes && serde_json::from_str::<String>(&self.text[start..self.at]).is_err() {
            self.at = start;
            return Err("a bad escape in the string");
        }
        Ok(())
    }

    fn number(&mut self) -> Result<(), Wrong> {
        if self.peek() == Some(b'-') {
            self.at += 1;
        }
        match self.peek() {
            Some(b'0') => self.at += 1,
            _ => self.digits()?,
        }
        if self.peek() == Some(b'.') {
            self.at += 1;
            self.digits()?;
        }
        if let Some(b'e' | b'E') = self.peek() {
            self.at += 1;
            if let Some(b'+' | b'-') = self.peek() {
                self.at += 1;
            }
            self.digits()?;
        }
        Ok(())
    }

    #[inline]
    fn digits(&mut self) -> Result<(), Wrong> {
        let start = self.at;
        while let Some(b'0'..=b'9') = self.peek() {
            self.at += 1;
        }
        if self.at == start { Err("expected a digit") } else { Ok(()) }
    }
}

/// How many bytes come before the first quote, backslash or control character.
/// Eight at a time: strings are most of what there is to scan.
#[inline]
fn plain_prefix(bytes: &[u8]) -> usize {
    const ONES: u64 = 0x0101_0101_0101_0101;
    const HIGHS: u64 = 0x8080_8080_8080_8080;
    let zero_bytes = |x: u64| x.wrapping_sub(ONES) & !x & HIGHS;
    let (chunks, _) = bytes.as_chunks::<8>();
    let mut at = 0;
    for chunk in chunks {
        let word = u64::from_le_bytes(*chunk);
        let control = word.wrapping_sub(ONES * 0x20) & !word & HIGHS;
        let quote = zero_bytes(word ^ (ONES * u64::from(b'"')));
        let backslash = zero_bytes(word ^ (ONES * u64::from(b'\\')));
        // Borrows can mark bytes above a true hit, never below: the lowest is true.
        let hits = control | quote | backslash;
        if hits != 0 {
            return at + (hits.trailing_zeros() / 8) as usize;
        }
        at += 8;
    }
    let plain = |b: &u8| *b >= 0x20 && *b != b'"' && *b != b'\\';
    at + bytes[at..].iter().take_while(|b| plain(b)).count()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Map, Value};

    use super::*;

    fn scanned(text: &[u8]) -> Option<Map<String, Value>> {
        let mut map = Map::new();
        let visit = |name: Cow<'_, str>, raw: Raw<'_>| {
            map.insert(name.into_owned(), serde_json::from_str(raw.json()).unwrap_or(Value::Null));
        };
        object(text, visit).ok().map(|()| map)
    }

    fn agrees(text: &[u8]) {
        let expected = serde_json::from_slice::<Map<String, Value>>(text);
        match (scanned(text), expected) {
            (Some(ours), Ok(theirs)) => assert_eq!(ours, theirs),
            (None, Err(_)) => {}
            // We leave the range of a number to whoever reads it.
            (Some(_), Err(e)) if e.to_string().contains("out of range") => {}
            (ours, theirs) => {
                panic!("{:?}: {ours:?}, serde_json {theirs:?}", String::from_utf8_lossy(text))
            }
        }
    }

    fn any_json() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            any::<f64>().prop_map(Value::from),
            any::<String>().prop_map(Value::from),
            "[a-z\"\\\\\u{1}\u{e9}\u{1f600}]{0,12}".prop_map(Value::from),
        ];
        leaf.prop_recursive(4, 40, 6, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..6).prop_map(Value::from),
                prop::collection::vec((any::<String>(), inner), 0..6)
                    .prop_map(|fields| Value::Object(fields.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn objects_are_read_as_serde_json_reads_them(
            fields in prop::collection::vec(("[a-c\"\\\\é]{0,3}", any_json()), 0..6),
            pretty in any::<bool>(),
        ) {
            let value = Value::Object(fields.into_iter().collect());
            let text = if pretty {
                serde_json::to_string_pretty(&value).unwrap()
            } else {
                value.to_string()
            };
            prop_assert!(scanned(text.as_bytes()).is_some());
            agrees(text.as_bytes());
        }

        #[test]
        fn damaged_objects_are_refused_when_serde_json_refuses_them(
            value in any_json(),
            at in any::<prop::sample::Index>(),
            to in prop_oneof![any::<u8>(), prop::sample::select(&b"{}[]\",:\\0-.eu"[..])],
        ) {
            let mut text = format!("{{\"field\":{value}}}").into_bytes();
            let at = at.index(text.len());
            text[at] = to;
            agrees(&text);
            agrees(&text[..at]);
        }

        #[test]
        fn the_plain_prefix_is_that_of_a_byte_by_byte_search(
            bytes in prop::collection::vec(
                prop_oneof![8 => 0x20_u8..=255, 1 => Just(b'"'), 1 => any::<u8>()], 0..40)
        ) {
            let expected = bytes.iter().take_while(|b| **b >= 0x20 && **b != b'"' && **b != b'\\');
            prop_assert_eq!(plain_prefix(&bytes), expected.count());
        }
    }

    #[test]
    fn the_corners_of_the_grammar_agree_with_serde_json() {
        for text in [
            "",
            "{",
            "{}",
            " { } ",
            "{}x",
            "[]",
            "{\"a\":}",
            "{\"a\":1,}",
            "{\"a\":01}",
            "{\"a\":-}",
            "{\"a\":1.}",
            "{\"a\":.5}",
            "{\"a\":1e}",
            "{\"a\":1e+5}",
            "{\"a\":-0}",
            "{\"a\":tru}",
            "{\"a\":\"\\ud800\"}",
            "{\"a\":\"\\ud83d\\ude00\"}",
            "{\"a\":\"\\x\"}",
            "{\"a\":\"x",
            "{\"a\":\"\t\"}",
            "{\"\\u0061\":1}",
            "{\"a\":1,\"a\":2}",
            "{\"a\":[1,[2,{}]]}",
            "{\"a\":[1,]}",
            "{\"a\":\"x\\",
            "{1:2}",
            "{\"a\" :\n1\r\t}",
            "{\"a\":1e999}",
            "{\"a\":nullx}",
        ] {
            agrees(text.as_bytes());
        }
        for depth in [125, 126, 127, 128] {
            agrees(format!("{{\"a\":{}{}}}", "[".repeat(depth), "]".repeat(depth)).as_bytes());
        }
    }
}
