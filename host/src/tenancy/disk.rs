//! What the jobs of each tenant keep on disk: their checkpoints, savepoints and posted records,
//! those of jobs included that have ended. Holds figures that others have measured, and decides
//! who may keep more; looks at no disk itself.
//!
//! ```text
//!  0 ─────────────── all that only grows ───────────────▶ 9/10 ── checkpoints ──▶ the quota
//! ```
//!
//! The last tenth is for checkpoints alone: they are what lets posted records be removed, so a
//! tenant that has posted too much must still be able to take one. A checkpoint may use all of the
//! quota; those that end a job are not asked for here.

use std::{
    collections::BTreeMap,
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use crate::{clock::Clock, config::units::show_size, ids::TenantId};

/// What is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kept {
    /// The database of a job's checkpoints.
    Checkpoints,
    /// The files of its savepoints.
    Savepoints,
    /// What was posted to its sources.
    Posted,
}

impl Kept {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Checkpoints, Self::Savepoints, Self::Posted];

    /// In one word.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Checkpoints => "checkpoints",
            Self::Savepoints => "savepoints",
            Self::Posted => "posted",
        }
    }
}

/// What more is wanted for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Claim {
    /// For something that stays until somebody removes it: a savepoint, posted records, a job.
    Growth,
    /// For a checkpoint, after which others are dropped.
    Checkpoint,
}

/// How much of a quota a claim may use, in bytes.
#[must_use]
pub fn share(limit: u64, claim: Claim) -> u64 {
    match claim {
        Claim::Growth => limit - limit / 10,
        Claim::Checkpoint => limit,
    }
}

/// Whether a tenant that keeps so much may keep so much more.
#[must_use]
pub fn fits(limit: Option<u64>, held: u64, more: u64, claim: Claim) -> bool {
    limit.is_none_or(|limit| held.checked_add(more).is_some_and(|sum| sum <= share(limit, claim)))
}

/// The quota does not have what was asked of it. Its `Display` says what to do.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub struct OverDisk {
    /// Whose.
    pub tenant: TenantId,
    /// What it allows, in bytes.
    pub limit: u64,
    /// What the tenant keeps.
    pub held: u64,
    /// What was asked for beyond that.
    pub asked: u64,
    /// For what.
    pub claim: Claim,
}

const NAMED: &str = "(quota `disk`)";

impl fmt::Display for OverDisk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { tenant, limit, held, asked, claim } = self;
        let needed = held.saturating_add(*asked);
        let (last, raised) = match claim {
            Claim::Growth => (", the last tenth of it for checkpoints", needed / 9 * 10 + 10),
            Claim::Checkpoint => ("", needed),
        };
        let raised = ((raised >> 20) + 1) << 20;
        write!(
            f,
            "tenant `{tenant}` may keep {} of checkpoints, savepoints and posted records on disk \
             {NAMED}{last}, keeps {held} bytes, and asks for {asked} more; delete savepoints and \
             jobs that have ended, or raise it with `cofferdam tenant set {tenant} --disk {}`",
            show_size(*limit),
            show_size(raised),
        )
    }
}

/// Whether a reason, in words, is that the quota does not have it.
#[must_use]
pub fn is_over(reason: &str) -> bool {
    reason.contains(NAMED)
}

/// What a tenant keeps, in bytes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct DiskUse {
    /// What it may keep, if that is bounded.
    pub limit: Option<u64>,
    /// Databases of checkpoints.
    pub checkpoints: u64,
    /// Files of savepoints.
    pub savepoints: u64,
    /// What was posted to sources.
    pub posted: u64,
}

impl DiskUse {
    /// All of it.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.checkpoints.saturating_add(self.savepoints).saturating_add(self.posted)
    }

    /// One kind of it.
    #[must_use]
    pub fn of(&self, kept: Kept) -> u64 {
        match kept {
            Kept::Checkpoints => self.checkpoints,
            Kept::Savepoints => self.savepoints,
            Kept::Posted => self.posted,
        }
    }
}

/// What a tenant was refused, for as long as it would be refused again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stuck {
    /// Since when, in milliseconds since 1970.
    pub since: i64,
    /// What, with the figures of now.
    pub over: OverDisk,
}

/// Which job, what, and which part of it.
type Key = (String, Kept, String);

#[derive(Debug, Default)]
struct Inner {
    limit: Option<u64>,
    held: BTreeMap<Key, u64>,
    /// The sum of it.
    sum: u64,
    /// What is about to be written.
    promised: u64,
    refused: Option<Refused>,
}

#[derive(Debug, Clone, Copy)]
struct Refused {
    since: i64,
    asked: u64,
    claim: Claim,
}

