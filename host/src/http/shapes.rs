//! What answers look like that other rooms make: for the OpenAPI document only, since no other
//! room knows of it. Nothing is made of these types; the tests hold every answer that they get to
//! them.

#![allow(dead_code, reason = "they describe what others write")]

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;

use crate::ids::{
    ArtifactName, CheckpointId, JobId, JobName, OperatorName, SlotId, TenantId, VersionName,
};

/// Bytes as they are.
#[derive(ToSchema)]
#[schema(value_type = String, format = Binary)]
pub(super) struct Bytes(String);

/// One of a stream of server-sent events.
#[derive(ToSchema)]
pub(super) struct Event {
    /// What it is.
    event: Option<String>,
    /// What the header `Last-Event-ID` takes, where the stream can be taken up again.
    id: Option<String>,
    /// JSON.
    data: String,
}

/// The checkpoints of a job, since it was started in this process.
#[derive(ToSchema)]
pub(super) struct Checkpoints {
    /// How many were completed.
    completed: u64,
    /// How many were given up.
    failed: u64,
    /// The last completed one.
    last: Option<CompletedCheckpoint>,
    /// The last ten, whatever became of them, the latest last.
    history: Vec<PastCheckpoint>,
    /// The one that the job was resumed from.
    resumed_from: Option<CheckpointId>,
    /// Since none is completed any more; null if the last one was.
    failing: Option<FailingCheckpoints>,
    /// Figures over the completed ones of the history.
    summary: CheckpointSums,
}

/// Checkpoints that fail.
#[derive(ToSchema)]
struct FailingCheckpoints {
    /// When the first of them did, in milliseconds since 1970.
    since: i64,
    /// How many in a row.
    in_a_row: u32,
    /// Why the last one did.
    reason: String,
}

/// What is not as it should be.
#[derive(Serialize, ToSchema)]
pub(super) struct Condition {
    /// `DiskLow`, `DiskFull`, `ClockJumped`, `CheckpointsFailing`, `ArtifactDeleted` or
    /// `DiskQuotaExceeded`.
    r#type: String,
    /// In milliseconds since 1970.
    since: i64,
    message: String,
    /// What to do.
    help: String,
    /// The job that it is of; null if it is the server's, or a tenant's.
    job: Option<JobId>,
    tenant: Option<TenantId>,
}

/// A completed checkpoint.
#[derive(Serialize, ToSchema)]
struct CompletedCheckpoint {
    id: CheckpointId,
    /// What caused it: `interval`, `records`, `manual`, `stop` and others.
    trigger: String,
    /// When it began, in milliseconds since 1970.
    triggered_at: i64,
    /// From its start to its completion.
    duration_millis: u64,
    /// The longest time between a subtask's first barrier and its last.
    alignment_micros: u64,
    /// The longest time that a subtask was held up for its snapshot.
    sync_micros: u64,
    /// From the last subtask's answer until all was durable.
    async_micros: u64,
    /// From the start until all was durable.
    end_to_end_micros: u64,
    /// Bytes that were written for it.
    bytes: u64,
    /// Bytes of all state that it holds.
    full_bytes: u64,
}

/// What became of a checkpoint.
#[derive(Serialize, ToSchema)]
#[serde(tag = "outcome", rename_all = "kebab-case")]
enum PastCheckpoint {
    /// It counts.
    Completed(CompletedCheckpoint),
    /// It was given up.
    Failed {
        id: CheckpointId,
        /// Why.
        reason: String,
    },
}

/// Figures over some checkpoints; none if there are none.
#[derive(ToSchema)]
struct CheckpointSums {
    duration_millis: Option<Range>,
    bytes: Option<Range>,
    full_bytes: Option<Range>,
}

/// The least, the mean and the greatest of some numbers.
#[derive(ToSchema)]
struct Range {
    min: u64,
    avg: u64,
    max: u64,
}

