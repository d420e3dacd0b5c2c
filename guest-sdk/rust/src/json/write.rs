//! Writing JSON straight into an output column.

use super::{Number, Raw};
use crate::append::{append, ends};

/// Writes a JSON object field by field, with nothing in between.
///
/// ```
/// use cofferdam_sdk::json::Object;
///
/// let mut out = Vec::new();
/// let mut object = Object::begin(&mut out);
/// object.text("carrier", "UA").int("flights", 12).float("mean", 2.5);
/// object.end();
/// assert_eq!(out, br#"{"carrier":"UA","flights":12,"mean":2.5}"#);
/// ```
#[derive(Debug)]
#[must_use = "an object is complete after `end`"]
pub struct Object<'o> {
    out: &'o mut Vec<u8>,
    first: bool,
}

impl<'o> Object<'o> {
    /// Begins an object at the end of `out`.
    #[inline]
    pub fn begin(out: &'o mut Vec<u8>) -> Self {
        out.push(b'{');
        Self { out, first: true }
    }

    /// Writes a field's name, and lends the buffer for its value.
    #[inline(always)]
    pub fn field(&mut self, name: &str) -> &mut Vec<u8> {
        if !std::mem::replace(&mut self.first, false) {
            self.out.push(b',');
        }
        write_string(self.out, name);
        self.out.push(b':');
        self.out
    }

    /// A field with text.
    #[inline]
    pub fn text(&mut self, name: &str, text: &str) -> &mut Self {
        write_string(self.field(name), text);
        self
    }

    /// A field with a record's key: see [`write_key`].
    #[inline(always)]
    pub fn key(&mut self, name: &str, key: &[u8]) -> &mut Self {
        write_key(self.field(name), key);
        self
    }

    /// A field with an integer.
    #[inline(always)]
    pub fn int(&mut self, name: &str, n: impl Into<i128>) -> &mut Self {
        write_int(self.field(name), n.into());
        self
    }

    /// A field with a number; `null` if it is not finite. A whole number below
    /// 2^53 is written without a fraction.
    pub fn float(&mut self, name: &str, x: f64) -> &mut Self {
        write_float(self.field(name), x);
        self
    }

    /// A field with a number.
    pub fn number(&mut self, name: &str, number: Number) -> &mut Self {
        match number {
            Number::Int(n) => self.int(name, n),
            Number::Float(x) => self.float(name, x),
        }
    }

    /// A field with a value as it stood elsewhere.
    pub fn raw(&mut self, name: &str, raw: Raw<'_>) -> &mut Self {
        self.json(name, raw.json())
    }

    /// A field with a value that is JSON already.
    pub fn json(&mut self, name: &str, json: &str) -> &mut Self {
        append(self.field(name), json.as_bytes());
        self
    }

    /// Ends the object.
    #[inline]
    pub fn end(self) {
        self.out.push(b'}');
    }
}

/// A count or sum a record is common, and `core::fmt` costs several times as much.
#[inline]
fn write_int(out: &mut Vec<u8>, n: i128) {
    let mut buffer = itoa::Buffer::new();
    // Most numbers fit into fewer bits, whose divisions cost less.
    let digits = if let Ok(n) = u32::try_from(n) {
        buffer.format(n)
    } else if let Ok(n) = i64::try_from(n) {
        buffer.format(n)
    } else {
        buffer.format(n)
    };
    append(out, digits.as_bytes());
}

fn write_float(out: &mut Vec<u8>, x: f64) {
    const EXACT: f64 = 9_007_199_254_740_992.0; // 2^53
    if x.fract() == 0.0 && x.abs() < EXACT {
        #[expect(clippy::cast_possible_truncation, reason = "whole and below 2^53")]
        write_int(out, i128::from(x as i64));
    } else if x.is_finite() {
        let _ = serde_json::to_writer(out, &x); // a Vec takes everything
    } else {
        out.extend_from_slice(b"null");
    }
}

/// Writes a text as a JSON string. Inlined, so that of a literal nothing but
/// stores is left.
#[inline(always)]
pub fn write_string(out: &mut Vec<u8>, text: &str) {
    if plain(text.as_bytes(), escapes) {
        write_quoted(out, text.as_bytes());
    } else {
        write_escaped(out, text);
    }
}

#[cold]
fn write_escaped(out: &mut Vec<u8>, text: &str) {
    let _ = serde_json::to_writer(out, text); // a Vec takes everything
}