impl Inner {
    fn all(&self) -> u64 {
        self.sum.saturating_add(self.promised)
    }

    fn set(&mut self, key: &Key, bytes: u64) {
        let before = match self.held.get_mut(key) {
            Some(held) => std::mem::replace(held, bytes),
            None => self.held.insert(key.clone(), bytes).unwrap_or(0),
        };
        self.sum = self.sum - before + bytes;
    }

    fn take_away(&mut self, which: impl Fn(&Key) -> bool) {
        self.held.retain(|key, bytes| {
            let goes = which(key);
            self.sum -= if goes { *bytes } else { 0 };
            !goes
        });
    }

    fn ask(&mut self, of: &Of, asked: u64, claim: Claim) -> Result<(), OverDisk> {
        if fits(self.limit, self.all(), asked, claim) {
            return Ok(());
        }
        let since = self.stuck(of).map_or_else(|| of.clock.now_millis(), |stuck| stuck.since);
        self.refused = Some(Refused { since, asked, claim });
        let (tenant, held) = (of.tenant.clone(), self.all());
        Err(OverDisk { tenant, limit: self.limit.unwrap_or(u64::MAX), held, asked, claim })
    }

    /// What would be refused again. Of what was much, a twentieth of the quota counts: it is told
    /// until there is room for what is usual.
    fn stuck(&mut self, of: &Of) -> Option<Stuck> {
        let Refused { since, asked, claim } = self.refused?;
        let limit = self.limit.unwrap_or(u64::MAX);
        if fits(self.limit, self.all(), asked.min(limit / 20).max(1), claim) {
            self.refused = None;
            return None;
        }
        let over = OverDisk { tenant: of.tenant.clone(), limit, held: self.all(), asked, claim };
        Some(Stuck { since, over })
    }
}

/// What one tenant keeps.
#[derive(Debug)]
struct Of {
    tenant: TenantId,
    clock: Clock,
    inner: Mutex<Inner>,
}

impl Of {
    /// It is whole at every step, and nothing panics on the way.
    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What all tenants of a TaskManager keep. Clones are the same.
#[derive(Debug, Clone, Default)]
pub struct DiskBook {
    tenants: Arc<Mutex<BTreeMap<TenantId, Arc<Of>>>>,
    clock: Clock,
}

impl DiskBook {
    fn of(&self, tenant: &TenantId) -> Arc<Of> {
        let mut tenants = self.tenants.lock().unwrap_or_else(PoisonError::into_inner);
        let make = || {
            let (tenant, clock) = (tenant.clone(), self.clock.clone());
            Arc::new(Of { tenant, clock, inner: Mutex::default() })
        };
        tenants.entry(tenant.clone()).or_insert_with(make).clone()
    }

    /// Gives a tenant another quota; none for no limit. What it keeps, it keeps.
    pub fn set_limit(&self, tenant: &TenantId, limit: Option<u64>) {
        self.of(tenant).lock().limit = limit;
    }

    /// The account of something that a job keeps; `part` tells it from others of its kind. What
    /// was entered in it before stays.
    #[must_use]
    pub fn account(&self, tenant: &TenantId, job: &str, kept: Kept, part: &str) -> Account {
        Account { of: self.of(tenant), key: (job.to_owned(), kept, part.to_owned()) }
    }

    /// Whether a tenant may keep so much more, without taking it.
    ///
    /// # Errors
    /// If not.
    pub fn check(&self, tenant: &TenantId, more: u64, claim: Claim) -> Result<(), OverDisk> {
        let of = self.of(tenant);
        of.lock().ask(&of, more, claim)
    }

    /// A job keeps nothing any more: nothing of one kind, or nothing at all.
    pub fn forget(&self, tenant: &TenantId, job: &str, kept: Option<Kept>) {
        let goes = |key: &Key| key.0 == job && kept.is_none_or(|kept| key.1 == kept);
        self.of(tenant).lock().take_away(goes);
    }

    /// What a tenant keeps.
    #[must_use]
    pub fn used(&self, tenant: &TenantId) -> DiskUse {
        let of = self.of(tenant);
        let inner = of.lock();
        let mut used = DiskUse { limit: inner.limit, ..DiskUse::default() };
        for ((_, kept, _), bytes) in &inner.held {
            match kept {
                Kept::Checkpoints => used.checkpoints += bytes,
                Kept::Savepoints => used.savepoints += bytes,
                Kept::Posted => used.posted += bytes,
            }
        }
        used
    }

