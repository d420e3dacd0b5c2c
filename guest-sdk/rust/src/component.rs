//! The generated bindings, in Wasm only, and what stands between them and the
//! authors' traits. Conversions move vectors; they copy no record.

#![allow(unsafe_code, reason = "the canonical ABI's generated glue is unsafe by nature")]
#![allow(missing_docs, unreachable_pub, reason = "generated; documented in wit/")]
#![allow(clippy::all, clippy::allow_attributes_without_reason, reason = "generated")]

use std::{marker::PhantomData, panic::PanicHookInfo};

use crate::{
    Batch, Column, Context, Error, KeyedProcessor, Merge, Outcome, Processor, Snapshot, contract,
    log::Level,
};

pub use cofferdam_sdk_bindings::{session, stateful};
use stateful::cofferdam::operator::{config, log as host_log, metrics, types as wit};

pub mod processor {
    wit_bindgen::generate!({
        path: "wit",
        world: "processor-operator",
        pub_export_macro: true,
        export_macro_name: "export_processor",
        with: {
            "cofferdam:operator/log@0.1.0": super::stateful::cofferdam::operator::log,
            "cofferdam:operator/config@0.1.0": super::stateful::cofferdam::operator::config,
            "cofferdam:operator/metrics@0.1.0": super::stateful::cofferdam::operator::metrics,
            "cofferdam:operator/types@0.1.0": super::stateful::cofferdam::operator::types,
        },
    });
}

pub mod keyed {
    wit_bindgen::generate!({
        path: "wit",
        world: "checked-keyed-operator",
        pub_export_macro: true,
        export_macro_name: "export_keyed",
        with: {
            "cofferdam:operator/log@0.1.0": super::stateful::cofferdam::operator::log,
            "cofferdam:operator/config@0.1.0": super::stateful::cofferdam::operator::config,
            "cofferdam:operator/metrics@0.1.0": super::stateful::cofferdam::operator::metrics,
            "cofferdam:operator/types@0.1.0": super::stateful::cofferdam::operator::types,
        },
    });
}

/// Where a component keeps its one operator; `export!` implements it.
pub trait Instance: 'static {
    /// The author's type.
    type Operator;
    /// Lends the operator: none before `open`.
    fn with<R>(f: impl FnOnce(&mut Option<Self::Operator>) -> R) -> R;
}

/// What the generated code calls: a type of this crate, since some of the traits
/// are the bindings crate's.
pub struct Adapter<C>(PhantomData<C>);

fn on_operator<C: Instance, R>(
    f: impl FnOnce(&mut C::Operator) -> Result<R, Error>,
) -> Result<R, String> {
    C::with(|operator| match operator {
        Some(operator) => f(operator).map_err(String::from),
        None => Err("called before `open`".to_owned()),
    })
}

fn open_with<C: Instance>(
    ctx: wit::Context,
    open: impl FnOnce(&Context) -> Result<C::Operator, Error>,
) -> Result<(), String> {
    std::panic::set_hook(Box::new(log_panic));
    let ctx = Context {
        operator: ctx.operator,
        subtask: ctx.subtask,
        parallelism: ctx.parallelism,
        inputs: ctx.inputs,
        outputs: ctx.outputs,
        config: config::all(),
    };
    let operator = open(&ctx)?;
    C::with(|place| *place = Some(operator));
    Ok(())
}

/// The trap that follows a panic says nothing of its message, so it is logged.
fn log_panic(info: &PanicHookInfo<'_>) {
    host_log::log(host_log::Level::Error, &info.to_string());
}

pub(crate) fn log(level: Level, message: &str) {
    let level = match level {
        Level::Trace => host_log::Level::Trace,
        Level::Debug => host_log::Level::Debug,
        Level::Info => host_log::Level::Info,
        Level::Warn => host_log::Level::Warn,
        Level::Error => host_log::Level::Error,
    };
    host_log::log(level, message);
}

pub(crate) fn counter(name: &str, delta: u64) {
    metrics::counter_add(name, delta);
}

pub(crate) fn gauge(name: &str, value: f64) {
    metrics::gauge_set(name, value);
}

pub(crate) fn histogram(name: &str, value: f64) {
    metrics::histogram_record(name, value);
}

fn column_in(column: wit::Column) -> Column {
    Column::from_parts(column.data, column.offsets)
}

fn column_out(column: Column) -> wit::Column {
    let (data, offsets) = column.into_parts();
    wit::Column { data, offsets }
}

fn batch_in(input: u32, batch: wit::Batch) -> Batch {
    Batch {
        len: batch.len,
        input,
        keys: column_in(batch.keys),
        values: column_in(batch.values),
        timestamps: batch.timestamps,
    }
}

fn emission_out(emission: contract::Emission) -> wit::Emission {
    wit::Emission {
        port: emission.port,
        origin: match emission.origin {
            contract::Origin::Fresh => wit::Origin::Fresh,
            contract::Origin::Same => wit::Origin::Same,
            contract::Origin::Keep(rows) => wit::Origin::Keep(rows),
        },
        keys: emission.keys.map(column_out),
        values: emission.values.map(column_out),
        timestamps: emission.timestamps,
    }
}

fn outcome_out(
    emissions: Vec<contract::Emission>,
    rejected: Vec<contract::Rejection>,
) -> wit::Outcome {
    let rejection = |r: contract::Rejection| wit::Rejection { index: r.index, reason: r.reason };
    wit::Outcome {
        emissions: emissions.into_iter().map(emission_out).collect(),
        rejected: rejected.into_iter().map(rejection).collect(),
    }
}

