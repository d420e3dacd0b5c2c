//! Keyed state against a model that is plain enough to be believed: random
//! batches, watermarks, timers, and moves to another parallelism, with windows
//! of every kind and without. A state is the list of the records that were
//! folded into it, so that nothing can be lost or doubled unseen.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::{
    Change, Firing, FiringKind, GroupChunk, Groups, KeyedState, TimerChange, TimerKind,
    merge::merge,
    windows::{Window, WindowKind, Windows, aligned},
};
use crate::stream::{
    Batch, BatchBuilder,
    keys::{KeyGroup, KeyGroups},
    watermark,
};

const KEY_GROUPS: u32 = 8;

/// What an operator emitted: kind, time, key, window, state.
type Output = (u8, i64, u8, Option<Window>, Vec<u8>);

#[derive(Debug, Clone)]
enum Op {
    /// Key and time of each record.
    Batch(Vec<(u8, i64)>),
    /// The watermark goes on by so much.
    Advance(i64),
    /// So does the clock.
    Tick(i64),
    /// A checkpoint, and the state is restored from it with this parallelism.
    Move(u32),
    /// A checkpoint, and all goes on.
    Checkpoint,
    /// Subtasks give their snapshots for a checkpoint that is given up: they are
    /// kept for the next one.
    GivenUp,
    /// Chunks of each key group that follow one another are merged: from this one on.
    Merge(usize),
}

/// What the operator does with a record: the same in the model and in the test.
struct Rule {
    clears: bool,
    event: Option<i64>,
    deletes: Option<i64>,
    processing: Option<i64>,
}

fn rule(id: u8, time: i64) -> Rule {
    Rule {
        clears: id % 13 == 5,
        event: id.is_multiple_of(3).then_some(time + i64::from(id % 40)),
        deletes: (id % 7 == 1).then_some(time + 3),
        processing: id.is_multiple_of(5).then_some(time * 2),
    }
}

#[derive(Debug, Clone, Default)]
struct Cell {
    state: Vec<u8>,
    event: BTreeSet<i64>,
    processing: BTreeSet<i64>,
}

impl Cell {
    fn fold(&mut self, id: u8, time: i64) {
        let rule = rule(id, time);
        self.state.push(id);
        if rule.clears {
            self.state.clear();
        }
        self.event.extend(rule.event);
        if let Some(at) = rule.deletes {
            self.event.remove(&at);
        }
        self.processing.extend(rule.processing);
    }
}

/// By key and window, sorted by time within a key.
struct Model {
    windows: Option<Windows>,
    cells: BTreeMap<(u8, Option<Window>), Cell>,
    watermark: i64,
    out: Vec<Output>,
}

impl Model {
    fn batch(&mut self, records: &[(u8, i64, u8)]) -> Vec<u8> {
        let mut late = Vec::new();
        let mut touched = BTreeSet::new();
        // First where each record belongs, then the folds: as sessions do.
        let mut rows: BTreeMap<_, Vec<(u8, i64)>> = BTreeMap::new();
        for &(key, time, id) in records {
            match self.windows.map(|w| (w, w.kind)) {
                None => rows.entry((key, None)).or_default().push((id, time)),
                Some((w, WindowKind::Aligned { size, slide, offset })) => {
                    let open: Vec<_> = aligned(time, size, slide, offset)
                        .filter(|x| x.end - 1 + w.lateness > self.watermark)
                        .collect();
                    if open.is_empty() {
                        late.push(id);
                    }
                    for window in open {
                        rows.entry((key, Some(window))).or_default().push((id, time));
                    }
                }
                Some((w, WindowKind::Session { gap })) => {
                    let mut whole = Window { start: time, end: time + gap };
                    let joined: Vec<Window> = self
                        .cells
                        .keys()
                        .filter(|(k, _)| *k == key)
                        .filter_map(|(_, x)| *x)
                        .filter(|x| x.start <= time + gap && time <= x.end)
                        .collect();
                    for x in &joined {
                        whole.start = whole.start.min(x.start);
                        whole.end = whole.end.max(x.end);
                    }
                    if whole.end - 1 + w.lateness <= self.watermark {
                        late.push(id);
                        continue;
                    }
                    let mut cell = Cell::default();
                    let mut pending = Vec::new();
                    for x in joined {
                        let old = self.cells.remove(&(key, Some(x))).unwrap();
                        cell.state.extend(old.state);
                        cell.event.extend(old.event);
                        cell.processing.extend(old.processing);
                        pending.extend(rows.remove(&(key, Some(x))).unwrap_or_default());
                    }
                    pending.push((id, time));
                    self.cells.insert((key, Some(whole)), cell);
                    rows.insert((key, Some(whole)), pending);
                }
            }
        }
        for (at, mut rows) in rows {
            rows.sort_unstable();
            let cell = self.cells.entry(at).or_default();
            fold_all(cell, &rows);
            touched.insert(at);
        }
        for (key, window) in touched {
            if let Some(window) = window.filter(|w| w.end - 1 <= self.watermark) {
                self.emit(0, window.end - 1, key, Some(window));
            }
        }
        self.drop_empty();
        late
    }