/// A checkpoint.
#[derive(ToSchema)]
pub(super) struct Checkpoint {
    id: CheckpointId,
    /// What became of it, if it is one of the last ten.
    history: Option<PastCheckpoint>,
    /// What it is made of, by operator and subtask, if it is kept.
    kept: Value,
}

/// A checkpoint that was taken because somebody asked.
#[derive(ToSchema)]
pub(super) struct TakenCheckpoint {
    id: CheckpointId,
    duration_millis: u64,
    /// Bytes that were written for it.
    bytes: u64,
}

/// When a job takes checkpoints, and how many are kept.
#[derive(ToSchema)]
pub(super) struct CheckpointConfig {
    interval_millis: Option<u64>,
    every_records: Option<u64>,
    min_pause_millis: u64,
    timeout_millis: u64,
    tolerable_failures: u32,
    retain: u32,
}

/// A job that goes on with another parallelism, or with other limits.
#[derive(ToSchema)]
pub(super) struct Rescaled {
    /// The checkpoint that it went on from.
    from: Option<CheckpointId>,
    /// From when its sources stopped to when it ran again.
    pause_millis: u64,
}

/// Why a job failed.
#[derive(ToSchema)]
pub(super) struct Exceptions {
    /// Why it ended, if it failed for good.
    ended_with: Option<String>,
    /// How often it was restarted since it was started in this process.
    restarts: u32,
    /// The last failures, those before a restart of the server too, the latest last.
    failures: Vec<PastFailure>,
    capsules: Vec<CapsuleFile>,
}

/// A failure of a subtask, or of the job as a whole.
#[derive(ToSchema)]
struct PastFailure {
    /// When, in milliseconds since 1970.
    at: i64,
    /// Its class.
    kind: String,
    /// Who has to do something about it.
    #[schema(pattern = "^(operator|environment|host)$")]
    fault: String,
    operator: Option<OperatorName>,
    subtask: Option<u32>,
    message: String,
    /// Frames of the guest, the innermost first.
    backtrace: Vec<String>,
    /// The file of the crash capsule, if one is kept.
    capsule: Option<String>,
    /// None if the restart strategy gave up.
    restart_after_millis: Option<u64>,
}

/// A crash capsule.
#[derive(ToSchema)]
pub(super) struct CapsuleFile {
    /// What its file is called.
    name: String,
    bytes: u64,
    /// Where it can be had.
    href: String,
}

/// The server at a glance.
#[derive(ToSchema)]
pub(super) struct Overview {
    /// This program's version.
    version: String,
    /// Whether every job that is to run was started again.
    ready: bool,
    /// How many of one's jobs are in each state that any is in.
    jobs: BTreeMap<String, usize>,
    slots_total: u32,
    slots_free: u32,
    /// What is not as it should be: of the server, and of one's jobs.
    conditions: Vec<Condition>,
}

/// A slot.
#[derive(ToSchema)]
pub(super) struct Slot {
    slot: SlotId,
    #[schema(pattern = "^(good|quarantined|drained)$")]
    condition: String,
    /// The job that holds it, if the token may see that.
    job: Option<JobId>,
    name: Option<JobName>,
    tenant: Option<TenantId>,
}

/// A slot that was drained, or restored.
#[derive(ToSchema)]
pub(super) struct DrainedSlot {
    slot: SlotId,
    /// The subtask that was in it, if that went to another slot.
    moved: Option<String>,
    /// To which slot.
    to: Option<SlotId>,
}

/// The TaskManager.
#[derive(ToSchema)]
pub(super) struct TaskManager {
    slots_total: u32,
    slots_free: u32,
    /// Its memory, by tenant and by slot, as in the status of a job.
    memory: Value,
    cpu: Vec<CpuUse>,
}

/// What a tenant has had of the cores since the server was started.
#[derive(ToSchema)]
struct CpuUse {
    tenant: TenantId,
    /// Its weight, where cores are short.
    weight: u32,
    /// How long its guests ran.
    guest_millis: u64,
    /// How long it had a core: its guests, and the host's work for it.
    core_millis: u64,
}

