//! Feeds the same state and events to two versions of an operator, event by event, and
//! says where their outcomes differ and what each of them used: an upgrade, tried before
//! it is made.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use crate::{
    capsule::{
        machine::{Machine, Step},
        model::Capsule,
    },
    failure::Failure,
    ids::Hex,
    sandbox::Artifact,
    task_manager::recorder::Recorded,
};

/// How two versions did.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Comparison {
    /// In one word.
    pub verdict: Verdict,
    /// How many events were compared.
    pub events: usize,
    /// How many records were in them.
    pub records: usize,
    /// In how many events the outcomes differ.
    pub differing_events: usize,
    /// The first difference in what was emitted or rejected.
    pub first: Option<Difference>,
    /// How the states differ after the last event.
    pub state: StateDifference,
    /// The version that runs.
    pub old: Side,
    /// The version that would.
    pub new: Side,
}

/// What comes of a comparison.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    /// Both did the same.
    Same,
    /// Their outcomes or their states differ.
    Differs,
    /// The old one crashes where the new one does not.
    OldCrashes,
    /// The new one crashes where the old one does not, or does not open.
    NewCrashes,
    /// Both crash, in the same event.
    BothCrash,
}

/// What one version did.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Side {
    /// Its component, in hexadecimal.
    pub digest: String,
    /// Records by output port.
    pub emitted: BTreeMap<u32, usize>,
    /// Rejected records.
    pub rejected: usize,
    /// Records that came too late.
    pub late: usize,
    /// How it crashed, if it did.
    pub crash: Option<Failure>,
    /// How long its guest ran, in nanoseconds.
    pub guest_nanos: u64,
    /// How much fuel that took; 0 where fuel is not counted.
    pub guest_fuel: u64,
    /// The most bytes that its guest and its state took.
    pub most_memory: usize,
}

/// A record, to be looked at.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Shown {
    /// Its key, as text, or in hexadecimal after `0x`.
    pub key: String,
    /// Its value, likewise.
    pub value: String,
    /// Its event time.
    pub timestamp: Option<i64>,
}

/// The first difference in an event.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "what", rename_all = "kebab-case")]
pub enum Difference {
    /// A record that was emitted.
    Record {
        /// In which event, from 0.
        event: usize,
        /// To which port.
        port: u32,
        /// The how many-th record of the event there, from 0.
        index: usize,
        /// What the old version emitted, if it did.
        old: Option<Shown>,
        /// What the new one did.
        new: Option<Shown>,
    },
    /// A record that was rejected.
    Rejected {
        /// In which event, from 0.
        event: usize,
        /// Which record of its call, and why, by the old version.
        old: Option<(u32, String)>,
        /// By the new one.
        new: Option<(u32, String)>,
    },
}

/// How two states differ.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct StateDifference {
    /// Keys (and windows) that only the old version has.
    pub only_old: usize,
    /// Keys that only the new one has.
    pub only_new: usize,
    /// Keys whose states or timers differ.
    pub changed: usize,
    /// The first key that differs, with what each has.
    pub first: Option<(String, Option<String>, Option<String>)>,
}

impl StateDifference {
    fn is_none(&self) -> bool {
        self.only_old + self.only_new + self.changed == 0
    }
}

/// Feeds a capsule to two components.
///
/// # Errors
/// If the old one cannot be opened, or does not take the state: then there is nothing to
/// compare with. That of the new one is the verdict.
pub async fn compare(
    old: Artifact,
    new: Artifact,
    capsule: &Capsule,
) -> Result<Comparison, Failure> {
    let mut comparison = Comparison {
        verdict: Verdict::Same,
        events: 0,
        records: 0,
        differing_events: 0,
        first: None,
        state: StateDifference::default(),
        old: Side { digest: old.digest().to_owned(), ..Side::default() },
        new: Side { digest: new.digest().to_owned(), ..Side::default() },
    };
    let mut old = Machine::start(old, capsule).await?;
    let mut new = match Machine::start(new, capsule).await {
        Ok(new) => new,
        Err(failure) => {
            comparison.verdict = Verdict::NewCrashes;
            comparison.new.crash = Some(failure);
            return Ok(comparison);
        }
    };
    // They were looked at when the capsule was read.
    for event in capsule.recorded().unwrap_or_default() {
        let (of_old, of_new) = (old.step(&event).await, new.step(&event).await);
        let at = comparison.events;
        comparison.events += 1;
        if let Recorded::Batch { batch, .. } = &event {
            comparison.records += batch.len();
        }
        let (of_old, of_new) = match (of_old, of_new) {
            (Ok(of_old), Ok(of_new)) => (of_old, of_new),
            (of_old, of_new) => {
                comparison.old.crash = of_old.err().map(|crashed| crashed.failure);
                comparison.new.crash = of_new.err().map(|crashed| crashed.failure);
                break;
            }
        };
        comparison.old.add(&of_old);
        comparison.new.add(&of_new);
        if let Some(difference) = difference(at, &of_old, &of_new) {
            comparison.differing_events += 1;
            comparison.first.get_or_insert(difference);
        }
    }
    comparison.state = states(&mut old, &mut new).await;
    comparison.old.used(&old);
    comparison.new.used(&new);
    comparison.verdict = match (&comparison.old.crash, &comparison.new.crash) {
        (Some(_), Some(_)) => Verdict::BothCrash,
        (Some(_), None) => Verdict::OldCrashes,
        (None, Some(_)) => Verdict::NewCrashes,
        (None, None) if comparison.first.is_some() || !comparison.state.is_none() => {
            Verdict::Differs
        }
        (None, None) => Verdict::Same,
    };
    Ok(comparison)
}

