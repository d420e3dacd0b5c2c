//! Looking closer at a job: why it failed, what is kept of its crashes, and what its vertices do.

use std::{fs, io};

use serde::Serialize;
use serde_json::Value;

use super::{Service, access::Caller, error::ServiceError};
use crate::{
    ids::{JobId, OperatorName, VersionName},
    job_manager::{
        capsules::EXTENSION,
        status::{PastFailure, RestartStatus},
    },
    registry::records::{EndedAs, Role},
};

/// Why a job failed.
#[derive(Debug, Clone, Serialize)]
pub struct Exceptions {
    /// Why it ended, if it failed for good.
    pub ended_with: Option<String>,
    /// How often it was restarted since it was started in this process.
    pub restarts: u32,
    /// The last failures, those before a restart of the server too, the latest last.
    pub failures: Vec<PastFailure>,
    /// What is kept of crashes.
    pub capsules: Vec<CapsuleFile>,
}

/// A crash capsule.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct CapsuleFile {
    /// What its file is called.
    pub name: String,
    /// How long it is.
    pub bytes: u64,
    /// Where it can be had.
    pub href: String,
}

impl Service {
    /// Why a job failed. Blocks.
    ///
    /// # Errors
    /// If there is no such job for the caller, or the disk says no.
    pub fn exceptions(&self, caller: &Caller, id: JobId) -> Result<Exceptions, ServiceError> {
        let mut view = self.view(caller, id)?;
        let ended_with = match view.record.ended.as_ref().map(|ended| &ended.outcome) {
            Some(EndedAs::Failed { error }) => Some(error.clone()),
            _ => None,
        };
        let restarts = view.status["restarts"].take();
        let restarts: RestartStatus = serde_json::from_value(restarts).unwrap_or_default();
        Ok(Exceptions {
            ended_with,
            restarts: restarts.count,
            failures: restarts.failures.into(),
            capsules: self.capsules(caller, id)?,
        })
    }

    /// What is kept of the crashes of a job, by name. Blocks.
    ///
    /// # Errors
    /// If there is no such job for the caller, or the disk says no.
    pub fn capsules(&self, caller: &Caller, id: JobId) -> Result<Vec<CapsuleFile>, ServiceError> {
        self.entry(caller, id)?;
        let cannot = ServiceError::disk("looking at crash capsules");
        let entries = match fs::read_dir(self.job_dir(id).join("state/capsules")) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            entries => entries.map_err(&cannot)?,
        };
        let mut capsules = Vec::new();
        for entry in entries {
            let entry = entry.map_err(&cannot)?;
            let Ok(name) = entry.file_name().into_string() else { continue };
            // It may be gone already, for a newer one.
            let Ok(about) = entry.metadata() else { continue };
            if is_capsule(&name) {
                let href = format!("/v1/jobs/{id}/capsules/{name}");
                capsules.push(CapsuleFile { name, bytes: about.len(), href });
            }
        }
        capsules.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(capsules)
    }

    /// The bytes of a crash capsule: it may hold records of the tenant. Blocks.
    ///
    /// # Errors
    /// If the caller may not, there is none of that name for them, or the disk says no.
    pub fn capsule(&self, caller: &Caller, id: JobId, name: &str) -> Result<Vec<u8>, ServiceError> {
        self.entry(caller, id)?;
        caller.require(Role::Author)?;
        let none = || {
            let name: String = name.chars().take(80).collect();
            ServiceError::NotFound(format!("capsule `{name}` of job `{id}`"))
        };
        if !is_capsule(name) {
            return Err(none());
        }
        match fs::read(self.job_dir(id).join("state/capsules").join(name)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Err(none()),
            read => read.map_err(ServiceError::disk("reading a crash capsule")),
        }
    }

    /// What a vertex of a job does.
    ///
    /// # Errors
    /// If there is no such job for the caller, or no such vertex is known of it.
    pub fn vertex(
        &self,
        caller: &Caller,
        id: JobId,
        name: &OperatorName,
    ) -> Result<Value, ServiceError> {
        let found = self.vertices(caller, id, Some(name))?.pop();
        found.ok_or_else(|| ServiceError::NotFound(format!("vertex `{name}` of job `{id}`")))
    }

    /// What the vertices of a job do, as in its status, with the memory of their slots; or one of
    /// them only. None if it has not run yet.
    ///
    /// # Errors
    /// If there is no such job for the caller.
    pub fn vertices(
        &self,
        caller: &Caller,
        id: JobId,
        of: Option<&OperatorName>,
    ) -> Result<Vec<Value>, ServiceError> {
        let mut status = self.view(caller, id)?.status;
        let slots = status.pointer_mut("/memory/slots").map(Value::take).unwrap_or_default();
        let slots = slots.as_array().map(Vec::as_slice).unwrap_or_default();
        let Value::Array(mut vertices) = status["vertices"].take() else {
            return Ok(Vec::new());
        };
        vertices.retain(|vertex| of.is_none_or(|of| vertex["name"] == of.as_str()));
        for vertex in &mut vertices {
            let own = slots.iter().filter(|slot| slot["operator"] == vertex["name"]);
            vertex["slots"] = own.cloned().collect();
        }
        Ok(vertices)
    }
}

/// Whether a file is called as capsules are: nothing else is shown of the directory.
fn is_capsule(name: &str) -> bool {
    let stem = name.strip_suffix(EXTENSION).and_then(|stem| stem.strip_suffix('.'));
    stem.is_some_and(|stem| VersionName::new(stem).is_ok())
}
