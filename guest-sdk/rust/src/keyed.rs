//! Operators with state by key: what an author implements and sees. How a call
//! of the contract becomes calls of these traits is in `fold.rs`.

use serde::{Serialize, de::DeserializeOwned};

use crate::{
    Batch, Context, Error, Outcome, Record,
    contract::{FiringKind, Now, Timer, TimerKind},
};

/// An operator with state by key, which the host keeps. It is a pure fold:
/// whatever it knows of a key is in the group's state, and anything that it
/// keeps in `self` must follow from the configuration.
///
/// ```
/// use cofferdam_sdk::{Context, Error, Firing, Group, KeyedProcessor, Outcome, testing::Harness};
///
/// /// Sums the numbers of each key, and emits the sum so far.
/// struct Sum;
///
/// impl KeyedProcessor for Sum {
///     type State = i64;
///
///     fn open(_: &Context) -> Result<Self, Error> {
///         Ok(Self)
///     }
///
///     fn fold(&mut self, group: &mut Group<'_, i64>, out: &mut Outcome) -> Result<(), Error> {
///         for record in group.records() {
///             match record.value_str()?.parse::<i64>() {
///                 Ok(n) => *group.state_or_default() += n,
///                 Err(e) => out.reject(&record, format!("not a number: {e}")),
///             }
///         }
///         if let Some(sum) = group.state() {
///             out.emit(&group.last()).json(sum)?; // the record's key and time are inherited
///         }
///         Ok(())
///     }
/// }
///
/// cofferdam_sdk::export!(keyed: Sum);
///
/// let mut harness = Harness::keyed::<Sum>(serde_json::json!({}))?;
/// harness.send([("a", "1", 0), ("b", "10", 1), ("a", "2", 2)])?;
/// let answer = harness.send([("a", "4", 3)])?;
/// assert_eq!(answer.texts(0), ["7"]);
/// # Ok::<(), Error>(())
/// ```
pub trait KeyedProcessor: Sized + 'static {
    /// The state of a key, or of a key and window. It is stored with postcard:
    /// add fields at the end only with a version of your own in the state.
    type State: Serialize + DeserializeOwned;

    /// Makes the operator. Read and check the configuration here.
    ///
    /// # Errors
    /// Stop the job; the message is shown to the person who runs it.
    fn open(ctx: &Context) -> Result<Self, Error>;

    /// Folds a group's records into its state.
    ///
    /// # Errors
    /// Fail the whole batch, and the job under its restart strategy. To refuse a
    /// single record, use [`Outcome::reject`].
    fn fold(&mut self, group: &mut Group<'_, Self::State>, out: &mut Outcome) -> Result<(), Error>;

    /// A timer of the group is due, or its window has ended. A window's state is
    /// the host's to remove: while late records are allowed, it fires again.
    ///
    /// # Errors
    /// As for [`fold`](Self::fold).
    fn fire(
        &mut self,
        group: &mut Group<'_, Self::State>,
        firing: &Firing<'_>,
        out: &mut Outcome,
    ) -> Result<(), Error> {
        let _ = (group, firing, out);
        Ok(())
    }
}

/// A [`KeyedProcessor`] that can run in session windows, where a record may turn
/// two sessions into one. Export it with `export!(session: ...)`.
pub trait Merge: KeyedProcessor {
    /// The state of the session made of two sessions of a key.
    ///
    /// # Errors
    /// As for [`KeyedProcessor::fold`].
    fn merge(
        &mut self,
        key: &[u8],
        earlier: Self::State,
        later: Self::State,
    ) -> Result<Self::State, Error>;
}

/// A window of event time, in milliseconds since 1970.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Window {
    /// The first millisecond.
    pub start: i64,
    /// The first millisecond after it.
    pub end: i64,
}

/// Why and for what time a group is fired. Records may stem from it: they have
/// the group's key and the firing's time.
#[derive(Debug, Clone, Copy)]
pub struct Firing<'a> {
    pub(crate) index: u32,
    pub(crate) key: &'a [u8],
    /// Why.
    pub kind: FiringKind,
    /// The timer's time in milliseconds since 1970; for a window its last
    /// millisecond.
    pub time: i64,
}

/// One key of a call, or one pair of key and window: its state, its records, its
/// timers.
#[derive(Debug)]
pub struct Group<'a, S> {
    pub(crate) index: u32,
    pub(crate) key: &'a [u8],
    pub(crate) window: Option<Window>,
    pub(crate) batch: &'a Batch,
    /// Indexes of records; empty in `fire`.
    pub(crate) rows: &'a [u32],
    pub(crate) now: Now,
    pub(crate) state: Option<S>,
    pub(crate) touched: bool,
    pub(crate) timers: Timers,
}

