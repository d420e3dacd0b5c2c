//! Turns snapshots of a job into lines for people. Pure: what is drawn where is
//! the terminal's business.

use std::{collections::BTreeMap, fmt::Write as _};

use super::human;
use crate::{
    job_manager::status::{JobState, JobStatus, VertexKind, VertexStatus},
    memory::MemoryReport,
};

/// The lines of the live display. Rates are those between the two snapshots.
pub(super) fn live(now: &JobStatus, before: &JobStatus) -> Vec<String> {
    let mut lines = vec![headline(now, before)];
    lines.extend(table(&rows(now, before)));
    lines.push(checkpoints(now));
    lines.extend(held_up(now));
    lines.extend(restarts(now));
    lines
}

/// A single line, for where nothing can be redrawn.
pub(super) fn plain(now: &JobStatus, before: &JobStatus) -> String {
    let mut line = headline(now, before);
    if let Some(watermark) = watermark(now) {
        let _ = write!(line, " · watermark {watermark}");
    }
    let memory: u64 = now.vertices.iter().map(|vertex| vertex.slot_memory).sum();
    let _ = write!(line, " · {} in slots", human::bytes(float(memory)));
    if now.checkpoints.completed + now.checkpoints.failed > 0 {
        let _ = write!(line, " · {}", checkpoints(now));
    }
    for more in [held_up(now), restarts(now)].into_iter().flatten() {
        let _ = write!(line, " · {more}");
    }
    line
}

/// What is left to say at the end.
pub(super) fn summary(end: &JobStatus) -> String {
    let took = human::millis(end.elapsed_millis);
    let (read, written) = totals(end);
    let mut out = format!(
        "{} {} after {took}: {} records in, {} out\n",
        end.job,
        end.state.word(),
        human::exact(read),
        human::exact(written),
    );
    let mut rows = vec![
        [
            "vertex",
            "kind",
            "x",
            "in",
            "out",
            "bytes in",
            "bytes out",
            "rejected",
            "late",
            "restarts",
        ]
        .map(str::to_owned)
        .to_vec(),
    ];
    rows.extend(end.vertices.iter().map(|vertex| {
        let number = |n: u64| if n == 0 { "-".to_owned() } else { human::exact(n) };
        let bytes = |n: u64| if n == 0 { "-".to_owned() } else { human::bytes(float(n)) };
        vec![
            vertex.name.to_string(),
            vertex.kind.word().to_owned(),
            vertex.parallelism.to_string(),
            number(vertex.records_in),
            number(vertex.records_out),
            bytes(vertex.bytes_in),
            bytes(vertex.bytes_out),
            number(vertex.rejected),
            number(vertex.late),
            number(vertex.restarts.into()),
        ]
    }));
    for line in table(&rows) {
        out.push_str(&line);
        out.push('\n');
    }
    for vertex in &end.vertices {
        out.push_str(&counters(vertex));
    }
    // After a resumption the counts are of earlier runs too, and the time is not.
    if end.elapsed_millis > 0 && end.checkpoints.resumed_from.is_none() {
        let rate = float(read) * 1_000.0 / float(end.elapsed_millis);
        let _ = writeln!(out, "{} records/s on average", human::count(rate));
    }
    out.push_str(&memory(&end.memory));
    out.push_str(&checkpoints(end));
    out.push('\n');
    for more in [held_up(end), restarts(end)].into_iter().flatten() {
        out.push_str(&more);
        out.push('\n');
    }
    out
}

/// `memory: at most 68.1 MiB of 5.80 GiB reserved (1.2 %), 512 MiB promised; the
/// largest slot, count (subtask 0), had 34.1 MiB of 256 MiB`
fn memory(memory: &MemoryReport) -> String {
    let Some(largest) = &memory.largest_slot else { return String::new() };
    let bytes = |n: usize| human::bytes(float(n as u64));
    let share = match memory.limit {
        0 => 0.0,
        limit => float(memory.peak as u64) * 100.0 / float(limit as u64),
    };
    format!(
        "memory: at most {} of {} reserved ({share:.1} %), {} promised; \
         the largest slot, {} (subtask {}), had {} of {}\n",
        bytes(memory.peak),
        bytes(memory.limit),
        bytes(memory.promised),
        largest.operator,
        largest.subtask,
        bytes(largest.peak),
        bytes(largest.limit),
    )
}

