//! What a guest returned, checked before anything else sees it: whatever is in
//! an outcome, the host does not panic, and does not grow past a bound.

use std::sync::Arc;

use crate::{
    failure::{Failure, FailureKind},
    sandbox::{
        abi,
        instance::{FoldOutcome, Outcome},
    },
    state::{Change, TimerChange, TimerKind},
    stream::{Batch, Column},
};

/// The highest output port.
pub(super) const MAX_PORT: u32 = 255;
/// How many bytes the records of one outcome may have, after gathering.
const MAX_OUTCOME_BYTES: usize = 256 * 1024 * 1024;
/// How many records one emission may have.
const MAX_RECORDS: usize = 16 * 1024 * 1024;
/// How many emissions one outcome may have: each is handed on by itself, even an
/// empty one.
const MAX_EMISSIONS: usize = 64 * 1024;
/// How many timers one outcome may set, and how many it may delete.
const MAX_TIMERS: usize = 100_000;
/// The longest reason of a rejection that is kept, in bytes.
const MAX_REASON: usize = 1024;

fn invalid(what: impl std::fmt::Display) -> Failure {
    Failure::new(
        FailureKind::InvalidOutcome,
        format!("what the operator returned breaks the contract: {what}"),
    )
}

/// Checks an outcome of a call whose records were `input`.
pub(super) fn decode(raw: abi::OutcomeOut, input: &Batch) -> Result<Outcome, Failure> {
    if raw.emissions.len() > MAX_EMISSIONS {
        let count = raw.emissions.len();
        return Err(invalid(format_args!("{count} emissions; the most are {MAX_EMISSIONS}")));
    }
    let mut budget = MAX_OUTCOME_BYTES;
    let mut emissions = Vec::with_capacity(raw.emissions.len());
    for emission in raw.emissions {
        let port = emission.port;
        if port > MAX_PORT {
            return Err(invalid(format_args!("port {port}; the highest is {MAX_PORT}")));
        }
        let batch = decode_emission(emission, input, &mut budget)
            .map_err(|what| invalid(format_args!("in an emission to port {port}, {what}")))?;
        emissions.push((port, batch));
    }
    let mut rejected = Vec::with_capacity(raw.rejected.len());
    let mut seen = vec![false; if raw.rejected.is_empty() { 0 } else { input.len() }];
    for rejection in raw.rejected {
        let index = rejection.index;
        match seen.get_mut(index as usize) {
            None => {
                return Err(invalid(format_args!(
                    "record {index} is rejected, but the batch has {}",
                    input.len()
                )));
            }
            Some(true) => return Err(invalid(format_args!("record {index} is rejected twice"))),
            Some(once) => *once = true,
        }
        let mut reason = rejection.reason;
        reason.truncate(reason.floor_char_boundary(MAX_REASON));
        // What is cut off must not live on as room that nobody sees.
        reason.shrink_to_fit();
        rejected.push((index, reason));
    }
    Ok(Outcome { emissions, rejected })
}

