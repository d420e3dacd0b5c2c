//! A guest for measurements: keeps the records whose value begins with an even
//! byte. The cheapest condition there is, so that what is measured is the way.

use cofferdam_sdk::{Batch, Context, Error, Outcome, Processor};

/// Keeps about half of the records.
#[derive(Debug)]
pub struct KeepFilter;

impl Processor for KeepFilter {
    fn open(_: &Context) -> Result<Self, Error> {
        Ok(Self)
    }

    fn process(&mut self, batch: &Batch, out: &mut Outcome) -> Result<(), Error> {
        for record in batch.records() {
            if record.value().first().is_some_and(|byte| byte % 2 == 0) {
                out.keep(&record);
            }
        }
        Ok(())
    }
}

cofferdam_sdk::export!(processor: KeepFilter);

#[cfg(test)]
mod tests {
    use cofferdam_sdk::testing::Harness;

    use super::*;

    #[test]
    fn only_values_that_begin_with_an_even_byte_are_kept() {
        let mut harness = Harness::processor::<KeepFilter>(serde_json::json!({})).unwrap();
        assert_eq!(harness.values(["b1", "a2", "", "d4"]).unwrap().texts(0), ["b1", "d4"]);
    }
}
