//! What is put right in components of `componentize-py`, when they are built here.
//!
//! Its runtime (0.17 to 0.25.1, at least) never frees the copy that it makes of each `list<u8>` on
//! the way out: an operator in Python would lose every byte that it ever emitted, and run out of
//! memory in the end. The list's other end is known: `wit_dylib_pop_list` makes the copy, and
//! `wit_dylib_dealloc_bytes` frees one when the call is over, as it does for texts. So the first
//! one gets a wrapper that calls the other:
//!
//! ```text
//!  wit_dylib_pop_list(call, type, out) = length = …as it was…
//!                                        if *out and length: wit_dylib_dealloc_bytes(call, *out, length, 1, later)
//! ```
//!
//! And it lifts and lowers lists of numbers entry by entry, at 300 ns each: more than most
//! operators do with a record. Numbers lie in memory as they cross, so where the SDK asks for it
//! their lists are passed on as the bytes that they are, under the type of a `list<u8>`:
//!
//! ```text
//!  wit_dylib_push_list(call, type, at, length) = …as it was…(call, BYTES, at, length · width)
//!  wit_dylib_pop_list(call, type, out)         = …as above…(call, BYTES, out) / width
//! ```
//!
//! Everything is added at the ends of sections, so that no index changes. A runtime that has no
//! such functions is left as it is; one that frees the copy itself would have it freed twice, so
//! only versions that were looked at are touched: see `GOOD_FROM`.

mod lists;

use wasm_encoder::{
    BlockType, CodeSection, Component, ExportSection, Function, FunctionSection, InstructionSink,
    MemArg, Module, RawSection, ValType,
};
use wasmparser::{
    BinaryReaderError, CodeSectionReader, ExportSectionReader, ExternalKind, FunctionSectionReader,
    ImportSectionReader, TypeRef,
};

use self::lists::Lists;
use super::sections::{Section, export_kind, in_component, in_module as id, sections};

/// The first version that nobody has looked at.
pub const GOOD_FROM: (u32, u32) = (0, 26);
/// The version whose lists are known.
pub const LISTS_KNOWN: (u32, u32) = (0, 25);

