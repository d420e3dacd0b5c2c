//! What is asked for when an operator is tried: records as somebody wrote them, how they are to be
//! fed, and what a job file would say of the operator. It is the same whoever asks: the API, or a
//! file beside an operator's source.

use base64::{Engine as _, prelude::BASE64_STANDARD};
use serde::Deserialize;
use serde_json::{Map, Value};

use super::{Feed, Sample, feed::samples_of_lines};
use crate::config::{
    job::{TimestampField, TimestampFormat},
    units::parse_duration,
};

/// How many input ports there may be.
const MOST_INPUTS: u32 = 64;

/// What is asked for.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TrialRequest {
    /// The records.
    pub records: Vec<GivenRecord>,
    /// Records as JSON Lines, instead of `records`: each line is a value.
    pub lines: Option<String>,
    /// Which field of `lines` is the key.
    pub key_field: Option<String>,
    /// Which is the event time.
    pub timestamp_field: Option<String>,
    /// How that is written: `rfc3339` (if not given), `millis` or `seconds`.
    pub timestamp_format: Option<String>,
    /// What a job file would say of the operator: `window`, `config`, `memory`, `deadline`,
    /// `cpu_cap`, `ports`.
    pub operator: Map<String, Value>,
    /// How many input ports it has; as many as the records name if not given.
    pub inputs: Option<u32>,
    /// How many records a batch has at most; 1024 if not given.
    pub batch_records: Option<usize>,
    /// By how much the records come out of order, as `5s`; not at all if not given.
    pub max_out_of_orderness: Option<String>,
    /// Whether the input ends after the records; yes if not given.
    pub close: Option<bool>,
    /// By how much the clock goes on after the records, as `1m`; not at all if not given.
    pub advance_clock: Option<String>,
}

/// A record as it is given.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct GivenRecord {
    /// A text as it is; anything else as JSON.
    pub value: Value,
    /// Bytes in base64, instead.
    pub value_base64: Option<String>,
    /// The key.
    pub key: Option<String>,
    /// Bytes in base64, instead.
    pub key_base64: Option<String>,
    /// The event time, in milliseconds since 1970.
    pub timestamp: Option<i64>,
    /// The input port; 0 if not given.
    pub port: u32,
}

impl GivenRecord {
    fn sample(self, at: usize) -> Result<Sample, String> {
        let decode = |name: &str, text: &str| {
            BASE64_STANDARD
                .decode(text)
                .map_err(|error| format!("records[{at}].{name}: no base64: {error}"))
        };
        let value = match (&self.value_base64, self.value) {
            (Some(text), Value::Null) => decode("value_base64", text)?,
            (Some(_), _) => {
                return Err(format!("records[{at}] has a `value` and a `value_base64`"));
            }
            (None, Value::String(text)) => text.into_bytes(),
            (None, other) => other.to_string().into_bytes(),
        };
        let key = match (&self.key_base64, self.key) {
            (Some(text), None) => Some(decode("key_base64", text)?),
            (Some(_), Some(_)) => {
                return Err(format!("records[{at}] has a `key` and a `key_base64`"));
            }
            (None, key) => key.map(String::into_bytes),
        };
        Ok(Sample { port: self.port, key, value, timestamp: self.timestamp })
    }
}

impl TrialRequest {
    fn samples(&mut self) -> Result<Vec<Sample>, String> {
        let Some(lines) = &self.lines else {
            let of_lines = [&self.key_field, &self.timestamp_field, &self.timestamp_format];
            if of_lines.iter().any(|field| field.is_some()) {
                return Err(
                    "`key_field`, `timestamp_field` and `timestamp_format` go with `lines`"
                        .to_owned(),
                );
            }
            let records = std::mem::take(&mut self.records);
            return records.into_iter().enumerate().map(|(i, given)| given.sample(i)).collect();
        };
        if !self.records.is_empty() {
            return Err("give `records` or `lines`, not both".to_owned());
        }
        let timestamp = match (&self.timestamp_field, self.timestamp_format.as_deref()) {
            (Some(field), format) => {
                let format = match format {
                    None | Some("rfc3339") => TimestampFormat::Rfc3339,
                    Some("millis") => TimestampFormat::Millis,
                    Some("seconds") => TimestampFormat::Seconds,
                    Some(other) => {
                        return Err(format!(
                            "`timestamp_format` is `rfc3339`, `millis` or `seconds`, not `{other}`"
                        ));
                    }
                };
                Some(TimestampField { field: field.clone(), format })
            }
            (None, Some(_)) => {
                return Err("`timestamp_format` goes with `timestamp_field`".to_owned());
            }
            (None, None) => None,
        };
        samples_of_lines(lines, self.key_field.as_deref(), timestamp.as_ref())
    }

