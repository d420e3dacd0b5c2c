//! The playground: an operator that was uploaded is fed some records in a throw-away slot. What it
//! may take is bounded by `[playground]` and by the tenant's quotas, and what it used counts as
//! the tenant's usage.

use std::{sync::Arc, time::Duration};

use base64::{Engine as _, prelude::BASE64_STANDARD};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::{Service, access::Caller, error::ServiceError};
use crate::{
    config::{
        self,
        job::{OperatorSpec, TimestampField, TimestampFormat, WindowAssigner, WindowSpec},
        units::parse_duration,
    },
    ids::{ArtifactDigest, ArtifactName, OperatorName, TenantId, VersionName},
    job_manager::plan::check_windows,
    registry::records::{Role, VersionRecord},
    sandbox::{Artifact, OperatorKind},
    tenancy::{
        grants,
        usage::{Consumption, UsageRecord},
    },
    trial::{self, Feed, Limits, NotRun, Report, Sample, Trial, feed::samples_of_lines, slot::JOB},
};

/// How long a trial waits for a slot.
const PATIENCE: Duration = Duration::from_secs(5);
/// How long a call may take if nothing is said.
const DEADLINE: Duration = Duration::from_secs(2);
/// How many windows all records may belong to, as far as that can be said beforehand.
const MOST_WINDOWS: u128 = 1_000_000;
/// What of `[[operator]]` may be said of an operator that is tried.
const SETTINGS: [&str; 6] = ["window", "memory", "deadline", "cpu_cap", "ports", "config"];
/// How many input ports there may be.
const MOST_INPUTS: u32 = 64;

/// What is asked for.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TrialRequest {
    /// The records.
    pub records: Vec<GivenRecord>,
    /// Records as JSON Lines, instead of `records`: each line is a value.
    pub lines: Option<String>,
    /// Which field of `lines` is the key.
    pub key_field: Option<String>,
    /// Which is the event time.
    pub timestamp_field: Option<String>,
    /// How that is written: `rfc3339` (if not given), `millis` or `seconds`.
    pub timestamp_format: Option<String>,
    /// What a job file would say of the operator: `window`, `config`, `memory`, `deadline`,
    /// `cpu_cap`, `ports`.
    pub operator: Map<String, Value>,
    /// How many input ports it has; as many as the records name if not given.
    pub inputs: Option<u32>,
    /// How many records a batch has at most; 1024 if not given.
    pub batch_records: Option<usize>,
    /// By how much the records come out of order, as `5s`; not at all if not given.
    pub max_out_of_orderness: Option<String>,
    /// Whether the input ends after the records; yes if not given.
    pub close: Option<bool>,
    /// By how much the clock goes on after the records, as `1m`; not at all if not given.
    pub advance_clock: Option<String>,
}

/// A record as it is given.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct GivenRecord {
    /// A text as it is; anything else as JSON.
    pub value: Value,
    /// Bytes in base64, instead.
    pub value_base64: Option<String>,
    /// The key.
    pub key: Option<String>,
    /// Bytes in base64, instead.
    pub key_base64: Option<String>,
    /// The event time, in milliseconds since 1970.
    pub timestamp: Option<i64>,
    /// The input port; 0 if not given.
    pub port: u32,
}

/// What became of it.
#[derive(Debug, Serialize)]
pub struct TrialView {
    /// Whose artifact.
    pub tenant: TenantId,
    /// Its name.
    pub name: ArtifactName,
    /// Which version: where a tag was given, what it points to.
    pub version: VersionName,
    /// `sha256-` and 64 hexadecimal digits.
    pub digest: String,
    /// `processor` or `keyed-processor`.
    pub kind: &'static str,
    /// How many records it was to be fed.
    pub records: usize,
    /// What it made of them.
    #[serde(flatten)]
    pub report: Report,
}

fn invalid(what: impl Into<String>) -> ServiceError {
    ServiceError::Invalid(what.into())
}