    /// What a tenant was refused, for as long as it would be refused again.
    #[must_use]
    pub fn stuck(&self, tenant: &TenantId) -> Option<Stuck> {
        let of = self.of(tenant);
        let mut inner = of.lock();
        inner.stuck(&of)
    }

    /// The tenants that it knows of, by name.
    #[must_use]
    pub fn tenants(&self) -> Vec<TenantId> {
        let tenants = self.tenants.lock().unwrap_or_else(PoisonError::into_inner);
        tenants.keys().cloned().collect()
    }
}

/// Something that a job keeps. What it keeps stays entered when this is dropped: it is on disk.
#[derive(Debug, Clone)]
pub struct Account {
    of: Arc<Of>,
    key: Key,
}

impl Account {
    /// It keeps so much now, whatever the quota says.
    pub fn holds(&self, bytes: u64) {
        self.of.lock().set(&self.key, bytes);
    }

    /// It is to keep so much in all, and does from now on.
    ///
    /// # Errors
    /// If that is more than before, and the quota does not have it; then nothing is changed.
    pub fn grow(&self, to: u64, claim: Claim) -> Result<(), OverDisk> {
        let mut inner = self.of.lock();
        let more = to.saturating_sub(inner.held.get(&self.key).copied().unwrap_or(0));
        if more > 0 {
            inner.ask(&self.of, more, claim)?;
        }
        inner.set(&self.key, to);
        Ok(())
    }