impl Side {
    fn add(&mut self, step: &Step) {
        for (port, batch) in &step.emissions {
            *self.emitted.entry(*port).or_default() += batch.len();
        }
        self.rejected += step.rejected.len();
        self.late += step.late.len();
    }

    fn used(&mut self, machine: &Machine) {
        self.guest_nanos = machine.guest_nanos();
        self.guest_fuel = machine.guest_fuel();
        self.most_memory = machine.most_memory();
    }
}

/// The first difference between what two versions made of an event. How the records of
/// a port are divided into emissions makes none.
fn difference(event: usize, old: &Step, new: &Step) -> Option<Difference> {
    let ports: BTreeSet<u32> =
        old.emissions.iter().chain(&new.emissions).map(|(port, _)| *port).collect();
    for port in ports {
        let (mut of_old, mut of_new) = (records(old, port), records(new, port));
        for index in 0.. {
            match (of_old.next(), of_new.next()) {
                (None, None) => break,
                (one, other) if one == other => {}
                (one, other) => {
                    let (old, new) = (one.map(Record::shown), other.map(Record::shown));
                    return Some(Difference::Record { event, port, index, old, new });
                }
            }
        }
    }
    let (mut of_old, mut of_new) = (old.rejected.iter(), new.rejected.iter());
    loop {
        match (of_old.next(), of_new.next()) {
            (None, None) => return None,
            (one, other) if one == other => {}
            (one, other) => {
                let (old, new) = (one.cloned(), other.cloned());
                return Some(Difference::Rejected { event, old, new });
            }
        }
    }
}

#[derive(PartialEq)]
struct Record<'a> {
    key: &'a [u8],
    value: &'a [u8],
    timestamp: Option<i64>,
}

impl Record<'_> {
    fn shown(self) -> Shown {
        let Record { key, value, timestamp } = self;
        Shown { key: text(key), value: text(value), timestamp }
    }
}

fn records(step: &Step, port: u32) -> impl Iterator<Item = Record<'_>> {
    let batches = step.emissions.iter().filter(move |(p, _)| *p == port);
    batches.flat_map(|(_, batch)| {
        (0..batch.len()).map(|i| Record {
            key: batch.key(i),
            value: batch.value(i),
            timestamp: batch.timestamp(i),
        })
    })
}

/// How many bytes of a key, value or state are shown.
const MOST_SHOWN: usize = 1024;

/// Bytes as text, or in hexadecimal; the first of them, if they are many.
#[must_use]
pub fn text(bytes: &[u8]) -> String {
    let (shown, more) = bytes.split_at(bytes.len().min(MOST_SHOWN));
    let mut text = match std::str::from_utf8(shown) {
        Ok(text) => text.to_owned(),
        // It may have been cut within a character.
        Err(e) if !more.is_empty() && e.error_len().is_none() => {
            String::from_utf8_lossy(&shown[..e.valid_up_to()]).into_owned()
        }
        Err(_) => format!("0x{}", Hex(shown)),
    };
    if !more.is_empty() {
        text.push_str(&format!("… ({} bytes)", bytes.len()));
    }
    text
}

async fn states(old: &mut Machine, new: &mut Machine) -> StateDifference {
    if let (Some(of_old), Some(of_new)) = (old.keyed_state(), new.keyed_state()) {
        return differing(&of_old, &of_new, |(key, window)| match window {
            Some(window) => format!("{} [{}, {})", text(key), window.start, window.end),
            None => text(key),
        });
    }
    // After a crash it has nothing more to say.
    let said = |snapshot: Result<Option<Vec<u8>>, Failure>| {
        let snapshot = snapshot.ok().flatten();
        snapshot.map(|bytes| ("snapshot", bytes)).into_iter().collect::<BTreeMap<_, _>>()
    };
    let (of_old, of_new) = (said(old.snapshot().await), said(new.snapshot().await));
    differing(&of_old, &of_new, |name| (*name).to_owned())
}