/// How the server is configured.
#[derive(ToSchema)]
pub(super) struct ServerConfig {
    listen: String,
    shutdown_timeout_millis: u64,
    max_connections: usize,
    read_timeout_millis: u64,
    open_on_loopback: bool,
    /// The longest upload, in bytes.
    max_artifact: usize,
    /// Bytes of all artifacts that a tenant may keep.
    max_storage: u64,
    max_subtasks: u32,
    max_live: u32,
    history: u32,
    ports: Vec<u16>,
    limits: LimitsShown,
    /// How many calls of a tenant the audit log keeps.
    audit_keep: usize,
    tls: Option<TlsShown>,
    /// Every key with what holds, by table, as the configuration file has them; null where nothing
    /// does, or what is made of the machine. Values of headers, and where the secret key is, are not
    /// told.
    settings: BTreeMap<String, BTreeMap<String, Option<Value>>>,
}

/// How often somebody may ask.
#[derive(ToSchema)]
struct LimitsShown {
    /// Of each tenant.
    requests_per_second: u32,
    /// How many at once, after a while without.
    burst: u32,
    /// Tokens that open nothing, of an address; no limit if 0.
    failed_tokens_per_minute: u32,
    /// What is otherwise, by tenant.
    tenants: BTreeMap<String, TenantLimitsShown>,
}

/// What is otherwise for a tenant; null where nothing is.
#[derive(ToSchema)]
struct TenantLimitsShown {
    requests_per_second: Option<u32>,
    burst: Option<u32>,
    /// The longest upload, in bytes.
    max_artifact: Option<usize>,
}

/// A certificate.
#[derive(ToSchema)]
struct TlsShown {
    /// Its file.
    certificate: String,
}

/// A tenant.
#[derive(Serialize, ToSchema)]
pub(super) struct Tenant {
    name: TenantId,
    #[serde(flatten)]
    may: Quotas,
}

/// What a tenant may use; null where there is no limit but the server's own.
#[derive(Serialize, ToSchema)]
pub(super) struct Quotas {
    slots: Option<u32>,
    /// Bytes.
    memory: Option<u64>,
    /// Bytes of keyed state.
    state: Option<u64>,
    jobs: Option<u32>,
    artifacts: Option<u32>,
    artifact_bytes: Option<u64>,
    /// Bytes of checkpoints, savepoints and posted records on disk together.
    disk: Option<u64>,
    cpu_weight: Option<u32>,
    /// Of one core.
    cpu_cap_percent: Option<f64>,
    /// A second.
    ingest_records: Option<u64>,
    /// A second.
    ingest_bytes: Option<u64>,
    /// What its operators may be given at most.
    grants: Option<Vec<String>>,
    /// Whether artifacts of it must be signed by one of its keys.
    require_signatures: Option<bool>,
}

/// What a tenant keeps on the server's disk, in bytes.
#[derive(ToSchema)]
pub(super) struct TenantDisk {
    tenant: TenantId,
    /// What it may keep: the quota `disk`.
    limit: Option<u64>,
    /// All of the following.
    used: u64,
    checkpoints: u64,
    savepoints: u64,
    /// What was posted to sources.
    posted: u64,
}

/// What was used, of what `by` says.
#[derive(ToSchema)]
pub(super) struct UsageRow {
    tenant: TenantId,
    job: Option<JobName>,
    /// Empty for what belongs to none of them.
    operator: Option<String>,
    hour: Option<String>,
    day: Option<String>,
    cpu_seconds: f64,
    fuel: u64,
    memory_byte_seconds: u64,
    records_in: u64,
    records_out: u64,
    bytes_in: u64,
    bytes_out: u64,
    checkpoint_bytes: u64,
}

