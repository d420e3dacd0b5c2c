//! What the stub must know of the module that it answers, which it reads in two globals.
//!
//! *Whether anything may be imported just now.* The host calls a module's `cabi_realloc` to pass arguments in, and its `cabi_post_…` when
//! it has taken the results; a module that calls an import meanwhile traps with `cannot leave
//! component instance`. So these exports become wrappers that count, in a global, how many of
//! them are under way, and call what was exported before.
//!
//! *Where there is room for lines that wait.* Go's runtime takes for granted that nobody but it
//! makes the memory longer (`sbrk` in `runtime/mem_wasm.go`): a page of somebody else's would
//! become a part of its heap. But its linker leaves 8 KiB free for arguments that a browser would
//! put there (`wasmMinDataAddr`). Everybody else bears a page more.
//!
//! Everything is added at the ends of sections: no index and no offset in the code changes, so
//! debug information, names and everything else in the module remain true.

use wasm_encoder::{
    CodeSection, ConstExpr, Encode as _, ExportKind, ExportSection, Function, GlobalSection,
    GlobalType, Module, RawSection, ValType,
};
use wasmparser::{
    BinaryReader, CompositeInnerType, CustomSectionReader, DataKind, DataSectionReader,
    ExportSectionReader, ExternalKind, FuncType, FunctionSectionReader, GlobalSectionReader,
    ImportSectionReader, Operator, TypeRef, TypeSectionReader,
};

use crate::sandbox::sections::{Section, export_kind, in_module as id, sections};

/// The global that counts.
const SHUT: &str = "cofferdam:shut";
/// The global that says where there is room; 0 for a page of the memory's own.
const ROOM: &str = "cofferdam:room";

/// The section that Go's linker writes into each module.
const OF_GO: &str = "go:buildid";
/// From where to where it puts nothing; a page is left for the null pointer.
const ROOM_OF_GO: std::ops::Range<i64> = 4096..4096 + 8192;
/// There is no room.
const NOWHERE: i32 = 1;

/// The order in which sections stand, which is not that of their ids.
const ORDER: [u8; 13] = [1, 2, 3, 4, 5, 13, 6, 7, 8, 9, 12, 10, 11];

/// Whether the host calls an export where nothing may be imported.
fn is_shut(export: &str) -> bool {
    matches!(export, "cabi_realloc" | "canonical_abi_realloc" | "cm32p2_realloc")
        || export.starts_with("cabi_post_")
        || (export.starts_with("cm32p2|") && export.ends_with("_post"))
}

/// The module with the global, and with wrappers that set it.
///
/// # Errors
/// In words, if it is no module.
pub(super) fn with_shut(module: &[u8]) -> anyhow::Result<Vec<u8>> {
    let sections = sections(module)?;
    let found = Found::of(&sections)?;
    let additions = found.additions();
    let mut out = Module::new();
    let mut pending = additions.into_iter().peekable();
    for section in &sections {
        if let Some(rank) = rank(section.id) {
            // Those that the module has not got.
            while let Some(new) = pending.next_if(|new| rank_of(new.id) < rank) {
                new.put(None, &mut out);
            }
            if let Some(new) = pending.next_if(|new| new.id == section.id) {
                new.put(Some(section), &mut out);
                continue;
            }
        }
        out.section(&RawSection { id: section.id, data: section.content });
    }
    pending.for_each(|new| new.put(None, &mut out));
    Ok(out.finish())
}

/// Where a section stands; custom sections may stand anywhere.
fn rank(section: u8) -> Option<usize> {
    ORDER.iter().position(|known| *known == section)
}

fn rank_of(section: u8) -> usize {
    rank(section).unwrap_or(ORDER.len())
}

/// What there is in a module, as far as it matters here.
#[derive(Debug, Default)]
struct Found {
    types: Vec<Option<FuncType>>,
    /// Types of the functions, imported ones first.
    functions: Vec<u32>,
    globals: u32,
    exports: Vec<(String, ExternalKind, u32)>,
    of_go: bool,
    /// The lowest address that data begins at.
    data: Option<i64>,
}

