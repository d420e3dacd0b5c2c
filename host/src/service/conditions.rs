//! Conditions: what is not as it should be, of the server or of a job, for as long as that is so.
//! The machine is looked at from time to time; what a job's status says is said again here, with
//! what to do about it.

use std::{
    path::Path,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use serde::Serialize;

use super::{Service, access::Caller, error::ServiceError, jobs::JobWord, running::Entry};
use crate::{
    clock::{Clock, Stopwatch},
    config::{server::DiskLimits, units::show_size},
    database::guarded,
    ids::{JobId, TenantId},
    tenancy::disk::is_over,
};

/// How far the clock may go otherwise than time does, from one look to the next.
const JUMP: Duration = Duration::from_secs(2);
/// For how long a jump is told.
const JUMP_TOLD: Duration = Duration::from_secs(15 * 60);
/// How many conditions of jobs an overview tells of.
const MOST_OF_JOBS: usize = 100;

/// What kind of condition.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub enum ConditionKind {
    /// There is not much room left where the server keeps its data.
    DiskLow,
    /// There is next to none; or, of a job, its checkpoints fail for want of room.
    DiskFull,
    /// The machine's clock went otherwise than time does.
    ClockJumped,
    /// A job's checkpoints fail.
    CheckpointsFailing,
    /// A version of an artifact that a job runs was deleted.
    ArtifactDeleted,
    /// A tenant keeps as much on disk as it may, and is refused more; or, of a job, its checkpoints
    /// fail for that.
    DiskQuotaExceeded,
}

impl ConditionKind {
    /// Those of the server.
    pub const OF_SERVER: [Self; 3] = [Self::DiskLow, Self::DiskFull, Self::ClockJumped];

    /// As it is written.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::DiskLow => "DiskLow",
            Self::DiskFull => "DiskFull",
            Self::ClockJumped => "ClockJumped",
            Self::CheckpointsFailing => "CheckpointsFailing",
            Self::ArtifactDeleted => "ArtifactDeleted",
            Self::DiskQuotaExceeded => "DiskQuotaExceeded",
        }
    }
}

/// A condition.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Condition {
    /// What kind.
    #[serde(rename = "type")]
    pub kind: ConditionKind,
    /// Since when, in milliseconds since 1970.
    pub since: i64,
    /// What is so.
    pub message: String,
    /// What to do.
    pub help: String,
    /// The job that it is of; none if it is the server's or a tenant's.
    pub job: Option<JobId>,
    /// Whose job that is, or the tenant that it is of.
    pub tenant: Option<TenantId>,
}

/// The room where the server keeps its data, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Disk {
    /// All of it.
    pub size: u64,
    /// What is free for this user.
    pub free: u64,
}

impl Disk {
    fn of(dir: &Path) -> Option<Self> {
        let found = rustix::fs::statvfs(dir).ok()?;
        let bytes = |blocks: u64| blocks.saturating_mul(found.f_frsize);
        Some(Self { size: bytes(found.f_blocks), free: bytes(found.f_bavail) })
    }
}

/// What the machine says at one moment.
#[derive(Debug, Clone, Copy)]
struct Reading {
    /// Its clock, in milliseconds since 1970.
    wall: i64,
    /// Time that has passed, whatever the clock says.
    passed: Duration,
    disk: Option<Disk>,
}

#[derive(Debug, Clone, Copy)]
struct Jump {
    /// When the clock was seen there, by the clock itself.
    at: i64,
    /// By how many milliseconds it went forward, or back.
    by: i64,
    passed: Duration,
}

/// What is known of the machine.
#[derive(Debug, Default)]
pub(super) struct Watched(Mutex<Inner>);

#[derive(Debug, Default)]
struct Inner {
    last: Option<(i64, Duration)>,
    disk: Option<Disk>,
    low_since: Option<i64>,
    full_since: Option<i64>,
    jump: Option<Jump>,
    jumps: u64,
}

