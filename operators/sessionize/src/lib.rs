//! One record a session: when it began and ended, how many events it had, and
//! what some fields held first and last.

use cofferdam_sdk::{
    Context, Error, Firing, Group, KeyedProcessor, Merge, Outcome, Record,
    json::{self, Object},
    time::rfc3339,
};
use serde::{Deserialize, Serialize};

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Config {
    #[serde(default)]
    first: Vec<String>,
    #[serde(default)]
    last: Vec<String>,
}

/// One record a session.
#[derive(Debug)]
pub struct Sessionize {
    /// Fields of which the first value is kept, then those of which the last is.
    fields: Vec<String>,
    /// How many of `fields` are of the first kind.
    firsts: usize,
    /// Names in the output: `first_...` and `last_...`.
    names: Vec<String>,
}

/// What is known of a session.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Session {
    events: u64,
    start: i64,
    end: i64,
    /// One entry a field: the time of the value that is kept, and its JSON.
    values: Vec<Option<(i64, String)>>,
}

impl Session {
    fn widen(&mut self, start: i64, end: i64) {
        self.start = self.start.min(start);
        self.end = self.end.max(end);
    }

    /// Takes a value for a field, if it is the better one. Among values of the
    /// same time, the one that arrived first is the first.
    fn offer(&mut self, field: usize, is_first: bool, time: i64, json: &str) {
        let slot = &mut self.values[field];
        let is_better = match slot {
            None => true,
            Some((known, _)) if is_first => time < *known,
            Some((known, _)) => time >= *known,
        };
        if is_better {
            *slot = Some((time, json.to_owned()));
        }
    }
}

impl Sessionize {
    fn add(&self, session: &mut Session, record: &Record<'_>, time: i64) -> Result<(), Error> {
        if !self.fields.is_empty() {
            let mut found = Vec::new();
            json::find(record.value(), &self.fields, &mut found)?;
            for (i, raw) in found.into_iter().enumerate() {
                if let Some(raw) = raw.filter(|raw| !raw.is_null()) {
                    session.offer(i, i < self.firsts, time, raw.json());
                }
            }
        }
        session.events += 1;
        session.widen(time, time);
        Ok(())
    }
}

impl KeyedProcessor for Sessionize {
    type State = Session;

    fn open(ctx: &Context) -> Result<Self, Error> {
        let Config { first, last } = ctx.config()?;
        let names = first.iter().map(|f| format!("first_{f}"));
        let names = names.chain(last.iter().map(|f| format!("last_{f}"))).collect();
        let firsts = first.len();
        Ok(Self { fields: [first, last].concat(), firsts, names })
    }

    fn fold(&mut self, group: &mut Group<'_, Session>, out: &mut Outcome) -> Result<(), Error> {
        if group.window().is_none() {
            return Err("sessions need windows: give the operator window = { type = \"session\", \
                        gap = \"30m\" }"
                .into());
        }
        for record in group.records() {
            let time = record.timestamp().ok_or("sessions need event times")?;
            let fresh = || Session {
                events: 0,
                start: time,
                end: time,
                values: vec![None; self.fields.len()],
            };
            let mut session = group.take_state().unwrap_or_else(fresh);
            if let Err(e) = self.add(&mut session, &record, time) {
                out.reject(&record, e);
            }
            if session.events > 0 {
                *group.state_mut() = Some(session);
            }
        }
        Ok(())
    }

    fn fire(
        &mut self,
        group: &mut Group<'_, Session>,
        firing: &Firing<'_>,
        out: &mut Outcome,
    ) -> Result<(), Error> {
        let Some(session) = group.state() else { return Ok(()) };
        out.emit(firing).value_with(|value| {
            let mut object = Object::begin(value);
            object.key("key", group.key());
            object.text("start", &rfc3339(session.start)).text("end", &rfc3339(session.end));
            object.int("events", session.events);
            object.int("duration_ms", session.end - session.start);
            for (name, value) in self.names.iter().zip(&session.values) {
                object.json(name, value.as_ref().map_or("null", |(_, json)| json));
            }
            object.end();
        });
        Ok(())
    }
}

impl Merge for Sessionize {
    fn merge(&mut self, _: &[u8], earlier: Session, later: Session) -> Result<Session, Error> {
        let mut session = earlier;
        session.events += later.events;
        session.widen(later.start, later.end);
        for (i, value) in later.values.into_iter().enumerate() {
            if let Some((time, json)) = value {
                session.offer(i, i < self.firsts, time, &json);
            }
        }
        Ok(session)
    }
}

cofferdam_sdk::export!(session: Sessionize);

#[cfg(test)]
mod tests {
    use cofferdam_sdk::testing::{Harness, KeyedHarness};
    use serde_json::{Value, json};

    use super::*;

    fn harness() -> KeyedHarness<Sessionize> {
        let config = json!({"first": ["page"], "last": ["page", "status"]});
        Harness::keyed(config).unwrap().session(1000)
    }

    fn visit(page: &str) -> Value {
        json!({ "page": page })
    }

    #[test]
    fn a_session_ends_after_a_gap_and_tells_what_happened() {
        let mut harness = harness();
        let records = [("ann", visit("a"), 0), ("ann", visit("b"), 700), ("ann", visit("c"), 5000)];
        harness.send(records).unwrap();
        let answer = harness.advance_watermark(1699).unwrap();
        let expected = json!({"key": "ann", "start": "1970-01-01T00:00:00Z",
            "end": "1970-01-01T00:00:00.700Z", "events": 2, "duration_ms": 700,
            "first_page": "a", "last_page": "b", "last_status": null});
        assert_eq!(answer.json(0), [expected]);
        assert_eq!(harness.end().unwrap().json(0)[0]["events"], 1);
    }

    #[test]
    fn a_record_between_two_sessions_makes_them_one() {
        let mut harness = harness();
        harness.send([("ann", visit("late"), 1800), ("ann", visit("early"), 0)]).unwrap();
        harness.send([("ann", visit("middle"), 900)]).unwrap();
        let sessions = harness.end().unwrap().json(0);
        assert_eq!(sessions.len(), 1);
        assert_eq!(
            (&sessions[0]["events"], &sessions[0]["duration_ms"]),
            (&json!(3), &json!(1800))
        );
        assert_eq!(
            (&sessions[0]["first_page"], &sessions[0]["last_page"]),
            (&json!("early"), &json!("late"))
        );
    }

    #[test]
    fn order_of_arrival_does_not_matter_for_first_and_last() {
        let mut harness = harness();
        harness
            .send([("ann", visit("b"), 500), ("ann", visit("a"), 100), ("ann", visit("c"), 900)])
            .unwrap();
        let session = &harness.end().unwrap().json(0)[0];
        assert_eq!((&session["first_page"], &session["last_page"]), (&json!("a"), &json!("c")));
    }

    #[test]
    fn what_is_no_object_is_rejected_and_counts_for_nothing() {
        let mut harness = harness();
        let answer = harness.send([("ann", "oops", 0)]).unwrap();
        assert_eq!(answer.rejected.len(), 1);
        assert!(harness.end().unwrap().records(0).is_empty());
    }

    #[test]
    fn without_windows_it_says_what_to_do() {
        let mut harness = Harness::keyed::<Sessionize>(json!({})).unwrap();
        let e = harness.send([("ann", "{}", 0)]).unwrap_err().to_string();
        assert!(e.contains("type = \"session\""), "{e}");
    }
}
