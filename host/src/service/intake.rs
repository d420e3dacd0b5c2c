//! What is posted to the sources of jobs: who may, which log it goes to, and that it is made of
//! records before anything of it is kept. A log is opened when somebody posts or its job is
//! started, whichever comes first, and takes nothing more once the job has ended.

use std::{
    collections::{BTreeMap, HashMap},
    fmt, fs, io,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use serde::Serialize;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::{
    Service, access::Caller, error::ServiceError, running::no_job, submission::Submission,
};
use crate::{
    config::job::{JobSpec, SourceConnector},
    connectors::http_source::{BadLine, Checker},
    ids::{JobId, OperatorName, TokenId},
    intake::{
        IntakeError, Intakes,
        log::{Limits, Log},
        transfer::transfer,
    },
    registry::records::{Desired, EndedAs, JobRecord},
    tenancy::disk::Kept,
    trace::SpanRef,
};

/// How many idempotency keys of a source are remembered.
const MOST_KEYS: usize = 65_536;
/// The longest idempotency key, in bytes.
pub const LONGEST_KEY: usize = 255;
/// Bodies that are being taken may have so many bytes together, in units of a KiB.
const IN_HAND_KIB: usize = 128 << 10;
/// A body up to this length is looked at where it was read.
const SHORT: usize = 64 << 10;
/// How often a token that posts to a source is in the audit log.
const AUDITED_EVERY: Duration = Duration::from_secs(3_600);
/// So many pairs of token and source are known for that.
const MOST_POSTERS: usize = 10_000;

/// A source that can be posted to.
#[derive(Debug, Clone)]
pub struct Postable {
    log: Arc<Log>,
    checker: Arc<Checker>,
}

/// What was taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Posted {
    /// How many records.
    pub records: u32,
    /// Grows with each request that is taken.
    pub position: u64,
}

/// What a source holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct SourceState {
    /// Bytes on the server's disk.
    pub bytes: u64,
    /// How many there may be.
    pub limit: u64,
    /// The `position` of what was taken last.
    pub position: u64,
    /// Whether it was ended.
    pub ended: bool,
}

/// The logs of jobs that were opened.
pub(super) struct Posts {
    jobs: Mutex<HashMap<JobId, Arc<Mutex<Option<OfJob>>>>>,
    in_hand: Arc<Semaphore>,
    posters: Mutex<HashMap<(Option<TokenId>, String), i64>>,
}

#[derive(Clone)]
struct OfJob {
    logs: Intakes,
    sources: Arc<BTreeMap<OperatorName, Postable>>,
}

impl fmt::Debug for Posts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Posts").finish_non_exhaustive()
    }
}

impl Posts {
    pub(super) fn new() -> Self {
        let in_hand = Arc::new(Semaphore::new(IN_HAND_KIB));
        Self { jobs: Mutex::default(), in_hand, posters: Mutex::default() }
    }

    fn of(&self, id: JobId) -> Arc<Mutex<Option<OfJob>>> {
        lock(&self.jobs).entry(id).or_default().clone()
    }
}

