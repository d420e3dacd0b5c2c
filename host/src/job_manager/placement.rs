//! What a job holds while it runs: slots, which it may have to wait for, and what the
//! TaskManager promised of its memory.

use std::{collections::BTreeMap, sync::Arc};

use crate::{
    ids::{OperatorName, SlotId, SubtaskIndex},
    job_manager::{
        deploy::Deployer,
        plan::{Plan, Role},
    },
    memory::{AdmittedJob, NotAdmitted},
    task_manager::{
        SubtaskId,
        slots::{Place, Refused, Request, Slots, Standing, Waiting, health::SlotCondition},
    },
};

/// Slots and memory. Dropping it gives them back.
#[derive(Debug)]
pub struct Holding {
    /// Its place among those that have slots.
    pub place: Place,
    /// The slot of each subtask of an operator.
    pub slots: BTreeMap<SubtaskId, SlotId>,
    /// What they may hold.
    pub memory: Arc<AdmittedJob>,
}

/// What is still to be waited for.
#[derive(Debug)]
pub struct Queued {
    place: Place,
}

impl Queued {
    /// Asks for the slots that a job needs.
    ///
    /// # Errors
    /// If it could never have them.
    pub fn begin(deployer: &Deployer) -> Result<Self, Refused> {
        let place = deployer.task_manager.slots.ask(request(deployer, &deployer.plan))?;
        Ok(Self { place })
    }

    /// What it waits for; nothing if the slots are there.
    pub fn waiting(&mut self) -> Option<Waiting> {
        match self.place.standing() {
            Standing::Waiting(waiting) => Some(waiting),
            Standing::Granted(_) | Standing::AskedBack(..) => None,
        }
    }

    /// Waits until something is otherwise than [`waiting`](Self::waiting) said last.
    /// Safe to cancel.
    pub async fn changed(&mut self) {
        self.place.changed().await;
    }

    /// Takes the slots that were given, and has the TaskManager promise memory to each
    /// of them.
    ///
    /// # Errors
    /// If it does not.
    pub fn admit(mut self, deployer: &Deployer) -> Result<Holding, NotAdmitted> {
        let slots = match self.place.standing() {
            Standing::Granted(slots) | Standing::AskedBack(slots, _) => slots.to_vec(),
            Standing::Waiting(_) => Vec::new(),
        };
        let memory = deployer.task_manager.memory.admit(
            &deployer.tenant,
            &deployer.spec.job.name,
            operators(&deployer.plan),
        )?;
        let slots = operator_subtasks(&deployer.plan).zip(slots).collect();
        Ok(Holding { place: self.place, slots, memory: Arc::new(memory) })
    }
}

/// A subtask that goes from one slot to another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Move {
    /// Which.
    pub subtask: SubtaskId,
    /// From where.
    pub from: SlotId,
    /// To where.
    pub to: SlotId,
}

impl Holding {
    /// Which subtask is in a slot.
    #[must_use]
    pub fn subtask_in(&self, slot: SlotId) -> Option<SubtaskId> {
        self.slots.iter().find(|(_, s)| **s == slot).map(|(id, _)| *id)
    }

    /// Takes another slot for a subtask, which holds both until the move is
    /// [made](Self::moved) or [not](Self::stays). None if it has no slot, or no other is
    /// free.
    pub fn begin_move(&self, subtask: SubtaskId) -> Option<Move> {
        let from = *self.slots.get(&subtask)?;
        let to = self.place.reserve()?;
        Some(Move { subtask, from, to })
    }

    /// The subtask is in its new slot.
    pub fn moved(&mut self, made: Move) {
        self.slots.insert(made.subtask, made.to);
        self.place.give_back(made.from);
    }

    /// The subtask stays where it was.
    pub fn stays(&mut self, not_made: Move) {
        self.place.give_back(not_made.to);
    }

    /// The subtasks in slots that are not to be used.
    pub fn in_bad_slots(&self, slots: &Slots) -> impl Iterator<Item = SubtaskId> {
        let conditions = slots.conditions();
        let bad = move |slot: &SlotId| {
            conditions.get(slot.0 as usize).is_some_and(|c| *c != SlotCondition::Good)
        };
        self.slots.iter().filter(move |(_, slot)| bad(slot)).map(|(id, _)| *id)
    }

    /// Gives other slots to subtasks whose instances are gone and whose slots are not to
    /// be used, as far as others are free.
    pub fn leave_bad_slots(
        &mut self,
        slots: &Slots,
        gone: impl Fn(SubtaskId) -> bool,
    ) -> Vec<Move> {
        let mut moves = Vec::new();
        let leaving: Vec<SubtaskId> = self.in_bad_slots(slots).filter(|id| gone(*id)).collect();
        for id in leaving {
            let Some(made) = self.begin_move(id) else { break };
            self.moved(made);
            moves.push(made);
        }
        moves
    }
}

/// What a job asks for to run by a plan.
#[must_use]
pub fn request(deployer: &Deployer, plan: &Plan) -> Request {
    let job = &deployer.spec.job;
    Request {
        tenant: deployer.tenant.clone(),
        job: job.name.clone(),
        priority: job.priority,
        slots: plan.slots(),
        preempts: job.preempts,
    }
}

/// Each subtask that needs a slot, in the plan's order.
pub fn operator_subtasks(plan: &Plan) -> impl Iterator<Item = SubtaskId> + '_ {
    let operators =
        plan.vertices.iter().enumerate().filter(|(_, v)| matches!(v.role, Role::Operator(..)));
    operators.flat_map(|(vertex, v)| {
        (0..v.parallelism).map(move |index| SubtaskId { vertex, index: SubtaskIndex(index) })
    })
}

/// Each operator, with the memory of a slot and how many it needs.
fn operators(plan: &Plan) -> impl Iterator<Item = (OperatorName, usize, u32)> + '_ {
    plan.vertices.iter().filter_map(|vertex| match &vertex.role {
        Role::Operator(spec, _) => Some((spec.name.clone(), spec.memory, vertex.parallelism)),
        Role::Source(_) | Role::Sink(_) => None,
    })
}