/// Why a component is left as it was.
#[derive(Debug, thiserror::Error)]
pub enum NotMended {
    /// It is none, or damaged.
    #[error("it made no component: {0}")]
    Unreadable(#[from] BinaryReaderError),
    /// Nothing in it lifts and lowers lists in the way that is known.
    #[error("its runtime passes lists on in a way that is not known")]
    NoLists,
}

/// Takes a list that was lifted.
const TAKES: &str = "wit_dylib_push_list";
/// Makes the copy.
const COPIES: &str = "wit_dylib_pop_list";
/// Frees it.
const FREES: &str = "wit_dylib_dealloc_bytes";

/// The component with lists that are freed; the same, if nothing in it makes such copies.
/// With `numbers_as_bytes` its guest is given each list of numbers as bytes, and gives bytes.
///
/// # Errors
/// If it is no component, or `numbers_as_bytes` cannot be had.
pub fn mended(component: &[u8], numbers_as_bytes: bool) -> Result<Vec<u8>, NotMended> {
    let parts = sections(component)?;
    let lists = if numbers_as_bytes { Some(lists_of(&parts)?) } else { None };
    let mut has_lists = lists.is_none();
    let mut out = Component::new();
    for Section { id, content } in parts {
        let module = if id == in_component::CORE_MODULE {
            with_wrappers(content, lists.as_ref())?
        } else {
            None
        };
        has_lists |= module.is_some();
        out.section(&RawSection { id, data: module.as_deref().unwrap_or(content) });
    }
    if has_lists { Ok(out.finish()) } else { Err(NotMended::NoLists) }
}

/// The lists of the world that a component was made for.
fn lists_of(parts: &[Section<'_>]) -> Result<Lists, NotMended> {
    for module in parts.iter().filter(|part| part.id == in_component::CORE_MODULE) {
        if let Some(lists) = lists::lists(&sections(module.content)?)? {
            return Ok(lists);
        }
    }
    Err(NotMended::NoLists)
}

/// What there is in a module, as far as it matters here.
#[derive(Default)]
struct Found<'a> {
    imported: u32,
    types: Vec<u32>,
    exports: Vec<(&'a str, ExternalKind, u32)>,
}

impl<'a> Found<'a> {
    fn of(sections: &[Section<'a>]) -> Result<Self, BinaryReaderError> {
        let mut found = Self::default();
        for section in sections {
            let reader = section.reader();
            match section.id {
                id::IMPORT => {
                    for import in ImportSectionReader::new(reader)?.into_imports() {
                        let is_function =
                            matches!(import?.ty, TypeRef::Func(_) | TypeRef::FuncExact(_));
                        found.imported += u32::from(is_function);
                    }
                }
                id::FUNCTION => {
                    let types: Result<Vec<u32>, _> =
                        FunctionSectionReader::new(reader)?.into_iter().collect();
                    found.types = types?;
                }
                id::EXPORT => {
                    for export in ExportSectionReader::new(reader)? {
                        let export = export?;
                        found.exports.push((export.name, export.kind, export.index));
                    }
                }
                _ => {}
            }
        }
        Ok(found)
    }

    /// The function that is exported under a name, if the module defines it.
    fn function(&self, name: &str) -> Option<u32> {
        let of_name = |(known, kind, _): &&(&str, ExternalKind, u32)| {
            *known == name && *kind == ExternalKind::Func
        };
        let (_, _, index) = self.exports.iter().find(of_name)?;
        (*index >= self.imported).then_some(*index)
    }

    /// The type of a function that the module defines.
    fn type_of(&self, function: u32) -> Option<u32> {
        self.types.get((function - self.imported) as usize).copied()
    }
}

/// The module with wrappers; none if it is not the runtime.
fn with_wrappers(
    module: &[u8],
    lists: Option<&Lists>,
) -> Result<Option<Vec<u8>>, BinaryReaderError> {
    let sections = sections(module)?;
    let found = Found::of(&sections)?;
    let (Some(copies), Some(frees)) = (found.function(COPIES), found.function(FREES)) else {
        return Ok(None);
    };
    let mut wrapped = vec![(COPIES, copies, copying(copies, frees, lists))];
    if let Some(lists) = lists {
        let Some(takes) = found.function(TAKES) else { return Ok(None) };
        wrapped.push((TAKES, takes, taking(takes, lists)));
    }
    let types: Option<Vec<u32>> =
        wrapped.iter().map(|(_, index, _)| found.type_of(*index)).collect();
    let Some(types) = types else { return Ok(None) };
    let first = found.imported + u32::try_from(found.types.len()).unwrap_or(u32::MAX);
    let mut out = Module::new();
    for section in &sections {
        match section.id {
            id::FUNCTION => {
                let mut functions = FunctionSection::new();
                found.types.iter().chain(&types).for_each(|ty| {
                    functions.function(*ty);
                });
                out.section(&functions);
            }
            id::EXPORT => {
                let mut exports = ExportSection::new();
                for (name, kind, index) in &found.exports {
                    let wrapper = (first..).zip(&wrapped).find(|(_, wrapped)| wrapped.0 == *name);
                    exports.export(name, export_kind(*kind), wrapper.map_or(*index, |(at, _)| at));
                }
                out.section(&exports);
            }
            id::CODE => {
                let mut code = CodeSection::new();
                for body in CodeSectionReader::new(section.reader())? {
                    code.raw(body?.as_bytes());
                }
                for (_, _, wrapper) in &wrapped {
                    code.function(wrapper);
                }
                out.section(&code);
            }
            _ => {
                out.section(&RawSection { id: section.id, data: section.content });
            }
        }
    }
    Ok(Some(out.finish()))
}

/// Arguments that lists are taken and given with.
const CALL: u32 = 0;
const TYPE: u32 = 1;

/// `(call, type, out) -> length`: what is given, and freed when the call is over.
fn copying(copies: u32, frees: u32, lists: Option<&Lists>) -> Function {
    const OUT: u32 = 2;
    const LENGTH: u32 = 3;
    const WIDTH: u32 = 4;
    // Where a list of nothing is: it must be somewhere, and aligned for anything.
    const NOWHERE: i32 = 8;
    let at = MemArg { offset: 0, align: 2, memory_index: 0 };
    let mut wrapper = Function::new([(2, ValType::I32)]);
    let mut code = wrapper.instructions();
    as_bytes(&mut code, lists, WIDTH);
    code.local_get(CALL).local_get(TYPE).local_get(OUT).call(copies).local_tee(LENGTH);
    code.if_(BlockType::Empty).local_get(OUT).i32_load(at).if_(BlockType::Empty);
    // Bytes are aligned to one; and not now, but when the call is over.
    code.local_get(CALL).local_get(OUT).i32_load(at).local_get(LENGTH).i32_const(1).i32_const(1);
    code.call(frees).end();
    code.else_().local_get(OUT).i32_load(at).if_(BlockType::Empty);
    code.local_get(OUT).i32_const(NOWHERE).i32_store(at).end().end();
    code.local_get(LENGTH).local_get(WIDTH).i32_div_u().end();
    wrapper
}

/// `(call, type, at, length) -> whether it was taken`.
fn taking(takes: u32, lists: &Lists) -> Function {
    const AT: u32 = 2;
    const LENGTH: u32 = 3;
    const WIDTH: u32 = 4;
    let mut wrapper = Function::new([(1, ValType::I32)]);
    let mut code = wrapper.instructions();
    as_bytes(&mut code, Some(lists), WIDTH);
    code.local_get(CALL).local_get(TYPE).local_get(AT);
    code.local_get(LENGTH).local_get(WIDTH).i32_mul().call(takes).end();
    wrapper
}

/// Makes a type of wider numbers the one of bytes, and sets how wide they are.
fn as_bytes(code: &mut InstructionSink<'_>, lists: Option<&Lists>, width: u32) {
    code.i32_const(1).local_set(width);
    let Some(lists) = lists else { return };
    let constant = |number: u32| i32::try_from(number).unwrap_or(i32::MAX);
    // The types are told apart before one of them is another.
    for (ty, bytes) in &lists.wider {
        code.local_get(TYPE).i32_const(constant(*ty)).i32_eq().if_(BlockType::Empty);
        code.i32_const(constant(*bytes)).local_set(width).end();
    }
    code.local_get(width).i32_const(1).i32_ne().if_(BlockType::Empty);
    code.i32_const(constant(lists.of_bytes)).local_set(TYPE).end();
}

#[cfg(test)]
mod tests {
    use super::*;
    use wasmtime::{Engine, Instance, Module as Compiled, Store};

    /// A runtime that hands out what its caller asks for, and writes down what is freed.
    const RUNTIME: &str = r#"(module
        (import "env" "something" (func (param i32)))
        (memory (export "memory") 1)
        (func (export "wit_dylib_dealloc_bytes") (param i32 i32 i32 i32 i32)
            (i32.store (i32.const 100) (i32.add (i32.const 1) (i32.load (i32.const 100))))
            (i32.store (i32.const 104) (local.get 0))
            (i32.store (i32.const 108) (local.get 1))
            (i32.store (i32.const 112) (local.get 2))
            (i32.store (i32.const 116) (local.get 4)))
        (func $pop (export "wit_dylib_pop_list") (param $call i32) (param $type i32) (param $out i32) (result i32)
            (i32.store (local.get $out) (i32.mul (local.get $type) (i32.const 1000)))
            (i32.const 7))
        (func (export "wit_dylib_push_list") (param $call i32) (param $type i32) (param $at i32) (param $length i32) (result i32)
            (i32.add (i32.mul (local.get $type) (i32.const 1000)) (local.get $length))))"#;

    /// A world with lists of bytes (2), of `u32` (4), of `s64` (5) and of records (6, whose first
    /// field is a `u32`).
    const WORLD: &str = r#"(module
        (import "env" "wit_dylib_list_append" (func $append (param i32 i32)))
        (import "env" "wit_dylib_pop_iter_next" (func $next (param i32 i32)))
        (import "env" "wit_dylib_push_u8" (func $push_u8 (param i32 i32)))
        (import "env" "wit_dylib_push_u32" (func $push_u32 (param i32 i32)))
        (import "env" "wit_dylib_pop_s64" (func $pop_s64 (param i32) (result i64)))
        (import "env" "wit_dylib_pop_u32" (func $pop_u32 (param i32) (result i32)))
        (import "env" "wit_dylib_push_record" (func $push_record (param i32 i32)))
        (import "env" "wit_dylib_pop_record" (func $pop_record (param i32 i32)))
        (func (param $call i32)
            (call $push_u8 (local.get $call) (i32.const 77))
            (call $append (local.get $call) (i32.const 2))
            (call $push_u32 (local.get $call) (i32.const 78))
            (call $append (local.get $call) (i32.const 4))
            (call $next (local.get $call) (i32.const 5))
            (drop (call $pop_s64 (local.get $call)))
            (call $push_u32 (local.get $call) (i32.const 79))
            (call $push_record (local.get $call) (i32.const 3))
            (call $append (local.get $call) (i32.const 6))
            (call $next (local.get $call) (i32.const 6))
            (call $pop_record (local.get $call) (i32.const 3))
            (drop (call $pop_u32 (local.get $call)))))"#;

    /// What a call of the wrapper answers, and what was freed: how often, for which call, what,
    /// how long, and whether later.
    fn popped(module: &[u8], ty: i32) -> (i32, [i32; 5]) {
        let (mut store, instance) = instance(module);
        let pop = instance.get_typed_func::<(i32, i32, i32), i32>(&mut store, COPIES).unwrap();
        let length = pop.call(&mut store, (5, ty, 200)).unwrap();
        let memory = instance.get_memory(&mut store, "memory").unwrap();
        let data = memory.data(&store);
        let number = |at: usize| i32::from_le_bytes(data[at..at + 4].try_into().unwrap());
        (length, [100, 104, 108, 112, 116].map(number))
    }

    fn instance(module: &[u8]) -> (Store<()>, Instance) {
        let engine = Engine::default();
        let compiled = Compiled::new(&engine, module).unwrap();
        let mut store = Store::new(&engine, ());
        let import = wasmtime::Func::wrap(&mut store, |_: i32| {});
        let instance = Instance::new(&mut store, &compiled, &[import.into()]).unwrap();
        (store, instance)
    }

    fn component(module: &[u8]) -> Vec<u8> {
        component_of(&[module])
    }

    fn component_of(modules: &[&[u8]]) -> Vec<u8> {
        let mut component = Component::new();
        for data in modules {
            component.section(&RawSection { id: in_component::CORE_MODULE, data });
        }
        component.finish()
    }

    fn only_module(component: &[u8]) -> Vec<u8> {
        sections(component).unwrap()[0].content.to_vec()
    }

    #[test]
    fn a_copy_is_freed_when_the_call_is_over() {
        let module = wat::parse_str(RUNTIME).unwrap();
        assert_eq!(popped(&module, 3), (7, [0; 5]), "it was not, before");
        let mended = only_module(&mended(&component(&module), false).unwrap());
        assert_eq!(popped(&mended, 3), (7, [1, 5, 3000, 7, 1]));
    }

    #[test]
    fn a_list_that_is_no_copy_is_left_alone() {
        let module = wat::parse_str(RUNTIME).unwrap();
        let mended = only_module(&mended(&component(&module), false).unwrap());
        assert_eq!(popped(&mended, 0), (7, [0; 5]));
    }

    #[test]
    fn lists_of_numbers_cross_as_bytes_if_that_is_wanted() {
        let modules = [wat::parse_str(RUNTIME).unwrap(), wat::parse_str(WORLD).unwrap()];
        let component = component_of(&[&modules[0], &modules[1]]);
        let as_bytes = only_module(&mended(&component, true).unwrap());
        // What is taken: the type, and how long it is.
        let taken = |module: &[u8], ty: i32| {
            let (mut store, instance) = instance(module);
            let push = instance.get_typed_func::<(i32, i32, i32, i32), i32>(&mut store, TAKES);
            push.unwrap().call(&mut store, (5, ty, 200, 3)).unwrap()
        };
        assert_eq!([2, 4, 5, 6].map(|ty| taken(&as_bytes, ty)), [2003, 2012, 2024, 6003]);
        // 7 bytes, as the runtime has it, are one number of four bytes and none of eight.
        assert_eq!(popped(&as_bytes, 2), (7, [1, 5, 2000, 7, 1]));
        assert_eq!(popped(&as_bytes, 4), (1, [1, 5, 2000, 7, 1]));
        assert_eq!(popped(&as_bytes, 5).0, 0);
        assert_eq!(popped(&as_bytes, 6), (7, [1, 5, 6000, 7, 1]));
        let as_they_are = only_module(&mended(&component, false).unwrap());
        assert_eq!(taken(&as_they_are, 4), 4003);
        assert_eq!(popped(&as_they_are, 4), (7, [1, 5, 4000, 7, 1]));
    }

    #[test]
    fn other_components_stay_as_they_are() {
        let module = wat::parse_str("(module (func (export \"wit_dylib_pop_list\")))").unwrap();
        let before = component(&module);
        assert_eq!(mended(&before, false).unwrap(), before);
        assert!(mended(b"no component", false).is_err());
        assert!(matches!(mended(&before, true), Err(NotMended::NoLists)));
    }
}
