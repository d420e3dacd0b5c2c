//! What wasmtime's errors mean: which class of failure, in which words. Where it happened, `frames`
//! says.

use wasmtime::Trap;

use crate::{
    failure::{Failure, FailureKind},
    sandbox::{capabilities::SlotState, frames::frames, guest_log::shown},
};

/// The guest ran into its deadline; raised by the epoch callback.
#[derive(Debug, thiserror::Error)]
#[error("the guest ran into its deadline")]
pub(super) struct DeadlineReached;

/// Classifies the error of a call into a guest.
pub(super) fn classify(error: &wasmtime::Error, state: &SlotState, doing: &str) -> Failure {
    let (kind, what) = if error.downcast_ref::<DeadlineReached>().is_some() {
        let limit = state.deadline;
        (
            FailureKind::DeadlineExceeded,
            format!(
                "`{doing}` did not return within {limit:?}; \
                 raise the operator's `deadline`, or look for an endless loop"
            ),
        )
    } else if let Some(refused) = &state.limits.refused {
        (FailureKind::OutOfMemory, format!("`{doing}` asked for {refused}"))
    } else if let Some(trap) = error.downcast_ref::<Trap>() {
        (FailureKind::GuestTrap, trap_message(doing, *trap, state))
    } else {
        // Malformed values (a list that leaves the memory, bad UTF-8) and the
        // host's own limits on what one call may return end up here.
        (
            FailureKind::GuestTrap,
            format!("`{doing}` failed: {}", shown(&error.root_cause().to_string())),
        )
    };
    let told_itself = kind == FailureKind::GuestTrap && state.last_words.have_a_trace();
    Failure { kind, message: what, backtrace: frames(error, told_itself) }
}

/// Classifies what a guest said (`err`). One that was refused memory in the same
/// call says so in its own words.
pub(super) fn classify_said(said: &str, state: &SlotState, doing: &str) -> Failure {
    let said = if said.is_empty() { "(nothing)".into() } else { shown(said) };
    match &state.limits.refused {
        Some(refused) => Failure::new(
            FailureKind::OutOfMemory,
            format!("`{doing}` said: {said}\nbefore that, it asked for {refused}"),
        ),
        None => Failure::new(FailureKind::GuestError, format!("`{doing}` said: {said}")),
    }
}

fn trap_message(doing: &str, trap: Trap, state: &SlotState) -> String {
    match (trap, state.last_words.said()) {
        // A Rust guest's panic is an `unreachable` after a log line.
        (Trap::UnreachableCodeReached, Some(said)) => format!("`{doing}`: {said}"),
        _ => format!("`{doing}`: {trap}"),
    }
}
