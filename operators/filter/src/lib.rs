//! Keeps the records whose fields meet conditions; the others go to port 1.
//! How conditions compare is in `condition.rs`, how a CSV row is split in
//! `csv.rs`.

mod condition;
mod csv;

use cofferdam_sdk::{
    Batch, Context, Error, Outcome, Processor, Record,
    json::{self, Raw},
};
use condition::{Condition, Field};
use serde::Deserialize;
use serde_json::Value;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Config {
    #[serde(rename = "where")]
    conditions: Vec<ConditionConfig>,
    #[serde(default)]
    mode: Mode,
    #[serde(default)]
    format: Format,
    #[serde(default)]
    columns: Vec<String>,
    delimiter: Option<char>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct ConditionConfig {
    field: FieldName,
    op: condition::Op,
    #[serde(default)]
    value: Value,
}

#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum FieldName {
    Name(String),
    Number(usize),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Mode {
    #[default]
    All,
    Any,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Format {
    #[default]
    Json,
    Csv,
}

/// Keeps the records whose fields meet conditions.
#[derive(Debug)]
pub struct Filter {
    conditions: Vec<Condition>,
    mode: Mode,
    reader: Reader,
}

/// Where the conditions' fields stand in a value.
#[derive(Debug)]
enum Reader {
    /// Names of fields, one a condition.
    Json(Vec<String>),
    /// Numbers of columns from 0, one a condition.
    Csv { columns: Vec<usize>, delimiter: u8 },
}

impl Filter {
    fn matches(&self, mut test: impl FnMut(usize, &Condition) -> bool) -> bool {
        let mut tests = self.conditions.iter().enumerate().map(|(i, c)| test(i, c));
        match self.mode {
            Mode::All => tests.all(|ok| ok),
            Mode::Any => tests.any(|ok| ok),
        }
    }

    fn keeps<'a>(
        &self,
        record: &Record<'a>,
        found: &mut Vec<Option<Raw<'a>>>,
    ) -> Result<bool, Error> {
        match &self.reader {
            Reader::Json(names) => {
                json::find(record.value(), names, found)?;
                Ok(self.matches(|i, c| c.holds(Field::from_json(found[i]))))
            }
            Reader::Csv { columns, delimiter } => {
                let row = csv::split(record.value_str()?, *delimiter)?;
                if let Some(beyond) = columns.iter().find(|c| **c >= row.len()) {
                    return Err(Error::new(format!(
                        "the row has {} columns, and column {} is asked for",
                        row.len(),
                        beyond + 1
                    )));
                }
                Ok(self.matches(|i, c| c.holds(Field::from_text(&row[columns[i]]))))
            }
        }
    }
}

fn csv_columns(ctx: &Context, config: &Config) -> Result<Vec<usize>, Error> {
    let column = |(i, condition): (usize, &ConditionConfig)| match &condition.field {
        FieldName::Number(0) => {
            Err(ctx.config_error(&format!("where[{i}].field"), "columns count from 1"))
        }
        FieldName::Number(n) => Ok(n - 1),
        FieldName::Name(name) => config.columns.iter().position(|c| c == name).ok_or_else(|| {
            let problem = format!(
                "column `{name}` is not among `columns`: {}",
                if config.columns.is_empty() {
                    "none are given".into()
                } else {
                    config.columns.join(", ")
                }
            );
            ctx.config_error(&format!("where[{i}].field"), problem)
        }),
    };
    config.conditions.iter().enumerate().map(column).collect()
}

fn delimiter(ctx: &Context, config: &Config) -> Result<u8, Error> {
    let given = config.delimiter.unwrap_or(',');
    u8::try_from(given)
        .ok()
        .filter(u8::is_ascii)
        .ok_or_else(|| ctx.config_error("delimiter", "it must be one ASCII character"))
}

impl Processor for Filter {
    fn open(ctx: &Context) -> Result<Self, Error> {
        let config: Config = ctx.config()?;
        if config.conditions.is_empty() {
            return Err(ctx.config_error("where", "give at least one condition"));
        }
        let reader = match config.format {
            Format::Csv => Reader::Csv {
                columns: csv_columns(ctx, &config)?,
                delimiter: delimiter(ctx, &config)?,
            },
            Format::Json => {
                let name = |c: &ConditionConfig| match &c.field {
                    FieldName::Name(name) => name.clone(),
                    FieldName::Number(n) => n.to_string(),
                };
                Reader::Json(config.conditions.iter().map(name).collect())
            }
        };
        let condition = |(i, c): (usize, ConditionConfig)| {
            Condition::new(c.op, &c.value)
                .map_err(|problem| ctx.config_error(&format!("where[{i}].value"), problem))
        };
        let conditions =
            config.conditions.into_iter().enumerate().map(condition).collect::<Result<_, _>>()?;
        Ok(Self { conditions, mode: config.mode, reader })
    }

    fn process(&mut self, batch: &Batch, out: &mut Outcome) -> Result<(), Error> {
        let mut found = Vec::new();
        for record in batch.records() {
            match self.keeps(&record, &mut found) {
                Ok(true) => out.keep(&record),
                Ok(false) => out.keep_to(1, &record),
                Err(e) => out.reject(&record, e),
            }
        }
        Ok(())
    }
}

cofferdam_sdk::export!(processor: Filter);

#[cfg(test)]
mod tests {
    use cofferdam_sdk::testing::{Answer, Harness};
    use serde_json::json;

    use super::*;

    fn run(config: Value, values: &[&str]) -> Answer {
        Harness::processor::<Filter>(config).unwrap().values(values).unwrap()
    }

    fn refusal(config: Value) -> String {
        Harness::processor::<Filter>(config).unwrap_err().to_string()
    }

    #[test]
    fn matching_records_are_kept_and_the_others_go_to_port_1() {
        let config = json!({"where": [{"field": "delay", "op": "ge", "value": 10}]});
        let values =
            [r#"{"delay":10}"#, r#"{"delay":9.5}"#, r#"{"delay":null}"#, r#"{"delay":"x"}"#];
        let answer = run(config, &values);
        assert_eq!(answer.texts(0), [values[0]]);
        assert_eq!(answer.texts(1), values[1..]);
        assert_eq!(answer.values_written, 0, "nothing is copied");
    }

    #[test]
    fn all_needs_every_condition_and_any_needs_one() {
        let conditions = json!([
            {"field": "a", "op": "eq", "value": 1},
            {"field": "b", "op": "in", "value": ["x", "y"]},
        ]);
        let values = [r#"{"a":1,"b":"x"}"#, r#"{"a":1,"b":"z"}"#, r#"{"a":2}"#];
        assert_eq!(run(json!({"where": conditions}), &values).texts(0), values[..1]);
        assert_eq!(run(json!({"where": conditions, "mode": "any"}), &values).texts(0), values[..2]);
    }

    #[test]
    fn null_counts_as_missing() {
        let config = json!({"where": [{"field": "a", "op": "exists"}]});
        let answer = run(config, &[r#"{"a":0}"#, r#"{"a":null}"#, "{}"]);
        assert_eq!((answer.records(0).len(), answer.records(1).len()), (1, 2));
        let config = json!({"where": [{"field": "a", "op": "missing"}]});
        assert_eq!(run(config, &[r#"{"a":null}"#, "{}", r#"{"a":0}"#]).records(0).len(), 2);
    }

    #[test]
    fn what_is_no_object_is_rejected_with_the_reason() {
        let config = json!({"where": [{"field": "a", "op": "exists"}]});
        let answer = run(config, &[r#"{"a":1"#, "7", r#"{"a":1}"#]);
        assert_eq!(answer.records(0).len(), 1);
        assert_eq!(answer.rejected.len(), 2);
        assert!(answer.reasons()[0].contains("at byte 6"), "{:?}", answer.reasons());
    }

    #[test]
    fn csv_columns_are_found_by_number_and_by_name() {
        let config = json!({"format": "csv", "columns": ["city", "delay"], "where": [
            {"field": "delay", "op": "lt", "value": 5},
            {"field": 1, "op": "contains", "value": "York"},
        ]});
        let rows = [r#""New York, NY",4"#, "York,6", "York", r#""York,1"#];
        let answer = run(config, &rows);
        assert_eq!(answer.texts(0), rows[..1]);
        assert_eq!(answer.texts(1), rows[1..2]);
        assert_eq!(answer.rejected.len(), 2);
        assert!(answer.reasons()[0].contains("1 columns, and column 2"), "{:?}", answer.reasons());
    }

    #[test]
    fn a_wrong_configuration_says_where() {
        assert!(refusal(json!({"where": []})).contains("config `where`: give at least one"));
        let e = refusal(json!({"where": [{"field": "a", "op": "gte", "value": 1}]}));
        assert!(e.contains("where[0].op") && e.contains("did you mean"), "{e}");
        let e = refusal(json!({"where": [{"field": "a", "op": "lt"}]}));
        assert!(e.contains("where[0].value"), "{e}");
        let e = refusal(json!({"format": "csv", "where": [{"field": "a", "op": "exists"}]}));
        assert!(e.contains("column `a` is not among"), "{e}");
    }
}
