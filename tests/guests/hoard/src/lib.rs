//! A guest for measures: keeps so many bytes of state for each key, and goes down after
//! so many records. Emits nothing.

use std::cell::Cell;

use cofferdam_sdk::{Context, Error, Group, KeyedProcessor, Outcome};
use serde::Deserialize;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Config {
    /// Bytes of state for each key.
    state_bytes: usize,
    /// Each instance panics after it has seen so many records.
    trap_after: Option<u64>,
}

/// Keeps state.
#[derive(Debug)]
pub struct Hoard {
    config: Config,
    seen: Cell<u64>,
}

impl KeyedProcessor for Hoard {
    type State = (u64, Vec<u8>);

    fn open(ctx: &Context) -> Result<Self, Error> {
        Ok(Self { config: ctx.config()?, seen: Cell::new(0) })
    }

    fn fold(
        &mut self,
        group: &mut Group<'_, (u64, Vec<u8>)>,
        _: &mut Outcome,
    ) -> Result<(), Error> {
        let records = group.records().len() as u64;
        self.seen.set(self.seen.get() + records);
        if self.config.trap_after.is_some_and(|most| self.seen.get() > most) {
            panic!("trap_after = {:?}, as configured", self.config.trap_after);
        }
        let (count, ballast) = group.state_or_default();
        *count += records;
        ballast.resize(self.config.state_bytes, 7);
        Ok(())
    }
}

cofferdam_sdk::export!(keyed: Hoard);

#[cfg(test)]
mod tests {
    use cofferdam_sdk::testing::Harness;
    use serde_json::json;

    use super::*;

    #[test]
    #[should_panic(expected = "trap_after = Some(2)")]
    fn it_goes_down_after_so_many_records() {
        let config = json!({"state_bytes": 10, "trap_after": 2});
        let mut harness = Harness::keyed::<Hoard>(config).unwrap();
        let _ = harness.send([("a", "", 0), ("b", "", 0), ("c", "", 0)]);
    }
}
