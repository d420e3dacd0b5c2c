//! What is said when a quota does not have what was asked of it, and the decision
//! for those that are counted here. Quotas themselves stand in `config::tenant`.
//!
//! | quota | where it is held |
//! | --- | --- |
//! | `slots`, `jobs` | the queue for slots (`task_manager/slots`): a job waits |
//! | `cpu_weight`, `cpu_cap` | the gate (`task_manager/gate`): guests are slowed |
//! | `memory`, `state` | the budgets (`memory`): a growth is refused |
//! | `artifacts`, `artifact_bytes` | [`book`](super::book): a job is refused |
//! | `disk` | [`disk`](super::disk): a checkpoint fails, a savepoint or a post is refused |
//! | `ingest_records`, `ingest_bytes` | [`ingest`](super::ingest): sources are slowed |
//! | `grants` | [`grants`](super::grants): a job is refused |

use std::fmt;

pub use crate::config::tenant::Quotas;
use crate::{config::units::show_size, ids::TenantId};

/// A quota that is counted when a job starts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Quota {
    /// `artifacts`
    Artifacts,
    /// `artifact_bytes`
    ArtifactBytes,
}

impl Quota {
    /// Its key in `tenants.toml`.
    #[must_use]
    pub fn key(self) -> &'static str {
        match self {
            Self::Artifacts => "artifacts",
            Self::ArtifactBytes => "artifact_bytes",
        }
    }

    fn limit(self, quotas: &Quotas) -> Option<u64> {
        match self {
            Self::Artifacts => quotas.artifacts.map(u64::from),
            Self::ArtifactBytes => quotas.artifact_bytes,
        }
    }
}

/// So much of what is counted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Amounts {
    /// Different artifacts.
    pub artifacts: u64,
    /// Their bytes.
    pub artifact_bytes: u64,
}

impl Amounts {
    fn of(&self, quota: Quota) -> u64 {
        match quota {
            Quota::Artifacts => self.artifacts,
            Quota::ArtifactBytes => self.artifact_bytes,
        }
    }
}

/// A quota that does not have what was asked of it. Its `Display` says what to do.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub struct OverQuota {
    /// Whose.
    pub tenant: TenantId,
    /// Which.
    pub quota: Quota,
    /// What it allows.
    pub limit: u64,
    /// What the tenant's jobs hold.
    pub held: u64,
    /// What was asked for beyond that.
    pub asked: u64,
}

impl fmt::Display for OverQuota {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { tenant, quota, limit, held, asked } = self;
        let needed = held.saturating_add(*asked);
        let (what, option, raise) = match quota {
            Quota::Artifacts => {
                let plural = if *limit == 1 { "" } else { "s" };
                (format!("{limit} different artifact{plural}"), "--artifacts", needed.to_string())
            }
            Quota::ArtifactBytes => {
                (format!("{limit} bytes of artifacts"), "--artifact-bytes", show_size(needed))
            }
        };
        let instead = match quota {
            _ if *held > 0 && asked <= limit => "wait until other jobs of it have ended",
            Quota::Artifacts => "use fewer operators",
            Quota::ArtifactBytes => "use smaller operators",
        };
        write!(
            f,
            "tenant `{tenant}` may use {what} (quota `{}`), holds {held} and asks for {asked} \
             more; {instead}, or raise it with `cofferdam tenant set {tenant} {option} {raise}`",
            quota.key(),
        )
    }
}

/// Whether a tenant that holds so much may have so much more.
///
/// # Errors
/// The first quota that does not have it. What is not asked for is not refused,
/// also if more is held than a lowered quota allows.
pub fn check(
    tenant: &TenantId,
    quotas: &Quotas,
    held: &Amounts,
    asked: &Amounts,
) -> Result<(), OverQuota> {
    for quota in [Quota::Artifacts, Quota::ArtifactBytes] {
        let (held, asked) = (held.of(quota), asked.of(quota));
        let Some(limit) = quota.limit(quotas) else { continue };
        if asked > 0 && held.checked_add(asked).is_none_or(|sum| sum > limit) {
            return Err(OverQuota { tenant: tenant.clone(), quota, limit, held, asked });
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn acme() -> TenantId {
        TenantId::new("acme").unwrap()
    }

    #[test]
    fn a_refusal_names_the_quota_the_figures_and_the_command() {
        let quotas =
            Quotas { artifacts: Some(4), artifact_bytes: Some(1 << 20), ..Quotas::default() };
        let held = Amounts { artifacts: 3, artifact_bytes: 0 };
        let asked = Amounts { artifacts: 2, ..Amounts::default() };
        assert_eq!(
            check(&acme(), &quotas, &held, &asked).unwrap_err().to_string(),
            "tenant `acme` may use 4 different artifacts (quota `artifacts`), holds 3 and asks for \
             2 more; wait until other jobs of it have ended, or raise it with `cofferdam tenant \
             set acme --artifacts 5`"
        );
        let asked = Amounts { artifact_bytes: 3 << 19, ..Amounts::default() };
        assert_eq!(
            check(&acme(), &quotas, &held, &asked).unwrap_err().to_string(),
            "tenant `acme` may use 1048576 bytes of artifacts (quota `artifact_bytes`), holds 0 \
             and asks for 1572864 more; use smaller operators, or raise it with `cofferdam tenant \
             set acme --artifact-bytes 1536KiB`"
        );
        let all = Amounts { artifacts: 4, artifact_bytes: 1 << 20 };
        let none = Amounts::default();
        assert_eq!(check(&acme(), &quotas, &none, &all), Ok(()));
        assert_eq!(check(&acme(), &quotas, &all, &none), Ok(()), "nothing more is asked for");
        let most = Amounts { artifacts: u64::MAX, ..none };
        assert!(check(&acme(), &quotas, &all, &most).is_err(), "a sum that overflows");
        assert_eq!(check(&acme(), &Quotas::default(), &most, &all), Ok(()));
    }
}
