//! Passes records on, and logs and counts them.

use cofferdam_sdk::{Batch, Context, Error, Outcome, Processor, debug, info, metrics};
use serde::Deserialize;

/// `config` in the job file.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Config {
    greeting: Option<String>,
    #[serde(default = "two")]
    every: u64,
}

fn two() -> u64 {
    2
}

struct Telemetry {
    every: u64,
    records: u64,
}

impl Processor for Telemetry {
    fn open(ctx: &Context) -> Result<Self, Error> {
        let Config { greeting, every } = ctx.config()?;
        let greeting = greeting.ok_or_else(|| Error::new("config: greeting is missing"))?;
        info!("{greeting}, subtask {} of {}", ctx.subtask, ctx.parallelism);
        Ok(Self { every: every.max(1), records: 0 })
    }

    fn process(&mut self, batch: &Batch, out: &mut Outcome) -> Result<(), Error> {
        for record in batch.records() {
            self.records += 1;
            let value = record.value();
            metrics::histogram("value_bytes", value.len() as f64);
            metrics::gauge("last_value_bytes", value.len() as f64);
            if self.records.is_multiple_of(self.every) {
                debug!("record {}: {}", self.records, String::from_utf8_lossy(value));
            }
        }
        metrics::counter("records", batch.len() as u64);
        out.keep_all(0);
        Ok(())
    }
}

cofferdam_sdk::export!(processor: Telemetry);

#[cfg(test)]
mod tests {
    use cofferdam_sdk::testing::Harness;
    use serde_json::json;

    use super::*;

    #[test]
    fn records_are_counted_and_pass() {
        let mut harness = Harness::processor::<Telemetry>(json!({"greeting": "hello"})).unwrap();
        assert_eq!(harness.values(["a", "bc", ""]).unwrap().texts(0), ["a", "bc", ""]);
        assert_eq!(harness.counter("records"), 3);
        assert_eq!(harness.logs()[0].1, "hello, subtask 0 of 1");
        assert_eq!(harness.logs()[1].1, "record 2: bc");
    }

    #[test]
    fn without_a_greeting_it_does_not_open() {
        let error = Harness::processor::<Telemetry>(json!({})).err().unwrap().to_string();
        assert!(error.contains("config: greeting is missing"), "{error}");
    }
}
