//! A core module: what of its state can be saved, and the module again with all of
//! that exported.

use std::{collections::HashMap, fmt};

use wasm_encoder::{Encode as _, Module, RawSection, Section as _};
use wasmparser::{
    BinaryReader, BinaryReaderError, CodeSectionReader, CompositeInnerType, DataSectionReader,
    ElementItems, ElementSectionReader, ExportSectionReader, ExternalKind, GlobalSectionReader,
    ImportSectionReader, KnownCustom, MemorySectionReader, Name, Operator, TypeRef,
    TypeSectionReader, ValType,
};

use super::{
    code::{self, Code},
    reasons::{Reasons, Why, shown},
};
use crate::sandbox::sections::{Section, in_module as id, sections};

/// What the names of our exports of a core module begin with.
const RESERVED: &str = "cofferdam:memory-snapshot/";

/// The type of a mutable global.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Number {
    I32,
    I64,
    F32,
    F64,
    V128,
}

impl Number {
    fn of(ty: ValType) -> Option<Self> {
        Some(match ty {
            ValType::I32 => Self::I32,
            ValType::I64 => Self::I64,
            ValType::F32 => Self::F32,
            ValType::F64 => Self::F64,
            ValType::V128 => Self::V128,
            ValType::Ref(_) => return None,
        })
    }

    /// How many values of 64 bits it takes.
    pub(super) fn slots(self) -> u32 {
        if self == Self::V128 { 2 } else { 1 }
    }
}

/// A core module that was read.
#[derive(Debug, Default)]
pub(super) struct CoreModule {
    /// What it is called in reasons.
    pub(super) place: String,
    /// The module, with its state exported.
    pub(super) bytes: Vec<u8>,
    /// How many memories it defines.
    pub(super) memories: u32,
    /// The mutable globals that it defines.
    pub(super) globals: Vec<Number>,
    /// The function that runs when it is instantiated.
    pub(super) start: Option<u32>,
    /// Functions that it imports: from which module, by which name.
    pub(super) imports: Vec<(String, String)>,
    /// Functions that it exports.
    pub(super) exports: HashMap<String, u32>,
    /// Functions that can be called without being named.
    pub(super) taken: Vec<u32>,
    /// Its own functions.
    functions: Vec<Code>,
}

impl CoreModule {
    /// The code of a function that it does not import.
    pub(super) fn function(&self, index: u32) -> Option<&Code> {
        let index = (index as usize).checked_sub(self.imports.len())?;
        self.functions.get(index)
    }

    /// Reads and rewrites a module. What cannot be saved is told to `reasons`.
    pub(super) fn read(
        bytes: &[u8],
        place: String,
        reasons: &mut Reasons,
    ) -> Result<Self, BinaryReaderError> {
        let all = sections(bytes)?;
        let mut reader = Reader { module: Self { place, ..Self::default() }, ..Reader::default() };
        for section in &all {
            reader.section(section, reasons)?;
        }
        let names = function_names(&all, &reader.findings);
        for (function, why) in std::mem::take(&mut reader.findings) {
            let place = Place { module: &reader.module.place, function, names: &names };
            reasons.add(place, why);
        }
        let mut module = std::mem::take(&mut reader.module);
        module.bytes = reader.rewritten(&all)?;
        module.memories = reader.memories;
        Ok(module)
    }

    /// The name under which a memory that it defines is exported.
    pub(super) fn memory_name(index: u32) -> String {
        format!("{RESERVED}memory-{index}")
    }

    /// The name under which a mutable global that it defines is exported.
    pub(super) fn global_name(index: usize) -> String {
        format!("{RESERVED}global-{index}")
    }
}

/// A function of a module, in reasons.
struct Place<'a> {
    module: &'a str,
    function: u32,
    names: &'a HashMap<u32, String>,
}

impl fmt::Display for Place<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}, function {}", self.module, self.function)?;
        match self.names.get(&self.function) {
            Some(name) => write!(f, " (`{name}`)"),
            None => Ok(()),
        }
    }
}

#[derive(Default)]
struct Reader {
    module: CoreModule,
    imported_memories: u32,
    imported_globals: u32,
    /// Memories that it defines.
    memories: u32,
    /// Indexes of the mutable globals that it defines.
    global_indexes: Vec<u32>,
    /// What was found in which function.
    findings: Vec<(u32, Why)>,
}