/// What became of a trial.
#[derive(ToSchema)]
pub(super) struct Trial {
    tenant: TenantId,
    name: ArtifactName,
    /// Where a tag was given, what it points to.
    version: VersionName,
    /// `sha256-` and 64 hexadecimal digits.
    digest: String,
    /// `processor` or `keyed-processor`.
    kind: String,
    /// How many records it was to be fed.
    records: usize,
    /// `finished`, `failed`, `out-of-time` or `slot-taken` (its slot was wanted for a job).
    ended: String,
    /// How the operator failed.
    failure: Option<TrialFailure>,
    /// What it emitted, by port.
    outputs: Vec<TrialOutput>,
    /// Records that it rejected.
    rejected: Vec<TrialRejected>,
    /// Which records came after all their windows were closed, from 0.
    late: Vec<usize>,
    /// What it logged.
    logs: Vec<TrialLine>,
    /// What it counted itself: counters, gauges, histograms.
    metrics: Value,
    /// What was done, in order.
    steps: Vec<TrialStep>,
    /// How many timers and windows were fired.
    fired: usize,
    /// What of its keyed state is left; null if it has none.
    state: Option<TrialState>,
    /// From the slot's being granted to the end.
    took_micros: u64,
    /// How long the guest ran.
    cpu_micros: u64,
    /// How much fuel it used; 0 where that is not counted.
    fuel: u64,
    /// The most bytes that guest and state have held together, looked at after each step.
    peak_memory: usize,
    /// What is not told, since there was no room.
    left_out: TrialLeftOut,
}

/// How an operator failed in a trial.
#[derive(ToSchema)]
struct TrialFailure {
    /// `guest-trap`, `out-of-memory`, `deadline-exceeded` and others.
    kind: String,
    /// Who has to do something about it: `operator`, `environment` or `host`.
    fault: String,
    message: String,
    /// Guest frames, innermost first.
    backtrace: Vec<String>,
    /// In which of the steps, from 0.
    step: usize,
    /// Which records crash it by themselves, from 0.
    records: Vec<usize>,
    /// Whether these were all looked for.
    all_found: bool,
}

/// What was emitted to a port.
#[derive(ToSchema)]
struct TrialOutput {
    port: u32,
    name: Option<String>,
    /// How many records there were.
    count: u64,
    /// They, as far as there was room.
    records: Vec<TrialRecord>,
}

/// A record; what is no text is in base64.
#[derive(ToSchema)]
struct TrialRecord {
    #[schema(required = false)]
    key: Option<String>,
    #[schema(required = false)]
    key_base64: Option<String>,
    #[schema(required = false)]
    value: Option<String>,
    #[schema(required = false)]
    value_base64: Option<String>,
    #[schema(required = false)]
    timestamp: Option<i64>,
    /// In which of the steps it was emitted.
    step: usize,
}

/// A record that was rejected.
#[derive(ToSchema)]
struct TrialRejected {
    /// Which, from 0; null if it was a timer.
    record: Option<usize>,
    step: usize,
    reason: String,
}

/// A line that an operator logged.
#[derive(ToSchema)]
struct TrialLine {
    step: usize,
    /// `trace`, `debug`, `info`, `warn` or `error`.
    level: String,
    message: String,
}

/// Something that was done in a trial.
#[derive(ToSchema)]
struct TrialStep {
    /// `open`, `batch`, `watermark`, `clock` or `finish`.
    event: String,
    /// How many came in.
    records: usize,
    emitted: usize,
    rejected: usize,
    late: usize,
    /// How many timers and windows were fired.
    fired: usize,
    /// How long it took, with waiting for a core.
    micros: u64,
    /// How long the guest ran.
    cpu_micros: u64,
    /// How much fuel it used; 0 where that is not counted.
    fuel: u64,
    /// Bytes of guest and state after it.
    memory: usize,
}

/// Keyed state.
#[derive(ToSchema)]
struct TrialState {
    /// How many keys, or keys and windows, have some.
    keys: usize,
    bytes: usize,
}

/// What is not told of a trial.
#[derive(ToSchema)]
struct TrialLeftOut {
    records: u64,
    rejected: u64,
    lines: u64,
}
