//! The `jsonl` source: each line is a JSON value, checked and passed on as it is.

use std::borrow::Cow;

use crate::config::job::{JsonLinesSource, TimestampField};

use super::{
    ConnectorError,
    file_source::{Format, Output, bad_utf8, place},
    files::Lines,
    json::{self, Scalar},
    timestamps,
};

/// Makes a record of each line that is valid JSON; skips blank lines.
#[derive(Debug)]
pub(crate) struct JsonLinesFormat {
    key: Option<String>,
    timestamp: Option<TimestampField>,
}

impl JsonLinesFormat {
    pub(crate) fn new(spec: &JsonLinesSource) -> Self {
        Self { key: spec.key.clone(), timestamp: spec.timestamp.clone() }
    }

    /// With a key and an event time in these fields.
    pub(crate) fn of(key: Option<String>, timestamp: Option<TimestampField>) -> Self {
        Self { key, timestamp }
    }

    /// Checks a line and adds it to the batch, or says what is wrong with it.
    pub(crate) fn accept(&self, line: &[u8], out: &mut Output) -> Result<(), String> {
        let (key, time) = self.look(line)?;
        out.batch.push(key.as_deref().map(str::as_bytes), line, time);
        Ok(())
    }

    /// The key and the event time of a line, or what is wrong with it.
    pub(crate) fn look<'a>(&self, line: &'a [u8]) -> Result<KeyAndTime<'a>, String> {
        let text = std::str::from_utf8(line).map_err(bad_utf8)?;
        read_line(text, self.key.as_deref(), self.timestamp.as_ref())
    }
}

/// What a record's line says of its key and its event time.
pub type KeyAndTime<'a> = (Option<Cow<'a, str>>, Option<i64>);

/// Checks a line of JSON, and finds the record's key and event time in it, where those are
/// asked for.
///
/// # Errors
/// What is wrong with it, in words that follow the place of the line.
pub fn read_line<'a>(
    text: &'a str,
    key: Option<&str>,
    timestamp: Option<&TimestampField>,
) -> Result<KeyAndTime<'a>, String> {
    if key.is_none() && timestamp.is_none() {
        json::check(text)?;
        return Ok((None, None));
    }
    let names = [key.unwrap_or_default(), timestamp.map_or("", |t| t.field.as_str())];
    let mut found = [None, None];
    json::pick(text, &names, &mut found)?;
    let [of_key, time] = found;
    let key = key.map(|name| key_text(name, of_key)).transpose()?;
    let time = timestamp.map(|field| event_time(field, time)).transpose()?;
    Ok((key, time))
}

/// A key's text. Null is the empty key, as it is a group of its own in SQL.
fn key_text<'a>(name: &str, value: Option<Scalar<'a>>) -> Result<Cow<'a, str>, String> {
    match value {
        Some(Scalar::Text(text)) => Ok(text),
        Some(Scalar::Null) => Ok("".into()),
        Some(Scalar::Nested) => Err(format!("field `{name}`: an array or object cannot be a key")),
        None => Err(format!("field `{name}` is missing, but it is the key")),
    }
}

fn event_time(field: &TimestampField, value: Option<Scalar<'_>>) -> Result<i64, String> {
    let name = &field.field;
    match value {
        Some(Scalar::Text(text)) => timestamps::parse(&text, field.format)
            .map_err(|problem| format!("field `{name}`: {problem}")),
        Some(Scalar::Null) => Err(format!("field `{name}` is null, but it is the event time")),
        Some(Scalar::Nested) => {
            Err(format!("field `{name}`: an array or object cannot be an event time"))
        }
        None => Err(format!("field `{name}` is missing, but it is the event time")),
    }
}

impl Format for JsonLinesFormat {
    fn begin(&mut self, _lines: &mut Lines) -> Result<(), ConnectorError> {
        Ok(())
    }

    fn read(&mut self, lines: &mut Lines, out: &mut Output) -> Result<bool, ConnectorError> {
        let max_line = lines.max_line();
        let Some(line) = lines.next()? else { return Ok(false) };
        if let Some(len) = line.overlong {
            let (raw, number) = (line.bytes.to_vec(), line.number);
            out.reject_overlong(&place(lines, number), len, max_line, &raw);
        } else if !line.bytes.iter().all(u8::is_ascii_whitespace)
            && let Err(problem) = self.accept(line.bytes, out)
        {
            let (raw, number) = (line.bytes.to_vec(), line.number);
            let place = place(lines, number);
            // "line 3, field `x`: ..." reads better than a second colon.
            let separator = if problem.starts_with("field") { ", " } else { ": " };
            out.reject(format!("{place}{separator}{problem}"), &raw);
        }
        Ok(true)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        config::job::TimestampFormat,
        connectors::file_source::{FileSource, testing::*},
    };

    #[test]
    fn malformed_lines_become_dead_letters_and_the_rest_is_passed_on_as_it_is() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("in.jsonl");
        let text = concat!(
            "{\"k\":\"a\",\"t\":5, \"x\":[1,2]}\r\n",
            "\n",
            "{\"k\":7,\"t\":\"6\"}\n",
            "{\"k\":null,\"t\":7}\n",
            "{\"t\":8}\n",
            "{\"k\":{},\"t\":8}\n",
            "{\"k\":1,\"t\":1.5}\n",
            "{\"k\":1,\"t\":1\n",
            "[1]\n",
        );
        std::fs::write(&path, [text.as_bytes(), b"{\"k\":\"\xff\",\"t\":1}\n"].concat()).unwrap();
        let spec = JsonLinesSource {
            files: input(vec![path.clone()]),
            key: Some("k".into()),
            timestamp: Some(TimestampField { field: "t".into(), format: TimestampFormat::Millis }),
        };
        let format = JsonLinesFormat::new(&spec);
        let mut source = FileSource::open(format, &spec.files, alone(), None).unwrap();
        let (good, bad, error) = drain(&mut source);
        assert!(error.is_none());
        let want = |key: &str, value: &str, time| (key.into(), value.into(), Some(time));
        assert_eq!(
            good,
            [
                want("a", "{\"k\":\"a\",\"t\":5, \"x\":[1,2]}", 5),
                want("7", "{\"k\":7,\"t\":\"6\"}", 6),
                want("", "{\"k\":null,\"t\":7}", 7)
            ]
        );
        let reasons: Vec<_> = bad
            .iter()
            .map(|letter| letter.reason.strip_prefix(&format!("{}, ", path.display())).unwrap())
            .collect();
        assert_eq!(
            reasons,
            [
                "line 5, field `k` is missing, but it is the key",
                "line 6, field `k`: an array or object cannot be a key",
                "line 7, field `t`: `1.5` is not a whole number of milliseconds since 1970",
                "line 8: is not valid JSON: EOF while parsing an object at character 12",
                "line 9: is not a JSON object",
                "line 10: is not UTF-8 from byte 7 on",
            ]
        );
        assert_eq!(bad[0].value, b"{\"t\":8}");
    }

    #[test]
    fn without_key_and_time_any_json_value_is_a_record() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("in.jsonl");
        std::fs::write(&path, "[1]\n\"a\"\nnull\nnul\n").unwrap();
        let spec = JsonLinesSource { files: input(vec![path]), key: None, timestamp: None };
        let format = JsonLinesFormat::new(&spec);
        let mut source = FileSource::open(format, &spec.files, alone(), None).unwrap();
        let (good, bad, _) = drain(&mut source);
        assert_eq!((good.len(), bad.len()), (3, 1));
        assert_eq!((&good[0].0, good[0].2), (&vec![], None));
    }
}
