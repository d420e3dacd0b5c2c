//! The coordinator in a small world of its own: two regions, each of two sources, two
//! operators and two sinks, whose steps, ends, aborts, failures, restarts and failed
//! writes come in any order. Whatever the order, a checkpoint holds of each subtask what
//! it was at the barrier, or at its end if no barrier came to it any more; and of the
//! operators' state a base and deltas that follow one on the other.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use proptest::prelude::*;

use super::*;
use crate::{ids::SubtaskIndex, state::GroupChunk};

const INSTANCES: u32 = 2;
/// Regions have vertices of their own, [`STAGES`] each.
const REGIONS: usize = 2;
const STAGES: usize = 3;
const SUBTASKS: usize = REGIONS * STAGES * INSTANCES as usize;

fn id(vertex: usize, index: u32) -> SubtaskId {
    SubtaskId { vertex, index: SubtaskIndex(index) }
}

fn all() -> impl Iterator<Item = SubtaskId> {
    (0..REGIONS * STAGES).flat_map(|vertex| (0..INSTANCES).map(move |index| id(vertex, index)))
}

fn region(subtask: SubtaskId) -> usize {
    subtask.vertex / STAGES
}

fn part(subtask: SubtaskId) -> Part {
    [Part::Source, Part::Operator, Part::Sink][subtask.vertex % STAGES]
}

/// Those that send to a subtask.
fn senders(subtask: SubtaskId) -> impl Iterator<Item = SubtaskId> {
    (0..INSTANCES).map(move |index| id(subtask.vertex - 1, index))
}

#[derive(Debug, Clone)]
enum Act {
    /// A subtask works, and takes its next barrier or ends if it can.
    Step {
        vertex: usize,
        index: u32,
        end: bool,
    },
    Begin(Purpose),
    Abort,
    /// What was being written is written, or not.
    Written(bool),
    /// A subtask of a region fails: all of the region is gone.
    Fail(usize),
    /// Regions that failed go on from the last checkpoint.
    Deploy,
}

struct World {
    coordinator: Coordinator,
    /// Commands that a source or sink has not obeyed yet.
    inbox: BTreeMap<SubtaskId, VecDeque<Command>>,
    /// Barriers that each subtask has passed on, or answered.
    passed: BTreeMap<SubtaskId, Vec<CheckpointId>>,
    finished: BTreeSet<SubtaskId>,
    /// What each subtask has done, and had done at each barrier.
    work: BTreeMap<SubtaskId, u64>,
    at: BTreeMap<(SubtaskId, CheckpointId), u64>,
    /// What each operator had done when it last said something of its state.
    said: BTreeMap<SubtaskId, u64>,
    writing: Option<Box<Ready>>,
    /// The operators' state in the last checkpoint that was written.
    saved: BTreeMap<(usize, KeyGroup), Pieces>,
    /// What each subtask had done at it.
    restored: BTreeMap<SubtaskId, u64>,
    /// Regions that failed and are not back yet.
    recovering: BTreeSet<usize>,
    stopping: BTreeSet<CheckpointId>,
    stopped: BTreeSet<SubtaskId>,
    last: Option<Purpose>,
}

impl World {
    fn new() -> Self {
        let parts = all().map(|subtask| (subtask, part(subtask))).collect();
        Self {
            coordinator: Coordinator::new(parts, CheckpointId(1)),
            inbox: BTreeMap::new(),
            passed: BTreeMap::new(),
            finished: BTreeSet::new(),
            work: BTreeMap::new(),
            at: BTreeMap::new(),
            said: BTreeMap::new(),
            writing: None,
            saved: BTreeMap::new(),
            restored: BTreeMap::new(),
            recovering: BTreeSet::new(),
            stopping: BTreeSet::new(),
            stopped: BTreeSet::new(),
            last: None,
        }
    }

    fn act(&mut self, act: &Act) {
        match act {
            Act::Step { vertex, index, end } => self.step(id(*vertex, *index), *end),
            Act::Begin(purpose) => self.begin(*purpose),
            Act::Abort => {
                if self.coordinator.pending_purpose().is_some_and(|purpose| !purpose.ends()) {
                    self.coordinator.abort();
                }
            }
            Act::Written(well) => self.written(*well),
            Act::Fail(region) => self.fail(*region),
            Act::Deploy => self.deploy(),
        }
    }

    /// As the master does it: see `master/recovery.rs`.
    fn fail(&mut self, failed: usize) {
        let goes_on = self.coordinator.pending_purpose().is_none_or(|purpose| !purpose.ends())
            && self.writing.as_ref().is_none_or(|writing| !writing.purpose.ends());
        if !goes_on || self.last.is_some() || !self.recovering.insert(failed) {
            return;
        }
        self.coordinator.abort();
        self.coordinator.restart(|subtask| region(subtask) == failed);
    }

