//! Artifacts: taken, shown, tagged, found by what a job file calls them, and deleted when no job
//! uses them. A version is never changed: other bytes need another version.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    io::{Read as _, Write as _},
    path::PathBuf,
    sync::{Arc, PoisonError},
};

use sha2::{Digest as _, Sha256};
use tokio::{fs::File, io::AsyncWriteExt as _};

use super::{
    Service,
    access::Caller,
    error::ServiceError,
    places::Place,
    precondition::{Precondition, tag_of_bytes},
};
use crate::{
    ids::{ArtifactDigest, ArtifactName, TenantId, VersionName},
    registry::{
        Changes,
        records::{BuiltIn, Inspection, Role, TagRecord, VersionRecord},
    },
    sandbox::{OperatorKind, componentize::is_core_module, inspect},
    signature::Signature,
    tenancy::grants,
};

/// How many versions a tenant may have, of all its artifacts together: each is a record, however
/// short it is.
const MOST_VERSIONS: usize = 10_000;
/// The tag that a job file means when it names no version.
const LATEST: &str = "latest";

/// An artifact, with all its versions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ArtifactView {
    /// Whose it is.
    pub tenant: TenantId,
    /// What it is called.
    pub name: ArtifactName,
    /// Its versions, the oldest first.
    pub versions: Vec<VersionRecord>,
    /// Where its tags point.
    pub tags: BTreeMap<VersionName, VersionName>,
    /// What it does, in a line, if one of that name comes with the program.
    pub about: Option<String>,
}

impl ArtifactView {
    /// Whether it comes with the program, and the tenant has uploaded none of that name.
    #[must_use]
    pub fn is_built_in(&self) -> bool {
        self.versions.iter().all(|version| version.built_in == BuiltIn::Yes)
    }
}

/// What an upload came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Uploaded {
    /// What is remembered of it.
    pub record: VersionRecord,
    /// Whether it was not there before.
    pub fresh: bool,
}

/// An upload that is under way. Dropping it leaves nothing behind.
#[derive(Debug)]
pub struct Upload {
    service: Arc<Service>,
    caller: Caller,
    key: (TenantId, ArtifactName, VersionName),
    file: File,
    pending: Pending,
    digest: Sha256,
    size: u64,
    signature: Option<Signature>,
    _place: Place,
}

/// A file that is removed unless it has got its name.
#[derive(Debug)]
struct Pending(PathBuf);

impl Drop for Pending {
    fn drop(&mut self) {
        // It is gone if it was given its name.
        let _ = fs::remove_file(&self.0);
    }
}

impl Service {
    /// Begins to take an upload.
    ///
    /// # Errors
    /// If the caller may not upload for the tenant, there is no such tenant, or there are too
    /// many uploads under way.
    pub async fn begin_upload(
        self: &Arc<Self>,
        caller: &Caller,
        tenant: Option<&TenantId>,
        name: ArtifactName,
        version: VersionName,
    ) -> Result<Upload, ServiceError> {
        caller.require(Role::Author)?;
        let tenant = caller.tenant(tenant)?;
        let known = tenant.clone();
        self.blocking(move |service| service.tenant(&known)).await?;
        self.check_disk()?;
        let place = self.blobs.place(&tenant).ok_or_else(|| {
            ServiceError::Busy(format!("too many uploads of tenant `{tenant}` are under way"))
        })?;
        let pending = Pending(self.blobs.pending());
        let file = File::create_new(&pending.0).await.map_err(ServiceError::disk("an upload"))?;
        Ok(Upload {
            service: self.clone(),
            caller: caller.clone(),
            key: (tenant, name, version),
            file,
            pending,
            digest: Sha256::new(),
            size: 0,
            signature: None,
            _place: place,
        })
    }

    /// The artifacts of a tenant. Blocks.
    ///
    /// # Errors
    /// If the tenant is not the caller's.
    pub fn artifacts(
        &self,
        caller: &Caller,
        tenant: Option<&TenantId>,
    ) -> Result<Vec<ArtifactView>, ServiceError> {
        let tenant = caller.tenant(tenant)?;
        self.artifacts_of(&tenant, &[])
    }

    /// One of them. Blocks.
    ///
    /// # Errors
    /// If there is none of that name, for the caller.
    pub fn artifact(
        &self,
        caller: &Caller,
        tenant: Option<&TenantId>,
        name: &ArtifactName,
    ) -> Result<ArtifactView, ServiceError> {
        let tenant = caller.tenant(tenant)?;
        let found = self.artifacts_of(&tenant, &[name.as_str()])?.into_iter().next();
        found.ok_or_else(|| ServiceError::NotFound(format!("artifact `{name}`")))
    }

