//! Alerts where a number is far from what is usual for its key. Mean and deviation
//! are kept by Welford's method, or with exponentially fading weights.

use cofferdam_sdk::{
    Context, Error, Group, KeyedProcessor, Outcome, Record,
    json::{self, Object},
    metrics,
    time::rfc3339,
};
use serde::{Deserialize, Serialize};

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Config {
    field: String,
    #[serde(default = "three")]
    threshold: f64,
    #[serde(default = "thirty")]
    min_samples: u64,
    #[serde(default)]
    min_deviation: f64,
    decay: Option<f64>,
    #[serde(default)]
    direction: Direction,
    #[serde(default)]
    pass: bool,
}

fn three() -> f64 {
    3.0
}

fn thirty() -> u64 {
    30
}

/// On which side of the mean a number is alarming.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Direction {
    #[default]
    Both,
    Above,
    Below,
}

/// Alerts where a number is far from what is usual for its key.
#[derive(Debug)]
pub struct Anomaly(Config);

/// What is usual for a key.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
pub struct Usual {
    samples: u64,
    mean: f64,
    /// Welford: the sum of squared differences. Fading: the variance.
    spread: f64,
}

impl Usual {
    /// Welford's update (Knuth, TAOCP 2, 4.2.2), or its exponentially weighted
    /// form (Finch, "Incremental calculation of weighted mean and variance", 2009).
    #[expect(clippy::cast_precision_loss, reason = "counts above 2^53 are far away")]
    fn learn(&mut self, x: f64, decay: Option<f64>) {
        self.samples += 1;
        let difference = x - self.mean;
        match decay {
            Some(_) if self.samples == 1 => self.mean = x,
            Some(weight) => {
                let step = weight * difference;
                self.mean += step;
                self.spread = (1.0 - weight) * (self.spread + difference * step);
            }
            None => {
                self.mean += difference / self.samples as f64;
                self.spread += difference * (x - self.mean);
            }
        }
    }

    #[expect(clippy::cast_precision_loss, reason = "counts above 2^53 are far away")]
    fn deviation(&self, decay: Option<f64>) -> f64 {
        match decay {
            Some(_) => self.spread.sqrt(),
            None if self.samples < 2 => 0.0,
            None => (self.spread / (self.samples - 1) as f64).sqrt(),
        }
    }
}

/// A number that is out of the ordinary, and what is ordinary.
struct Alert {
    value: f64,
    mean: f64,
    deviation: f64,
    score: f64,
}

impl Anomaly {
    /// Judges a number by what came before it.
    fn judge(&self, usual: &Usual, value: f64) -> Option<Alert> {
        let config = &self.0;
        let deviation = usual.deviation(config.decay).max(config.min_deviation);
        // Without any deviation, every number would be infinitely far.
        if usual.samples < config.min_samples || deviation <= 0.0 {
            return None;
        }
        let score = (value - usual.mean) / deviation;
        let is_far = match config.direction {
            Direction::Both => score.abs() > config.threshold,
            Direction::Above => score > config.threshold,
            Direction::Below => score < -config.threshold,
        };
        is_far.then_some(Alert { value, mean: usual.mean, deviation, score })
    }
}

fn write(out: &mut Outcome, record: &Record<'_>, alert: &Alert) {
    out.emit(record).value_with(|value| {
        let mut object = Object::begin(value);
        object.key("key", record.key());
        if let Some(time) = record.timestamp() {
            object.text("time", &rfc3339(time));
        }
        object.float("value", alert.value).float("mean", alert.mean);
        object.float("deviation", alert.deviation).float("score", alert.score);
        object.end();
    });
}

impl KeyedProcessor for Anomaly {
    type State = Usual;

    fn open(ctx: &Context) -> Result<Self, Error> {
        let config: Config = ctx.config()?;
        if config.threshold.is_nan() || config.threshold <= 0.0 {
            return Err(ctx.config_error("threshold", "it must be greater than 0"));
        }
        if config.min_deviation.is_nan() || config.min_deviation < 0.0 {
            return Err(ctx.config_error("min_deviation", "it must not be negative"));
        }
        if config.decay.is_some_and(|decay| decay.is_nan() || decay <= 0.0 || decay >= 1.0) {
            return Err(ctx.config_error("decay", "it must lie between 0 and 1"));
        }
        Ok(Self(config))
    }

    fn fold(&mut self, group: &mut Group<'_, Usual>, out: &mut Outcome) -> Result<(), Error> {
        let mut usual = group.state().copied().unwrap_or_default();
        let mut alerts = 0;
        for record in group.records() {
            let number = match json::number_field(record.value(), &self.0.field) {
                Ok(number) => number,
                Err(e) => {
                    out.reject(&record, e);
                    continue;
                }
            };
            if let Some(value) = number.map(json::Number::as_f64) {
                if let Some(alert) = self.judge(&usual, value) {
                    write(out, &record, &alert);
                    alerts += 1;
                }
                usual.learn(value, self.0.decay);
            }
            if self.0.pass {
                out.keep_to(1, &record);
            }
        }
        if alerts > 0 {
            metrics::counter("alerts", alerts);
        }
        if usual.samples > 0 {
            *group.state_mut() = Some(usual);
        }
        Ok(())
    }
}

