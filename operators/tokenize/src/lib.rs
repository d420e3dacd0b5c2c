//! Splits text into words: runs of letters and digits in any script.

use std::borrow::Cow;

mod ascii;

use cofferdam_sdk::{Batch, Context, Error, Outcome, Processor, Record, json};
use serde::Deserialize;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Config {
    #[serde(default)]
    lowercase: bool,
    #[serde(default = "one")]
    min_length: usize,
    field: Option<String>,
    #[serde(default)]
    value: Value,
}

fn one() -> usize {
    1
}

/// What the value of an emitted record is; its key is the word.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Value {
    #[default]
    Empty,
    Word,
}

/// Splits text into words.
#[derive(Debug)]
pub struct Tokenize {
    config: Config,
    /// For words whose case changes.
    lowered: String,
}

impl Tokenize {
    fn text<'a>(&self, record: &Record<'a>) -> Result<Cow<'a, str>, Error> {
        let Some(field) = &self.config.field else { return record.value_str().map(Cow::Borrowed) };
        match json::field(record.value(), field)?.filter(|raw| !raw.is_null()) {
            None => Ok(Cow::Borrowed("")),
            Some(raw) => raw.string().ok_or_else(|| format!("field `{field}` is not text").into()),
        }
    }

    fn emit(&mut self, record: &Record<'_>, word: &str, out: &mut Outcome) {
        let mut word = word;
        if self.config.lowercase && !word.bytes().all(|b| b.is_ascii_lowercase()) {
            self.lowered.clear();
            self.lowered.extend(word.chars().flat_map(char::to_lowercase));
            word = &self.lowered;
        }
        // Bytes first: counting characters is only needed for short words.
        let min = self.config.min_length;
        if word.len() < min || (!word.is_ascii() && word.chars().count() < min) {
            return;
        }
        let value = if self.config.value == Value::Word { word } else { "" };
        out.emit(record).key(word.as_bytes()).value(value.as_bytes());
    }
}

fn words(text: &str) -> impl Iterator<Item = &str> {
    text.split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty())
}

impl Processor for Tokenize {
    fn open(ctx: &Context) -> Result<Self, Error> {
        Ok(Self { config: ctx.config()?, lowered: String::new() })
    }

    fn process(&mut self, batch: &Batch, out: &mut Outcome) -> Result<(), Error> {
        for record in batch.records() {
            match self.text(&record) {
                Err(e) => out.reject(&record, e),
                Ok(text) if text.is_ascii() => {
                    ascii::each_word(&text, |word| self.emit(&record, word, out));
                }
                Ok(text) => words(&text).for_each(|word| self.emit(&record, word, out)),
            }
        }
        Ok(())
    }
}

cofferdam_sdk::export!(processor: Tokenize);

#[cfg(test)]
mod tests {
    use cofferdam_sdk::testing::{Answer, Harness};
    use serde_json::json;

    use super::*;

    fn run(config: serde_json::Value, value: &str) -> Answer {
        Harness::processor::<Tokenize>(config).unwrap().send([("", value, 7)]).unwrap()
    }

    #[test]
    fn words_become_keys_and_keep_the_event_time() {
        let answer = run(json!({}), "To be, or not--to be? (42)");
        assert_eq!(answer.keys(0), ["To", "be", "or", "not", "to", "be", "42"]);
        assert!(answer.records(0).iter().all(|r| r.value.is_empty() && r.timestamp == Some(7)));
    }

    #[test]
    fn every_script_has_words_and_cases() {
        let answer = run(json!({"lowercase": true, "min_length": 2}), "Été à ÎLE X ПРИВЕТ");
        assert_eq!(answer.keys(0), ["été", "île", "привет"]);
    }

    #[test]
    fn ascii_text_is_split_alike_by_bytes_and_by_characters() {
        let text = "a1,b\t_c-D\"e, 0123456789abcdefXYZ z";
        let mut by_bytes = Vec::new();
        ascii::each_word(text, |word| by_bytes.push(word));
        assert!(by_bytes.into_iter().eq(words(text)));
    }

    #[test]
    fn the_text_may_stand_in_a_field() {
        let config = json!({"field": "t", "value": "word"});
        let answer = run(config.clone(), r#"{"t":"a \"b\"","u":1}"#);
        assert_eq!(answer.texts(0), ["a", "b"]);
        assert!(run(config.clone(), r#"{"t":null}"#).records(0).is_empty());
        assert_eq!(run(config, r#"{"t":5}"#).reasons(), ["field `t` is not text"]);
    }

    #[test]
    fn bytes_that_are_no_text_are_rejected() {
        let mut harness = Harness::processor::<Tokenize>(json!({})).unwrap();
        let answer = harness.values([&b"ok"[..], &b"a\xff"[..]]).unwrap();
        assert_eq!(answer.keys(0), ["ok"]);
        assert!(answer.reasons()[0].contains("not UTF-8 from byte 1"));
    }
}
