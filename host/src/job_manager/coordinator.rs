//! The checkpoint coordinator: when a checkpoint begins, who has to answer, and
//! when it is whole. Pure: it is told what happened and says what to do.
//!
//! At most one checkpoint is under way. Snapshots of key groups hold what
//! changed since the subtask's last snapshot, whatever became of that
//! checkpoint; so changes of a checkpoint that was given up are kept for the
//! next one, in order.
//!
//! A subtask may finish after it answered a checkpoint that others still owe
//! their answers to. What it says at its end is of a later point of the stream
//! than the barrier, so it is held back until that checkpoint is out of the way:
//! a source's last position in it would skip all records in between.

use std::collections::{BTreeMap, BTreeSet};

use crate::{
    checkpoint::{SubtaskDetails, SubtaskState},
    ids::CheckpointId,
    job_manager::pieces::Pieces,
    sandbox::MemoryDelta,
    stream::{Barrier, keys::KeyGroup},
    task_manager::{Command, Snapshot, SubtaskId},
};

/// Why a checkpoint is taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// The job goes on.
    Periodic,
    /// As that, but somebody asked for it.
    Manual,
    /// Somebody asked for a savepoint; the job goes on.
    Savepoint,
    /// The job was asked to stop, and stops at it.
    Stop,
    /// As that, with a savepoint.
    StopWithSavepoint,
    /// Every input has ended; this is what remains.
    Final,
}

impl Purpose {
    /// Whether the job does not go on after it.
    #[must_use]
    pub fn ends(self) -> bool {
        match self {
            Self::Periodic | Self::Manual | Self::Savepoint => false,
            Self::Stop | Self::StopWithSavepoint | Self::Final => true,
        }
    }

    /// Whether somebody may take it to another place, so that sinks make visible all that
    /// they have.
    #[must_use]
    pub fn seals(self) -> bool {
        matches!(self, Self::Savepoint | Self::StopWithSavepoint | Self::Final)
    }
}

/// What a subtask does in a checkpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// It begins: barriers come from it.
    Source,
    /// It answers the barrier.
    Operator,
    /// It answers the barrier, and commits when the checkpoint is complete.
    Sink,
}

/// A checkpoint whose subtasks have all answered, to be written.
#[derive(Debug)]
pub struct Ready {
    /// Its number.
    pub id: CheckpointId,
    /// Why it was taken.
    pub purpose: Purpose,
    /// When it began, milliseconds since 1970.
    pub triggered_at: i64,
    /// Key groups that changed since the last one that was written, by vertex.
    pub changed: BTreeMap<(usize, KeyGroup), Pieces>,
    /// What belongs to each subtask, and a guest's own snapshot.
    pub subtasks: BTreeMap<SubtaskId, (SubtaskState, Option<Vec<u8>>)>,
    /// How long it took each subtask that answered it.
    pub took: BTreeMap<SubtaskId, SubtaskDetails>,
    /// What changed in guests' memories since the last one that was written.
    pub memories: BTreeMap<SubtaskId, MemoryDelta>,
}

impl Ready {
    /// Bytes of what changed: what is to be written, but for merging.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        let changed: usize = self.changed.values().map(Pieces::bytes).sum();
        let guests = self.subtasks.values().filter_map(|(_, guest)| guest.as_ref());
        let memories: usize = self.memories.values().map(MemoryDelta::bytes).sum();
        (changed + guests.map(Vec::len).sum::<usize>() + memories) as u64
    }
}

#[derive(Debug)]
struct Pending {
    id: CheckpointId,
    purpose: Purpose,
    triggered_at: i64,
    waiting: BTreeSet<SubtaskId>,
    took: BTreeMap<SubtaskId, SubtaskDetails>,
}

/// What to do: commands to send, and perhaps a checkpoint to write.
#[derive(Debug, Default)]
pub struct Actions {
    /// Commands, and to whom.
    pub commands: Vec<(SubtaskId, Command)>,
    /// A checkpoint that is whole.
    pub ready: Option<Box<Ready>>,
}

/// The coordinator of one attempt to run a job.
#[derive(Debug)]
pub struct Coordinator {
    parts: BTreeMap<SubtaskId, Part>,
    next: CheckpointId,
    pending: Option<Pending>,
    finished: BTreeSet<SubtaskId>,
    /// What every subtask said last.
    answers: BTreeMap<SubtaskId, (SubtaskState, Option<Vec<u8>>)>,
    changed: BTreeMap<(usize, KeyGroup), Pieces>,
    memories: BTreeMap<SubtaskId, MemoryDelta>,
    /// What subtasks said at their end, after they had answered the checkpoint
    /// that is under way.
    held: Vec<(SubtaskId, Snapshot)>,
    whole_next: bool,
}

