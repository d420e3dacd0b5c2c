//! WASI as it was before components, `wasi_snapshot_preview1`: what C libraries and the runtimes
//! of Go and Zig import. What answers them in a component is a core module of its own, the
//! adapter. There are two: ours, the stub (`stub.wat`), which has no authority at all, and that of
//! wasmtime, which asks WASI of today.
//!
//! Which of the two is taken is said by who builds: decision 11. `shut.rs` has what the stub must
//! know of the module that it is for.

mod shut;
#[cfg(test)]
mod tests;

use wasi_preview1_component_adapter_provider::{
    WASI_SNAPSHOT_PREVIEW1_ADAPTER_NAME, WASI_SNAPSHOT_PREVIEW1_REACTOR_ADAPTER,
};
use wasmparser::{Parser, Payload};
use wit_component::{ComponentEncoder, StringEncoding, embed_component_metadata};

use super::componentize::contract;

/// The stub, made of `stub.wat` by the test `the_stub_is_what_its_text_makes`.
const STUB: &[u8] = include_bytes!("stub.wasm");
/// What the stub imports.
const STUB_WIT: &str =
    "package cofferdam:stub; world stub { import cofferdam:operator/log@0.1.0; }";

/// How much of an import section is looked at.
const MOST_IMPORTS: usize = 10_000;

/// What answers a module's imports of `wasi_snapshot_preview1`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Preview1 {
    /// A stub that asks nobody: its clock stands still, its random numbers are always the same,
    /// there are no files, arguments or variables, and what is written to standard output and
    /// error goes to the contract's `log`, line by line, as `info` and `error`. `proc_exit` is a
    /// trap.
    #[default]
    Stub,
    /// wasmtime's adapter: the component imports WASI of today, as far as the module imports that
    /// of before, and its job must grant it. Not for Go, whose runtime asks for the time where
    /// nothing may be imported.
    Adapter,
}

/// Whether a module imports anything of it.
pub(super) fn is_imported_by(module: &[u8]) -> bool {
    Parser::new(0).parse_all(module).map_while(Result::ok).any(|payload| match payload {
        Payload::ImportSection(imports) => imports
            .into_imports()
            .map_while(Result::ok)
            .take(MOST_IMPORTS)
            .any(|import| import.module == WASI_SNAPSHOT_PREVIEW1_ADAPTER_NAME),
        _ => false,
    })
}

/// An encoder for a module that imports it.
///
/// # Errors
/// In words, if the module cannot be read, or says what it is in a way that does not fit.
pub(super) fn encoder(module: &[u8], with: Preview1) -> anyhow::Result<ComponentEncoder> {
    let name = WASI_SNAPSHOT_PREVIEW1_ADAPTER_NAME;
    match with {
        Preview1::Stub => {
            let module = shut::with_shut(module)?;
            ComponentEncoder::default().module(&module)?.adapter(name, &stub()?)
        }
        Preview1::Adapter => ComponentEncoder::default()
            .module(module)?
            .adapter(name, WASI_SNAPSHOT_PREVIEW1_REACTOR_ADAPTER),
    }
}

/// The stub, with the section that says what it imports.
fn stub() -> anyhow::Result<Vec<u8>> {
    let mut resolve = contract()?.0;
    let package = resolve.push_source("stub.wit", STUB_WIT)?;
    let world = resolve.select_world(&[package], None)?;
    let mut stub = STUB.to_vec();
    embed_component_metadata(&mut stub, &resolve, world, StringEncoding::UTF8)?;
    Ok(stub)
}