impl Found {
    fn of(sections: &[Section<'_>]) -> anyhow::Result<Self> {
        let mut found = Self::default();
        for section in sections {
            found.read(section.id, section.reader())?;
        }
        Ok(found)
    }

    fn read(&mut self, section: u8, reader: BinaryReader<'_>) -> anyhow::Result<()> {
        match section {
            id::TYPE => {
                for group in TypeSectionReader::new(reader)? {
                    self.types.extend(group?.into_types().map(
                        |ty| match ty.composite_type.inner {
                            CompositeInnerType::Func(ty) => Some(ty),
                            _ => None,
                        },
                    ));
                }
            }
            id::IMPORT => {
                for import in ImportSectionReader::new(reader)?.into_imports() {
                    match import?.ty {
                        TypeRef::Func(ty) | TypeRef::FuncExact(ty) => self.functions.push(ty),
                        TypeRef::Global(_) => self.globals += 1,
                        _ => {}
                    }
                }
            }
            id::FUNCTION => {
                for ty in FunctionSectionReader::new(reader)? {
                    self.functions.push(ty?);
                }
            }
            id::GLOBAL => self.globals += GlobalSectionReader::new(reader)?.count(),
            id::EXPORT => {
                for export in ExportSectionReader::new(reader)? {
                    let export = export?;
                    self.exports.push((export.name.to_owned(), export.kind, export.index));
                }
            }
            id::CUSTOM => self.of_go |= CustomSectionReader::new(reader)?.name() == OF_GO,
            id::DATA => {
                for data in DataSectionReader::new(reader)? {
                    if let DataKind::Active { offset_expr, .. } = data?.kind {
                        let at = match offset_expr.get_operators_reader().read()? {
                            Operator::I32Const { value } => i64::from(value),
                            _ => 0,
                        };
                        self.data = Some(self.data.map_or(at, |lowest| lowest.min(at)));
                    }
                }
            }
            _ => {}
        }
        Ok(())
    }

    /// Where there is room for lines that wait.
    fn room(&self) -> i32 {
        match self.data {
            _ if !self.of_go => 0,
            Some(lowest) if lowest < ROOM_OF_GO.end => NOWHERE,
            _ => i32::try_from(ROOM_OF_GO.start).unwrap_or(NOWHERE),
        }
    }

    /// The type of a function that is to be wrapped.
    fn wrapped(&self, export: &(String, ExternalKind, u32)) -> Option<(u32, &FuncType)> {
        let (name, kind, function) = export;
        if *kind != ExternalKind::Func || !is_shut(name) {
            return None;
        }
        let index = *self.functions.get(*function as usize)?;
        Some((index, self.types.get(index as usize)?.as_ref()?))
    }

    /// What is added, in the order of the sections.
    fn additions(&self) -> [Addition; 4] {
        let shut = self.globals;
        let (mut functions, mut exports) = (Vec::new(), ExportSection::new());
        let mut code = CodeSection::new();
        for export in &self.exports {
            let (name, kind, index) = export;
            let Some((type_index, ty)) = self.wrapped(export) else {
                exports.export(name, export_kind(*kind), *index);
                continue;
            };
            let wrapper = self.functions.len() + functions.len();
            type_index_into(&mut functions, type_index);
            code.function(&wrapper_of(*index, ty, shut));
            exports.export(name, ExportKind::Func, u32::try_from(wrapper).unwrap_or(u32::MAX));
        }
        exports.export(SHUT, ExportKind::Global, shut).export(ROOM, ExportKind::Global, shut + 1);
        let mut globals = GlobalSection::new();
        for (mutable, value) in [(true, 0), (false, self.room())] {
            let ty = GlobalType { val_type: ValType::I32, mutable, shared: false };
            globals.global(ty, &ConstExpr::i32_const(value));
        }
        let wrappers = code.len();
        [
            Addition { id: id::FUNCTION, count: wrappers, items: functions.concat(), whole: false },
            Addition { id: id::GLOBAL, count: 2, items: items(&globals), whole: false },
            Addition { id: id::EXPORT, count: exports.len(), items: items(&exports), whole: true },
            Addition { id: id::CODE, count: wrappers, items: items(&code), whole: false },
        ]
    }
}

/// An entry of the section of functions: as long as the index needs.
fn type_index_into(functions: &mut Vec<Vec<u8>>, index: u32) {
    let mut entry = Vec::new();
    index.encode(&mut entry);
    functions.push(entry);
}

/// Calls a function while the global is one more.
fn wrapper_of(function: u32, ty: &FuncType, shut: u32) -> Function {
    let mut wrapper = Function::new([]);
    let mut code = wrapper.instructions();
    code.global_get(shut).i32_const(1).i32_add().global_set(shut);
    for (parameter, _) in (0..).zip(ty.params()) {
        code.local_get(parameter);
    }
    code.call(function);
    code.global_get(shut).i32_const(1).i32_sub().global_set(shut).end();
    wrapper
}

/// The entries of a section, without the count before them.
fn items(section: &impl wasm_encoder::Encode) -> Vec<u8> {
    let mut bytes = Vec::new();
    section.encode(&mut bytes);
    // The section's length stands first, and then the count: both are read over.
    let mut reader = BinaryReader::new(&bytes, 0);
    let read = reader.read_var_u32().and_then(|_| reader.read_var_u32());
    debug_assert!(read.is_ok(), "wasm-encoder writes sections that begin with two numbers");
    bytes.split_off(reader.original_position())
}

/// Entries for a section of which each module has at most one.
#[derive(Debug)]
struct Addition {
    id: u8,
    count: u32,
    items: Vec<u8>,
    /// Whether they stand for what was there, and not behind it.
    whole: bool,
}

impl Addition {
    /// Writes the section with what is added.
    fn put(self, to: Option<&Section<'_>>, out: &mut Module) {
        let mut content = Vec::new();
        match to.filter(|_| !self.whole) {
            Some(section) => {
                let mut reader = section.reader();
                // Read once already: it is a number.
                let count = reader.read_var_u32().unwrap_or(0);
                let width = reader.original_position();
                // As wide as it was, if that is enough: offsets in the code begin before it.
                put_padded(&mut content, count + self.count, width);
                content.extend(&section.content[width..]);
            }
            None if self.count == 0 => return,
            None => self.count.encode(&mut content),
        }
        content.extend(&self.items);
        out.section(&RawSection { id: self.id, data: &content });
    }
}

/// A number as LEB128, in so many bytes at least.
fn put_padded(out: &mut Vec<u8>, mut number: u32, width: usize) {
    for at in 1.. {
        let low = (number & 0x7f) as u8;
        number >>= 7;
        let more = number != 0 || at < width.min(5);
        out.push(if more { low | 0x80 } else { low });
        if !more {
            return;
        }
    }
}
