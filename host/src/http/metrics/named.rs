//! The metrics by name, each with its help and what it is of. Names and units are those of
//! OpenMetrics; where Flink has the same, its name stands in the help.

use prometheus_client::metrics::MetricType;

use crate::{
    job_manager::status::{JobStatus, VertexKind, VertexStatus},
    service::seen::TaskManagerSeen,
    task_manager::slots::health::SlotCondition,
};

/// A number of something that has it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Number {
    /// It only grows.
    Count(u64),
    /// It only grows, and is no whole number.
    Sum(f64),
    /// It goes up and down.
    Gauge(f64),
}

/// A metric of each `T`.
pub(super) struct Metric<T> {
    pub(super) name: &'static str,
    pub(super) help: &'static str,
    pub(super) unit: Option<&'static str>,
    pub(super) kind: MetricType,
    pub(super) value: fn(&T) -> Option<Number>,
}

const NONE: Option<&str> = None;
pub(super) const BYTES: Option<&str> = Some("bytes");
pub(super) const SECONDS: Option<&str> = Some("seconds");
const RATIO: Option<&str> = Some("ratio");

const fn counter<T>(
    name: &'static str,
    unit: Option<&'static str>,
    help: &'static str,
    value: fn(&T) -> Option<Number>,
) -> Metric<T> {
    Metric { name, help, unit, kind: MetricType::Counter, value }
}

const fn gauge<T>(
    name: &'static str,
    unit: Option<&'static str>,
    help: &'static str,
    value: fn(&T) -> Option<Number>,
) -> Metric<T> {
    Metric { name, help, unit, kind: MetricType::Gauge, value }
}

#[expect(clippy::cast_precision_loss, reason = "a figure to be drawn")]
pub(super) fn amount(n: u64) -> f64 {
    n as f64
}

#[expect(clippy::cast_precision_loss, reason = "a figure to be drawn")]
fn seconds(millis: i64) -> f64 {
    millis as f64 / 1e3
}

fn micros(n: u64) -> f64 {
    amount(n) / 1e6
}

fn of(n: usize) -> Option<Number> {
    Some(Number::Gauge(amount(n as u64)))
}

/// The sum over a job's sources, or its sinks.
fn of_kind(job: &JobStatus, kind: VertexKind, count: fn(&VertexStatus) -> u64) -> u64 {
    job.vertices.iter().filter(|vertex| vertex.kind == kind).map(count).sum()
}

/// A slot that cannot be given to anybody, for whatever reason.
fn slots_in(seen: &TaskManagerSeen, condition: SlotCondition) -> Option<Number> {
    of(seen.slots.iter().filter(|slot| **slot == condition).count())
}

