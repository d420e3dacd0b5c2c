//! What it takes to trust sled with what must not be lost: a directory that one process has,
//! calls whose panics are errors, and syncing what sled itself does not. Used by those who
//! keep something in a database of their own; what that is they know alone.
//!
//! | file | what lives there |
//! | --- | --- |
//! | [`directory`] | who has a directory, where its database lies, and how one takes the place of another |
//! | [`guarded`] | opening a database, and calling it |
//! | `sync_range` | has sled wait until what it wrote is durable |

pub mod directory;
pub mod guarded;
mod sync_range;
