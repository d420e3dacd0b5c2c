//! The checked model of a job file. Whatever is here has passed validation:
//! names are valid and unique, durations are in range, enumerations are closed.
//! Whether the graph hangs together is decided by the job manager's plan.

use std::{net::Ipv6Addr, path::PathBuf, time::Duration};

use rustls::pki_types::CertificateDer;

pub use super::artifact_ref::{ArtifactRef, EXPR};
use super::webhook::WebhookSpec;
use crate::ids::{JobName, OperatorName, PortName};

/// A whole job.
#[derive(Debug, Clone, PartialEq)]
pub struct JobSpec {
    /// `[job]`
    pub job: JobSection,
    /// `[checkpoints]`
    pub checkpoints: CheckpointSection,
    /// `[restart]`
    pub restart: RestartSection,
    /// `[[source]]`, in the file's order.
    pub sources: Vec<SourceSpec>,
    /// `[[operator]]`, in the file's order.
    pub operators: Vec<OperatorSpec>,
    /// `[[sink]]`, in the file's order.
    pub sinks: Vec<SinkSpec>,
}

/// `[job]`
#[derive(Debug, Clone, PartialEq)]
pub struct JobSection {
    /// `name`
    pub name: JobName,
    /// `parallelism`, 1 to `max_parallelism`; 1 if not given. What sources,
    /// operators and sinks use that give none.
    pub parallelism: u32,
    /// `max_parallelism`: the number of key groups, 1 to 32768; 128 if not given.
    /// A job's state can be restored only under the same number.
    pub max_parallelism: u32,
    /// `max_rejected`: how many dead letters, in all, stop the job; no limit if
    /// not given.
    pub max_rejected: Option<u64>,
    /// `channel_capacity`: bytes that may wait between two subtasks before the
    /// sender is held back; 1 MiB if not given.
    pub channel_capacity: usize,
    /// `operator_chaining`: whether subtasks whose records go straight from one to
    /// the next run in one task; true if not given.
    pub operator_chaining: bool,
    /// `priority`: where cores or slots are short, the higher goes first, beside other
    /// jobs of its tenant; -1000 to 1000, and 0 if not given.
    pub priority: i32,
    /// `capsules`: what is kept of a crash, to be replayed; `full` if not given.
    pub capsules: CapsulePolicy,
    /// `preemption`: whether jobs of lower priority are stopped with a checkpoint, and
    /// queued again, where there are no slots for it otherwise; `never` if not given.
    pub preempts: bool,
}

/// `[checkpoints]`
#[derive(Debug, Clone, PartialEq)]
pub struct CheckpointSection {
    /// `interval`: from one checkpoint's start to the next one's; none if not
    /// given.
    pub interval: Option<Duration>,
    /// `every_records`: a checkpoint each time that the sources have emitted so
    /// many records; none if not given.
    pub every_records: Option<u64>,
    /// `min_pause`: from one checkpoint's end to the next one's start; 0 if not given.
    pub min_pause: Duration,
    /// `timeout`: after which a checkpoint is given up; 10 minutes if not given.
    pub timeout: Duration,
    /// `tolerable_failures`: how many checkpoints in a row may fail or be given up before
    /// the job fails; 3 if not given.
    pub tolerable_failures: u32,
    /// `retain`: how many completed checkpoints are kept; 1 if not given.
    pub retain: u32,
}

impl Default for CheckpointSection {
    fn default() -> Self {
        Self {
            interval: None,
            every_records: None,
            min_pause: Duration::ZERO,
            timeout: Duration::from_secs(600),
            tolerable_failures: 3,
            retain: 1,
        }
    }
}

/// `[restart]`: what to do after a failure. The formulas stand with
/// the restart room, which turns this into decisions.
#[derive(Debug, Clone, PartialEq)]
pub enum RestartSection {
    /// `strategy = "none"`: the first failure ends the job.
    None,
    /// `strategy = "fixed-delay"`
    FixedDelay {
        /// `attempts`, at least 1; 3 if not given.
        attempts: u32,
        /// `delay`; 1 s if not given.
        delay: Duration,
    },
    /// `strategy = "exponential-delay"`, the default.
    ExponentialDelay {
        /// `initial_backoff`; 1 s if not given.
        initial_backoff: Duration,
        /// `max_backoff`, at least `initial_backoff`; 1 minute if not given.
        max_backoff: Duration,
        /// `multiplier`, at least 1; 1.5 if not given.
        multiplier: f64,
        /// `jitter`, 0 to 1: the part of the backoff that is random; 0.1 if not given.
        jitter: f64,
        /// `reset_after`: running so long without failure starts over at the
        /// initial backoff; 1 hour if not given.
        reset_after: Duration,
        /// `attempts` before the job fails for good; no limit if not given.
        attempts: Option<u32>,
    },
    /// `strategy = "failure-rate"`
    FailureRate {
        /// `max_failures` in `interval`, at least 1; 3 if not given.
        max_failures: u32,
        /// `interval`; 1 minute if not given.
        interval: Duration,
        /// `delay` before each restart; 1 s if not given.
        delay: Duration,
    },
}