    fn emit(&mut self, kind: u8, at: i64, key: u8, window: Option<Window>) {
        let state = self.cells[&(key, window)].state.clone();
        self.out.push((kind, at, key, window, state));
    }

    fn advance(&mut self, to: i64) {
        let before = std::mem::replace(&mut self.watermark, to);
        let at: Vec<_> = self.cells.keys().copied().collect();
        for (key, window) in at {
            let mut gone = i64::MAX;
            if let (Some(window), Some(windows)) = (window, self.windows) {
                let last = window.end - 1;
                if before < last && last <= to {
                    self.emit(0, last, key, Some(window));
                }
                gone = last + windows.lateness;
            }
            let timers = std::mem::take(&mut self.cells.get_mut(&(key, window)).unwrap().event);
            let (due, rest): (BTreeSet<_>, _) = timers.into_iter().partition(|t| *t <= to);
            for t in due.into_iter().filter(|t| *t <= gone) {
                self.emit(1, t, key, window);
            }
            self.cells.get_mut(&(key, window)).unwrap().event = rest;
            if window.is_some() && gone <= to {
                self.cells.remove(&(key, window));
            }
        }
        self.drop_empty();
    }

    fn tick(&mut self, now: i64) {
        let at: Vec<_> = self.cells.keys().copied().collect();
        for (key, window) in at {
            let timers =
                std::mem::take(&mut self.cells.get_mut(&(key, window)).unwrap().processing);
            let (due, rest): (BTreeSet<_>, _) = timers.into_iter().partition(|t| *t <= now);
            due.into_iter().for_each(|t| self.emit(2, t, key, window));
            self.cells.get_mut(&(key, window)).unwrap().processing = rest;
        }
        self.drop_empty();
    }

    fn drop_empty(&mut self) {
        if self.windows.is_none() {
            self.cells.retain(|_, c| {
                !(c.state.is_empty() && c.event.is_empty() && c.processing.is_empty())
            });
        }
    }
}

/// A call's deletions come before what it sets.
fn fold_all(cell: &mut Cell, rows: &[(u8, i64)]) {
    for (id, time) in rows {
        if let Some(at) = rule(*id, *time).deletes {
            cell.event.remove(&at);
        }
    }
    for (id, time) in rows {
        let rule = rule(*id, *time);
        let before = cell.event.clone();
        cell.fold(*id, *time);
        // Undo the deletion in the wrong order.
        cell.event = before.into_iter().chain(rule.event).collect();
    }
}

/// The real thing: as many states as subtasks, driven as the task manager does.
struct Real {
    windows: Option<Windows>,
    groups: KeyGroups,
    subtasks: Vec<KeyedState>,
    /// The chunks of the last checkpoint: of each key group a base and deltas.
    chunks: BTreeMap<KeyGroup, Vec<Vec<u8>>>,
    /// Those of snapshots since then.
    pending: Vec<(KeyGroup, GroupChunk)>,
    out: Vec<Output>,
}

impl Real {
    fn new(windows: Option<Windows>) -> Self {
        let groups = KeyGroups::new(KEY_GROUPS, 1);
        let subtasks = vec![KeyedState::new(windows, groups)];
        let (chunks, pending) = (BTreeMap::new(), Vec::new());
        Self { windows, groups, subtasks, chunks, pending, out: Vec::new() }
    }

    fn snapshot(&mut self) {
        self.pending.extend(self.subtasks.iter_mut().flat_map(KeyedState::snapshot));
    }

    fn checkpoint(&mut self) {
        self.snapshot();
        for (group, chunk) in std::mem::take(&mut self.pending) {
            match chunk {
                GroupChunk::Base(base) if base.is_empty() => drop(self.chunks.remove(&group)),
                GroupChunk::Base(base) => drop(self.chunks.insert(group, vec![base.to_vec()])),
                GroupChunk::Delta(delta) => {
                    self.chunks
                        .get_mut(&group)
                        .expect("a delta follows a base")
                        .push(delta.to_vec());
                }
            }
        }
    }

