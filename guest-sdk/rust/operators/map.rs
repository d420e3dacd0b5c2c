//! Masks every digit of a value.

use cofferdam_sdk::{Batch, Context, Error, Outcome, Processor};

struct Mask;

impl Processor for Mask {
    fn open(_: &Context) -> Result<Self, Error> {
        Ok(Self)
    }

    fn process(&mut self, batch: &Batch, out: &mut Outcome) -> Result<(), Error> {
        for record in batch.records() {
            // Key and time are those of the record; the value is written where it is to be.
            out.emit(&record).value_with(|value| {
                let masked = |byte: &u8| if byte.is_ascii_digit() { b'#' } else { *byte };
                value.extend(record.value().iter().map(masked));
            });
        }
        Ok(())
    }
}

cofferdam_sdk::export!(processor: Mask);

#[cfg(test)]
mod tests {
    use cofferdam_sdk::testing::Harness;
    use serde_json::json;

    use super::*;

    #[test]
    fn digits_are_masked_and_the_rest_stays() {
        let mut harness = Harness::processor::<Mask>(json!({})).unwrap();
        assert_eq!(harness.values(["a1b22", "", "äé"]).unwrap().texts(0), ["a#b##", "", "äé"]);
    }
}
