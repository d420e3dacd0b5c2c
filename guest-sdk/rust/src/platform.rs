//! What an operator reaches of the world: the host's imports in Wasm, and a
//! recorder for the harness in native builds. Nothing else differs between the
//! two.

#[cfg(target_arch = "wasm32")]
pub(crate) use crate::__component::{counter, gauge, histogram, log};

#[cfg(not(target_arch = "wasm32"))]
pub(crate) use native::*;

#[cfg(not(target_arch = "wasm32"))]
mod native {
    use std::{cell::RefCell, collections::BTreeMap};

    use crate::log::Level;

    /// What was logged and measured on this thread.
    #[derive(Debug, Default, Clone)]
    pub(crate) struct Recorder {
        pub(crate) logs: Vec<(Level, String)>,
        pub(crate) counters: BTreeMap<String, u64>,
        pub(crate) gauges: BTreeMap<String, f64>,
        pub(crate) histograms: BTreeMap<String, Vec<f64>>,
    }

    thread_local! {
        static RECORDER: RefCell<Option<Recorder>> = const { RefCell::new(None) };
    }

    /// Runs `f` and collects what it logs and measures into `into`. Outside of
    /// this, native builds drop both.
    pub(crate) fn recording<R>(into: &mut Recorder, f: impl FnOnce() -> R) -> R {
        let outer = RECORDER.replace(Some(std::mem::take(into)));
        let result = f();
        *into = RECORDER.replace(outer).unwrap_or_default();
        result
    }

    fn with(f: impl FnOnce(&mut Recorder)) {
        RECORDER.with_borrow_mut(|r| r.as_mut().map(f));
    }

    pub(crate) fn log(level: Level, message: &str) {
        with(|r| r.logs.push((level, message.to_owned())));
    }

    pub(crate) fn counter(name: &str, delta: u64) {
        with(|r| *r.counters.entry(name.to_owned()).or_default() += delta);
    }

    pub(crate) fn gauge(name: &str, value: f64) {
        with(|r| *r.gauges.entry(name.to_owned()).or_default() = value);
    }

    pub(crate) fn histogram(name: &str, value: f64) {
        with(|r| r.histograms.entry(name.to_owned()).or_default().push(value));
    }
}
