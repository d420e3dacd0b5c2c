//! The host of one [`KeyedProcessor`]: groups, states, timers, windows.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::{
    Answer, TestRecord,
    answer::Origins,
    to_batch,
    windows::{Assigner, join},
};
use crate::{
    Batch, Column, Context, Error, FiringKind, KeyedProcessor, Merge, TimerKind, Window, codec,
    contract::{Firings, FoldOutcome, Groups, Now},
    fold,
    platform::{Recorder, recording},
};

/// What has a state: a key, or a key and a window.
type GroupId = (Vec<u8>, Option<Window>);

/// Merges columns of states; there for operators that implement [`Merge`].
type MergeFn<K> = fn(&mut K, &Column, &Column, &Column) -> Result<Column, Error>;

/// Runs a [`KeyedProcessor`]; made by [`Harness::keyed`](super::Harness::keyed).
///
/// ```
/// # use cofferdam_sdk::{Context, Error, Firing, Group, KeyedProcessor, Outcome};
/// use cofferdam_sdk::testing::Harness;
///
/// /// Counts in windows, and emits when a window closes.
/// struct Count;
///
/// impl KeyedProcessor for Count {
///     type State = u64;
///     fn open(_: &Context) -> Result<Self, Error> {
///         Ok(Self)
///     }
///     fn fold(&mut self, group: &mut Group<'_, u64>, _: &mut Outcome) -> Result<(), Error> {
///         *group.state_or_default() += group.records().len() as u64;
///         Ok(())
///     }
///     fn fire(
///         &mut self,
///         group: &mut Group<'_, u64>,
///         firing: &Firing<'_>,
///         out: &mut Outcome,
///     ) -> Result<(), Error> {
///         out.emit(firing).json(&group.state())
///     }
/// }
///
/// let mut harness = Harness::keyed::<Count>(serde_json::json!({}))?.tumbling(1000);
/// harness.send([("a", "", 0), ("a", "", 900), ("a", "", 1000)])?;
/// let answer = harness.advance_watermark(999)?;
/// assert_eq!(answer.texts(0), ["2"]);
/// assert_eq!(harness.end()?.texts(0), ["1"]);
/// # Ok::<(), Error>(())
/// ```
#[derive(Debug)]
pub struct KeyedHarness<K: KeyedProcessor> {
    operator: K,
    assigner: Assigner,
    allowed_lateness: i64,
    merge: Option<MergeFn<K>>,
    states: BTreeMap<GroupId, Vec<u8>>,
    /// Windows that records have fallen into, and whether they have fired.
    windows: BTreeMap<GroupId, bool>,
    timers: BTreeSet<(i64, TimerKind, GroupId)>,
    now: Now,
    pub(super) recorder: Recorder,
}

impl<K: KeyedProcessor> KeyedHarness<K> {
    pub(super) fn open(config: &Value) -> Result<Self, Error> {
        let ctx = Context::for_test(config);
        let mut recorder = Recorder::default();
        let operator = recording(&mut recorder, || K::open(&ctx))?;
        Ok(Self {
            operator,
            assigner: Assigner::None,
            allowed_lateness: 0,
            merge: None,
            states: BTreeMap::new(),
            windows: BTreeMap::new(),
            timers: BTreeSet::new(),
            now: Now::default(),
            recorder,
        })
    }

    /// The same operator in tumbling windows of `size` milliseconds.
    #[must_use]
    pub fn tumbling(self, size: i64) -> Self {
        self.sliding(size, size)
    }

    /// The same operator in windows of `size` milliseconds, one every `slide`.
    #[must_use]
    pub fn sliding(mut self, size: i64, slide: i64) -> Self {
        self.assigner = Assigner::Sliding { size, slide };
        self
    }

    /// Lets records be late by so many milliseconds.
    #[must_use]
    pub fn allowed_lateness(mut self, millis: i64) -> Self {
        self.allowed_lateness = millis;
        self
    }

