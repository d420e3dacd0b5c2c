//! What wasmtime's errors mean: which class of failure, in which words.

use wasmtime::{Trap, WasmBacktrace};

use crate::{
    failure::{Failure, FailureKind},
    sandbox::{
        capabilities::SlotState,
        guest_log::{shown, shown_up_to},
    },
};

/// How many guest frames a failure shows.
const MAX_FRAMES: usize = 20;
/// The longest name of a function or file that a frame shows, in bytes: guests
/// name them as they like.
const MAX_NAME: usize = 256;

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
    Failure { kind, message: what, backtrace: frames(error) }
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
    match (trap, &state.last_error) {
        // A Rust guest's panic is an `unreachable` after a log line.
        (Trap::UnreachableCodeReached, Some(said)) => format!("`{doing}`: {said}"),
        _ => format!("`{doing}`: {trap}"),
    }
}

fn frames(error: &wasmtime::Error) -> Vec<String> {
    let Some(backtrace) = error.downcast_ref::<WasmBacktrace>() else { return Vec::new() };
    backtrace
        .frames()
        .iter()
        .take(MAX_FRAMES)
        .map(|frame| {
            let name = frame
                .func_name()
                .map_or_else(|| format!("function {}", frame.func_index()), demangle);
            let name = shown_up_to(&name, MAX_NAME);
            let symbol = frame.symbols().first();
            match symbol.and_then(|s| s.file().map(|file| (file, s.line().unwrap_or(0)))) {
                Some((file, line)) => {
                    format!("{name} ({}:{line})", shown_up_to(file, MAX_NAME))
                }
                None => name.into_owned(),
            }
        })
        .collect()
}

/// wasmtime gives names as they stand in the name section.
fn demangle(name: &str) -> String {
    format!("{:#}", rustc_demangle::demangle(name))
}