impl Inner {
    /// Takes a reading; says what is so now and was not before, and the other way round.
    fn look(&mut self, limits: &DiskLimits, now: Reading) -> (Vec<Condition>, Vec<ConditionKind>) {
        let before = self.conditions(limits);
        if let Some((wall, passed)) = self.last.replace((now.wall, now.passed)) {
            let passed = i64::try_from(now.passed.saturating_sub(passed).as_millis());
            let by = now.wall.saturating_sub(wall).saturating_sub(passed.unwrap_or(i64::MAX));
            if by.unsigned_abs() > JUMP.as_millis().try_into().unwrap_or(u64::MAX) {
                self.jump = Some(Jump { at: now.wall, by, passed: now.passed });
                self.jumps += 1;
            }
        }
        self.jump = self.jump.filter(|jump| now.passed.saturating_sub(jump.passed) < JUMP_TOLD);
        if let Some(disk) = now.disk {
            self.disk = Some(disk);
            let since = |known: Option<i64>, holds: bool| holds.then(|| known.unwrap_or(now.wall));
            self.low_since = since(self.low_since, disk.free < limits.low_of(disk.size));
            self.full_since = since(self.full_since, disk.free < limits.full_of(disk.size));
        }
        let after = self.conditions(limits);
        let of = |all: &[Condition], kind| all.iter().any(|condition| condition.kind == kind);
        let gone = before.iter().map(|c| c.kind).filter(|kind| !of(&after, *kind)).collect();
        let new = after.into_iter().filter(|condition| !of(&before, condition.kind));
        (new.collect(), gone)
    }

    fn conditions(&self, limits: &DiskLimits) -> Vec<Condition> {
        let mut all = Vec::new();
        let mut say = |kind, since, message, help: &str| {
            let help = help.to_owned();
            all.push(Condition { kind, since, message, help, job: None, tenant: None });
        };
        if let Some(disk) = self.disk {
            let room = |limit: u64| {
                format!(
                    "{} MiB of {} MiB are free where the server keeps its data, less than {}",
                    disk.free >> 20,
                    disk.size >> 20,
                    show_size(limit)
                )
            };
            if let Some(since) = self.full_since {
                let message = format!("{}: uploads are refused", room(limits.full_of(disk.size)));
                say(
                    ConditionKind::DiskFull,
                    since,
                    message,
                    "make room there, or a larger disk: delete jobs that have ended, savepoints and \
                     artifacts that nobody needs; jobs go on, and their checkpoints are tried again",
                );
            } else if let Some(since) = self.low_since {
                say(
                    ConditionKind::DiskLow,
                    since,
                    room(limits.low_of(disk.size)),
                    "make room there before checkpoints fail: delete jobs that have ended, savepoints \
                     and artifacts that nobody needs, or take a larger disk",
                );
            }
        }
        if let Some(Jump { at, by, .. }) = self.jump {
            let way = if by > 0 { "forward" } else { "back" };
            let message = format!(
                "the machine's clock went {way} by {} ms, otherwise than time does",
                by.unsigned_abs()
            );
            say(
                ConditionKind::ClockJumped,
                at,
                message,
                "see that the machine keeps its time by NTP: timers of processing time fired early \
                 or will fire late, and times in logs and usage do not follow each other; event \
                 time, checkpoints and deadlines are not touched",
            );
        }
        all
    }
}

impl Watched {
    /// It is whole at every step, and nothing panics on the way.
    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What of the machine is told as numbers.
#[derive(Debug, Clone, Default)]
pub struct MachineSeen {
    /// The room where the server keeps its data, if that is known.
    pub disk: Option<Disk>,
    /// How often the clock jumped since the server was started.
    pub clock_jumps: u64,
    /// Which conditions of the server hold.
    pub conditions: Vec<ConditionKind>,
}

impl Service {
    /// Looks at the machine again and again, for as long as this is polled.
    pub async fn watch_machine(self: Arc<Self>) {
        loop {
            let service = self.clone();
            let looked = tokio::task::spawn_blocking(move || service.look_at_machine());
            if looked.await.is_err() {
                // The runtime is going down.
                return;
            }
            tokio::time::sleep(self.spec.disk.check_every).await;
        }
    }

