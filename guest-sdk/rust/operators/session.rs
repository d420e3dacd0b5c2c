//! Adds up the numbers of each key and session.

use cofferdam_sdk::{
    Context, Error, Firing, Group, KeyedProcessor, Merge, Outcome, json::Object,
};
use serde::{Deserialize, Serialize};

/// What is known of a session.
#[derive(Default, Serialize, Deserialize)]
struct Sum {
    sum: i64,
    count: i64,
}

struct Sessions;

impl KeyedProcessor for Sessions {
    type State = Sum;

    fn open(_: &Context) -> Result<Self, Error> {
        Ok(Self)
    }

    fn fold(&mut self, group: &mut Group<'_, Sum>, out: &mut Outcome) -> Result<(), Error> {
        if str::from_utf8(group.key()).is_err() {
            group.records().for_each(|record| out.reject(&record, "the key is not UTF-8"));
            return Ok(());
        }
        for record in group.records() {
            let number = record.value_str().ok().and_then(|text| text.parse::<i64>().ok());
            match number {
                Some(number) => {
                    let state = group.state_or_default();
                    state.sum += number;
                    state.count += 1;
                }
                None => out.reject(&record, "not a number"),
            }
        }
        Ok(())
    }

    fn fire(
        &mut self,
        group: &mut Group<'_, Sum>,
        firing: &Firing<'_>,
        out: &mut Outcome,
    ) -> Result<(), Error> {
        let Some(state) = group.state() else { return Ok(()) };
        out.emit(firing).value_with(|value| {
            let mut object = Object::begin(value);
            object.key("key", group.key());
            object.int("sum", state.sum);
            object.int("count", state.count);
            object.end();
        });
        Ok(())
    }
}

impl Merge for Sessions {
    /// A record fell between two sessions, and they are one.
    fn merge(&mut self, _key: &[u8], earlier: Sum, later: Sum) -> Result<Sum, Error> {
        Ok(Sum { sum: earlier.sum + later.sum, count: earlier.count + later.count })
    }
}

cofferdam_sdk::export!(session: Sessions);

#[cfg(test)]
mod tests {
    use cofferdam_sdk::testing::Harness;
    use serde_json::json;

    use super::*;

    #[test]
    fn a_record_between_two_sessions_makes_them_one() {
        let mut harness = Harness::keyed::<Sessions>(json!({})).unwrap().session(10);
        harness.send([("a", "1", 0), ("a", "2", 15)]).unwrap();
        harness.send([("a", "4", 8)]).unwrap();
        assert_eq!(harness.end().unwrap().texts(0), [r#"{"key":"a","sum":7,"count":3}"#]);
    }
}