fn decode_emission(raw: abi::Emission, input: &Batch, budget: &mut usize) -> Result<Batch, String> {
    let keys = raw.keys.map(|c| column("keys", c)).transpose()?.flatten();
    let values = raw.values.map(|c| column("values", c)).transpose()?.flatten();
    let timestamps = raw.timestamps.filter(|t| !t.is_empty()).map(Arc::new);
    let (len, keep) = match raw.origin {
        abi::Origin::Same => (input.len(), None),
        abi::Origin::Keep(indexes) => (indexes.len(), Some(indexes)),
        abi::Origin::Fresh => {
            let given = [
                keys.as_ref().map(|c: &Arc<Column>| c.len()),
                values.as_ref().map(|c: &Arc<Column>| c.len()),
                timestamps.as_ref().map(|t| t.len()),
            ];
            let len = given.into_iter().flatten().next().unwrap_or(0);
            check_lengths(len, keys.as_ref(), values.as_ref(), timestamps.as_ref())?;
            charge(budget, 0, keys.as_ref(), values.as_ref(), len)?;
            return Ok(Batch::new(len, keys, values, timestamps));
        }
    };
    if len > MAX_RECORDS {
        return Err(format!("there are {len} records, more than {MAX_RECORDS}"));
    }
    check_lengths(len, keys.as_ref(), values.as_ref(), timestamps.as_ref())?;
    let Some(keep) = keep else {
        charge(budget, 0, keys.as_ref(), values.as_ref(), len)?;
        return Ok(Batch::new(
            len,
            keys.or_else(|| input.keys().cloned()),
            values.or_else(|| input.values().cloned()),
            timestamps.or_else(|| input.timestamps().cloned()),
        ));
    };
    // One comparison for the whole list: the greatest index decides.
    let greatest = keep.iter().copied().max().unwrap_or(0) as usize;
    if !keep.is_empty() && greatest >= input.len() {
        return Err(format!(
            "`keep` has the index {greatest}, but the call had {} records",
            input.len()
        ));
    }
    let inherits = |given: bool, column: Option<&Arc<Column>>| match column {
        Some(column) if !given => gathered_bytes(column, &keep),
        _ => 0,
    };
    let gathered =
        inherits(keys.is_some(), input.keys()) + inherits(values.is_some(), input.values());
    charge(budget, gathered, keys.as_ref(), values.as_ref(), len)?;
    let gather = |column: &Arc<Column>| Arc::new(column.gather(&keep));
    Ok(Batch::new(
        len,
        keys.or_else(|| input.keys().map(gather)),
        values.or_else(|| input.values().map(gather)),
        timestamps.or_else(|| {
            input.timestamps().map(|t| Arc::new(keep.iter().map(|&i| t[i as usize]).collect()))
        }),
    ))
}

fn gathered_bytes(column: &Column, indexes: &[u32]) -> usize {
    let offsets = column.offsets();
    indexes.iter().map(|&i| (offsets[i as usize + 1] - offsets[i as usize]) as usize).sum()
}

fn charge(
    budget: &mut usize,
    gathered: usize,
    keys: Option<&Arc<Column>>,
    values: Option<&Arc<Column>>,
    len: usize,
) -> Result<(), String> {
    let fresh = [keys, values].into_iter().flatten().map(|c| c.bytes()).sum::<usize>();
    let bytes = fresh + gathered + len * 16;
    *budget = budget
        .checked_sub(bytes)
        .ok_or_else(|| format!("the outcome has more than {MAX_OUTCOME_BYTES} bytes"))?;
    Ok(())
}

fn check_lengths(
    len: usize,
    keys: Option<&Arc<Column>>,
    values: Option<&Arc<Column>>,
    timestamps: Option<&Arc<Vec<i64>>>,
) -> Result<(), String> {
    let given = [
        ("keys", keys.map(|c| c.len())),
        ("values", values.map(|c| c.len())),
        ("timestamps", timestamps.map(|t| t.len())),
    ];
    for (what, given) in given {
        if let Some(given) = given
            && given != len
        {
            return Err(format!("there are {given} {what} for {len} records"));
        }
    }
    Ok(())
}

/// A column as it came; `None` where it is absent.
fn column(what: &str, raw: abi::ColumnOut) -> Result<Option<Arc<Column>>, String> {
    if raw.offsets.is_empty() {
        return if raw.data.is_empty() {
            Ok(None)
        } else {
            Err(format!("the column of {what} has data but no offsets"))
        };
    }
    Column::from_parts(raw.data, raw.offsets)
        .map(|column| Some(Arc::new(column)))
        .map_err(|e| format!("the column of {what} is malformed: {e}"))
}

/// Checks the outcome of a fold; the state's own checks come when it is applied.
pub(super) fn decode_fold(raw: abi::FoldOutcomeOut, input: &Batch) -> Result<FoldOutcome, Failure> {
    let outcome = decode(raw.outcome, input)?;
    let states = required_column("states", raw.states)?;
    for (what, timers) in [("set", &raw.set_timers), ("deleted", &raw.delete_timers)] {
        if timers.len() > MAX_TIMERS {
            let count = timers.len();
            return Err(invalid(format_args!(
                "{count} timers are {what}; the most are {MAX_TIMERS}"
            )));
        }
    }
    let change = Change {
        changed: raw.changed,
        states,
        set_timers: raw.set_timers.into_iter().map(timer).collect(),
        delete_timers: raw.delete_timers.into_iter().map(timer).collect(),
    };
    Ok(FoldOutcome { outcome, change })
}