    /// Looks once. Blocks.
    pub(super) fn look_at_machine(&self) {
        let (clock, since): (&Clock, &Stopwatch) = (&self.clock, &self.started);
        let disk = Disk::of(&self.dir);
        let now = Reading { wall: clock.now_millis(), passed: since.elapsed(), disk };
        let (new, gone) = self.watched.lock().look(&self.spec.disk, now);
        for Condition { kind, message, help, .. } in new {
            tracing::warn!(condition = kind.word(), "{message}; {help}");
        }
        for kind in gone {
            tracing::info!(condition = kind.word(), "{} is over", kind.word());
        }
    }

    /// That there is room for something large.
    pub(super) fn check_disk(&self) -> Result<(), ServiceError> {
        match self.watched.lock().full_since {
            None => Ok(()),
            Some(_) => Err(ServiceError::DiskFull),
        }
    }

    /// What of the machine is told as numbers.
    pub(super) fn machine_seen(&self) -> MachineSeen {
        let watched = self.watched.lock();
        let conditions = watched.conditions(&self.spec.disk);
        MachineSeen {
            disk: watched.disk,
            clock_jumps: watched.jumps,
            conditions: conditions.iter().map(|condition| condition.kind).collect(),
        }
    }

    /// What is not as it should be: of the server, and of the caller's jobs.
    pub(super) fn conditions(&self, caller: &Caller) -> Vec<Condition> {
        let mut all = self.watched.lock().conditions(&self.spec.disk);
        let jobs = self.jobs.all(|record| caller.sees(&record.tenant));
        let of_jobs = jobs.iter().flat_map(|entry| self.conditions_of(entry));
        all.extend(self.disk_conditions(caller));
        all.extend(of_jobs.take(MOST_OF_JOBS));
        all
    }