impl Default for RestartSection {
    fn default() -> Self {
        Self::ExponentialDelay {
            initial_backoff: Duration::from_secs(1),
            max_backoff: Duration::from_secs(60),
            multiplier: 1.5,
            jitter: 0.1,
            reset_after: Duration::from_secs(3_600),
            attempts: None,
        }
    }
}

/// A part of one core's time, in thousandths of the core: 500 is half of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct CpuShare(pub u32);

impl std::fmt::Display for CpuShare {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match (self.0 / 10, self.0 % 10) {
            (percent, 0) => write!(f, "{percent}%"),
            (percent, tenth) => write!(f, "{percent}.{tenth}%"),
        }
    }
}

/// Where an input comes from: `"name"` is the main output (port 0) of a source
/// or operator; `"name.port"` another one, by its name or number;
/// `"name.late"` the records that came after their window was closed, and
/// `"name.dead-letters"` what was rejected.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct OutputRef {
    /// The source or operator.
    pub node: OperatorName,
    /// Its output.
    pub port: PortRef,
}

/// One of an operator's outputs, as a job file names it.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum PortRef {
    /// A port by its number, from 0. What is not named otherwise is port 0.
    Number(u32),
    /// A port by a name that the operator's `ports` gives.
    Name(PortName),
    /// Records that were too late for their windows.
    Late,
    /// Rejected records.
    DeadLetters,
}

/// `[[source]]`
#[derive(Debug, Clone, PartialEq)]
pub struct SourceSpec {
    /// `name`
    pub name: OperatorName,
    /// `parallelism`; the number of splits is what limits it further.
    pub parallelism: Option<u32>,
    /// `connector` and what goes with it.
    pub connector: SourceConnector,
    /// `max_out_of_orderness`: how much later than its event time a record may
    /// come; the watermark stays so far behind the newest. 0 if not given.
    pub max_out_of_orderness: Duration,
    /// `idle_timeout`: a source that is silent for so long stops holding back
    /// the watermark; never if not given.
    pub idle_timeout: Option<Duration>,
    /// `max_rejected`: how many malformed records stop the job; no limit if not given.
    pub max_rejected: Option<u64>,
}

/// Which source connector, with its own settings.
#[derive(Debug, Clone, PartialEq)]
pub enum SourceConnector {
    /// `connector = "csv"`: each row becomes a JSON object.
    Csv(CsvSource),
    /// `connector = "jsonl"`: each line is a JSON value, passed on as it is.
    JsonLines(JsonLinesSource),
    /// `connector = "lines"`: each line is a record.
    Lines(FileInput),
    /// `connector = "generator"`
    Generator(GeneratorSource),
    /// `connector = "stdin"`: lines of standard input; cannot be replayed.
    Stdin,
    /// `connector = "http"`: what is posted to a server.
    Http(HttpSource),
}

/// Files to read: one or more, each plain, gzip or zstd (told by its first bytes).
#[derive(Debug, Clone, PartialEq)]
pub struct FileInput {
    /// `path`: one path or a list of paths, relative to the job file; `*` and `?`
    /// in the last component match. Expanded and made absolute when the job file
    /// is read; sorted; at least one. Each file is a split.
    pub paths: Vec<PathBuf>,
    /// `max_line`: the longest line accepted, in bytes; 1 MiB if not given. A
    /// longer one is a dead letter.
    pub max_line: usize,
}

/// Where a record's event time stands.
#[derive(Debug, Clone, PartialEq)]
pub struct TimestampField {
    /// `field`: a column or a top-level JSON field.
    pub field: String,
    /// `format`
    pub format: TimestampFormat,
}

/// How an event time is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TimestampFormat {
    /// `"rfc3339"`, the default: `2013-01-01T10:00:00Z`.
    Rfc3339,
    /// `"millis"`: an integer, milliseconds since 1970.
    Millis,
    /// `"seconds"`: a number, seconds since 1970; fractions count.
    Seconds,
}

