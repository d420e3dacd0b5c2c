//! Passes every record on as it is: the smallest operator there is, and the
//! yardstick of what a crossing of the sandbox's wall costs.

use cofferdam_sdk::{Batch, Context, Error, Outcome, Processor};

/// Passes every record on as it is.
#[derive(Debug)]
pub struct Identity;

impl Processor for Identity {
    fn open(_: &Context) -> Result<Self, Error> {
        Ok(Self)
    }

    fn process(&mut self, _: &Batch, out: &mut Outcome) -> Result<(), Error> {
        out.keep_all(0);
        Ok(())
    }
}

cofferdam_sdk::export!(processor: Identity);

#[cfg(test)]
mod tests {
    use cofferdam_sdk::testing::Harness;
    use serde_json::json;

    use super::*;

    #[test]
    fn every_record_passes_and_none_is_copied() {
        let mut harness = Harness::processor::<Identity>(json!({})).unwrap();
        let answer = harness.send([("k", "a", 1), ("l", "", 2)]).unwrap();
        assert_eq!(answer.texts(0), ["a", ""]);
        assert_eq!(answer.keys(0), ["k", "l"]);
        assert_eq!(answer.records(0)[1].timestamp, Some(2));
        assert_eq!(answer.values_written, 0);
    }
}
