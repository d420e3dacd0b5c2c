//! The keys that a tenant trusts, and what they mean for artifacts. A signature that is given must be
//! right, whether the tenant asks for one or not; a tenant that asks for signatures takes no upload
//! and starts no new job without them. What a key has signed counts as signed for as long as the
//! tenant has the key.

use std::collections::BTreeMap;

use super::{
    Service,
    access::{Caller, no_tenant},
    error::ServiceError,
};
use crate::{
    ids::{ArtifactDigest, KeyId, TenantId},
    registry::{
        Changes,
        records::{BuiltIn, KeyRecord, Role, SignatureRecord, VersionRecord},
    },
    signature::{PublicKey, Signature},
};

/// How many keys a tenant may have: each may have to be tried.
const MOST: usize = 32;

/// A key that was taken away, and what that means.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RemovedKey {
    /// The key.
    pub key: KeyRecord,
    /// The versions that count as unsigned from now on: `NAME@VERSION`.
    pub unsigned: Vec<String>,
}

/// The keys of a tenant.
#[derive(Debug, Clone, Default)]
pub(super) struct Keyring(BTreeMap<KeyId, KeyRecord>);

impl Keyring {
    /// Whether an artifact is signed by one of these keys.
    pub(super) fn trusts(&self, signed: Option<&SignatureRecord>) -> bool {
        signed.is_some_and(|signed| self.0.contains_key(&signed.key))
    }

    /// Who made a signature.
    ///
    /// # Errors
    /// If none of the keys has.
    fn check(
        &self,
        digest: &ArtifactDigest,
        signature: Signature,
    ) -> Result<SignatureRecord, ServiceError> {
        let made = self.0.values().find(|known| known.key.has_signed(digest, &signature));
        match made {
            Some(known) => {
                let (key, name) = (known.id, known.name.clone());
                Ok(SignatureRecord { key, name, signature })
            }
            None => Err(ServiceError::SignatureRefused(format!(
                "the signature was made for other bytes than sha256-{digest}, or with none of the \
                 tenant's {} keys: sign these bytes, or register the key with `cofferdam tenant \
                 keys add`",
                self.0.len()
            ))),
        }
    }
}

impl Service {
    /// The keys of a tenant, by identifier. Blocks.
    ///
    /// # Errors
    /// If there is no such tenant for the caller.
    pub fn keys(
        &self,
        caller: &Caller,
        tenant: Option<&TenantId>,
    ) -> Result<Vec<KeyRecord>, ServiceError> {
        let tenant = self.whose_keys(caller, tenant)?;
        Ok(self.keyring(&tenant)?.0.into_values().collect())
    }

    fn whose_keys(
        &self,
        caller: &Caller,
        tenant: Option<&TenantId>,
    ) -> Result<TenantId, ServiceError> {
        let tenant = caller.tenant(tenant)?;
        self.tenant(&tenant).map_err(|_| no_tenant(&tenant))?;
        Ok(tenant)
    }

    pub(super) fn keyring(&self, tenant: &TenantId) -> Result<Keyring, ServiceError> {
        let all = self.registry.all::<KeyRecord>(&[tenant.as_str()])?;
        Ok(Keyring(all.into_iter().map(|record| (record.id, record)).collect()))
    }

    /// That a version may run, if its tenant asks for signatures: what comes with the program is as
    /// trusted as that. Blocks.
    ///
    /// # Errors
    /// If it is signed by none of the tenant's keys.
    pub(super) fn check_signed(
        &self,
        tenant: &TenantId,
        version: &VersionRecord,
    ) -> Result<(), ServiceError> {
        if version.built_in == BuiltIn::Yes
            || !self.tenant(tenant)?.require_signatures
            || self.keyring(tenant)?.trusts(version.signed.as_ref())
        {
            return Ok(());
        }
        Err(ServiceError::SignatureRefused(format!(
            "`{}@{}` is not signed by a key of tenant `{tenant}`, which takes signed artifacts only: \
             push the same bytes again with a signature",
            version.name, version.version
        )))
    }

