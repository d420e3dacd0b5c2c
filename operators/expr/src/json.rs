//! A JSON object, read no further than expressions want it: where each field's text lies, and the
//! values of the fields that are asked for. Whatever is not looked at is still held to the grammar.

use cel::common::types::{CelBool, CelDouble, CelInt, CelNull, CelString, CelUInt};
use cel::common::value::{CowVal, Val};
use serde::de::IgnoredAny;
use serde_json::{Deserializer, Number, Value};

/// A field as it stands in its object.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Field<'a> {
    /// The name, between its quotes.
    name: &'a str,
    /// Whether there are escapes in the name.
    escaped: bool,
    /// The value, as JSON.
    pub(crate) value: &'a str,
}

impl<'a> Field<'a> {
    /// Whether this is the field of a name.
    pub(crate) fn is(&self, name: &str) -> bool {
        if self.escaped { self.name_text() == name } else { self.name == name }
    }

    /// The name, without escapes.
    pub(crate) fn name_text(&self) -> String {
        if !self.escaped {
            return self.name.to_owned();
        }
        // It was read before.
        serde_json::from_str(&format!("\"{}\"", self.name)).unwrap_or_default()
    }

    /// The name, as JSON.
    pub(crate) fn write_name(&self, to: &mut String) {
        to.push('"');
        to.push_str(self.name);
        to.push('"');
    }
}

/// Reads the fields of an object, in order.
///
/// # Errors
/// In words, if it is no JSON object.
pub(crate) fn fields<'a>(text: &'a str, mut each: impl FnMut(Field<'a>)) -> Result<(), String> {
    let mut rest = Reader { text, at: 0 };
    let read = rest.object(&mut each);
    // serde_json says what is wrong as everybody knows it.
    read.ok_or_else(|| match serde_json::from_str::<serde_json::Map<String, Value>>(text) {
        Err(wrong) => format!("the value is no JSON object: {wrong}"),
        Ok(_) => "the value is no JSON object".to_owned(),
    })
}

struct Reader<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Reader<'a> {
    fn object(&mut self, each: &mut impl FnMut(Field<'a>)) -> Option<()> {
        self.expect(b'{')?;
        self.blank();
        if self.peek()? == b'}' {
            self.at += 1;
        } else {
            loop {
                self.blank();
                let (name, escaped) = self.string()?;
                self.expect(b':')?;
                self.blank();
                let from = self.at;
                self.value()?;
                each(Field { name, escaped, value: &self.text[from..self.at] });
                self.blank();
                self.at += 1;
                match self.text.as_bytes().get(self.at - 1)? {
                    b',' => {}
                    b'}' => break,
                    _ => return None,
                }
            }
        }
        self.blank();
        (self.at == self.text.len()).then_some(())
    }

    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    fn blank(&mut self) {
        while matches!(self.peek(), Some(b' ' | b'\n' | b'\r' | b'\t')) {
            self.at += 1;
        }
    }

    fn expect(&mut self, byte: u8) -> Option<()> {
        self.blank();
        (self.peek()? == byte).then(|| self.at += 1)
    }

    /// What is between quotes, and whether there are escapes in it.
    fn string(&mut self) -> Option<(&'a str, bool)> {
        let from = self.at;
        let bytes = self.text.as_bytes();
        if *bytes.get(from)? != b'"' {
            return None;
        }
        let plain = bytes[from + 1..].iter().position(|b| matches!(b, b'"' | b'\\' | ..0x20))?;
        let end = from + 1 + plain;
        if bytes[end] == b'"' {
            self.at = end + 1;
            return Some((&self.text[from + 1..end], false));
        }
        self.skip::<String>()?;
        Some((&self.text[from + 1..self.at - 1], true))
    }

    fn value(&mut self) -> Option<()> {
        match self.peek()? {
            b'"' => self.string().map(drop),
            b'-' | b'0'..=b'9' => self.number(),
            b't' => self.word("true"),
            b'f' => self.word("false"),
            b'n' => self.word("null"),
            b'{' | b'[' => self.skip::<IgnoredAny>(),
            _ => None,
        }
    }

    fn word(&mut self, word: &str) -> Option<()> {
        self.text[self.at..].starts_with(word).then(|| self.at += word.len())
    }

    fn number(&mut self) -> Option<()> {
        if self.peek() == Some(b'-') {
            self.at += 1;
        }
        match self.peek()? {
            b'0' => self.at += 1,
            _ => self.digits()?,
        }
        if self.peek() == Some(b'.') {
            self.at += 1;
            self.digits()?;
        }
        if matches!(self.peek(), Some(b'e' | b'E')) {
            self.at += 1;
            if matches!(self.peek(), Some(b'+' | b'-')) {
                self.at += 1;
            }
            self.digits()?;
        }
        Some(())
    }

    fn digits(&mut self) -> Option<()> {
        let from = self.at;
        while matches!(self.peek(), Some(b'0'..=b'9')) {
            self.at += 1;
        }
        (self.at > from).then_some(())
    }

    /// Whatever takes more: nested values, strings with escapes.
    fn skip<T: serde::de::DeserializeOwned>(&mut self) -> Option<()> {
        let mut values = Deserializer::from_str(&self.text[self.at..]).into_iter::<T>();
        values.next()?.ok()?;
        self.at += values.byte_offset();
        Some(())
    }
}