pub(super) const OF_TASK_MANAGER: &[Metric<TaskManagerSeen>] = &[
    gauge("taskmanager_uptime", SECONDS, "Since the server was started.", |t| {
        Some(Number::Gauge(t.uptime_seconds))
    }),
    gauge("taskmanager_slots_total", NONE, "Slots (Flink: taskSlotsTotal).", |t| of(t.slots.len())),
    gauge(
        "taskmanager_slots_available",
        NONE,
        "Slots that hold nothing and may be used (Flink: taskSlotsAvailable).",
        |t| Some(Number::Gauge(t.slots_free.into())),
    ),
    gauge(
        "taskmanager_slots_quarantined",
        NONE,
        "Slots whose instances crashed again and again.",
        |t| slots_in(t, SlotCondition::Quarantined),
    ),
    gauge("taskmanager_slots_drained", NONE, "Slots that somebody has drained.", |t| {
        slots_in(t, SlotCondition::Drained)
    }),
    gauge("taskmanager_memory_limit", BYTES, "Memory that all slots may reserve.", |t| {
        of(t.memory.limit)
    }),
    gauge("taskmanager_memory_reserved", BYTES, "Memory that slots have reserved.", |t| {
        of(t.memory.reserved)
    }),
    gauge("taskmanager_memory_used", BYTES, "Memory that slots use.", |t| of(t.memory.used)),
    gauge("disk_size", BYTES, "The disk of the data directory.", |t| {
        t.machine.disk.map(|disk| Number::Gauge(amount(disk.size)))
    }),
    gauge("disk_free", BYTES, "What is free on the disk of the data directory.", |t| {
        t.machine.disk.map(|disk| Number::Gauge(amount(disk.free)))
    }),
    counter(
        "clock_jumps",
        NONE,
        "How often the machine's clock went otherwise than time does, since the server was started.",
        |t| Some(Number::Count(t.machine.clock_jumps)),
    ),
    counter("traces_spans_exported", NONE, "Spans that a collector took.", |t| {
        t.traces.map(|traces| Number::Count(traces.exported))
    }),
    counter("traces_spans_dropped", NONE, "Spans for which the queue had no room.", |t| {
        t.traces.map(|traces| Number::Count(traces.dropped))
    }),
    counter(
        "traces_spans_lost",
        NONE,
        "Spans that were given up since no collector could be reached.",
        |t| t.traces.map(|traces| Number::Count(traces.lost)),
    ),
    counter("traces_spans_refused", NONE, "Spans that the collector did not want.", |t| {
        t.traces.map(|traces| Number::Count(traces.refused))
    }),
];

pub(super) const OF_JOB: &[Metric<JobStatus>] = &[
    gauge(
        "job_uptime",
        SECONDS,
        "Since the job was started in this process (Flink: uptime).",
        |job| Some(Number::Gauge(amount(job.elapsed_millis) / 1e3)),
    ),
    counter("job_records_in", NONE, "Records that the job's sources brought in.", |job| {
        Some(Number::Count(of_kind(job, VertexKind::Source, |vertex| vertex.records_out)))
    }),
    counter("job_records_out", NONE, "Records that reached the job's sinks.", |job| {
        Some(Number::Count(of_kind(job, VertexKind::Sink, |vertex| vertex.records_in)))
    }),
    counter("job_restarts", NONE, "Restarts after a failure (Flink: numRestarts).", |job| {
        Some(Number::Count(job.restarts.count.into()))
    }),
    gauge(
        "job_last_recovery",
        SECONDS,
        "From the last failure to the first records again.",
        |job| job.restarts.last_recovery_micros.map(|n| Number::Gauge(micros(n))),
    ),
    gauge("job_slots", NONE, "Slots that the job holds.", |job| of(job.placement.slots.len())),
    counter("job_relocations", NONE, "Instances that went to another slot.", |job| {
        Some(Number::Count(job.placement.relocations.into()))
    }),
    counter(
        "job_checkpoints_completed",
        NONE,
        "Completed checkpoints (Flink: numberOfCompletedCheckpoints).",
        |job| Some(Number::Count(job.checkpoints.completed)),
    ),
    counter(
        "job_checkpoints_failed",
        NONE,
        "Checkpoints that were given up (Flink: numberOfFailedCheckpoints).",
        |job| Some(Number::Count(job.checkpoints.failed)),
    ),
    gauge(
        "job_checkpoints_failing",
        NONE,
        "Checkpoints in a row that failed, since the last completed one.",
        |job| {
            Some(Number::Gauge(job.checkpoints.failing.as_ref().map_or(0, |f| f.in_a_row).into()))
        },
    ),
    gauge("job_last_checkpoint_id", NONE, "The number of the last completed checkpoint.", |job| {
        job.checkpoints.last.as_ref().map(|last| Number::Gauge(amount(last.id.0)))
    }),
    gauge(
        "job_last_checkpoint_timestamp",
        SECONDS,
        "When the last completed checkpoint began, since 1970.",
        |job| job.checkpoints.last.as_ref().map(|last| Number::Gauge(seconds(last.triggered_at))),
    ),
    gauge(
        "job_last_checkpoint_duration",
        SECONDS,
        "From the start of the last checkpoint to its completion (Flink: lastCheckpointDuration).",
        |job| {
            let last = job.checkpoints.last.as_ref()?;
            Some(Number::Gauge(amount(last.duration_millis) / 1e3))
        },
    ),
    gauge(
        "job_last_checkpoint_alignment",
        SECONDS,
        "The longest time between a subtask's first barrier and its last.",
        |job| {
            let last = job.checkpoints.last.as_ref()?;
            Some(Number::Gauge(micros(last.alignment_micros)))
        },
    ),
    gauge(
        "job_last_checkpoint_written",
        BYTES,
        "What was written for the last checkpoint (Flink: lastCheckpointSize).",
        |job| job.checkpoints.last.as_ref().map(|last| Number::Gauge(amount(last.bytes))),
    ),
    gauge(
        "job_last_checkpoint_full_size",
        BYTES,
        "All state that the last checkpoint holds (Flink: lastCheckpointFullSize).",
        |job| job.checkpoints.last.as_ref().map(|last| Number::Gauge(amount(last.full_bytes))),
    ),
];

