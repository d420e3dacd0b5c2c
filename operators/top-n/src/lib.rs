//! The n greatest (or least) records of each key and window, by a number.

use std::{cmp::Ordering, num::NonZeroUsize};

use cofferdam_sdk::{
    Context, Error, Firing, Group, KeyedProcessor, Merge, Outcome, Record, Source,
    json::{self, Number, Object},
};
use serde::{Deserialize, Serialize};

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Config {
    n: NonZeroUsize,
    by: String,
    id: Option<String>,
    #[serde(default)]
    order: Order,
}

/// Which end counts as the top.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Order {
    #[default]
    Greatest,
    Least,
}

/// The n greatest records of each key and window.
#[derive(Debug)]
pub struct TopN {
    n: usize,
    by: String,
    id: String,
    has_id: bool,
    order: Order,
}

/// A record among the top.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Entry {
    by: Number,
    id: String,
    value: String,
}

impl TopN {
    /// Rank before rank; ties are broken by id, then by the value's bytes, so
    /// that the order of arrival never matters.
    fn compare(&self, a: &Entry, b: &Entry) -> Ordering {
        let by = match self.order {
            Order::Greatest => b.by.compare(a.by),
            Order::Least => a.by.compare(b.by),
        };
        by.then_with(|| a.id.cmp(&b.id)).then_with(|| a.value.cmp(&b.value))
    }

    /// Takes an entry in if it belongs to the top; says whether it does.
    fn insert(&self, top: &mut Vec<Entry>, entry: Entry) -> bool {
        let at = top.partition_point(|known| self.compare(known, &entry).is_le());
        if at >= self.n {
            return false;
        }
        top.insert(at, entry);
        top.truncate(self.n);
        true
    }

    /// The record as an entry; none if it has no number.
    fn entry(&self, record: &Record<'_>) -> Result<Option<Entry>, Error> {
        let [by, id] = json::fields(record.value(), [&self.by, &self.id])?;
        let Some(by) = by.filter(|raw| !raw.is_null()) else { return Ok(None) };
        let by = by
            .number()
            .ok_or_else(|| Error::new(format!("field `{}` is not a number", self.by)))?;
        let id = id.filter(|_| self.has_id).map_or(String::new(), |id| id.text().into_owned());
        Ok(Some(Entry { by, id, value: record.value_str()?.to_owned() }))
    }
}

/// Emits the ranking: each record's own fields behind its rank.
fn write<S: Source>(out: &mut Outcome, source: &S, top: &[Entry]) {
    for (rank, entry) in (1_u64..).zip(top) {
        out.emit(source).value_with(|value| {
            let mut object = Object::begin(value);
            object.int("rank", rank);
            let copied = json::each_field(entry.value.as_bytes(), |name, raw| {
                if name != "rank" {
                    object.raw(&name, raw);
                }
            });
            debug_assert!(copied.is_ok(), "it was read before it became an entry");
            object.end();
        });
    }
}

impl KeyedProcessor for TopN {
    type State = Vec<Entry>;

    fn open(ctx: &Context) -> Result<Self, Error> {
        let Config { n, by, id, order } = ctx.config()?;
        let has_id = id.is_some();
        Ok(Self { n: n.get(), by, id: id.unwrap_or_default(), has_id, order })
    }

    fn fold(&mut self, group: &mut Group<'_, Vec<Entry>>, out: &mut Outcome) -> Result<(), Error> {
        let mut changed = false;
        for record in group.records() {
            match self.entry(&record) {
                Ok(Some(entry)) => changed |= self.insert(group.state_or_default(), entry),
                Ok(None) => {}
                Err(e) => out.reject(&record, e),
            }
        }
        if changed && group.window().is_none() {
            write(out, &group.last(), group.state().map_or(&[], Vec::as_slice));
        }
        Ok(())
    }

    fn fire(
        &mut self,
        group: &mut Group<'_, Vec<Entry>>,
        firing: &Firing<'_>,
        out: &mut Outcome,
    ) -> Result<(), Error> {
        write(out, firing, group.state().map_or(&[], Vec::as_slice));
        Ok(())
    }
}

