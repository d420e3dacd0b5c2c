//! Gives up what a command does not need, and says so.

use super::{exit::Exit, terminal};
use crate::hardening::{self, Mode, Needs, Report};

/// Hardens this process, before it has other threads.
pub(super) fn harden(mode: Mode, needs: &Needs) -> Result<Report, Exit> {
    hardening::apply(mode, needs).map_err(|error| {
        terminal::say(&format!("error: {error}"));
        Exit::Usage
    })
}