impl GivenRecord {
    fn sample(self, at: usize) -> Result<Sample, ServiceError> {
        let decode = |name: &str, text: &str| {
            BASE64_STANDARD
                .decode(text)
                .map_err(|error| invalid(format!("records[{at}].{name}: no base64: {error}")))
        };
        let value = match (&self.value_base64, self.value) {
            (Some(text), Value::Null) => decode("value_base64", text)?,
            (Some(_), _) => {
                return Err(invalid(format!("records[{at}] has a `value` and a `value_base64`")));
            }
            (None, Value::String(text)) => text.into_bytes(),
            (None, other) => other.to_string().into_bytes(),
        };
        let key = match (&self.key_base64, self.key) {
            (Some(text), None) => Some(decode("key_base64", text)?),
            (Some(_), Some(_)) => {
                return Err(invalid(format!("records[{at}] has a `key` and a `key_base64`")));
            }
            (None, key) => key.map(String::into_bytes),
        };
        Ok(Sample { port: self.port, key, value, timestamp: self.timestamp })
    }
}

impl TrialRequest {
    fn samples(&mut self) -> Result<Vec<Sample>, ServiceError> {
        let Some(lines) = &self.lines else {
            let of_lines = [&self.key_field, &self.timestamp_field, &self.timestamp_format];
            if of_lines.iter().any(|field| field.is_some()) {
                return Err(invalid(
                    "`key_field`, `timestamp_field` and `timestamp_format` go with `lines`",
                ));
            }
            let records = std::mem::take(&mut self.records);
            return records.into_iter().enumerate().map(|(i, given)| given.sample(i)).collect();
        };
        if !self.records.is_empty() {
            return Err(invalid("give `records` or `lines`, not both"));
        }
        let timestamp = match (&self.timestamp_field, self.timestamp_format.as_deref()) {
            (Some(field), format) => {
                let format = match format {
                    None | Some("rfc3339") => TimestampFormat::Rfc3339,
                    Some("millis") => TimestampFormat::Millis,
                    Some("seconds") => TimestampFormat::Seconds,
                    Some(other) => {
                        return Err(invalid(format!(
                            "`timestamp_format` is `rfc3339`, `millis` or `seconds`, not `{other}`"
                        )));
                    }
                };
                Some(TimestampField { field: field.clone(), format })
            }
            (None, Some(_)) => {
                return Err(invalid("`timestamp_format` goes with `timestamp_field`"));
            }
            (None, None) => None,
        };
        samples_of_lines(lines, self.key_field.as_deref(), timestamp.as_ref()).map_err(invalid)
    }

    fn feed(&mut self, most: usize) -> Result<Feed, ServiceError> {
        let samples = self.samples()?;
        if samples.len() > most {
            return Err(invalid(format!(
                "there are {} records, and a trial may have {most} (`[playground] records`)",
                samples.len()
            )));
        }
        let default = Feed::default();
        let batch_records = self.batch_records.unwrap_or(default.batch_records);
        if batch_records == 0 {
            return Err(invalid("`batch_records` must be 1 at least"));
        }
        Ok(Feed {
            samples,
            batch_records,
            out_of_orderness: millis("max_out_of_orderness", self.max_out_of_orderness.as_ref())?,
            close: self.close.unwrap_or(default.close),
            advance_clock: millis("advance_clock", self.advance_clock.as_ref())?,
        })
    }

    /// How many input ports there are.
    fn ports(&self, feed: &Feed) -> Result<u32, ServiceError> {
        let named = feed.samples.iter().map(|sample| sample.port.saturating_add(1)).max();
        let inputs = self.inputs.or(named).unwrap_or(1);
        if !(1..=MOST_INPUTS).contains(&inputs) {
            return Err(invalid(format!("there may be 1 to {MOST_INPUTS} input ports")));
        }
        Ok(inputs)
    }
}

fn millis(name: &str, text: Option<&String>) -> Result<i64, ServiceError> {
    let Some(text) = text else { return Ok(0) };
    let time = parse_duration(text).map_err(|error| invalid(format!("`{name}`: {error}")))?;
    Ok(i64::try_from(time.as_millis()).unwrap_or(i64::MAX))
}