impl Coordinator {
    /// For these subtasks; the first checkpoint will have the number `next`.
    #[must_use]
    pub fn new(parts: BTreeMap<SubtaskId, Part>, next: CheckpointId) -> Self {
        Self {
            parts,
            next,
            pending: None,
            finished: BTreeSet::new(),
            answers: BTreeMap::new(),
            changed: BTreeMap::new(),
            memories: BTreeMap::new(),
            held: Vec::new(),
            whole_next: false,
        }
    }

    /// Has operators give all of their state at the next checkpoint: what changed builds
    /// on something that is damaged.
    pub fn ask_whole(&mut self) {
        self.whole_next = true;
    }

    /// The number of the next checkpoint.
    #[must_use]
    pub fn next_id(&self) -> CheckpointId {
        self.next
    }

    /// The checkpoint that is under way, and when it began.
    #[must_use]
    pub fn pending(&self) -> Option<(CheckpointId, i64)> {
        self.pending.as_ref().map(|p| (p.id, p.triggered_at))
    }

    /// Why the checkpoint that is under way is taken.
    #[must_use]
    pub fn pending_purpose(&self) -> Option<Purpose> {
        self.pending.as_ref().map(|p| p.purpose)
    }

    /// Whether every subtask's input has ended.
    #[must_use]
    pub fn all_finished(&self) -> bool {
        self.finished.len() == self.parts.len()
    }

    /// Whether any source can still put a barrier into the stream.
    #[must_use]
    pub fn has_running_source(&self) -> bool {
        self.parts.iter().any(|(id, part)| *part == Part::Source && !self.finished.contains(id))
    }

    /// Begins a checkpoint, unless one is under way, or no source is left that
    /// could (the final checkpoint needs none).
    pub fn begin(&mut self, purpose: Purpose, now_millis: i64) -> Option<Actions> {
        let possible = match purpose {
            Purpose::Final => self.all_finished(),
            _ => self.has_running_source(),
        };
        if self.pending.is_some() || !possible {
            return None;
        }
        let id = self.next;
        self.next = CheckpointId(id.0 + 1);
        let mut waiting = BTreeSet::new();
        let mut actions = Actions::default();
        let barrier = Barrier {
            checkpoint: id,
            stop: purpose.ends(),
            seal: purpose.seals(),
            whole: std::mem::take(&mut self.whole_next),
        };
        for (subtask, part) in &self.parts {
            let finished = self.finished.contains(subtask);
            match part {
                Part::Source if !finished => {
                    actions.commands.push((*subtask, Command::Trigger(barrier)));
                }
                Part::Sink if finished => {
                    let prepare = Command::Prepare { checkpoint: id, last: purpose.seals() };
                    actions.commands.push((*subtask, prepare));
                }
                // What a finished source or operator said last stands.
                Part::Source | Part::Operator if finished => continue,
                _ => {}
            }
            waiting.insert(*subtask);
        }
        let (triggered_at, took) = (now_millis, BTreeMap::new());
        self.pending = Some(Pending { id, purpose, triggered_at, waiting, took });
        actions.ready = self.complete();
        Some(actions)
    }

    /// A subtask answered.
    pub fn snapshot(
        &mut self,
        subtask: SubtaskId,
        id: CheckpointId,
        snapshot: Snapshot,
    ) -> Actions {
        let took = snapshot.took;
        self.take(subtask, snapshot);
        if let Some(pending) = &mut self.pending
            && pending.id == id
        {
            pending.waiting.remove(&subtask);
            pending.took.insert(subtask, took);
        }
        Actions { commands: Vec::new(), ready: self.complete() }
    }

    /// A subtask's input has ended.
    pub fn finished(&mut self, subtask: SubtaskId, snapshot: Snapshot) -> Actions {
        self.finished.insert(subtask);
        let mut actions = Actions::default();
        let sink = self.parts.get(&subtask) == Some(&Part::Sink);
        let answered = self.pending.as_ref().is_some_and(|p| !p.waiting.contains(&subtask));
        match (sink, answered) {
            (true, _) => {}
            (false, true) => self.held.push((subtask, snapshot)),
            (false, false) => self.take(subtask, snapshot),
        }
        if let Some(pending) = &mut self.pending
            && pending.waiting.contains(&subtask)
        {
            if sink {
                let last = pending.purpose.seals();
                let prepare = Command::Prepare { checkpoint: pending.id, last };
                actions.commands.push((subtask, prepare));
            } else {
                pending.waiting.remove(&subtask);
            }
        }
        actions.ready = self.complete();
        actions
    }

