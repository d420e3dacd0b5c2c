//! Who runs next: a pure decision over who wants to run, for whom, and how long
//! they have run. No clock, no thread, no waker; times are nanoseconds that the
//! caller gives.
//!
//! Tenants share by *virtual time*: what a tenant's runners ran, divided by its weight.
//! Whoever's next turn will end at the least virtual time goes first (weighted fair
//! queueing: Demers, Keshav and Shenker, 1989), so in the long run those that always want
//! to run get time in proportion to their weights. How long a turn will be is not known,
//! and is taken to be as long as its turns were of late. Within a tenant the higher priority
//! goes first, and among equals the same rule holds.
//!
//! - **Short turns go before long ones.** Beside a hundred tenants that take a whole epoch
//!   whenever it is their turn, one that takes a tenth of that waits for one turn to end, not for
//!   all of theirs, as long as it stays below its share.
//! - **No credit for sleeping.** Whoever begins to want again is set to the virtual time
//!   of the last turn that was granted, if its own is behind that. Whoever always wants
//!   but cannot use its share (one runner, and a weight worth two cores) stays behind by
//!   [`MOST_BEHIND`] at most.
//! - **No starvation.** Virtual time lets no tenant starve. Below a busy higher
//!   priority, whoever has waited for [`PATIENCE`] gets a turn, though only one such turn
//!   is granted in [`RELIEF`]: a job whose barriers never move could neither be
//!   checkpointed nor stopped.

use std::{cmp::Reverse, collections::BTreeSet};

/// How long somebody may wait behind higher priorities.
pub const PATIENCE: u64 = 1_000_000_000;
/// How far apart turns are that are granted because of [`PATIENCE`] alone.
pub const RELIEF: u64 = 100_000_000;
/// How far behind in virtual time a tenant may stay, as time of the tenant with the
/// least weight.
pub const MOST_BEHIND: u64 = 100_000_000;
/// The greatest weight. The least is 1.
pub const MOST_WEIGHT: u32 = 10_000;

/// What goes first.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Policy {
    /// Tenants' shares; priorities within a tenant.
    #[default]
    Fair,
    /// Priorities, whosever they are; tenants' shares among equals.
    Priority,
}

/// Somebody who runs now and then.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Runner(pub usize);

/// A tenant, by the order in which they were added.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Tenant(pub usize);

/// Nanoseconds, times [`MOST_WEIGHT`], divided by a weight.
type Virtual = u128;

/// How long a turn is taken to be of whoever had none yet: 1 ms, for a weight of 1.
const FIRST_GUESS: Virtual = 1_000_000 * MOST_WEIGHT as Virtual;

#[derive(Debug)]
struct Share {
    weight: u32,
    time: Virtual,
    /// How long its turns were of late, as virtual time.
    turn: Virtual,
    /// Its runners' virtual time, of weight 1 each, at the last turn granted.
    now: Virtual,
    /// Who waits, the first to go first: by priority and by when its turn will end.
    waiting: BTreeSet<(Reverse<i32>, Virtual, Runner)>,
    /// Who waits, the longest first.
    oldest: BTreeSet<(u64, Runner)>,
    running: usize,
    members: usize,
    /// When a turn was last granted because of patience.
    relieved: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Idle,
    Waiting { since: u64 },
    Running,
}

#[derive(Debug)]
struct Member {
    tenant: Tenant,
    priority: i32,
    time: Virtual,
    /// As for a tenant.
    turn: Virtual,
    state: State,
}

/// The state of the decision.
#[derive(Debug)]
pub struct Shares {
    policy: Policy,
    /// How many more may run now.
    free: usize,
    waiting: usize,
    /// Virtual time of the last turn granted.
    now: Virtual,
    relieved: u64,
    tenants: Vec<Share>,
    members: Vec<Option<Member>>,
    vacant: Vec<usize>,
}

impl Shares {
    /// So many may run at once.
    #[must_use]
    pub fn new(policy: Policy, permits: usize) -> Self {
        Self {
            policy,
            free: permits,
            waiting: 0,
            now: 0,
            relieved: 0,
            tenants: Vec::new(),
            members: Vec::new(),
            vacant: Vec::new(),
        }
    }

