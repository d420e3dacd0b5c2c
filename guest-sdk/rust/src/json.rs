//! Fields of JSON objects without parsing the rest into anything: one pass that
//! checks the whole text, and allocates only for strings with escapes. For a
//! whole object as a type, [`Record::json`](crate::Record::json) is easier.
//!
//! ```
//! use cofferdam_sdk::json;
//!
//! let value = br#"{"carrier":"UA","delay":-4,"route":{"from":"EWR"}}"#;
//! let [delay, from, gate] = json::fields(value, ["delay", "route", "gate"])?;
//! assert_eq!(delay.and_then(|d| d.number()), Some(json::Number::Int(-4)));
//! assert_eq!(from.map(|r| r.json()), Some(r#"{"from":"EWR"}"#));
//! assert!(gate.is_none());
//! # Ok::<(), cofferdam_sdk::Error>(())
//! ```

use std::borrow::Cow;

use crate::Error;

mod scan;
mod write;

pub use write::{Object, write_key, write_string};

/// A JSON value as it stands in the text that it came from; known to be valid.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Raw<'a>(&'a str);

/// A JSON number. Integers beyond 64 bits are read as floating point.
#[derive(Debug, Clone, Copy, PartialEq, serde::Serialize, serde::Deserialize)]
pub enum Number {
    /// Written without fraction or exponent.
    Int(i64),
    /// Anything else; finite.
    Float(f64),
}

impl Number {
    /// The number as floating point; integers beyond 2^53 are rounded.
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "said in the documentation")]
    pub fn as_f64(self) -> f64 {
        match self {
            Self::Int(n) => n as f64,
            Self::Float(x) => x,
        }
    }

    /// Compares by value, whichever way the numbers are written.
    #[must_use]
    pub fn compare(self, other: Self) -> std::cmp::Ordering {
        match (self, other) {
            (Self::Int(a), Self::Int(b)) => a.cmp(&b),
            (a, b) => a.as_f64().total_cmp(&b.as_f64()),
        }
    }

    /// Reads a number from plain text, as in a CSV field.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        if let Ok(n) = text.parse() {
            return Some(Self::Int(n));
        }
        // Rust reads "inf" and "nan" too, which no data means.
        let plain = text.bytes().all(|b| b.is_ascii_digit() || b"+-.eE".contains(&b));
        text.parse().ok().filter(|x: &f64| plain && x.is_finite()).map(Self::Float)
    }
}

impl<'a> Raw<'a> {
    /// The value as JSON text: strings with their quotes.
    #[must_use]
    pub fn json(&self) -> &'a str {
        self.0
    }

    /// Whether it is `null`.
    #[must_use]
    pub fn is_null(&self) -> bool {
        self.0 == "null"
    }

    /// The text of a string, none if it is no string.
    #[must_use]
    pub fn string(&self) -> Option<Cow<'a, str>> {
        let inner = self.0.strip_prefix('"')?.strip_suffix('"')?;
        if inner.contains('\\') {
            return serde_json::from_str(self.0).ok().map(Cow::Owned);
        }
        Some(Cow::Borrowed(inner))
    }

    /// The number, none if it is no number or too great for one.
    #[must_use]
    pub fn number(&self) -> Option<Number> {
        match self.0.as_bytes().first()? {
            b'-' | b'0'..=b'9' => Number::parse(self.0),
            _ => None,
        }
    }

    /// The truth value, none if it is none.
    #[must_use]
    pub fn boolean(&self) -> Option<bool> {
        match self.0 {
            "true" => Some(true),
            "false" => Some(false),
            _ => None,
        }
    }

    /// Text as people write it: a string without its quotes, anything else as JSON.
    #[must_use]
    pub fn text(&self) -> Cow<'a, str> {
        self.string().unwrap_or(Cow::Borrowed(self.0))
    }
}

/// Checks that `value` is a JSON object, and visits its fields in order.
///
/// # Errors
/// If it is not valid JSON, or no object; the message says where.
#[inline]
pub fn each_field<'a>(
    value: &'a [u8],
    visit: impl FnMut(Cow<'a, str>, Raw<'a>),
) -> Result<(), Error> {
    scan::object(value, visit)
}

/// The values of some fields of an object; the last one of a field that is there
/// twice.
///
/// # Errors
/// As for [`each_field`].
pub fn fields<'a, const N: usize>(
    value: &'a [u8],
    names: [&str; N],
) -> Result<[Option<Raw<'a>>; N], Error> {
    let mut found = [None; N];
    each_field(value, |name, raw| {
        for (slot, _) in found.iter_mut().zip(names).filter(|(_, n)| *n == name) {
            *slot = Some(raw);
        }
    })?;
    Ok(found)
}

/// The value of one field of an object.
///
/// # Errors
/// As for [`each_field`].
pub fn field<'a>(value: &'a [u8], name: &str) -> Result<Option<Raw<'a>>, Error> {
    Ok(fields(value, [name])?[0])
}

/// Like [`fields`], for names that are known at run time only. `found` gets one
/// entry a name; hand in the same vector again for the next record.
///
/// # Errors
/// As for [`each_field`].
pub fn find<'a, N: AsRef<str>>(
    value: &'a [u8],
    names: &[N],
    found: &mut Vec<Option<Raw<'a>>>,
) -> Result<(), Error> {
    found.clear();
    found.resize(names.len(), None);
    each_field(value, |name, raw| {
        for (slot, _) in found.iter_mut().zip(names).filter(|(_, n)| n.as_ref() == name) {
            *slot = Some(raw);
        }
    })
}

/// A field that must be a number; none if it is missing or `null`.
///
/// # Errors
/// As for [`each_field`], or if the field is something else.
pub fn number_field(value: &[u8], name: &str) -> Result<Option<Number>, Error> {
    match field(value, name)?.filter(|raw| !raw.is_null()) {
        None => Ok(None),
        Some(raw) => match raw.number() {
            Some(number) => Ok(Some(number)),
            None => Err(Error::new(format!("field `{name}` is not a number: {}", cut(raw.json())))),
        },
    }
}

/// The beginning of a text, for messages.
fn cut(text: &str) -> Cow<'_, str> {
    const LONGEST: usize = 60;
    match text.char_indices().nth(LONGEST) {
        None => Cow::Borrowed(text),
        Some((end, _)) => Cow::Owned(format!("{}...", &text[..end])),
    }
}
