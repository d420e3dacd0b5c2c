//! What the gate's decision promises, in virtual time.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::policy::{MOST_BEHIND, PATIENCE, Policy, RELIEF, Runner, Shares};

const MILLI: u64 = 1_000_000;
const SECOND: u64 = 1_000 * MILLI;

/// Plays cores: each granted turn runs as long as its runner says, and who is
/// greedy wants another one at once.
struct World {
    shares: Shares,
    now: u64,
    /// When each running turn ends: who, and when it began.
    running: Vec<(u64, Runner, u64)>,
    turns: BTreeMap<Runner, u64>,
    /// Who wants one turn only, whenever it comes.
    brief: Option<Runner>,
    ran: BTreeMap<Runner, u64>,
    /// The longest that anybody waited for a turn.
    waiting: BTreeMap<Runner, u64>,
    longest: BTreeMap<Runner, u64>,
}

impl World {
    fn new(policy: Policy, cores: usize) -> Self {
        Self {
            shares: Shares::new(policy, cores),
            now: 0,
            running: Vec::new(),
            turns: BTreeMap::new(),
            brief: None,
            ran: BTreeMap::new(),
            waiting: BTreeMap::new(),
            longest: BTreeMap::new(),
        }
    }

    /// Somebody who always wants to run, for so long a turn.
    fn greedy(&mut self, tenant: super::policy::Tenant, priority: i32, turn: u64) -> Runner {
        let runner = self.shares.join(tenant, priority);
        self.turns.insert(runner, turn);
        self.come(runner);
        runner
    }

    fn begin(&mut self, runner: Runner) {
        let waited = self.now - self.waiting.remove(&runner).unwrap_or(self.now);
        let longest = self.longest.entry(runner).or_default();
        *longest = (*longest).max(waited);
        self.running.push((self.now + self.turns[&runner], runner, self.now));
    }

    /// It wants a turn now.
    fn come(&mut self, runner: Runner) {
        self.waiting.insert(runner, self.now);
        if self.shares.want(runner, self.now) {
            self.begin(runner);
        }
    }

    fn run_until(&mut self, end: u64) {
        while let Some(&(at, runner, began)) = self.running.iter().min() {
            if at > end {
                break;
            }
            self.running.retain(|(_, r, _)| *r != runner);
            self.now = at;
            *self.ran.entry(runner).or_default() += at - began;
            if self.brief == Some(runner) {
                self.shares.rest(runner, at - began);
            } else {
                self.waiting.insert(runner, at);
                self.shares.yields(runner, at - began, at);
            }
            while let Some(next) = self.shares.next(at) {
                self.begin(next);
            }
        }
        self.now = end;
    }

    fn ran(&self, runners: &[Runner]) -> u64 {
        runners.iter().map(|r| self.ran.get(r).copied().unwrap_or(0)).sum()
    }
}

proptest! {
    /// Tenants that always want more than their share get it, whatever their turns
    /// and however many runners they have.
    #[test]
    fn shares_come_within_5_percent_of_weights(
        tenants in prop::collection::vec((1_u32..=8, 2_usize..5, 100_000..10 * MILLI), 2..5),
        cores in 1_usize..=2,
    ) {
        let mut world = World::new(Policy::Fair, cores);
        let all: u32 = tenants.iter().map(|t| t.0).sum();
        // Nobody's share is more than its runners can use.
        prop_assume!(tenants.iter().all(|t| t.0 as usize * cores <= all as usize * t.1));
        let mut runners = Vec::new();
        for (weight, many, turn) in &tenants {
            let tenant = world.shares.add_tenant(weight * 100);
            runners.push((0..*many).map(|_| world.greedy(tenant, 0, *turn)).collect::<Vec<_>>());
        }
        world.run_until(20 * SECOND);
        for (own, (weight, ..)) in runners.iter().zip(&tenants) {
            let ran = world.ran(own) as f64;
            let fair = 20e9 * cores as f64 * f64::from(*weight) / f64::from(all);
            prop_assert!((ran / fair - 1.0).abs() < 0.05, "{ran} of {fair}");
        }
    }

    /// Among equals of one tenant, each gets its part.
    #[test]
    fn equals_of_one_tenant_share_equally(many in 3_usize..20, turn in MILLI..10 * MILLI) {
        let mut world = World::new(Policy::Fair, 2);
        let tenant = world.shares.add_tenant(100);
        let runners: Vec<_> = (0..many).map(|_| world.greedy(tenant, 0, turn)).collect();
        world.run_until(20 * SECOND);
        let fair = 40e9 / many as f64;
        for runner in runners {
            let ran = world.ran(&[runner]) as f64;
            prop_assert!((ran / fair - 1.0).abs() < 0.05, "{ran} of {fair}");
        }
    }

    /// Whatever the weights and priorities, everybody gets a turn in a time that
    /// follows from the constants.
    #[test]
    fn nobody_starves(
        runners in prop::collection::vec((0_usize..3, -2_i32..=2), 1..12),
        weights in prop::array::uniform3(1_u32..=20),
        policy in prop_oneof![Just(Policy::Fair), Just(Policy::Priority)],
    ) {
        let mut world = World::new(policy, 2);
        let tenants: Vec<_> = weights.iter().map(|w| world.shares.add_tenant(*w)).collect();
        let turn = 5 * MILLI;
        let all: Vec<_> =
            runners.iter().map(|(t, priority)| world.greedy(tenants[*t], *priority, turn)).collect();
        world.run_until(60 * SECOND);
        // A relief a tenant can be late by as long as the tenant waits for its own turn:
        // all the weights over the least one, in turns.
        let tenant_turn = turn * u64::from(weights.iter().sum::<u32>());
        let bound = PATIENCE + (RELIEF + tenant_turn) * (all.len() as u64 + 1);
        for runner in all {
            let waited = world.longest.get(&runner).copied().unwrap_or(u64::MAX);
            prop_assert!(waited <= bound, "{waited} of {bound}");
        }
    }

    /// A tenant that slept, however long, gets no more than its share from then on.
    #[test]
    fn a_sleeper_has_no_credit(slept in 1_u64..100, weight in 1_u32..=4) {
        let mut world = World::new(Policy::Fair, 1);
        let busy = world.shares.add_tenant(100);
        let sleeper = world.shares.add_tenant(100 * weight);
        let busy = [world.greedy(busy, 0, 5 * MILLI), world.greedy(busy, 0, 5 * MILLI)];
        world.run_until(slept * SECOND);
        let before = world.ran(&busy);
        let late = [world.greedy(sleeper, 0, 5 * MILLI), world.greedy(sleeper, 0, 5 * MILLI)];
        world.run_until(slept * SECOND + SECOND);
        let (theirs, own) = (world.ran(&busy) - before, world.ran(&late));
        let fair = SECOND / u64::from(weight + 1);
        prop_assert!(theirs + 20 * MILLI >= fair, "the busy got {theirs} of {fair}, {own}");
    }
}

