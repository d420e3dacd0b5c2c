//! A guest for tests: passes records on, and goes down in the way that its
//! configuration says. Records are counted from 1, by each instance afresh. Its
//! snapshots hold only how many instances there were before: how often it went down
//! after a checkpoint.

use std::cell::Cell;

use cofferdam_sdk::{Batch, Context, Error, Outcome, Processor, Snapshot, metrics};
use serde::Deserialize;

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Config {
    /// Panics at this record.
    trap_at: Option<u64>,
    /// Panics at the first record after so many snapshots, `traps` times in all:
    /// with 2, each time after a complete checkpoint.
    trap_after_snapshots: Option<u64>,
    /// So many records later than that.
    #[serde(default)]
    late_by: u64,
    /// How many instances, each restored from a snapshot of the one before, do so.
    #[serde(default = "once")]
    traps: u32,
    /// Goes down in this subtask only.
    only_subtask: Option<u32>,
    /// Works so many turns of a loop for each record, to be slow.
    #[serde(default)]
    work: u64,
    /// Panics at every record with this value: a poison record.
    trap_on_value: Option<String>,
    /// Fails the batch with this record.
    err_at: Option<u64>,
    /// Takes memory without end at this record.
    oom: Option<u64>,
    /// Loops without end at this record.
    spin: Option<u64>,
    /// Refuses to open, with this message.
    refuse: Option<String>,
}

fn once() -> u32 {
    1
}

/// Goes down as told.
#[derive(Debug)]
pub struct Crasher {
    config: Config,
    seen: u64,
    /// How many records it has seen since it made enough snapshots to go down.
    due: u64,
    /// How many there were before this one, as far as snapshots tell.
    before: u32,
    snapshots: Cell<u64>,
}

impl Processor for Crasher {
    fn open(ctx: &Context) -> Result<Self, Error> {
        let mut config: Config = ctx.config()?;
        if config.only_subtask.is_some_and(|only| only != ctx.subtask) {
            config = Config { work: config.work, ..Config::default() };
        }
        match config.refuse {
            Some(message) => Err(message.into()),
            None => Ok(Self { config, seen: 0, due: 0, before: 0, snapshots: Cell::new(0) }),
        }
    }

    fn process(&mut self, batch: &Batch, out: &mut Outcome) -> Result<(), Error> {
        for record in batch.records() {
            self.seen += 1;
            let now = Some(self.seen);
            if self.config.trap_at == now {
                panic!("trap_at = {}, as configured", self.seen);
            }
            if self.before < self.config.traps
                && self.config.trap_after_snapshots.is_some_and(|n| self.snapshots.get() >= n)
            {
                if self.due >= self.config.late_by {
                    panic!("trap_after_snapshots = {}, as configured", self.snapshots.get());
                }
                self.due += 1;
            }
            for turn in 0..self.config.work {
                std::hint::black_box(turn);
            }
            if self.config.trap_on_value.as_ref().is_some_and(|v| v.as_bytes() == record.value()) {
                panic!("poison record {}, as configured", record.index());
            }
            if self.config.err_at == now {
                return Err(format!("err_at = {}, as configured", self.seen).into());
            }
            if self.config.oom == now {
                take_everything();
            }
            if self.config.spin == now {
                spin();
            }
            out.keep(&record);
        }
        metrics::counter("seen", batch.len() as u64);
        Ok(())
    }
}

impl Snapshot for Crasher {
    fn snapshot(&self) -> Result<Vec<u8>, Error> {
        self.snapshots.set(self.snapshots.get() + 1);
        Ok(self.before.saturating_add(1).to_le_bytes().to_vec())
    }

    fn restore(&mut self, snapshot: &[u8]) -> Result<(), Error> {
        self.before = match snapshot {
            // As it was before there could be more than 255.
            [before] => u32::from(*before),
            _ => u32::from_le_bytes(
                snapshot.try_into().map_err(|_| "not a snapshot of this guest's")?,
            ),
        };
        Ok(())
    }
}

/// Touches ever more memory, until the host refuses.
fn take_everything() {
    let mut hoard: Vec<Vec<u8>> = Vec::new();
    loop {
        hoard.push(vec![1; 1 << 20]);
        std::hint::black_box(&hoard);
    }
}

fn spin() {
    let mut n = 0_u64;
    loop {
        n = std::hint::black_box(n.wrapping_add(1));
    }
}

cofferdam_sdk::export!(stateful: Crasher);

#[cfg(test)]
mod tests {
    use cofferdam_sdk::testing::Harness;
    use serde_json::json;

    use super::*;

    #[test]
    fn records_pass_until_the_one_that_fails() {
        let mut harness = Harness::processor::<Crasher>(json!({"err_at": 3})).unwrap();
        assert_eq!(harness.values(["a", "b"]).unwrap().texts(0), ["a", "b"]);
        assert_eq!(harness.values(["c"]).unwrap_err().to_string(), "err_at = 3, as configured");
    }

    #[test]
    #[should_panic(expected = "poison record 1")]
    fn a_poison_record_traps_wherever_it_stands() {
        let mut harness = Harness::processor::<Crasher>(json!({"trap_on_value": "x"})).unwrap();
        let _ = harness.values(["a", "x"]);
    }

    #[test]
    fn a_restored_instance_does_not_trap_again() {
        let config = json!({"trap_after_snapshots": 1});
        let mut harness = Harness::processor::<Crasher>(config).unwrap();
        harness.restart().unwrap();
        assert_eq!(harness.values(["a"]).unwrap().texts(0), ["a"]);
    }

    #[test]
    #[should_panic(expected = "trap_after_snapshots = 0")]
    fn the_second_of_two_instances_that_are_to_go_down_does() {
        let config = json!({"trap_after_snapshots": 0, "traps": 2});
        let mut harness = Harness::processor::<Crasher>(config).unwrap();
        harness.restart().unwrap();
        let _ = harness.values(["a"]);
    }

    #[test]
    fn the_third_of_two_instances_that_are_to_go_down_does_not() {
        let config = json!({"trap_after_snapshots": 0, "traps": 2});
        let mut harness = Harness::processor::<Crasher>(config).unwrap();
        harness.restart().unwrap();
        harness.restart().unwrap();
        assert_eq!(harness.values(["a"]).unwrap().texts(0), ["a"]);
    }

    #[test]
    #[should_panic(expected = "trap_after_snapshots = 0")]
    fn it_can_go_down_some_records_later() {
        let config = json!({"trap_after_snapshots": 0, "late_by": 2});
        let mut harness = Harness::processor::<Crasher>(config).unwrap();
        assert_eq!(harness.values(["a", "b"]).unwrap().texts(0), ["a", "b"]);
        let _ = harness.values(["c"]);
    }

    #[test]
    fn it_refuses_to_open_when_told() {
        let e = Harness::processor::<Crasher>(json!({"refuse": "no"})).unwrap_err();
        assert_eq!(e.to_string(), "no");
    }
}