    /// Holds so much for as long as the answer lives: until what was written is measured.
    ///
    /// # Errors
    /// If the quota does not have it.
    pub fn claim(&self, more: u64, claim: Claim) -> Result<Claimed, OverDisk> {
        let mut inner = self.of.lock();
        inner.ask(&self.of, more, claim)?;
        inner.promised = inner.promised.saturating_add(more);
        Ok(Claimed { of: self.of.clone(), bytes: more })
    }
}

/// What is about to be written.
#[derive(Debug)]
pub struct Claimed {
    of: Arc<Of>,
    bytes: u64,
}

impl Drop for Claimed {
    fn drop(&mut self) {
        let mut inner = self.of.lock();
        inner.promised = inner.promised.saturating_sub(self.bytes);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::clock::ManualClock;

    fn acme() -> TenantId {
        TenantId::new("acme").unwrap()
    }

    #[test]
    fn the_last_tenth_is_for_checkpoints() {
        for (held, more, growth, checkpoint) in [
            (0, 90, true, true),
            (0, 91, false, true),
            (90, 1, false, true),
            (90, 10, false, true),
            (90, 11, false, false),
            (101, 0, false, false),
            (1, u64::MAX, false, false),
        ] {
            assert_eq!(fits(Some(100), held, more, Claim::Growth), growth, "{held} {more}");
            assert_eq!(fits(Some(100), held, more, Claim::Checkpoint), checkpoint, "{held} {more}");
            assert!(fits(None, held, more, Claim::Growth));
        }
        assert!(!fits(Some(0), 0, 1, Claim::Checkpoint));
    }

    #[test]
    fn a_refusal_names_the_quota_the_figures_and_the_command() {
        let book = DiskBook::default();
        book.set_limit(&acme(), Some(10 << 20));
        let posted = book.account(&acme(), "j", Kept::Posted, "in");
        posted.holds(9 << 20);
        let refused = posted.grow((9 << 20) + 1, Claim::Growth).unwrap_err().to_string();
        assert_eq!(
            refused,
            "tenant `acme` may keep 10MiB of checkpoints, savepoints and posted records on disk \
             (quota `disk`), the last tenth of it for checkpoints, keeps 9437184 bytes, and asks \
             for 1 more; delete savepoints and jobs that have ended, or raise it with `cofferdam \
             tenant set acme --disk 11MiB`"
        );
        assert!(is_over(&refused) && !is_over("No space left on device"));
        let claimed = posted.claim(1 << 20, Claim::Checkpoint).unwrap();
        let refused = posted.claim(1, Claim::Checkpoint).unwrap_err().to_string();
        assert!(refused.contains("--disk 11MiB") && !refused.contains("tenth"), "{refused}");
        drop(claimed);
        assert!(posted.claim(1, Claim::Checkpoint).is_ok());
    }

    #[test]
    fn what_was_refused_is_told_until_there_is_room_for_it() {
        let clock = ManualClock::at(1_000);
        let book = DiskBook { clock: Clock::Manual(clock.clone()), ..DiskBook::default() };
        book.set_limit(&acme(), Some(100));
        let saved = book.account(&acme(), "j", Kept::Savepoints, "");
        saved.holds(80);
        assert_eq!(book.stuck(&acme()), None);
        assert!(book.check(&acme(), 11, Claim::Growth).is_err());
        // There is room for a twentieth, and more was asked for.
        assert_eq!(book.stuck(&acme()), None);
        saved.holds(88);
        assert!(book.check(&acme(), 11, Claim::Growth).is_err());
        clock.advance(std::time::Duration::from_secs(1));
        assert!(book.check(&acme(), 4, Claim::Growth).is_err());
        let stuck = book.stuck(&acme()).unwrap();
        assert_eq!((stuck.since, stuck.over.held, stuck.over.asked), (1_000, 88, 4));
        saved.holds(87);
        assert!(book.stuck(&acme()).is_some());
        saved.holds(86);
        assert_eq!(book.stuck(&acme()), None);
        saved.holds(100);
        assert_eq!(book.stuck(&acme()), None, "nobody was refused since");
        assert!(book.check(&acme(), 0, Claim::Growth).is_err());
        book.set_limit(&acme(), None);
        assert_eq!(book.stuck(&acme()), None);
    }

    #[derive(Debug, Clone)]
    enum Step {
        Grow(usize, u64, bool),
        Holds(usize, u64),
        Claim(usize, u64, bool),
        Release,
        Forget(usize),
        Limit(Option<u64>),
    }

    fn steps() -> impl Strategy<Value = Vec<Step>> {
        let (which, bytes) = (0_usize..6, 0_u64..60);
        let step = prop_oneof![
            (which.clone(), bytes.clone(), any::<bool>()).prop_map(|(i, n, c)| Step::Grow(i, n, c)),
            (which.clone(), bytes.clone()).prop_map(|(i, n)| Step::Holds(i, n)),
            (which.clone(), bytes, any::<bool>()).prop_map(|(i, n, c)| Step::Claim(i, n, c)),
            Just(Step::Release),
            (0_usize..2).prop_map(Step::Forget),
            prop::option::of(0_u64..200).prop_map(Step::Limit),
        ];
        prop::collection::vec(step, 1..80)
    }

    proptest! {
        /// Whatever happens: what is let in is within the share, what is refused changes nothing,
        /// and the figures are those of a plain sum.
        #[test]
        fn nothing_is_let_in_beyond_the_quota_and_no_byte_is_lost(steps in steps()) {
            let book = DiskBook::default();
            let jobs = ["a", "b"];
            let accounts: Vec<Account> = (0..6)
                .map(|i| book.account(&acme(), jobs[i % 2], Kept::ALL[i / 2], ""))
                .collect();
            let (mut model, mut claims, mut limit) = ([0_u64; 6], Vec::new(), None);
            let other = TenantId::default();
            for step in steps {
                let claim = |checkpoint| if checkpoint { Claim::Checkpoint } else { Claim::Growth };
                let promised = |claims: &Vec<(Claimed, u64)>| claims.iter().map(|c| c.1).sum::<u64>();
                let held = model.iter().sum::<u64>() + promised(&claims);
                match step {
                    Step::Grow(i, to, c) => {
                        let more = to.saturating_sub(model[i]);
                        let expected = more == 0 || fits(limit, held, more, claim(c));
                        prop_assert_eq!(accounts[i].grow(to, claim(c)).is_ok(), expected);
                        if expected { model[i] = to; }
                    }
                    Step::Holds(i, bytes) => {
                        accounts[i].holds(bytes);
                        model[i] = bytes;
                    }
                    Step::Claim(i, more, c) => {
                        let got = accounts[i].claim(more, claim(c));
                        prop_assert_eq!(got.is_ok(), fits(limit, held, more, claim(c)));
                        claims.extend(got.ok().map(|claimed| (claimed, more)));
                    }
                    Step::Release => drop(claims.pop()),
                    Step::Forget(job) => {
                        book.forget(&acme(), jobs[job], None);
                        (0..6).filter(|i| i % 2 == job).for_each(|i| model[i] = 0);
                    }
                    Step::Limit(to) => {
                        book.set_limit(&acme(), to);
                        limit = to;
                    }
                }
                let used = book.used(&acme());
                prop_assert_eq!(used.total(), model.iter().sum::<u64>());
                for (i, kept) in Kept::ALL.into_iter().enumerate() {
                    prop_assert_eq!(used.of(kept), model[2 * i] + model[2 * i + 1]);
                }
                prop_assert_eq!(book.used(&other).total(), 0);
            }
            let all = model.iter().sum::<u64>();
            claims.clear();
            book.set_limit(&acme(), Some(all));
            prop_assert!(book.check(&acme(), 1, Claim::Checkpoint).is_err());
            prop_assert!(book.check(&acme(), 0, Claim::Checkpoint).is_ok(), "no promise is left");
        }
    }
}