fn lock<T>(of: &Mutex<T>) -> MutexGuard<'_, T> {
    of.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Service {
    /// A source that can be posted to.
    ///
    /// # Errors
    /// If the caller may not, there is no such source of a job for them, or the job has ended.
    pub async fn postable(
        self: &Arc<Self>,
        caller: &Caller,
        id: JobId,
        name: &OperatorName,
    ) -> Result<Postable, ServiceError> {
        let record = self.entry(caller, id)?.record;
        caller.require_post()?;
        check_open(&record)?;
        self.find_source(id, name).await
    }

    /// What a source holds.
    ///
    /// # Errors
    /// If there is no such source of a job for the caller, or the job has ended.
    pub async fn source_state(
        self: &Arc<Self>,
        caller: &Caller,
        id: JobId,
        name: &OperatorName,
    ) -> Result<SourceState, ServiceError> {
        check_open(&self.entry(caller, id)?.record)?;
        let held = self.find_source(id, name).await?.log.held();
        let (bytes, limit, position, ended) = (held.bytes, held.limit, held.position, held.ended);
        Ok(SourceState { bytes, limit, position, ended })
    }

    async fn find_source(
        self: &Arc<Self>,
        id: JobId,
        name: &OperatorName,
    ) -> Result<Postable, ServiceError> {
        // A lock that is held is held by somebody who reads files.
        let open = self.posts.of(id).try_lock().ok().and_then(|open| open.clone());
        let open = match open {
            Some(open) => open,
            None => self.blocking(move |service| service.open_posts(id, None)).await?,
        };
        open.sources.get(name).cloned().ok_or_else(|| {
            let what = format!("source `{name}` of job `{id}` that takes what is posted");
            ServiceError::NotFound(what)
        })
    }

    /// Room for a body of so many bytes, until it is dropped.
    ///
    /// # Errors
    /// If there are too many in hand.
    pub fn hold(&self, bytes: usize) -> Result<OwnedSemaphorePermit, ServiceError> {
        let kib = u32::try_from(bytes.div_ceil(1 << 10).clamp(1, IN_HAND_KIB)).unwrap_or(u32::MAX);
        self.posts.in_hand.clone().try_acquire_many_owned(kib).map_err(|_| {
            ServiceError::Busy("too much is being posted to the server at once".to_owned())
        })
    }

    /// The longest body that can be posted at once.
    #[must_use]
    pub fn longest_post(&self) -> usize {
        // One that fills the log would never fit behind another.
        self.spec.max_post.min(usize::try_from(self.spec.max_log / 2).unwrap_or(usize::MAX))
    }

    /// Takes records: when this returns they are durable.
    ///
    /// # Errors
    /// If a line is no record, there is no room, or the key was used for something else; then
    /// nothing of it is taken.
    pub async fn post(
        self: &Arc<Self>,
        to: Postable,
        key: Option<String>,
        body: Vec<u8>,
        traced: Option<SpanRef>,
    ) -> Result<Posted, ServiceError> {
        let records = if body.len() <= SHORT {
            to.checker.check(&body).map(|records| (records, body))
        } else {
            let checker = to.checker.clone();
            self.blocking(move |_| Ok(checker.check(&body).map(|records| (records, body)))).await?
        };
        let (records, body) = records.map_err(ServiceError::BadRecords)?;
        if records == 0 {
            return Err(ServiceError::Invalid("the body has no records".to_owned()));
        }
        let taken = to.log.append_traced(&body, records, key.as_deref(), traced).await;
        let taken = taken.map_err(refused)?;
        Ok(Posted { records: taken.records, position: taken.position })
    }

    /// Says that no more will be posted: the source ends when it has read what there is.
    ///
    /// # Errors
    /// If that cannot be written down.
    pub async fn end_source(&self, to: &Postable) -> Result<Posted, ServiceError> {
        let taken = to.log.end().await.map_err(refused)?;
        Ok(Posted { records: taken.records, position: taken.position })
    }

    /// The logs of a job that is being started. Blocks.
    pub(super) fn intakes_of(&self, id: JobId, spec: &JobSpec) -> Result<Intakes, ServiceError> {
        Ok(self.open_posts(id, Some(spec))?.logs)
    }

    /// Blocks.
    fn open_posts(&self, id: JobId, spec: Option<&JobSpec>) -> Result<OfJob, ServiceError> {
        let own = self.posts.of(id);
        let mut open = lock(&own);
        if let Some(open) = &*open {
            return Ok(open.clone());
        }
        let record = self.jobs.get(id).ok_or_else(|| no_job(id))?.record;
        // It may have ended since somebody looked.
        check_open(&record)?;
        let of_job = match spec {
            Some(spec) => self.open_logs(&record, spec)?,
            None => {
                let submission = Submission::new(record.file.clone(), &record.overrides)?;
                self.open_logs(&record, &self.read(&record.tenant, &submission)?)?
            }
        };
        Ok(open.insert(of_job).clone())
    }

    fn open_logs(&self, record: &JobRecord, spec: &JobSpec) -> Result<OfJob, ServiceError> {
        let limits =
            Limits { bytes: self.spec.max_log, window: self.spec.key_window, keys: MOST_KEYS };
        let (mut logs, mut sources) = (BTreeMap::new(), BTreeMap::new());
        for source in &spec.sources {
            let SourceConnector::Http(http) = &source.connector else { continue };
            let dir = |id| self.job_dir(id).join("sources").join(source.name.as_str());
            if let Some(from) = &record.from_savepoint
                && !self.has_state(record.id)
            {
                transfer(&dir(from.job), &dir(record.id)).map_err(refused)?;
            }
            let room = self.room_of_posts(record, &source.name);
            let log = Log::within(&dir(record.id), limits, self.clock.clone(), room);
            let log = log.map_err(refused)?;
            let checker = Arc::new(Checker::new(http));
            sources.insert(source.name.clone(), Postable { log: log.clone(), checker });
            logs.insert(source.name.clone(), log);
        }
        Ok(OfJob { logs: Intakes::new(logs), sources: Arc::new(sources) })
    }

    /// Has the logs of a job take nothing more, since it has ended. Blocks.
    pub(super) fn close_posts(&self, id: JobId) {
        let own = self.posts.of(id);
        if let Some(open) = &*lock(&own) {
            open.logs.iter().for_each(|(_, log)| log.close());
        }
    }

    /// Forgets the logs of a job whose end is written down, or which was not one.
    pub(super) fn forget_posts(&self, id: JobId) {
        lock(&self.posts.jobs).remove(&id);
    }

    /// Removes what was posted to a job that cannot go on any more, nor another one from it.
    /// Blocks.
    pub(super) fn remove_posts(&self, record: &JobRecord) {
        let ended = record.ended.as_ref().map(|ended| &ended.outcome);
        if !matches!(ended, Some(EndedAs::Finished | EndedAs::Cancelled)) {
            return;
        }
        let mut savepoints = fs::read_dir(self.savepoints_of(record.id)).into_iter().flatten();
        if savepoints.next().is_some() {
            return;
        }
        match fs::remove_dir_all(self.job_dir(record.id).join("sources")) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                tracing::warn!("what was posted to job {} stays: {error}", record.id);
            }
            _ => self.kept_no_more(record, Some(Kept::Posted)),
        }
    }

    /// Whether a call that posts records is to be in the audit log: the first one of a token to a
    /// source, and then one an hour. All of them would be nothing but that.
    #[must_use]
    pub fn is_audited(&self, caller: &Caller, path: &str) -> bool {
        if !is_post_of_records(path) {
            return true;
        }
        let every = i64::try_from(AUDITED_EVERY.as_millis()).unwrap_or(i64::MAX);
        let now = self.clock.now_millis();
        let mut posters = lock(&self.posts.posters);
        if posters.len() >= MOST_POSTERS {
            posters.retain(|_, at| now.saturating_sub(*at) < every);
        }
        if posters.len() >= MOST_POSTERS {
            posters.clear();
        }
        let key = (caller.token, path.to_owned());
        match posters.get(&key) {
            Some(at) if (0..every).contains(&now.saturating_sub(*at)) => false,
            _ => {
                posters.insert(key, now);
                true
            }
        }
    }
}