/// What an operator counted itself: `counted by airport-alerts: alerts 121`.
fn counters(vertex: &VertexStatus) -> String {
    let mut sums: BTreeMap<&str, u64> = BTreeMap::new();
    for (name, count) in vertex.guest_metrics.iter().flat_map(|m| &m.counters) {
        *sums.entry(name).or_default() += count;
    }
    let mut text = String::new();
    if !sums.is_empty() {
        let sums: Vec<_> = sums.iter().map(|(n, c)| format!("{n} {}", human::exact(*c))).collect();
        let _ = writeln!(text, "counted by {}: {}", vertex.name, sums.join(", "));
    }
    let dropped: u64 = vertex.guest_metrics.iter().map(|m| m.dropped_log_lines).sum();
    if dropped > 0 {
        let _ = writeln!(text, "{}: {} log lines were dropped", vertex.name, human::exact(dropped));
    }
    text
}

/// `delays: running for 12 s · in 27.0 k (1.25 M/s) · out 120 (10/s)`
fn headline(now: &JobStatus, before: &JobStatus) -> String {
    let (read, written) = totals(now);
    let (read_before, written_before) = totals(before);
    let part = |total: u64, earlier: u64| {
        let rate = human::count(rate(total, earlier, now, before));
        format!("{} ({rate}/s)", human::count(float(total)))
    };
    format!(
        "{}: {} for {} · in {} · out {}",
        now.job,
        now.state.word(),
        human::millis(now.elapsed_millis),
        part(read, read_before),
        part(written, written_before),
    )
}

/// What sources brought in and what sinks took out.
fn totals(status: &JobStatus) -> (u64, u64) {
    let sum = |kind: VertexKind, of: fn(&VertexStatus) -> u64| {
        status.vertices.iter().filter(|vertex| vertex.kind == kind).map(of).sum()
    };
    (sum(VertexKind::Source, |v| v.records_out), sum(VertexKind::Sink, |v| v.records_in))
}

fn rows(now: &JobStatus, before: &JobStatus) -> Vec<Vec<String>> {
    let mut rows = vec![
        ["vertex", "x", "in/s", "out/s", "bytes/s", "watermark", "lag", "busy", "memory", ""]
            .map(str::to_owned)
            .to_vec(),
    ];
    for vertex in &now.vertices {
        let fresh = VertexStatus::new(vertex.name.clone(), vertex.kind, vertex.parallelism);
        let earlier = before.vertices.iter().find(|earlier| earlier.name == vertex.name);
        let earlier = earlier.unwrap_or(&fresh);
        let per_second = |of: fn(&VertexStatus) -> u64| rate(of(vertex), of(earlier), now, before);
        let is = |kind: VertexKind| vertex.kind == kind;
        let dash = || "-".to_owned();
        let bytes: fn(&VertexStatus) -> u64 =
            if is(VertexKind::Sink) { |v| v.bytes_in } else { |v| v.bytes_out };
        rows.push(vec![
            vertex.name.to_string(),
            vertex.parallelism.to_string(),
            if is(VertexKind::Source) {
                dash()
            } else {
                human::count(per_second(|v| v.records_in))
            },
            if is(VertexKind::Sink) { dash() } else { human::count(per_second(|v| v.records_out)) },
            human::bytes(per_second(bytes)),
            vertex.watermark.map_or_else(dash, human::time),
            vertex.lag_millis.map_or_else(dash, |lag| human::millis(lag.max(0).unsigned_abs())),
            format!("{:.0}%", vertex.busy.clamp(0.0, 1.0) * 100.0),
            match vertex.slot_memory {
                0 => dash(),
                memory => human::bytes(float(memory)),
            },
            remarks(vertex),
        ]);
    }
    rows
}

