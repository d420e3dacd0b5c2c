//! A guest for tests that breaks the contract of `keyed-processor`, in the way
//! that `mode` in its configuration says:
//!
//! | mode | what it answers |
//! | --- | --- |
//! | `unknown-group` | a changed group that was not in the call |
//! | `changed-twice` | the same group changed twice |
//! | `too-few-states` | two changed groups, one state |
//! | `timer-of-unknown-group` | a timer of a group that was not in the call |
//! | `keep-out-of-range` | an origin beyond the batch |
//! | `hoard` | 4 KiB of state a group |
//! | anything else | one state byte a group, nothing emitted |

#![cfg(target_arch = "wasm32")]
#![allow(unsafe_code, reason = "generated glue of the canonical ABI")]
#![allow(missing_docs, unreachable_pub, unused_qualifications, reason = "generated")]
#![allow(clippy::all, clippy::allow_attributes_without_reason, reason = "generated")]

wit_bindgen::generate!({ path: "../../../wit", world: "keyed-operator" });

use cofferdam::operator::config;
use cofferdam::operator::types::{Batch, Column, Context, Emission, Origin, Outcome};
use exports::cofferdam::operator::keyed_processor::{
    Firings, FoldOutcome, Groups, Guest, Time, Timer, TimerKind,
};

struct MisbehaveKeyed;

fn states(n: u32) -> Column {
    Column { data: vec![1; n as usize], offsets: (0..=n).collect() }
}

fn nothing() -> FoldOutcome {
    FoldOutcome {
        outcome: Outcome { emissions: vec![], rejected: vec![] },
        changed: vec![],
        states: states(0),
        set_timers: vec![],
        delete_timers: vec![],
    }
}

impl Guest for MisbehaveKeyed {
    fn open(_: Context) -> Result<(), String> {
        Ok(())
    }

    fn fold(_: Time, _: u32, records: Batch, groups: Groups) -> Result<FoldOutcome, String> {
        // 32 bits on the machine that this is compiled for, so nothing is cut.
        let n = u32::try_from(groups.row_offsets.len()).unwrap_or(u32::MAX) - 1;
        let mut answer = nothing();
        match config::get("mode").unwrap_or_default().as_str() {
            "unknown-group" => (answer.changed, answer.states) = (vec![n], states(1)),
            "changed-twice" => (answer.changed, answer.states) = (vec![0, 0], states(2)),
            "too-few-states" => (answer.changed, answer.states) = (vec![0, n - 1], states(1)),
            "timer-of-unknown-group" => {
                answer.set_timers.push(Timer { group: n, kind: TimerKind::Event, at: 0 });
            }
            "keep-out-of-range" => answer.outcome.emissions.push(Emission {
                port: 0,
                origin: Origin::Keep(vec![records.len]),
                keys: None,
                values: None,
                timestamps: None,
            }),
            "hoard" => {
                answer.changed = (0..n).collect();
                answer.states = Column {
                    data: vec![7; n as usize * 4096],
                    offsets: (0..=n).map(|i| i * 4096).collect(),
                };
            }
            _ => (answer.changed, answer.states) = ((0..n).collect(), states(n)),
        }
        Ok(answer)
    }

    fn fire(_: Time, _: Firings, _: Groups) -> Result<FoldOutcome, String> {
        Ok(nothing())
    }
}

export!(MisbehaveKeyed);