    /// Gives up the checkpoint that is under way. What its subtasks said is
    /// kept for the next one.
    pub fn abort(&mut self) -> Option<CheckpointId> {
        let aborted = self.pending.take().map(|p| p.id);
        self.take_held();
        aborted
    }

    /// Some subtasks go on from the last completed checkpoint: what they said since is of
    /// records that come again. To be called while no checkpoint is under way.
    pub fn restart(&mut self, gone: impl Fn(SubtaskId) -> bool) {
        let vertices: BTreeSet<usize> =
            self.parts.keys().filter(|id| gone(**id)).map(|id| id.vertex).collect();
        self.finished.retain(|id| !gone(*id));
        self.answers.retain(|id, _| !gone(*id));
        self.held.retain(|(id, _)| !gone(*id));
        self.memories.retain(|id, _| !gone(*id));
        // Subtasks of a keyed operator are fed by the same exchange: they go together.
        self.changed.retain(|(vertex, _), _| !vertices.contains(vertex));
    }

    /// A checkpoint could not be written: its changes go with the next one.
    pub fn put_back(&mut self, ready: Ready) {
        for (key, pieces) in ready.changed {
            self.changed.entry(key).or_default().follow(pieces);
        }
        for (subtask, earlier) in ready.memories {
            self.add_memory(subtask, earlier, true);
        }
    }

    fn take(&mut self, subtask: SubtaskId, snapshot: Snapshot) {
        for (group, chunk) in snapshot.key_groups {
            self.changed.entry((subtask.vertex, group)).or_default().add(chunk);
        }
        if let Some(memory) = snapshot.memory {
            self.add_memory(subtask, *memory, false);
        }
        self.answers.insert(subtask, (snapshot.state, snapshot.guest));
    }

    /// Puts what changed in a memory before or behind what is known already.
    fn add_memory(&mut self, subtask: SubtaskId, delta: MemoryDelta, first: bool) {
        let both = match self.memories.remove(&subtask) {
            None => delta,
            Some(known) if first => delta.then(known),
            Some(known) => known.then(delta),
        };
        self.memories.insert(subtask, both);
    }

    fn complete(&mut self) -> Option<Box<Ready>> {
        let pending = self.pending.take_if(|p| p.waiting.is_empty())?;
        let ready = Ready {
            id: pending.id,
            purpose: pending.purpose,
            triggered_at: pending.triggered_at,
            changed: std::mem::take(&mut self.changed),
            subtasks: self.answers.clone(),
            took: pending.took,
            memories: std::mem::take(&mut self.memories),
        };
        self.take_held();
        Some(Box::new(ready))
    }

