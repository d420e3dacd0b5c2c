//! Keeps the records whose value contains a text.

use cofferdam_sdk::{Batch, Context, Error, Outcome, Processor, Search};
use serde::Deserialize;

/// `config` in the job file.
#[derive(Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Config {
    contains: Search,
}

impl Default for Config {
    fn default() -> Self {
        Self { contains: Search::new("error") }
    }
}

struct Filter {
    config: Config,
}

impl Processor for Filter {
    fn open(ctx: &Context) -> Result<Self, Error> {
        Ok(Self { config: ctx.config()? })
    }

    fn process(&mut self, batch: &Batch, out: &mut Outcome) -> Result<(), Error> {
        for record in batch.records() {
            if self.config.contains.is_in(record.value()) {
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