    /// A version of an artifact, by its name or a tag. Blocks.
    ///
    /// # Errors
    /// If there is none of that name, for the caller.
    pub fn version(
        &self,
        caller: &Caller,
        tenant: Option<&TenantId>,
        name: &ArtifactName,
        version: &VersionName,
    ) -> Result<VersionRecord, ServiceError> {
        let tenant = caller.tenant(tenant)?;
        let found = self.find(&tenant, name, Some(version))?;
        found.ok_or_else(|| no_version(name, version))
    }

    /// What a tenant has uploaded and what comes with the program: that is the oldest version.
    fn artifacts_of(
        &self,
        tenant: &TenantId,
        name: &[&str],
    ) -> Result<Vec<ArtifactView>, ServiceError> {
        let key: Vec<&str> = std::iter::once(tenant.as_str()).chain(name.iter().copied()).collect();
        let mut found: BTreeMap<ArtifactName, ArtifactView> = BTreeMap::new();
        let of_program = self.all_built_in(tenant, name.first().copied())?;
        let uploaded = self.registry.all::<VersionRecord>(&key)?;
        let uploaded = uploaded.into_iter().map(|record| self.uploaded(record));
        for record in of_program.into_iter().chain(uploaded) {
            let empty = || ArtifactView {
                tenant: tenant.clone(),
                name: record.name.clone(),
                versions: Vec::new(),
                tags: BTreeMap::new(),
                about: self.built_in.about(&record.name).map(str::to_owned),
            };
            found.entry(record.name.clone()).or_insert_with(empty).versions.push(record);
        }
        for tag in self.registry.all::<TagRecord>(&key)? {
            if let Some(artifact) = found.get_mut(&tag.name) {
                artifact.tags.insert(tag.tag, tag.version);
            }
        }
        let mut found: Vec<_> = found.into_values().collect();
        for artifact in &mut found {
            let uploaded = |record: &VersionRecord| record.built_in != BuiltIn::Yes;
            artifact.versions.sort_by_key(|record| (uploaded(record), record.uploaded_at));
        }
        Ok(found)
    }

    /// The version that a job file of a tenant means: a version or a tag; without either the tag
    /// `latest`, else what was uploaded last. What comes with the program is asked after what the
    /// tenant has uploaded. Blocks.
    pub(super) fn find(
        &self,
        tenant: &TenantId,
        name: &ArtifactName,
        version: Option<&VersionName>,
    ) -> Result<Option<VersionRecord>, ServiceError> {
        match self.find_uploaded(tenant, name, version)? {
            Some(found) => Ok(Some(self.uploaded(found))),
            None => self.built_in(tenant, name, version),
        }
    }

    fn find_uploaded(
        &self,
        tenant: &TenantId,
        name: &ArtifactName,
        version: Option<&VersionName>,
    ) -> Result<Option<VersionRecord>, ServiceError> {
        let get = |version: &str| -> Result<Option<VersionRecord>, ServiceError> {
            Ok(self.registry.get(&[tenant.as_str(), name.as_str(), version])?)
        };
        let asked = version.map_or(LATEST, VersionName::as_str);
        if let Some(found) = get(asked)? {
            return Ok(Some(found));
        }
        let tag = self.registry.get::<TagRecord>(&[tenant.as_str(), name.as_str(), asked])?;
        if let Some(tag) = tag {
            return get(tag.version.as_str());
        }
        if version.is_some() {
            return Ok(None);
        }
        let all = self.registry.all::<VersionRecord>(&[tenant.as_str(), name.as_str()])?;
        Ok(all.into_iter().max_by_key(|record| record.uploaded_at))
    }