impl Service {
    /// Whether the caller may try a version of an artifact.
    ///
    /// # Errors
    /// If not, or there is none of that name for them.
    pub fn may_try(
        &self,
        caller: &Caller,
        tenant: Option<&TenantId>,
        (name, version): (&ArtifactName, &VersionName),
    ) -> Result<(), ServiceError> {
        caller.require(Role::Author)?;
        self.version(caller, tenant, name, version).map(drop)
    }

    /// Feeds some records to a version of an artifact, by its name or a tag.
    ///
    /// # Errors
    /// If the caller may not, there is no such version for them, what is given cannot be fed,
    /// there is no slot for it, or the tenant's quotas do not allow it. How the operator failed is
    /// told, and is no error.
    pub async fn try_version(
        self: &Arc<Self>,
        caller: &Caller,
        tenant: Option<&TenantId>,
        artifact: (&ArtifactName, &VersionName),
        mut request: TrialRequest,
    ) -> Result<TrialView, ServiceError> {
        caller.require(Role::Author)?;
        let owner = caller.tenant(tenant)?;
        let limits = self.spec.playground;
        let _place = self.trials.take(&owner).ok_or_else(|| match limits.at_once {
            0 => ServiceError::Conflict(
                "this server has no playground (`[playground] at_once = 0`)".to_owned(),
            ),
            most => ServiceError::Busy(format!(
                "{most} trials of tenant `{owner}` are under way, and there may be no more at once"
            )),
        })?;
        let (of_whom, caller) = (owner.clone(), caller.clone());
        let (name, version) = (artifact.0.clone(), artifact.1.clone());
        let (found, feed, spec) = self
            .blocking(move |service| {
                let found = service.version(&caller, Some(&of_whom), &name, &version)?;
                let feed = request.feed(limits.records)?;
                let inputs = request.ports(&feed)?;
                feed.check(inputs).map_err(invalid)?;
                let settings = std::mem::take(&mut request.operator);
                let spec = service.spec_of(&of_whom, &found, inputs, settings)?;
                Ok((found, feed, spec))
            })
            .await?;
        let records = feed.samples.len();
        let artifact = self.load_for_trial(&owner, found.digest).await?;
        check_windows(&spec, artifact.kind()).map_err(|error| invalid(error.to_string()))?;
        if let Some(window) = &spec.window {
            check_size(window, &feed)?;
        }
        let kind = match artifact.kind() {
            OperatorKind::Processor { .. } => "processor",
            OperatorKind::Keyed { .. } => "keyed-processor",
        };
        let operator = spec.name.clone();
        let trial = Trial {
            tenant: owner.clone(),
            artifact,
            spec,
            feed,
            limits: Limits { patience: PATIENCE, time: limits.time, output: limits.output },
            clock: self.clock.clone(),
        };
        let began = self.clock.now_millis();
        let report = trial::run(&self.task_manager, trial).await.map_err(|error| match error {
            NotRun::Busy(why) => ServiceError::Busy(why),
            NotRun::OverQuota(why) => ServiceError::OverQuota(why),
        })?;
        self.count_trial(&owner, operator, (began, records), &report);
        let VersionRecord { name, version, digest, .. } = found;
        let digest = format!("sha256-{digest}");
        Ok(TrialView { tenant: owner, name, version, digest, kind, records, report })
    }

