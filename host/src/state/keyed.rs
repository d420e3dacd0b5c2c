//! The keyed state of one subtask, as its driver uses it: group a batch by key
//! and window, take back what the operator made of it, and say what is due.

use crate::{
    state::{
        buffer::Spare,
        call::{Change, Firing, FiringKind, Groups, InvalidChange, Replaced, TimerKind},
        changes::Changes,
        sessions::{SessionPlan, Sessions},
        table::{Entry, EntryId, ShortBytes, Table},
        timers::{Deadlines, Timers},
        windows::{self, Window, WindowKind, Windows},
    },
    stream::{Batch, Column, keys::KeyGroups},
};

/// How many firings are handed over in one call.
pub const MAX_FIRINGS: usize = 1024;

/// Tables with more entries than this are taken to be larger than a core's own cache.
const LARGE_TABLE: usize = 1 << 14;
/// How many look-ups are prepared at once: enough for their cache misses to
/// overlap, few enough that nothing is gone again before it is used.
const AHEAD: usize = 64;

/// The keyed state of a subtask.
#[derive(Debug)]
pub struct KeyedState {
    pub(super) table: Table,
    pub(super) windows: Option<Windows>,
    pub(super) key_groups: KeyGroups,
    pub(super) event_timers: Timers,
    pub(super) processing_timers: Timers,
    pub(super) window_ends: Deadlines,
    cleanups: Deadlines,
    pub(super) sessions: Sessions,
    pub(super) changes: Changes,
    pub(super) spare: Spare,
    /// Bytes of keys and states too long to lie within their entries.
    spilled: usize,
    call: u32,
    /// Scratch of `group`.
    hashes: Vec<u64>,
    pairs: Vec<(u32, u32)>,
    assigned: Vec<(u32, Window)>,
}

impl KeyedState {
    /// An empty state.
    #[must_use]
    pub fn new(windows: Option<Windows>, key_groups: KeyGroups) -> Self {
        Self {
            table: Table::default(),
            windows,
            key_groups,
            event_timers: Timers::default(),
            processing_timers: Timers::default(),
            window_ends: Deadlines::default(),
            cleanups: Deadlines::default(),
            sessions: Sessions::default(),
            changes: Changes::new(key_groups.count()),
            spare: Spare::default(),
            spilled: 0,
            call: 0,
            hashes: Vec::new(),
            pairs: Vec::new(),
            assigned: Vec::new(),
        }
    }

    /// Gives back what is only kept so that the next call need not ask for it.
    pub fn give_back(&mut self) {
        self.spare.clear();
        (self.hashes, self.pairs, self.assigned) = (Vec::new(), Vec::new(), Vec::new());
    }

    /// Number of keys (and windows) with state or timers.
    #[must_use]
    pub fn len(&self) -> usize {
        self.table.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.table.is_empty()
    }

    /// Keys and their states, those without state left out, in columns of so many bytes and
    /// entries at most, about: for who wants to look at all of it.
    pub fn columns(&self, bytes: usize, entries: usize) -> impl Iterator<Item = (Column, Column)> {
        let mut all = self.table.iter().filter(|(_, entry)| !entry.state.is_empty()).peekable();
        std::iter::from_fn(move || {
            all.peek()?;
            let (mut keys, mut states) = (Column::default(), Column::default());
            while keys.len() < entries && keys.data().len() + states.data().len() < bytes {
                let Some((_, entry)) = all.next() else { break };
                keys.push(&entry.key);
                states.push(&entry.state);
            }
            Some((keys, states))
        })
    }

    /// Heap bytes in use, about.
    #[must_use]
    pub fn bytes(&self) -> usize {
        // By time and by entry.
        const TIMER_BYTES: usize = 48;
        let timers = self.event_timers.len() + self.processing_timers.len();
        let deadlines = self.window_ends.bytes() + self.cleanups.bytes();
        let kept = self.table.base_bytes() + self.spilled;
        let beside = self.sessions.bytes() + self.changes.bytes();
        kept + timers * TIMER_BYTES + deadlines + beside
    }

    /// Whether records merge windows: [`plan_sessions`](Self::plan_sessions)
    /// must be used instead of [`group`](Self::group).
    #[must_use]
    pub fn has_sessions(&self) -> bool {
        matches!(self.windows, Some(Windows { kind: WindowKind::Session { .. }, .. }))
    }

