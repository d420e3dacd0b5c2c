//! What happened between two looks at a job: its status counts, and who shows rates takes two of
//! them and divides. The last looks at some jobs are kept, whoever looked: the figures of a status
//! are the same for all who may see the job.

use std::{
    collections::HashMap,
    sync::{LazyLock, Mutex, PoisonError},
};

use serde_json::Value;

use super::parts::{float, list, number, text};
use crate::ids::JobId;

/// Of how many jobs looks are kept; then those of the one that was looked at longest ago go.
const MOST: usize = 500;
/// From one look to the next that it is compared with, in milliseconds.
const LEAST: u64 = 900;
/// After which a look is too old to say what happens now, in milliseconds.
const OLDEST: u64 = 30_000;

static LOOKS: LazyLock<Mutex<HashMap<JobId, Looks>>> = LazyLock::new(Mutex::default);

/// The last look at a job, and the one before.
#[derive(Debug, Clone, Default)]
struct Looks {
    before: Option<Look>,
    last: Look,
    /// Grows with each look at any job.
    order: u64,
}

/// The counts of a status.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Look {
    /// Since the job was started in this process.
    elapsed: u64,
    records: HashMap<String, (u64, u64)>,
}

/// Records a second, in and out, by vertex.
#[derive(Debug, Default)]
pub(super) struct Rates(HashMap<String, (f64, f64)>);

impl Rates {
    /// Into a vertex.
    pub(super) fn entering(&self, vertex: &str) -> Option<f64> {
        self.0.get(vertex).map(|(rate, _)| *rate)
    }

    /// Out of a vertex.
    pub(super) fn leaving(&self, vertex: &str) -> Option<f64> {
        self.0.get(vertex).map(|(_, rate)| *rate)
    }
}

impl Look {
    fn of(status: &Value) -> Self {
        let vertices = list(status, "vertices").iter().map(|vertex| {
            let counts = (number(vertex, "records_in"), number(vertex, "records_out"));
            (text(vertex, "name").to_owned(), counts)
        });
        Self { elapsed: number(status, "elapsed_millis"), records: vertices.collect() }
    }

    fn rates_since(&self, before: &Self) -> Rates {
        let seconds = float(self.elapsed - before.elapsed) / 1_000.0;
        let rate = |now: u64, then: u64| float(now.saturating_sub(then)) / seconds;
        let known = self.records.iter().filter_map(|(name, (i, o))| {
            let (before_in, before_out) = before.records.get(name)?;
            Some((name.clone(), (rate(*i, *before_in), rate(*o, *before_out))))
        });
        Rates(known.collect())
    }
}

impl Looks {
    /// Takes another look, and says what happened since the one before.
    fn take(&mut self, look: Look) -> Rates {
        if look.elapsed < self.last.elapsed {
            // It was started anew.
            *self = Self { last: look, ..Self::default() };
            return Rates::default();
        }
        if look.elapsed - self.last.elapsed >= LEAST {
            let last = std::mem::replace(&mut self.last, look);
            self.before = Some(last).filter(|before| self.last.elapsed - before.elapsed <= OLDEST);
        }
        self.before.as_ref().map(|before| self.last.rates_since(before)).unwrap_or_default()
    }
}

/// The rates of a job that runs, since the last look at it; none at the first.
pub(super) fn of(id: JobId, status: &Value) -> Rates {
    let look = Look::of(status);
    let mut all = LOOKS.lock().unwrap_or_else(PoisonError::into_inner);
    let order = all.values().map(|looks| looks.order).max().unwrap_or(0) + 1;
    if all.len() >= MOST && !all.contains_key(&id) {
        let oldest = all.iter().min_by_key(|(_, looks)| looks.order).map(|(id, _)| *id);
        oldest.map(|id| all.remove(&id));
    }
    let looks = all.entry(id).or_insert_with(|| Looks { last: look.clone(), ..Looks::default() });
    looks.order = order;
    looks.take(look)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn look(elapsed: u64, records: u64) -> Look {
        Look::of(&json!({"elapsed_millis": elapsed, "vertices": [
            {"name": "in", "records_in": 0, "records_out": records}]}))
    }

    #[test]
    fn a_rate_is_what_happened_since_the_look_before() {
        let mut looks = Looks { last: look(1_000, 100), ..Looks::default() };
        assert_eq!(looks.take(look(1_500, 600)).leaving("in"), None);
        assert_eq!(looks.take(look(3_000, 4_100)).leaving("in"), Some(2_000.0));
        // Somebody else looks at the same moment, and is told the same.
        assert_eq!(looks.take(look(3_100, 4_100)).leaving("in"), Some(2_000.0));
        assert_eq!(looks.take(look(4_000, 4_100)).leaving("in"), Some(0.0));
        assert_eq!(looks.take(look(4_000, 4_100)).entering("unknown"), None);
        // Restarted with the server; and looked at again after a long time.
        assert_eq!(looks.take(look(10, 0)).leaving("in"), None);
        assert_eq!(looks.take(look(900_000, 9)).leaving("in"), None);
    }
}
