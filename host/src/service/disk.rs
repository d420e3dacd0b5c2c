//! What tenants keep on disk: measured when the service starts, asked about before more is taken,
//! shown, and told as a condition. What a job that runs writes is measured where it is written;
//! what the quota allows is decided in `tenancy::disk`.

use std::{fs, io, path::Path, sync::Arc};

use serde::Serialize;

use super::{
    Service,
    access::Caller,
    conditions::{Condition, ConditionKind},
    error::ServiceError,
    running::Entry,
};
use crate::{
    checkpoint::sled_store::disk_of,
    ids::{JobId, OperatorName, TenantId},
    intake::{self, Room},
    job_manager::disk::savepoints_of,
    registry::records::JobRecord,
    tenancy::disk::{Account, Claim, DiskUse, Kept},
};

/// What a tenant keeps, in bytes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct TenantDisk {
    /// Whose.
    pub tenant: TenantId,
    /// What it may keep; none for no limit but the disk.
    pub limit: Option<u64>,
    /// All of the following.
    pub used: u64,
    /// Checkpoints.
    pub checkpoints: u64,
    /// Savepoints.
    pub savepoints: u64,
    /// What was posted to sources.
    pub posted: u64,
}

/// The room of the log of a source, which is its tenant's.
#[derive(Debug)]
struct RoomOfPosts(Account);

impl Room for RoomOfPosts {
    fn grow(&self, to: u64) -> Result<(), String> {
        self.0.grow(to, Claim::Growth).map_err(|over| over.to_string())
    }

    fn holds(&self, bytes: u64) {
        self.0.holds(bytes);
    }
}

impl Service {
    fn account(&self, record: &JobRecord, kept: Kept, part: &str) -> Account {
        self.task_manager.disk.account(&record.tenant, &record.id.to_string(), kept, part)
    }

    /// Looks at the directories of all jobs, those too that have ended. Blocks.
    pub(super) fn measure_disks(&self) -> io::Result<()> {
        for Entry { record, .. } in self.jobs.all(|_| true) {
            let dir = self.job_dir(record.id);
            let state = dir.join("state");
            self.account(&record, Kept::Checkpoints, "").holds(disk_of(&state)?);
            self.account(&record, Kept::Savepoints, "").holds(savepoints_of(&state)?);
            for (source, bytes) in logs_in(&dir.join("sources"))? {
                self.account(&record, Kept::Posted, &source).holds(bytes);
            }
        }
        Ok(())
    }

    /// That a tenant may begin something that will keep more.
    pub(super) fn check_room(&self, tenant: &TenantId) -> Result<(), ServiceError> {
        Ok(self.task_manager.disk.check(tenant, 0, Claim::Growth)?)
    }

    /// That there is room for a savepoint, as large as the last checkpoint is. The job asks again
    /// when it knows how large it is.
    pub(super) fn check_room_to_save(&self, entry: &Entry) -> Result<(), ServiceError> {
        let last =
            entry.live.as_ref().and_then(|live| live.status.borrow().checkpoints.last.clone());
        let bytes = last.map_or(0, |last| last.full_bytes);
        Ok(self.task_manager.disk.check(&entry.record.tenant, bytes, Claim::Growth)?)
    }

    /// The room of what is posted to a source.
    pub(super) fn room_of_posts(&self, record: &JobRecord, source: &OperatorName) -> Arc<dyn Room> {
        Arc::new(RoomOfPosts(self.account(record, Kept::Posted, source.as_str())))
    }

    /// Looks at the savepoints of a job, since there is one less. Blocks.
    pub(super) fn measure_savepoints(&self, id: JobId) {
        let Some(Entry { record, .. }) = self.jobs.get(id) else { return };
        match savepoints_of(&self.job_dir(id).join("state")) {
            Ok(bytes) => self.account(&record, Kept::Savepoints, "").holds(bytes),
            Err(error) => tracing::warn!("what savepoints of job {id} take is not known: {error}"),
        }
    }

    /// What a job kept was removed: of one kind, or all of it.
    pub(super) fn kept_no_more(&self, record: &JobRecord, kept: Option<Kept>) {
        self.task_manager.disk.forget(&record.tenant, &record.id.to_string(), kept);
    }

    /// What tenants keep that the caller sees: of one tenant, or of all, by name. Those that keep
    /// nothing and may keep what they like are left out.
    #[must_use]
    pub fn disks(&self, caller: &Caller, of: Option<&TenantId>) -> Vec<TenantDisk> {
        let seen = |tenant: &TenantId| caller.sees(tenant) && of.is_none_or(|of| of == tenant);
        let tenants = self.task_manager.disk.tenants().into_iter().filter(seen);
        let disks = tenants.map(|tenant| {
            let used = self.task_manager.disk.used(&tenant);
            let DiskUse { limit, checkpoints, savepoints, posted } = used;
            TenantDisk { tenant, limit, used: used.total(), checkpoints, savepoints, posted }
        });
        disks.filter(|disk| disk.used > 0 || disk.limit.is_some()).collect()
    }

    /// That a tenant is refused more, if it is.
    pub(super) fn disk_condition(&self, tenant: &TenantId) -> Option<Condition> {
        let stuck = self.task_manager.disk.stuck(tenant)?;
        let (kind, tenant) = (ConditionKind::DiskQuotaExceeded, Some(tenant.clone()));
        let help = "delete savepoints, and jobs that have ended, or have who runs the server raise the \
                    quota; jobs go on, and posts, savepoints, new jobs and checkpoints are taken again \
                    when there is room";
        let (since, message) = (stuck.since, stuck.over.to_string());
        Some(Condition { kind, since, message, help: help.to_owned(), job: None, tenant })
    }

    /// Which of the caller's tenants are refused more.
    pub(super) fn disk_conditions(&self, caller: &Caller) -> Vec<Condition> {
        let tenants = self.task_manager.disk.tenants().into_iter();
        tenants
            .filter(|name| caller.sees(name))
            .filter_map(|name| self.disk_condition(&name))
            .collect()
    }
}

/// The logs of a job's sources, by source, with the bytes of each.
fn logs_in(dir: &Path) -> io::Result<Vec<(String, u64)>> {
    let entries = match fs::read_dir(dir) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        found => found?,
    };
    let mut logs = Vec::new();
    for entry in entries {
        let entry = entry?;
        logs.push((
            entry.file_name().to_string_lossy().into_owned(),
            intake::bytes_in(&entry.path())?,
        ));
    }
    Ok(logs)
}