    /// The operator's settings, read as those of a job file.
    fn spec_of(
        &self,
        tenant: &TenantId,
        found: &VersionRecord,
        inputs: u32,
        mut given: Map<String, Value>,
    ) -> Result<OperatorSpec, ServiceError> {
        if let Some(key) = given.keys().find(|key| !SETTINGS.contains(&key.as_str())) {
            let key: String = key.chars().take(80).collect();
            return Err(invalid(format!(
                "`operator.{key}` cannot be said of a trial; what can: {}",
                SETTINGS.join(", ")
            )));
        }
        let limits = self.spec.playground;
        let (default_memory, default_deadline) = (limits.memory, DEADLINE.min(limits.time));
        let memory = || Value::from(default_memory.to_string());
        given.entry("memory").or_insert_with(memory);
        let deadline = || Value::from(format!("{}ms", default_deadline.as_millis().max(1)));
        given.entry("deadline").or_insert_with(deadline);
        let home = self.home_of(tenant)?;
        let text = job_file(found, inputs, given)?;
        let mut job = config::parse_hosted(&text, &home, &[], &home, &[]).map_err(|errors| {
            let told = errors.errors.iter().take(10).map(|error| match &error.help {
                Some(help) => format!("{} ({help})", error.message),
                None => error.message.clone(),
            });
            invalid(format!("`operator`: {}", told.collect::<Vec<_>>().join("; ")))
        })?;
        let spec = job.operators.pop();
        let spec = spec.ok_or_else(|| ServiceError::Internal("no operator was read".to_owned()))?;
        if spec.memory > limits.memory {
            return Err(invalid(format!(
                "`operator.memory` may be {} bytes at most (`[playground] memory`)",
                limits.memory
            )));
        }
        Ok(spec)
    }

    async fn load_for_trial(
        self: &Arc<Self>,
        tenant: &TenantId,
        digest: ArtifactDigest,
    ) -> Result<Artifact, ServiceError> {
        let _checking = self
            .checks
            .acquire()
            .await
            .map_err(|_| ServiceError::Unavailable("the service is ending".to_owned()))?;
        let tenant = tenant.clone();
        self.blocking(move |service| {
            let about = service.tenant(&tenant)?;
            let bytes = std::fs::read(service.blobs.path(&digest))
                .map_err(ServiceError::disk("reading an artifact"))?;
            let loaded = service.task_manager.sandbox.load(&bytes, &grants::allowed(&about));
            loaded.map_err(|error| ServiceError::ArtifactRefused(error.to_string()))
        })
        .await
    }

    /// Writes down what a trial used, as of a job.
    fn count_trial(
        &self,
        tenant: &TenantId,
        operator: OperatorName,
        (start, records): (i64, usize),
        report: &Report,
    ) {
        let seconds = report.took_micros / 1_000_000;
        let consumed = Consumption {
            cpu_nanos: report.cpu_micros.saturating_mul(1_000),
            fuel: report.fuel,
            memory_byte_seconds: (report.peak_memory as u64).saturating_mul(seconds),
            records_in: records as u64,
            records_out: report.outputs.iter().map(|output| output.count).sum(),
            ..Consumption::default()
        };
        let record = UsageRecord {
            tenant: tenant.clone(),
            job: trial::slot::job(),
            operator: Some(operator),
            start,
            end: self.clock.now_millis().max(start),
            consumed,
        };
        let ledger = self.ledger.clone();
        tokio::task::spawn_blocking(move || {
            if let Err(error) = ledger.append(&[record]) {
                tracing::error!("the usage of a trial (`{JOB}`) cannot be written down: {error}");
            }
        });
    }
}

/// A job file with the operator in it, which is never run: so its settings mean what they mean
/// everywhere, and are refused in the same words.
fn job_file(
    found: &VersionRecord,
    inputs: u32,
    given: Map<String, Value>,
) -> Result<String, ServiceError> {
    let name = found.name.as_str();
    let [source, sink] = match name {
        "records" | "nowhere" => ["fed", "dropped"],
        _ => ["records", "nowhere"],
    };
    let mut operator = given;
    operator.insert("name".to_owned(), name.into());
    operator.insert("artifact".to_owned(), format!("{name}@{}", found.version).into());
    operator.insert("inputs".to_owned(), vec![source; inputs as usize].into());
    let file = serde_json::json!({
        "job": {"name": JOB},
        "source": [{"name": source, "connector": "generator"}],
        "operator": [operator],
        "sink": [{"name": sink, "input": name, "connector": "discard"}],
    });
    toml::to_string(&file).map_err(|error| {
        invalid(format!(
            "`operator` cannot be written as in a job file, which has no null: {error}"
        ))
    })
}