    /// Divides a batch into groups by key and window. Records whose windows are
    /// all closed at `watermark` are listed as late and in no group. A record
    /// without event time is taken to be of the beginning of time, so it is
    /// late as soon as there is a watermark.
    pub fn group(&mut self, batch: &Batch, watermark: i64) -> Groups {
        self.next_call();
        let mut groups = Groups::default();
        match self.windows {
            None => self.group_by_key(batch, &mut groups),
            Some(windows) => self.group_by_window(batch, windows, watermark, &mut groups),
        }
        let pairs = std::mem::take(&mut self.pairs);
        groups.order_rows(&pairs);
        self.pairs = pairs;
        groups
    }

    fn next_call(&mut self) {
        self.pairs.clear();
        self.call = self.call.wrapping_add(1);
        if self.call == 0 {
            // Once in four thousand million calls: forget all earlier stamps.
            self.call = 1;
            let ids: Vec<EntryId> = self.table.iter().map(|(id, _)| id).collect();
            ids.into_iter().for_each(|id| self.table.get_mut(id).call = 0);
        }
    }

    fn group_by_key(&mut self, batch: &Batch, groups: &mut Groups) {
        let table = &self.table;
        self.hashes.clear();
        match batch.keys() {
            Some(keys) => self.hashes.extend(keys.iter().map(|k| table.hash(k, Window::NONE))),
            None => self.hashes.resize(batch.len(), table.hash(&[], Window::NONE)),
        }
        for i in 0..batch.len() {
            self.warm_up(i);
            let hash = self.hashes[i];
            let group = self.join_group(hash, batch.key(i), Window::NONE, groups);
            self.pairs.push((group, row(i)));
        }
    }

    fn group_by_window(
        &mut self,
        batch: &Batch,
        windows: Windows,
        watermark: i64,
        groups: &mut Groups,
    ) {
        self.assign(batch, windows, watermark, &mut groups.late);
        let assigned = std::mem::take(&mut self.assigned);
        self.hashes.clear();
        let table = &self.table;
        self.hashes.extend(
            assigned.iter().map(|(row, window)| table.hash(batch.key(*row as usize), *window)),
        );
        for (i, (row, window)) in assigned.iter().enumerate() {
            self.warm_up(i);
            let hash = self.hashes[i];
            let group = self.join_group(hash, batch.key(*row as usize), *window, groups);
            self.pairs.push((group, *row));
        }
        self.assigned = assigned;
        self.note_windows(windows, watermark, groups);
    }

    /// Which open windows each record belongs to.
    fn assign(&mut self, batch: &Batch, windows: Windows, watermark: i64, late: &mut Vec<u32>) {
        self.assigned.clear();
        let WindowKind::Aligned { size, slide, offset } = windows.kind else { return };
        let mut last: Option<Window> = None;
        for i in 0..batch.len() {
            let time = batch.timestamp(i).unwrap_or(i64::MIN);
            let before = self.assigned.len();
            if size == slide {
                // Neighbours mostly share their window, and a division costs
                // more than the rest of the assignment.
                let window = match last {
                    Some(w) if w.start <= time && time < w.end => w,
                    _ => {
                        let start = windows::last_start(time, slide, offset);
                        Window { start, end: start.saturating_add(size) }
                    }
                };
                last = Some(window);
                if !windows.is_closed(window, watermark) {
                    self.assigned.push((row(i), window));
                }
            } else {
                let open = windows::aligned(time, size, slide, offset)
                    .filter(|w| !windows.is_closed(*w, watermark));
                self.assigned.extend(open.map(|w| (row(i), w)));
            }
            if self.assigned.len() == before {
                late.push(row(i));
            }
        }
    }

    /// Registers new windows' ends, and lists windows that have to fire again.
    fn note_windows(&mut self, windows: Windows, watermark: i64, groups: &mut Groups) {
        for id in &groups.entries {
            let window = self.table.get(*id).window;
            let last = window.last_millisecond();
            if last <= watermark {
                groups.fire_again.push(*id);
            }
            let entry = self.table.get_mut(*id);
            if !entry.registered {
                entry.registered = true;
                entry.fired = last <= watermark;
                // It will fire even if the operator leaves it without state.
                self.mark(*id);
                if last > watermark {
                    self.window_ends.add(last, *id);
                }
                self.cleanups.add(last.saturating_add(windows.lateness), *id);
            }
        }
    }

    /// Touches what the next look-ups will need, if it is time for that at
    /// look-up `i`, so that their cache misses overlap.
    fn warm_up(&self, i: usize) {
        if !i.is_multiple_of(AHEAD) || self.table.len() <= LARGE_TABLE {
            return;
        }
        let next = &self.hashes[i..self.hashes.len().min(i + AHEAD)];
        let mut hints = [0_u64; AHEAD];
        for (hint, hash) in hints.iter_mut().zip(next) {
            *hint = self.table.touch(*hash);
        }
        let touched =
            hints.iter().fold(0, |sum: u32, hint| sum.wrapping_add(self.table.touch_entry(*hint)));
        std::hint::black_box(touched);
    }

