//! The invariant of the room, on random histories: slots open, grow, shrink,
//! are refused and go, and limits change at every level.

use std::{collections::BTreeMap, sync::Arc};

use proptest::prelude::*;

use super::{Admission, AdmittedJob, Part, SEGMENT, SlotMeter, TaskManagerMemory, whole_segments};
use crate::ids::{JobName, OperatorName, SubtaskIndex, TenantId};

const TENANTS: usize = 3;
const SLOTS: usize = 4;

#[derive(Debug, Clone)]
enum Step {
    Open { tenant: usize, slot: usize, queues: usize },
    Drop { tenant: usize, slot: usize },
    Grow { tenant: usize, slot: usize, bytes: usize },
    Shrink { tenant: usize, slot: usize, bytes: usize },
    Set { tenant: usize, slot: usize, part: Part, bytes: usize },
    Settle { tenant: usize, slot: usize, state: usize, queued: usize },
    SlotLimit { tenant: usize, bytes: usize },
    TenantLimit { tenant: usize, bytes: usize },
    TotalLimit { bytes: usize },
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let (tenant, slot) = (0..TENANTS, 0..SLOTS);
    let bytes = prop_oneof![0..3 * SEGMENT, 0..60 * SEGMENT];
    let part = prop_oneof![
        Just(Part::Guest),
        Just(Part::State),
        Just(Part::Queued),
        Just(Part::Call),
        Just(Part::Copies)
    ];
    let at = (tenant.clone(), slot);
    let step = prop_oneof![
        2 => (at.clone(), 0..8 * SEGMENT)
            .prop_map(|((tenant, slot), queues)| Step::Open { tenant, slot, queues }),
        1 => at.clone().prop_map(|(tenant, slot)| Step::Drop { tenant, slot }),
        4 => (at.clone(), bytes.clone())
            .prop_map(|((tenant, slot), bytes)| Step::Grow { tenant, slot, bytes }),
        2 => (at.clone(), bytes.clone())
            .prop_map(|((tenant, slot), bytes)| Step::Shrink { tenant, slot, bytes }),
        4 => (at.clone(), part, bytes.clone())
            .prop_map(|((tenant, slot), part, bytes)| Step::Set { tenant, slot, part, bytes }),
        4 => (at, bytes.clone(), bytes.clone()).prop_map(|((tenant, slot), state, queued)| {
            Step::Settle { tenant, slot, state, queued }
        }),
        1 => (tenant.clone(), bytes.clone())
            .prop_map(|(tenant, bytes)| Step::SlotLimit { tenant, bytes }),
        1 => (tenant, bytes).prop_map(|(tenant, bytes)| Step::TenantLimit { tenant, bytes }),
        1 => (0..300 * SEGMENT).prop_map(|bytes| Step::TotalLimit { bytes }),
    ];
    prop::collection::vec(step, 1..120)
}

struct Model {
    memory: TaskManagerMemory,
    tenants: Vec<TenantId>,
    jobs: Vec<AdmittedJob>,
    slots: BTreeMap<(usize, usize), Arc<SlotMeter>>,
    limits: Vec<usize>,
}

fn operator() -> OperatorName {
    OperatorName::new("o").unwrap()
}

fn job() -> JobName {
    JobName::new("j").unwrap()
}

impl Model {
    fn new() -> Self {
        let memory = TaskManagerMemory::new(200 * SEGMENT, Admission::Overcommit);
        let tenants: Vec<_> =
            (0..TENANTS).map(|i| TenantId::new(format!("t{i}")).unwrap()).collect();
        let slots = u32::try_from(SLOTS).unwrap();
        let admit = |t| memory.admit(t, &job(), [(operator(), 40 * SEGMENT, slots)]).unwrap();
        let jobs = tenants.iter().map(admit).collect();
        let limits = vec![usize::MAX; TENANTS];
        Self { memory, tenants, jobs, slots: BTreeMap::new(), limits }
    }

