//! Count, sum, extremes, mean and approximate quantiles of a number, per key and
//! window. What is kept is in `stats.rs`, the quantiles in `sketch.rs`.

mod sketch;
mod stats;

use cofferdam_sdk::{
    Context, Error, Firing, Group, KeyedProcessor, Merge, Outcome, Record, Source,
    json::{self, Number, Object},
    time::rfc3339,
};
use serde::Deserialize;
pub use stats::Stats;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Config {
    field: String,
    #[serde(default = "usual_quantiles")]
    quantiles: Vec<f64>,
    #[serde(default)]
    missing: Missing,
}

fn usual_quantiles() -> Vec<f64> {
    vec![0.5, 0.95, 0.99]
}

/// What becomes of records without the field.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Missing {
    #[default]
    Skip,
    Reject,
}

/// Statistics of a number per key and window.
#[derive(Debug)]
pub struct WindowStats {
    field: String,
    /// Names and ranks.
    quantiles: Vec<(String, f64)>,
    missing: Missing,
}

/// `p50`, `p99_9`: a name that every sink can use.
fn quantile_name(q: f64) -> String {
    // Rounded, since 0.999 * 100 is not 99.9.
    let percent = (q * 100.0 * 1e6).round() / 1e6;
    format!("p{percent}").replace('.', "_")
}

impl WindowStats {
    fn number(&self, record: &Record<'_>) -> Result<Option<Number>, Error> {
        match json::number_field(record.value(), &self.field)? {
            None if self.missing == Missing::Reject => {
                Err(format!("field `{}` is missing", self.field).into())
            }
            number => Ok(number),
        }
    }

    fn write<S: Source>(&self, out: &mut Outcome, source: &S, group: &Group<'_, Stats>) {
        let Some(stats) = group.state() else { return };
        out.emit(source).value_with(|value| {
            let mut object = Object::begin(value);
            object.key("key", group.key());
            if let Some(window) = group.window() {
                object.text("window_start", &rfc3339(window.start));
                object.text("window_end", &rfc3339(window.end));
            }
            stats.write(&mut object);
            for (name, q) in &self.quantiles {
                object.float(name, stats.quantile(*q));
            }
            object.end();
        });
    }
}

impl KeyedProcessor for WindowStats {
    type State = Stats;

    fn open(ctx: &Context) -> Result<Self, Error> {
        let Config { field, quantiles, missing } = ctx.config()?;
        if let Some(q) = quantiles.iter().find(|q| !(0.0..=1.0).contains(*q)) {
            return Err(ctx.config_error("quantiles", format!("{q} is not between 0 and 1")));
        }
        let quantiles = quantiles.into_iter().map(|q| (quantile_name(q), q)).collect();
        Ok(Self { field, quantiles, missing })
    }

    fn fold(&mut self, group: &mut Group<'_, Stats>, out: &mut Outcome) -> Result<(), Error> {
        for record in group.records() {
            match self.number(&record) {
                Ok(Some(number)) => group.state_or_default().add(number),
                Ok(None) => {}
                Err(e) => out.reject(&record, e),
            }
        }
        if group.window().is_none() {
            self.write(out, &group.last(), group);
        }
        Ok(())
    }

    fn fire(
        &mut self,
        group: &mut Group<'_, Stats>,
        firing: &Firing<'_>,
        out: &mut Outcome,
    ) -> Result<(), Error> {
        self.write(out, firing, group);
        Ok(())
    }
}

impl Merge for WindowStats {
    fn merge(&mut self, _: &[u8], mut earlier: Stats, later: Stats) -> Result<Stats, Error> {
        earlier.merge(&later);
        Ok(earlier)
    }
}

cofferdam_sdk::export!(session: WindowStats);

#[cfg(test)]
mod tests {
    use cofferdam_sdk::testing::{Harness, KeyedHarness};
    use serde_json::{Value, json};

    use super::*;

    fn harness(config: Value) -> KeyedHarness<WindowStats> {
        Harness::keyed(config).unwrap()
    }

    fn delay(minutes: impl Into<Value>) -> Value {
        json!({"delay": minutes.into()})
    }

    #[test]
    fn a_window_that_closes_emits_its_statistics() {
        let mut harness =
            harness(json!({"field": "delay", "quantiles": [0.5]})).tumbling(3_600_000);
        let hour = 1_357_034_400_000;
        let records = [3, -2, 11].map(|m| ("UA", delay(m), hour + i64::from(m) + 2));
        harness.send(records).unwrap();
        let answer = harness.end().unwrap();
        let [stats] = &answer.json(0)[..] else { panic!("{answer:?}") };
        let median = stats["p50"].as_f64().unwrap();
        assert!((median - 3.0).abs() <= 0.03, "{median}");
        let mut exact = stats.as_object().unwrap().clone();
        exact.remove("p50");
        let expected = json!({"key": "UA", "window_start": "2013-01-01T10:00:00Z",
            "window_end": "2013-01-01T11:00:00Z", "count": 3, "sum": 12, "min": -2, "max": 11,
            "mean": 4});
        assert_eq!(Value::Object(exact), expected);
        assert_eq!(answer.records(0)[0].timestamp, Some(hour + 3_599_999));
    }

    #[test]
    fn missing_numbers_are_skipped_or_rejected_and_text_is_always_rejected() {
        let records = || [("a", delay(1), 0), ("a", delay(Value::Null), 0), ("a", delay("x"), 0)];
        let answer = harness(json!({"field": "delay"})).send(records()).unwrap();
        assert_eq!(answer.reasons(), ["field `delay` is not a number: \"x\""]);
        assert_eq!(answer.json(0)[0]["count"], 1);
        let answer =
            harness(json!({"field": "delay", "missing": "reject"})).send(records()).unwrap();
        assert_eq!(answer.reasons()[0], "field `delay` is missing");
    }

    #[test]
    fn a_window_without_numbers_emits_nothing() {
        let mut harness = harness(json!({"field": "delay"})).tumbling(10);
        harness.send([("a", delay(Value::Null), 0)]).unwrap();
        assert!(harness.end().unwrap().records(0).is_empty());
    }

    #[test]
    fn sessions_that_become_one_merge() {
        let mut harness = harness(json!({"field": "delay"})).session(10);
        harness.send([("a", delay(1), 0), ("a", delay(2), 15)]).unwrap();
        harness.send([("a", delay(0.5), 8)]).unwrap();
        let answer = harness.end().unwrap().json(0);
        assert_eq!(answer.len(), 1);
        assert_eq!((&answer[0]["count"], &answer[0]["sum"]), (&json!(3), &json!(3.5)));
    }

    #[test]
    fn quantiles_have_names_that_every_sink_can_use() {
        for (q, name) in [(0.5, "p50"), (0.999, "p99_9"), (0.95, "p95"), (1.0, "p100")] {
            assert_eq!(quantile_name(q), name);
        }
        let e =
            Harness::keyed::<WindowStats>(json!({"field": "d", "quantiles": [95]})).unwrap_err();
        assert!(e.to_string().contains("95 is not between 0 and 1"), "{e}");
    }
}
