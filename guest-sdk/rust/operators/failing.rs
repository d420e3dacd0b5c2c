//! Fails in the ways in which an operator can fail. For tests.

use cofferdam_sdk::{Batch, Context, Error, Outcome, Processor};

struct Failing;

impl Processor for Failing {
    fn open(_: &Context) -> Result<Self, Error> {
        Ok(Self)
    }

    fn process(&mut self, batch: &Batch, out: &mut Outcome) -> Result<(), Error> {
        for record in batch.records() {
            match record.value() {
                b"panic" => panic!("boom: told to panic"),
                b"error" => return Err(Error::new("told to fail")),
                b"trap" => {
                    // Index out of bounds, which the compiler does not see.
                    let none: &[u8] = &record.value()[..0];
                    out.emit(&record).value(&none[record.value().len()..]);
                }
                _ => out.keep(&record),
            }
        }
        Ok(())
    }
}

cofferdam_sdk::export!(processor: Failing);

#[cfg(test)]
mod tests {
    use cofferdam_sdk::testing::Harness;
    use serde_json::json;

    use super::*;

    #[test]
    fn what_is_to_fail_fails() {
        let mut harness = Harness::processor::<Failing>(json!({})).unwrap();
        assert_eq!(harness.values(["fine"]).unwrap().texts(0), ["fine"]);
        assert!(harness.values(["error"]).err().unwrap().to_string().contains("told to fail"));
    }
}
