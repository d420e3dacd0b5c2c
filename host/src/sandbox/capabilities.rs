//! What a guest may import, and the host's side of it. What is not granted is
//! absent from the linker: a component that wants it does not load.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use serde::Serialize;
use wasmtime::{StoreContextMut, component::Linker};
use wasmtime_wasi::{WasiCtxView, WasiView};

use crate::{
    config::job::Grant,
    failure::Failure,
    sandbox::{
        abi::Level,
        guest_log::{self, GuestLog},
        http::Outside,
        instance::SlotSettings,
        last_words::LastWords,
        limits::SlotLimits,
        wasi::{self, Wasi},
    },
};

/// How many metrics an operator instance may have.
const MAX_METRICS: usize = 100;
/// The longest name of a metric, in bytes.
const MAX_METRIC_NAME: usize = 128;

/// Names go to whatever reads metrics, so they are plain: letters, digits and
/// `_ - . : /`.
fn is_metric_name(name: &str) -> bool {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"_-.:/".contains(&b);
    (1..=MAX_METRIC_NAME).contains(&name.len()) && name.bytes().all(plain)
}

/// The metrics that an operator instance made.
#[derive(Debug, Default, Clone, PartialEq, Serialize)]
pub struct GuestMetrics {
    /// Counters.
    pub counters: BTreeMap<String, u64>,
    /// Gauges.
    pub gauges: BTreeMap<String, f64>,
    /// Histograms.
    pub histograms: BTreeMap<String, Histogram>,
    /// Updates that were dropped: of metrics past the number that an instance may
    /// have, or with a name that is none.
    pub dropped: u64,
    /// Log lines of this slot that were dropped, by all instances that were in it.
    pub dropped_log_lines: u64,
}

/// A histogram in powers of two: bucket `i` counts values up to `2^(i - 16)`.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Histogram {
    /// Number of observations.
    pub count: u64,
    /// Their sum.
    pub sum: f64,
    /// Observations by bucket; the last one takes the rest.
    pub buckets: Vec<u64>,
}

/// Upper bounds from 2^-16 to 2^46, and one bucket for the rest.
const BUCKETS: usize = 64;

impl Default for Histogram {
    fn default() -> Self {
        Self { count: 0, sum: 0.0, buckets: vec![0; BUCKETS] }
    }
}

impl Histogram {
    fn record(&mut self, value: f64) {
        self.count += 1;
        self.sum += value;
        let bound = (0_i32..).map(|i| f64::powi(2.0, i - 16));
        let bucket = bound.take(BUCKETS - 1).position(|bound| value <= bound);
        self.buckets[bucket.unwrap_or(BUCKETS - 1)] += 1;
    }
}

impl GuestMetrics {
    /// The place of a metric, unless the instance has too many.
    fn slot<'a, T: Default>(
        map: &'a mut BTreeMap<String, T>,
        others: usize,
        dropped: &mut u64,
        name: &str,
    ) -> Option<&'a mut T> {
        if !map.contains_key(name) {
            if map.len() + others >= MAX_METRICS || !is_metric_name(name) {
                *dropped += 1;
                return None;
            }
            map.insert(name.to_owned(), T::default());
        }
        map.get_mut(name)
    }

    fn counter(&mut self, name: &str) -> Option<&mut u64> {
        let others = self.gauges.len() + self.histograms.len();
        Self::slot(&mut self.counters, others, &mut self.dropped, name)
    }

    fn gauge(&mut self, name: &str) -> Option<&mut f64> {
        let others = self.counters.len() + self.histograms.len();
        Self::slot(&mut self.gauges, others, &mut self.dropped, name)
    }

    fn histogram(&mut self, name: &str) -> Option<&mut Histogram> {
        let others = self.counters.len() + self.gauges.len();
        Self::slot(&mut self.histograms, others, &mut self.dropped, name)
    }
}

/// What a store knows of its slot.
pub(super) struct SlotState {
    pub(super) limits: SlotLimits,
    pub(super) deadline: Duration,
    /// The last thing the guest logged as an error in this call.
    pub(super) last_words: LastWords,
    log: GuestLog,
    config: Arc<serde_json::Map<String, serde_json::Value>>,
    metrics: Arc<Mutex<GuestMetrics>>,
    outside: Outside,
    /// Made when the guest first asks for it, unless it has folders.
    wasi: Option<Box<Wasi>>,
}

impl SlotState {
    pub(super) fn new(settings: &SlotSettings) -> Result<Self, Failure> {
        let log = GuestLog::new(settings.log.clone(), settings.metrics.clone());
        let outside =
            Outside { hosts: settings.http_hosts.clone(), roots: settings.http_roots.clone() };
        let wasi = match &*settings.folders {
            [] => None,
            folders => Some(Box::new(Wasi::with_folders(&log, outside.clone(), folders)?)),
        };
        Ok(Self {
            limits: SlotLimits::new(settings.memory.clone()),
            deadline: settings.deadline,
            last_words: LastWords::default(),
            log,
            config: settings.config.clone(),
            metrics: settings.metrics.clone(),
            outside,
            wasi,
        })
    }