#[inline(always)]
fn write_quoted(out: &mut Vec<u8>, text: &[u8]) {
    out.push(b'"');
    append(out, text);
    out.push(b'"');
}

const ONES: u64 = 0x0101_0101_0101_0101;
const HIGH_BITS: u64 = 0x80 * ONES;

/// Not 0 if one of eight bytes must be escaped in a JSON string: a control
/// character, a quote or a backslash. (Hacker's Delight, 6-1: a byte that is 0 or less
/// than n borrows from its highest bit.)
#[inline(always)]
fn escapes(word: u64) -> u64 {
    let (quote, backslash) = (word ^ (0x22 * ONES), word ^ (0x5c * ONES));
    let control = word.wrapping_sub(0x20 * ONES) & !word;
    let quote = quote.wrapping_sub(ONES) & !quote;
    let backslash = backslash.wrapping_sub(ONES) & !backslash;
    (control | quote | backslash) & HIGH_BITS
}

/// As [`escapes`], and if one of the bytes is not ASCII.
#[inline(always)]
fn escapes_or_not_ascii(word: u64) -> u64 {
    escapes(word) | (word & HIGH_BITS)
}

/// Whether `bad` finds nothing in the bytes. Looks at eight at a time, at short
/// texts without a loop, and at some bytes twice rather than one by one, as
/// `append` does.
#[inline(always)]
fn plain(bytes: &[u8], bad: impl Fn(u64) -> u64) -> bool {
    let word = |bytes: [u8; 8]| bad(u64::from_le_bytes(bytes));
    let found = match bytes.len() {
        0 => 0,
        1..4 => {
            let (first, middle, last) = (bytes[0], bytes[bytes.len() / 2], bytes[bytes.len() - 1]);
            word([first, middle, last, first, first, first, first, first])
        }
        4..8 => word(ends::<4, 8>(bytes)),
        _ => {
            let blocks = bytes.as_chunks::<8>().0;
            let found = blocks.iter().fold(0, |found, block| found | word(*block));
            bytes.last_chunk().map_or(found, |last| found | word(*last))
        }
    };
    found == 0
}

/// Writes a key, which may be any bytes, as a JSON string; what is not UTF-8
/// becomes U+FFFD.
pub fn write_key(out: &mut Vec<u8>, key: &[u8]) {
    // Most keys are plain ASCII, which needs no look at whether it is UTF-8.
    if plain(key, escapes_or_not_ascii) {
        write_quoted(out, key);
    } else {
        write_escaped(out, &String::from_utf8_lossy(key));
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::*;

    proptest! {
        #[test]
        fn what_is_written_reads_back(text in any::<String>(), n in any::<i64>(), x in any::<f64>()) {
            let mut out = Vec::new();
            let mut object = Object::begin(&mut out);
            // A name of any text, and never one of the other three.
            let name = format!("key {text}");
            object.text("text", &text).int("n", n).float("x", x).key(&name, text.as_bytes());
            object.end();
            let read: Value = serde_json::from_slice(&out).unwrap();
            prop_assert_eq!(&read["text"], &json!(text));
            prop_assert_eq!(&read["n"], &json!(n));
            prop_assert_eq!(&read[&name], &json!(text));
            if x.is_finite() {
                let [raw] = crate::json::fields(&out, ["x"]).unwrap();
                prop_assert_eq!(raw.and_then(|raw| raw.number()).map(Number::as_f64), Some(x));
            }
        }
    }

    #[test]
    fn integers_of_every_size_are_written_as_rust_writes_them() {
        let u64_max = i128::from(u64::MAX);
        for n in [0, 7, -7, 10, u64_max, -u64_max, u64_max + 1, i128::MAX, i128::MIN] {
            let mut out = Vec::new();
            write_int(&mut out, n);
            assert_eq!(String::from_utf8(out).unwrap(), n.to_string());
        }
    }

    #[test]
    fn whole_floats_are_written_as_integers_and_infinities_as_null() {
        let mut out = Vec::new();
        let mut object = Object::begin(&mut out);
        object.float("a", -3.0).float("b", 0.5).float("c", f64::INFINITY).float("d", 1e300);
        object.end();
        assert_eq!(out, br#"{"a":-3,"b":0.5,"c":null,"d":1e+300}"#);
    }
}
