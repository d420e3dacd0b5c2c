//! A guest for tests: sets a timer of processing time at the first record of each
//! key, and says when it fired. Later records of the key are only counted.

use cofferdam_sdk::{
    Context, Error, Firing, FiringKind, Group, KeyedProcessor, Outcome, TimerKind, json::Object,
    time::Millis,
};
use serde::{Deserialize, Serialize};

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Config {
    /// From the first record of a key to its timer.
    after: Millis,
}

/// Rings once for each key.
#[derive(Debug)]
pub struct Alarm {
    after: i64,
}

/// A key whose timer was set.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub struct Armed {
    /// When, milliseconds since 1970.
    at: i64,
    /// Its records so far.
    records: u64,
}

impl KeyedProcessor for Alarm {
    type State = Armed;

    fn open(ctx: &Context) -> Result<Self, Error> {
        let Config { after } = ctx.config()?;
        Ok(Self { after: after.0 })
    }

    fn fold(&mut self, group: &mut Group<'_, Armed>, _: &mut Outcome) -> Result<(), Error> {
        let now = group.processing_time();
        if group.state().is_none() {
            group.set_timer(TimerKind::Processing, now.saturating_add(self.after));
        }
        let records = group.records().len() as u64;
        group.state_or_insert_with(|| Armed { at: now, records: 0 }).records += records;
        Ok(())
    }

    fn fire(
        &mut self,
        group: &mut Group<'_, Armed>,
        firing: &Firing<'_>,
        out: &mut Outcome,
    ) -> Result<(), Error> {
        if firing.kind != FiringKind::Processing {
            return Err(format!("fired by {:?}, which was not asked for", firing.kind).into());
        }
        let Some(armed) = group.state().copied() else {
            return Err("fired for a key without state".into());
        };
        out.emit(firing).value_with(|value| {
            let mut object = Object::begin(value);
            object.key("key", group.key());
            object.int("armed", armed.at);
            object.int("due", firing.time);
            object.int("fired", group.processing_time());
            object.int("records", armed.records);
            object.end();
        });
        Ok(())
    }
}

cofferdam_sdk::export!(keyed: Alarm);

#[cfg(test)]
mod tests {
    use cofferdam_sdk::testing::Harness;
    use serde_json::json;

    use super::*;

    #[test]
    fn it_rings_once_for_a_key_and_only_when_it_is_time() {
        let mut harness = Harness::keyed::<Alarm>(json!({"after": "1s"})).unwrap();
        harness.advance_time(10_000).unwrap();
        harness.send([("a", "1", 0), ("a", "2", 1)]).unwrap();
        harness.advance_time(10_500).unwrap();
        harness.send([("a", "3", 2)]).unwrap();
        assert!(harness.advance_time(10_999).unwrap().texts(0).is_empty());
        let rung = harness.advance_time(11_500).unwrap().texts(0);
        let wanted = r#"{"key":"a","armed":10000,"due":11000,"fired":11500,"records":3}"#;
        assert_eq!(rung, [wanted]);
        harness.send([("a", "4", 3)]).unwrap();
        assert_eq!(harness.timers(), 0);
    }
}