/// The type of a CSV column.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ColumnType {
    /// `"string"`, the default.
    String,
    /// `"integer"`: 64-bit signed.
    Integer,
    /// `"float"`: finite, 64-bit.
    Float,
    /// `"boolean"`: `true`/`false`.
    Boolean,
}

/// Settings of a `csv` source. The first line of each file is the header.
#[derive(Debug, Clone, PartialEq)]
pub struct CsvSource {
    /// The files.
    pub files: FileInput,
    /// `delimiter`: one ASCII character; `,` if not given.
    pub delimiter: u8,
    /// `null`: what a missing value looks like; the empty field if not given.
    pub null: String,
    /// `columns`: which columns to read and their types, in order; all as
    /// strings if not given. A column that the header lacks is an error.
    pub columns: Option<Vec<(String, ColumnType)>>,
    /// `key`: a column whose text becomes the record's key; one of `columns`, if
    /// those are given.
    pub key: Option<String>,
    /// `timestamp = "column"` (RFC 3339) or `timestamp = { field, format }`; the
    /// field is one of `columns`, if those are given.
    pub timestamp: Option<TimestampField>,
}

/// Settings of a `jsonl` source.
#[derive(Debug, Clone, PartialEq)]
pub struct JsonLinesSource {
    /// The files.
    pub files: FileInput,
    /// `key`: a top-level field whose text becomes the record's key.
    pub key: Option<String>,
    /// `timestamp`
    pub timestamp: Option<TimestampField>,
}

/// Settings of an `http` source.
#[derive(Debug, Clone, PartialEq)]
pub struct HttpSource {
    /// `format`; `"jsonl"` if not given.
    pub format: HttpFormat,
    /// `max_line`: the longest line accepted, in bytes; 1 MiB if not given.
    pub max_line: usize,
}

/// What is posted to an `http` source.
#[derive(Debug, Clone, PartialEq)]
pub enum HttpFormat {
    /// `"jsonl"`: each line is a JSON value, passed on as it is.
    JsonLines {
        /// `key`: a top-level field whose text becomes the record's key.
        key: Option<String>,
        /// `timestamp`
        timestamp: Option<TimestampField>,
    },
    /// `"lines"`: each line is a record.
    Lines,
}

/// Settings of a `generator` source: deterministic by seed, whatever the speed.
#[derive(Debug, Clone, PartialEq)]
pub struct GeneratorSource {
    /// `records` in all; endless if not given.
    pub records: Option<u64>,
    /// `rate`: records a second in all; flat out if not given.
    pub rate: Option<u64>,
    /// `seed`; 0 if not given.
    pub seed: u64,
    /// `keys`: how many distinct keys there are, drawn uniformly; no key if not given.
    pub keys: Option<u64>,
    /// `start`: event time of the first record, an RFC 3339 time or milliseconds
    /// since 1970; 0 if not given.
    pub start: i64,
    /// `step`: event time from one record to the next, a duration of whole
    /// microseconds; 1 ms if not given.
    pub step_micros: u64,
    /// What the values look like.
    pub values: GeneratorValues,
}

/// What a generator's values look like.
#[derive(Debug, Clone, PartialEq)]
pub enum GeneratorValues {
    /// `value_size`: that many bytes of printable text; 100 if nothing is given.
    Bytes(usize),
    /// `[source.fields]`: JSON objects; the key, if any, is in the field `key`.
    Fields(Vec<(String, GeneratorField)>),
    /// `words = { per_line, vocabulary }`: lines of so many random words, for
    /// word counts.
    Words {
        /// `per_line`: words a line; 10 if not given.
        per_line: usize,
        /// `vocabulary`: distinct words; 10,000 if not given.
        vocabulary: usize,
    },
}

/// How a generated JSON field varies.
#[derive(Debug, Clone, PartialEq)]
pub enum GeneratorField {
    /// `{ sequence = START }`: counts up by one.
    Sequence(i64),
    /// `{ uniform = [LOW, HIGH] }`: a number between the two.
    Uniform(f64, f64),
    /// `{ normal = [MEAN, DEVIATION], spikes = P, spike = FACTOR }`: normally
    /// distributed; with probability `spikes` it is `factor` deviations off.
    Normal {
        /// Mean.
        mean: f64,
        /// Standard deviation.
        deviation: f64,
        /// `spikes`: probability of a spike, 0 to 1; 0 if not given.
        spikes: f64,
        /// `spike`: how many deviations a spike is off; 10 if not given.
        factor: f64,
    },
    /// `{ one_of = [..] }`: one of the given texts.
    OneOf(Vec<String>),
}