    /// Sends one batch of `(key, value, timestamp)` by input port 0.
    ///
    /// # Errors
    /// If the operator fails the batch, or answers what the host refuses.
    pub fn send<R: Into<TestRecord>>(
        &mut self,
        records: impl IntoIterator<Item = R>,
    ) -> Result<Answer, Error> {
        self.send_to(0, records)
    }

    /// Sends one batch of `(key, value, timestamp)` by an input port.
    ///
    /// # Errors
    /// As for [`send`](Self::send).
    pub fn send_to<R: Into<TestRecord>>(
        &mut self,
        input: u32,
        records: impl IntoIterator<Item = R>,
    ) -> Result<Answer, Error> {
        let batch = to_batch(input, records);
        let mut late = Vec::new();
        let mut rows: Vec<(GroupId, Vec<u32>)> = Vec::new();
        for record in batch.records() {
            let time = record.timestamp().unwrap_or_default();
            let mut taken = false;
            for window in self.assigner.windows(time) {
                let mut id = (record.key().to_vec(), window);
                self.join_sessions(&mut id, &mut rows)?;
                if id.1.is_some_and(|w| self.is_over(w)) {
                    continue;
                }
                taken = true;
                match rows.iter_mut().find(|(known, _)| *known == id) {
                    Some((_, rows)) => rows.push(record.index()),
                    None => rows.push((id, vec![record.index()])),
                }
            }
            if !taken {
                late.push(record.value().to_vec());
            }
        }
        let mut answer = self.fold(&batch, &rows)?;
        answer.late = late;
        answer.append(self.fire_again(&rows)?);
        Ok(answer)
    }

    /// Moves event time on: fires the windows and timers that are due by then, in
    /// order of time, and forgets windows for which nothing can come any more.
    ///
    /// # Errors
    /// As for [`send`](Self::send).
    pub fn advance_watermark(&mut self, to: i64) -> Result<Answer, Error> {
        self.now.watermark = Some(self.now.watermark.map_or(to, |now| now.max(to)));
        let answer = self.fire_due()?;
        let over: Vec<GroupId> = self
            .windows
            .keys()
            .filter(|id| id.1.is_some_and(|w| self.is_over(w)))
            .cloned()
            .collect();
        for id in over {
            self.windows.remove(&id);
            self.states.remove(&id);
            self.timers.retain(|(_, _, owner)| *owner != id);
        }
        Ok(answer)
    }

    /// Moves the host's clock on: fires the processing-time timers that are due.
    ///
    /// # Errors
    /// As for [`send`](Self::send).
    pub fn advance_time(&mut self, to: i64) -> Result<Answer, Error> {
        self.now.processing = self.now.processing.max(to);
        self.fire_due()
    }

    /// Ends the input: event time passes everything.
    ///
    /// # Errors
    /// As for [`send`](Self::send).
    pub fn end(&mut self) -> Result<Answer, Error> {
        self.advance_watermark(i64::MAX)
    }

    /// The state of a key, outside of windows.
    ///
    /// # Errors
    /// If it cannot be decoded.
    pub fn state(&self, key: &str) -> Result<Option<K::State>, Error> {
        let bytes = self.states.get(&(key.as_bytes().to_vec(), None));
        bytes.map_or(Ok(None), |bytes| codec::decode(bytes))
    }

    /// How many states the host holds.
    #[must_use]
    pub fn states(&self) -> usize {
        self.states.len()
    }

    /// How many bytes the encoded states have.
    #[must_use]
    pub fn state_bytes(&self) -> usize {
        self.states.values().map(Vec::len).sum()
    }

    /// How many timers are set.
    #[must_use]
    pub fn timers(&self) -> usize {
        self.timers.len()
    }

    /// Whether the watermark has left the window and its lateness behind.
    fn is_over(&self, window: Window) -> bool {
        let last = (window.end - 1).saturating_add(self.allowed_lateness);
        self.now.watermark.is_some_and(|w| w >= last)
    }