    /// As [`warm_up`](Self::warm_up), for entries that are known.
    fn warm_up_entries(&self, i: usize, next: &[EntryId]) {
        if i.is_multiple_of(AHEAD) && self.table.len() > LARGE_TABLE {
            let next = next.iter().take(AHEAD);
            let touched = next.fold(0, |sum: u32, id| sum.wrapping_add(self.table.get(*id).timers));
            std::hint::black_box(touched);
        }
    }

    /// The group of a key and window in this call; a new one if it is the first
    /// time that they appear.
    fn join_group(&mut self, hash: u64, key: &[u8], window: Window, groups: &mut Groups) -> u32 {
        let id = match self.table.find(hash, key, window) {
            Some(id) => id,
            None => {
                let id = self.add_entry(hash, key, window);
                groups.created.push(id);
                id
            }
        };
        let entry = self.table.get_mut(id);
        if entry.call != self.call {
            entry.call = self.call;
            entry.group = row(groups.entries.len());
            groups.add(id, self.table.get(id));
        }
        self.table.get(id).group
    }

    fn add_entry(&mut self, hash: u64, key: &[u8], window: Window) -> EntryId {
        let key_group = self.key_groups.group_of(key);
        self.spilled += spilled(key.len());
        let id = self.table.insert(hash, key, window, key_group);
        let listed = self.table.is_listed(self.table.get(id));
        let group = self.changes.of(key_group);
        group.live += 1;
        group.listed += u32::from(listed);
        id
    }

    /// Adds an entry that a snapshot held; it must be new.
    pub(super) fn put(&mut self, key: &[u8], window: Window, state: &[u8], fired: bool) -> EntryId {
        let hash = self.table.hash(key, window);
        let id = self.add_entry(hash, key, window);
        self.spilled += spilled(state.len());
        let entry = self.table.get_mut(id);
        entry.state = ShortBytes::from_slice(state);
        self.table.set_saved(id);
        if let Some(windows) = self.windows {
            let last = window.last_millisecond();
            let entry = self.table.get_mut(id);
            entry.registered = true;
            entry.fired = fired;
            if !fired {
                self.window_ends.add(last, id);
            }
            self.cleanups.add(last.saturating_add(windows.lateness), id);
            if self.has_sessions() {
                self.sessions.add(key, window);
            }
        }
        id
    }

    pub(super) fn set_timer(&mut self, kind: TimerKind, at: i64, id: EntryId) {
        if self.timers(kind).set(at, id) {
            self.table.get_mut(id).timers += 1;
        }
    }

    pub(super) fn delete_timer(&mut self, kind: TimerKind, at: i64, id: EntryId) {
        if self.timers(kind).delete(at, id) {
            self.table.get_mut(id).timers -= 1;
        }
    }

    /// Whether a window is taken to have fired at its end.
    pub(super) fn set_fired(&mut self, id: EntryId, at: i64, fired: bool) {
        self.table.get_mut(id).fired = fired;
        if fired {
            self.window_ends.remove(at, id);
        } else {
            self.window_ends.add(at, id);
        }
    }

    fn timers(&mut self, kind: TimerKind) -> &mut Timers {
        match kind {
            TimerKind::Event => &mut self.event_timers,
            TimerKind::Processing => &mut self.processing_timers,
        }
    }

    /// First half of [`group`](Self::group) for session windows: which sessions
    /// the batch opens, extends and merges. The driver has the operator merge
    /// states as the plan asks, and then calls
    /// [`group_sessions`](Self::group_sessions).
    pub fn plan_sessions(&mut self, batch: &Batch, watermark: i64) -> SessionPlan {
        let Some(windows @ Windows { kind: WindowKind::Session { gap }, .. }) = self.windows else {
            return SessionPlan::default();
        };
        let table = &self.table;
        self.sessions.plan(
            batch,
            gap,
            |w| windows.is_closed(*w, watermark),
            |key, window| {
                table
                    .find(table.hash(key, window), key, window)
                    .map(|id| table.get(id).state.to_vec())
                    .unwrap_or_default()
            },
        )
    }

