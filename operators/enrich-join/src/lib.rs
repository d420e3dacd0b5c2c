//! Joins a stream (input 0) with a slowly changing table (input 1) by key. The
//! state of a key is the table's last row, and the records that wait for one.

use std::collections::{BTreeMap, VecDeque};

use cofferdam_sdk::{
    Context, Error, Firing, Group, KeyedProcessor, Outcome, Record, Source, TimerKind,
    json::{self, Object},
    time::Millis,
};
use serde::{Deserialize, Serialize};

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Config {
    #[serde(default)]
    prefix: String,
    fields: Option<Vec<String>>,
    #[serde(default)]
    wait: Wait,
    #[serde(default = "hundred")]
    buffer: usize,
    timeout: Option<Millis>,
}

fn hundred() -> usize {
    100
}

/// What becomes of a stream record without a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Wait {
    #[default]
    Drop,
    Emit,
    Buffer,
}

/// Joins a stream with a slowly changing table.
#[derive(Debug)]
pub struct EnrichJoin(Config);

/// What is known of a key.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Joined {
    row: Option<String>,
    waiting: VecDeque<Waiting>,
}

/// A stream record that waits for its row.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Waiting {
    value: Vec<u8>,
    timestamp: Option<i64>,
    /// The timer after which it waits no more.
    until: i64,
}

const STREAM: u32 = 0;
const TABLE: u32 = 1;
/// The port of records that found no row.
const UNMATCHED: u32 = 1;

impl EnrichJoin {
    /// The record's fields, then the row's, which replace fields of the same
    /// name. The host writes nothing for the key: it is the record's.
    fn join(&self, value: &[u8], row: &str) -> Result<Vec<u8>, Error> {
        let Config { prefix, fields, .. } = &self.0;
        let mut added = BTreeMap::new();
        let mut order = Vec::new();
        json::each_field(row.as_bytes(), |name, raw| {
            if fields.as_ref().is_none_or(|fields| fields.iter().any(|f| *f == name)) {
                let name = format!("{prefix}{name}");
                if added.insert(name.clone(), raw).is_none() {
                    order.push(name);
                }
            }
        })?;
        let mut out = Vec::with_capacity(value.len() + row.len());
        let mut object = Object::begin(&mut out);
        json::each_field(value, |name, raw| {
            if !added.contains_key(&*name) {
                object.raw(&name, raw);
            }
        })?;
        for name in &order {
            object.raw(name, added[name]);
        }
        object.end();
        Ok(out)
    }

    fn stream_record(&self, group: &mut Group<'_, Joined>, record: &Record<'_>, out: &mut Outcome) {
        if let Some(row) = group.state().and_then(|state| state.row.as_ref()) {
            match self.join(record.value(), row) {
                Ok(joined) => out.emit(record).value(&joined),
                Err(e) => out.reject(record, e),
            }
            return;
        }
        match self.0.wait {
            Wait::Drop => out.keep_to(UNMATCHED, record),
            Wait::Emit => out.keep(record),
            // Checked now: later there is no record to reject any more.
            Wait::Buffer => match json::each_field(record.value(), |_, _| ()) {
                Ok(()) => self.buffer(group, record, out),
                Err(e) => out.reject(record, e),
            },
        }
    }

    /// Lets the record wait; the oldest one gives way where there is no room.
    fn buffer(&self, group: &mut Group<'_, Joined>, record: &Record<'_>, out: &mut Outcome) {
        // Without a timeout, the end of the input is when waiting ends.
        let from = record.timestamp().or(group.watermark()).unwrap_or(0);
        let until = self.0.timeout.map_or(i64::MAX, |timeout| from.saturating_add(timeout.0));
        let waiting = &mut group.state_or_default().waiting;
        waiting.push_back(Waiting {
            value: record.value().to_vec(),
            timestamp: record.timestamp(),
            until,
        });
        if waiting.len() > self.0.buffer
            && let Some(oldest) = waiting.pop_front()
        {
            release(out, record, UNMATCHED, &oldest, &oldest.value);
        }
        group.set_timer(TimerKind::Event, until);
    }