    /// What is not as it should be of a job.
    pub(super) fn conditions_of(&self, entry: &Entry) -> Vec<Condition> {
        let record = &entry.record;
        let mut all = Vec::new();
        let mut say = |kind, since, message: &str, help: &str| {
            let (job, tenant) = (Some(record.id), Some(record.tenant.clone()));
            let (message, help) = (self.shown(record, message), help.to_owned());
            all.push(Condition { kind, since, message, help, job, tenant });
        };
        let failing =
            entry.live.as_ref().and_then(|l| l.status.borrow().checkpoints.failing.clone());
        if let Some(failing) = failing {
            let message = format!(
                "{} checkpoints in a row failed; the last one: {}",
                failing.in_a_row, failing.reason
            );
            let (kind, help) = match guarded::is_full(&failing.reason) {
                _ if is_over(&failing.reason) => (
                    ConditionKind::DiskQuotaExceeded,
                    "make room, or have the quota raised; until then a restart of the job goes back to \
                     its last checkpoint",
                ),
                true => (
                    ConditionKind::DiskFull,
                    "make room where the server keeps its data; until then a restart of the job goes \
                     back to its last checkpoint",
                ),
                false => (
                    ConditionKind::CheckpointsFailing,
                    "look at the job's checkpoints and exceptions; until one is completed a restart of \
                     the job goes back to its last one",
                ),
            };
            say(kind, failing.since, &message, help);
        }
        if let Some((operator, version)) = &entry.deleted {
            let message = match JobWord::of(entry) {
                JobWord::Finished | JobWord::Cancelled => return all,
                JobWord::Failed | JobWord::Stopped => format!(
                    "`{version}`, which operator `{operator}` ran, was deleted: the job cannot be \
                     restarted"
                ),
                _ => format!(
                    "`{version}`, which operator `{operator}` runs, was deleted: the job goes on, \
                     after a restart of the server too, and cannot be started again once it has ended"
                ),
            };
            let since = record.ended.as_ref().map_or(record.created_at, |ended| ended.at);
            say(
                ConditionKind::ArtifactDeleted,
                since,
                &message,
                "upload the same bytes as that version again, or submit the job with another one, \
                 from a savepoint of this one",
            );
        }
        all
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: DiskLimits = DiskLimits {
        low: Some(100 << 20),
        full: Some(10 << 20),
        check_every: Duration::from_secs(5),
    };

    fn reading(seconds: u64, wall: i64, free: u64) -> Reading {
        let disk = Some(Disk { size: 1 << 30, free: free << 20 });
        Reading { wall, passed: Duration::from_secs(seconds), disk }
    }

    fn kinds(inner: &Inner) -> Vec<(ConditionKind, i64)> {
        inner.conditions(&LIMITS).iter().map(|c| (c.kind, c.since)).collect()
    }

    #[test]
    fn a_disk_that_fills_up_is_low_then_full_and_then_neither() {
        let mut inner = Inner::default();
        assert_eq!(inner.look(&LIMITS, reading(0, 1_000, 500)).0, []);
        let (new, _) = inner.look(&LIMITS, reading(5, 6_000, 99));
        assert_eq!(new[0].kind, ConditionKind::DiskLow);
        assert!(new[0].message.contains("99 MiB of 1024 MiB"), "{}", new[0].message);
        inner.look(&LIMITS, reading(10, 11_000, 9));
        assert_eq!(kinds(&inner), [(ConditionKind::DiskFull, 11_000)]);
        // It says since when, however often it is looked at.
        assert_eq!(inner.look(&LIMITS, reading(15, 16_000, 8)).0, []);
        assert_eq!(kinds(&inner), [(ConditionKind::DiskFull, 11_000)]);
        let (new, gone) = inner.look(&LIMITS, reading(20, 21_000, 50));
        assert_eq!((new[0].kind, new[0].since), (ConditionKind::DiskLow, 6_000));
        assert_eq!(gone, [ConditionKind::DiskFull]);
        assert_eq!(inner.look(&LIMITS, reading(25, 26_000, 500)).1, [ConditionKind::DiskLow]);
        assert_eq!(kinds(&inner), []);
    }

    #[test]
    fn a_clock_that_jumps_is_told_for_a_while_and_one_that_goes_a_little_wrong_is_not() {
        let mut inner = Inner::default();
        inner.look(&LIMITS, reading(0, 0, 500));
        inner.look(&LIMITS, reading(5, 6_500, 500));
        assert_eq!((kinds(&inner), inner.jumps), (vec![], 0));
        let (new, _) = inner.look(&LIMITS, reading(10, 3_611_500, 500));
        assert!(new[0].message.contains("forward by 3600000 ms"), "{}", new[0].message);
        let (new, _) = inner.look(&LIMITS, reading(15, 16_500, 500));
        assert_eq!((new, inner.jumps), (vec![], 2));
        let said = inner.conditions(&LIMITS);
        assert!(said[0].message.contains("back by 3600000 ms"), "{}", said[0].message);
        assert_eq!(said[0].since, 16_500);
        let later = 15 + JUMP_TOLD.as_secs();
        inner.look(&LIMITS, reading(later, 16_500 + 1_000 * (later as i64 - 15), 500));
        assert_eq!(kinds(&inner), []);
    }

    #[test]
    fn limits_that_nobody_gave_are_a_part_of_a_small_disk() {
        let limits = DiskLimits::default();
        assert_eq!((limits.low_of(1 << 40), limits.full_of(1 << 40)), (1 << 30, 64 << 20));
        assert_eq!((limits.low_of(1_000), limits.full_of(1_000)), (100, 10));
        assert_eq!((LIMITS.low_of(1_000), LIMITS.full_of(1_000)), (100 << 20, 10 << 20));
    }
}