    /// Points a tag to a version. Blocks.
    ///
    /// # Errors
    /// If the caller may not, there is no such version, there is a version of the tag's name, or
    /// the condition does not hold of the version that it points to now.
    pub fn put_tag(
        &self,
        caller: &Caller,
        tenant: Option<&TenantId>,
        record: (&ArtifactName, &VersionName),
        version: &VersionName,
        condition: &Precondition,
    ) -> Result<(TagRecord, ArtifactDigest), ServiceError> {
        caller.require(Role::Author)?;
        let (name, tag) = record;
        let tenant = caller.tenant(tenant)?;
        let _names = self.blobs.names.write().unwrap_or_else(PoisonError::into_inner);
        let get = |version: &VersionName| {
            self.registry.get::<VersionRecord>(&[tenant.as_str(), name.as_str(), version.as_str()])
        };
        let Some(to) = get(version)? else {
            return Err(match self.built_in(&tenant, name, Some(version))? {
                Some(_) => self.not_theirs(name),
                None => no_version(name, version),
            });
        };
        if get(tag)?.is_some() {
            return Err(ServiceError::Conflict(format!(
                "`{name}` has a version `{tag}`: call the tag something else"
            )));
        }
        let before =
            self.registry.get::<TagRecord>(&[tenant.as_str(), name.as_str(), tag.as_str()])?;
        let before = before.map(|before| get(&before.version)).transpose()?.flatten();
        let state = before.map(|before| tag_of_bytes(&before.digest));
        condition.check(&format!("tag `{tag}` of `{name}`"), state.as_deref())?;
        let (name, tag, version) = (name.clone(), tag.clone(), version.clone());
        let record = TagRecord { tenant, name, tag, version };
        self.registry.change(Changes::new().put(&record))?;
        Ok((record, to.digest))
    }

    /// Deletes a version, and the tags that point to it. With `force` also while jobs use it: they
    /// go on, and their bytes are kept for as long. Blocks.
    ///
    /// # Errors
    /// If the caller may not, there is none, the condition does not hold, or jobs use it.
    pub fn delete_version(
        &self,
        caller: &Caller,
        tenant: Option<&TenantId>,
        (name, version): (&ArtifactName, &VersionName),
        force: bool,
        condition: &Precondition,
    ) -> Result<(), ServiceError> {
        caller.require(if force { Role::Operator } else { Role::Author })?;
        let tenant = caller.tenant(tenant)?;
        let _names = self.blobs.names.write().unwrap_or_else(PoisonError::into_inner);
        let key = [tenant.as_str(), name.as_str(), version.as_str()];
        let Some(record) = self.registry.get::<VersionRecord>(&key)? else {
            return Err(match self.built_in(&tenant, name, Some(version))? {
                Some(_) => self.not_theirs(name),
                None => no_version(name, version),
            });
        };
        let state = tag_of_bytes(&record.digest);
        condition.check(&format!("version `{version}` of `{name}`"), Some(&state))?;
        let users = self.jobs.users_of(&tenant, name, version);
        if !users.is_empty() && !force {
            let shown: Vec<_> = users.iter().take(10).map(ToString::to_string).collect();
            return Err(ServiceError::Conflict(format!(
                "`{name}@{version}` is used by jobs ({} of them: {}); cancel or stop them first, or \
                 delete it with `force=true`: they go on, and cannot be started again once they \
                 have ended",
                users.len(),
                shown.join(", ")
            )));
        }
        let tags = self.registry.all::<TagRecord>(&[tenant.as_str(), name.as_str()])?;
        let changes = tags.iter().filter(|tag| tag.version == *version).fold(
            Changes::new().remove::<VersionRecord>(&key),
            |changes, tag| {
                changes.remove::<TagRecord>(&[tenant.as_str(), name.as_str(), tag.tag.as_str()])
            },
        );
        self.registry.change(changes)?;
        self.note_deleted(Some(&tenant))?;
        // Others may have uploaded the same.
        if !self.used_digests()?.contains(&record.digest)
            && let Err(error) = self.blobs.remove(&record.digest)
        {
            tracing::warn!("the bytes of `{name}@{version}` cannot be removed: {error}");
        }
        Ok(())
    }

    /// Notes which jobs run versions that are there no more: of a tenant, or of all. Blocks.
    pub(super) fn note_deleted(&self, tenant: Option<&TenantId>) -> Result<(), ServiceError> {
        let key: Vec<&str> = tenant.into_iter().map(TenantId::as_str).collect();
        let versions = self.registry.all::<VersionRecord>(&key)?;
        let there: BTreeSet<_> = versions
            .iter()
            .map(|record| (&record.tenant, &record.name, &record.version, record.digest))
            .collect();
        self.jobs.note_deleted(tenant, |tenant, pin| {
            pin.built_in || there.contains(&(tenant, &pin.name, &pin.version, pin.digest))
        });
        Ok(())
    }

    /// The bytes that a version, or a job that goes on, needs, and what comes with the program.
    fn used_digests(&self) -> Result<BTreeSet<ArtifactDigest>, ServiceError> {
        let versions = self.registry.all::<VersionRecord>(&[])?;
        let mut used: BTreeSet<_> = versions.into_iter().map(|record| record.digest).collect();
        used.extend(self.jobs.pinned());
        used.extend(self.built_in.digests());
        Ok(used)
    }

