//! The channels between subtasks: how many, how large, and who has which end.

use std::collections::{BTreeMap, HashMap};

use crate::{
    ids::SubtaskIndex,
    job_manager::{
        deploy::Deployer,
        plan::{Edge, Role},
    },
    memory::AdmittedJob,
    stream::{
        channel::{self, Gate, Sender},
        exchange::{EdgeOutput, Exchange},
    },
    task_manager::{SubtaskId, output::OutputPort},
};

/// How many bytes may wait between two subtasks of a chain: so little that a
/// batch is still in the core's cache when the next subtask reads it.
const CHAINED_CAPACITY: usize = 64 << 10;

/// What a batch takes in a channel that is not out of the ordinary: what a source
/// makes of 64 KiB, with offsets and event times.
const ORDINARY_BATCH: usize = 96 << 10;
/// The channels of one subtask.
#[derive(Default)]
pub(super) struct Wiring {
    pub(super) gate: Option<Gate>,
    /// The input port of each channel of the gate.
    pub(super) ports: Vec<u32>,
    /// How much of the slot's memory is set aside for all channels of the gate.
    pub(super) set_aside: usize,
    pub(super) outputs: Vec<(OutputPort, EdgeOutput)>,
}

impl Deployer {
    /// Makes every channel of the plan.
    pub(super) fn wire(&self) -> BTreeMap<SubtaskId, Wiring> {
        let mut wiring: BTreeMap<SubtaskId, Wiring> = BTreeMap::new();
        // Senders of each edge, by sending subtask, in the order of receivers.
        let mut senders: HashMap<(usize, u32), Vec<Sender>> = HashMap::new();
        for (i, vertex) in self.plan.vertices.iter().enumerate() {
            for index in 0..vertex.parallelism {
                let mut sources = Vec::new();
                for (e, edge) in self.plan.edges.iter().enumerate().filter(|(_, e)| e.to == i) {
                    sources.extend(self.senders_to(edge, index).map(|from| (e, from, edge.input)));
                }
                let chained = self.plan.edges.iter().any(|e| e.to == i && e.chained);
                let most = if chained { CHAINED_CAPACITY } else { usize::MAX };
                let share = match &vertex.role {
                    Role::Operator(spec, _) => AdmittedJob::queue_share(spec.memory, sources.len()),
                    Role::Source(_) | Role::Sink(_) => usize::MAX,
                };
                let capacity = self.spec.job.channel_capacity.min(most).min(share);
                let (gate, made) = channel::gate(sources.len(), capacity);
                let entry =
                    wiring.entry(SubtaskId { vertex: i, index: SubtaskIndex(index) }).or_default();
                entry.gate = Some(gate);
                // Each takes one batch more than its capacity.
                let most = capacity.saturating_add(ORDINARY_BATCH).min(share.max(capacity));
                entry.set_aside = most.saturating_mul(sources.len());
                entry.ports = sources.iter().map(|(_, _, port)| *port).collect();
                for ((e, from, _), sender) in sources.into_iter().zip(made) {
                    senders.entry((e, from)).or_default().push(sender);
                }
            }
        }
        for (e, edge) in self.plan.edges.iter().enumerate() {
            for from in 0..self.plan.vertices[edge.from].parallelism {
                let made = senders.remove(&(e, from)).unwrap_or_default();
                let id = SubtaskId { vertex: edge.from, index: SubtaskIndex(from) };
                let output = EdgeOutput::new(edge.exchange, made);
                wiring.entry(id).or_default().outputs.push((edge.port, output));
            }
        }
        wiring
    }

    /// The sending subtasks of an edge that subtask `to` hears.
    fn senders_to(&self, edge: &Edge, to: u32) -> std::ops::Range<u32> {
        match edge.exchange {
            Exchange::Forward => to..to + 1,
            Exchange::Hash(_) | Exchange::Rebalance => 0..self.plan.vertices[edge.from].parallelism,
        }
    }
}