/// What should not go unseen: `3 rejected, 1 late, 2 restarts`.
fn remarks(vertex: &VertexStatus) -> String {
    let counts = [
        (vertex.rejected, "rejected", "rejected"),
        (vertex.late, "late", "late"),
        (vertex.restarts.into(), "restart", "restarts"),
    ];
    let said = counts
        .into_iter()
        .filter(|(n, ..)| *n > 0)
        .map(|(n, one, many)| format!("{} {}", human::exact(n), if n == 1 { one } else { many }));
    said.collect::<Vec<_>>().join(", ")
}

fn checkpoints(status: &JobStatus) -> String {
    let checkpoints = &status.checkpoints;
    let mut text = match checkpoints.completed {
        0 => "no checkpoint yet".to_owned(),
        1 => "1 checkpoint".to_owned(),
        n => format!("{} checkpoints", human::exact(n)),
    };
    if checkpoints.completed == 0 && is_over(status.state) {
        text = "no checkpoint".to_owned();
    }
    if let Some(last) = &checkpoints.last {
        let took = human::millis(last.duration_millis);
        let (bytes, full) = (human::bytes(float(last.bytes)), human::bytes(float(last.full_bytes)));
        let _ = write!(text, ", the last (#{}) of {full} in {took}: {bytes} written", last.id);
    }
    if checkpoints.failed > 0 {
        let _ = write!(text, ", {} failed", human::exact(checkpoints.failed));
    }
    if let Some(id) = checkpoints.resumed_from {
        let _ = write!(text, ", resumed from #{id}");
    }
    text
}

/// Why it is not as fast as it could be: it waits for slots, or a quota slows its sources.
fn held_up(status: &JobStatus) -> Option<String> {
    if let Some(waiting) = &status.placement.waiting {
        return Some(format!("waits for {waiting}"));
    }
    let tenant = &status.tenant;
    let waited = human::millis(tenant.slowed_millis);
    match tenant.slowed_by {
        Some(quota) => Some(format!(
            "sources slowed for {waited} by quota `{quota}` of tenant `{}`",
            tenant.name
        )),
        None if tenant.slowed_millis > 0 => {
            Some(format!("sources slowed for {waited} by quotas of tenant `{}`", tenant.name))
        }
        None => None,
    }
}

fn restarts(status: &JobStatus) -> Option<String> {
    let restarts = &status.restarts;
    if restarts.count == 0 {
        return None;
    }
    let mut text = match restarts.count {
        1 => "1 restart".to_owned(),
        n => format!("{n} restarts"),
    };
    if let Some(failure) = &restarts.last_failure {
        // A guest's backtrace has many lines; the log has them all.
        let first = failure.lines().next().unwrap_or_default();
        let _ = write!(text, ", the last after {first}");
    }
    Some(text)
}

fn is_over(state: JobState) -> bool {
    matches!(state, JobState::Finished | JobState::Stopped | JobState::Failed)
}

/// The lowest watermark of the sinks: what the job is done with.
fn watermark(status: &JobStatus) -> Option<String> {
    let sinks = status.vertices.iter().filter(|vertex| vertex.kind == VertexKind::Sink);
    let (lowest, lag) = sinks
        .filter_map(|vertex| vertex.watermark.map(|at| (at, vertex.lag_millis)))
        .min_by_key(|(at, _)| *at)?;
    Some(match lag {
        Some(lag) => {
            let lag = human::millis(lag.max(0).unsigned_abs());
            format!("{} (lag {lag})", human::time(lowest))
        }
        None => human::time(lowest),
    })
}

