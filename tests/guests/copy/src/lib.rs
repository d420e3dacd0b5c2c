//! A guest for tests and measurements: passes records on by copying every column
//! afresh, the most that a pass-through can cost.

use cofferdam_sdk::{Batch, Context, Error, Outcome, Processor};

/// Copies.
#[derive(Debug)]
pub struct Copy;

impl Processor for Copy {
    fn open(_: &Context) -> Result<Self, Error> {
        Ok(Self)
    }

    fn process(&mut self, batch: &Batch, out: &mut Outcome) -> Result<(), Error> {
        for record in batch.records() {
            let mut emit = out.emit_fresh();
            if !batch.keys().is_absent() {
                emit = emit.key(record.key());
            }
            if let Some(time) = record.timestamp() {
                emit = emit.timestamp(time);
            }
            emit.value(record.value());
        }
        Ok(())
    }
}

cofferdam_sdk::export!(processor: Copy);

#[cfg(test)]
mod tests {
    use cofferdam_sdk::testing::Harness;

    use super::*;

    #[test]
    fn every_column_is_copied() {
        let mut harness = Harness::processor::<Copy>(serde_json::json!({})).unwrap();
        let answer = harness.send([("k", "a", 1), ("l", "b", 2)]).unwrap();
        assert_eq!(
            (answer.texts(0), answer.keys(0)),
            (vec!["a".into(), "b".into()], vec!["k".into(), "l".into()])
        );
        assert_eq!(answer.records(0)[1].timestamp, Some(2));
        assert_eq!(answer.values_written, 2);
        assert_eq!(harness.values(["x"]).unwrap().records(0)[0].timestamp, None);
    }
}