    /// Removes bytes that nothing needs: an upload that ended between its bytes and its record.
    pub(super) fn sweep(&self) -> Result<(), ServiceError> {
        let used = self.used_digests()?;
        let found = self.blobs.digests().map_err(ServiceError::disk("looking at the artifacts"))?;
        for digest in found.iter().filter(|digest| !used.contains(digest)) {
            self.blobs.remove(digest).map_err(ServiceError::disk("removing an artifact"))?;
        }
        Ok(())
    }
}

fn no_version(name: &ArtifactName, version: &VersionName) -> ServiceError {
    ServiceError::NotFound(format!("version `{version}` of an artifact `{name}`"))
}

impl Upload {
    /// It comes with a signature, which is looked at when it is [finished](Self::finish).
    pub fn signed(&mut self, signature: Option<Signature>) {
        self.signature = signature;
    }

    /// Takes the next bytes.
    ///
    /// # Errors
    /// If it gets too long, or the disk says no.
    pub async fn write(&mut self, bytes: &[u8]) -> Result<(), ServiceError> {
        self.size += bytes.len() as u64;
        let limit = self.service.spec.max_artifact_of(&self.key.0) as u64;
        if self.size > limit {
            return Err(ServiceError::TooLarge { what: "an artifact", limit });
        }
        self.digest.update(bytes);
        self.file.write_all(bytes).await.map_err(ServiceError::disk("an upload"))
    }

    /// Checks what was uploaded, and keeps it. What is answered then is durable.
    ///
    /// # Errors
    /// If its signature is not right, or missing where the tenant asks for one; if it cannot be
    /// run, its imports are not granted to the tenant, there are other bytes of that version, or
    /// the tenant's quota has no room for it.
    pub async fn finish(mut self) -> Result<Uploaded, ServiceError> {
        let disk = ServiceError::disk("an upload");
        self.file.flush().await.map_err(&disk)?;
        self.file.sync_all().await.map_err(&disk)?;
        let service = self.service.clone();
        let _check = service.checks.acquire().await.map_err(|_| closing())?;
        service.clone().blocking(move |service| self.keep(service)).await
    }

    /// Puts a component in the place of a core module, and says which that was. Blocks.
    fn componentize(&mut self, service: &Service) -> Result<Option<ArtifactDigest>, ServiceError> {
        let disk = ServiceError::disk("an upload");
        let mut head = [0; 8];
        let opened = fs::File::open(&self.pending.0);
        if opened.and_then(|mut file| file.read_exact(&mut head)).is_err() || !is_core_module(&head)
        {
            return Ok(None);
        }
        let bytes = fs::read(&self.pending.0).map_err(&disk)?;
        let made = service.task_manager.sandbox.componentize(&bytes);
        let made = made.map_err(|error| ServiceError::ArtifactRefused(error.to_string()))?;
        let Some(component) = made else { return Ok(None) };
        let pending = Pending(service.blobs.pending());
        let mut file = fs::File::create_new(&pending.0).map_err(&disk)?;
        file.write_all(&component).and_then(|()| file.sync_all()).map_err(&disk)?;
        let of = ArtifactDigest(self.digest.clone().finalize().into());
        (self.pending, self.size) = (pending, component.len() as u64);
        self.digest = Sha256::new_with_prefix(&component);
        Ok(Some(of))
    }

