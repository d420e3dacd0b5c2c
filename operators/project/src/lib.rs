//! Picks, renames and derives fields, and sets keys and event times. Expressions
//! are read and computed in `expression.rs`.

mod expression;

use cofferdam_sdk::{
    Batch, Context, Error, Outcome, Processor, Record,
    json::{self, Object, Raw},
    time,
};
use expression::Expression;
use serde::Deserialize;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Config {
    fields: Option<Vec<FieldConfig>>,
    key: Option<OneOrMore>,
    timestamp: Option<TimestampConfig>,
}

#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum FieldConfig {
    Same(String),
    Other(OtherField),
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct OtherField {
    r#as: String,
    from: Option<String>,
    expr: Option<String>,
    value: Option<serde_json::Value>,
}

#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum OneOrMore {
    One(String),
    More(Vec<String>),
}

#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum TimestampConfig {
    Field(String),
    Full(FullTimestamp),
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct FullTimestamp {
    field: String,
    #[serde(default)]
    format: TimeFormat,
}

/// How an event time is written: as in a source's `timestamp`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
enum TimeFormat {
    #[default]
    Rfc3339,
    Millis,
    Seconds,
}

/// Names of the fields that are read, each once: everything below refers to
/// them by index.
#[derive(Debug, Default)]
struct Names(Vec<String>);

impl Names {
    fn index(&mut self, name: &str) -> usize {
        self.0.iter().position(|known| known == name).unwrap_or_else(|| {
            self.0.push(name.to_owned());
            self.0.len() - 1
        })
    }
}

/// Where an output field comes from.
#[derive(Debug)]
enum Origin {
    Field(usize),
    Constant(String),
    Derived(Expression),
}

/// Picks, renames and derives fields.
#[derive(Debug)]
pub struct Project {
    names: Names,
    fields: Option<Vec<(String, Origin)>>,
    key: Option<Vec<usize>>,
    timestamp: Option<(usize, TimeFormat)>,
    /// The key of the record at hand.
    key_bytes: Vec<u8>,
    /// The value of the record at hand.
    value: Vec<u8>,
}

