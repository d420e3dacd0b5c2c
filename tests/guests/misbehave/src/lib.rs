//! A guest for tests that breaks the contract of `processor`, in the way that
//! `mode` in its configuration says:
//!
//! | mode | what it answers |
//! | --- | --- |
//! | `keep-out-of-range` | an origin beyond the batch |
//! | `offsets-decrease` | a column whose offsets go back |
//! | `offsets-past-end` | a last offset beyond the data |
//! | `first-offset` | a first offset that is not 0 |
//! | `too-few-values` | one value less than records |
//! | `timestamps-disagree` | fresh columns of two lengths |
//! | `reject-out-of-range` | a rejection beyond the batch |
//! | `log-flood` | 100,000 log lines of 10 kB |
//! | `grow` | the batch as it is, after taking 4 MiB more; it goes on if it is refused |
//! | `grow-and-give-up` | `err` once it is refused the 4 MiB that it wants for each batch |
//! | anything else | the batch as it is |

#![cfg(target_arch = "wasm32")]
#![allow(unsafe_code, reason = "generated glue of the canonical ABI")]
#![allow(missing_docs, unreachable_pub, unused_qualifications, reason = "generated")]
#![allow(clippy::all, clippy::allow_attributes_without_reason, reason = "generated")]

wit_bindgen::generate!({ path: "../../../wit", world: "processor-operator" });

use cofferdam::operator::types::{Batch, Column, Context, Emission, Origin, Outcome, Rejection};
use cofferdam::operator::{config, log};
use exports::cofferdam::operator::processor::Guest;

struct Misbehave;

fn emission(origin: Origin, values: Option<(Vec<u8>, Vec<u32>)>) -> Emission {
    let values = values.map(|(data, offsets)| Column { data, offsets });
    Emission { port: 0, origin, keys: None, values, timestamps: None }
}

fn offsets(n: u32) -> Vec<u32> {
    (0..=n).collect()
}

/// Takes 4 MiB of memory; whether it got them.
fn more() -> bool {
    core::arch::wasm32::memory_grow::<0>(64) != usize::MAX
}

impl Guest for Misbehave {
    fn open(_: Context) -> Result<(), String> {
        Ok(())
    }

    fn process(_: u32, records: Batch) -> Result<Outcome, String> {
        let n = records.len;
        let data = vec![b'x'; n as usize];
        let mut rejected = Vec::new();
        let mode = config::get("mode").unwrap_or_default();
        let emission = match mode.as_str() {
            "keep-out-of-range" => emission(Origin::Keep(vec![0, n]), None),
            "offsets-decrease" => {
                let mut offsets = offsets(n + 1);
                offsets[1] = n + 1;
                emission(Origin::Fresh, Some((vec![b'x'; n as usize + 1], offsets)))
            }
            "offsets-past-end" => {
                let mut offsets = offsets(n);
                offsets[n as usize] = u32::MAX;
                emission(Origin::Same, Some((data, offsets)))
            }
            "first-offset" => {
                let mut offsets = offsets(n);
                offsets[0] = 1;
                emission(Origin::Same, Some((data, offsets)))
            }
            "too-few-values" => {
                emission(Origin::Same, Some((vec![b'x'; n as usize - 1], offsets(n - 1))))
            }
            "timestamps-disagree" => Emission {
                timestamps: Some(vec![0; n as usize + 1]),
                ..emission(Origin::Fresh, Some((data, offsets(n))))
            },
            "reject-out-of-range" => {
                rejected.push(Rejection { index: n, reason: "there is no such record".into() });
                emission(Origin::Same, None)
            }
            "log-flood" => {
                let line = "flood ".repeat(1_700);
                for _ in 0..100_000 {
                    log::log(log::Level::Info, &line);
                }
                emission(Origin::Same, None)
            }
            "grow" => {
                let _ = more();
                emission(Origin::Same, None)
            }
            "grow-and-give-up" => {
                if !more() {
                    return Err("no room for the index".into());
                }
                emission(Origin::Same, None)
            }
            _ => emission(Origin::Same, None),
        };
        Ok(Outcome { emissions: vec![emission], rejected })
    }

    fn finish() -> Result<Outcome, String> {
        Ok(Outcome { emissions: vec![], rejected: vec![] })
    }
}

export!(Misbehave);