    /// Second half: replaces the sessions that were merged or extended, and
    /// groups the batch.
    pub fn group_sessions(&mut self, plan: SessionPlan, watermark: i64) -> Groups {
        self.next_call();
        let Some(windows) = self.windows else { return Groups::default() };
        let mut groups = Groups { late: plan.late, ..Groups::default() };
        for (g, session) in (0_u32..).zip(plan.sessions) {
            let mut replaced = Vec::new();
            for old in &session.absorbed {
                let hash = self.table.hash(&session.key, *old);
                if *old != session.window
                    && let Some(id) = self.table.find(hash, &session.key, *old)
                {
                    let timers = self.timers_of(id);
                    replaced.push(Replaced { entry: self.remove_entry(id), timers });
                    self.sessions.remove(&session.key, *old);
                }
            }
            let hash = self.table.hash(&session.key, session.window);
            let found = self.table.find(hash, &session.key, session.window);
            let id = match found {
                Some(id) => id,
                None => {
                    self.sessions.add(&session.key, session.window);
                    self.add_entry(hash, &session.key, session.window)
                }
            };
            self.set_state(id, &session.state);
            for (kind, at) in replaced.iter().flat_map(|old| &old.timers) {
                self.set_timer(*kind, *at, id);
            }
            if found.is_none() {
                groups.merged.push((id, replaced));
            }
            self.mark(id);
            groups.add(id, self.table.get(id));
            self.pairs.extend(session.rows.iter().map(|row| (g, *row)));
        }
        self.note_windows(windows, watermark, &mut groups);
        let pairs = std::mem::take(&mut self.pairs);
        groups.order_rows(&pairs);
        self.pairs = pairs;
        groups
    }

    pub(super) fn timers_of(&self, id: EntryId) -> Vec<(TimerKind, i64)> {
        if self.table.get(id).timers == 0 {
            return Vec::new();
        }
        let event = self.event_timers.of(id).map(|at| (TimerKind::Event, at));
        let processing = self.processing_timers.of(id).map(|at| (TimerKind::Processing, at));
        event.chain(processing).collect()
    }

    fn set_state(&mut self, id: EntryId, state: &[u8]) {
        let entry = self.table.get_mut(id);
        self.spilled = self.spilled + spilled(state.len()) - spilled(entry.state.len());
        // A state mostly keeps its length: then it is one copy, without allocation.
        if entry.state.len() == state.len() {
            entry.state.copy_from_slice(state);
        } else {
            entry.state = ShortBytes::from_slice(state);
        }
    }

    /// The next snapshot must have this entry.
    pub(super) fn mark(&mut self, id: EntryId) {
        if self.table.list(id) {
            self.changes.listed.push(id);
            self.changes.of(self.table.get(id).key_group).listed += 1;
        }
    }

    /// Takes back what the operator made of a call. Either all of the change is
    /// applied or, if it is invalid, nothing.
    ///
    /// # Errors
    /// If the change does not fit the call.
    pub fn apply(&mut self, groups: &Groups, change: &Change) -> Result<(), InvalidChange> {
        change.validate(groups)?;
        for (i, (group, state)) in change.changed.iter().zip(change.states.iter()).enumerate() {
            // Groups mostly change in order.
            self.warm_up_entries(i, &groups.entries[*group as usize..]);
            let id = groups.entries[*group as usize];
            self.set_state(id, state);
            self.mark(id);
        }
        for timer in &change.delete_timers {
            let id = groups.entries[timer.group as usize];
            if self.timers(timer.kind).delete(timer.at, id) {
                self.table.get_mut(id).timers -= 1;
                self.mark(id);
            }
        }
        for timer in &change.set_timers {
            let id = groups.entries[timer.group as usize];
            self.set_timer(timer.kind, timer.at, id);
            self.mark(id);
        }
        if self.windows.is_none() {
            self.drop_empty(groups);
        }
        Ok(())
    }

    /// A key without state and timers is as if it had never been.
    fn drop_empty(&mut self, groups: &Groups) {
        for id in &groups.entries {
            let entry = self.table.get(*id);
            if entry.state.is_empty() && entry.timers == 0 {
                self.remove_entry(*id);
            }
        }
    }

    /// Removes an entry and whatever is due for it, and gives it back.
    pub(super) fn remove_entry(&mut self, id: EntryId) -> Entry {
        let window = self.table.get(id).window;
        if let Some(windows) = self.windows {
            let last = window.last_millisecond();
            self.window_ends.remove(last, id);
            self.cleanups.remove(last.saturating_add(windows.lateness), id);
        }
        self.forget_entry(id)
    }