    fn keep(mut self, service: &Service) -> Result<Uploaded, ServiceError> {
        let made_of = self.componentize(service)?;
        let digest = ArtifactDigest(self.digest.clone().finalize().into());
        // What was signed is what was sent.
        let sent = made_of.unwrap_or(digest);
        let (tenant, name, version) = &self.key;
        // Before it is compiled: what is there already need not be.
        if let Some(known) = self.known(service, digest, sent)? {
            return Ok(known);
        }
        if *version == *service.built_in.version()
            && let Some(record) = service.built_in(tenant, name, Some(version))?
        {
            let same = record.digest == digest;
            return if same {
                Ok(Uploaded { record, fresh: false })
            } else {
                Err(service.not_theirs(name))
            };
        }
        let signed = service.signed_by(tenant, &sent, self.signature, None)?;
        let bytes = fs::read(&self.pending.0).map_err(ServiceError::disk("an upload"))?;
        let mut inspection = service.inspect(tenant, &bytes)?;
        inspection.made_of = made_of.map(|digest| format!("sha256-{digest}"));
        let _names = service.blobs.names.write().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = self.known(service, digest, sent)? {
            return Ok(known);
        }
        service.check_storage(tenant, self.size)?;
        let key = [tenant.as_str(), name.as_str(), version.as_str()];
        if service.registry.get::<TagRecord>(&key)?.is_some() {
            return Err(ServiceError::Conflict(format!(
                "`{name}` has a tag `{version}`: call the version something else"
            )));
        }
        let record = VersionRecord {
            tenant: tenant.clone(),
            name: name.clone(),
            version: version.clone(),
            digest,
            size: self.size,
            uploaded_at: service.clock.now_millis(),
            uploaded_by: self.caller.token,
            inspection,
            signed,
            built_in: BuiltIn::No,
        };
        // First the bytes: a record has its bytes, whatever becomes of the power.
        let kept = service.blobs.keep(&self.pending.0, &digest);
        kept.map_err(ServiceError::disk("an upload"))?;
        service.registry.change(Changes::new().put(&record))?;
        service.note_deleted(Some(tenant))?;
        Ok(Uploaded { record: service.uploaded(record), fresh: true })
    }

    /// The version, if it is there with the same bytes.
    fn known(
        &self,
        service: &Service,
        digest: ArtifactDigest,
        sent: ArtifactDigest,
    ) -> Result<Option<Uploaded>, ServiceError> {
        let (tenant, name, version) = &self.key;
        let key = [tenant.as_str(), name.as_str(), version.as_str()];
        match service.registry.get::<VersionRecord>(&key)? {
            None => Ok(None),
            Some(mut record) if record.digest == digest => {
                let signed = service.signed_by(tenant, &sent, self.signature, Some(&record))?;
                // The bytes stay as they are; who answers for them may become known.
                if signed != record.signed {
                    record.signed = signed;
                    service.registry.change(Changes::new().put(&record))?;
                }
                Ok(Some(Uploaded { record: service.uploaded(record), fresh: false }))
            }
            Some(_) => Err(ServiceError::Conflict(format!(
                "there is a version `{version}` of `{name}` with other bytes, and a version is \
                 never changed: upload it as another one"
            ))),
        }
    }
}

fn closing() -> ServiceError {
    ServiceError::Unavailable("the service is ending".to_owned())
}

impl From<inspect::Inspection> for Inspection {
    fn from(found: inspect::Inspection) -> Self {
        let (kind, snapshot, merge) = match found.kind {
            OperatorKind::Processor { snapshot } => ("processor", snapshot, false),
            OperatorKind::Keyed { merge } => ("keyed-processor", false, merge),
        };
        Self {
            contract: found.contract.to_owned(),
            kind: kind.to_owned(),
            exports: found.exports,
            imports: found.imports,
            snapshot,
            merge,
            memory_not_saved_because: found.memory_not_saved_because,
            languages: found.producers.languages,
            processed_by: found.producers.processed_by,
            sdks: found.producers.sdks,
            made_of: None,
        }
    }
}

impl Service {
    /// Whether it can be run, and what it is.
    fn inspect(&self, tenant: &TenantId, bytes: &[u8]) -> Result<Inspection, ServiceError> {
        let refused =
            |error: &dyn std::fmt::Display| ServiceError::ArtifactRefused(error.to_string());
        let grants = grants::allowed(&self.tenant(tenant)?);
        let sandbox = &self.task_manager.sandbox;
        let artifact = sandbox.load(bytes, &grants).map_err(|e| refused(&e))?;
        let found = sandbox.inspect(&artifact, bytes).map_err(|e| refused(&e))?;
        Ok(found.into())
    }

    fn check_storage(&self, tenant: &TenantId, more: u64) -> Result<(), ServiceError> {
        let held = self.registry.all::<VersionRecord>(&[tenant.as_str()])?;
        if held.len() >= MOST_VERSIONS {
            return Err(ServiceError::OverQuota(format!(
                "tenant `{tenant}` has {MOST_VERSIONS} versions of artifacts, and may have no \
                 more: delete some"
            )));
        }
        let bytes: u64 = held.iter().map(|record| record.size).sum();
        let limit = self.spec.max_storage;
        if bytes + more > limit {
            return Err(ServiceError::OverQuota(format!(
                "tenant `{tenant}` keeps {bytes} bytes of artifacts, and may keep {limit}: {more} \
                 more are too many; delete some"
            )));
        }
        Ok(())
    }
}
