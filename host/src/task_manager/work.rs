//! What a call of a keyed operator is about, so that it can be made again in parts,
//! recorded, and told of.

use crate::{
    failure::Failure,
    sandbox::Now,
    state::{Firing, FiringKind, Groups, KeyedState},
    stream::{Batch, DeadLetter, keys::KeyGroup},
    task_manager::{poison::reason, processor_task::letter_of, recorder::Recorded},
};

/// What a call is about.
#[derive(Debug)]
pub enum Work {
    /// A fold over records of an input port.
    Batch(u32, Batch),
    /// What is due.
    Firings(Vec<Firing>, Box<Groups>),
}

impl Work {
    /// As an event.
    #[must_use]
    pub fn event(&self, now: Now) -> Recorded {
        match self {
            Self::Batch(port, batch) => Recorded::Batch { port: *port, now, batch: batch.clone() },
            Self::Firings(due, _) if due.iter().any(|f| f.kind == FiringKind::Processing) => {
                Recorded::Clock { now }
            }
            Self::Firings(..) => Recorded::Watermark { now },
        }
    }

    /// The state of its keys before the call.
    #[must_use]
    pub fn before(&self, state: &mut KeyedState) -> Vec<(KeyGroup, Vec<u8>)> {
        match self {
            Self::Batch(_, batch) => {
                let keys = (0..batch.len()).map(|i| batch.key(i)).collect();
                state.saved_before(&keys, &[], &Groups::default())
            }
            Self::Firings(due, groups) => {
                state.saved_before(&groups.keys.iter().collect(), due, groups)
            }
        }
    }

    /// How many records or firings it has.
    #[must_use]
    pub fn len(&self) -> usize {
        match self {
            Self::Batch(_, batch) => batch.len(),
            Self::Firings(due, _) => due.len(),
        }
    }

    /// Whether it has none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The record, or what is left of a timer: its key, its time and the state that it
    /// was to be fired with.
    #[must_use]
    pub fn letter(&self, index: usize, failure: &Failure) -> DeadLetter {
        match self {
            Self::Batch(_, batch) => letter_of(batch, index, failure),
            Self::Firings(due, groups) => {
                let Firing { kind, at } = due[index];
                let what = match kind {
                    FiringKind::Window => "the firing of a window",
                    FiringKind::Event => "a timer of event time",
                    FiringKind::Processing => "a timer of processing time",
                };
                DeadLetter {
                    reason: reason(what, failure),
                    key: groups.keys.get(index).to_vec(),
                    value: groups.states.get(index).to_vec(),
                    timestamp: Some(at),
                }
            }
        }
    }
}