/// `[[operator]]`
#[derive(Debug, Clone, PartialEq)]
pub struct OperatorSpec {
    /// `name`
    pub name: OperatorName,
    /// `artifact`: a name on the shelf (`window-stats`), or a path to a `.wasm`
    /// file (it contains `/` or ends in `.wasm`; relative to the job file).
    pub artifact: ArtifactRef,
    /// `input = "a"`, or `inputs = ["a", "b"]`: input port `i` is the `i`th.
    /// An input port may merge several outputs: `inputs = [["a", "b"], "c"]`.
    pub inputs: Vec<Vec<OutputRef>>,
    /// `parallelism`; the job's if not given.
    pub parallelism: Option<u32>,
    /// `ports`: names of output ports 0, 1, ...
    pub ports: Vec<PortName>,
    /// `window`
    pub window: Option<WindowSpec>,
    /// `memory`: how much the slot's linear memories and tables may hold; 256 MiB
    /// if not given.
    pub memory: usize,
    /// `state`: where its state is; as its exports say if not given.
    pub state: Option<StateKeeping>,
    /// `deadline`: how long the guest may take for one batch; 30 s if not given.
    pub deadline: Duration,
    /// `cpu_cap`: what each of its slots may use at most, of one core; no limit if
    /// not given.
    pub cpu_cap: Option<CpuShare>,
    /// `poison`: what becomes of records that crash the guest again and again;
    /// `dead-letter` if not given.
    pub poison: PoisonPolicy,
    /// `grants`: all that the operator may import; `["log", "config",
    /// "metrics"]` if not given.
    pub grants: Vec<Grant>,
    /// `folders`: what the operator may read of this machine's files, with
    /// [`Grant::WasiFilesystem`]; none if not given.
    pub folders: Vec<FolderGrant>,
    /// `http_hosts`: where the operator may send HTTP requests to, with
    /// [`Grant::WasiHttp`]; none if not given.
    pub http_hosts: Vec<HttpHost>,
    /// `http_roots`: certificates that it trusts at these hosts besides those that
    /// everybody trusts; none if not given.
    pub http_roots: Vec<CertificateDer<'static>>,
    /// `[operator.config]`, as JSON; or `expr`, which is the configuration of the operator that
    /// evaluates expressions.
    pub config: serde_json::Map<String, serde_json::Value>,
}

/// What is kept of a crash, to be replayed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum CapsulePolicy {
    /// `"full"`: all that it takes.
    #[default]
    Full,
    /// `"redacted"`: sizes and shapes of records, but no payload and no state.
    Redacted,
    /// `"off"`: nothing.
    Off,
}

/// What becomes of a record that crashes the guest whenever it comes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum PoisonPolicy {
    /// `"dead-letter"`: it is found, and goes to the dead letters.
    #[default]
    DeadLetter,
    /// `"fail"`: the restart strategy decides, each time.
    Fail,
}

/// Where an operator's state is, and how it gets into a checkpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StateKeeping {
    /// `"fold"`: by key, kept by the host. Of operators that export `keyed-processor`.
    Fold,
    /// `"export"`: in the guest, which says what it is. Of operators that export
    /// `snapshot`.
    Export,
    /// `"memory"`: in the guest, whose memory is saved without its help. Of operators
    /// that export `processor` and qualify for it. Neither their parallelism nor their
    /// code can be changed.
    Memory,
}

impl StateKeeping {
    /// As it is written in a job file.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Fold => "fold",
            Self::Export => "export",
            Self::Memory => "memory",
        }
    }
}

/// A directory that an operator may read, with all that is below it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FolderGrant {
    /// `path`, relative to the job file.
    pub path: PathBuf,
    /// `as`: the absolute path under which the operator sees it.
    pub name: String,
}

/// A host that an operator may send HTTP requests to, by exactly this name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HttpHost {
    /// A name in lower case, or an address, of IPv6 without brackets.
    pub name: String,
    /// For either scheme; that of the scheme if not given.
    pub port: Option<u16>,
}

impl std::fmt::Display for HttpHost {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let in_brackets = self.name.contains(':');
        let name = if in_brackets { format!("[{}]", self.name) } else { self.name.clone() };
        f.write_str(&name)?;
        self.port.map_or(Ok(()), |port| write!(f, ":{port}"))
    }
}

impl HttpHost {
    /// That of `http`, if a request or a job file names none.
    pub const PORT: u16 = 80;
    /// That of `https`.
    pub const TLS_PORT: u16 = 443;

    /// All ports at which it may be reached.
    pub fn ports(&self) -> impl Iterator<Item = u16> {
        let of_schemes = [Self::PORT, Self::TLS_PORT].into_iter();
        self.port.into_iter().chain(of_schemes.filter(|_| self.port.is_none()))
    }