    fn merge(&mut self, from: usize) {
        self.chunks.retain(|_, chunks| {
            if from < chunks.len() {
                let merged = merge(&chunks[from..], from == 0).unwrap();
                chunks.truncate(from);
                chunks.extend((from > 0 || !merged.is_empty()).then_some(merged));
            }
            !chunks.is_empty()
        });
    }

    fn restore(&mut self, parallelism: u32) {
        self.groups = KeyGroups::new(KEY_GROUPS, parallelism);
        self.subtasks =
            (0..parallelism).map(|_| KeyedState::new(self.windows, self.groups)).collect();
        for (group, chunks) in &self.chunks {
            let owner = self.groups.subtask_of(*group) as usize;
            self.subtasks[owner].restore(*group, chunks).unwrap();
        }
    }

    fn batch(&mut self, records: &[(u8, i64, u8)], watermark: i64) -> Vec<u8> {
        let mut late = Vec::new();
        for subtask in 0..self.subtasks.len() {
            let mut builder = BatchBuilder::new();
            for (key, time, id) in records {
                let owner = self.groups.subtask_of(self.groups.group_of(&[*key]));
                if owner as usize == subtask {
                    builder.push(Some(&[*key]), &[*id], Some(*time));
                }
            }
            let batch = builder.take();
            let state = &mut self.subtasks[subtask];
            let groups = if state.has_sessions() {
                let mut plan = state.plan_sessions(&batch, watermark);
                while let Some(pairs) = plan.pairs() {
                    let mut answer = crate::stream::Column::default();
                    for (left, right) in pairs.left.iter().zip(pairs.right.iter()) {
                        answer.push(&[left, right].concat());
                    }
                    assert!(plan.merged(&answer));
                }
                state.group_sessions(plan, watermark)
            } else {
                state.group(&batch, watermark)
            };
            late.extend(groups.late.iter().map(|row| batch.value(*row as usize)[0]));
            state.apply(&groups, &fold(&batch, &groups)).unwrap();
            if let Some((due, groups)) = state.fire_again(&groups) {
                fire(&mut self.out, state, &due, &groups);
            }
        }
        late
    }

    fn advance(&mut self, watermark: i64) {
        for state in &mut self.subtasks {
            while let Some((due, groups)) = state.due(watermark) {
                fire(&mut self.out, state, &due, &groups);
            }
        }
    }

    fn tick(&mut self, now: i64) {
        for state in &mut self.subtasks {
            while let Some((due, groups)) = state.due_processing(now) {
                fire(&mut self.out, state, &due, &groups);
            }
        }
    }
}

fn fold(batch: &Batch, groups: &Groups) -> Change {
    let mut change = Change::default();
    for g in 0..groups.len() {
        let rows = groups.row_offsets[g] as usize..groups.row_offsets[g + 1] as usize;
        let mut state = groups.states.get(g).to_vec();
        let group = u32::try_from(g).unwrap();
        for row in &groups.rows[rows] {
            let i = *row as usize;
            let id = batch.value(i)[0];
            let rule = rule(id, batch.timestamp(i).unwrap());
            state.push(id);
            if rule.clears {
                state.clear();
            }
            let timer = |kind| move |at| TimerChange { group, kind, at };
            change.set_timers.extend(rule.event.map(timer(TimerKind::Event)));
            change.set_timers.extend(rule.processing.map(timer(TimerKind::Processing)));
            change.delete_timers.extend(rule.deletes.map(timer(TimerKind::Event)));
        }
        change.changed.push(group);
        change.states.push(&state);
    }
    change
}

fn fire(out: &mut Vec<Output>, state: &mut KeyedState, due: &[Firing], groups: &Groups) {
    for (g, firing) in due.iter().enumerate() {
        let kind = match firing.kind {
            FiringKind::Window => 0,
            FiringKind::Event => 1,
            FiringKind::Processing => 2,
        };
        let window = (!groups.window_starts.is_empty())
            .then(|| Window { start: groups.window_starts[g], end: groups.window_ends[g] });
        let key = groups.keys.get(g)[0];
        out.push((kind, firing.at, key, window, groups.states.get(g).to_vec()));
    }
    state.apply(groups, &Change::default()).unwrap();
}

/// The same outputs, in any order of keys; ids within a state in any order too
/// where sessions merge in another order.
fn sorted(out: &mut Vec<Output>) -> Vec<Output> {
    let mut all = std::mem::take(out);
    all.sort();
    all
}