cofferdam_sdk::export!(keyed: Anomaly);

#[cfg(test)]
mod tests {
    use cofferdam_sdk::testing::{Harness, KeyedHarness};
    use serde_json::{Value, json};

    use super::*;

    fn harness(config: Value) -> KeyedHarness<Anomaly> {
        Harness::keyed(config).unwrap()
    }

    fn reading(x: f64) -> Value {
        json!({ "x": x })
    }

    /// 1, 3, 1, 3, ...: mean 2, sample deviation a little above 1.
    fn train(harness: &mut KeyedHarness<Anomaly>, n: i64) {
        for i in 0..n {
            let x = if i % 2 == 0 { 1.0 } else { 3.0 };
            assert!(harness.send([("k", reading(x), i)]).unwrap().records(0).is_empty());
        }
    }

    #[test]
    fn a_number_past_the_threshold_is_an_alert_with_its_score() {
        let mut harness = harness(json!({"field": "x", "min_samples": 10}));
        train(&mut harness, 10);
        let answer = harness.send([("k", reading(5.0), 0), ("k", reading(7.0), 60_000)]).unwrap();
        let alerts = answer.json(0);
        assert_eq!(alerts.len(), 1, "5 is less than three deviations off");
        let deviation = alerts[0]["deviation"].as_f64().unwrap();
        // The sample deviation of 1,3,1,3,1,3,1,3,1,3,5, by hand: mean 25/11,
        // squares 5 + 45 + 25 = 75, (75 - 625/11) / 10.
        assert!((deviation - (200.0_f64 / 110.0).sqrt()).abs() < 1e-12, "{deviation}");
        let score = (7.0 - 25.0 / 11.0) / deviation;
        assert!((alerts[0]["score"].as_f64().unwrap() - score).abs() < 1e-12);
        assert_eq!(alerts[0]["time"], "1970-01-01T00:01:00Z");
        assert_eq!(answer.keys(0), ["k"]);
    }

    #[test]
    fn there_is_no_alert_before_enough_samples_nor_without_deviation() {
        let mut harness = harness(json!({"field": "x", "min_samples": 11}));
        train(&mut harness, 10);
        assert!(harness.send([("k", reading(1e9), 0)]).unwrap().records(0).is_empty());
        let constant = json!({"field": "x", "min_samples": 2});
        let mut harness = self::harness(constant);
        let same = [("k", reading(7.0), 0), ("k", reading(7.0), 0), ("k", reading(8.0), 0)];
        assert!(harness.send(same).unwrap().records(0).is_empty());
    }

    #[test]
    fn a_least_deviation_makes_constants_alarming() {
        let config = json!({"field": "x", "min_samples": 2, "min_deviation": 0.1});
        let same = [("k", reading(7.0), 0), ("k", reading(7.0), 0), ("k", reading(8.0), 0)];
        assert_eq!(harness(config).send(same).unwrap().records(0).len(), 1);
    }

    #[test]
    fn direction_and_decay_are_heeded() {
        let config = json!({"field": "x", "min_samples": 10, "direction": "above", "decay": 0.1});
        let mut harness = harness(config);
        train(&mut harness, 40);
        assert!(harness.send([("k", reading(-50.0), 0)]).unwrap().records(0).is_empty());
        let state = harness.state("k").unwrap().unwrap();
        assert!(state.mean < 0.0, "one outlier moves a fading mean: {state:?}");
        assert_eq!(harness.send([("k", reading(500.0), 0)]).unwrap().records(0).len(), 1);
        assert_eq!(harness.counter("alerts"), 1);
    }

    #[test]
    fn records_pass_to_port_1_when_asked_and_bad_ones_are_rejected() {
        let mut harness = harness(json!({"field": "x", "pass": true}));
        let answer = harness.send([("k", json!({}), 0), ("k", json!({"x": "1"}), 0)]).unwrap();
        assert_eq!(answer.texts(1), ["{}"]);
        assert_eq!(answer.rejected.len(), 1);
        assert_eq!(harness.states(), 0);
    }

    #[test]
    fn impossible_settings_are_refused() {
        for (config, field) in [
            (json!({"field": "x", "threshold": 0}), "threshold"),
            (json!({"field": "x", "decay": 1}), "decay"),
            (json!({"field": "x", "min_deviation": -1}), "min_deviation"),
        ] {
            let e = Harness::keyed::<Anomaly>(config).unwrap_err().to_string();
            assert!(e.contains(&format!("config `{field}`")), "{e}");
        }
    }
}