/// Timers to set and to delete. The contract applies the two lists in no order,
/// so that the last word on a timer must stand in one of them only.
#[derive(Debug, Default)]
pub(crate) struct Timers {
    pub(crate) set: Vec<Timer>,
    pub(crate) delete: Vec<Timer>,
}

impl Timers {
    fn set(&mut self, timer: Timer) {
        forget(&mut self.delete, timer);
        if self.set.last() != Some(&timer) {
            self.set.push(timer);
        }
    }

    fn delete(&mut self, timer: Timer) {
        forget(&mut self.set, timer);
        if self.delete.last() != Some(&timer) {
            self.delete.push(timer);
        }
    }
}

/// Removes a timer of the group at hand, whose timers are the last ones.
fn forget(timers: &mut Vec<Timer>, timer: Timer) {
    let of_group = timers.iter().rev().take_while(|t| t.group == timer.group).count();
    let mut at = timers.len() - of_group;
    while at < timers.len() {
        if timers[at] == timer {
            timers.remove(at);
        } else {
            at += 1;
        }
    }
}

impl<'a, S> Group<'a, S> {
    /// The key.
    #[must_use]
    pub fn key(&self) -> &'a [u8] {
        self.key
    }

    /// The window, if the job gives the operator windows.
    #[must_use]
    pub fn window(&self) -> Option<Window> {
        self.window
    }

    /// The input port that the records came in by, from 0.
    #[must_use]
    pub fn input(&self) -> u32 {
        self.batch.input
    }

    /// The group's records, in order of arrival. There are none in
    /// [`fire`](KeyedProcessor::fire), and at least one in
    /// [`fold`](KeyedProcessor::fold). Does not borrow the group, so that its
    /// state can change on the way.
    #[inline]
    pub fn records(&self) -> impl ExactSizeIterator<Item = Record<'a>> + Clone + use<'a, S> {
        let batch = self.batch;
        self.rows.iter().map(move |&index| Record { batch, index })
    }

    /// The last of the group's records.
    ///
    /// # Panics
    /// In [`fire`](KeyedProcessor::fire), where there are none.
    #[must_use]
    #[inline]
    pub fn last(&self) -> Record<'a> {
        let index = *self.rows.last().expect("a group in `fold` has a record");
        Record { batch: self.batch, index }
    }

    /// The state; none for a new key.
    #[must_use]
    #[inline]
    pub fn state(&self) -> Option<&S> {
        self.state.as_ref()
    }

    /// The state, to be changed; `None` deletes it. It is encoded once a call.
    #[inline]
    pub fn state_mut(&mut self) -> &mut Option<S> {
        self.touched = true;
        &mut self.state
    }

    /// The state, to be changed, after `make` has made it if there is none.
    #[inline]
    pub fn state_or_insert_with(&mut self, make: impl FnOnce() -> S) -> &mut S {
        self.state_mut().get_or_insert_with(make)
    }

    /// The state, to be changed; the type's default if there is none.
    #[inline]
    pub fn state_or_default(&mut self) -> &mut S
    where
        S: Default,
    {
        self.state_or_insert_with(S::default)
    }

    /// Deletes the state and returns it.
    pub fn take_state(&mut self) -> Option<S> {
        self.state_mut().take()
    }

    /// No record older than this (milliseconds since 1970) is expected any more;
    /// none before the first watermark.
    #[must_use]
    pub fn watermark(&self) -> Option<i64> {
        self.now.watermark
    }

    /// The host's clock in milliseconds since 1970. Use it and no other, so that
    /// a replay does the same again.
    #[must_use]
    pub fn processing_time(&self) -> i64 {
        self.now.processing
    }

    /// Has [`fire`](KeyedProcessor::fire) called when event time or processing
    /// time has passed `at` (milliseconds since 1970). Setting a timer twice is
    /// setting it once.
    pub fn set_timer(&mut self, kind: TimerKind, at: i64) {
        self.timers.set(Timer { group: self.index, kind, at });
    }

    /// Deletes a timer; nothing happens if there is none. Of setting and deleting
    /// the same timer in one call, the last counts.
    pub fn delete_timer(&mut self, kind: TimerKind, at: i64) {
        self.timers.delete(Timer { group: self.index, kind, at });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_word_on_a_timer_stands_in_one_list_only() {
        let timer = |group, at| Timer { group, kind: TimerKind::Event, at };
        let mut timers = Timers::default();
        timers.set(timer(0, 1));
        timers.set(timer(1, 1));
        timers.set(timer(1, 2));
        timers.set(timer(1, 1));
        timers.delete(timer(1, 1));
        timers.delete(timer(1, 3));
        timers.set(timer(1, 3));
        assert_eq!(timers.set, [timer(0, 1), timer(1, 2), timer(1, 3)]);
        assert_eq!(timers.delete, [timer(1, 1)]);
    }
}