impl Merge for TopN {
    fn merge(
        &mut self,
        _: &[u8],
        mut earlier: Vec<Entry>,
        later: Vec<Entry>,
    ) -> Result<Vec<Entry>, Error> {
        for entry in later {
            self.insert(&mut earlier, entry);
        }
        Ok(earlier)
    }
}

cofferdam_sdk::export!(session: TopN);

#[cfg(test)]
mod tests {
    use cofferdam_sdk::testing::{Harness, KeyedHarness};
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::*;

    fn harness(config: Value) -> KeyedHarness<TopN> {
        Harness::keyed(config).unwrap()
    }

    fn carrier(name: &str, mean: f64) -> Value {
        json!({"carrier": name, "mean": mean})
    }

    #[test]
    fn a_window_that_closes_emits_its_ranking() {
        let mut harness = harness(json!({"n": 2, "by": "mean", "id": "carrier"})).tumbling(1000);
        let records = [("day", carrier("UA", 3.5), 1), ("day", carrier("AA", 9.0), 2)];
        harness.send(records).unwrap();
        harness.send([("day", carrier("B6", 5.0), 3)]).unwrap();
        let answer = harness.end().unwrap();
        assert_eq!(
            answer.texts(0),
            [r#"{"rank":1,"carrier":"AA","mean":9.0}"#, r#"{"rank":2,"carrier":"B6","mean":5.0}"#]
        );
        assert_eq!(answer.records(0)[0].timestamp, Some(999));
    }

    #[test]
    fn ties_go_by_id_and_least_turns_the_ranking_round() {
        let config = json!({"n": 2, "by": "mean", "id": "carrier", "order": "least"});
        let mut harness = harness(config).tumbling(1000);
        let names = ["C", "B", "A"];
        harness.send(names.map(|name| ("k", carrier(name, 1.0), 0))).unwrap();
        harness.send([("k", carrier("0", 2.0), 0)]).unwrap();
        let ranking = harness.end().unwrap().json(0);
        assert_eq!([&ranking[0]["carrier"], &ranking[1]["carrier"]], ["A", "B"]);
    }

    #[test]
    fn a_rank_of_the_input_gives_way_and_missing_numbers_are_passed_over() {
        let mut harness = harness(json!({"n": 3, "by": "x"}));
        let records = [
            ("k", json!({"rank": 9, "x": 1}), 0),
            ("k", json!({"x": null}), 0),
            ("k", json!({"x": "1"}), 0),
        ];
        let answer = harness.send(records).unwrap();
        assert_eq!(answer.texts(0), [r#"{"rank":1,"x":1}"#]);
        assert_eq!(answer.reasons(), ["field `x` is not a number"]);
    }

    #[test]
    fn a_ranking_of_nothing_is_refused() {
        let e = Harness::keyed::<TopN>(json!({"n": 0, "by": "x"})).unwrap_err().to_string();
        assert!(e.contains("config `n`"), "{e}");
    }

    proptest! {
        #[test]
        fn the_ranking_is_that_of_a_full_sort_whatever_the_order_and_the_batches(
            numbers in prop::collection::vec((0_i64..20, 0_u8..4), 1..40),
            n in 1_usize..6,
            cut in any::<prop::sample::Index>(),
        ) {
            let value = |(x, id): &(i64, u8)| json!({"x": x, "id": id.to_string()});
            let run = |numbers: &[(i64, u8)], cut: usize| {
                let mut harness = harness(json!({"n": n, "by": "x", "id": "id"})).tumbling(10);
                let (a, b) = numbers.split_at(cut);
                for part in [a, b] {
                    harness.send(part.iter().map(|x| ("k", value(x), 0))).unwrap();
                }
                harness.end().unwrap().json(0)
            };
            let mut sorted = numbers.clone();
            sorted.sort_by_key(|(x, id)| (-x, *id));
            let expected: Vec<Value> = sorted.iter().take(n).zip(1..).map(|((x, id), rank)| {
                json!({"rank": rank, "x": x, "id": id.to_string()})
            }).collect();
            prop_assert_eq!(run(&numbers, cut.index(numbers.len())), expected.clone());
            prop_assert_eq!(run(&sorted, 0), expected);
        }
    }
}
