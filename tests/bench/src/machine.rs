//! What the machine says of this process: time used, memory held.

use std::time::{Duration, Instant};

/// Nanoseconds a unit.
pub(crate) fn per(duration: Duration, units: u64) -> f64 {
    #[expect(clippy::cast_precision_loss, reason = "figures for people")]
    let (nanos, units) = (duration.as_nanos() as f64, units as f64);
    nanos / units
}

/// Processor time that all threads of this process have used.
pub(crate) fn cpu_time() -> anyhow::Result<Duration> {
    // Fields 14 and 15, counted after the name, which may hold anything. The
    // kernel counts in ticks of 10 ms on every Linux that we run on.
    let stat = std::fs::read_to_string("/proc/self/stat")?;
    let after = stat.rsplit(')').next().unwrap_or_default();
    let ticks: u64 =
        after.split_whitespace().skip(11).take(2).map(|t| t.parse::<u64>().unwrap_or(0)).sum();
    Ok(Duration::from_millis(ticks * 10))
}

/// Resident memory of a process, in KiB.
pub(crate) fn resident_kib(pid: u32) -> anyhow::Result<u64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = status.lines().find(|l| l.starts_with("VmRSS:")).unwrap_or_default();
    Ok(line.split_whitespace().nth(1).and_then(|kib| kib.parse().ok()).unwrap_or(0))
}

/// The median and the 99th percentile of timings, in microseconds.
pub(crate) fn median_and_p99(mut timings: Vec<Duration>) -> (f64, f64) {
    timings.sort_unstable();
    let at = |share: usize| {
        let i = (timings.len() * share / 100).min(timings.len() - 1);
        timings[i].as_secs_f64() * 1e6
    };
    (at(50), at(99))
}

/// How long something takes.
pub(crate) fn time<T>(what: impl FnOnce() -> T) -> (Duration, T) {
    let start = Instant::now();
    let result = what();
    (start.elapsed(), result)
}