#[test]
fn a_higher_priority_goes_first_within_its_tenant_only() {
    let mut world = World::new(Policy::Fair, 1);
    let (one, other) = (world.shares.add_tenant(100), world.shares.add_tenant(100));
    let low = world.greedy(one, 0, 5 * MILLI);
    let high = world.greedy(one, 7, 5 * MILLI);
    let beside = world.greedy(other, -3, 5 * MILLI);
    world.run_until(10 * SECOND);
    let parts = [low, high, beside].map(|r| world.ran(&[r]));
    assert!(parts[2].abs_diff(5 * SECOND) < 20 * MILLI, "half is the other tenant's: {parts:?}");
    // Only what patience gives: a turn in RELIEF at most.
    assert!(parts[0] < 10 * SECOND / RELIEF * 5 * MILLI + 10 * MILLI, "{parts:?}");
    assert!(parts[0] > 0, "{parts:?}");
}

#[test]
fn by_priority_it_goes_first_among_all() {
    let mut world = World::new(Policy::Priority, 1);
    let (one, other) = (world.shares.add_tenant(100), world.shares.add_tenant(1));
    let low = world.greedy(one, 0, 5 * MILLI);
    let high = [world.greedy(other, 1, 5 * MILLI), world.greedy(other, 1, 5 * MILLI)];
    world.run_until(10 * SECOND);
    assert!(world.ran(&high) > 9_400 * MILLI);
    assert!(world.ran(&[low]) > 0);
}

#[test]
fn who_cannot_use_its_share_saves_up_little() {
    // Three quarters of two cores for a single runner: half a core is left over.
    let mut world = World::new(Policy::Fair, 2);
    let (one, other) = (world.shares.add_tenant(300), world.shares.add_tenant(100));
    let single = world.greedy(one, 0, 5 * MILLI);
    let others = [0; 3].map(|_| world.greedy(other, 0, 5 * MILLI));
    world.run_until(60 * SECOND);
    assert!(world.ran(&[single]) > 59 * SECOND);
    let before = world.ran(&others);
    let more = [0; 3].map(|_| world.greedy(one, 0, 5 * MILLI));
    world.run_until(62 * SECOND);
    let got = world.ran(&others) - before;
    // Half a second is fair; less only by what the first may be behind.
    assert!(got + 3 * MOST_BEHIND / 2 + 50 * MILLI > SECOND, "{got}; {}", world.ran(&more));
}

#[test]
fn whoever_goes_gives_its_permit_back() {
    let mut shares = Shares::new(Policy::Fair, 1);
    let tenant = shares.add_tenant(100);
    let (first, second) = (shares.join(tenant, 0), shares.join(tenant, 0));
    assert!(shares.want(first, 0));
    assert!(!shares.want(second, 0));
    assert_eq!(shares.next(0), None);
    shares.part(first, 0);
    assert_eq!(shares.next(0), Some(second));
    assert!(shares.runs(second));
    shares.part(second, 0);
    assert_eq!(shares.waiting(), 0);
}

#[test]
fn whoever_uses_less_than_its_share_waits_for_one_turn_to_end_whatever_the_others_number() {
    let epoch = 5 * MILLI;
    for hostile in [1, 10, 100] {
        let mut world = World::new(Policy::Fair, 2);
        for _ in 0..hostile {
            let tenant = world.shares.add_tenant(100);
            world.greedy(tenant, 0, epoch);
        }
        let tenant = world.shares.add_tenant(100);
        let bystander = world.shares.join(tenant, 0);
        world.turns.insert(bystander, MILLI / 5);
        world.brief = Some(bystander);
        // Of its 1/101 of two cores it uses 40 %. In the first second nobody knows yet
        // how long turns are.
        for beat in 1..400 {
            world.run_until(beat * 25 * MILLI + beat % 7 * MILLI);
            if beat == 40 {
                world.longest.clear();
            }
            world.come(bystander);
        }
        assert!(
            world.longest[&bystander] <= epoch,
            "{} beside {hostile}",
            world.longest[&bystander]
        );
    }
}
