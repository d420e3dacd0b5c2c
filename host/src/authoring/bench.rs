//! How fast an operator is: on the input of a case, beside an operator that passes every batch on
//! as it is, which is what the crossing alone costs.

use std::time::Duration;

use serde::Serialize;

use super::{
    project::OWN,
    runner::{Prepared, Runner},
};
use crate::{
    sandbox::{
        Artifact, Sandbox,
        componentize::{CONTRACT_WIT, Preview1, Recipe, component_of},
    },
    trial::{
        pace::{self, Pace},
        report::Crash,
    },
};

/// The operator that does nothing, as [`identity.wat`](https://webassembly.github.io/spec/core/text/)
/// beside this file says it.
const IDENTITY: &[u8] = include_bytes!("identity.wasm");

/// What was measured.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct Measured {
    /// The operator.
    pub operator: Pace,
    /// The one that does nothing, on the same records.
    pub identity: Pace,
    /// Records a batch, rounded: fewer than the most that a batch may have where they are large.
    pub batch_records: u64,
}

/// Why nothing was measured.
#[derive(Debug, thiserror::Error)]
pub enum NotMeasured {
    /// The operator failed.
    #[error("the operator failed: {}", .0.message)]
    Failed(Crash),
    /// Something of ours did not do.
    #[error("{0}")]
    Other(String),
}

/// Measures a component.
///
/// # Errors
/// If it fails.
pub async fn bench(
    runner: &Runner,
    artifact: &Artifact,
    prepared: &Prepared,
    time: Duration,
) -> Result<Measured, NotMeasured> {
    let identity = identity(&runner.task_manager.sandbox).map_err(NotMeasured::Other)?;
    let Prepared { feed, spec } = prepared;
    let mut plain = spec.clone();
    plain.window = None;
    let identity = pace::measure(&identity, &plain, feed, time / 2).await;
    let identity = identity.map_err(|crash| {
        NotMeasured::Other(format!("the operator that does nothing failed: {}", crash.message))
    })?;
    let operator = pace::measure(artifact, spec, feed, time).await.map_err(NotMeasured::Failed)?;
    let batch_records = operator.records / operator.batches.max(1);
    Ok(Measured { operator, identity, batch_records })
}

fn identity(sandbox: &Sandbox) -> Result<Artifact, String> {
    let recipe =
        Recipe { world: "processor-operator", wit: &CONTRACT_WIT, preview1: Preview1::default() };
    let component = component_of(IDENTITY, &recipe).map_err(|error| error.to_string())?;
    sandbox.load(&component, &OWN).map_err(|error| error.to_string())
}

/// How large a component is, and how long it takes until it can be run.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct Start {
    /// Bytes of the component.
    pub size: usize,
    /// Nanoseconds to compile it.
    pub compile_nanos: u64,
    /// Nanoseconds to load it from the cache of compiled code.
    pub load_nanos: u64,
}

/// Measures how long a component takes to be compiled, and to be found compiled. `load` loads it
/// with a cache of compiled code that is empty at first, and says how many nanoseconds that took.
///
/// # Errors
/// In words, if it is refused.
pub fn start_of(bytes: &[u8], load: impl Fn() -> Result<u64, String>) -> Result<Start, String> {
    let (compile_nanos, load_nanos) = (load()?, load()?);
    Ok(Start { size: bytes.len(), compile_nanos, load_nanos })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_operator_that_does_nothing_is_what_its_source_says() {
        let source = wat::parse_str(include_str!("identity.wat")).unwrap();
        assert!(
            IDENTITY == source,
            "identity.wasm is not what identity.wat says: make it anew with \
             `wasm-tools parse identity.wat -o identity.wasm`"
        );
    }
}
