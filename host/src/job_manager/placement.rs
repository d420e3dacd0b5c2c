//! What a job holds while it runs: slots, which it may have to wait for, and what the
//! TaskManager promised of its memory.

use std::sync::Arc;

use crate::{
    ids::{OperatorName, SlotId},
    job_manager::{
        deploy::Deployer,
        plan::{Plan, Role},
    },
    memory::{AdmittedJob, NotAdmitted},
    task_manager::slots::{Place, Refused, Request, Standing, Waiting},
};

/// Slots and memory. Dropping it gives them back.
#[derive(Debug)]
pub struct Holding {
    /// Its place among those that have slots.
    pub place: Place,
    /// Which slots.
    pub slots: Vec<SlotId>,
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
        let job = &deployer.spec.job;
        let place = deployer.task_manager.slots.ask(Request {
            tenant: deployer.tenant.clone(),
            job: job.name.clone(),
            priority: job.priority,
            slots: deployer.plan.slots(),
            preempts: job.preempts,
        })?;
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
        Ok(Holding { place: self.place, slots, memory: Arc::new(memory) })
    }
}

/// Each operator, with the memory of a slot and how many it needs.
fn operators(plan: &Plan) -> impl Iterator<Item = (OperatorName, usize, u32)> + '_ {
    plan.vertices.iter().filter_map(|vertex| match &vertex.role {
        Role::Operator(spec, _) => Some((spec.name.clone(), spec.memory, vertex.parallelism)),
        Role::Source(_) | Role::Sink(_) => None,
    })
}