    pub(super) fn wasi(&mut self) -> &mut Wasi {
        let make = || Box::new(Wasi::new(&self.log, self.outside.clone()));
        self.wasi.get_or_insert_with(make)
    }

    /// Whether the guest holds anything of the host's.
    pub(super) fn holds_handles(&self) -> bool {
        self.wasi.as_ref().is_some_and(|wasi| wasi.holds_handles())
    }

    /// A new call begins: what belongs to the last one is forgotten.
    pub(super) fn begin_call(&mut self) {
        self.limits.refused = None;
        self.last_words = LastWords::default();
        self.log.begin_call();
    }

    fn log(&mut self, level: Level, message: &str) {
        if matches!(level, Level::Error) {
            self.last_words.note(&guest_log::shown(message));
        }
        self.log.write(level, message);
    }

    fn with_metrics(&mut self, change: impl FnOnce(&mut GuestMetrics)) {
        change(&mut self.metrics.lock().unwrap_or_else(PoisonError::into_inner));
    }

    fn config_value(&self, key: &str) -> Option<String> {
        self.config.get(key).map(|value| match value {
            serde_json::Value::String(text) => text.clone(),
            other => other.to_string(),
        })
    }

    fn config_all(&self) -> String {
        serde_json::to_string(&*self.config).unwrap_or_else(|_| "{}".to_owned())
    }
}

impl WasiView for SlotState {
    fn ctx(&mut self) -> WasiCtxView<'_> {
        self.wasi().view()
    }
}

/// Puts what is granted into the linker.
pub(super) fn link(linker: &mut Linker<SlotState>, grants: &[Grant]) -> wasmtime::Result<()> {
    if grants.contains(&Grant::Log) {
        link_log(linker)?;
    }
    if grants.contains(&Grant::Config) {
        link_config(linker)?;
    }
    if grants.contains(&Grant::Metrics) {
        link_metrics(linker)?;
    }
    wasi::link(linker, grants)
}

type Ctx<'a> = StoreContextMut<'a, SlotState>;

fn link_log(linker: &mut Linker<SlotState>) -> wasmtime::Result<()> {
    let mut log = linker.instance("cofferdam:operator/log@0.1.0")?;
    log.func_wrap("log", |mut cx: Ctx<'_>, (level, message): (Level, String)| {
        cx.data_mut().log(level, &message);
        Ok(())
    })
}

fn link_config(linker: &mut Linker<SlotState>) -> wasmtime::Result<()> {
    let mut config = linker.instance("cofferdam:operator/config@0.1.0")?;
    config
        .func_wrap("get", |cx: Ctx<'_>, (key,): (String,)| Ok((cx.data().config_value(&key),)))?;
    config.func_wrap("all", |cx: Ctx<'_>, (): ()| Ok((cx.data().config_all(),)))
}

fn link_metrics(linker: &mut Linker<SlotState>) -> wasmtime::Result<()> {
    let mut metrics = linker.instance("cofferdam:operator/metrics@0.1.0")?;
    metrics.func_wrap("counter-add", |mut cx: Ctx<'_>, (name, delta): (String, u64)| {
        cx.data_mut().with_metrics(|m| {
            if let Some(counter) = m.counter(&name) {
                *counter = counter.saturating_add(delta);
            }
        });
        Ok(())
    })?;
    metrics.func_wrap("gauge-set", |mut cx: Ctx<'_>, (name, value): (String, f64)| {
        cx.data_mut().with_metrics(|m| {
            if let Some(gauge) = m.gauge(&name) {
                *gauge = value;
            }
        });
        Ok(())
    })?;
    metrics.func_wrap("histogram-record", |mut cx: Ctx<'_>, (name, value): (String, f64)| {
        cx.data_mut().with_metrics(|m| {
            if let Some(histogram) = m.histogram(&name) {
                histogram.record(value);
            }
        });
        Ok(())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_that_is_none_makes_no_metric() {
        let mut metrics = GuestMetrics::default();
        for bad in ["", "a b", "a\nb", "a{x=\"1\"}", "ä", "\u{1b}[2J", &"x".repeat(129)] {
            assert!(metrics.gauge(bad).is_none(), "{bad:?}");
        }
        assert_eq!((metrics.dropped, metrics.gauges.len()), (7, 0));
        assert!(metrics.gauge("http/requests_total:p99.9-x").is_some());
    }

    #[test]
    fn a_flood_of_metric_names_is_bounded_and_counted() {
        let mut metrics = GuestMetrics::default();
        for i in 0..1000 {
            if let Some(counter) = metrics.counter(&format!("c{i}")) {
                *counter += 1;
            }
        }
        assert!(metrics.gauge("g").is_none());
        assert_eq!(metrics.counters.len(), MAX_METRICS);
        assert_eq!(metrics.dropped, 901);
        assert!(metrics.counter("c1").is_some(), "known ones go on counting");
    }
}