    /// Registers a key; and whether it is a new one. Blocks.
    ///
    /// # Errors
    /// If the caller may not, there is no such tenant for them, or it has too many.
    pub fn add_key(
        &self,
        caller: &Caller,
        tenant: Option<&TenantId>,
        name: &str,
        key: PublicKey,
    ) -> Result<(KeyRecord, bool), ServiceError> {
        let tenant = self.whose_keys(caller, tenant)?;
        caller.require(Role::Admin)?;
        let known = self.keyring(&tenant)?;
        if let Some(known) = known.0.get(&key.id()) {
            return Ok((known.clone(), false));
        }
        if known.0.len() >= MOST {
            return Err(ServiceError::OverQuota(format!(
                "tenant `{tenant}` has {MOST} keys, and may have no more: remove one first"
            )));
        }
        let record = KeyRecord {
            tenant,
            id: key.id(),
            name: name.to_owned(),
            key,
            created_at: self.clock.now_millis(),
            created_by: caller.token,
        };
        self.registry.change(Changes::new().put(&record))?;
        Ok((record, true))
    }

    /// Takes a key away. What it has signed counts as unsigned from now on, unless it is registered
    /// again; jobs that run go on. Blocks.
    ///
    /// # Errors
    /// If the caller may not, or there is none for them.
    pub fn remove_key(
        &self,
        caller: &Caller,
        tenant: Option<&TenantId>,
        id: KeyId,
    ) -> Result<RemovedKey, ServiceError> {
        let tenant = self.whose_keys(caller, tenant)?;
        caller.require(Role::Admin)?;
        let text = id.to_string();
        let key = [tenant.as_str(), text.as_str()];
        let found = self.registry.get::<KeyRecord>(&key)?;
        let found = found.ok_or_else(|| ServiceError::NotFound(format!("key `{id}`")))?;
        let versions = self.registry.all::<VersionRecord>(&[tenant.as_str()])?;
        let of_key = versions.iter().filter(|v| v.signed.as_ref().is_some_and(|s| s.key == id));
        let unsigned = of_key.map(|v| format!("{}@{}", v.name, v.version)).collect();
        self.registry.change(Changes::new().remove::<KeyRecord>(&key))?;
        Ok(RemovedKey { key: found, unsigned })
    }

    /// Takes all keys of a tenant away, who is going.
    pub(super) fn forget_keys(&self, tenant: &TenantId) -> Result<(), ServiceError> {
        let keys = self.registry.all::<KeyRecord>(&[tenant.as_str()])?;
        let changes = keys.iter().fold(Changes::new(), |changes, key| {
            changes.remove::<KeyRecord>(&[tenant.as_str(), &key.id.to_string()])
        });
        Ok(self.registry.change(changes)?)
    }

    /// Who signed an upload. One without a signature is taken, unless the tenant asks for them, or
    /// what is there already was signed.
    ///
    /// # Errors
    /// If the signature is none of these bytes by a key of the tenant, or there must be one.
    pub(super) fn signed_by(
        &self,
        tenant: &TenantId,
        digest: &ArtifactDigest,
        signature: Option<Signature>,
        known: Option<&VersionRecord>,
    ) -> Result<Option<SignatureRecord>, ServiceError> {
        let keys = self.keyring(tenant)?;
        if let Some(signature) = signature {
            return keys.check(digest, signature).map(Some);
        }
        let before = known.and_then(|known| known.signed.clone());
        if !keys.trusts(before.as_ref()) && self.tenant(tenant)?.require_signatures {
            return Err(ServiceError::SignatureRefused(format!(
                "tenant `{tenant}` takes signed artifacts only: sign it with `cofferdam operator \
                 sign`, and push it with its signature"
            )));
        }
        Ok(before)
    }
}
