//! Says when a key has been silent for a while.

use cofferdam_sdk::{
    Context, Error, Firing, Group, KeyedProcessor, Outcome, TimerKind, json::Object,
};
use serde::{Deserialize, Serialize};

/// `config` in the job file.
#[derive(Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Config {
    timeout_ms: i64,
}

impl Default for Config {
    fn default() -> Self {
        Self { timeout_ms: 10_000 }
    }
}

/// What is known of a key that is not silent.
#[derive(Clone, Serialize, Deserialize)]
struct Heard {
    last: i64,
    records: i64,
}

struct Silence {
    timeout: i64,
}

impl KeyedProcessor for Silence {
    type State = Heard;

    fn open(ctx: &Context) -> Result<Self, Error> {
        let Config { timeout_ms } = ctx.config()?;
        Ok(Self { timeout: timeout_ms })
    }

    fn fold(&mut self, group: &mut Group<'_, Heard>, out: &mut Outcome) -> Result<(), Error> {
        if str::from_utf8(group.key()).is_err() {
            group.records().for_each(|record| out.reject(&record, "the key is not UTF-8"));
            return Ok(());
        }
        for record in group.records() {
            let Some(at) = record.timestamp() else {
                out.reject(&record, "the record has no event time");
                continue;
            };
            let before = group.state().cloned();
            if let Some(before) = &before {
                group.delete_timer(TimerKind::Event, before.last + self.timeout);
            }
            group.set_timer(TimerKind::Event, at + self.timeout);
            let records = before.map_or(0, |before| before.records) + 1;
            *group.state_mut() = Some(Heard { last: at, records });
        }
        Ok(())
    }

    fn fire(
        &mut self,
        group: &mut Group<'_, Heard>,
        firing: &Firing<'_>,
        out: &mut Outcome,
    ) -> Result<(), Error> {
        let Some(Heard { last, records }) = group.take_state() else { return Ok(()) };
        out.emit(firing).value_with(|value| {
            let mut object = Object::begin(value);
            object.key("key", group.key());
            object.int("idle_since", last);
            object.int("records", records);
            object.end();
        });
        Ok(())
    }
}

cofferdam_sdk::export!(keyed: Silence);

#[cfg(test)]
mod tests {
    use cofferdam_sdk::testing::Harness;
    use serde_json::json;

    use super::*;

    #[test]
    fn a_key_that_falls_silent_is_told_once() {
        let mut harness = Harness::keyed::<Silence>(json!({"timeout_ms": 100})).unwrap();
        harness.send([("a", "", 0), ("a", "", 50)]).unwrap();
        assert!(harness.advance_watermark(149).unwrap().records(0).is_empty());
        let answer = harness.advance_watermark(150).unwrap();
        assert_eq!(answer.texts(0), [r#"{"key":"a","idle_since":50,"records":2}"#]);
        assert_eq!((harness.states(), harness.timers()), (0, 0));
    }
}