    fn take_held(&mut self) {
        for (subtask, snapshot) in std::mem::take(&mut self.held) {
            self.take(subtask, snapshot);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{ids::SubtaskIndex, state::GroupChunk};

    fn id(vertex: usize) -> SubtaskId {
        SubtaskId { vertex, index: SubtaskIndex(0) }
    }

    fn coordinator() -> Coordinator {
        let parts = [(id(0), Part::Source), (id(1), Part::Operator), (id(2), Part::Sink)];
        Coordinator::new(BTreeMap::from(parts), CheckpointId(1))
    }

    fn state(group: u16, chunk: &[u8]) -> Snapshot {
        let base = GroupChunk::Base(chunk.to_vec().into());
        Snapshot { key_groups: vec![(KeyGroup(group), base)], ..Snapshot::default() }
    }

    fn base(ready: &Ready, group: u16) -> &[u8] {
        ready.changed[&(1, KeyGroup(group))].base.as_deref().unwrap()
    }

    #[test]
    fn a_checkpoint_is_whole_when_every_subtask_has_answered() {
        let mut c = coordinator();
        let begun = c.begin(Purpose::Periodic, 5).unwrap();
        let barrier =
            Barrier { checkpoint: CheckpointId(1), stop: false, seal: false, whole: false };
        assert_eq!(begun.commands, [(id(0), Command::Trigger(barrier))]);
        assert!(c.begin(Purpose::Periodic, 6).is_none(), "one at a time");
        assert!(c.snapshot(id(0), CheckpointId(1), Snapshot::default()).ready.is_none());
        assert!(c.snapshot(id(1), CheckpointId(1), state(3, b"x")).ready.is_none());
        let ready = c.snapshot(id(2), CheckpointId(1), Snapshot::default()).ready.unwrap();
        assert_eq!((ready.id, ready.triggered_at), (CheckpointId(1), 5));
        assert_eq!(base(&ready, 3), b"x");
        assert_eq!(ready.subtasks.len(), 3);
    }

    #[test]
    fn all_of_the_state_is_given_once_when_that_was_asked_for() {
        let mut c = coordinator();
        c.ask_whole();
        for whole in [true, false] {
            let begun = c.begin(Purpose::Periodic, 5).unwrap();
            let [(_, Command::Trigger(barrier))] = &begun.commands[..] else { panic!("{begun:?}") };
            assert_eq!(barrier.whole, whole);
            c.abort();
        }
    }

    #[test]
    fn changes_of_a_checkpoint_that_was_given_up_go_with_the_next_one() {
        let mut c = coordinator();
        c.begin(Purpose::Periodic, 0).unwrap();
        c.snapshot(id(1), CheckpointId(1), state(3, b"old"));
        assert_eq!(c.abort(), Some(CheckpointId(1)));
        c.begin(Purpose::Periodic, 1).unwrap();
        // A late answer to the first one counts for nothing but its changes.
        assert!(c.snapshot(id(0), CheckpointId(1), Snapshot::default()).ready.is_none());
        for vertex in 0..2 {
            assert!(c.snapshot(id(vertex), CheckpointId(2), Snapshot::default()).ready.is_none());
        }
        let ready = c.snapshot(id(2), CheckpointId(2), Snapshot::default()).ready.unwrap();
        assert_eq!(base(&ready, 3), b"old");
        let mut again = coordinator();
        let delta = GroupChunk::Delta(b"newer".to_vec().into());
        let newer = Snapshot { key_groups: vec![(KeyGroup(3), delta)], ..Snapshot::default() };
        again.snapshot(id(1), CheckpointId(3), newer);
        again.put_back(*ready);
        assert_eq!(
            again.changed[&(1, KeyGroup(3))].in_order(),
            (vec![&b"old"[..], b"newer"], true),
            "what changed since follows what was put back"
        );
    }

    #[test]
    fn subtasks_that_finish_during_a_checkpoint_do_not_hold_it_up() {
        let mut c = coordinator();
        c.begin(Purpose::Periodic, 0).unwrap();
        assert!(c.finished(id(0), Snapshot::default()).ready.is_none());
        assert!(c.finished(id(1), state(1, b"end")).ready.is_none());
        let asked = c.finished(id(2), Snapshot::default());
        let prepare = Command::Prepare { checkpoint: CheckpointId(1), last: false };
        assert_eq!(asked.commands, [(id(2), prepare)]);
        assert!(c.snapshot(id(2), CheckpointId(1), Snapshot::default()).ready.is_some());
        assert!(c.begin(Purpose::Periodic, 1).is_none(), "no source is left");
        let last = c.begin(Purpose::Final, 1).unwrap();
        let prepare = Command::Prepare { checkpoint: CheckpointId(2), last: true };
        assert_eq!(last.commands, [(id(2), prepare)]);
    }

    #[test]
    fn what_a_subtask_says_at_its_end_is_no_part_of_a_checkpoint_that_it_answered_before() {
        let at = |position: &[u8]| Snapshot {
            state: SubtaskState {
                positions: BTreeMap::from([("split".to_owned(), position.to_vec())]),
                ..SubtaskState::default()
            },
            ..Snapshot::default()
        };
        let mut c = coordinator();
        c.begin(Purpose::Periodic, 0).unwrap();
        c.snapshot(id(0), CheckpointId(1), at(b"barrier"));
        c.snapshot(id(1), CheckpointId(1), state(1, b"barrier"));
        c.finished(id(0), at(b"end"));
        c.finished(id(1), state(1, b"end"));
        let ready = c.snapshot(id(2), CheckpointId(1), Snapshot::default()).ready.unwrap();
        assert_eq!(ready.subtasks[&id(0)].0.positions["split"], b"barrier");
        assert_eq!(base(&ready, 1), b"barrier");
        c.finished(id(2), Snapshot::default());
        c.begin(Purpose::Final, 1).unwrap();
        let ready = c.snapshot(id(2), CheckpointId(2), Snapshot::default()).ready.unwrap();
        assert_eq!(ready.subtasks[&id(0)].0.positions["split"], b"end");
        assert_eq!(base(&ready, 1), b"end");
    }
}

#[cfg(test)]
#[path = "coordinator_simulation.rs"]
mod simulation;
