//! As much JSON as connectors need: strings are written, and top-level fields
//! are found without building a tree. The rest is `serde_json`'s.

use std::{borrow::Cow, fmt};

use serde::de::{self, Deserialize, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};

/// Appends a string with its quotes.
pub(crate) fn write_string(out: &mut Vec<u8>, text: &str) {
    out.push(b'"');
    let bytes = text.as_bytes();
    let mut done = 0;
    for (i, &byte) in bytes.iter().enumerate() {
        if byte >= 0x20 && byte != b'"' && byte != b'\\' {
            continue;
        }
        out.extend_from_slice(&bytes[done..i]);
        done = i + 1;
        match byte {
            b'"' => out.extend_from_slice(b"\\\""),
            b'\\' => out.extend_from_slice(b"\\\\"),
            b'\n' => out.extend_from_slice(b"\\n"),
            b'\r' => out.extend_from_slice(b"\\r"),
            b'\t' => out.extend_from_slice(b"\\t"),
            _ => {
                const HEX: &[u8; 16] = b"0123456789abcdef";
                out.extend_from_slice(b"\\u00");
                out.extend([HEX[usize::from(byte >> 4)], HEX[usize::from(byte & 15)]]);
            }
        }
    }
    out.extend_from_slice(&bytes[done..]);
    out.push(b'"');
}

/// Whether the text is a number as JSON writes it: `-1.5e3`, not `+1`, `.5`, `07`.
pub(crate) fn is_number(text: &[u8]) -> bool {
    fn digits(text: &[u8]) -> (&[u8], &[u8]) {
        text.split_at(text.iter().take_while(|b| b.is_ascii_digit()).count())
    }
    let text = text.strip_prefix(b"-").unwrap_or(text);
    let (whole, mut rest) = digits(text);
    if whole.is_empty() || (whole.len() > 1 && whole[0] == b'0') {
        return false;
    }
    if let Some(fraction) = rest.strip_prefix(b".") {
        let (fraction, after) = digits(fraction);
        if fraction.is_empty() {
            return false;
        }
        rest = after;
    }
    if let [b'e' | b'E', exponent @ ..] = rest {
        let exponent =
            exponent.strip_prefix(b"-").or(exponent.strip_prefix(b"+")).unwrap_or(exponent);
        let (digits, after) = digits(exponent);
        return !digits.is_empty() && after.is_empty();
    }
    rest.is_empty()
}

/// Checks that the text is one JSON value.
pub(crate) fn check(text: &str) -> Result<(), String> {
    serde_json::from_str::<IgnoredAny>(text).map(|_| ()).map_err(|error| explain(&error))
}

/// `serde_json` counts lines, but each of our records is a line of its own.
fn explain(error: &serde_json::Error) -> String {
    let column = error.column();
    let text = error.to_string();
    let what = text.split(" at line ").next().unwrap_or_default();
    format!("is not valid JSON: {what} at character {column}")
}

/// A top-level field's value, as far as keys and event times need it.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Scalar<'a> {
    /// `null`
    Null,
    /// A number or boolean, in JSON's notation; a string's contents.
    Text(Cow<'a, str>),
    /// An array or object.
    Nested,
}

/// Checks a JSON object and picks fields from it in the same pass: `found[i]`
/// becomes the value of `names[i]`, the last if it is there more than once.
pub(crate) fn pick<'a, T: Deserialize<'a> + Clone>(
    text: &'a str,
    names: &[impl AsRef<str>],
    found: &mut [Option<T>],
) -> Result<(), String> {
    debug_assert_eq!(names.len(), found.len());
    let mut deserializer = serde_json::Deserializer::from_str(text);
    (&mut deserializer).deserialize_any(Fields { names, found }).map_err(|error| {
        if error.classify() == serde_json::error::Category::Data {
            "is not a JSON object".to_owned()
        } else {
            explain(&error)
        }
    })?;
    deserializer.end().map_err(|error| explain(&error))
}

struct Fields<'f, N, T> {
    names: &'f [N],
    found: &'f mut [Option<T>],
}

impl<'a, N: AsRef<str>, T: Deserialize<'a> + Clone> Visitor<'a> for Fields<'_, N, T> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON object")
    }

    fn visit_map<A: MapAccess<'a>>(self, mut map: A) -> Result<(), A::Error> {
        while let Some(Text(name)) = map.next_key::<Text<'a>>()? {
            let wanted = |n: &N| n.as_ref() == name;
            let Some(first) = self.names.iter().position(wanted) else {
                map.next_value::<IgnoredAny>()?;
                continue;
            };
            let value: T = map.next_value()?;
            // One field may be wanted twice: as key and as event time.
            for i in first + 1..self.names.len() {
                if wanted(&self.names[i]) {
                    self.found[i] = Some(value.clone());
                }
            }
            self.found[first] = Some(value);
        }
        Ok(())
    }
}