impl Reader {
    fn section(
        &mut self,
        section: &Section<'_>,
        reasons: &mut Reasons,
    ) -> Result<(), BinaryReaderError> {
        let reader = section.reader();
        match section.id {
            id::TYPE => self.types(reader, reasons),
            id::IMPORT => self.imports(reader),
            id::MEMORY => self.memories(reader, reasons),
            id::GLOBAL => self.globals(reader, reasons),
            id::EXPORT => self.exports(reader, reasons),
            id::START => {
                let mut reader = reader;
                self.module.start = Some(reader.read_var_u32()?);
                Ok(())
            }
            id::ELEMENT => self.elements(reader),
            id::CODE => self.code(reader),
            // Read for its errors only: nothing of it matters.
            id::DATA => DataSectionReader::new(reader)?.into_iter().try_for_each(|d| d.map(drop)),
            _ => Ok(()),
        }
    }

    fn types(&self, at: BinaryReader<'_>, reasons: &mut Reasons) -> Result<(), BinaryReaderError> {
        for group in TypeSectionReader::new(at)? {
            for ty in group?.into_types() {
                let why = match ty.composite_type.inner {
                    CompositeInnerType::Func(_) => continue,
                    CompositeInnerType::Array(_) => Why::Collected("arrays"),
                    CompositeInnerType::Struct(_) => Why::Collected("structs"),
                    CompositeInnerType::Cont(_) => Why::Continuation,
                };
                reasons.add(&self.module.place, why);
            }
        }
        Ok(())
    }

    fn imports(&mut self, at: BinaryReader<'_>) -> Result<(), BinaryReaderError> {
        for import in ImportSectionReader::new(at)?.into_imports() {
            let import = import?;
            match import.ty {
                TypeRef::Func(_) | TypeRef::FuncExact(_) => {
                    self.module.imports.push((import.module.to_owned(), import.name.to_owned()));
                }
                TypeRef::Memory(_) => self.imported_memories += 1,
                TypeRef::Global(_) => self.imported_globals += 1,
                TypeRef::Table(_) | TypeRef::Tag(_) => {}
            }
        }
        Ok(())
    }

    fn memories(
        &mut self,
        at: BinaryReader<'_>,
        reasons: &mut Reasons,
    ) -> Result<(), BinaryReaderError> {
        for memory in MemorySectionReader::new(at)? {
            let memory = memory?;
            let index = self.imported_memories + self.memories;
            self.memories += 1;
            let place = &self.module.place;
            if memory.shared {
                reasons.add(place, Why::SharedMemory(index));
            }
            if memory.memory64 {
                reasons.add(place, Why::Memory64(index));
            }
            if memory.page_size_log2.is_some_and(|size| size != 16) {
                reasons.add(place, Why::PageSize(index));
            }
        }
        Ok(())
    }

    fn globals(
        &mut self,
        at: BinaryReader<'_>,
        reasons: &mut Reasons,
    ) -> Result<(), BinaryReaderError> {
        for (global, index) in GlobalSectionReader::new(at)?.into_iter().zip(0..) {
            let global = global?;
            let index = self.imported_globals + index;
            take_functions(&mut global.init_expr.get_operators_reader(), &mut self.module.taken)?;
            if !global.ty.mutable {
                continue;
            }
            if global.ty.shared {
                reasons.add(&self.module.place, Why::SharedGlobal(index));
            }
            match Number::of(global.ty.content_type) {
                Some(number) => {
                    self.module.globals.push(number);
                    self.global_indexes.push(index);
                }
                None => reasons.add(&self.module.place, Why::ReferenceGlobal(index)),
            }
        }
        Ok(())
    }

    fn exports(
        &mut self,
        at: BinaryReader<'_>,
        reasons: &mut Reasons,
    ) -> Result<(), BinaryReaderError> {
        for export in ExportSectionReader::new(at)? {
            let export = export?;
            if export.name.starts_with(RESERVED) {
                reasons.add(&self.module.place, Why::ReservedName(shown(export.name)));
            }
            if matches!(export.kind, ExternalKind::Func | ExternalKind::FuncExact) {
                self.module.exports.insert(export.name.to_owned(), export.index);
            }
        }
        Ok(())
    }