/// Per second, between two snapshots. Nothing where no time has passed or a
/// restart took something back.
fn rate(now: u64, before: u64, at: &JobStatus, at_before: &JobStatus) -> f64 {
    match at.elapsed_millis.saturating_sub(at_before.elapsed_millis) {
        0 => 0.0,
        millis => float(now.saturating_sub(before)) * 1_000.0 / float(millis),
    }
}

#[expect(clippy::cast_precision_loss, reason = "shown with three figures")]
fn float(n: u64) -> f64 {
    n as f64
}

/// Lines up columns: the first to the left, the last as it is, others to the right.
fn table(rows: &[Vec<String>]) -> Vec<String> {
    let columns = rows.first().map_or(0, Vec::len);
    let width = |column: usize| {
        rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count()).max()
    };
    let widths: Vec<usize> = (0..columns).map(|column| width(column).unwrap_or(0)).collect();
    let line = |row: &Vec<String>| {
        let mut line = String::from(" ");
        for ((column, cell), &width) in row.iter().enumerate().zip(&widths) {
            // Words to the left, numbers to the right.
            let left = column == 0 || cell.is_empty() || rows[0][column].is_empty();
            let left = left || rows[0][column] == "kind";
            let _ = match left {
                true => write!(line, " {cell:<width$}"),
                false => write!(line, " {cell:>width$}"),
            };
            line.push(' ');
        }
        line.trim_end().to_owned()
    };
    rows.iter().map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        checkpoint::Trigger,
        ids::{CheckpointId, JobName, OperatorName, SubtaskIndex},
        job_manager::status::CompletedCheckpoint,
        memory::LargestSlot,
        task_manager::slots::Waiting,
    };

    fn vertex(name: &str, kind: VertexKind) -> VertexStatus {
        VertexStatus::new(OperatorName::new(name).unwrap(), kind, 2)
    }

    fn before() -> JobStatus {
        let mut status = JobStatus::created(JobName::new("delays").unwrap());
        status.state = JobState::Running;
        status.elapsed_millis = 11_000;
        status.vertices = vec![
            VertexStatus {
                records_out: 10_000,
                bytes_out: 1 << 20,
                ..vertex("flights", VertexKind::Source)
            },
            VertexStatus {
                records_in: 9_000,
                records_out: 10,
                ..vertex("stats", VertexKind::Operator)
            },
            VertexStatus { records_in: 5, ..vertex("out", VertexKind::Sink) },
        ];
        status
    }

    fn now() -> JobStatus {
        let mut status = before();
        status.elapsed_millis = 13_000;
        let [source, stats, sink] = &mut status.vertices[..] else { unreachable!() };
        source.records_out = 27_004;
        source.bytes_out = 3 << 20;
        source.busy = 0.8;
        source.watermark = Some(1_357_380_000_000);
        source.lag_millis = Some(1_290);
        stats.records_in = 26_000;
        stats.records_out = 30;
        stats.slot_memory = 3 << 19;
        stats.rejected = 3;
        stats.late = 1;
        stats.restarts = 1;
        stats.busy = 1.2;
        sink.records_in = 25;
        sink.bytes_in = 2_000;
        sink.watermark = Some(1_357_380_000_000);
        status.checkpoints.completed = 3;
        status.checkpoints.failed = 1;
        status.checkpoints.last = Some(CompletedCheckpoint {
            id: CheckpointId(4),
            trigger: Trigger::Interval,
            triggered_at: 0,
            duration_millis: 40,
            alignment_micros: 0,
            sync_micros: 0,
            async_micros: 0,
            end_to_end_micros: 40_000,
            bytes: 65_536,
            full_bytes: 3 << 20,
        });
        status.memory.limit = 4 << 30;
        status.memory.peak = 1 << 30;
        status.memory.promised = 1 << 29;
        status.memory.largest_slot = Some(LargestSlot {
            operator: OperatorName::new("stats").unwrap(),
            subtask: SubtaskIndex(1),
            peak: 3 << 20,
            limit: 256 << 20,
        });
        status.restarts.count = 1;
        status.restarts.last_failure =
            Some("stats[0]: guest trap: unreachable\n    at fold".to_owned());
        status
    }

    #[test]
    fn the_live_display_shows_rates_between_snapshots() {
        let want = "\
delays: running for 13 s · in 27.0 k (8.50 k/s) · out 25 (10/s)
  vertex   x    in/s   out/s   bytes/s            watermark    lag  busy    memory
  flights  2       -  8.50 k  1.00 MiB  2013-01-05 10:00:00  1.2 s   80%         -
  stats    2  8.50 k      10       0 B                    -      -  100%  1.50 MiB  3 rejected, 1 late, 1 restart
  out      2      10       -    1000 B  2013-01-05 10:00:00      -    0%         -
3 checkpoints, the last (#4) of 3.00 MiB in 40 ms: 64.0 KiB written, 1 failed
1 restart, the last after stats[0]: guest trap: unreachable";
        assert_eq!(live(&now(), &before()).join("\n"), want);
    }

    #[test]
    fn the_plain_line_says_the_same_in_short() {
        let want = "delays: running for 13 s · in 27.0 k (8.50 k/s) · out 25 (10/s) \
                    · watermark 2013-01-05 10:00:00 · 1.50 MiB in slots \
                    · 3 checkpoints, the last (#4) of 3.00 MiB in 40 ms: 64.0 KiB written, 1 failed \
                    · 1 restart, the last after stats[0]: guest trap: unreachable";
        assert_eq!(plain(&now(), &before()), want);
    }

    #[test]
    fn the_summary_has_exact_totals() {
        let mut end = now();
        end.state = JobState::Finished;
        let want = "\
delays finished after 13 s: 27,004 records in, 25 out
  vertex   kind      x      in     out  bytes in  bytes out  rejected  late  restarts
  flights  source    2       -  27,004         -   3.00 MiB         -     -         -
  stats    operator  2  26,000      30         -          -         3     1         1
  out      sink      2      25       -  1.95 KiB          -         -     -         -
2.08 k records/s on average
memory: at most 1.00 GiB of 4.00 GiB reserved (25.0 %), 512 MiB promised; \
the largest slot, stats (subtask 1), had 3.00 MiB of 256 MiB
3 checkpoints, the last (#4) of 3.00 MiB in 40 ms: 64.0 KiB written, 1 failed
1 restart, the last after stats[0]: guest trap: unreachable
";
        assert_eq!(summary(&end), want);
    }

    #[test]
    fn a_job_that_has_not_begun_divides_by_nothing() {
        let created = JobStatus::created(JobName::new("j").unwrap());
        let want = [
            "j: starting for 0 ms · in 0 (0/s) · out 0 (0/s)",
            "  vertex  x  in/s  out/s  bytes/s  watermark  lag  busy  memory",
            "no checkpoint yet",
        ];
        assert_eq!(live(&created, &created), want);
    }

    #[test]
    fn counts_that_a_restart_took_back_give_no_negative_rate() {
        let lines = live(&before(), &now());
        assert!(lines[0].ends_with("in 10.0 k (0/s) · out 5 (0/s)"), "{}", lines[0]);
    }

    #[test]
    fn what_holds_a_job_up_is_told() {
        let mut status = now();
        assert_eq!(held_up(&status), None);
        (status.tenant.slowed_by, status.tenant.slowed_millis) = (Some("ingest_bytes"), 2_500);
        let line = plain(&status, &before());
        assert!(
            line.contains("sources slowed for 2.5 s by quota `ingest_bytes` of tenant `default`"),
            "{line}"
        );
        status.placement.waiting = Some(Waiting::Slots { asked: 2, free: 1, total: 3, ahead: 1 });
        let lines = live(&status, &before());
        let says = "waits for 2 slots; 1 of 3 are free, and 1 job goes first";
        assert!(lines.iter().any(|line| line == says), "{lines:?}");
    }
}
