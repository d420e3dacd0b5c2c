//! Counts the records of each key and window, and emits the count when the window closes.

use cofferdam_sdk::{Context, Error, Firing, Group, KeyedProcessor, Outcome, json::Object};
use serde::{Deserialize, Serialize};

/// What is known of a key in a window. It goes when the window has closed.
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
        if str::from_utf8(group.key()).is_err() {
            group.records().for_each(|record| out.reject(&record, "the key is not UTF-8"));
            return Ok(());
        }
        let records = group.records().len() as i64;
        group.state_or_default().count += records;
        Ok(())
    }

    fn fire(
        &mut self,
        group: &mut Group<'_, Count>,
        firing: &Firing<'_>,
        out: &mut Outcome,
    ) -> Result<(), Error> {
        let (Some(window), Some(state)) = (group.window(), group.state()) else { return Ok(()) };
        out.emit(firing).value_with(|value| {
            let mut object = Object::begin(value);
            object.key("key", group.key());
            object.int("window_start", window.start);
            object.int("window_end", window.end);
            object.int("count", state.count);
            object.end();
        });
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
    fn a_window_is_counted_and_emitted_when_it_closes() {
        let mut harness = Harness::keyed::<Counter>(json!({})).unwrap().tumbling(10_000);
        let answer = harness.send([("a", "", 0), ("a", "", 9_999), ("a", "", 10_000)]).unwrap();
        assert!(answer.records(0).is_empty());
        let answer = harness.advance_watermark(9_999).unwrap();
        let expected = r#"{"key":"a","window_start":0,"window_end":10000,"count":2}"#;
        assert_eq!(answer.texts(0), [expected]);
    }
}
