//! What a tenant's operators may be granted at most. That an import which is not
//! granted is absent is the `sandbox`'s; here it is decided whether a job file may
//! grant what it says.

use crate::config::{
    OperatorFault,
    job::{Grant, JobSpec},
    tenant::TenantSpec,
};
use crate::ids::TenantId;

/// The grants of a job's operators that its tenant may not give, with the operator
/// of each. A tenant may grant `log`, `config` and `metrics`, and what its
/// `grants` say. The default tenant of whom nothing is said may grant everything:
/// there is nobody else whose job file it could be.
#[must_use]
pub fn refused(tenant: &TenantSpec, job: &JobSpec) -> Vec<OperatorFault> {
    if tenant.name == TenantId::default() && tenant.grants.is_none() {
        return Vec::new();
    }
    let allowed = tenant.grants.as_deref().unwrap_or_default();
    let mut faults = Vec::new();
    for operator in &job.operators {
        let beyond: Vec<Grant> =
            operator.grants.iter().copied().filter(|grant| !covered(*grant, allowed)).collect();
        if !beyond.is_empty() {
            faults.push(OperatorFault {
                operator: operator.name.clone(),
                key: "grants",
                message: explain(tenant, &beyond, allowed),
            });
        }
    }
    faults
}

/// All that a tenant's job files may grant.
#[must_use]
pub fn allowed(tenant: &TenantSpec) -> Vec<Grant> {
    const ALL: [Grant; 9] = [
        Grant::Log,
        Grant::Config,
        Grant::Metrics,
        Grant::Wasi,
        Grant::WasiClocks,
        Grant::WasiRandom,
        Grant::WasiStdio,
        Grant::WasiFilesystem,
        Grant::WasiHttp,
    ];
    if tenant.name == TenantId::default() && tenant.grants.is_none() {
        return ALL.to_vec();
    }
    let own = tenant.grants.as_deref().unwrap_or_default();
    ALL.into_iter().filter(|grant| covered(*grant, own)).collect()
}

/// Whether a grant is among those that are allowed, by itself or as a part.
fn covered(grant: Grant, allowed: &[Grant]) -> bool {
    let has = |grant| allowed.contains(&grant);
    match grant {
        Grant::Log | Grant::Config | Grant::Metrics => true,
        Grant::Wasi => has(grant) || PARTS_OF_WASI.into_iter().all(has),
        grant if PARTS_OF_WASI.contains(&grant) => has(grant) || has(Grant::Wasi),
        grant => has(grant),
    }
}

/// What `wasi` stands for.
const PARTS_OF_WASI: [Grant; 3] = [Grant::WasiClocks, Grant::WasiRandom, Grant::WasiStdio];

fn explain(tenant: &TenantSpec, beyond: &[Grant], allowed: &[Grant]) -> String {
    let list = |grants: &[Grant]| {
        grants.iter().map(|grant| format!("`{}`", grant.word())).collect::<Vec<_>>().join(", ")
    };
    let name = &tenant.name;
    let beyond_the_usual = match allowed {
        [] => "nothing beyond `log`, `config` and `metrics`".to_owned(),
        allowed => format!("{} at most, beside `log`, `config` and `metrics`", list(allowed)),
    };
    let options: Vec<String> =
        allowed.iter().chain(beyond).map(|grant| format!("--grant {}", grant.word())).collect();
    format!(
        "tenant `{name}` may not grant it {}, but {beyond_the_usual}; take it out, or allow it \
         with `cofferdam tenant set {name} {}`",
        list(beyond),
        options.join(" "),
    )
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::config;

    fn faults(tenant: &str, allowed: Option<&[Grant]>, grants: &str) -> Vec<OperatorFault> {
        let job = format!(
            "[job]\nname = 'j'\n[[source]]\nname = 's'\nconnector = 'stdin'\n\
             [[operator]]\nname = 'o'\nartifact = 'filter'\ninput = 's'\n{grants}\n\
             [[sink]]\nname = 't'\ninput = 'o'\nconnector = 'stdout'\n"
        );
        let job = config::parse(&job, Path::new("j.toml"), &[]).unwrap();
        let name = TenantId::new(tenant).unwrap();
        refused(&TenantSpec { grants: allowed.map(<[_]>::to_vec), ..TenantSpec::new(name) }, &job)
    }

    #[test]
    fn a_tenant_may_grant_what_it_was_given_and_the_usual() {
        use Grant::{Wasi, WasiClocks, WasiFilesystem, WasiHttp, WasiRandom, WasiStdio};
        assert_eq!(faults("acme", None, ""), []);
        assert_eq!(faults("acme", Some(&[]), "grants = ['log', 'config']"), []);
        assert_eq!(faults("acme", Some(&[WasiClocks]), "grants = ['wasi-clocks', 'log']"), []);
        assert_eq!(faults("acme", Some(&[Wasi]), "grants = ['wasi-random']"), []);
        let http = "grants = ['wasi-http']\nhttp_hosts = ['a']";
        assert_eq!(faults("acme", Some(&[WasiHttp]), http), []);
        let parts = [WasiClocks, WasiRandom, WasiStdio];
        assert_eq!(faults("acme", Some(&parts), "grants = ['wasi']"), []);
        for (allowed, grants) in [
            (vec![], "grants = ['wasi-clocks']"),
            (vec![WasiClocks], "grants = ['wasi']"),
            (vec![Wasi], "grants = ['wasi-filesystem']"),
            (vec![WasiFilesystem], "grants = ['wasi-clocks']"),
            (vec![Wasi, WasiFilesystem], "grants = ['wasi-http']\nhttp_hosts = ['a']"),
        ] {
            assert_eq!(faults("acme", Some(&allowed), grants).len(), 1, "{allowed:?} {grants}");
        }
    }

    #[test]
    fn the_default_tenant_grants_what_the_job_says_unless_it_is_told_otherwise() {
        assert_eq!(faults("default", None, "grants = ['wasi', 'wasi-filesystem']"), []);
        assert_eq!(faults("default", Some(&[]), "grants = ['wasi']").len(), 1);
    }

    #[test]
    fn a_refusal_names_the_grant_the_operator_and_the_command() {
        let found = faults("acme", Some(&[Grant::WasiClocks]), "grants = ['wasi-random', 'log']");
        assert_eq!((found[0].operator.as_str(), found[0].key), ("o", "grants"));
        assert_eq!(
            found[0].message,
            "tenant `acme` may not grant it `wasi-random`, but `wasi-clocks` at most, beside \
             `log`, `config` and `metrics`; take it out, or allow it with `cofferdam tenant set \
             acme --grant wasi-clocks --grant wasi-random`"
        );
    }
}
