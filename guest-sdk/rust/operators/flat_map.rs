//! Makes a record of each word, with the word in lower case as its key.

use cofferdam_sdk::{Batch, Context, Error, Outcome, Processor};

struct Words;

impl Processor for Words {
    fn open(_: &Context) -> Result<Self, Error> {
        Ok(Self)
    }

    fn process(&mut self, batch: &Batch, out: &mut Outcome) -> Result<(), Error> {
        for record in batch.records() {
            let words = record.value().split(|byte| *byte == b' ');
            for word in words.filter(|word| !word.is_empty()) {
                // The time is that of the record.
                out.emit(&record).key(&word.to_ascii_lowercase()).value(word);
            }
        }
        Ok(())
    }
}

cofferdam_sdk::export!(processor: Words);

#[cfg(test)]
mod tests {
    use cofferdam_sdk::testing::Harness;
    use serde_json::json;

    use super::*;

    #[test]
    fn each_word_is_a_record_with_its_key() {
        let mut harness = Harness::processor::<Words>(json!({})).unwrap();
        let answer = harness.send([("", "To  be or", 5), ("", " ", 6)]).unwrap();
        assert_eq!(answer.texts(0), ["To", "be", "or"]);
        assert_eq!(answer.keys(0), ["to", "be", "or"]);
        assert_eq!(answer.records(0)[2].timestamp, Some(5));
    }
}
