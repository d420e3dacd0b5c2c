//! Whether something fits into a tenant's quotas: a pure decision over what its
//! jobs hold already. Quotas themselves stand in `config::tenant`.

use std::fmt;

pub use crate::config::tenant::Quotas;
use crate::{config::units::show_size, ids::TenantId};

/// A quota whose use is counted when a job starts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Quota {
    /// `slots`
    Slots,
    /// `jobs`
    Jobs,
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
            Self::Slots => "slots",
            Self::Jobs => "jobs",
            Self::Artifacts => "artifacts",
            Self::ArtifactBytes => "artifact_bytes",
        }
    }

    /// Its option of `cofferdam tenant set`.
    #[must_use]
    pub fn option(self) -> &'static str {
        match self {
            Self::Slots => "--slots",
            Self::Jobs => "--jobs",
            Self::Artifacts => "--artifacts",
            Self::ArtifactBytes => "--artifact-bytes",
        }
    }

    fn limit(self, quotas: &Quotas) -> Option<u64> {
        match self {
            Self::Slots => quotas.slots.map(u64::from),
            Self::Jobs => quotas.jobs.map(u64::from),
            Self::Artifacts => quotas.artifacts.map(u64::from),
            Self::ArtifactBytes => quotas.artifact_bytes,
        }
    }
}

/// So much of what is counted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Amounts {
    /// Slots.
    pub slots: u64,
    /// Jobs.
    pub jobs: u64,
    /// Different artifacts.
    pub artifacts: u64,
    /// Their bytes.
    pub artifact_bytes: u64,
}

impl Amounts {
    fn of(&self, quota: Quota) -> u64 {
        match quota {
            Quota::Slots => self.slots,
            Quota::Jobs => self.jobs,
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
        let (may, what) = match quota {
            Quota::Slots => ("run", counted(*limit, "slot")),
            Quota::Jobs => ("run", counted(*limit, "job")),
            Quota::Artifacts => ("use", counted(*limit, "different artifact")),
            Quota::ArtifactBytes => ("use", format!("{limit} bytes of artifacts")),
        };
        let raise = match quota {
            Quota::ArtifactBytes => show_size(needed),
            Quota::Slots | Quota::Jobs | Quota::Artifacts => needed.to_string(),
        };
        let instead = match quota {
            _ if *held > 0 && asked <= limit => "wait until other jobs of it have ended",
            Quota::Slots => "lower the job's parallelism",
            Quota::Jobs => "run it as another tenant",
            Quota::Artifacts => "use fewer operators",
            Quota::ArtifactBytes => "use smaller operators",
        };
        write!(
            f,
            "tenant `{tenant}` may {may} {what} (quota `{}`), holds {held} and asks for {asked}; \
             {instead}, or raise it with `cofferdam tenant set {tenant} {} {raise}`",
            quota.key(),
            quota.option(),
        )
    }
}

fn counted(n: u64, word: &str) -> String {
    format!("{n} {word}{}", if n == 1 { "" } else { "s" })
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
    for quota in [Quota::Jobs, Quota::Slots, Quota::Artifacts, Quota::ArtifactBytes] {
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
        let quotas = Quotas { slots: Some(4), ..Quotas::default() };
        let held = Amounts { slots: 3, jobs: 1, ..Amounts::default() };
        let asked = Amounts { slots: 2, jobs: 1, ..Amounts::default() };
        let refused = check(&acme(), &quotas, &held, &asked).unwrap_err();
        assert_eq!(
            refused.to_string(),
            "tenant `acme` may run 4 slots (quota `slots`), holds 3 and asks for 2; wait until \
             other jobs of it have ended, or raise it with `cofferdam tenant set acme --slots 5`"
        );
        let asked = Amounts { slots: 9, ..asked };
        let refused = check(&acme(), &quotas, &held, &asked).unwrap_err().to_string();
        assert!(refused.contains("lower the job's parallelism"), "waiting is no help: {refused}");
    }

    #[test]
    fn each_quota_is_told_apart() {
        let quotas = Quotas {
            slots: Some(1),
            jobs: Some(1),
            artifacts: Some(1),
            artifact_bytes: Some(1 << 20),
            ..Quotas::default()
        };
        let none = Amounts::default();
        for (asked, said) in [
            (Amounts { slots: 2, ..none }, "may run 1 slot (quota `slots`), holds 0 and asks"),
            (Amounts { jobs: 2, ..none }, "may run 1 job (quota `jobs`)"),
            (Amounts { artifacts: 2, ..none }, "may use 1 different artifact (quota `artifacts`)"),
            (
                Amounts { artifact_bytes: 3 << 19, ..none },
                "may use 1048576 bytes of artifacts (quota `artifact_bytes`), holds 0 and asks for \
                 1572864; use smaller operators, or raise it with `cofferdam tenant set acme \
                 --artifact-bytes 1536KiB`",
            ),
        ] {
            let refused = check(&acme(), &quotas, &none, &asked).unwrap_err().to_string();
            assert!(refused.contains(said), "`{said}` is not in: {refused}");
        }
        let all = Amounts { slots: 1, jobs: 1, artifacts: 1, artifact_bytes: 1 << 20 };
        assert_eq!(check(&acme(), &quotas, &none, &all), Ok(()));
        assert_eq!(check(&acme(), &quotas, &all, &none), Ok(()), "nothing more is asked for");
        let most = Amounts { slots: u64::MAX, ..none };
        assert!(check(&acme(), &quotas, &all, &most).is_err(), "a sum that overflows");
        assert_eq!(check(&acme(), &Quotas::default(), &most, &all), Ok(()));
    }
}