    /// A tenant, with a weight of 1 to [`MOST_WEIGHT`].
    pub fn add_tenant(&mut self, weight: u32) -> Tenant {
        self.tenants.push(Share {
            weight: weight.clamp(1, MOST_WEIGHT),
            time: 0,
            turn: FIRST_GUESS / Virtual::from(weight.clamp(1, MOST_WEIGHT)),
            now: 0,
            waiting: BTreeSet::new(),
            oldest: BTreeSet::new(),
            running: 0,
            members: 0,
            relieved: 0,
        });
        Tenant(self.tenants.len() - 1)
    }

    /// Gives a tenant another weight, from now on.
    pub fn set_weight(&mut self, tenant: Tenant, weight: u32) {
        self.tenants[tenant.0].weight = weight.clamp(1, MOST_WEIGHT);
    }

    /// Somebody who will want to run, of a tenant. A higher priority goes first.
    pub fn join(&mut self, tenant: Tenant, priority: i32) -> Runner {
        self.tenants[tenant.0].members += 1;
        let member = Member { tenant, priority, time: 0, turn: FIRST_GUESS, state: State::Idle };
        if let Some(index) = self.vacant.pop() {
            self.members[index] = Some(member);
            return Runner(index);
        }
        self.members.push(Some(member));
        Runner(self.members.len() - 1)
    }

    /// Somebody goes, whatever it was doing; it ran for so long in its last turn, if
    /// it had one. A permit may be free afterwards: ask for the [`next`](Self::next).
    pub fn part(&mut self, runner: Runner, ran: u64) {
        self.end(runner, ran);
        if let Some(member) = self.members[runner.0].take() {
            self.tenants[member.tenant.0].members -= 1;
            self.vacant.push(runner.0);
        }
    }

    /// How many more may run now.
    #[must_use]
    pub fn free(&self) -> usize {
        self.free
    }

