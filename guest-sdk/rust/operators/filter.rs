//! Keeps the records whose value contains a text.

use cofferdam_sdk::{Batch, Context, Error, Outcome, Processor};
use serde::Deserialize;

/// `config` in the job file.
#[derive(Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Config {
    contains: String,
}

impl Default for Config {
    fn default() -> Self {
        Self { contains: "error".to_owned() }
    }
}

struct Filter {
    contains: Vec<u8>,
}

impl Processor for Filter {
    fn open(ctx: &Context) -> Result<Self, Error> {
        let Config { contains } = ctx.config()?;
        Ok(Self { contains: contains.into_bytes() })
    }

    fn process(&mut self, batch: &Batch, out: &mut Outcome) -> Result<(), Error> {
        let wanted = &self.contains;
        for record in batch.records() {
            let mut places = record.value().windows(wanted.len().max(1));
            if wanted.is_empty() || places.any(|place| place == wanted) {
                out.keep(&record); // nothing is copied: the host gathers what is kept
            }
        }
        Ok(())
    }
}

cofferdam_sdk::export!(processor: Filter);

#[cfg(test)]
mod tests {
    use cofferdam_sdk::testing::Harness;
    use serde_json::json;

    use super::*;

    #[test]
    fn what_contains_the_text_is_kept() {
        let mut harness = Harness::processor::<Filter>(json!({"contains": "b"})).unwrap();
        assert_eq!(harness.values(["abc", "ac", "b"]).unwrap().texts(0), ["abc", "b"]);
    }

    #[test]
    fn errors_are_kept_if_nothing_is_said() {
        let mut harness = Harness::processor::<Filter>(json!({})).unwrap();
        assert_eq!(harness.values(["an error", "fine"]).unwrap().texts(0), ["an error"]);
    }
}
