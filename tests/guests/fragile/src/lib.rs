//! A guest for tests: counts records by key, and by window if there are any, and
//! says the count when it is fired. It crashes on records and on timers that its
//! configuration names, whenever they come: poison.

use cofferdam_sdk::{
    Context, Error, Firing, FiringKind, Group, KeyedProcessor, Merge, Outcome, TimerKind,
    json::Object,
};
use serde::{Deserialize, Serialize};

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Config {
    /// Panics at every record whose value has one of these texts in it.
    #[serde(default)]
    poison: Vec<String>,
    /// Panics whenever a group of this key is fired.
    poison_firing: Option<String>,
    /// Sets a timer of event time for each key, for this time.
    timer: Option<i64>,
    /// Says so instead of panicking.
    #[serde(default)]
    says: bool,
}

/// Counts, unless it crashes.
#[derive(Debug)]
pub struct Fragile {
    config: Config,
}

/// How many records a key has had.
#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize)]
pub struct Count {
    records: u64,
}

impl KeyedProcessor for Fragile {
    type State = Count;

    fn open(ctx: &Context) -> Result<Self, Error> {
        Ok(Self { config: ctx.config()? })
    }

    fn fold(&mut self, group: &mut Group<'_, Count>, _: &mut Outcome) -> Result<(), Error> {
        if let (Some(at), None) = (self.config.timer, group.state()) {
            group.set_timer(TimerKind::Event, at);
        }
        for record in group.records() {
            let value = record.value_str()?;
            if self.config.poison.iter().any(|text| value.contains(text.as_str())) {
                self.crash("record")?;
            }
            group.state_or_default().records += 1;
        }
        Ok(())
    }

    fn fire(
        &mut self,
        group: &mut Group<'_, Count>,
        firing: &Firing<'_>,
        out: &mut Outcome,
    ) -> Result<(), Error> {
        if self.config.poison_firing.as_ref().is_some_and(|key| key.as_bytes() == group.key()) {
            self.crash("firing")?;
        }
        let records = group.state().copied().unwrap_or_default().records;
        out.emit(firing).value_with(|value| {
            let mut object = Object::begin(value);
            object.key("key", group.key());
            object.int("at", firing.time);
            object.int("window", i64::from(firing.kind == FiringKind::Window));
            object.int("records", records);
            object.end();
        });
        Ok(())
    }
}

impl Merge for Fragile {
    fn merge(&mut self, _: &[u8], earlier: Count, later: Count) -> Result<Count, Error> {
        Ok(Count { records: earlier.records + later.records })
    }
}

impl Fragile {
    #[inline(never)]
    fn crash(&self, what: &str) -> Result<(), Error> {
        if self.config.says {
            return Err(format!("a poison {what}, as configured").into());
        }
        panic!("a poison {what}, as configured");
    }
}

cofferdam_sdk::export!(session: Fragile);

#[cfg(test)]
mod tests {
    use cofferdam_sdk::testing::Harness;
    use serde_json::json;

    use super::*;

    #[test]
    fn it_counts_by_key_and_says_so_when_its_timer_fires() {
        let mut harness = Harness::keyed::<Fragile>(json!({"timer": 50})).unwrap();
        harness.send([("a", "1", 0), ("b", "2", 1), ("a", "3", 2)]).unwrap();
        let said = harness.advance_watermark(60).unwrap().texts(0);
        assert_eq!(said.len(), 2);
        assert!(said.contains(&r#"{"key":"a","at":50,"window":0,"records":2}"#.to_owned()));
    }

    #[test]
    fn it_may_say_what_it_does_not_like() {
        let mut harness =
            Harness::keyed::<Fragile>(json!({"poison": ["x"], "says": true})).unwrap();
        assert!(harness.send([("a", "an x", 0)]).is_err());
    }
}