pub(super) const OF_VERTEX: &[Metric<VertexStatus>] = &[
    gauge("operator_parallelism", NONE, "Subtasks.", |v| Some(Number::Gauge(v.parallelism.into()))),
    counter("operator_records_in", NONE, "Records that came in (Flink: numRecordsIn).", |v| {
        Some(Number::Count(v.records_in))
    }),
    counter("operator_records_out", NONE, "Records that went out (Flink: numRecordsOut).", |v| {
        Some(Number::Count(v.records_out))
    }),
    counter("operator_in", BYTES, "What came in (Flink: numBytesIn).", |v| {
        Some(Number::Count(v.bytes_in))
    }),
    counter("operator_out", BYTES, "What went out (Flink: numBytesOut).", |v| {
        Some(Number::Count(v.bytes_out))
    }),
    counter("operator_records_rejected", NONE, "Records that went to the dead letters.", |v| {
        Some(Number::Count(v.rejected))
    }),
    counter(
        "operator_records_late",
        NONE,
        "Records whose windows were closed (Flink: numLateRecordsDropped).",
        |v| Some(Number::Count(v.late)),
    ),
    gauge(
        "operator_busy",
        RATIO,
        "The part of the time that its busiest subtask was at work (Flink: busyTimeMsPerSecond).",
        |v| Some(Number::Gauge(v.busy)),
    ),
    gauge(
        "operator_backpressured",
        RATIO,
        "The part of the time that a subtask waited for room behind it (Flink: \
         backPressuredTimeMsPerSecond).",
        |v| Some(Number::Gauge(v.backpressured)),
    ),
    gauge(
        "operator_idle",
        RATIO,
        "The part of the time that a subtask had nothing to do (Flink: idleTimeMsPerSecond).",
        |v| Some(Number::Gauge(v.idle)),
    ),
    gauge(
        "operator_watermark",
        SECONDS,
        "Its lowest watermark: event time, since 1970 (Flink: currentInputWatermark).",
        |v| v.watermark.map(|at| Number::Gauge(seconds(at))),
    ),
    gauge("operator_watermark_lag", SECONDS, "How far the watermark is behind the clock.", |v| {
        v.lag_millis.map(|lag| Number::Gauge(seconds(lag)))
    }),
    counter(
        "operator_restarts",
        NONE,
        "How often a subtask of it failed and was restarted.",
        |v| Some(Number::Count(v.restarts.into())),
    ),
    gauge("operator_memory", BYTES, "Memory that its slots hold.", |v| {
        Some(Number::Gauge(amount(v.slot_memory)))
    }),
    counter("operator_guest_cpu", SECONDS, "How long its guests ran.", |v| {
        let millis = v.guest_millis.iter().sum();
        Some(Number::Sum(amount(millis) / 1e3))
    }),
];
