//! Tests of who gets slots: by example, and by random histories.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::{
    queue::{Queue, Refused, Request, Spread, TenantSlots, Ticket, Waiting},
    *,
};

fn tenant(name: &str) -> TenantId {
    TenantId::new(name).unwrap()
}

fn request(of: &str, priority: i32, slots: u32) -> Request {
    let job = JobName::new("j").unwrap();
    Request { tenant: tenant(of), job, priority, slots, preempts: false }
}

fn pushy(of: &str, priority: i32, slots: u32) -> Request {
    Request { preempts: true, ..request(of, priority, slots) }
}

/// Grants all that can be granted.
fn grant(queue: &mut Queue) -> Vec<Ticket> {
    std::iter::from_fn(|| queue.grant()).map(|(ticket, _)| ticket).collect()
}

fn queue(total: u32, policy: Policy) -> Queue {
    Queue::new(total, policy, Spread::Pack)
}

#[test]
fn the_tenant_that_holds_least_for_its_weight_goes_first() {
    let mut q = queue(8, Policy::Fair);
    q.set_tenant(&tenant("big"), TenantSlots { weight: 300, ..TenantSlots::default() });
    let tickets: Vec<_> = (0..8)
        .flat_map(|_| {
            [q.ask(request("small", 9, 1)).unwrap(), q.ask(request("big", 0, 1)).unwrap()]
        })
        .collect();
    assert_eq!(grant(&mut q).len(), 8);
    assert_eq!((q.held(&tenant("big")), q.held(&tenant("small"))), ((6, 6), (2, 2)));
    drop(tickets);
}

#[test]
fn under_the_priority_policy_the_highest_goes_first_whosever_it_is() {
    let mut q = queue(2, Policy::Priority);
    let low = q.ask(request("a", 0, 1)).unwrap();
    let mid = q.ask(request("a", 1, 1)).unwrap();
    let high = q.ask(request("a", 2, 1)).unwrap();
    assert_eq!(grant(&mut q), [high, mid]);
    q.leave(mid);
    assert_eq!(grant(&mut q), [low]);
}

#[test]
fn a_large_job_is_not_kept_waiting_by_small_ones() {
    let mut q = queue(4, Policy::Fair);
    let running = q.ask(request("a", 0, 2)).unwrap();
    assert_eq!(grant(&mut q), [running]);
    let large = q.ask(request("b", 0, 4)).unwrap();
    let small = q.ask(request("b", 0, 1)).unwrap();
    assert!(grant(&mut q).is_empty());
    let first = Waiting::Slots { asked: 4, free: 2, total: 4, ahead: 0 };
    let second = Waiting::Slots { asked: 1, free: 2, total: 4, ahead: 1 };
    assert_eq!(q.waiting(), [(large, first), (small, second)]);
    q.leave(running);
    assert_eq!(grant(&mut q), [large]);
}

#[test]
fn who_waits_for_its_own_quota_holds_up_nobody_and_is_told_the_quota() {
    let mut q = queue(4, Policy::Fair);
    let two = TenantSlots { slots: Some(2), jobs: Some(2), ..TenantSlots::default() };
    q.set_tenant(&tenant("a"), two);
    let first = q.ask(request("a", 0, 1)).unwrap();
    assert_eq!(grant(&mut q), [first]);
    let over = q.ask(request("a", 0, 2)).unwrap();
    assert!(grant(&mut q).is_empty());
    let says = q.waiting()[0].1.to_string();
    assert!(says.contains("holds 1 of the 2 that it may have (quota `slots`)"), "{says}");
    let other = q.ask(request("b", 0, 3)).unwrap();
    assert_eq!(grant(&mut q), [other]);
    q.leave(over);
    q.leave(other);
    let second = q.ask(request("a", 0, 1)).unwrap();
    assert_eq!(grant(&mut q), [second]);
    q.set_tenant(&tenant("a"), TenantSlots { slots: None, ..two });
    q.ask(request("a", 0, 1)).unwrap();
    let says = q.waiting()[0].1.to_string();
    assert!(says.contains("2 run, and it may run 2 (quota `jobs`)"), "{says}");
    // Raised while it waits.
    q.set_tenant(&tenant("a"), TenantSlots::default());
    assert_eq!(grant(&mut q).len(), 1);
}

