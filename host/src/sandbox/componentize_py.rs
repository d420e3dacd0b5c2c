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
//! Everything is added at the ends of sections, so that no index changes. A runtime that has no
//! such functions is left as it is; one that frees the copy itself would have it freed twice, so
//! only versions that were looked at are touched: see `GOOD_FROM`.

use wasm_encoder::{
    BlockType, CodeSection, Component, ExportKind, ExportSection, Function, FunctionSection,
    MemArg, Module, RawSection, ValType,
};
use wasmparser::{
    BinaryReaderError, CodeSectionReader, ExportSectionReader, ExternalKind, FunctionSectionReader,
    ImportSectionReader, TypeRef,
};

use super::memory_snapshot::sections::{Section, sections};

/// The first version that nobody has looked at.
pub const GOOD_FROM: (u32, u32) = (0, 26);

/// Makes the copy.
const COPIES: &str = "wit_dylib_pop_list";
/// Frees it.
const FREES: &str = "wit_dylib_dealloc_bytes";

/// Ids of sections.
mod id {
    /// In a component.
    pub(super) const CORE_MODULE: u8 = 1;
    pub(super) const IMPORT: u8 = 2;
    pub(super) const FUNCTION: u8 = 3;
    pub(super) const EXPORT: u8 = 7;
    pub(super) const CODE: u8 = 10;
}

/// The component with lists that are freed. The same, if nothing in it makes such copies.
///
/// # Errors
/// If it is no component.
pub fn mended(component: &[u8]) -> Result<Vec<u8>, BinaryReaderError> {
    let mut out = Component::new();
    for Section { id, content } in sections(component)? {
        let module = if id == id::CORE_MODULE { with_wrapper(content)? } else { None };
        out.section(&RawSection { id, data: module.as_deref().unwrap_or(content) });
    }
    Ok(out.finish())
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
}

/// The module with the wrapper; none if it is not the runtime.
fn with_wrapper(module: &[u8]) -> Result<Option<Vec<u8>>, BinaryReaderError> {
    let sections = sections(module)?;
    let found = Found::of(&sections)?;
    let (Some(copies), Some(frees)) = (found.function(COPIES), found.function(FREES)) else {
        return Ok(None);
    };
    let Some(ty) = found.types.get((copies - found.imported) as usize) else { return Ok(None) };
    let wrapper = found.imported + u32::try_from(found.types.len()).unwrap_or(u32::MAX);
    let mut out = Module::new();
    for section in &sections {
        match section.id {
            id::FUNCTION => {
                let mut functions = FunctionSection::new();
                found.types.iter().chain([ty]).for_each(|ty| {
                    functions.function(*ty);
                });
                out.section(&functions);
            }
            id::EXPORT => {
                let mut exports = ExportSection::new();
                for (name, kind, index) in &found.exports {
                    let index = if *name == COPIES { wrapper } else { *index };
                    exports.export(name, kind_of(*kind), index);
                }
                out.section(&exports);
            }
            id::CODE => {
                let mut code = CodeSection::new();
                for body in CodeSectionReader::new(section.reader())? {
                    code.raw(body?.as_bytes());
                }
                code.function(&wrapper_of(copies, frees));
                out.section(&code);
            }
            _ => {
                out.section(&RawSection { id: section.id, data: section.content });
            }
        }
    }
    Ok(Some(out.finish()))
}

/// `(call, type, out) -> length`.
fn wrapper_of(copies: u32, frees: u32) -> Function {
    const CALL: u32 = 0;
    const TYPE: u32 = 1;
    const OUT: u32 = 2;
    const LENGTH: u32 = 3;
    let at = MemArg { offset: 0, align: 2, memory_index: 0 };
    let mut wrapper = Function::new([(1, ValType::I32)]);
    let mut code = wrapper.instructions();
    code.local_get(CALL).local_get(TYPE).local_get(OUT).call(copies).local_tee(LENGTH);
    code.if_(BlockType::Empty).local_get(OUT).i32_load(at).if_(BlockType::Empty);
    // Bytes are aligned to one; and not now, but when the call is over.
    code.local_get(CALL).local_get(OUT).i32_load(at).local_get(LENGTH).i32_const(1).i32_const(1);
    code.call(frees).end().end().local_get(LENGTH).end();
    wrapper
}

fn kind_of(kind: ExternalKind) -> ExportKind {
    match kind {
        ExternalKind::Func | ExternalKind::FuncExact => ExportKind::Func,
        ExternalKind::Table => ExportKind::Table,
        ExternalKind::Memory => ExportKind::Memory,
        ExternalKind::Global => ExportKind::Global,
        ExternalKind::Tag => ExportKind::Tag,
    }
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
            (i32.const 7)))"#;

    /// What a call of the wrapper answers, and what was freed: how often, for which call, what,
    /// how long, and whether later.
    fn popped(module: &[u8], ty: i32) -> (i32, [i32; 5]) {
        let engine = Engine::default();
        let compiled = Compiled::new(&engine, module).unwrap();
        let mut store = Store::new(&engine, ());
        let import = wasmtime::Func::wrap(&mut store, |_: i32| {});
        let instance = Instance::new(&mut store, &compiled, &[import.into()]).unwrap();
        let pop = instance.get_typed_func::<(i32, i32, i32), i32>(&mut store, COPIES).unwrap();
        let length = pop.call(&mut store, (5, ty, 200)).unwrap();
        let memory = instance.get_memory(&mut store, "memory").unwrap();
        let data = memory.data(&store);
        let number = |at: usize| i32::from_le_bytes(data[at..at + 4].try_into().unwrap());
        (length, [100, 104, 108, 112, 116].map(number))
    }

    fn component(module: &[u8]) -> Vec<u8> {
        let mut component = Component::new();
        component.section(&RawSection { id: id::CORE_MODULE, data: module });
        component.finish()
    }

    fn only_module(component: &[u8]) -> Vec<u8> {
        sections(component).unwrap()[0].content.to_vec()
    }

    #[test]
    fn a_copy_is_freed_when_the_call_is_over() {
        let module = wat::parse_str(RUNTIME).unwrap();
        assert_eq!(popped(&module, 3), (7, [0; 5]), "it was not, before");
        let mended = only_module(&mended(&component(&module)).unwrap());
        assert_eq!(popped(&mended, 3), (7, [1, 5, 3000, 7, 1]));
    }

    #[test]
    fn a_list_that_is_no_copy_is_left_alone() {
        let module = wat::parse_str(RUNTIME).unwrap();
        let mended = only_module(&mended(&component(&module)).unwrap());
        assert_eq!(popped(&mended, 0), (7, [0; 5]));
    }

    #[test]
    fn other_components_stay_as_they_are() {
        let module = wat::parse_str("(module (func (export \"wit_dylib_pop_list\")))").unwrap();
        let before = component(&module);
        assert_eq!(mended(&before).unwrap(), before);
        assert!(mended(b"no component").is_err());
    }
}
