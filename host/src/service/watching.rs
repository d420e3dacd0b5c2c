//! Looking on while a job runs: the lines that its operators log, and samples of what they put
//! out. Both are in memory, bounded, and gone when the service is.

use super::{Service, access::Caller, error::ServiceError};
use crate::{
    ids::{JobId, OperatorName},
    registry::records::Role,
    watching::{log_book::LogBook, tap::Watcher},
};

/// How many may look on at jobs of a tenant at once.
pub(super) const MOST: usize = 64;

impl Service {
    /// What the operators of a job have logged, and will.
    ///
    /// # Errors
    /// If there is no such job for the caller.
    pub fn log_book(&self, caller: &Caller, id: JobId) -> Result<LogBook, ServiceError> {
        Ok(self.entry(caller, id)?.watching.book)
    }

    /// Samples of what a vertex of a job puts out, from now on: records of the tenant.
    ///
    /// # Errors
    /// If the caller may not, there is no such vertex of a job for them, or the job does not run.
    pub fn watch(
        &self,
        caller: &Caller,
        id: JobId,
        vertex: &OperatorName,
    ) -> Result<Watcher, ServiceError> {
        let entry = self.entry(caller, id)?;
        caller.require(Role::Author)?;
        let vertices = entry.record.plan["vertices"].as_array().map(Vec::as_slice);
        let known = vertices.unwrap_or_default().iter().any(|v| v["name"] == vertex.as_str());
        if !known {
            return Err(ServiceError::NotFound(format!("vertex `{vertex}` of job `{id}`")));
        }
        let ended = || ServiceError::Conflict(format!("job `{id}` has ended"));
        if entry.record.ended.is_some() {
            return Err(ended());
        }
        entry.watching.taps.of(vertex).watch().ok_or_else(ended)
    }

    /// A place for somebody who looks on at a job, until it is dropped.
    ///
    /// # Errors
    /// If there is no such job for the caller, or there are too many already.
    pub fn take_place(
        &self,
        caller: &Caller,
        id: JobId,
    ) -> Result<impl Send + use<>, ServiceError> {
        let record = self.entry(caller, id)?.record;
        self.looking_on.take(&record.tenant).ok_or_else(|| {
            ServiceError::Busy(format!(
                "{MOST} look on at jobs of tenant `{}` already: logs that are followed, and tails",
                record.tenant
            ))
        })
    }
}
