//! An operator as text: a core module with the exports of the contract, of
//! which a test replaces what it needs, encoded as a component.

use std::fmt::Write as _;

use wit_component::{ComponentEncoder, StringEncoding, embed_component_metadata};
use wit_parser::Resolve;

use crate::repository;

/// Where a guest's answer lies in its memory. Everything below is zero, which
/// reads as `ok` with nothing in it.
pub const ANSWER: u32 = 1024;

/// Where the bump allocator begins, unless the answer reaches further.
const HEAP: usize = 64 * 1024;

/// An operator to be. Every body is WebAssembly text that leaves the address of
/// a result; address 16 holds `ok` with nothing in it.
#[derive(Debug, Clone)]
pub struct Guest {
    /// The world in `wit/`, or in [`wit`](Self::wit), that it is of.
    pub world: String,
    /// Packages beyond the contract that the world needs, each a text of its own.
    pub wit: Vec<String>,
    /// Imports, as text.
    pub imports: String,
    /// Fields of the module: functions, tables, globals.
    pub fields: String,
    /// What lies at [`ANSWER`] from the start.
    pub answer: Vec<u8>,
    /// Body of `open`; its parameters are the context's.
    pub open: String,
    /// Body of `process`. Parameters 1 to 11 are the batch: its length, and the
    /// addresses and lengths of its lists. A keyed operator has `fold` for it,
    /// whose only parameter is the address of all of them.
    pub process: String,
    /// Body of `finish`; of `fire` in a keyed operator.
    pub finish: String,
    /// Body of `cabi_realloc`; a bump allocator if none.
    pub realloc: Option<String>,
}

impl Default for Guest {
    /// A processor that answers with nothing.
    fn default() -> Self {
        let nothing = || "(i32.const 16)".to_owned();
        Self {
            world: "processor-operator".into(),
            wit: Vec::new(),
            imports: String::new(),
            fields: String::new(),
            answer: Vec::new(),
            open: nothing(),
            process: nothing(),
            finish: nothing(),
            realloc: None,
        }
    }
}

/// Grows the memory where the bump allocator needs it. The heap begins anew
/// with each call of `process`, `fold` and `fire`.
const BUMP: &str = r"
    (local $at i32) (local $end i32)
    (local.set $at (i32.and (i32.add (global.get $heap) (i32.const 15)) (i32.const -16)))
    (local.set $end (i32.add (local.get $at) (local.get $size)))
    (if (i32.gt_u (local.get $end) (i32.mul (memory.size) (i32.const 65536)))
        (then
            (if (i32.eq (i32.const -1)
                    (memory.grow (i32.add (i32.const 1)
                        (i32.shr_u (local.get $size) (i32.const 16)))))
                (then unreachable))))
    (global.set $heap (local.get $end))
    (local.get $at)";

impl Guest {
    /// A processor that runs this in `process`.
    #[must_use]
    pub fn processing(body: &str) -> Self {
        Self { process: body.into(), ..Self::default() }
    }