    fn deploy(&mut self) {
        if self.writing.is_some() {
            return;
        }
        for back in std::mem::take(&mut self.recovering) {
            for subtask in all().filter(|subtask| region(*subtask) == back) {
                self.inbox.remove(&subtask);
                self.passed.remove(&subtask);
                self.finished.remove(&subtask);
                let work = self.restored.get(&subtask).copied();
                self.work.insert(subtask, work.unwrap_or(0));
                match work.filter(|_| part(subtask) == Part::Operator) {
                    Some(work) => self.said.insert(subtask, work),
                    None => self.said.remove(&subtask),
                };
            }
        }
    }

    fn begin(&mut self, purpose: Purpose) {
        if self.writing.is_some() || self.last.is_some() || !self.recovering.is_empty() {
            return;
        }
        let (next, pending) = (self.coordinator.next_id(), self.coordinator.pending());
        let Some(actions) = self.coordinator.begin(purpose, 0) else { return };
        assert!(pending.is_none(), "one at a time");
        assert!(purpose != Purpose::Final || self.finished.len() == SUBTASKS);
        if purpose.ends() && purpose != Purpose::Final {
            self.stopping.insert(next);
        }
        self.obey(actions);
    }

    fn obey(&mut self, actions: Actions) {
        for (subtask, command) in actions.commands {
            let gone = self.stopped.contains(&subtask)
                || (part(subtask) == Part::Source && self.finished.contains(&subtask));
            if !gone {
                self.inbox.entry(subtask).or_default().push_back(command);
            }
        }
        if let Some(ready) = actions.ready {
            assert!(self.writing.is_none());
            self.check(&ready);
            self.writing = Some(ready);
        }
    }

    /// The next barrier that has come to a subtask on all its channels.
    fn next_barrier(&self, subtask: SubtaskId) -> Option<CheckpointId> {
        let mine = self.passed.get(&subtask).map_or(0, Vec::len);
        let of = |from: &SubtaskId| self.passed.get(from).and_then(|p| p.get(mine)).copied();
        let came: Vec<_> = senders(subtask)
            .map(|from| of(&from).or((!self.finished.contains(&from)).then_some(CheckpointId(0))))
            .collect();
        let barrier = came.iter().flatten().max().copied()?;
        came.iter().flatten().all(|b| *b == barrier && b.0 > 0).then_some(barrier)
    }

    fn step(&mut self, subtask: SubtaskId, end: bool) {
        if self.stopped.contains(&subtask) || self.recovering.contains(&region(subtask)) {
            return;
        }
        if self.finished.contains(&subtask) {
            return self.prepare(subtask);
        }
        *self.work.entry(subtask).or_default() += 1;
        let barrier = if part(subtask) == Part::Source {
            if end {
                return self.finish(subtask);
            }
            match self.inbox.get_mut(&subtask).and_then(VecDeque::pop_front) {
                Some(Command::Trigger(barrier)) => Some(barrier.checkpoint),
                _ => None,
            }
        } else {
            self.next_barrier(subtask)
        };
        if let Some(barrier) = barrier {
            self.passed.entry(subtask).or_default().push(barrier);
            if self.stopping.contains(&barrier) {
                self.stopped.insert(subtask);
            }
            self.answer(subtask, barrier);
        } else if part(subtask) != Part::Source {
            let mine = self.passed.get(&subtask).map_or(0, Vec::len);
            if senders(subtask).all(|from| {
                self.finished.contains(&from) && self.passed.get(&from).map_or(0, Vec::len) <= mine
            }) {
                self.finish(subtask);
            }
        }
    }

    /// A base holds what the operator has done; a delta also what it had done at its
    /// snapshot before, so that it is seen what it follows.
    fn snapshot_of(&mut self, subtask: SubtaskId) -> Snapshot {
        let work = self.work.get(&subtask).copied().unwrap_or(0);
        let group = KeyGroup(u16::try_from(subtask.index.0).unwrap());
        let state =
            SubtaskState { sink: Some(work.to_be_bytes().to_vec()), ..SubtaskState::default() };
        let mut key_groups = Vec::new();
        if part(subtask) == Part::Operator {
            let chunk = match self.said.insert(subtask, work) {
                Some(before) if !work.is_multiple_of(4) => {
                    GroupChunk::Delta([before.to_be_bytes(), work.to_be_bytes()].concat().into())
                }
                _ => GroupChunk::Base(work.to_be_bytes().to_vec().into()),
            };
            key_groups.push((group, chunk));
        }
        Snapshot { key_groups, state, ..Snapshot::default() }
    }