/// A string, borrowed where it has no escapes.
struct Text<'a>(Cow<'a, str>);

impl<'de: 'a, 'a> Deserialize<'de> for Text<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct V;
        impl<'de> Visitor<'de> for V {
            type Value = Text<'de>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a string")
            }
            fn visit_borrowed_str<E: de::Error>(self, text: &'de str) -> Result<Text<'de>, E> {
                Ok(Text(Cow::Borrowed(text)))
            }
            fn visit_str<E: de::Error>(self, text: &str) -> Result<Text<'de>, E> {
                Ok(Text(Cow::Owned(text.to_owned())))
            }
        }
        deserializer.deserialize_str(V)
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Scalar<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct V;
        impl<'de> Visitor<'de> for V {
            type Value = Scalar<'de>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a JSON value")
            }
            fn visit_unit<E: de::Error>(self) -> Result<Self::Value, E> {
                Ok(Scalar::Null)
            }
            fn visit_bool<E: de::Error>(self, v: bool) -> Result<Self::Value, E> {
                Ok(Scalar::Text(Cow::Borrowed(if v { "true" } else { "false" })))
            }
            fn visit_i64<E: de::Error>(self, v: i64) -> Result<Self::Value, E> {
                Ok(Scalar::Text(Cow::Owned(v.to_string())))
            }
            fn visit_u64<E: de::Error>(self, v: u64) -> Result<Self::Value, E> {
                Ok(Scalar::Text(Cow::Owned(v.to_string())))
            }
            fn visit_f64<E: de::Error>(self, v: f64) -> Result<Self::Value, E> {
                let text = serde_json::Number::from_f64(v).map(|n| n.to_string());
                Ok(Scalar::Text(Cow::Owned(text.unwrap_or_default())))
            }
            fn visit_borrowed_str<E: de::Error>(self, v: &'de str) -> Result<Self::Value, E> {
                Ok(Scalar::Text(Cow::Borrowed(v)))
            }
            fn visit_str<E: de::Error>(self, v: &str) -> Result<Self::Value, E> {
                Ok(Scalar::Text(Cow::Owned(v.to_owned())))
            }
            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
                while seq.next_element::<IgnoredAny>()?.is_some() {}
                Ok(Scalar::Nested)
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
                Ok(Scalar::Nested)
            }
        }
        deserializer.deserialize_any(V)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn fields_are_picked_from_the_top_level_only() {
        let text = r#" {"a":{"k":1}, "k":"x\ny", "t":12, "u":[1,{"t":3}], "n":null} "#;
        let mut found = [const { None }; 5];
        pick(text, &["k", "t", "u", "n", "gone"], &mut found).unwrap();
        assert_eq!(
            found,
            [
                Some(Scalar::Text("x\ny".into())),
                Some(Scalar::Text("12".into())),
                Some(Scalar::Nested),
                Some(Scalar::Null),
                None
            ]
        );
    }

    #[test]
    fn what_is_no_object_is_told_from_what_is_no_json() {
        let pick = |text| pick::<Scalar<'_>>(text, &["k"], &mut [None]).unwrap_err();
        assert_eq!(pick("[1]"), "is not a JSON object");
        assert_eq!(pick("7"), "is not a JSON object");
        assert!(pick("{\"k\":1").starts_with("is not valid JSON: EOF"), "{}", pick("{\"k\":1"));
        assert!(pick("{\"k\":1} x").contains("trailing characters at character 9"));
    }

    proptest! {
        #[test]
        fn strings_read_back_as_they_were(text in any::<String>()) {
            let mut out = Vec::new();
            write_string(&mut out, &text);
            prop_assert_eq!(serde_json::from_slice::<String>(&out).unwrap(), text);
        }

        #[test]
        fn numbers_are_told_as_serde_tells_them(text in "-?[0-9]{0,3}(\\.[0-9]{0,2})?([eE][+-]?[0-9]{0,2})?") {
            prop_assert_eq!(is_number(text.as_bytes()), serde_json::from_str::<serde_json::Number>(&text).is_ok());
        }
    }
}