/// A value that expressions see.
#[derive(Debug, Default)]
pub(crate) enum Slot<'a> {
    /// There is none.
    #[default]
    Missing,
    Null(CelNull),
    Bool(CelBool),
    Int(CelInt),
    UInt(CelUInt),
    Double(CelDouble),
    Text(CelString<'a>),
    /// A list or a map.
    Other(Box<dyn Val + 'a>),
}

impl<'a> Slot<'a> {
    /// The value of a field, whose text was read before.
    pub(crate) fn of_json(text: &'a str) -> Self {
        match text.as_bytes().first() {
            Some(b'"') if !text.contains('\\') => {
                Self::Text(CelString::from(&text[1..text.len() - 1]))
            }
            Some(b't') => Self::Bool(true.into()),
            Some(b'f') => Self::Bool(false.into()),
            Some(b'-' | b'0'..=b'9') => Self::number(text),
            _ => Self::of_value(&serde_json::from_str(text).unwrap_or_default()),
        }
    }

    /// A whole number is an int, so that it can be compared and added to the numbers of an
    /// expression.
    fn number(text: &str) -> Self {
        if let Ok(n) = text.parse::<i64>()
            && text != "-0"
        {
            return Self::Int(n.into());
        }
        match text.parse::<u64>() {
            Ok(n) => Self::UInt(n.into()),
            Err(_) => Self::Double(text.parse::<f64>().unwrap_or(f64::NAN).into()),
        }
    }

    /// A value that is nobody's.
    pub(crate) fn of_value(value: &Value) -> Self {
        match value {
            Value::Null => Self::Null(CelNull),
            Value::Bool(truth) => Self::Bool((*truth).into()),
            Value::Number(n) => Self::of_number(n),
            Value::String(text) => Self::Text(CelString::from(text.clone())),
            Value::Array(_) | Value::Object(_) => {
                let made = <Box<dyn Val>>::try_from(crate::expression::of_json(value));
                made.map_or(Self::Missing, Self::Other)
            }
        }
    }

    fn of_number(n: &Number) -> Self {
        match (n.as_i64(), n.as_u64()) {
            (Some(n), _) => Self::Int(n.into()),
            (None, Some(n)) => Self::UInt(n.into()),
            (None, None) => Self::Double(n.as_f64().unwrap_or(f64::NAN).into()),
        }
    }

    /// It, as expressions see it.
    pub(crate) fn seen(&self) -> Option<CowVal<'_, '_>> {
        Some(CowVal::Borrowed(match self {
            Self::Missing => return None,
            Self::Null(it) => it,
            Self::Bool(it) => it,
            Self::Int(it) => it,
            Self::UInt(it) => it,
            Self::Double(it) => it,
            Self::Text(it) => it,
            Self::Other(it) => it.as_ref(),
        }))
    }

    pub(crate) fn is_missing(&self) -> bool {
        matches!(self, Self::Missing)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Vec<(String, String)>, String> {
        let mut all = Vec::new();
        fields(text, |field| all.push((field.name_text(), field.value.to_owned())))?;
        Ok(all)
    }

    #[test]
    fn an_object_is_read_as_serde_json_reads_it() {
        for text in [
            "{}",
            " { } ",
            r#"{"a":1}"#,
            r#"{"a" : -1.5e+3 , "b":"x\"y","c\u0041":[1,{"d":"}"}], "e":{"f":[]} ,"g":null}"#,
            r#"{"a":true,"b":false,"":"","ü":"ß","n":0,"m":-0,"big":18446744073709551615}"#,
            r#"{"s":"\n\t\u00e9 \\"}"#,
            "{\"a\":\n[\n1\n]\n}",
            // What is none.
            "",
            "null",
            "[1]",
            "{",
            r#"{"a"}"#,
            r#"{"a":}"#,
            r#"{"a":1,}"#,
            r#"{"a":1}}"#,
            r#"{"a":1} x"#,
            r#"{"a":01}"#,
            r#"{"a":1.}"#,
            r#"{"a":.5}"#,
            r#"{"a":1e}"#,
            r#"{"a":+1}"#,
            r#"{"a":tru}"#,
            r#"{"a":truex}"#,
            r#"{"a":nul}"#,
            r#"{"a":'x'}"#,
            r#"{a:1}"#,
            r#"{"a":[1,]}"#,
            r#"{"a":{"b"}}"#,
            r#"{"a":"\x"}"#,
            "{\"a\":\"\u{1}\"}",
            "{\"a\u{1}\":1}",
            r#"{"a":"b}"#,
            r#"{"a":1 "b":2}"#,
            r#"{"a":NaN}"#,
        ] {
            let expected = serde_json::from_str::<serde_json::Map<String, Value>>(text);
            let found = read(text);
            assert_eq!(found.is_ok(), expected.is_ok(), "{text}: {found:?} {expected:?}");
            if let (Ok(found), Ok(expected)) = (found, expected) {
                let found: Vec<_> = found
                    .into_iter()
                    .map(|(name, value)| (name, serde_json::from_str::<Value>(&value).unwrap()))
                    .collect();
                assert_eq!(found, expected.into_iter().collect::<Vec<_>>(), "{text}");
            }
        }
    }
}
