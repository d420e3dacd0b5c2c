//! The way in: reads a whole job file, and its `[job]`, `[checkpoints]` and
//! `[restart]` tables. Each `[[source]]`, `[[operator]]` and `[[sink]]` has a
//! file of its own beside this one.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use super::{
    Override,
    errors::{JobFileErrors, Place, Problems},
    graph::Graph,
    job::{CapsulePolicy, CheckpointSection, JobSection, JobSpec, RestartSection},
    node::{self, Entry, Node, Value},
    paths::Folder,
    read_operator, read_sink, read_source,
    section::{self, Refusal, Section},
    webhook::Secrets,
};
use crate::ids::JobName;

/// The largest number of key groups (Flink's).
const MOST_KEY_GROUPS: u32 = 32_768;

/// What every reader of a node is given.
pub(super) struct Surroundings<'p> {
    /// Where the mistakes go.
    pub(super) problems: &'p Problems,
    /// What paths are relative to.
    pub(super) folder: Folder,
    /// Where its secrets are.
    pub(super) secrets: Secrets,
    /// The job's `max_parallelism`.
    pub(super) max_parallelism: u32,
    /// Whether a checkpoint is taken now and then, however little comes.
    pub(super) checkpoints_by_time: bool,
}

/// Reads a job file. `origin` is its path as the person named it: it stands in
/// errors, and paths in the file are relative to its directory. `overrides` are
/// applied first, so that they are checked like the file itself.
///
/// Looks into the file system for the files that sources read and for
/// operators given by path, and nowhere else.
///
/// # Errors
/// All mistakes of the file, each with its line.
pub fn parse(text: &str, origin: &Path, overrides: &[Override]) -> Result<JobSpec, JobFileErrors> {
    parse_in(text, origin, overrides, (Folder::of(origin), Secrets::Environment))
}

/// How a job file is called in errors that came without a name.
pub const HOSTED_ORIGIN: &str = "job.toml";

/// As [`parse`], for a job file of somebody who may not name this machine's files: paths are
/// relative to `home`, and lead to nothing outside it and the `others`; operators are artifacts
/// that were uploaded; there is neither standard input nor output. Secrets that it names are files
/// of the directory `secrets`.
///
/// # Errors
/// All mistakes of the file, each with its line.
pub fn parse_hosted(
    text: &str,
    home: &Path,
    others: &[PathBuf],
    secrets: &Path,
    overrides: &[Override],
) -> Result<JobSpec, JobFileErrors> {
    let around = (Folder::walled(home, others), Secrets::Files(secrets.to_owned()));
    parse_in(text, Path::new(HOSTED_ORIGIN), overrides, around)
}

fn parse_in(
    text: &str,
    origin: &Path,
    overrides: &[Override],
    around: (Folder, Secrets),
) -> Result<JobSpec, JobFileErrors> {
    let problems = Problems::default();
    let spec = Node::parse_toml(text, &problems).and_then(|mut root| {
        node::apply(&mut root, overrides, &problems);
        read_job(root, around, &problems)
    });
    let sets: Vec<&str> = overrides.iter().map(Override::as_str).collect();
    match spec {
        Some(spec) if problems.is_empty() => Ok(spec),
        _ => Err(problems.into_errors(text, origin, &sets)),
    }
}

fn read_job(
    root: Node,
    (folder, secrets): (Folder, Secrets),
    problems: &Problems,
) -> Option<JobSpec> {
    let top = Place::File(0..0);
    let mut file = Section::new("the job file", root, problems)?;
    if !file.has("job") {
        let help = Some("add `[job]` and `name = \"my-job\"` below it".to_owned());
        problems.add(&top, "the job file has no [job]", help);
    }
    let job = table(&mut file, "job").and_then(read_job_section);
    let checkpoints = table(&mut file, "checkpoints").map(read_checkpoints);
    let restart = table(&mut file, "restart").and_then(read_restart);
    let surroundings = Surroundings {
        problems,
        folder,
        secrets,
        max_parallelism: job.as_ref().map_or(MOST_KEY_GROUPS, |job| job.max_parallelism),
        checkpoints_by_time: checkpoints.as_ref().is_some_and(|c| c.interval.is_some()),
    };
    let mut graph = Graph::default();
    let wanted = [
        ("source", "add one, such as `connector = \"stdin\"`"),
        ("sink", "add one, such as `connector = \"stdout\"`, or \"discard\""),
    ];
    for (kind, help) in wanted.into_iter().filter(|(kind, _)| !file.has(kind)) {
        problems.add(&top, format!("the job has no [[{kind}]]"), Some(help.to_owned()));
    }
    let sources: Vec<_> = tables(&mut file, "source")
        .into_iter()
        .filter_map(|node| read_source::read(node, &surroundings, &mut graph))
        .collect();
    let operators: Vec<_> = tables(&mut file, "operator")
        .into_iter()
        .filter_map(|node| read_operator::read(node, &surroundings, &mut graph))
        .collect();
    let sinks: Vec<_> = tables(&mut file, "sink")
        .into_iter()
        .filter_map(|node| read_sink::read(node, &surroundings, &mut graph))
        .collect();
    file.finish();
    graph.check(problems);
    Some(JobSpec {
        job: job?,
        checkpoints: checkpoints.unwrap_or_default(),
        restart: restart.unwrap_or_default(),
        sources,
        operators,
        sinks,
    })
}

/// The single table `[key]`.
fn table<'p>(file: &mut Section<'p>, key: &'static str) -> Option<Section<'p>> {
    let Entry { node, key_place, .. } = file.take(key)?;
    if matches!(node.value, Value::List(_)) {
        let help = Some(format!("write `[{key}]`, with single brackets, once"));
        file.problems.add(&key_place, format!("`{key}` is a single table"), help);
        return None;
    }
    Section::new(&format!("[{key}]"), node, file.problems)
}