    fn table_record(
        &self,
        group: &mut Group<'_, Joined>,
        record: &Record<'_>,
        out: &mut Outcome,
    ) -> Result<(), Error> {
        if record.value().is_empty() || record.value() == b"null" {
            if let Some(state) = group.state_mut() {
                state.row = None;
            }
            return Ok(());
        }
        let row = match json::each_field(record.value(), |_, _| ()) {
            Ok(()) => record.value_str()?.to_owned(),
            Err(e) => {
                out.reject(record, e);
                return Ok(());
            }
        };
        let state = group.state_or_default();
        let waiting = std::mem::take(&mut state.waiting);
        for waited in &waiting {
            let joined = self.join(&waited.value, &row)?;
            release(out, record, 0, waited, &joined);
        }
        state.row = Some(row);
        for waited in waiting {
            group.delete_timer(TimerKind::Event, waited.until);
        }
        Ok(())
    }
}

/// Emits a record that has waited, at its own time. `source` has the same key.
fn release<S: Source>(out: &mut Outcome, source: &S, port: u32, waited: &Waiting, value: &[u8]) {
    let emit = out.emit(source).port(port);
    match waited.timestamp {
        Some(timestamp) => emit.timestamp(timestamp).value(value),
        None => emit.value(value),
    }
}

impl KeyedProcessor for EnrichJoin {
    type State = Joined;

    fn open(ctx: &Context) -> Result<Self, Error> {
        let config: Config = ctx.config()?;
        if config.buffer == 0 {
            return Err(ctx.config_error("buffer", "it must hold a record; or set wait = \"drop\""));
        }
        if config.timeout.is_some() && config.wait != Wait::Buffer {
            return Err(ctx.config_error(
                "timeout",
                "only records that wait can time out: set wait = \"buffer\"",
            ));
        }
        Ok(Self(config))
    }

    fn fold(&mut self, group: &mut Group<'_, Joined>, out: &mut Outcome) -> Result<(), Error> {
        for record in group.records() {
            match record.input() {
                STREAM => self.stream_record(group, &record, out),
                TABLE => self.table_record(group, &record, out)?,
                other => {
                    return Err(
                        format!("there is no input {other}: 0 is the stream, 1 the table").into()
                    );
                }
            }
        }
        // A key of which nothing is known takes no room.
        if group.state().is_some_and(|state| *state == Joined::default()) {
            group.take_state();
        }
        Ok(())
    }

    fn fire(
        &mut self,
        group: &mut Group<'_, Joined>,
        firing: &Firing<'_>,
        out: &mut Outcome,
    ) -> Result<(), Error> {
        if let Some(state) = group.state_mut() {
            state.waiting.retain(|waited| {
                let is_over = waited.until <= firing.time;
                if is_over {
                    release(out, firing, UNMATCHED, waited, &waited.value);
                }
                !is_over
            });
        }
        if group.state().is_some_and(|state| *state == Joined::default()) {
            group.take_state();
        }
        Ok(())
    }
}

cofferdam_sdk::export!(keyed: EnrichJoin);

#[cfg(test)]
mod tests {
    use cofferdam_sdk::testing::{Harness, KeyedHarness};
    use serde_json::{Value, json};

    use super::*;

    fn harness(config: Value) -> KeyedHarness<EnrichJoin> {
        Harness::keyed(config).unwrap()
    }