fn check(windows: Option<Windows>, ops: &[Op]) -> Result<(), TestCaseError> {
    let mut model =
        Model { windows, cells: BTreeMap::new(), watermark: watermark::NONE, out: Vec::new() };
    let mut real = Real::new(windows);
    let (mut next, mut now) = (0_u8, 0);
    for op in ops {
        match op {
            Op::Batch(records) => {
                let mut numbered = Vec::new();
                for (key, time) in records {
                    numbered.push((*key, *time, next));
                    next = next.wrapping_add(1);
                }
                let mut want = model.batch(&numbered);
                let mut got = real.batch(&numbered, model.watermark);
                want.sort_unstable();
                got.sort_unstable();
                prop_assert_eq!(got, want, "late records");
            }
            Op::Advance(by) => {
                let to = model.watermark.max(0) + by;
                model.advance(to);
                real.advance(to);
            }
            Op::Tick(by) => {
                now += by;
                model.tick(now);
                real.tick(now);
            }
            Op::Checkpoint => real.checkpoint(),
            Op::GivenUp => real.snapshot(),
            Op::Merge(from) => real.merge(*from),
            Op::Move(parallelism) => {
                real.checkpoint();
                real.restore(*parallelism);
            }
        }
        prop_assert_eq!(sorted(&mut real.out), sorted(&mut model.out), "after {:?}", op);
        let len: usize = real.subtasks.iter().map(KeyedState::len).sum();
        prop_assert_eq!(len, model.cells.len());
    }
    real.advance(watermark::END);
    model.advance(watermark::END);
    prop_assert_eq!(sorted(&mut real.out), sorted(&mut model.out), "at the end");
    if windows.is_some() {
        prop_assert!(real.subtasks.iter().all(KeyedState::is_empty), "nothing remains");
    }
    real.checkpoint();
    real.merge(0);
    prop_assert!(windows.is_none() || real.chunks.is_empty(), "nothing remains saved");
    Ok(())
}

fn ops() -> impl Strategy<Value = Vec<Op>> {
    let records = prop::collection::vec((0_u8..6, 0_i64..120), 0..12);
    let op = prop_oneof![
        5 => records.prop_map(Op::Batch),
        3 => (0_i64..25).prop_map(Op::Advance),
        1 => (0_i64..60).prop_map(Op::Tick),
        1 => (1_u32..=4).prop_map(Op::Move),
        2 => Just(Op::Checkpoint),
        1 => Just(Op::GivenUp),
        1 => (0_usize..4).prop_map(Op::Merge),
    ];
    prop::collection::vec(op, 0..30)
}

proptest! {
    #[test]
    fn state_without_windows_does_what_the_model_does(ops in ops()) {
        check(None, &ops)?;
    }

    #[test]
    fn aligned_windows_do_what_the_model_does(
        ops in ops(), slide in 1_i64..20, times in 1_i64..4, offset in 0_i64..7, lateness in 0_i64..30,
    ) {
        let kind = WindowKind::Aligned { size: slide * times, slide, offset: offset % slide };
        check(Some(Windows { kind, lateness }), &ops)?;
    }

    #[test]
    fn sessions_do_what_the_model_does(ops in ops(), gap in 1_i64..15, lateness in 0_i64..30) {
        check(Some(Windows { kind: WindowKind::Session { gap }, lateness }), &ops)?;
    }
}

#[test]
fn a_window_whose_operator_left_no_state_fires_after_a_restore_too() {
    let kind = WindowKind::Aligned { size: 10, slide: 10, offset: 0 };
    let mut real = Real::new(Some(Windows { kind, lateness: 0 }));
    let mut builder = BatchBuilder::new();
    builder.push(Some(b"k"), b"", Some(3));
    let groups = real.subtasks[0].group(&builder.take(), watermark::NONE);
    real.subtasks[0].apply(&groups, &Change::default()).unwrap();
    real.checkpoint();
    real.restore(1);
    assert!(real.subtasks[0].due(9).is_some(), "the window is due");
}

#[test]
fn windows_with_many_keys_are_cleaned_up_in_time_that_grows_with_them() {
    let kind = WindowKind::Aligned { size: 10, slide: 10, offset: 0 };
    let mut state =
        KeyedState::new(Some(Windows { kind, lateness: 5 }), KeyGroups::new(KEY_GROUPS, 1));
    let mut builder = BatchBuilder::new();
    // At a scan of the others for each, this takes minutes and not a moment.
    for key in 0_u32..300_000 {
        builder.push(Some(&key.to_le_bytes()), b"", Some(1));
    }
    state.group(&builder.take(), watermark::NONE);
    let mut fired = 0;
    while let Some((due, _)) = state.due(100) {
        fired += due.len();
    }
    assert_eq!((fired, state.len()), (300_000, 0));
}