/// The tables `[[key]]`.
fn tables(file: &mut Section<'_>, key: &'static str) -> Vec<Node> {
    let Some(Entry { node, key_place, .. }) = file.take(key) else { return Vec::new() };
    match node.value {
        Value::List(nodes) => nodes,
        _ => {
            let help = Some(format!("write `[[{key}]]`, with double brackets, for each {key}"));
            file.problems.add(&key_place, format!("`{key}` is a list of tables"), help);
            Vec::new()
        }
    }
}

/// Whether a job has others stopped for it.
const PREEMPTION: &[(&str, bool)] = &[("never", false), ("lower-priority", true)];

const CAPSULES: &[(&str, CapsulePolicy)] = &[
    ("full", CapsulePolicy::Full),
    ("redacted", CapsulePolicy::Redacted),
    ("off", CapsulePolicy::Off),
];

fn read_job_section(mut section: Section<'_>) -> Option<JobSection> {
    let name = section.require("name", "name = \"my-job\"", section::name::<JobName>);
    let max_parallelism =
        section.get("max_parallelism", section::integer(1..=MOST_KEY_GROUPS)).unwrap_or(128);
    let job = JobSection {
        parallelism: section.get("parallelism", section::integer(1..=max_parallelism)).unwrap_or(1),
        max_parallelism,
        max_rejected: section.get("max_rejected", section::integer(0..=i64::MAX.unsigned_abs())),
        channel_capacity: section
            .get("channel_capacity", section::memory_size(1 << 10..=1 << 30))
            .unwrap_or(1 << 20),
        operator_chaining: section.get("operator_chaining", section::boolean).unwrap_or(true),
        priority: section.get("priority", section::integer(-1000..=1000)).unwrap_or(0),
        capsules: section.get("capsules", section::one_of(CAPSULES)).unwrap_or_default(),
        preempts: section.get("preemption", section::one_of(PREEMPTION)).unwrap_or(false),
        name: match name {
            Some(name) => name,
            None => {
                section.finish();
                return None;
            }
        },
    };
    section.finish();
    Some(job)
}

fn read_checkpoints(mut section: Section<'_>) -> CheckpointSection {
    let default = CheckpointSection::default();
    let read = CheckpointSection {
        interval: section.get("interval", section::millis),
        every_records: section.get("every_records", section::integer(1..=i64::MAX.unsigned_abs())),
        min_pause: section.get("min_pause", section::millis_or_zero).unwrap_or(default.min_pause),
        timeout: section.get("timeout", section::millis).unwrap_or(default.timeout),
        tolerable_failures: section
            .get("tolerable_failures", section::integer(0..=1_000_000))
            .unwrap_or(default.tolerable_failures),
        retain: section.get("retain", section::integer(1..=1_000)).unwrap_or(default.retain),
    };
    section.finish();
    read
}

#[derive(Clone, Copy)]
enum Strategy {
    None,
    FixedDelay,
    ExponentialDelay,
    FailureRate,
}

const STRATEGIES: &[(&str, Strategy)] = &[
    ("none", Strategy::None),
    ("fixed-delay", Strategy::FixedDelay),
    ("exponential-delay", Strategy::ExponentialDelay),
    ("failure-rate", Strategy::FailureRate),
];

fn read_restart(mut section: Section<'_>) -> Option<RestartSection> {
    let strategy = if section.has("strategy") {
        // Without it nothing can be said about the other keys.
        section.get("strategy", section::one_of(STRATEGIES))?
    } else {
        section.take("strategy");
        Strategy::ExponentialDelay
    };
    let attempts = section::integer(1..=u32::MAX);
    let delay = Duration::from_secs(1);
    let read = match strategy {
        Strategy::None => RestartSection::None,
        Strategy::FixedDelay => RestartSection::FixedDelay {
            attempts: section.get("attempts", attempts).unwrap_or(3),
            delay: section.get("delay", section::millis_or_zero).unwrap_or(delay),
        },
        Strategy::ExponentialDelay => read_exponential(&mut section),
        Strategy::FailureRate => RestartSection::FailureRate {
            max_failures: section.get("max_failures", attempts).unwrap_or(3),
            interval: section.get("interval", section::millis).unwrap_or(Duration::from_secs(60)),
            delay: section.get("delay", section::millis_or_zero).unwrap_or(delay),
        },
    };
    section.finish();
    Some(read)
}

fn read_exponential(section: &mut Section<'_>) -> RestartSection {
    let initial_backoff =
        section.get("initial_backoff", section::millis).unwrap_or(Duration::from_secs(1));
    let longest = initial_backoff.max(Duration::from_secs(60));
    let max_backoff = section.get("max_backoff", |node| {
        let read = section::millis(node)?;
        if read < initial_backoff {
            let message = format!("must be at least initial_backoff ({initial_backoff:?})");
            return Err(Refusal::new(message));
        }
        Ok(read)
    });
    RestartSection::ExponentialDelay {
        initial_backoff,
        max_backoff: max_backoff.unwrap_or(longest),
        multiplier: section
            .get("multiplier", section::number(1.0..=1e6, "from 1 to 1000000"))
            .unwrap_or(1.5),
        jitter: section.get("jitter", section::number(0.0..=1.0, "from 0 to 1")).unwrap_or(0.1),
        reset_after: section
            .get("reset_after", section::millis)
            .unwrap_or(Duration::from_secs(3_600)),
        attempts: section.get("attempts", section::integer(1..=u32::MAX)),
    }
}