    fn answer(&mut self, subtask: SubtaskId, checkpoint: CheckpointId) {
        self.at.insert((subtask, checkpoint), self.work.get(&subtask).copied().unwrap_or(0));
        let snapshot = self.snapshot_of(subtask);
        let actions = self.coordinator.snapshot(subtask, checkpoint, snapshot);
        self.obey(actions);
    }

    fn finish(&mut self, subtask: SubtaskId) {
        self.finished.insert(subtask);
        self.inbox.remove(&subtask);
        let snapshot = if part(subtask) == Part::Sink {
            Snapshot::default()
        } else {
            self.snapshot_of(subtask)
        };
        let actions = self.coordinator.finished(subtask, snapshot);
        self.obey(actions);
    }

    /// A sink whose input has ended does as it is told.
    fn prepare(&mut self, subtask: SubtaskId) {
        if let Some(Command::Prepare { checkpoint, .. }) =
            self.inbox.get_mut(&subtask).and_then(VecDeque::pop_front)
        {
            self.answer(subtask, checkpoint);
        }
    }

    fn check(&self, ready: &Ready) {
        for subtask in all() {
            let now = self.work.get(&subtask).copied().unwrap_or(0);
            let want = self.at.get(&(subtask, ready.id)).copied().unwrap_or(now).to_be_bytes();
            let got = ready.subtasks[&subtask].0.sink.as_deref();
            assert_eq!(got, Some(&want[..]), "{subtask:?} in {}", ready.id);
            if part(subtask) == Part::Operator {
                let group = (subtask.vertex, KeyGroup(u16::try_from(subtask.index.0).unwrap()));
                let mut all = ready.changed.get(&group).cloned().unwrap_or_default();
                all.follow(self.saved.get(&group).cloned().unwrap_or_default());
                let mut at = all.base.expect("it begins with a base").to_vec();
                for delta in &all.deltas {
                    assert_eq!(delta[..8], at, "{group:?} in {}", ready.id);
                    at = delta[8..].to_vec();
                }
                assert_eq!(at, want, "{group:?} in {}", ready.id);
            }
        }
        assert!(ready.purpose != Purpose::Final || self.finished.len() == SUBTASKS);
    }

    fn written(&mut self, well: bool) {
        let Some(ready) = self.writing.take() else { return };
        if well {
            self.last = Some(ready.purpose).filter(|purpose| purpose.ends());
            for (subtask, (state, _)) in &ready.subtasks {
                let work = state.sink.as_deref().expect("each says what it has done");
                self.restored.insert(*subtask, u64::from_be_bytes(work.try_into().unwrap()));
            }
            for (group, mut pieces) in ready.changed {
                pieces.follow(self.saved.remove(&group).unwrap_or_default());
                self.saved.insert(group, pieces);
            }
        } else if !ready.purpose.ends() {
            self.coordinator.put_back(*ready);
            // What is known of regions that will go on from an earlier point is of no use.
            self.coordinator.restart(|subtask| self.recovering.contains(&region(subtask)));
        } else {
            // The job would be restarted.
            self.writing = Some(ready);
        }
    }

    /// From anywhere the job can still come to its end.
    fn conclude(&mut self) {
        for _ in 0..60 {
            for subtask in all() {
                let stop = self.inbox.get(&subtask).is_none_or(VecDeque::is_empty);
                self.step(subtask, stop);
            }
            self.written(true);
            self.deploy();
            self.begin(Purpose::Final);
        }
        assert!(self.last.is_some(), "the job hangs: {:?}", self.coordinator);
    }
}

fn act() -> impl Strategy<Value = Act> {
    let step = (0..REGIONS * STAGES, 0..INSTANCES, prop::bool::weighted(0.03));
    let purpose = prop_oneof![
        12 => Just(Purpose::Periodic),
        2 => Just(Purpose::Manual),
        3 => Just(Purpose::Savepoint),
        1 => Just(Purpose::Stop),
        1 => Just(Purpose::StopWithSavepoint),
        3 => Just(Purpose::Final),
    ];
    prop_oneof![
        24 => step.prop_map(|(vertex, index, end)| Act::Step { vertex, index, end }),
        3 => purpose.prop_map(Act::Begin),
        1 => Just(Act::Abort),
        3 => any::<bool>().prop_map(Act::Written),
        1 => (0..REGIONS).prop_map(Act::Fail),
        2 => Just(Act::Deploy),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn a_checkpoint_is_one_cut_through_the_job_in_whatever_order_things_happen(
        acts in prop::collection::vec(act(), 0..400),
    ) {
        let mut world = World::new();
        acts.iter().for_each(|act| world.act(act));
        world.conclude();
    }
}
