//! A guest for measurements: a map that writes every value anew, in upper case.

use cofferdam_sdk::{Batch, Context, Error, Outcome, Processor};

/// Makes values upper case (ASCII).
#[derive(Debug)]
pub struct Upper;

impl Processor for Upper {
    fn open(_: &Context) -> Result<Self, Error> {
        Ok(Self)
    }

    fn process(&mut self, batch: &Batch, out: &mut Outcome) -> Result<(), Error> {
        for record in batch.records() {
            out.emit(&record).value_with(|value| {
                value.extend(record.value().iter().map(u8::to_ascii_uppercase));
            });
        }
        Ok(())
    }
}

cofferdam_sdk::export!(processor: Upper);

#[cfg(test)]
mod tests {
    use cofferdam_sdk::testing::Harness;

    use super::*;

    #[test]
    fn values_change_and_the_rest_stays() {
        let mut harness = Harness::processor::<Upper>(serde_json::json!({})).unwrap();
        let answer = harness.send([("k", "aB1", 7)]).unwrap();
        assert_eq!((answer.texts(0), answer.keys(0)), (vec!["AB1".into()], vec!["k".into()]));
        assert_eq!(answer.records(0)[0].timestamp, Some(7));
    }
}