    /// How many wait.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.waiting
    }

    /// Whether it may run now.
    #[must_use]
    pub fn runs(&self, runner: Runner) -> bool {
        self.members[runner.0].as_ref().is_some_and(|m| m.state == State::Running)
    }

    /// Somebody wants to run. If it may at once, the answer is true; otherwise it
    /// waits.
    pub fn want(&mut self, runner: Runner, now: u64) -> bool {
        let Some(member) = &mut self.members[runner.0] else { return false };
        if member.state != State::Idle {
            return member.state == State::Running;
        }
        let share = &mut self.tenants[member.tenant.0];
        if share.running == 0 && share.waiting.is_empty() {
            share.time = share.time.max(self.now);
        }
        member.time = member.time.max(share.now);
        if self.free > 0 && self.waiting == 0 {
            self.grant(runner);
            return true;
        }
        self.enqueue(runner, now);
        false
    }

    /// A turn has ended after so long, and its runner wants nothing for now.
    pub fn rest(&mut self, runner: Runner, ran: u64) {
        self.end(runner, ran);
    }

    /// A turn has ended after so long, and its runner wants another one.
    pub fn yields(&mut self, runner: Runner, ran: u64, now: u64) {
        self.end(runner, ran);
        self.enqueue(runner, now);
    }

    /// Grants a turn to whoever is next, if there is a permit and somebody waits.
    pub fn next(&mut self, now: u64) -> Option<Runner> {
        if self.free == 0 || self.waiting == 0 {
            return None;
        }
        let runner = match self.policy {
            Policy::Fair => {
                let (_, tenant) = self.least(|_| true)?;
                let relief = self.overdue(tenant, self.tenants[tenant].relieved, now);
                if relief.is_some() {
                    self.tenants[tenant].relieved = now;
                }
                relief.or_else(|| self.first(tenant))
            }
            Policy::Priority => {
                let oldest = |t: &Share| t.oldest.first().map(|(since, _)| *since);
                let longest = (0..self.tenants.len())
                    .filter_map(|t| Some((oldest(&self.tenants[t])?, t)))
                    .min();
                let relief = longest.and_then(|(_, t)| self.overdue(t, self.relieved, now));
                if relief.is_some() {
                    self.relieved = now;
                }
                relief.or_else(|| {
                    let top = |t: &Share| t.waiting.first().map(|(priority, ..)| *priority);
                    let highest = self.tenants.iter().filter_map(top).min();
                    let (_, tenant) = self.least(|t| top(t) == highest)?;
                    self.first(tenant)
                })
            }
        }?;
        self.dequeue(runner);
        self.grant(runner);
        Some(runner)
    }

    /// The tenant whose turn will end first of those that wait and are wanted.
    fn least(&self, wanted: impl Fn(&Share) -> bool) -> Option<(Virtual, usize)> {
        let waiting = self.tenants.iter().enumerate().filter(|(_, t)| !t.waiting.is_empty());
        waiting.filter(|(_, t)| wanted(t)).map(|(i, t)| (t.time + t.turn, i)).min()
    }

    fn first(&self, tenant: usize) -> Option<Runner> {
        self.tenants[tenant].waiting.first().map(|(_, _, runner)| *runner)
    }

    /// Who of a tenant has waited too long, if it is time again to heed that.
    fn overdue(&self, tenant: usize, relieved: u64, now: u64) -> Option<Runner> {
        let (since, runner) = self.tenants[tenant].oldest.first()?;
        let heed = now.saturating_sub(*since) >= PATIENCE && now.saturating_sub(relieved) >= RELIEF;
        heed.then_some(*runner)
    }

    fn enqueue(&mut self, runner: Runner, now: u64) {
        let Some(member) = &mut self.members[runner.0] else { return };
        member.state = State::Waiting { since: now };
        let share = &mut self.tenants[member.tenant.0];
        share.waiting.insert((Reverse(member.priority), member.time + member.turn, runner));
        share.oldest.insert((now, runner));
        self.waiting += 1;
    }

    fn dequeue(&mut self, runner: Runner) {
        let Some(member) = &mut self.members[runner.0] else { return };
        let State::Waiting { since } = member.state else { return };
        member.state = State::Idle;
        let share = &mut self.tenants[member.tenant.0];
        share.waiting.remove(&(Reverse(member.priority), member.time + member.turn, runner));
        share.oldest.remove(&(since, runner));
        self.waiting -= 1;
    }

    fn grant(&mut self, runner: Runner) {
        let Some(member) = &mut self.members[runner.0] else { return };
        member.state = State::Running;
        let share = &mut self.tenants[member.tenant.0];
        share.running += 1;
        share.now = share.now.max(member.time);
        self.now = self.now.max(share.time);
        self.free -= 1;
    }

    /// Ends whatever the runner was doing.
    fn end(&mut self, runner: Runner, ran: u64) {
        self.dequeue(runner);
        let behind = self.most_behind();
        let Some(member) = &mut self.members[runner.0] else { return };
        if member.state != State::Running {
            return;
        }
        member.state = State::Idle;
        let whole = Virtual::from(ran) * Virtual::from(MOST_WEIGHT);
        member.time += whole;
        member.turn = of_late(member.turn, whole);
        let share = &mut self.tenants[member.tenant.0];
        share.running -= 1;
        let weighted = whole / Virtual::from(share.weight);
        share.time += weighted;
        share.turn = of_late(share.turn, weighted);
        share.time = share.time.max(self.now.saturating_sub(behind));
        self.free += 1;
    }

    fn most_behind(&self) -> Virtual {
        let weights = self.tenants.iter().filter(|t| t.members > 0).map(|t| t.weight);
        let least = Virtual::from(weights.min().unwrap_or(1));
        Virtual::from(MOST_BEHIND) * Virtual::from(MOST_WEIGHT) / least
    }
}

/// A moving average, in which the last four turns or so count.
fn of_late(before: Virtual, turn: Virtual) -> Virtual {
    (before * 3 + turn) / 4
}