    /// Records, and how they are fed. They are taken out of the request.
    ///
    /// # Errors
    /// What is wrong with it, in words.
    pub fn feed(&mut self) -> Result<Feed, String> {
        let samples = self.samples()?;
        let default = Feed::default();
        let batch_records = self.batch_records.unwrap_or(default.batch_records);
        if batch_records == 0 {
            return Err("`batch_records` must be 1 at least".to_owned());
        }
        Ok(Feed {
            samples,
            batch_records,
            out_of_orderness: millis("max_out_of_orderness", self.max_out_of_orderness.as_ref())?,
            close: self.close.unwrap_or(default.close),
            advance_clock: millis("advance_clock", self.advance_clock.as_ref())?,
            restart_every: None,
        })
    }

    /// How many input ports there are.
    ///
    /// # Errors
    /// If there are too many, or none.
    pub fn ports(&self, feed: &Feed) -> Result<u32, String> {
        let named = feed.samples.iter().map(|sample| sample.port.saturating_add(1)).max();
        let inputs = self.inputs.or(named).unwrap_or(1);
        if !(1..=MOST_INPUTS).contains(&inputs) {
            return Err(format!("there may be 1 to {MOST_INPUTS} input ports"));
        }
        Ok(inputs)
    }
}

fn millis(name: &str, text: Option<&String>) -> Result<i64, String> {
    let Some(text) = text else { return Ok(0) };
    let time = parse_duration(text).map_err(|error| format!("`{name}`: {error}"))?;
    Ok(i64::try_from(time.as_millis()).unwrap_or(i64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn samples(json: &str) -> Result<Vec<Sample>, String> {
        let mut request: TrialRequest = serde_json::from_str(json).map_err(|e| e.to_string())?;
        request.samples()
    }

    #[test]
    fn a_text_is_itself_and_anything_else_is_json() {
        let given = r#"{"records": [
            {"value": "a \"text\""}, {"value": {"z": 1, "a": [2.50]}}, {"value": null},
            {"value_base64": "/wA=", "key_base64": "AQ==", "timestamp": -1, "port": 3}, {"key": "k"}
        ]}"#;
        let samples = samples(given).unwrap();
        let values: Vec<_> = samples.iter().map(|s| s.value.as_slice()).collect();
        assert_eq!(
            values,
            [&b"a \"text\""[..], b"{\"z\":1,\"a\":[2.5]}", b"null", b"\xff\0", b"null"]
        );
        assert_eq!((samples[3].key.as_deref(), samples[3].port), (Some(&[1][..]), 3));
        assert_eq!((samples[3].timestamp, samples[4].key.as_deref()), (Some(-1), Some(&b"k"[..])));
    }

    #[test]
    fn what_does_not_go_together_is_refused() {
        for (json, said) in [
            (r#"{"records": [{"value": 1, "value_base64": ""}]}"#, "records[0] has a `value` and"),
            (r#"{"records": [{}, {"key": "", "key_base64": ""}]}"#, "records[1] has a `key` and"),
            (r#"{"records": [{"value_base64": "%"}]}"#, "records[0].value_base64: no base64"),
            (r#"{"records": [{"vaule": 1}]}"#, "unknown field `vaule`"),
            (r#"{"lines": "1", "records": [{}]}"#, "not both"),
            (r#"{"key_field": "k"}"#, "go with `lines`"),
            (r#"{"lines": "{}", "timestamp_format": "millis"}"#, "goes with `timestamp_field`"),
            (r#"{"lines": "{}", "timestamp_field": "t", "timestamp_format": "x"}"#, "not `x`"),
        ] {
            let error = samples(json).unwrap_err();
            assert!(error.contains(said), "`{said}` is not in `{error}`");
        }
    }
}