    fn elements(&mut self, at: BinaryReader<'_>) -> Result<(), BinaryReaderError> {
        for element in ElementSectionReader::new(at)? {
            match element?.items {
                ElementItems::Functions(functions) => {
                    for function in functions {
                        self.module.taken.push(function?);
                    }
                }
                ElementItems::Expressions(_, expressions) => {
                    for expression in expressions {
                        let mut operators = expression?.get_operators_reader();
                        take_functions(&mut operators, &mut self.module.taken)?;
                    }
                }
            }
        }
        Ok(())
    }

    fn code(&mut self, at: BinaryReader<'_>) -> Result<(), BinaryReaderError> {
        let first = u32::try_from(self.module.imports.len()).unwrap_or(u32::MAX);
        for (body, index) in CodeSectionReader::new(at)?.into_iter().zip(first..) {
            let mut code = code::read(&body?)?;
            self.findings.extend(code.unsaved.drain(..).map(|why| (index, why)));
            self.module.taken.append(&mut code.takes);
            self.module.functions.push(code);
        }
        Ok(())
    }

    /// The module with its memories and mutable globals exported.
    fn rewritten(&self, all: &[Section<'_>]) -> Result<Vec<u8>, BinaryReaderError> {
        let added = self.memories as usize + self.global_indexes.len();
        let exports = all.iter().find(|section| section.id == id::EXPORT);
        let (mut count, mut entries) = (0, Vec::new());
        if let Some(exports) = exports {
            let mut reader = exports.reader();
            count = reader.read_var_u32()?;
            entries.extend_from_slice(&exports.content[reader.current_position()..]);
        }
        for memory in 0..self.memories {
            CoreModule::memory_name(memory).as_str().encode(&mut entries);
            wasm_encoder::ExportKind::Memory.encode(&mut entries);
            (self.imported_memories + memory).encode(&mut entries);
        }
        for (i, index) in self.global_indexes.iter().enumerate() {
            CoreModule::global_name(i).as_str().encode(&mut entries);
            wasm_encoder::ExportKind::Global.encode(&mut entries);
            index.encode(&mut entries);
        }
        let mut content = Vec::with_capacity(entries.len() + 5);
        count.saturating_add(u32::try_from(added).unwrap_or(u32::MAX)).encode(&mut content);
        content.append(&mut entries);
        let ours = RawSection { id: id::EXPORT, data: &content };
        let mut module = Module::new();
        let mut written = false;
        for section in all {
            let after = [id::START, id::ELEMENT, id::DATA_COUNT, id::CODE, id::DATA];
            if !written && (section.id == id::EXPORT || after.contains(&section.id)) {
                module.section(&ours);
                written = true;
            }
            if section.id != id::EXPORT {
                module.section(&RawSection { id: section.id, data: section.content });
            }
        }
        if !written {
            module.section(&ours);
        }
        debug_assert_eq!(ours.id(), id::EXPORT);
        Ok(module.finish())
    }
}

/// Functions that a constant expression takes references of.
fn take_functions(
    operators: &mut wasmparser::OperatorsReader<'_>,
    taken: &mut Vec<u32>,
) -> Result<(), BinaryReaderError> {
    while !operators.eof() {
        if let Operator::RefFunc { function_index } = operators.read()? {
            taken.push(function_index);
        }
    }
    Ok(())
}

/// The names of the functions in which something was found. A name section that
/// cannot be read has none.
fn function_names(all: &[Section<'_>], wanted: &[(u32, Why)]) -> HashMap<u32, String> {
    let mut names = HashMap::new();
    if wanted.is_empty() {
        return names;
    }
    for section in all.iter().filter(|section| section.id == id::CUSTOM) {
        let Ok(custom) = custom(section) else { continue };
        let KnownCustom::Name(subsections) = custom.as_known() else { continue };
        for name in subsections.into_iter().flatten() {
            let Name::Function(functions) = name else { continue };
            for naming in functions.into_iter().flatten() {
                if wanted.iter().any(|(function, _)| *function == naming.index) {
                    names.insert(naming.index, shown(naming.name));
                }
            }
        }
    }
    names
}

fn custom<'a>(
    section: &Section<'a>,
) -> Result<wasmparser::CustomSectionReader<'a>, BinaryReaderError> {
    wasmparser::CustomSectionReader::new(section.reader())
}
