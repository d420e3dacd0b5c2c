//! What can be seen of keyed state from outside, entry by entry: for comparing states,
//! not for calls.

use std::collections::BTreeMap;

use crate::state::{call::TimerKind, keyed::KeyedState, windows::Window};

/// What a key, and its window if there are any, has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seen {
    /// Its state; empty: none.
    pub state: Vec<u8>,
    /// Its timers of event time.
    pub event_timers: Vec<i64>,
    /// Its timers of processing time.
    pub processing_timers: Vec<i64>,
}

/// All of a state, by key and window.
pub type SeenState = BTreeMap<(Vec<u8>, Option<Window>), Seen>;

impl KeyedState {
    /// Every key (and window) that has state or timers, or whose window is still to
    /// fire. Copies all of it.
    #[must_use]
    pub fn look(&self) -> SeenState {
        let entries = self.table.iter().map(|(id, entry)| {
            let timers = self.timers_of(id);
            let of = |wanted| {
                let times = timers.iter().filter(|(kind, _)| *kind == wanted).map(|(_, at)| *at);
                times.collect::<Vec<_>>()
            };
            let seen = Seen {
                state: entry.state.to_vec(),
                event_timers: of(TimerKind::Event),
                processing_timers: of(TimerKind::Processing),
            };
            let window = (entry.window != Window::NONE).then_some(entry.window);
            ((entry.key.to_vec(), window), seen)
        });
        entries.collect()
    }
}
