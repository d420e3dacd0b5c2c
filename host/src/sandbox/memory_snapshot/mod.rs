//! Snapshots of a component's linear memory without its help: for operators that keep
//! state in their memory and cannot say what it is.
//!
//! ```text
//!  upload    component ──▶ does it qualify? ──▶ the same component, with access for us
//!               │             (reasons)            (accessor)
//!  running   between two calls: view the memory ──▶ pages that changed, and globals
//!               │                  (access)           (delta)
//!  restore   fresh instance ──▶ grow, write pages ──▶ globals
//! ```
//!
//! | file | what lives there |
//! | --- | --- |
//! | `reasons` | why a component does not qualify |
//! | `code`, `module`, `component`, `starts` | reading it, and adding to it |
//! | `accessor`, `shape` | what is added, and how much there is to save |
//! | `access`, `restore` | calls into what was added |
//! | `changes` | which pages changed since the last snapshot |
//! | [`written`] | which were written to, as the kernel knows |
//! | [`delta`] | what a snapshot hands over |
//! | `copies`, `huge` | the slot is charged for it; large copies are made quickly |
//!
//! A snapshot is exact because of what is refused: after all that, the state of an
//! instance between two calls is its memories and its mutable globals, and nothing else.
//! Handles of the host's resources are the one thing that only shows while it runs: there
//! must be none when a snapshot is taken.
//!
//! Not here: where snapshots are kept, and who wants them.

mod access;
mod accessor;
mod changes;
mod code;
mod component;
mod copies;
pub mod delta;
mod huge;
mod module;
mod reasons;
mod restore;
mod shape;
mod starts;
#[cfg(test)]
mod tests;
pub mod written;

use std::rc::Rc;

pub(super) use access::{MemoryAccess, MemoryExports};
pub use delta::{MemoryDelta, MemoryPages};
pub use reasons::{Reason, Refused, Why};
pub use restore::Restoring;
pub use written::PageWatch;

use reasons::Reasons;
use shape::{MAX_GLOBALS, MAX_INSTANCES, MAX_MEMORIES, Shape};

/// What a snapshot is divided into, in bytes: a page of the machine.
pub const PAGE: usize = PAGE_BYTES as usize;
/// The same, as an address is counted.
pub const PAGE_BYTES: u32 = 4096;
/// Bytes of a page of WebAssembly.
pub const WASM_PAGE: usize = 64 << 10;

/// A component with access to its state.
pub(super) struct Rewritten {
    pub(super) bytes: Vec<u8>,
    shape: Rc<Shape>,
}

/// Adds access to a component's state, if that is all that there is to save.
///
/// It need not be valid: what cannot be read is a reason, and what is added to an invalid
/// component leaves it invalid.
///
/// # Errors
/// With every reason why it does not qualify.
pub(super) fn rewrite(bytes: &[u8]) -> Result<Rewritten, Refused> {
    let mut reasons = Reasons::default();
    let nested = component::read(bytes, &mut reasons);
    let rewritten = match nested {
        Ok(nested) => {
            let (memories, globals, instances) = nested.shape.total();
            for (n, most, what) in [
                (memories, MAX_MEMORIES, "memories"),
                (globals, MAX_GLOBALS, "mutable globals"),
                (instances, MAX_INSTANCES, "nested instances with state"),
            ] {
                if n > most {
                    reasons.add("the component", Why::TooMany(most, what));
                }
            }
            Some(Rewritten { bytes: nested.bytes, shape: nested.shape })
        }
        Err(error) => {
            reasons.add("the component", Why::Unreadable(reasons::shown(error.message())));
            None
        }
    };
    match (reasons.into_refusal(), rewritten) {
        (None, Some(rewritten)) => Ok(rewritten),
        (refused, _) => Err(refused.unwrap_or(Refused { reasons: Vec::new(), more: 0 })),
    }
}