macro_rules! processor_glue {
    ($world:ident) => {
        impl<C> $world::exports::cofferdam::operator::processor::Guest for Adapter<C>
        where
            C: Instance,
            C::Operator: Processor,
        {
            fn open(ctx: wit::Context) -> Result<(), String> {
                open_with::<C>(ctx, C::Operator::open)
            }

            fn process(input: u32, records: wit::Batch) -> Result<wit::Outcome, String> {
                let batch = batch_in(input, records);
                on_operator::<C, _>(|operator| {
                    let mut out = Outcome::new(&batch);
                    operator.process(&batch, &mut out)?;
                    let (emissions, rejected) = out.into_parts();
                    Ok(outcome_out(emissions, rejected))
                })
            }

            fn finish() -> Result<wit::Outcome, String> {
                on_operator::<C, _>(|operator| {
                    let mut out = Outcome::default();
                    operator.finish(&mut out)?;
                    let (emissions, rejected) = out.into_parts();
                    Ok(outcome_out(emissions, rejected))
                })
            }
        }
    };
}

processor_glue!(processor);
processor_glue!(stateful);

impl<C> stateful::exports::cofferdam::operator::snapshot::Guest for Adapter<C>
where
    C: Instance,
    C::Operator: Snapshot,
{
    fn snapshot() -> Result<Vec<u8>, String> {
        on_operator::<C, _>(|operator| operator.snapshot())
    }

    fn restore(state: Vec<u8>) -> Result<(), String> {
        on_operator::<C, _>(|operator| operator.restore(&state))
    }
}

macro_rules! keyed_glue {
    ($world:ident, $module:ident) => {
        mod $module {
            use super::{
                $world::exports::cofferdam::operator::{
                    keyed_processor as wit_keyed, state_check as wit_check,
                },
                *,
            };

            impl<C> wit_check::Guest for Adapter<C>
            where
                C: Instance,
                C::Operator: KeyedProcessor,
            {
                fn check(keys: wit::Column, states: wit::Column) -> Result<(), String> {
                    let (keys, states) = (column_in(keys), column_in(states));
                    crate::fold::check::<C::Operator>(&keys, &states).map_err(|e| e.to_string())
                }
            }

            fn now_in(now: wit_keyed::Time) -> contract::Now {
                contract::Now { watermark: now.watermark, processing: now.processing }
            }

            fn groups_in(groups: wit_keyed::Groups) -> contract::Groups {
                contract::Groups {
                    keys: column_in(groups.keys),
                    states: column_in(groups.states),
                    window_starts: groups.window_starts,
                    window_ends: groups.window_ends,
                    rows: groups.rows,
                    row_offsets: groups.row_offsets,
                }
            }

            fn kind_in(kind: wit_keyed::FiringKind) -> contract::FiringKind {
                match kind {
                    wit_keyed::FiringKind::Window => contract::FiringKind::Window,
                    wit_keyed::FiringKind::Event => contract::FiringKind::Event,
                    wit_keyed::FiringKind::Processing => contract::FiringKind::Processing,
                }
            }

            fn timer_out(timer: contract::Timer) -> wit_keyed::Timer {
                let kind = match timer.kind {
                    contract::TimerKind::Event => wit_keyed::TimerKind::Event,
                    contract::TimerKind::Processing => wit_keyed::TimerKind::Processing,
                };
                wit_keyed::Timer { group: timer.group, kind, at: timer.at }
            }

            fn fold_out(fold: contract::FoldOutcome) -> wit_keyed::FoldOutcome {
                wit_keyed::FoldOutcome {
                    outcome: outcome_out(fold.emissions, fold.rejected),
                    changed: fold.changed,
                    states: column_out(fold.states),
                    set_timers: fold.set_timers.into_iter().map(timer_out).collect(),
                    delete_timers: fold.delete_timers.into_iter().map(timer_out).collect(),
                }
            }

            impl<C> wit_keyed::Guest for Adapter<C>
            where
                C: Instance,
                C::Operator: KeyedProcessor,
            {
                fn open(ctx: wit::Context) -> Result<(), String> {
                    open_with::<C>(ctx, C::Operator::open)
                }

                fn fold(
                    now: wit_keyed::Time,
                    input: u32,
                    records: wit::Batch,
                    groups: wit_keyed::Groups,
                ) -> Result<wit_keyed::FoldOutcome, String> {
                    let (batch, groups) = (batch_in(input, records), groups_in(groups));
                    on_operator::<C, _>(|operator| {
                        crate::fold::fold(operator, now_in(now), &batch, &groups).map(fold_out)
                    })
                }

                fn fire(
                    now: wit_keyed::Time,
                    due: wit_keyed::Firings,
                    groups: wit_keyed::Groups,
                ) -> Result<wit_keyed::FoldOutcome, String> {
                    let due = contract::Firings {
                        kinds: due.kinds.into_iter().map(kind_in).collect(),
                        times: due.times,
                    };
                    let groups = groups_in(groups);
                    on_operator::<C, _>(|operator| {
                        crate::fold::fire(operator, now_in(now), &due, &groups).map(fold_out)
                    })
                }
            }
        }
    };
}

keyed_glue!(keyed, keyed_glue);
keyed_glue!(session, session_glue);

impl<C> session::exports::cofferdam::operator::session_merge::Guest for Adapter<C>
where
    C: Instance,
    C::Operator: Merge,
{
    fn merge(
        keys: wit::Column,
        left: wit::Column,
        right: wit::Column,
    ) -> Result<wit::Column, String> {
        let (keys, left, right) = (column_in(keys), column_in(left), column_in(right));
        on_operator::<C, _>(|operator| {
            crate::fold::merge(operator, &keys, &left, &right).map(column_out)
        })
    }
}
