//! Filters records, derives fields and makes new values by expressions of the job file, so that
//! what takes a line needs no toolchain. The language is CEL, the
//! [Common Expression Language](https://github.com/google/cel-spec), which ends always and has no
//! way to the outside. Expressions see
//!
//! | name | what it is |
//! | --- | --- |
//! | `record` | the value, which is a JSON object then |
//! | `value` | the value as text |
//! | `key` | the key as text |
//! | `timestamp` | the event time in milliseconds since 1970; `null` without one |
//!
//! How one is evaluated is in `expression.rs`, what can be wrong with it before that in
//! `compile.rs`, what it wants of a record in
//! `rewrite.rs`, and how that is read in `json.rs`. A record for which one has no answer
//! is rejected, with the reason.

mod compile;
mod expression;
mod json;
mod rewrite;

use cofferdam_sdk::{Batch, Context, Error, Outcome, Processor, Record};
use expression::{Evaluator, Expression, Seen};
use serde::Deserialize;
use serde_json::{Map, Value};

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Config {
    /// Which records stay: true or false.
    filter: Option<String>,
    /// Fields that are set, in this order; later ones see what earlier ones have set.
    #[serde(default)]
    set: Map<String, Value>,
    /// Fields that are left out then.
    #[serde(default)]
    drop: Vec<String>,
    /// A new value, instead of fields.
    value: Option<String>,
    /// A new key.
    key: Option<String>,
    /// A new event time, in milliseconds since 1970.
    timestamp: Option<String>,
}

/// Does what the expressions say, in the order of the fields.
#[derive(Debug)]
pub struct Expr {
    evaluator: Evaluator,
    filter: Option<Expression>,
    set: Vec<(String, Expression)>,
    drop: Vec<String>,
    value: Option<Expression>,
    key: Option<Expression>,
    timestamp: Option<Expression>,
}

impl Processor for Expr {
    fn open(ctx: &Context) -> Result<Self, Error> {
        let config: Config = ctx.config()?;
        let mut evaluator = Evaluator::new().map_err(Error::new)?;
        let filter = config.filter.as_ref().map(|text| {
            evaluator.compile_truth(text).map_err(|wrong| ctx.config_error("filter", wrong))
        });
        let filter = filter.transpose()?;
        let mut compile = |field: &str, text: &str| {
            evaluator.compile(text).map_err(|wrong| ctx.config_error(field, wrong))
        };
        let mut set = Vec::with_capacity(config.set.len());
        for (name, text) in &config.set {
            let field = format!("set.{name}");
            let text = text.as_str().ok_or_else(|| {
                ctx.config_error(&field, "an expression is a text, such as \"record.a + 1\"")
            })?;
            set.push((name.clone(), compile(&field, text)?));
        }
        if config.value.is_some() && !(set.is_empty() && config.drop.is_empty()) {
            let both = "there is `set` or `drop`, too: either makes the value";
            return Err(ctx.config_error("value", both));
        }
        let mut one =
            |field: &str, text: Option<&String>| text.map(|text| compile(field, text)).transpose();
        let value = one("value", config.value.as_ref())?;
        let key = one("key", config.key.as_ref())?;
        let timestamp = one("timestamp", config.timestamp.as_ref())?;
        let this = Self { evaluator, filter, set, drop: config.drop, value, key, timestamp };
        if this.filter.is_none() && !this.changes() {
            let nothing = "there is no expression: one of filter, set, drop, value, key, timestamp";
            return Err(Error::new(format!("operator `{}`: {nothing}", ctx.operator)));
        }
        Ok(this)
    }

    fn process(&mut self, batch: &Batch, out: &mut Outcome) -> Result<(), Error> {
        for record in batch.records() {
            match self.one(&record) {
                Ok(None) => {}
                Ok(Some(changed)) if changed.is_nothing() => out.keep(&record),
                Ok(Some(changed)) => changed.write(&record, out),
                Err(why) => out.reject(&record, why),
            }
        }
        Ok(())
    }
}

/// What is other than it was.
#[derive(Debug, Default)]
struct Changed {
    key: Option<Vec<u8>>,
    value: Option<Vec<u8>>,
    timestamp: Option<i64>,
}

impl Changed {
    fn is_nothing(&self) -> bool {
        self.key.is_none() && self.value.is_none() && self.timestamp.is_none()
    }

    fn write(self, record: &Record<'_>, out: &mut Outcome) {
        let mut emit = out.emit(record);
        if let Some(at) = self.timestamp {
            emit = emit.timestamp(at);
        }
        if let Some(key) = &self.key {
            emit = emit.key(key);
        }
        match &self.value {
            Some(value) => emit.value(value),
            None => emit.unchanged(),
        }
    }
}