    #[test]
    fn stream_records_get_the_rows_fields_and_later_rows_replace_earlier_ones() {
        let mut harness = harness(json!({"prefix": "carrier_", "fields": ["name"]}));
        harness.send_to(1, [("UA", r#"{"name":"United","iata":"UA"}"#, 0)]).unwrap();
        let answer = harness.send([("UA", r#"{"delay":3}"#, 7)]).unwrap();
        assert_eq!(answer.texts(0), [r#"{"delay":3,"carrier_name":"United"}"#]);
        assert_eq!((answer.keys(0)[0].as_str(), answer.records(0)[0].timestamp), ("UA", Some(7)));
        harness.send_to(1, [("UA", r#"{"name":"New"}"#, 0)]).unwrap();
        assert_eq!(
            harness.send([("UA", "{}", 8)]).unwrap().texts(0),
            [r#"{"carrier_name":"New"}"#]
        );
    }

    #[test]
    fn without_a_prefix_the_rows_fields_replace_those_of_the_record() {
        let mut harness = harness(json!({}));
        harness.send_to(1, [("k", r#"{"b":2,"c":3}"#, 0)]).unwrap();
        assert_eq!(
            harness.send([("k", r#"{"a":1,"b":1}"#, 0)]).unwrap().texts(0),
            [r#"{"a":1,"b":2,"c":3}"#]
        );
    }

    #[test]
    fn records_without_a_row_go_to_port_1_or_pass_as_they_are() {
        let answer = harness(json!({})).send([("k", "{}", 0)]).unwrap();
        assert_eq!((answer.texts(0).len(), answer.texts(1)), (0, vec!["{}".to_owned()]));
        let answer = harness(json!({"wait": "emit"})).send([("k", "{}", 0)]).unwrap();
        assert_eq!(answer.texts(0), ["{}"]);
    }

    #[test]
    fn an_empty_row_deletes() {
        let mut harness = harness(json!({}));
        harness.send_to(1, [("k", "{}", 0), ("l", "{}", 0)]).unwrap();
        harness.send_to(1, [("k", "", 1), ("l", "null", 1)]).unwrap();
        assert_eq!(harness.states(), 0);
        assert_eq!(harness.send([("k", "{}", 2)]).unwrap().texts(1).len(), 1);
    }

    #[test]
    fn waiting_records_are_joined_in_order_when_their_row_comes() {
        let mut harness = harness(json!({"wait": "buffer"}));
        assert!(
            harness
                .send([("k", r#"{"n":1}"#, 5), ("k", r#"{"n":2}"#, 6)])
                .unwrap()
                .texts(0)
                .is_empty()
        );
        let answer = harness.send_to(1, [("k", r#"{"r":0}"#, 9)]).unwrap();
        assert_eq!(answer.texts(0), [r#"{"n":1,"r":0}"#, r#"{"n":2,"r":0}"#]);
        assert_eq!(answer.records(0)[0].timestamp, Some(5), "they keep their time");
        assert_eq!(harness.timers(), 0);
    }

    #[test]
    fn no_more_records_wait_than_there_is_room_for() {
        let mut harness = harness(json!({"wait": "buffer", "buffer": 1}));
        let answer = harness.send([("k", r#"{"n":1}"#, 5), ("k", r#"{"n":2}"#, 6)]).unwrap();
        assert_eq!(answer.texts(1), [r#"{"n":1}"#]);
        assert_eq!(answer.records(1)[0].timestamp, Some(5));
    }

    #[test]
    fn waiting_ends_with_the_timeout_or_with_the_input() {
        let mut timed = harness(json!({"wait": "buffer", "timeout": "1s"}));
        timed.send([("k", r#"{"n":1}"#, 0), ("k", r#"{"n":2}"#, 500)]).unwrap();
        let answer = timed.advance_watermark(1000).unwrap();
        assert_eq!(answer.texts(1), [r#"{"n":1}"#]);
        assert_eq!(answer.records(1)[0].timestamp, Some(0));
        let mut endless = harness(json!({"wait": "buffer"}));
        endless.send([("k", "{}", 0)]).unwrap();
        assert_eq!(endless.end().unwrap().texts(1), ["{}"]);
        assert_eq!(endless.states(), 0);
    }

    #[test]
    fn what_is_no_object_is_rejected_on_both_sides() {
        let mut harness = harness(json!({"wait": "buffer"}));
        assert_eq!(harness.send([("k", "x", 0)]).unwrap().rejected.len(), 1);
        assert_eq!(harness.send_to(1, [("k", "[]", 0)]).unwrap().rejected.len(), 1);
        assert_eq!(harness.states(), 0);
    }
}