    /// How the name of a host is compared: in lower case, addresses of IPv6 in their
    /// usual form and without brackets.
    #[must_use]
    pub fn plain_name(name: &str) -> String {
        let in_brackets = name.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
        match in_brackets.map(str::parse::<Ipv6Addr>) {
            Some(Ok(address)) => address.to_string(),
            _ => name.to_ascii_lowercase(),
        }
    }
}

/// Something that an operator may import.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Grant {
    /// `"log"`, granted if `grants` is not given.
    Log,
    /// `"config"`, granted if `grants` is not given.
    Config,
    /// `"metrics"`, granted if `grants` is not given.
    Metrics,
    /// `"wasi"`: `wasi-clocks`, `wasi-random` and `wasi-stdio` at once.
    Wasi,
    /// `"wasi-clocks"`: the wall clock, the monotonic clock, and waiting.
    WasiClocks,
    /// `"wasi-random"`: random numbers.
    WasiRandom,
    /// `"wasi-stdio"`: what a command has: standard output and error, which go to
    /// the log; an input, arguments and an environment that are empty.
    WasiStdio,
    /// `"wasi-filesystem"`: the interfaces of the file system, and in it the
    /// operator's `folders`, to read.
    WasiFilesystem,
    /// `"wasi-http"`: HTTP requests, to the operator's `http_hosts`.
    WasiHttp,
}

/// `window = { type = "...", ... }`
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WindowSpec {
    /// `type` and its sizes.
    pub assigner: WindowAssigner,
    /// `allowed_lateness`; 0 if not given.
    pub allowed_lateness: Duration,
}

/// How records are assigned to windows of event time. All lengths are at least 1 ms.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WindowAssigner {
    /// `type = "tumbling"`: `[n·size + offset, (n+1)·size + offset)`.
    Tumbling {
        /// `size`
        size: Duration,
        /// `offset`; 0 if not given, less than `size`.
        offset: Duration,
    },
    /// `type = "sliding"`: windows of `size`, one every `slide`.
    Sliding {
        /// `size`
        size: Duration,
        /// `slide`, at most `size`.
        slide: Duration,
        /// `offset`; 0 if not given, less than `slide`.
        offset: Duration,
    },
    /// `type = "session"`: a window ends when nothing came for `gap`.
    Session {
        /// `gap`
        gap: Duration,
    },
}

/// `[[sink]]`
#[derive(Debug, Clone, PartialEq)]
pub struct SinkSpec {
    /// `name`
    pub name: OperatorName,
    /// `input = "a"` or `inputs = ["a", "b"]`, merged.
    pub inputs: Vec<OutputRef>,
    /// `parallelism`; 1 if not given, so that a file sink writes one file.
    pub parallelism: u32,
    /// `connector` and what goes with it.
    pub connector: SinkConnector,
}

/// Which sink connector, with its own settings.
#[derive(Debug, Clone, PartialEq)]
pub enum SinkConnector {
    /// `connector = "csv"`: JSON objects as rows.
    Csv {
        /// Where.
        file: FileOutput,
        /// `columns`: which fields, in order.
        columns: Vec<String>,
        /// `delimiter`; `,` if not given.
        delimiter: u8,
    },
    /// `connector = "jsonl"`: values, which must be JSON, one a line.
    JsonLines(FileOutput),
    /// `connector = "lines"`: values, one a line.
    Lines(FileOutput),
    /// `connector = "stdout"`
    Stdout {
        /// `key`: whether to print the key and a tab before the value; no if not given.
        key: bool,
    },
    /// `connector = "discard"`: counts records and drops them.
    Discard,
    /// `connector = "http"`: posts records to a URL.
    Http(Box<WebhookSpec>),
}

/// Files that a sink writes.
#[derive(Debug, Clone, PartialEq)]
pub struct FileOutput {
    /// `path`, relative to the job file. Missing directories are created. With
    /// `roll` or a parallelism above 1, numbers are put before the extension.
    pub path: PathBuf,
    /// `compression`: `"none"`, `"gzip"`, `"zstd"`; told by the path's extension
    /// (`.gz`, `.zst`) if not given.
    pub compression: Compression,
    /// `roll`: begin a new file at the first checkpoint after the file has
    /// reached this many bytes; one file, complete at the job's end, if not given.
    pub roll: Option<u64>,
}

/// How a file is compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Compression {
    /// Not at all.
    None,
    /// gzip; a checkpoint ends a member.
    Gzip,
    /// Zstandard; a checkpoint ends a frame.
    Zstd,
}