impl Expr {
    fn changes(&self) -> bool {
        !self.set.is_empty()
            || !self.drop.is_empty()
            || self.value.is_some()
            || self.key.is_some()
            || self.timestamp.is_some()
    }

    /// What becomes of a record; none if it is filtered out.
    fn one(&self, record: &Record<'_>) -> Result<Option<Changed>, String> {
        let evaluator = &self.evaluator;
        let rewritten = !self.set.is_empty() || !self.drop.is_empty();
        let mut seen = Seen::of(record, &evaluator.wanted, rewritten);
        if let Some(filter) = &self.filter {
            let stays =
                evaluator.truth(filter, &mut seen).map_err(|why| format!("`filter`: {why}"))?;
            if !stays {
                return Ok(None);
            }
        }
        let mut changed = Changed::default();
        for (name, expression) in &self.set {
            let value = evaluator.json(expression, &mut seen);
            seen.set(name, &value.map_err(|why| format!("`set.{name}`: {why}"))?)?;
        }
        if rewritten {
            self.drop.iter().try_for_each(|name| seen.drop_field(name))?;
            changed.value = Some(seen.object()?.into_bytes());
        }
        if let Some(value) = &self.value {
            let text = evaluator.text(value, &mut seen).map_err(|why| format!("`value`: {why}"))?;
            changed.value = Some(text.into_bytes());
        }
        if let Some(key) = &self.key {
            let text = evaluator.text(key, &mut seen).map_err(|why| format!("`key`: {why}"))?;
            changed.key = Some(text.into_bytes());
        }
        if let Some(at) = &self.timestamp {
            let at = evaluator.int(at, &mut seen).map_err(|why| format!("`timestamp`: {why}"))?;
            changed.timestamp = Some(at);
        }
        Ok(Some(changed))
    }
}

cofferdam_sdk::export!(processor: Expr);

#[cfg(test)]
mod tests {
    use cofferdam_sdk::testing::Harness;
    use serde_json::json;

    use super::*;

    const FLIGHTS: [&str; 3] = [
        r#"{"carrier":"UA","delay":20,"origin":"SFO"}"#,
        r#"{"carrier":"AA","delay":-3.5,"origin":"LAX"}"#,
        r#"{"carrier":"DL","origin":"SFO"}"#,
    ];

    #[test]
    fn a_filter_keeps_what_it_says_and_a_record_without_the_field_is_rejected() {
        let config = json!({"filter": "record.delay > 15 && record.origin == 'SFO'"});
        let mut harness = Harness::processor::<Expr>(config).unwrap();
        let answer = harness.values(FLIGHTS).unwrap();
        assert_eq!(answer.texts(0), [FLIGHTS[0]]);
        let reasons = answer.reasons();
        assert_eq!(reasons.len(), 1, "{reasons:?}");
        assert!(
            reasons[0].starts_with("`filter`: ") && reasons[0].contains("delay"),
            "{reasons:?}"
        );
    }

    #[test]
    fn has_and_numbers_of_both_kinds_work() {
        let config = json!({"filter": "has(record.delay) && record.delay < 0"});
        let mut harness = Harness::processor::<Expr>(config).unwrap();
        assert_eq!(harness.values(FLIGHTS).unwrap().texts(0), [FLIGHTS[1]]);
    }

    #[test]
    fn fields_are_set_in_order_and_dropped_and_the_others_stay_as_they_were() {
        let config = json!({
            "set": {"late": "record.delay > 15", "note": "record.late ? 'late' : 'fine'"},
            "drop": ["delay"],
            "key": "record.carrier",
        });
        let mut harness = Harness::processor::<Expr>(config).unwrap();
        let answer = harness.values([FLIGHTS[0]]).unwrap();
        let expected = r#"{"carrier":"UA","origin":"SFO","late":true,"note":"late"}"#;
        assert_eq!(answer.texts(0), [expected]);
        assert_eq!(answer.keys(0), ["UA"]);
    }

