//! Lets the first record of each key pass; the others go to port 1.

use cofferdam_sdk::{
    Context, Error, Firing, Group, KeyedProcessor, Outcome, Record, TimerKind, time::Millis,
};
use serde::{Deserialize, Serialize};

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Config {
    ttl: Option<Millis>,
    #[serde(default)]
    time: Time,
}

/// Which time `ttl` is measured in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Time {
    #[default]
    Event,
    Processing,
}

/// Lets the first record of each key pass.
#[derive(Debug)]
pub struct Dedupe {
    ttl: Option<i64>,
    time: Time,
}

/// A key that has been seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Seen {
    /// From when on it counts as new again, milliseconds since 1970.
    expires: Option<i64>,
}

impl Dedupe {
    fn kind(&self) -> TimerKind {
        match self.time {
            Time::Event => TimerKind::Event,
            Time::Processing => TimerKind::Processing,
        }
    }

    /// The record's time, where it matters.
    fn time_of(&self, record: &Record<'_>, processing: i64) -> Result<i64, Error> {
        match self.time {
            Time::Processing => Ok(processing),
            Time::Event if self.ttl.is_none() => Ok(0),
            Time::Event => record.timestamp().ok_or_else(|| {
                "`ttl` needs event time, and the records have none; give the source a timestamp, or \
                 set time = \"processing\""
                    .into()
            }),
        }
    }
}

impl KeyedProcessor for Dedupe {
    type State = Seen;

    fn open(ctx: &Context) -> Result<Self, Error> {
        let Config { ttl, time } = ctx.config()?;
        if ttl.is_some_and(|ttl| ttl.0 == 0) {
            return Err(ctx.config_error("ttl", "it must be longer than nothing"));
        }
        Ok(Self { ttl: ttl.map(|ttl| ttl.0), time })
    }

    fn fold(&mut self, group: &mut Group<'_, Seen>, out: &mut Outcome) -> Result<(), Error> {
        for record in group.records() {
            let now = self.time_of(&record, group.processing_time())?;
            if let Some(seen) = group.state().copied() {
                let Some(expired) = seen.expires.filter(|expires| now >= *expires) else {
                    out.keep_to(1, &record);
                    continue;
                };
                group.delete_timer(self.kind(), expired);
            }
            let expires = self.ttl.map(|ttl| now.saturating_add(ttl));
            *group.state_mut() = Some(Seen { expires });
            if let Some(at) = expires {
                group.set_timer(self.kind(), at);
            }
            out.keep(&record);
        }
        Ok(())
    }

    fn fire(
        &mut self,
        group: &mut Group<'_, Seen>,
        firing: &Firing<'_>,
        _: &mut Outcome,
    ) -> Result<(), Error> {
        // The key may have come anew in the meantime.
        let is_over = |seen: &Seen| seen.expires.is_some_and(|expires| expires <= firing.time);
        if group.state().is_some_and(is_over) {
            group.take_state();
        }
        Ok(())
    }
}

cofferdam_sdk::export!(keyed: Dedupe);

#[cfg(test)]
mod tests {
    use cofferdam_sdk::testing::{Harness, KeyedHarness};
    use serde_json::json;

    use super::*;

    fn harness(config: serde_json::Value) -> KeyedHarness<Dedupe> {
        Harness::keyed(config).unwrap()
    }

    #[test]
    fn the_first_of_a_key_passes_and_later_ones_go_to_port_1() {
        let mut harness = harness(json!({}));
        let answer = harness.send([("a", "1", 0), ("a", "2", 1), ("b", "3", 2)]).unwrap();
        assert_eq!(
            (answer.texts(0), answer.texts(1)),
            (vec!["1".into(), "3".into()], vec!["2".into()])
        );
        assert_eq!(harness.send([("a", "4", 1_000_000)]).unwrap().texts(1), ["4"]);
        assert_eq!(harness.timers(), 0);
    }

    #[test]
    fn a_key_is_forgotten_when_its_time_to_live_has_passed() {
        let mut harness = harness(json!({"ttl": "1s"}));
        harness.send([("a", "1", 0)]).unwrap();
        harness.advance_watermark(999).unwrap();
        assert_eq!(harness.states(), 1);
        harness.advance_watermark(1000).unwrap();
        assert_eq!(harness.states(), 0, "nothing is kept of it");
        assert_eq!(harness.send([("a", "2", 1500)]).unwrap().texts(0), ["2"]);
    }

    #[test]
    fn a_record_past_the_time_to_live_is_new_even_before_the_watermark_says_so() {
        let mut harness = harness(json!({"ttl": "1s"}));
        let answer = harness.send([("a", "1", 0), ("a", "2", 1000), ("a", "3", 1999)]).unwrap();
        assert_eq!(
            (answer.texts(0), answer.texts(1)),
            (vec!["1".into(), "2".into()], vec!["3".into()])
        );
        assert_eq!(harness.timers(), 1, "the first timer is gone");
        harness.advance_watermark(1000).unwrap();
        assert_eq!(harness.states(), 1, "the second one's time is not up");
    }

    #[test]
    fn processing_time_needs_no_event_time() {
        let mut harness = harness(json!({"ttl": "1s", "time": "processing"}));
        harness.advance_time(10_000).unwrap();
        harness.send([("a", "1", 0)]).unwrap();
        assert_eq!(harness.send([("a", "2", 99_999)]).unwrap().texts(1), ["2"]);
        harness.advance_time(11_000).unwrap();
        assert_eq!(harness.states(), 0);
    }

    #[test]
    fn a_duration_without_a_unit_is_refused() {
        let e = Harness::keyed::<Dedupe>(json!({"ttl": "10"})).unwrap_err().to_string();
        assert!(e.contains("config `ttl`") && e.contains("`10` is not a duration"), "{e}");
    }
}