/// That records do not belong to so many windows that the host would be busy with them.
fn check_size(window: &WindowSpec, feed: &Feed) -> Result<(), ServiceError> {
    if !feed.samples.is_empty() && !feed.is_timed() {
        return Err(invalid("an operator with a `window` needs records with event times"));
    }
    let WindowAssigner::Sliding { size, slide, .. } = window.assigner else { return Ok(()) };
    let each = size.as_millis().div_ceil(slide.as_millis().max(1));
    if each.saturating_mul(feed.samples.len() as u128) > MOST_WINDOWS {
        return Err(invalid(format!(
            "each record belongs to {each} windows, all of them to more than {MOST_WINDOWS}: make \
             `slide` longer, or give fewer records"
        )));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn samples(json: &str) -> Result<Vec<Sample>, String> {
        let mut request: TrialRequest = serde_json::from_str(json).map_err(|e| e.to_string())?;
        request.samples().map_err(|error| error.to_string())
    }

    #[test]
    fn a_text_is_itself_and_anything_else_is_json() {
        let given = r#"{"records": [
            {"value": "a \"text\""}, {"value": {"z": 1, "a": [2.50]}}, {"value": null},
            {"value_base64": "/wA=", "key_base64": "AQ==", "timestamp": -1, "port": 3}, {"key": "k"}
        ]}"#;
        let samples = samples(given).unwrap();
        let values: Vec<_> = samples.iter().map(|s| s.value.as_slice()).collect();
        assert_eq!(
            values,
            [&b"a \"text\""[..], b"{\"z\":1,\"a\":[2.5]}", b"null", b"\xff\0", b"null"]
        );
        assert_eq!((samples[3].key.as_deref(), samples[3].port), (Some(&[1][..]), 3));
        assert_eq!((samples[3].timestamp, samples[4].key.as_deref()), (Some(-1), Some(&b"k"[..])));
    }

    #[test]
    fn what_does_not_go_together_is_refused() {
        for (json, said) in [
            (r#"{"records": [{"value": 1, "value_base64": ""}]}"#, "records[0] has a `value` and"),
            (r#"{"records": [{}, {"key": "", "key_base64": ""}]}"#, "records[1] has a `key` and"),
            (r#"{"records": [{"value_base64": "%"}]}"#, "records[0].value_base64: no base64"),
            (r#"{"records": [{"vaule": 1}]}"#, "unknown field `vaule`"),
            (r#"{"lines": "1", "records": [{}]}"#, "not both"),
            (r#"{"key_field": "k"}"#, "go with `lines`"),
            (r#"{"lines": "{}", "timestamp_format": "millis"}"#, "goes with `timestamp_field`"),
            (r#"{"lines": "{}", "timestamp_field": "t", "timestamp_format": "x"}"#, "not `x`"),
        ] {
            let error = samples(json).unwrap_err();
            assert!(error.contains(said), "`{said}` is not in `{error}`");
        }
    }

    #[test]
    fn records_of_too_many_windows_are_refused_beforehand() {
        let window = |slide| WindowSpec {
            assigner: WindowAssigner::Sliding {
                size: Duration::from_secs(1_000),
                slide: Duration::from_millis(slide),
                offset: Duration::ZERO,
            },
            allowed_lateness: Duration::ZERO,
        };
        let sample = Sample { port: 0, key: None, value: Vec::new(), timestamp: Some(0) };
        let feed = Feed { samples: vec![sample; 2], ..Feed::default() };
        assert!(check_size(&window(1), &feed).unwrap_err().to_string().contains("1000000 windows"));
        assert!(check_size(&window(2), &feed).is_ok());
        let untimed = Sample { timestamp: None, ..feed.samples[0].clone() };
        let feed = Feed { samples: vec![untimed], ..Feed::default() };
        assert!(check_size(&window(2), &feed).unwrap_err().to_string().contains("event times"));
    }
}