fn differing<K: Ord, V: PartialEq + Show>(
    old: &BTreeMap<K, V>,
    new: &BTreeMap<K, V>,
    name: impl Fn(&K) -> String,
) -> StateDifference {
    let mut found = StateDifference::default();
    for key in old.keys().chain(new.keys().filter(|key| !old.contains_key(key))) {
        let (of_old, of_new) = (old.get(key), new.get(key));
        match (of_old, of_new) {
            (one, other) if one == other => continue,
            (Some(_), None) => found.only_old += 1,
            (None, Some(_)) => found.only_new += 1,
            _ => found.changed += 1,
        }
        let shown = || (name(key), of_old.map(Show::show), of_new.map(Show::show));
        found.first.get_or_insert_with(shown);
    }
    found
}

/// Something that can be shown to people.
trait Show {
    fn show(&self) -> String;
}

impl Show for Vec<u8> {
    fn show(&self) -> String {
        text(self)
    }
}

impl Show for crate::state::Seen {
    fn show(&self) -> String {
        let mut shown = text(&self.state);
        for (what, times) in [("event", &self.event_timers), ("clock", &self.processing_timers)] {
            if !times.is_empty() {
                shown.push_str(&format!("; {what} timers at {times:?}"));
            }
        }
        shown
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stream::{Batch, BatchBuilder};

    fn batch(values: &[&str]) -> Batch {
        let mut builder = BatchBuilder::new();
        values.iter().for_each(|value| builder.push(Some(b"k"), value.as_bytes(), Some(1)));
        builder.take()
    }

    fn step(emissions: Vec<(u32, Batch)>, rejected: &[(u32, &str)]) -> Step {
        let rejected = rejected.iter().map(|(i, why)| (*i, (*why).to_owned())).collect();
        Step { emissions, rejected, late: Vec::new() }
    }

    #[test]
    fn how_records_are_divided_into_emissions_is_no_difference_but_their_order_is() {
        let whole = step(vec![(0, batch(&["a", "b", "c"]))], &[]);
        let parts = step(vec![(0, batch(&["a"])), (0, batch(&["b", "c"]))], &[]);
        assert_eq!(difference(0, &whole, &parts), None);
        let turned = step(vec![(0, batch(&["a", "c", "b"]))], &[]);
        let Some(Difference::Record { event: 3, port: 0, index: 1, old, new }) =
            difference(3, &whole, &turned)
        else {
            panic!("no difference");
        };
        assert_eq!((old.unwrap().value.as_str(), new.unwrap().value.as_str()), ("b", "c"));
    }

    #[test]
    fn a_record_more_a_port_less_and_another_reason_are_differences() {
        let one = step(vec![(0, batch(&["a"]))], &[(4, "no")]);
        let more = step(vec![(0, batch(&["a", "b"]))], &[(4, "no")]);
        assert!(matches!(
            difference(0, &one, &more),
            Some(Difference::Record { index: 1, old: None, new: Some(_), .. })
        ));
        let elsewhere = step(vec![(1, batch(&["a"]))], &[(4, "no")]);
        assert!(matches!(
            difference(0, &one, &elsewhere),
            Some(Difference::Record { port: 0, new: None, .. })
        ));
        let why = step(vec![(0, batch(&["a"]))], &[(4, "because")]);
        assert!(matches!(difference(0, &one, &why), Some(Difference::Rejected { .. })));
    }

    #[test]
    fn states_that_differ_are_counted_and_the_first_is_shown() {
        let map = |entries: &[(u8, &str)]| {
            entries.iter().map(|(k, v)| (*k, v.as_bytes().to_vec())).collect::<BTreeMap<_, _>>()
        };
        let (old, new) =
            (map(&[(1, "a"), (2, "b"), (3, "c")]), map(&[(2, "B"), (3, "c"), (4, "d")]));
        let found = differing(&old, &new, |key| format!("key {key}"));
        assert_eq!((found.only_old, found.changed, found.only_new), (1, 1, 1));
        assert_eq!(found.first.unwrap(), ("key 1".into(), Some("a".into()), None));
    }

    #[test]
    fn long_and_binary_bytes_are_shown_short() {
        assert_eq!(text(b"\xff\x00"), "0xff00");
        let long = text("ä".repeat(700).as_bytes());
        assert!(long.starts_with("ää") && long.ends_with("… (1400 bytes)"), "{long}");
    }
}
