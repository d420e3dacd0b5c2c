//! Pipelined regions: subtasks that records connect, directly or by way of others.
//! Pure.
//!
//! A failure leaves its mark on all of its region: who reads what the failed subtask
//! sent has seen records that will come again, and who sends to it has sent what is
//! lost. Nobody outside of it has. So a region restarts as a whole, and alone: a job
//! of unconnected pipelines loses one of them for a moment, and a pipeline without
//! exchanges loses one of its parallel lines.

use std::collections::BTreeMap;

use crate::{
    ids::SubtaskIndex, job_manager::plan::Plan, stream::exchange::Exchange, task_manager::SubtaskId,
};

/// A region's number: they are counted from 0, in the order of their first subtasks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RegionId(pub usize);

/// Which subtask belongs to which region.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Regions {
    of: BTreeMap<SubtaskId, RegionId>,
    count: usize,
}

impl Regions {
    /// The regions of a plan.
    #[must_use]
    pub fn of(plan: &Plan) -> Self {
        let mut sets = Sets::new(plan);
        for edge in &plan.edges {
            let (from, to) = (&plan.vertices[edge.from], &plan.vertices[edge.to]);
            match edge.exchange {
                Exchange::Forward => {
                    for i in 0..from.parallelism.min(to.parallelism) {
                        sets.join((edge.from, i), (edge.to, i));
                    }
                }
                Exchange::Hash(_) | Exchange::Rebalance => {
                    for i in 0..from.parallelism {
                        sets.join((edge.from, i), (edge.to, 0));
                    }
                    for i in 0..to.parallelism {
                        sets.join((edge.from, 0), (edge.to, i));
                    }
                }
            }
        }
        sets.number()
    }

    /// How many there are.
    #[must_use]
    pub fn count(&self) -> usize {
        self.count
    }

    /// All of them.
    pub fn ids(&self) -> impl Iterator<Item = RegionId> + use<> {
        (0..self.count).map(RegionId)
    }

    /// The region of a subtask; none if the plan has no such subtask.
    #[must_use]
    pub fn region(&self, subtask: SubtaskId) -> Option<RegionId> {
        self.of.get(&subtask).copied()
    }

    /// The subtasks of a region, in the plan's order.
    pub fn members(&self, region: RegionId) -> impl Iterator<Item = SubtaskId> + '_ {
        self.of.iter().filter(move |(_, r)| **r == region).map(|(id, _)| *id)
    }
}

/// Sets that are joined until no edge leads out of one.
struct Sets {
    /// Where each vertex' subtasks begin in `parent`.
    begin: Vec<usize>,
    ids: Vec<SubtaskId>,
    /// Another member of the same set, nearer to its root; the root's is itself.
    parent: Vec<usize>,
}

impl Sets {
    fn new(plan: &Plan) -> Self {
        let (mut begin, mut ids) = (Vec::new(), Vec::new());
        for (vertex, v) in plan.vertices.iter().enumerate() {
            begin.push(ids.len());
            ids.extend((0..v.parallelism).map(|i| SubtaskId { vertex, index: SubtaskIndex(i) }));
        }
        let parent = (0..ids.len()).collect();
        Self { begin, ids, parent }
    }

    fn root(&mut self, mut at: usize) -> usize {
        while self.parent[at] != at {
            self.parent[at] = self.parent[self.parent[at]];
            at = self.parent[at];
        }
        at
    }

    fn join(&mut self, one: (usize, u32), other: (usize, u32)) {
        let [one, other] = [one, other].map(|(vertex, i)| self.begin[vertex] + i as usize);
        let (one, other) = (self.root(one), self.root(other));
        // The first subtask stays the root.
        self.parent[one.max(other)] = one.min(other);
    }