    /// Makes one of the new session in `id` and those that it meets.
    fn join_sessions(
        &mut self,
        id: &mut GroupId,
        rows: &mut Vec<(GroupId, Vec<u32>)>,
    ) -> Result<(), Error> {
        let (Assigner::Session { .. }, Some(mut window)) = (self.assigner, id.1) else {
            return Ok(());
        };
        let mut met: Vec<GroupId> = Vec::new();
        loop {
            let known = self.windows.keys().chain(rows.iter().map(|(id, _)| id));
            let next = known
                .filter(|other| other.0 == id.0 && !met.contains(other))
                .find_map(|other| Some((other.clone(), join(window, other.1?)?)));
            let Some((other, joined)) = next else { break };
            window = joined;
            met.push(other);
        }
        id.1 = Some(window);
        met.sort_by_key(|(_, window)| *window);
        let mut state = Vec::new();
        let mut indexes = Vec::new();
        for old in met {
            let other = self.states.remove(&old).unwrap_or_default();
            state = self.merge_states(&id.0, state, other)?;
            self.windows.remove(&old);
            let timers = std::mem::take(&mut self.timers);
            let moved = |owner: GroupId| if owner == old { id.clone() } else { owner };
            self.timers = timers.into_iter().map(|(at, k, owner)| (at, k, moved(owner))).collect();
            if let Some(at) = rows.iter().position(|(known, _)| *known == old) {
                indexes.extend(rows.remove(at).1);
            }
        }
        if !state.is_empty() {
            self.states.insert(id.clone(), state);
        }
        if !indexes.is_empty() {
            indexes.sort_unstable();
            rows.push((id.clone(), indexes));
        }
        if !self.is_over(window) {
            self.windows.insert(id.clone(), false);
        }
        Ok(())
    }

    fn merge_states(
        &mut self,
        key: &[u8],
        left: Vec<u8>,
        right: Vec<u8>,
    ) -> Result<Vec<u8>, Error> {
        if left.is_empty() || right.is_empty() {
            return Ok(if left.is_empty() { right } else { left });
        }
        let merge = self.merge.ok_or_else(|| Error::from("session windows need `Merge`"))?;
        let column = |bytes: &[u8]| [bytes].into_iter().collect::<Column>();
        let (keys, left, right) = (column(key), column(&left), column(&right));
        let merged =
            recording(&mut self.recorder, || merge(&mut self.operator, &keys, &left, &right))?;
        Ok(merged.get(0).to_vec())
    }

    fn groups(&self, rows: &[(GroupId, Vec<u32>)]) -> Groups {
        let state = |id| self.states.get(id).map_or(&[][..], Vec::as_slice);
        let windows = || rows.iter().filter_map(|(id, _)| id.1);
        let mut offsets = vec![0_u32];
        for (_, rows) in rows {
            let len = u32::try_from(rows.len()).expect("a test sends few records");
            offsets.push(offsets[offsets.len() - 1] + len);
        }
        Groups {
            keys: rows.iter().map(|(id, _)| &id.0).collect(),
            states: rows.iter().map(|(id, _)| state(id)).collect(),
            window_starts: windows().map(|w| w.start).collect(),
            window_ends: windows().map(|w| w.end).collect(),
            rows: rows.iter().flat_map(|(_, rows)| rows.iter().copied()).collect(),
            row_offsets: offsets,
        }
    }

    fn fold(&mut self, batch: &Batch, rows: &[(GroupId, Vec<u32>)]) -> Result<Answer, Error> {
        let fresh = rows.iter().map(|(id, _)| id).filter(|id| id.1.is_some());
        for id in fresh.cloned().collect::<Vec<_>>() {
            self.windows.entry(id).or_insert(false);
        }
        let groups = self.groups(rows);
        let (operator, now) = (&mut self.operator, self.now);
        let outcome = recording(&mut self.recorder, || fold::fold(operator, now, batch, &groups))?;
        let origins = Origins {
            len: batch.len(),
            keys: &batch.keys,
            values: &batch.values,
            timestamps: &batch.timestamps,
        };
        self.apply(rows, &origins, outcome)
    }

