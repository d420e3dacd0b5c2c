//! Sends JSON objects to port 0, other texts to port 1, and empty values to the dead letters.

use cofferdam_sdk::{Batch, Context, Error, Outcome, Processor};

struct Route;

impl Processor for Route {
    fn open(_: &Context) -> Result<Self, Error> {
        Ok(Self)
    }

    fn process(&mut self, batch: &Batch, out: &mut Outcome) -> Result<(), Error> {
        for record in batch.records() {
            match record.value().first() {
                Some(b'{') => out.keep(&record),
                Some(_) => out.keep_to(1, &record),
                None => out.reject(&record, "the value is empty"),
            }
        }
        Ok(())
    }
}

cofferdam_sdk::export!(processor: Route);

#[cfg(test)]
mod tests {
    use cofferdam_sdk::testing::Harness;
    use serde_json::json;

    use super::*;

    #[test]
    fn records_go_where_they_belong() {
        let mut harness = Harness::processor::<Route>(json!({})).unwrap();
        let answer = harness.values(["{}", "plain", ""]).unwrap();
        assert_eq!((answer.texts(0), answer.texts(1)), (vec!["{}".into()], vec!["plain".into()]));
        assert_eq!(answer.reasons(), ["the value is empty"]);
    }
}
