//! The playground: an operator that was uploaded is fed some records in a throw-away slot. What it
//! may take is bounded by `[playground]` and by the tenant's quotas, and what it used counts as
//! the tenant's usage.

use std::{sync::Arc, time::Duration};

use serde::Serialize;
use serde_json::{Map, Value};

use super::{Service, access::Caller, error::ServiceError};
use crate::{
    config::{self, job::OperatorSpec},
    ids::{ArtifactDigest, ArtifactName, OperatorName, TenantId, VersionName},
    job_manager::plan::check_windows,
    registry::records::{Role, VersionRecord},
    sandbox::{Artifact, OperatorKind},
    tenancy::{
        grants,
        usage::{Consumption, UsageRecord},
    },
    trial::{
        self, Limits, NotRun, Report, Trial,
        settings::{Tried, check_size, read_settings},
        slot::JOB,
    },
};

/// How long a trial waits for a slot.
const PATIENCE: Duration = Duration::from_secs(5);
/// How long a call may take if nothing is said.
const DEADLINE: Duration = Duration::from_secs(2);

pub use crate::trial::request::{GivenRecord, TrialRequest};

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
                service.check_signed(&of_whom, &found)?;
                let feed = request.feed().map_err(invalid)?;
                let (given, most) = (feed.samples.len(), limits.records);
                if given > most {
                    return Err(invalid(format!(
                        "there are {given} records, and a trial may have {most} (`[playground] \
                         records`)"
                    )));
                }
                let inputs = request.ports(&feed).map_err(invalid)?;
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
            check_size(window, &feed).map_err(invalid)?;
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
        let limits = self.spec.playground;
        let (default_memory, default_deadline) = (limits.memory, DEADLINE.min(limits.time));
        let memory = || Value::from(default_memory.to_string());
        given.entry("memory").or_insert_with(memory);
        let deadline = || Value::from(format!("{}ms", default_deadline.as_millis().max(1)));
        given.entry("deadline").or_insert_with(deadline);
        let home = self.home_of(tenant)?;
        let artifact = format!("{}@{}", found.name, found.version);
        let tried = Tried { name: found.name.as_str(), artifact: &artifact, inputs };
        let parse = |text: &str| config::parse_hosted(text, &home, &[], &home, &[]);
        let spec = read_settings(tried, given, parse).map_err(invalid)?;
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
            let bytes = std::fs::read(service.file_of(&digest)?)
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