    /// A late record that is still allowed has its window fire once more.
    fn fire_again(&mut self, rows: &[(GroupId, Vec<u32>)]) -> Result<Answer, Error> {
        let ended = |w: Window| self.now.watermark.is_some_and(|now| now >= w.end - 1);
        let due: Vec<_> = rows
            .iter()
            .filter_map(|(id, _)| Some((id.1.filter(|w| ended(*w))?.end - 1, id.clone())))
            .map(|(time, id)| (time, FiringKind::Window, id))
            .collect();
        for (_, _, id) in &due {
            self.windows.insert(id.clone(), true);
        }
        self.fire(&due)
    }

    fn fire_due(&mut self) -> Result<Answer, Error> {
        let mut answer = Answer::default();
        // What fires may set timers that are due at once.
        loop {
            let due = self.take_due();
            if due.is_empty() {
                return Ok(answer);
            }
            answer.append(self.fire(&due)?);
        }
    }

    fn take_due(&mut self) -> Vec<(i64, FiringKind, GroupId)> {
        let Now { watermark, processing } = self.now;
        let passed = |at: i64| watermark.is_some_and(|now| now >= at);
        let mut due = Vec::new();
        for (id, fired) in &mut self.windows {
            if let Some(window) = id.1.filter(|w| !*fired && passed(w.end - 1)) {
                *fired = true;
                due.push((window.end - 1, FiringKind::Window, id.clone()));
            }
        }
        self.timers.retain(|(at, kind, id)| {
            let (is_due, kind) = match kind {
                TimerKind::Event => (passed(*at), FiringKind::Event),
                TimerKind::Processing => (*at <= processing, FiringKind::Processing),
            };
            if is_due {
                due.push((*at, kind, id.clone()));
            }
            !is_due
        });
        due.sort();
        due
    }

    fn fire(&mut self, due: &[(i64, FiringKind, GroupId)]) -> Result<Answer, Error> {
        if due.is_empty() {
            return Ok(Answer::default());
        }
        let mut rows: Vec<(GroupId, Vec<u32>)> = Vec::new();
        for (index, (_, _, id)) in (0..).zip(due) {
            match rows.iter_mut().find(|(known, _)| known == id) {
                Some((_, rows)) => rows.push(index),
                None => rows.push((id.clone(), vec![index])),
            }
        }
        let groups = self.groups(&rows);
        let firings = Firings {
            kinds: due.iter().map(|(_, kind, _)| *kind).collect(),
            times: due.iter().map(|(time, _, _)| *time).collect(),
        };
        let (operator, now) = (&mut self.operator, self.now);
        let outcome =
            recording(&mut self.recorder, || fold::fire(operator, now, &firings, &groups))?;
        let keys: Column = due.iter().map(|(_, _, id)| &id.0).collect();
        let origins = Origins {
            len: due.len(),
            keys: &keys,
            values: &Column::absent(),
            timestamps: &firings.times,
        };
        self.apply(&rows, &origins, outcome)
    }

    /// Takes over states and timers, and resolves emissions.
    fn apply(
        &mut self,
        rows: &[(GroupId, Vec<u32>)],
        origins: &Origins<'_>,
        outcome: FoldOutcome,
    ) -> Result<Answer, Error> {
        for (i, group) in outcome.changed.iter().enumerate() {
            let id = rows[*group as usize].0.clone();
            match outcome.states.get(i) {
                [] => drop(self.states.remove(&id)),
                state => drop(self.states.insert(id, state.to_vec())),
            }
        }
        for timer in &outcome.delete_timers {
            let id = rows[timer.group as usize].0.clone();
            self.timers.remove(&(timer.at, timer.kind, id));
        }
        for timer in &outcome.set_timers {
            let id = rows[timer.group as usize].0.clone();
            self.timers.insert((timer.at, timer.kind, id));
        }
        Answer::resolve(origins, outcome.emissions, outcome.rejected)
    }
}

impl<K: Merge> KeyedHarness<K> {
    /// The same operator in session windows that end when nothing came for `gap`
    /// milliseconds.
    #[must_use]
    pub fn session(mut self, gap: i64) -> Self {
        self.assigner = Assigner::Session { gap };
        self.merge = Some(fold::merge::<K>);
        self
    }
}
