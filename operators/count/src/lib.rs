//! A running count of each key, or of each key and window.

use cofferdam_sdk::{
    Context, Error, Firing, Group, KeyedProcessor, Merge, Outcome, Source, Window, json::Object,
    time::rfc3339,
};
use serde::Deserialize;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Config {
    emit: Option<Emit>,
}

/// When counts are emitted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Emit {
    EveryBatch,
    OnWindow,
}

/// Counts the records of each key.
#[derive(Debug)]
pub struct Count {
    emit: Option<Emit>,
}

impl Count {
    /// In windows a count is of interest when it is final, otherwise always.
    fn emits_every_batch(&self, window: Option<Window>) -> bool {
        window.is_none() || self.emit == Some(Emit::EveryBatch)
    }
}

fn write<S: Source>(out: &mut Outcome, source: &S, group: &Group<'_, u64>) {
    let n = group.state().copied().unwrap_or(0);
    out.emit(source).value_with(|value| {
        let mut object = Object::begin(value);
        object.key("key", group.key());
        if let Some(window) = group.window() {
            object.text("window_start", &rfc3339(window.start));
            object.text("window_end", &rfc3339(window.end));
        }
        object.int("count", n);
        object.end();
    });
}

impl KeyedProcessor for Count {
    type State = u64;

    fn open(ctx: &Context) -> Result<Self, Error> {
        let Config { emit } = ctx.config()?;
        Ok(Self { emit })
    }

    fn fold(&mut self, group: &mut Group<'_, u64>, out: &mut Outcome) -> Result<(), Error> {
        *group.state_or_default() += group.records().len() as u64;
        if self.emits_every_batch(group.window()) {
            write(out, &group.last(), group);
        }
        Ok(())
    }

    fn fire(
        &mut self,
        group: &mut Group<'_, u64>,
        firing: &Firing<'_>,
        out: &mut Outcome,
    ) -> Result<(), Error> {
        if !self.emits_every_batch(group.window()) {
            write(out, firing, group);
        }
        Ok(())
    }
}

impl Merge for Count {
    fn merge(&mut self, _: &[u8], earlier: u64, later: u64) -> Result<u64, Error> {
        Ok(earlier + later)
    }
}

cofferdam_sdk::export!(session: Count);

#[cfg(test)]
mod tests {
    use cofferdam_sdk::testing::{Harness, KeyedHarness};
    use serde_json::json;

    use super::*;

    fn harness(config: serde_json::Value) -> KeyedHarness<Count> {
        Harness::keyed(config).unwrap()
    }

    #[test]
    fn each_changed_key_is_emitted_once_a_batch_with_its_count_so_far() {
        let mut harness = harness(json!({}));
        let answer = harness.send([("a", "x", 1), ("b", "x", 2), ("a", "x", 3)]).unwrap();
        assert_eq!(answer.texts(0), [r#"{"key":"a","count":2}"#, r#"{"key":"b","count":1}"#]);
        assert_eq!(answer.records(0)[0].timestamp, Some(3));
        let answer = harness.send([("a", "x", 4)]).unwrap();
        assert_eq!(answer.texts(0), [r#"{"key":"a","count":3}"#]);
        assert_eq!(answer.keys(0), ["a"]);
    }

    #[test]
    fn a_window_is_emitted_when_it_closes() {
        let mut harness = harness(json!({})).tumbling(60_000);
        let answer = harness.send([("a", "", 0), ("a", "", 59_999), ("a", "", 60_000)]).unwrap();
        assert!(answer.records(0).is_empty());
        let answer = harness.advance_watermark(59_999).unwrap();
        assert_eq!(
            answer.json(0),
            [json!({"key": "a", "window_start": "1970-01-01T00:00:00Z",
                "window_end": "1970-01-01T00:01:00Z", "count": 2})]
        );
    }

    #[test]
    fn every_batch_in_windows_emits_at_once_and_not_again_at_the_close() {
        let mut harness = harness(json!({"emit": "every-batch"})).tumbling(60_000);
        assert_eq!(harness.send([("a", "", 0)]).unwrap().json(0)[0]["count"], 1);
        assert!(harness.end().unwrap().records(0).is_empty());
    }

    #[test]
    fn sessions_that_become_one_add_up() {
        let mut harness = harness(json!({})).session(10);
        harness.send([("a", "", 0), ("a", "", 15)]).unwrap();
        harness.send([("a", "", 8)]).unwrap();
        let counts = harness.end().unwrap();
        assert_eq!(counts.json(0).len(), 1);
        assert_eq!(counts.json(0)[0]["count"], 3);
    }

    #[test]
    fn a_misspelt_setting_is_refused_with_a_suggestion() {
        let e = Harness::keyed::<Count>(json!({"emti": "on-window"})).unwrap_err().to_string();
        assert!(e.ends_with("did you mean `emit`?"), "{e}");
    }
}
