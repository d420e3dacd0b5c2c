//! What a tenant may use, as it is shown and asked for: numbers, in bytes and a second, as
//! `cofferdam tenant show --json` has them.

use serde::{Deserialize, Serialize};

use super::error::ServiceError;
use crate::{
    config::{
        job::{CpuShare, Grant},
        tenant::{
            LEAST_MEMORY, MOST_CAP, MOST_COUNT, MOST_RATE, MOST_WEIGHT, TenantSpec, parse_cap,
        },
    },
    ids::TenantId,
    tenancy::registry::{Change, Changes},
};

/// A tenant.
#[derive(Debug, Serialize)]
pub struct TenantView {
    /// Its name.
    pub name: TenantId,
    /// What it may use.
    #[serde(flatten)]
    pub may: May,
}

/// What a tenant may use; null where there is no limit but the server's own.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[expect(missing_docs, reason = "each is the quota of the same name")]
pub struct May {
    pub slots: Option<u32>,
    pub memory: Option<u64>,
    pub state: Option<u64>,
    pub jobs: Option<u32>,
    pub artifacts: Option<u32>,
    pub artifact_bytes: Option<u64>,
    pub disk: Option<u64>,
    pub cpu_weight: Option<u32>,
    pub cpu_cap_percent: Option<f64>,
    pub ingest_records: Option<u64>,
    pub ingest_bytes: Option<u64>,
    pub grants: Option<Vec<String>>,
    pub require_signatures: Option<bool>,
}

impl From<TenantSpec> for TenantView {
    fn from(tenant: TenantSpec) -> Self {
        let q = tenant.quotas;
        let words = |grants: Vec<Grant>| grants.iter().map(|g| g.word().to_owned()).collect();
        let may = May {
            slots: q.slots,
            memory: q.memory.map(|bytes| bytes as u64),
            state: q.state.map(|bytes| bytes as u64),
            jobs: q.jobs,
            artifacts: q.artifacts,
            artifact_bytes: q.artifact_bytes,
            disk: q.disk,
            cpu_weight: Some(q.cpu_weight),
            cpu_cap_percent: q.cpu_cap.map(|cap| f64::from(cap.0) / 10.0),
            ingest_records: q.ingest_records,
            ingest_bytes: q.ingest_bytes,
            grants: tenant.grants.map(words),
            require_signatures: Some(tenant.require_signatures),
        };
        Self { name: tenant.name, may }
    }
}

/// That a quota is in its range.
fn within<T: PartialOrd + std::fmt::Display>(
    key: &str,
    value: Option<T>,
    least: T,
    most: T,
) -> Result<Change<T>, ServiceError> {
    match value {
        None => Ok(Change::Remove),
        Some(value) if (&least..=&most).contains(&&value) => Ok(Change::Set(value)),
        Some(value) => Err(ServiceError::Invalid(format!(
            "`{key}` must be from {least} to {most}, or null for no limit, not {value}"
        ))),
    }
}

impl May {
    /// The same, with what is to be changed.
    #[must_use]
    pub fn changed(self, changes: &Changes) -> Self {
        fn to<T: Clone>(was: Option<T>, change: &Change<T>) -> Option<T> {
            match change {
                Change::Keep => was,
                Change::Remove => None,
                Change::Set(value) => Some(value.clone()),
            }
        }
        let percent = |change: &Change<CpuShare>| match change {
            Change::Keep => Change::Keep,
            Change::Remove => Change::Remove,
            Change::Set(cap) => Change::Set(f64::from(cap.0) / 10.0),
        };
        let words = |change: &Change<Vec<Grant>>| match change {
            Change::Keep => Change::Keep,
            Change::Remove => Change::Remove,
            Change::Set(all) => Change::Set(all.iter().map(|g| g.word().to_owned()).collect()),
        };
        Self {
            slots: to(self.slots, &changes.slots),
            memory: to(self.memory, &changes.memory),
            state: to(self.state, &changes.state),
            jobs: to(self.jobs, &changes.jobs),
            artifacts: to(self.artifacts, &changes.artifacts),
            artifact_bytes: to(self.artifact_bytes, &changes.artifact_bytes),
            disk: to(self.disk, &changes.disk),
            cpu_weight: to(self.cpu_weight, &changes.cpu_weight),
            cpu_cap_percent: to(self.cpu_cap_percent, &percent(&changes.cpu_cap)),
            ingest_records: to(self.ingest_records, &changes.ingest_records),
            ingest_bytes: to(self.ingest_bytes, &changes.ingest_bytes),
            grants: to(self.grants, &words(&changes.grants)),
            require_signatures: to(self.require_signatures, &changes.require_signatures),
        }
    }

    /// All of it: what is not named is taken away.
    pub(super) fn changes(self) -> Result<Changes, ServiceError> {
        const MOST_SIZE: u64 = i64::MAX.unsigned_abs();
        let count = |key, value| within(key, value, 0, MOST_COUNT);
        let rate = |key, value| within(key, value, 1, MOST_RATE);
        let cap =
            within("cpu_cap_percent", self.cpu_cap_percent, 1.0, f64::from(MOST_CAP.0) / 10.0)?;
        let grant = |word: &String| {
            Grant::named(word).map_err(|must| ServiceError::Invalid(format!("a grant: {must}")))
        };
        let grants = self
            .grants
            .map(|words| words.iter().map(grant).collect::<Result<Vec<_>, ServiceError>>());
        Ok(Changes {
            slots: count("slots", self.slots)?,
            memory: within("memory", self.memory, LEAST_MEMORY, MOST_SIZE)?,
            state: within("state", self.state, 0, MOST_SIZE)?,
            jobs: count("jobs", self.jobs)?,
            artifacts: count("artifacts", self.artifacts)?,
            artifact_bytes: within("artifact_bytes", self.artifact_bytes, 0, MOST_SIZE)?,
            disk: within("disk", self.disk, 0, MOST_SIZE)?,
            cpu_weight: within("cpu_weight", self.cpu_weight, 1, MOST_WEIGHT)?,
            cpu_cap: match cap {
                Change::Set(percent) => Change::Set(whole_percent(percent)?),
                Change::Keep | Change::Remove => Change::Remove,
            },
            ingest_records: rate("ingest_records", self.ingest_records)?,
            ingest_bytes: rate("ingest_bytes", self.ingest_bytes)?,
            grants: grants.transpose()?.map_or(Change::Remove, Change::Set),
            require_signatures: match self.require_signatures {
                Some(true) => Change::Set(true),
                Some(false) | None => Change::Remove,
            },
        })
    }
}

/// A percentage as the file of tenants has it.
fn whole_percent(percent: f64) -> Result<CpuShare, ServiceError> {
    parse_cap(&format!("{percent}%")).map_err(|must| {
        ServiceError::Invalid(format!("`cpu_cap_percent` {must}, as a whole number"))
    })
}