    /// A processor that waits for so many nanoseconds of WASI's monotonic clock.
    #[must_use]
    pub fn sleeping(nanos: u64) -> Self {
        Self {
            world: "sleeper".into(),
            wit: vec![
                "package wasi:io@0.2.0; interface poll { resource pollable { block: func(); } }"
                    .into(),
                "package wasi:clocks@0.2.0; interface monotonic-clock {
                    use wasi:io/poll@0.2.0.{pollable};
                    subscribe-duration: func(when: u64) -> pollable; }"
                    .into(),
                "package zoo:sleeper; world sleeper {
                    import wasi:clocks/monotonic-clock@0.2.0;
                    export cofferdam:operator/processor@0.1.0; }"
                    .into(),
            ],
            imports: r#"
                (import "wasi:clocks/monotonic-clock@0.2.0" "subscribe-duration"
                    (func $subscribe (param i64) (result i32)))
                (import "wasi:io/poll@0.2.0" "[method]pollable.block" (func $block (param i32)))"#
                .into(),
            ..Self::processing(&format!(
                "(call $block (call $subscribe (i64.const {nanos}))) (i32.const 16)"
            ))
        }
    }

    /// A processor that answers every batch with these bytes.
    #[must_use]
    pub fn answering(answer: Vec<u8>) -> Self {
        let process = format!("(i32.const {ANSWER})");
        Self { answer, process, ..Self::default() }
    }

    /// A keyed operator that answers every fold with these bytes.
    #[must_use]
    pub fn folding(answer: Vec<u8>) -> Self {
        Self { world: "keyed-operator".into(), ..Self::answering(answer) }
    }

    /// The core module as text.
    #[must_use]
    pub fn module(&self) -> String {
        let heap = HEAP.max(ANSWER as usize + self.answer.len()).next_multiple_of(64 * 1024);
        let pages = heap / (64 * 1024) + 1;
        let answer = escaped(&self.answer);
        let Self { imports, fields, open, process, finish, .. } = self;
        let realloc = self.realloc.as_deref().unwrap_or(BUMP);
        let keyed = self.world == "keyed-operator";
        let (interface, calls) = if keyed {
            ("keyed-processor", ["fold", "fire"])
        } else {
            ("processor", ["process", "finish"])
        };
        let name = format!("cofferdam:operator/{interface}@0.1.0");
        let batch = if keyed { "(param i32)".to_owned() } else { param(12) };
        let end = if keyed { "(param i32)".to_owned() } else { String::new() };
        let context = param(6);
        let [first, second] = calls;
        let begin = format!("(global.set $heap (i32.const {heap}))");
        format!(
            r#"(module
    {imports}
    (memory $memory (export "memory") {pages})
    (global $heap (mut i32) (i32.const {heap}))
    (data (i32.const {ANSWER}) "{answer}")
    (func (export "cabi_realloc")
        (param $old i32) (param $was i32) (param $align i32) (param $size i32) (result i32)
        {realloc})
    (func (export "{name}#open") {context} (result i32) {open})
    (func (export "{name}#{first}") {batch} (result i32) {begin} {process})
    (func (export "{name}#{second}") {end} (result i32) {begin} {finish})
    {fields})"#
        )
    }

    /// The component.
    ///
    /// # Panics
    /// If the text is none of an operator: a mistake in the test.
    #[must_use]
    pub fn build(&self) -> Vec<u8> {
        ComponentEncoder::default()
            .module(&self.core())
            .and_then(|mut encoder| encoder.encode())
            .unwrap_or_else(|e| panic!("no component: {e:#}\n{}", self.module()))
    }

    /// The core module, as wit-bindgen leaves one.
    ///
    /// # Panics
    /// As [`build`](Self::build).
    #[must_use]
    pub fn core(&self) -> Vec<u8> {
        let text = self.module();
        let mut module = wat::parse_str(&text).unwrap_or_else(|e| panic!("no module: {e}\n{text}"));
        let mut resolve = Resolve::default();
        let (package, _) =
            resolve.push_dir(repository().join("wit")).expect("the contract is in wit/");
        let mut package = package;
        for (i, wit) in self.wit.iter().enumerate() {
            package = resolve
                .push_str(format!("zoo-{i}.wit"), wit)
                .unwrap_or_else(|e| panic!("no WIT: {e:#}\n{wit}"));
        }
        let world = resolve.select_world(&[package], Some(&self.world)).expect("such a world");
        embed_component_metadata(&mut module, &resolve, world, StringEncoding::UTF8)
            .expect("a module takes a section more");
        module
    }
}

fn param(n: usize) -> String {
    format!("(param {})", vec!["i32"; n].join(" "))
}

fn escaped(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(bytes.len() * 3), |mut text, byte| {
        let _ = write!(text, "\\{byte:02x}");
        text
    })
}

/// A component from text, for what is no operator at all.
///
/// # Panics
/// If it is no WebAssembly: a mistake in the test.
#[must_use]
pub fn component(text: &str) -> Vec<u8> {
    wat::parse_str(text).unwrap_or_else(|e| panic!("no component: {e}"))
}

/// Something that has an operator's functions by name, though not by type.
#[must_use]
pub fn of_other_types() -> Vec<u8> {
    component(
        r#"(component
            (core module $m (func (export "f")))
            (core instance $i (instantiate $m))
            (func $f (canon lift (core func $i "f")))
            (instance $operator
                (export "open" (func $f))
                (export "process" (func $f))
                (export "finish" (func $f)))
            (export "cofferdam:operator/processor@0.1.0" (instance $operator)))"#,
    )
}