/// `/v1/jobs/{id}/sources/{name}`, of something that can be one.
pub(super) fn is_post_of_records(path: &str) -> bool {
    let parts: Vec<&str> = path.split('/').collect();
    match parts[..] {
        ["", "v1", "jobs", id, "sources", name] => {
            id.parse::<JobId>().is_ok() && OperatorName::new(name).is_ok()
        }
        _ => false,
    }
}

/// That a job has not ended, and is not to.
fn check_open(record: &JobRecord) -> Result<(), ServiceError> {
    let id = record.id;
    match (&record.ended, record.desired) {
        (None, Desired::Cancelled) => {
            Err(ServiceError::Conflict(format!("job `{id}` is being cancelled")))
        }
        (Some(_), _) => Err(ServiceError::Conflict(format!("job `{id}` has ended"))),
        _ => Ok(()),
    }
}

fn refused(error: IntakeError) -> ServiceError {
    match error {
        IntakeError::Full { .. } => ServiceError::Full(format!(
            "the source is full: {error}; what is read is removed after the job's next checkpoint"
        )),
        IntakeError::NoRoom(why) => ServiceError::DiskQuota(why),
        IntakeError::Ended | IntakeError::Closed => ServiceError::Conflict(error.to_string()),
        IntakeError::OtherBody => ServiceError::KeyReused(error.to_string()),
        IntakeError::Disk { full: true, .. } => ServiceError::DiskFull,
        IntakeError::Disk { .. } | IntakeError::Damaged { .. } => {
            tracing::error!("what is posted cannot be kept: {error}");
            ServiceError::Unavailable(
                "what is posted cannot be kept at the moment; the server's log says why".to_owned(),
            )
        }
    }
}

/// Bad lines, in words.
pub(super) fn describe(bad: &[BadLine]) -> String {
    match bad {
        [] => "a line is no record".to_owned(),
        [one] => format!("line {}: {}; nothing of the request was taken", one.line, one.reason),
        [first, ..] => format!(
            "{} lines cannot be taken, so nothing of the request was; the first is line {}: {}",
            bad.len(),
            first.line,
            first.reason
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_posts_of_records_are_not_audited_one_by_one() {
        let id = "ab".repeat(16);
        assert!(is_post_of_records(&format!("/v1/jobs/{id}/sources/in")));
        for other in [
            format!("/v1/jobs/{id}/sources/in/end"),
            format!("/v1/jobs/{id}/sources/"),
            format!("/v1/jobs/{id}/cancel"),
            "/v1/jobs/x/sources/in".to_owned(),
        ] {
            assert!(!is_post_of_records(&other), "{other}");
        }
    }
}
