//! Components that are small to upload and large to compile.

use std::fmt::Write as _;

use super::Guest;

fn with(fields: String) -> Vec<u8> {
    Guest { fields, ..Guest::default() }.build()
}

fn repeated(n: usize, each: impl Fn(usize) -> String) -> String {
    (0..n).fold(String::new(), |mut text, i| {
        let _ = write!(text, "{} ", each(i));
        text
    })
}

/// A function of so many blocks, each in the one before, with a jump table to
/// all of them.
#[must_use]
pub fn nested_blocks(depth: usize) -> Vec<u8> {
    let targets = repeated(depth, |i| i.to_string());
    let (open, close) = ("block ".repeat(depth), "end ".repeat(depth));
    with(format!("(func (param i32) {open} local.get 0 br_table {targets} {close})"))
}

/// Loops in loops around the use of many variables: as many values merge at the
/// head of each loop as there are variables.
#[must_use]
pub fn variables_in_loops(variables: usize, loops: usize) -> Vec<u8> {
    let locals = "i64 ".repeat(variables);
    let (open, close) = ("loop ".repeat(loops), "local.get 0 br_if 0 end ".repeat(loops));
    let each = repeated(variables, |i| {
        format!("local.get {} i64.const 1 i64.add local.set {}", i + 1, i + 1)
    });
    with(format!("(func (param i32) (local {locals}) {open} {each} {close})"))
}

/// One function of so many additions.
#[must_use]
pub fn huge_function(additions: usize) -> Vec<u8> {
    let body = "local.get 0 i64.load i64.add ".repeat(additions);
    with(format!("(func (param i32) (result i64) i64.const 0 {body})"))
}

/// So many functions, each of a type of its own as far as types go.
#[must_use]
pub fn many_functions(n: usize) -> Vec<u8> {
    with(repeated(n, |i| {
        let types = repeated(12, |bit| ["i32", "i64"][i >> bit & 1].to_owned());
        format!("(func (param {types}))")
    }))
}

/// So many types.
#[must_use]
pub fn many_types(n: usize) -> Vec<u8> {
    with(repeated(n, |i| {
        let types = repeated(20, |bit| ["i32", "i64"][i >> bit & 1].to_owned());
        format!("(type (func (param {types})))")
    }))
}

/// Components in components, to such a depth.
#[must_use]
pub fn nested_components(depth: usize) -> Vec<u8> {
    let mut inner = b"\0asm\x0d\0\x01\0".to_vec();
    for _ in 0..depth {
        let mut outer = b"\0asm\x0d\0\x01\0\x04".to_vec();
        let mut size = inner.len();
        while size >= 0x80 {
            outer.push(u8::try_from(size & 0x7f).unwrap_or_default() | 0x80);
            size >>= 7;
        }
        outer.push(u8::try_from(size).unwrap_or_default());
        outer.extend(inner);
        inner = outer;
    }
    inner
}
