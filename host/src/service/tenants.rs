//! Tenants, their quotas and what they have used. They are in `tenants.toml`, which people may
//! edit too; jobs that run follow it within a second.

use clap::ValueEnum as _;
use serde_json::Value;

use super::{
    Service,
    access::{Caller, no_tenant},
    error::ServiceError,
    precondition::{Precondition, tag_of_tenant},
    quotas::{May, TenantView},
};
use crate::{
    config::tenant::TenantSpec,
    ids::TenantId,
    registry::{
        Changes as Records,
        records::{TokenRecord, VersionRecord},
    },
    tenancy::{
        registry::RegistryError as TenantsError,
        usage::{
            read,
            summary::{By, Filter, parse_moment, summarise, to_json},
        },
    },
};

/// Which usage is asked for.
#[derive(Debug, Clone, Default)]
pub struct UsageQuery {
    /// Of which tenant.
    pub tenant: Option<TenantId>,
    /// From when on: a time, a date, or how long ago.
    pub since: Option<String>,
    /// Until when.
    pub until: Option<String>,
    /// What makes a row: `tenant` if not given.
    pub by: Option<String>,
}

impl Service {
    /// The tenants that a caller sees, by name. Blocks.
    ///
    /// # Errors
    /// If the file of tenants cannot be read, or has mistakes.
    pub fn tenants(&self, caller: &Caller) -> Result<Vec<TenantSpec>, ServiceError> {
        let listed = self.tenants.load().map_err(refused)?;
        Ok(listed.iter().filter(|tenant| caller.sees(&tenant.name)).cloned().collect())
    }

    /// A tenant. Blocks.
    ///
    /// # Errors
    /// If there is none of that name, for the caller.
    pub fn tenant_of(&self, caller: &Caller, name: &TenantId) -> Result<TenantSpec, ServiceError> {
        if !caller.sees(name) {
            return Err(no_tenant(name));
        }
        self.tenant(name)
    }

    /// Makes a tenant, or changes one; and whether it is a new one. Blocks.
    ///
    /// # Errors
    /// If the caller does not run the server, the condition does not hold, or a quota is none.
    pub fn put_tenant(
        &self,
        caller: &Caller,
        name: &TenantId,
        may: May,
        condition: &Precondition,
    ) -> Result<(TenantSpec, bool), ServiceError> {
        caller.require_server()?;
        let changes = &may.changes()?;
        let what = format!("tenant `{name}`");
        let holds = |now: Option<&TenantSpec>| {
            let tag = now.map(|now| tag_of_tenant(&TenantView::from(now.clone())));
            condition.check(&what, tag.as_deref())
        };
        let listed = self.tenants.load().map_err(refused)?;
        let known = listed.get(name).ok();
        holds(known)?;
        // Looked at again where it is changed: somebody else may be at it.
        let put = match known {
            Some(_) => self.tenants.change_if(name, changes, |now| holds(Some(now)).is_ok()),
            None => self.tenants.create(name, changes),
        };
        Ok((put.map_err(refused)?, known.is_none()))
    }

    /// Deletes a tenant that has no jobs and no artifacts; its tokens are revoked, and what it has
    /// used is kept. Blocks.
    ///
    /// # Errors
    /// If the caller does not run the server, there is none of that name, it is the default one,
    /// the condition does not hold, or it has something.
    pub fn delete_tenant(
        &self,
        caller: &Caller,
        name: &TenantId,
        condition: &Precondition,
    ) -> Result<(), ServiceError> {
        caller.require_server()?;
        let now = TenantView::from(self.tenant(name)?);
        condition.check(&format!("tenant `{name}`"), Some(&tag_of_tenant(&now)))?;
        // Whoever is given the name later is not to find what was another's.
        let jobs = self.jobs.all(|record| record.tenant == *name).len();
        let artifacts = self.registry.all::<VersionRecord>(&[name.as_str()])?.len();
        if jobs + artifacts > 0 {
            return Err(ServiceError::Conflict(format!(
                "tenant `{name}` has {jobs} jobs and {artifacts} versions of artifacts: delete them \
                 first"
            )));
        }
        let now = self.clock.now_millis();
        for token in self.tokens.all() {
            if token.tenant.as_ref() == Some(name) && token.revoked_at.is_none() {
                let token = TokenRecord { revoked_at: Some(now), ..token };
                self.registry.change(Records::new().put(&token))?;
                self.tokens.put(token);
            }
        }
        self.forget_keys(name)?;
        self.tenants.delete(name).map_err(refused)?;
        self.task_manager.disk.set_limit(name, None);
        Ok(())
    }

    /// What tenants have used. Blocks.
    ///
    /// # Errors
    /// If it is another tenant's, a moment or `by` is none, or it cannot be read.
    pub fn usage(&self, caller: &Caller, query: &UsageQuery) -> Result<Value, ServiceError> {
        if let Some(named) = query.tenant.as_ref().filter(|named| !caller.sees(named)) {
            return Err(no_tenant(named));
        }
        let by = query.by.as_deref().map(|by| By::from_str(by, false)).transpose();
        let by = by.map_err(|_| {
            ServiceError::Invalid("`by` must be tenant, job, operator, hour or day".to_owned())
        })?;
        let by = by.unwrap_or_default();
        let now = self.clock.now_millis();
        let moment = |key: &str, text: &Option<String>| {
            let read = text.as_deref().map(|text| parse_moment(text, now)).transpose();
            read.map_err(|must| ServiceError::Invalid(format!("`{key}` {must}")))
        };
        let filter = Filter {
            tenant: query.tenant.clone().or_else(|| caller.tenant.clone()),
            since: moment("since", &query.since)?,
            until: moment("until", &query.until)?,
        };
        let found = read::read(&self.dir).map_err(|(path, error)| {
            tracing::error!("{}: {error}", path.display());
            ServiceError::Unavailable(
                "the usage cannot be read; the server's log says why".to_owned(),
            )
        })?;
        Ok(to_json(&summarise(&found.records, &filter, by), by))
    }
}

fn refused(error: TenantsError) -> ServiceError {
    match error {
        TenantsError::Unknown { name, .. } => no_tenant(&name),
        TenantsError::Exists(_) | TenantsError::Default(_) => {
            ServiceError::Conflict(error.to_string())
        }
        TenantsError::Unexpected(_) => ServiceError::PreconditionFailed(error.to_string()),
        // It says what is wrong with the value.
        TenantsError::ByHand { name, why, .. } => {
            ServiceError::Conflict(format!("tenant `{name}` cannot be changed like that: {why}"))
        }
        TenantsError::Invalid(_) | TenantsError::Io { .. } => {
            tracing::error!("{error}");
            ServiceError::Unavailable(
                "the server's file of tenants cannot be read or written, or has mistakes; its log \
                 says more"
                    .to_owned(),
            )
        }
    }
}