    #[test]
    fn a_value_may_be_text_or_json_whose_keys_are_in_order() {
        let config = json!({"value": "{'b': size(value), 'a': [1, 2.5, null]}"});
        let mut harness = Harness::processor::<Expr>(config).unwrap();
        assert_eq!(harness.values(["four"]).unwrap().texts(0), [r#"{"a":[1,2.5,null],"b":4}"#]);
        let mut harness =
            Harness::processor::<Expr>(json!({"value": "key + ':' + value"})).unwrap();
        assert_eq!(harness.send([("k", "v", 0)]).unwrap().texts(0), ["k:v"]);
    }

    #[test]
    fn the_event_time_can_be_read_and_set() {
        let config = json!({"timestamp": "timestamp + 1000"});
        let mut harness = Harness::processor::<Expr>(config).unwrap();
        let answer = harness.send([("k", "v", 5)]).unwrap();
        assert_eq!(
            (answer.texts(0), answer.records(0)[0].timestamp),
            (vec!["v".into()], Some(1005))
        );
    }

    #[test]
    fn names_that_an_expression_makes_itself_are_its_own() {
        let record = r#"{"xs":[1,2,3],"record":{"a":7}}"#;
        for (filter, stays) in [
            ("record.xs.exists(x, x > 2)", true),
            ("record.xs.all(x, x > 2)", false),
            ("record.xs.filter(x, x > 1).map(x, x * 2) == [4, 6]", true),
            // Not the record, but each of the list.
            ("[{'a': 1}].all(record, record.a == 1)", true),
            ("[{'a': 1}].exists(record, has(record.xs))", false),
            ("record['record'].a == 7 && record.record.a == 7", true),
            ("has(record.record.a) && !has(record.record.b) && !has(record.b)", true),
            ("'xs' in record && size(record) == 2", true),
            ("type(record.xs) == list", true),
            ("record.b == 1 || record.record.a == 7", true),
        ] {
            let mut harness = Harness::processor::<Expr>(json!({"filter": filter})).unwrap();
            let answer = harness.values([record]).unwrap();
            assert!(answer.reasons().is_empty(), "{filter}: {:?}", answer.reasons());
            assert_eq!(answer.texts(0).len(), usize::from(stays), "{filter}");
        }
    }

    #[test]
    fn fields_that_nothing_sets_stay_as_they_were_to_the_letter() {
        let record = "{ \"n\" : 1.0e2, \"big\":123456789012345678901234567890,\"\\u0061b\":\"\\u0062\",\"l\":[1, 2],\"m\":{\"x\":\n1},\"gone\":0}";
        let config = json!({"set": {"ab": "record.ab + 'c'", "new": "1"}, "drop": ["gone"]});
        let mut harness = Harness::processor::<Expr>(config).unwrap();
        let expected = concat!(
            r#"{"n":1.0e2,"big":123456789012345678901234567890,"ab":"bc","l":[1, 2],"#,
            r#""m":{"x":1},"new":1}"#
        );
        assert_eq!(harness.values([record]).unwrap().texts(0), [expected]);
    }

    #[test]
    fn what_was_set_is_seen_by_all_that_come_later() {
        let config = json!({
            "set": {"a": "record.a + 1", "b": "record.a * 10", "all": "size(record)"},
            "drop": ["a"],
            "key": "has(record.a) ? 'there' : string(record.b)",
        });
        let mut harness = Harness::processor::<Expr>(config).unwrap();
        let answer = harness.values([r#"{"a":1}"#]).unwrap();
        assert_eq!(answer.texts(0), [r#"{"b":20,"all":2}"#]);
        assert_eq!(answer.keys(0), ["20"]);
    }

    #[test]
    fn mistakes_in_expressions_stop_the_job_before_it_runs() {
        for (config, said) in [
            (json!({"filter": "record.delay >"}), "config `filter`"),
            (json!({"set": {"a": "1 +"}}), "config `set.a`"),
            (json!({"set": {"a": 1}}), "an expression is a text"),
            (json!({"filter": "recrod.delay > 1"}), "`recrod`"),
            (json!({"value": "1", "drop": ["a"]}), "either makes the value"),
            (json!({}), "there is no expression"),
            (json!({"fliter": "true"}), "did you mean `filter`?"),
        ] {
            let error = Harness::processor::<Expr>(config).unwrap_err().to_string();
            assert!(error.contains(said), "`{said}` is not in `{error}`");
        }
    }

    #[test]
    fn what_an_expression_has_no_answer_for_is_rejected_with_the_reason() {
        for (config, value, said) in [
            (json!({"filter": "record.a"}), r#"{"a":1}"#, "it gives an int, and must give a bool"),
            (json!({"filter": "record.a > 1"}), "no json", "the value is no JSON object"),
            (json!({"key": "record.a / 0"}), r#"{"a":1}"#, "`key`: "),
            (json!({"timestamp": "'now'"}), "", "`timestamp`: it gives a string"),
            (json!({"set": {"a": "'x'"}}), "[1]", "the value is no JSON object"),
        ] {
            let mut harness = Harness::processor::<Expr>(config).unwrap();
            let answer = harness.values([value]).unwrap();
            assert!(answer.reasons()[0].contains(said), "`{said}`: {:?}", answer.reasons());
        }
    }
}
