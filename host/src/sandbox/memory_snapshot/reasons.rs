//! Why the memory of a component cannot be saved from outside.

use std::fmt;

use crate::sandbox::guest_log;

/// How much of a name is shown: names are the uploader's to choose.
const MAX_SHOWN: usize = 80;
/// How many reasons are kept.
const MAX_REASONS: usize = 32;

/// One reason, and where it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reason {
    /// Which module and function, such as ``core module 0, function 12 (`foo`)``.
    pub place: String,
    /// What stands there.
    pub why: Why,
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.place, self.why)
    }
}

/// What cannot be saved, or not be restored.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Why {
    /// A memory that threads share.
    #[error("memory {0} is shared between threads, which may write to it at any time")]
    SharedMemory(u32),
    /// A memory with 64-bit addresses.
    #[error("memory {0} has 64-bit addresses; only 32-bit memories are saved")]
    Memory64(u32),
    /// A memory with pages of another size.
    #[error("memory {0} has pages of another size than 64 KiB")]
    PageSize(u32),
    /// A mutable global that holds a reference.
    #[error("mutable global {0} holds a reference, which has no value outside of its instance")]
    ReferenceGlobal(u32),
    /// A global that threads share.
    #[error("global {0} is shared between threads")]
    SharedGlobal(u32),
    /// An instruction that changes a table.
    #[error("`{0}` changes a table, and tables are not saved")]
    ChangesTable(&'static str),
    /// An instruction that drops a segment.
    #[error("`{0}` drops a segment, and a fresh instance would have it again")]
    DropsSegment(&'static str),
    /// Types of the garbage collector.
    #[error("it defines {0} of the garbage collector, which live outside of linear memory")]
    Collected(&'static str),
    /// Continuations.
    #[error("it defines continuations, which live outside of linear memory")]
    Continuation,
    /// A core module that comes from outside.
    #[error("it takes {0} from outside, which is not known when this one is uploaded")]
    ImportedCode(&'static str),
    /// A resource type of its own.
    #[error("it defines a resource type of its own, and handles of it live in the host's tables")]
    OwnResource,
    /// A lift or lower of the asynchronous ABI, or with the garbage collector.
    #[error("`canon {0}` is {1}, so that a call may be under way between two batches")]
    Asynchronous(&'static str, &'static str),
    /// A built-in function whose state is the host's.
    #[error("it uses the built-in `{0}`, whose state is kept by the host")]
    Builtin(String),
    /// A component's own start function.
    #[error("the component has a start function, which would run again at every restore")]
    ComponentStart,
    /// A start function with effects outside.
    #[error("its start function would run again at every restore, and calls what is imported: {0}")]
    StartCallsImport(String),
    /// A name that is ours.
    #[error("it exports `{0}`, a name that is reserved for memory snapshots")]
    ReservedName(String),
    /// Too much of something.
    #[error("it has more than {0} {1}")]
    TooMany(usize, &'static str),
    /// It cannot be read.
    #[error("it cannot be read: {0}")]
    Unreadable(String),
}

/// Reasons as they are found.
#[derive(Debug, Default)]
pub(super) struct Reasons {
    found: Vec<Reason>,
    more: usize,
}

impl Reasons {
    pub(super) fn add(&mut self, place: impl fmt::Display, why: Why) {
        let reason = Reason { place: place.to_string(), why };
        if self.found.contains(&reason) {
            return;
        }
        if self.found.len() < MAX_REASONS {
            self.found.push(reason);
        } else {
            self.more += 1;
        }
    }

    /// All of them, unless there are none.
    pub(super) fn into_refusal(self) -> Option<Refused> {
        let Self { found, more } = self;
        if found.is_empty() { None } else { Some(Refused { reasons: found, more }) }
    }
}

/// A component whose memory cannot be saved.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refused {
    /// Why, in the order of the component.
    pub reasons: Vec<Reason>,
    /// How many reasons more there are.
    pub more: usize,
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, reason) in self.reasons.iter().enumerate() {
            let separator = if i == 0 { "" } else { "; " };
            write!(f, "{separator}{reason}")?;
        }
        if self.more > 0 {
            write!(f, "; and {} more", self.more)?;
        }
        Ok(())
    }
}

/// A name of the uploader's, for people.
pub(super) fn shown(name: &str) -> String {
    guest_log::shown_up_to(name, MAX_SHOWN).into_owned()
}