/// A column that may be left out only where it would be empty.
pub(super) fn required_column(what: &str, raw: abi::ColumnOut) -> Result<Column, Failure> {
    let column = column(what, raw).map_err(invalid)?;
    Ok(column.and_then(Arc::into_inner).unwrap_or_default())
}

fn timer(raw: abi::Timer) -> TimerChange {
    let kind = match raw.kind {
        abi::TimerKind::Event => TimerKind::Event,
        abi::TimerKind::Processing => TimerKind::Processing,
    };
    TimerChange { group: raw.group, kind, at: raw.at }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::stream::BatchBuilder;

    fn input(len: u8) -> Batch {
        let mut builder = BatchBuilder::new();
        (0..len).for_each(|i| builder.push(Some(&[i]), &[i; 3], Some(i64::from(i))));
        builder.take()
    }

    fn emission(origin: abi::Origin) -> abi::Emission {
        abi::Emission { port: 0, origin, keys: None, values: None, timestamps: None }
    }

    fn outcome(emissions: Vec<abi::Emission>) -> abi::OutcomeOut {
        abi::OutcomeOut { emissions, rejected: Vec::new() }
    }

    #[test]
    fn columns_that_are_not_given_come_from_the_origin() {
        let values = abi::ColumnOut { data: b"xyz".to_vec(), offsets: vec![0, 1, 3] };
        let keep =
            abi::Emission { values: Some(values), ..emission(abi::Origin::Keep(vec![4, 1])) };
        let got = decode(outcome(vec![keep, emission(abi::Origin::Same)]), &input(5)).unwrap();
        let first = &got.emissions[0].1;
        assert_eq!((first.key(0), first.value(1)), (&[4][..], &b"yz"[..]));
        assert_eq!(first.timestamp(1), Some(1));
        assert_eq!(got.emissions[1].1, input(5));
    }

    #[test]
    fn an_index_beyond_the_batch_is_refused() {
        let bad = decode(outcome(vec![emission(abi::Origin::Keep(vec![0, 5]))]), &input(5));
        let message = bad.unwrap_err().message;
        assert!(
            message.contains("`keep` has the index 5, but the call had 5 records"),
            "{message}"
        );
    }

    #[test]
    fn a_record_repeated_beyond_measure_is_refused_before_it_is_copied() {
        let mut builder = BatchBuilder::new();
        builder.push(None, &vec![7; 1 << 20], None);
        let bad =
            decode(outcome(vec![emission(abi::Origin::Keep(vec![0; 100_000]))]), &builder.take());
        assert!(bad.unwrap_err().message.contains("more than 268435456 bytes"));
    }

    proptest! {
        #[test]
        fn no_outcome_panics_the_host(
            port in 0_u32..300,
            origin in prop_oneof![
                Just(None), prop::collection::vec(0_u32..8, 0..8).prop_map(Some)
            ],
            same in any::<bool>(),
            data in prop::collection::vec(any::<u8>(), 0..8),
            offsets in prop::collection::vec(0_u32..9, 0..6),
            times in prop::option::of(prop::collection::vec(any::<i64>(), 0..6)),
            rejected in prop::collection::vec(0_u32..7, 0..3),
        ) {
            let origin = match origin {
                Some(keep) => abi::Origin::Keep(keep),
                None if same => abi::Origin::Same,
                None => abi::Origin::Fresh,
            };
            let raw = abi::OutcomeOut {
                emissions: vec![abi::Emission {
                    port,
                    origin,
                    keys: Some(abi::ColumnOut { data: data.clone(), offsets: offsets.clone() }),
                    values: Some(abi::ColumnOut { data, offsets }),
                    timestamps: times,
                }],
                rejected: rejected
                    .into_iter()
                    .map(|index| abi::Rejection { index, reason: "no".into() })
                    .collect(),
            };
            if let Ok(outcome) = decode(raw, &input(5)) {
                for (port, batch) in outcome.emissions {
                    prop_assert!(port <= MAX_PORT);
                    for i in 0..batch.len() {
                        let _ = (batch.key(i), batch.value(i), batch.timestamp(i));
                    }
                }
            }
        }
    }
}