    /// Does one step. Whether it may have made a slot hold more.
    fn step(&mut self, step: &Step) {
        match *step {
            Step::Open { tenant, slot, queues } => {
                let index = SubtaskIndex(u32::try_from(slot).unwrap());
                self.slots.remove(&(tenant, slot));
                if let Ok(meter) = self.jobs[tenant].open_slot(&operator(), index, queues) {
                    self.slots.insert((tenant, slot), meter);
                }
            }
            Step::Drop { tenant, slot } => drop(self.slots.remove(&(tenant, slot))),
            Step::Grow { tenant, slot, bytes } => {
                let Some(meter) = self.slots.get(&(tenant, slot)) else { return };
                let before = meter.usage();
                match meter.grow_guest(bytes) {
                    Ok(()) => assert_eq!(meter.usage().guest, before.guest + bytes),
                    Err(refused) => {
                        assert_eq!(refused.asked, bytes);
                        assert_eq!(meter.usage(), before, "a refusal changes nothing");
                    }
                }
            }
            Step::Shrink { tenant, slot, bytes } => {
                let Some(meter) = self.slots.get(&(tenant, slot)) else { return };
                let before = meter.usage().guest;
                meter.shrink_guest(bytes);
                assert_eq!(meter.usage().guest, before.saturating_sub(bytes));
            }
            Step::Set { tenant, slot, part, bytes } => {
                let Some(meter) = self.slots.get(&(tenant, slot)) else { return };
                let mut before = meter.usage();
                if meter.set(part, bytes).is_err() {
                    assert_eq!(meter.usage(), before);
                    let own = match part {
                        Part::Guest => &mut before.guest,
                        Part::State => &mut before.state,
                        Part::Queued => &mut before.queued,
                        Part::Call => &mut before.call,
                        Part::Copies => &mut before.copies,
                    };
                    assert!(bytes > *own, "less is never refused");
                }
            }
            Step::Settle { tenant, slot, state, queued } => {
                let Some(meter) = self.slots.get(&(tenant, slot)) else { return };
                let before = meter.usage();
                match meter.settle(state, queued) {
                    Ok(used) => assert_eq!(used, before.guest + before.copies + state + queued),
                    Err(_) => assert_eq!(meter.usage(), before),
                }
            }
            Step::SlotLimit { tenant, bytes } => {
                let (tenant, memory) = (&self.tenants[tenant], &self.memory);
                let _ = memory.set_operator_limit(tenant, &job(), &operator(), bytes);
            }
            Step::TenantLimit { tenant, bytes } => {
                self.memory.set_tenant_limit(&self.tenants[tenant], bytes);
                self.limits[tenant] = bytes;
            }
            Step::TotalLimit { bytes } => self.memory.set_limit(bytes),
        }
    }

    /// What each slot holds, and the sums above.
    fn check(&self, before: &Sums) -> Sums {
        let (total, by_tenant) = self.memory.sums();
        let mut slots = BTreeMap::new();
        for (at, meter) in &self.slots {
            let figures = meter.figures();
            assert_eq!(figures.reserved, whole_segments(figures.held), "in whole segments");
            assert!(figures.usage.total() <= figures.held);
            let grown = before.slots.get(at).is_none_or(|before| figures.held > *before);
            assert!(!grown || figures.held <= figures.limit, "a slot grew past its limit");
            slots.insert(*at, figures.held);
        }
        for (i, tenant) in self.tenants.iter().enumerate() {
            let own = self.slots.iter().filter(|((t, _), _)| *t == i);
            let sum: usize = own.map(|(_, meter)| meter.figures().reserved).sum();
            assert_eq!(by_tenant[tenant], sum, "a tenant holds what its slots hold");
            let grown = sum > before.tenants.get(tenant).copied().unwrap_or(0);
            assert!(!grown || sum <= self.limits[i], "a tenant grew past its budget");
        }
        assert_eq!(total, by_tenant.values().sum::<usize>(), "the sum of the tenants");
        assert!(total <= before.total || total <= self.memory.limit(), "grew past the budget");
        Sums { slots, tenants: by_tenant, total }
    }
}

#[derive(Default)]
struct Sums {
    slots: BTreeMap<(usize, usize), usize>,
    tenants: BTreeMap<TenantId, usize>,
    total: usize,
}

proptest! {
    #[test]
    fn sums_match_nothing_grows_past_a_limit_and_all_is_given_back(steps in steps()) {
        let mut model = Model::new();
        let mut before = Sums::default();
        for step in &steps {
            if let Step::Open { tenant, slot, .. } = step {
                before.slots.remove(&(*tenant, *slot));
            }
            model.step(step);
            before = model.check(&before);
        }
        model.slots.clear();
        let (total, tenants) = model.memory.sums();
        prop_assert_eq!(total, 0);
        prop_assert!(tenants.values().all(|sum| *sum == 0));
        prop_assert_eq!(model.memory.report().used, 0);
        let memory = model.memory.clone();
        drop(model);
        prop_assert_eq!(memory.report().promised, 0);
    }
}
