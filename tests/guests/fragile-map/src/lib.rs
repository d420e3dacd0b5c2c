//! A guest for tests: passes records on, and crashes on those that its configuration
//! names, in the way that it says, whenever they come. Keeps no state.

use cofferdam_sdk::{Batch, Context, Error, Outcome, Processor};
use serde::Deserialize;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Config {
    /// Crashes on every record whose value has one of these texts in it.
    #[serde(default)]
    poison: Vec<String>,
    /// How: it panics if nothing is given.
    how: Option<How>,
}

#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum How {
    /// Loops without end.
    Spin,
    /// Takes memory without end.
    Hoard,
    /// Says that it cannot go on.
    Say,
}

/// Passes on, unless it crashes.
#[derive(Debug)]
pub struct FragileMap {
    config: Config,
}

impl Processor for FragileMap {
    fn open(ctx: &Context) -> Result<Self, Error> {
        Ok(Self { config: ctx.config()? })
    }

    fn process(&mut self, batch: &Batch, out: &mut Outcome) -> Result<(), Error> {
        for record in batch.records() {
            let value = record.value_str()?;
            if self.config.poison.iter().any(|text| value.contains(text.as_str())) {
                crash(self.config.how)?;
            }
            out.keep(&record);
        }
        Ok(())
    }
}

#[inline(never)]
fn crash(how: Option<How>) -> Result<(), Error> {
    match how {
        None => panic!("a poison record, as configured"),
        Some(How::Say) => Err("a poison record, as configured".into()),
        Some(How::Spin) => loop {
            std::hint::black_box(());
        },
        Some(How::Hoard) => {
            let mut hoard: Vec<Vec<u8>> = Vec::new();
            loop {
                hoard.push(vec![1; 1 << 20]);
                std::hint::black_box(&hoard);
            }
        }
    }
}

cofferdam_sdk::export!(processor: FragileMap);

#[cfg(test)]
mod tests {
    use cofferdam_sdk::testing::Harness;
    use serde_json::json;

    use super::*;

    #[test]
    fn what_is_no_poison_passes() {
        let mut harness =
            Harness::processor::<FragileMap>(json!({"poison": ["x"], "how": "say"})).unwrap();
        assert_eq!(harness.values(["a", "b"]).unwrap().texts(0), ["a", "b"]);
        assert!(harness.values(["a", "x"]).is_err());
    }
}