impl Project {
    fn write_key(&mut self, found: &[Option<Raw<'_>>]) -> Result<(), Error> {
        self.key_bytes.clear();
        for (i, &field) in self.key.iter().flatten().enumerate() {
            if i > 0 {
                self.key_bytes.push(b'|');
            }
            let raw = found[field].filter(|raw| !raw.is_null()).ok_or_else(|| {
                Error::new(format!(
                    "field `{}` is missing, and the key needs it",
                    self.names.0[field]
                ))
            })?;
            self.key_bytes.extend_from_slice(raw.text().as_bytes());
        }
        Ok(())
    }

    fn event_time(&self, found: &[Option<Raw<'_>>]) -> Result<Option<i64>, Error> {
        let Some((field, format)) = self.timestamp else { return Ok(None) };
        let name = &self.names.0[field];
        let raw = found[field].filter(|raw| !raw.is_null()).ok_or_else(|| {
            Error::new(format!("field `{name}` is missing, and the event time needs it"))
        })?;
        read_time(raw, format).map(Some).ok_or_else(|| {
            Error::new(format!(
                "field `{name}` is not a time in the format {format:?}: {}",
                raw.json()
            ))
        })
    }

    fn write_value(&mut self, found: &[Option<Raw<'_>>]) -> Result<(), Error> {
        self.value.clear();
        let mut object = Object::begin(&mut self.value);
        for (name, origin) in self.fields.iter().flatten() {
            match origin {
                Origin::Constant(json) => {
                    object.json(name, json);
                }
                Origin::Field(field) => {
                    if let Some(raw) = found[*field] {
                        object.raw(name, raw);
                    }
                }
                Origin::Derived(expression) => {
                    let value = expression
                        .compute(found, &self.names.0)
                        .map_err(|e| e.while_doing(format_args!("field `{name}`")))?;
                    value.write(name, &mut object);
                }
            }
        }
        object.end();
        Ok(())
    }

    fn project<'a>(
        &mut self,
        record: &Record<'a>,
        found: &mut Vec<Option<Raw<'a>>>,
        out: &mut Outcome,
    ) -> Result<(), Error> {
        json::find(record.value(), &self.names.0, found)?;
        let timestamp = self.event_time(found)?;
        self.write_key(found)?;
        if self.fields.is_some() {
            self.write_value(found)?;
        }
        let mut emit = out.emit(record);
        if self.key.is_some() {
            emit = emit.key(&self.key_bytes);
        }
        if let Some(timestamp) = timestamp {
            emit = emit.timestamp(timestamp);
        }
        if self.fields.is_some() {
            emit.value(&self.value)
        } else {
            emit.unchanged()
        }
        Ok(())
    }
}

fn read_time(raw: Raw<'_>, format: TimeFormat) -> Option<i64> {
    match format {
        TimeFormat::Rfc3339 => time::parse_rfc3339(&raw.string()?),
        TimeFormat::Millis => match raw.number()? {
            json::Number::Int(n) => Some(n),
            json::Number::Float(_) => None,
        },
        TimeFormat::Seconds => match raw.number()? {
            json::Number::Int(n) => n.checked_mul(1000),
            #[expect(clippy::cast_possible_truncation, reason = "checked to fit")]
            json::Number::Float(x) => {
                let millis = (x * 1000.0).round();
                (millis.abs() < 9e18).then_some(millis as i64)
            }
        },
    }
}

fn origin(
    ctx: &Context,
    at: usize,
    field: &OtherField,
    names: &mut Names,
) -> Result<Origin, Error> {
    let problem = |what: &str, e: String| ctx.config_error(&format!("fields[{at}].{what}"), e);
    match (&field.from, &field.expr, &field.value) {
        (Some(from), None, None) => Ok(Origin::Field(names.index(from))),
        (None, None, Some(value)) => Ok(Origin::Constant(value.to_string())),
        (None, Some(text), None) => Expression::parse(text, &mut |name| names.index(name))
            .map(Origin::Derived)
            .map_err(|e| problem("expr", e)),
        _ => Err(problem("as", "give one of `from`, `expr` and `value` beside it".into())),
    }
}

impl Processor for Project {
    fn open(ctx: &Context) -> Result<Self, Error> {
        let config: Config = ctx.config()?;
        let mut names = Names::default();
        let mut field = |(at, field): (usize, FieldConfig)| match field {
            FieldConfig::Same(name) => {
                let index = names.index(&name);
                Ok((name, Origin::Field(index)))
            }
            FieldConfig::Other(other) => {
                let origin = origin(ctx, at, &other, &mut names)?;
                Ok((other.r#as, origin))
            }
        };
        let fields = config.fields.map(|fields| fields.into_iter().enumerate().map(&mut field));
        let fields = fields.map(Iterator::collect::<Result<Vec<_>, Error>>).transpose()?;
        let key = config.key.map(|key| match key {
            OneOrMore::One(name) => vec![names.index(&name)],
            OneOrMore::More(all) => all.iter().map(|name| names.index(name)).collect(),
        });
        if key.as_ref().is_some_and(Vec::is_empty) {
            return Err(ctx.config_error("key", "give at least one field"));
        }
        let timestamp = config.timestamp.map(|timestamp| match timestamp {
            TimestampConfig::Field(name) => (names.index(&name), TimeFormat::default()),
            TimestampConfig::Full(full) => (names.index(&full.field), full.format),
        });
        Ok(Self { names, fields, key, timestamp, key_bytes: vec![], value: vec![] })
    }

    fn process(&mut self, batch: &Batch, out: &mut Outcome) -> Result<(), Error> {
        let mut found = Vec::new();
        for record in batch.records() {
            if let Err(e) = self.project(&record, &mut found, out) {
                out.reject(&record, e);
            }
        }
        Ok(())
    }
}

cofferdam_sdk::export!(processor: Project);

#[cfg(test)]
mod tests {
    use cofferdam_sdk::testing::{Answer, Harness};
    use serde_json::json;

    use super::*;

    const FLIGHT: &str = r#"{"carrier":"UA","from":"EWR","to":"IAH","dep":600,"arr":750,"at":"2013-01-01T10:00:00Z","no":null}"#;

    fn run(config: serde_json::Value, value: &str) -> Answer {
        Harness::processor::<Project>(config).unwrap().send([("old", value, 1)]).unwrap()
    }

    #[test]
    fn fields_are_picked_renamed_and_derived_in_the_order_given() {
        let config = json!({"fields": [
            "to", {"from": "carrier", "as": "airline"}, {"as": "minutes", "expr": "arr - dep"},
            {"as": "route", "expr": "from & '-' & to"}, {"as": "year", "value": 2013}, "absent", "no",
        ]});
        let answer = run(config, FLIGHT);
        let expected =
            r#"{"to":"IAH","airline":"UA","minutes":150,"route":"EWR-IAH","year":2013,"no":null}"#;
        assert_eq!(answer.texts(0), [expected]);
        assert_eq!((answer.keys(0)[0].as_str(), answer.records(0)[0].timestamp), ("old", Some(1)));
    }

    #[test]
    fn without_fields_the_value_is_kept_untouched() {
        let config = json!({"key": ["carrier", "dep"], "timestamp": "at"});
        let answer = run(config, FLIGHT);
        assert_eq!((answer.texts(0), answer.keys(0)), (vec![FLIGHT.into()], vec!["UA|600".into()]));
        assert_eq!(answer.records(0)[0].timestamp, Some(1_357_034_400_000));
        assert_eq!(answer.values_written, 0);
    }

    #[test]
    fn times_are_read_in_three_formats() {
        for (format, value, millis) in [
            ("millis", json!(1500), 1500),
            ("seconds", json!(1.5), 1500),
            ("rfc3339", json!("1970-01-01T00:00:01.5Z"), 1500),
        ] {
            let config = json!({"timestamp": {"field": "t", "format": format}});
            let answer = run(config, &json!({"t": value}).to_string());
            assert_eq!(answer.records(0)[0].timestamp, Some(millis), "{format}");
        }
    }

    #[test]
    fn records_that_cannot_have_a_key_or_a_time_are_rejected_with_the_field() {
        let reasons = |config, value| run(config, value).reasons()[0].to_owned();
        assert!(reasons(json!({"key": "no"}), FLIGHT).contains("field `no` is missing"));
        let reason = reasons(json!({"timestamp": "carrier"}), FLIGHT);
        assert!(
            reason.contains("field `carrier` is not a time in the format Rfc3339: \"UA\""),
            "{reason}"
        );
        let derived = json!({"fields": [{"as": "x", "expr": "carrier * 2"}]});
        assert_eq!(reasons(derived, FLIGHT), "field `x`: `carrier` is not a number: \"UA\"");
        assert!(reasons(json!({"key": "a"}), "[1]").contains("expected `{`"));
    }

    #[test]
    fn a_wrong_configuration_says_where() {
        let refusal = |config| Harness::processor::<Project>(config).unwrap_err().to_string();
        let e = refusal(json!({"fields": [{"as": "x", "expr": "a +"}]}));
        assert!(e.contains("config `fields[0].expr`"), "{e}");
        let e = refusal(json!({"fields": ["a", {"as": "x"}]}));
        assert!(e.contains("config `fields[1].as`: give one of"), "{e}");
        assert!(refusal(json!({"keys": "a"})).contains("did you mean `key`?"));
    }
}