    /// Removes an entry that no deadline names any more.
    fn forget_entry(&mut self, id: EntryId) -> Entry {
        let entry = self.table.get(id);
        let key_group = entry.key_group;
        if entry.timers > 0 {
            self.event_timers.delete_all(id);
            self.processing_timers.delete_all(id);
        }
        let entry = self.table.remove(id);
        self.spilled -= spilled(entry.key.len()) + spilled(entry.state.len());
        let group = self.changes.of(key_group);
        group.live -= 1;
        group.listed -= u32::from(self.table.is_listed(&entry));
        if self.table.is_saved(&entry) {
            self.changes.removed(key_group, &entry.key, entry.window);
        }
        entry
    }

    /// The windows of the call that had fired already and must fire again now
    /// that late records changed them.
    pub fn fire_again(&mut self, groups: &Groups) -> Option<(Vec<Firing>, Groups)> {
        if groups.fire_again.is_empty() {
            return None;
        }
        let due = groups.fire_again.iter().map(|id| {
            let at = self.table.get(*id).window.last_millisecond();
            (Firing { kind: FiringKind::Window, at }, *id)
        });
        Some(self.firing_groups(due.collect()))
    }

    /// What is next due in event time, at most [`MAX_FIRINGS`] and each group
    /// once. Call again until there is nothing; windows are cleaned up on the
    /// way.
    pub fn due(&mut self, watermark: i64) -> Option<(Vec<Firing>, Groups)> {
        loop {
            let window = self.window_ends.next().filter(|at| *at <= watermark);
            let timer = self.event_timers.next().filter(|at| *at <= watermark);
            let cleanup = self.cleanups.next().filter(|at| *at <= watermark);
            let first = [window, timer, cleanup].into_iter().flatten().min()?;
            if window == Some(first) {
                let (at, ids) = self.window_ends.pop(watermark, MAX_FIRINGS)?;
                for id in &ids {
                    self.table.get_mut(*id).fired = true;
                    self.mark(*id);
                }
                let firing = Firing { kind: FiringKind::Window, at };
                return Some(self.firing_groups(ids.into_iter().map(|id| (firing, id)).collect()));
            }
            if timer == Some(first) {
                // Not past a window's end: what it emits belongs in between.
                let limit = [window, cleanup].into_iter().flatten().min().unwrap_or(watermark);
                return self.due_timers(TimerKind::Event, limit.min(watermark));
            }
            let (_, ids) = self.cleanups.pop(watermark, MAX_FIRINGS)?;
            for id in ids {
                self.clean_up(id);
            }
        }
    }

    fn clean_up(&mut self, id: EntryId) {
        if self.has_sessions() {
            let entry = self.table.get(id);
            self.sessions.remove(&entry.key, entry.window);
        }
        // Its window has fired, and its clean-up was taken from the deadlines: to
        // look for them there would cost as much as the window has keys.
        self.forget_entry(id);
    }

    /// Processing-time timers that are due; as [`due`](Self::due).
    pub fn due_processing(&mut self, now: i64) -> Option<(Vec<Firing>, Groups)> {
        self.due_timers(TimerKind::Processing, now)
    }

    /// When the first processing-time timer is due.
    #[must_use]
    pub fn next_processing(&self) -> Option<i64> {
        self.processing_timers.next()
    }

    fn due_timers(&mut self, kind: TimerKind, limit: i64) -> Option<(Vec<Firing>, Groups)> {
        self.next_call();
        let call = self.call;
        let firing_kind = match kind {
            TimerKind::Event => FiringKind::Event,
            TimerKind::Processing => FiringKind::Processing,
        };
        let mut due = Vec::new();
        while due.len() < MAX_FIRINGS {
            let Some((at, id)) = self.timers(kind).pop(limit) else { break };
            let entry = self.table.get_mut(id);
            if entry.call == call {
                // What the first firing does comes before the second one.
                self.timers(kind).set(at, id);
                break;
            }
            entry.call = call;
            entry.timers -= 1;
            self.mark(id);
            due.push((Firing { kind: firing_kind, at }, id));
        }
        if due.is_empty() { None } else { Some(self.firing_groups(due)) }
    }

    /// One group a firing.
    pub(super) fn firing_groups(&self, due: Vec<(Firing, EntryId)>) -> (Vec<Firing>, Groups) {
        let mut groups = Groups::default();
        for (_, id) in &due {
            groups.add(*id, self.table.get(*id));
        }
        let count = row(due.len());
        groups.rows = (0..count).collect();
        groups.row_offsets = (0..=count).collect();
        (due.into_iter().map(|(firing, _)| firing).collect(), groups)
    }
}

/// Heap bytes of a key or state of this length.
fn spilled(len: usize) -> usize {
    if len > 16 { len } else { 0 }
}

#[expect(clippy::cast_possible_truncation, reason = "a batch has fewer than 2^32 records")]
fn row(i: usize) -> u32 {
    i as u32
}
