//! A module or component, cut into its sections, and what all have in common who put it together
//! again.

use wasm_encoder::ExportKind;
use wasmparser::{BinaryReader, BinaryReaderError, ExternalKind};

/// Magic and version.
const HEADER: usize = 8;

/// Ids of sections in a core module, as the specification numbers them.
pub(super) mod in_module {
    pub(in crate::sandbox) const CUSTOM: u8 = 0;
    pub(in crate::sandbox) const TYPE: u8 = 1;
    pub(in crate::sandbox) const IMPORT: u8 = 2;
    pub(in crate::sandbox) const FUNCTION: u8 = 3;
    pub(in crate::sandbox) const MEMORY: u8 = 5;
    pub(in crate::sandbox) const GLOBAL: u8 = 6;
    pub(in crate::sandbox) const EXPORT: u8 = 7;
    pub(in crate::sandbox) const START: u8 = 8;
    pub(in crate::sandbox) const ELEMENT: u8 = 9;
    pub(in crate::sandbox) const CODE: u8 = 10;
    pub(in crate::sandbox) const DATA: u8 = 11;
    pub(in crate::sandbox) const DATA_COUNT: u8 = 12;
}

/// Ids of sections in a component.
pub(super) mod in_component {
    pub(in crate::sandbox) const CORE_MODULE: u8 = 1;
    pub(in crate::sandbox) const CORE_INSTANCE: u8 = 2;
    pub(in crate::sandbox) const COMPONENT: u8 = 4;
    pub(in crate::sandbox) const INSTANCE: u8 = 5;
    pub(in crate::sandbox) const ALIAS: u8 = 6;
    pub(in crate::sandbox) const TYPE: u8 = 7;
    pub(in crate::sandbox) const CANONICAL: u8 = 8;
    pub(in crate::sandbox) const START: u8 = 9;
    pub(in crate::sandbox) const IMPORT: u8 = 10;
    pub(in crate::sandbox) const EXPORT: u8 = 11;
}

/// A section as it stands in the file.
#[derive(Debug, Clone, Copy)]
pub(super) struct Section<'a> {
    pub(super) id: u8,
    pub(super) content: &'a [u8],
}

impl<'a> Section<'a> {
    pub(super) fn reader(&self) -> BinaryReader<'a> {
        BinaryReader::new(self.content, 0)
    }
}

/// The sections of a module or a component, in order.
pub(super) fn sections(bytes: &[u8]) -> Result<Vec<Section<'_>>, BinaryReaderError> {
    let mut reader = BinaryReader::new(bytes, 0);
    reader.read_bytes(HEADER)?;
    let mut sections = Vec::new();
    while !reader.eof() {
        let id = reader.read_u8()?;
        let length = reader.read_var_u32()? as usize;
        sections.push(Section { id, content: reader.read_bytes(length)? });
    }
    Ok(sections)
}

/// What is exported, in the words of who writes it.
pub(super) fn export_kind(kind: ExternalKind) -> ExportKind {
    match kind {
        ExternalKind::Func | ExternalKind::FuncExact => ExportKind::Func,
        ExternalKind::Table => ExportKind::Table,
        ExternalKind::Memory => ExportKind::Memory,
        ExternalKind::Global => ExportKind::Global,
        ExternalKind::Tag => ExportKind::Tag,
    }
}
