//! Counts the records of each key, and emits the count so far with every record.

use cofferdam_sdk::{Context, Error, Group, KeyedProcessor, Outcome, json::Object};
use serde::{Deserialize, Serialize};

/// What is known of a key. The host keeps it, checkpoints it, and moves it when the parallelism
/// changes.
#[derive(Default, Serialize, Deserialize)]
struct Count {
    count: i64,
}

struct Counter;

impl KeyedProcessor for Counter {
    type State = Count;

    fn open(_: &Context) -> Result<Self, Error> {
        Ok(Self)
    }

    fn fold(&mut self, group: &mut Group<'_, Count>, out: &mut Outcome) -> Result<(), Error> {
        let key = group.key();
        if str::from_utf8(key).is_err() {
            group.records().for_each(|record| out.reject(&record, "the key is not UTF-8"));
            return Ok(());
        }
        for record in group.records() {
            let state = group.state_or_default();
            state.count += 1;
            let count = state.count;
            out.emit(&record).value_with(|value| {
                let mut object = Object::begin(value);
                object.key("key", key);
                object.int("count", count);
                object.end();
            });
        }
        Ok(())
    }
}

cofferdam_sdk::export!(keyed: Counter);

#[cfg(test)]
mod tests {
    use cofferdam_sdk::testing::Harness;
    use serde_json::json;

    use super::*;

    #[test]
    fn each_key_is_counted_by_itself() {
        let mut harness = Harness::keyed::<Counter>(json!({})).unwrap();
        harness.send([("a", "x", 0), ("b", "x", 1)]).unwrap();
        let answer = harness.send([("a", "x", 2), ("a", "x", 3)]).unwrap();
        assert_eq!(answer.texts(0), [r#"{"key":"a","count":2}"#, r#"{"key":"a","count":3}"#]);
        assert_eq!(harness.state("b").unwrap().unwrap().count, 1);
    }
}