#[test]
fn what_can_never_be_granted_is_refused_at_once() {
    let mut q = queue(4, Policy::Fair);
    assert_eq!(q.ask(request("a", 0, 5)), Err(Refused::TooFew { asked: 5, total: 4 }));
    q.set_tenant(&tenant("a"), TenantSlots { slots: Some(2), ..TenantSlots::default() });
    let refused = q.ask(request("a", 0, 3)).unwrap_err().to_string();
    assert!(refused.contains("tenant `a` may have 2 (quota `slots`)"), "{refused}");
    q.set_tenant(&tenant("a"), TenantSlots { jobs: Some(0), ..TenantSlots::default() });
    assert_eq!(q.ask(request("a", 0, 1)), Err(Refused::JobsQuota { tenant: tenant("a") }));
}

#[test]
fn packed_slots_are_the_lowest_and_spread_ones_those_free_the_longest() {
    let numbers = |spread| {
        let mut q = Queue::new(3, Policy::Fair, spread);
        let mut given = Vec::new();
        for _ in 0..4 {
            let ticket = q.ask(request("a", 0, 1)).unwrap();
            given.extend(q.grant().unwrap().1.into_iter().map(|slot| slot.0));
            q.leave(ticket);
        }
        given
    };
    assert_eq!(numbers(Spread::Pack), [0, 0, 0, 0]);
    assert_eq!(numbers(Spread::Spread), [0, 1, 2, 0]);
}

#[test]
fn nobody_is_stopped_unless_that_is_asked_for() {
    let mut q = queue(2, Policy::Priority);
    q.ask(request("a", 0, 2)).unwrap();
    grant(&mut q);
    q.ask(request("b", 9, 1)).unwrap();
    assert!(q.preempt().is_empty());
}

#[test]
fn the_fewest_of_the_lowest_and_latest_are_stopped_and_their_slots_are_kept_for_the_cause() {
    let mut q = queue(5, Policy::Priority);
    let old = q.ask(request("a", 0, 1)).unwrap();
    let late = q.ask(request("a", 0, 2)).unwrap();
    let important = q.ask(request("a", 5, 2)).unwrap();
    assert_eq!(grant(&mut q).len(), 3);
    let cause = q.ask(pushy("b", 5, 2)).unwrap();
    assert!(grant(&mut q).is_empty());
    assert_eq!(q.preempt(), [(late, cause)]);
    // Once is enough.
    assert!(q.preempt().is_empty());
    // Somebody who would go first does not get what another was stopped for.
    let higher = q.ask(request("c", 9, 2)).unwrap();
    q.leave(late);
    assert_eq!(grant(&mut q), [cause]);
    // As important as these is not more important.
    let equal = q.ask(pushy("d", 5, 3)).unwrap();
    assert!(q.preempt().is_empty());
    for ticket in [old, important, cause, higher, equal] {
        q.leave(ticket);
    }
    assert_eq!(q.free(), 5);
}

#[test]
fn under_the_fair_policy_a_tenant_stops_only_its_own_jobs() {
    let mut q = queue(2, Policy::Fair);
    let own = q.ask(request("a", 0, 1)).unwrap();
    let others = q.ask(request("b", 0, 1)).unwrap();
    assert_eq!(grant(&mut q).len(), 2);
    let cause = q.ask(pushy("a", 1, 2)).unwrap();
    assert!(q.preempt().is_empty(), "its own one slot is not enough");
    q.leave(cause);
    let cause = q.ask(pushy("a", 1, 1)).unwrap();
    assert_eq!(q.preempt(), [(own, cause)]);
    q.leave(others);
}

#[test]
fn who_is_over_its_own_quota_stops_its_own_jobs_only() {
    let mut q = queue(4, Policy::Priority);
    q.set_tenant(&tenant("a"), TenantSlots { jobs: Some(1), ..TenantSlots::default() });
    let own = q.ask(request("a", 3, 1)).unwrap();
    q.ask(request("b", 0, 1)).unwrap();
    grant(&mut q);
    let cause = q.ask(pushy("a", 4, 1)).unwrap();
    assert_eq!(q.preempt(), [(own, cause)]);
}

#[tokio::test]
async fn a_place_that_is_dropped_lets_the_next_one_in() {
    let slots = Slots::new(2, Policy::Fair, Spread::Pack);
    let mut first = slots.ask(request("a", 0, 2)).unwrap();
    let granted: Arc<[SlotId]> = [SlotId(0), SlotId(1)].into();
    assert_eq!(first.standing(), Standing::Granted(granted));
    let mut second = slots.ask(pushy("a", 1, 1)).unwrap();
    assert!(matches!(second.standing(), Standing::Waiting(Waiting::Slots { free: 0, .. })));
    assert_eq!(first.asked_back().await.priority, 1);
    drop(first);
    second.changed().await;
    assert!(matches!(second.standing(), Standing::Granted(_)));
    assert_eq!((slots.free(), slots.total()), (1, 2));
}

