//! The operator's own metrics. The host adds tenant, job, operator and subtask.
//! A call crosses the sandbox's wall (some 200 ns): add up in the batch, and
//! report once.
//!
//! ```
//! use cofferdam_sdk::metrics;
//!
//! metrics::counter("alerts", 3);
//! metrics::gauge("stations", 12.0);
//! metrics::histogram("delay_minutes", 4.5);
//! ```

use crate::platform;

/// Adds to a counter.
pub fn counter(name: &str, delta: u64) {
    platform::counter(name, delta);
}

/// Sets a gauge.
pub fn gauge(name: &str, value: f64) {
    platform::gauge(name, value);
}

/// Adds one observation to a histogram.
pub fn histogram(name: &str, value: f64) {
    platform::histogram(name, value);
}