    fn number(mut self) -> Regions {
        let mut numbers: BTreeMap<usize, RegionId> = BTreeMap::new();
        let mut of = BTreeMap::new();
        for at in 0..self.ids.len() {
            let root = self.root(at);
            let next = RegionId(numbers.len());
            of.insert(self.ids[at], *numbers.entry(root).or_insert(next));
        }
        Regions { of, count: numbers.len() }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::{
        config::job::{SinkConnector, SinkSpec},
        ids::OperatorName,
        job_manager::plan::{Edge, Role, Vertex},
        task_manager::output::OutputPort,
    };

    fn plan(parallelisms: &[u32], edges: &[(usize, usize, bool)]) -> Plan {
        let name = OperatorName::new("v").unwrap();
        let sink = SinkSpec {
            name: name.clone(),
            inputs: Vec::new(),
            parallelism: 1,
            connector: SinkConnector::Discard,
        };
        let vertices = parallelisms
            .iter()
            .map(|p| Vertex { name: name.clone(), role: Role::Sink(sink.clone()), parallelism: *p })
            .collect();
        let edges = edges
            .iter()
            .map(|&(from, to, straight)| Edge {
                from,
                port: OutputPort::Number(0),
                to,
                input: 0,
                exchange: if straight && parallelisms[from] == parallelisms[to] {
                    Exchange::Forward
                } else {
                    Exchange::Rebalance
                },
                chained: false,
            })
            .collect();
        Plan { vertices, edges, max_parallelism: 128 }
    }

    fn id(vertex: usize, index: u32) -> SubtaskId {
        SubtaskId { vertex, index: SubtaskIndex(index) }
    }

    #[test]
    fn parallel_lines_are_regions_of_their_own_until_an_exchange_joins_them() {
        let straight = Regions::of(&plan(&[3, 3, 3], &[(0, 1, true), (1, 2, true)]));
        assert_eq!(straight.count(), 3);
        let line: Vec<SubtaskId> = straight.members(RegionId(1)).collect();
        assert_eq!(line, [id(0, 1), id(1, 1), id(2, 1)]);
        assert_eq!(Regions::of(&plan(&[3, 3, 3], &[(0, 1, true), (1, 2, false)])).count(), 1);
        assert_eq!(Regions::of(&plan(&[3, 3, 1], &[(0, 1, true), (1, 2, true)])).count(), 1);
        // Two pipelines in one job.
        assert_eq!(Regions::of(&plan(&[2, 1, 4, 1], &[(0, 1, true), (2, 3, true)])).count(), 2);
    }

    proptest! {
        /// Two subtasks are in one region exactly if somebody can walk from one to the
        /// other along channels, whichever way they lead.
        #[test]
        fn a_region_is_what_channels_connect(
            parallelisms in prop::collection::vec(1_u32..4, 1..6),
            edges in prop::collection::vec((0_usize..6, 0_usize..6, any::<bool>()), 0..6),
        ) {
            let vertices = parallelisms.len();
            let edges: Vec<_> = edges.into_iter()
                .map(|(from, to, straight)| (from % vertices, to % vertices, straight))
                .filter(|(from, to, _)| from < to)
                .collect();
            let plan = plan(&parallelisms, &edges);
            let regions = Regions::of(&plan);
            let all: Vec<SubtaskId> = (0..vertices)
                .flat_map(|v| (0..parallelisms[v]).map(move |i| id(v, i)))
                .collect();
            let connected = |a: &SubtaskId, b: &SubtaskId| plan.edges.iter().any(|e| {
                e.from == a.vertex && e.to == b.vertex
                    && (e.exchange != Exchange::Forward || a.index == b.index)
            });
            for start in &all {
                let mut seen = vec![*start];
                let mut next = 0;
                while let Some(at) = seen.get(next).copied() {
                    next += 1;
                    for other in &all {
                        if (connected(&at, other) || connected(other, &at)) && !seen.contains(other) {
                            seen.push(*other);
                        }
                    }
                }
                for other in &all {
                    let same = regions.region(*start) == regions.region(*other);
                    prop_assert_eq!(same, seen.contains(other));
                }
            }
            prop_assert!(regions.ids().all(|r| regions.members(r).next().is_some()));
        }
    }
}
