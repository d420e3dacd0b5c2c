//! A module or component, cut into its sections.

use wasmparser::{BinaryReader, BinaryReaderError};

/// Magic and version.
const HEADER: usize = 8;

/// A section as it stands in the file.
#[derive(Debug, Clone, Copy)]
pub(in crate::sandbox) struct Section<'a> {
    pub(in crate::sandbox) id: u8,
    pub(in crate::sandbox) content: &'a [u8],
}

impl<'a> Section<'a> {
    pub(in crate::sandbox) fn reader(&self) -> BinaryReader<'a> {
        BinaryReader::new(self.content, 0)
    }
}

/// The sections of a module or a component, in order.
pub(in crate::sandbox) fn sections(bytes: &[u8]) -> Result<Vec<Section<'_>>, BinaryReaderError> {
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