#[derive(Debug, Clone)]
enum Step {
    Ask { tenant: usize, priority: i32, slots: u32, preempts: bool },
    Leave(usize),
    Limit { tenant: usize, slots: Option<u32>, jobs: Option<u32> },
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (0..3_usize, 0..3_i32, 1..5_u32, any::<bool>()).prop_map(
            |(tenant, priority, slots, preempts)| Step::Ask { tenant, priority, slots, preempts }
        ),
        4 => any::<usize>().prop_map(Step::Leave),
        1 => (0..3_usize, proptest::option::of(0..8_u32), proptest::option::of(0..4_u32))
            .prop_map(|(tenant, slots, jobs)| Step::Limit { tenant, slots, jobs }),
    ]
}

proptest! {
    #[test]
    fn no_slot_is_given_twice_no_quota_is_exceeded_and_nobody_waits_for_ever(
        policy in prop_oneof![Just(Policy::Fair), Just(Policy::Priority)],
        spread in prop_oneof![Just(Spread::Pack), Just(Spread::Spread)],
        steps in proptest::collection::vec(step(), 1..80),
    ) {
        let name = |t: usize| tenant(["a", "b", "c"][t]);
        let total = 6;
        let mut q = Queue::new(total, policy, spread);
        let mut limits: BTreeMap<TenantId, TenantSlots> = BTreeMap::new();
        let mut waiting: BTreeMap<Ticket, Request> = BTreeMap::new();
        let mut holding: BTreeMap<Ticket, (Request, Vec<SlotId>)> = BTreeMap::new();
        let settle = |q: &mut Queue,
                      waiting: &mut BTreeMap<Ticket, Request>,
                      holding: &mut BTreeMap<Ticket, (Request, Vec<SlotId>)>,
                      limits: &BTreeMap<TenantId, TenantSlots>| {
            while let Some((ticket, slots)) = q.grant() {
                let request = waiting.remove(&ticket).expect("who is granted has waited");
                assert_eq!(slots.len(), request.slots as usize);
                let may = limits.get(&request.tenant).copied().unwrap_or_default();
                let of = request.tenant.clone();
                holding.insert(ticket, (request, slots));
                let own = holding.values().filter(|(r, _)| r.tenant == of);
                let (held, jobs) = own.fold((0, 0), |(s, j), (r, _)| (s + r.slots, j + 1));
                assert!(may.slots.is_none_or(|l| held <= l), "{held} of {may:?}");
                assert!(may.jobs.is_none_or(|l| jobs <= l), "{jobs} of {may:?}");
            }
            let mut taken = BTreeSet::new();
            for slot in holding.values().flat_map(|(_, slots)| slots) {
                assert!(taken.insert(*slot), "{slot} twice");
            }
            assert_eq!(q.free() as usize + taken.len(), total as usize);
            for (victim, cause) in q.preempt() {
                let (of, _) = holding.get(&victim).expect("who is asked holds slots");
                assert!(of.priority < waiting[&cause].priority && waiting[&cause].preempts);
                assert!(policy == Policy::Priority || of.tenant == waiting[&cause].tenant);
            }
            assert_eq!(q.waiting().len(), waiting.len());
        };
        for step in steps {
            match step {
                Step::Ask { tenant, priority, slots, preempts } => {
                    let request = Request { preempts, ..request(name(tenant).as_str(), priority, slots) };
                    if let Ok(ticket) = q.ask(request.clone()) {
                        waiting.insert(ticket, request);
                    }
                }
                Step::Leave(which) => {
                    let all: Vec<_> = waiting.keys().chain(holding.keys()).copied().collect();
                    if let Some(ticket) = all.get(which % all.len().max(1)) {
                        q.leave(*ticket);
                        waiting.remove(ticket);
                        holding.remove(ticket);
                    }
                }
                Step::Limit { tenant, slots, jobs } => {
                    let may = TenantSlots { slots, jobs, ..TenantSlots::default() };
                    q.set_tenant(&name(tenant), may);
                    limits.insert(name(tenant), may);
                }
            }
            settle(&mut q, &mut waiting, &mut holding, &limits);
        }
        // Without quotas, and when those that hold slots leave, all get their turn.
        for t in 0..3 {
            q.set_tenant(&name(t), TenantSlots::default());
            limits.remove(&name(t));
        }
        settle(&mut q, &mut waiting, &mut holding, &limits);
        while let Some(ticket) = holding.keys().next().copied() {
            q.leave(ticket);
            holding.remove(&ticket);
            settle(&mut q, &mut waiting, &mut holding, &limits);
        }
        prop_assert!(waiting.is_empty(), "{waiting:?} still wait");
        prop_assert_eq!(q.free(), total);
    }
}
