//! Which lists of the contract are numbers in a row, and how wide: read off the module that
//! `componentize-py` writes for a world, which lifts and lowers lists entry by entry. That module
//! alone knows the numbers that its types have.
//!
//! ```text
//!  lift:   push_u32(call, entry)          list_append(call, TYPE)
//!  lower:  pop_iter_next(call, TYPE)      pop_u32(call)
//! ```
//!
//! An entry that consists of more ends, or begins, with another call between the two.

use std::collections::{BTreeMap, HashMap};

use wasmparser::{BinaryReaderError, CodeSectionReader, ImportSectionReader, Operator, TypeRef};

use super::id;
use crate::sandbox::sections::Section;

/// Lists of numbers, by the numbers of their types.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Lists {
    /// The list of bytes.
    pub(super) of_bytes: u32,
    /// Lists of wider numbers, and how many bytes one has.
    pub(super) wider: Vec<(u32, u32)>,
}

/// What an imported function does.
#[derive(Debug, Clone, Copy)]
enum Call {
    /// Takes a lifted entry into a list.
    Append,
    /// Gives the next entry of a list that is lowered.
    Next,
    /// Lifts a number of so many bytes.
    Push(u32),
    /// Lowers one.
    Pop(u32),
}

impl Call {
    fn of(name: &str) -> Option<Self> {
        Some(match name {
            "wit_dylib_list_append" => Self::Append,
            "wit_dylib_pop_iter_next" => Self::Next,
            "wit_dylib_push_u8" => Self::Push(1),
            "wit_dylib_push_u32" => Self::Push(4),
            "wit_dylib_push_s64" => Self::Push(8),
            "wit_dylib_pop_u8" => Self::Pop(1),
            "wit_dylib_pop_u32" => Self::Pop(4),
            "wit_dylib_pop_s64" => Self::Pop(8),
            _ => return None,
        })
    }
}

/// The lists of a module; none if it lifts and lowers nothing.
///
/// # Errors
/// If it cannot be read.
pub(super) fn lists(sections: &[Section<'_>]) -> Result<Option<Lists>, BinaryReaderError> {
    let mut calls = HashMap::new();
    let mut widths = BTreeMap::new();
    for section in sections {
        match section.id {
            id::IMPORT => calls = imported(section)?,
            id::CODE if !calls.is_empty() => {
                for body in CodeSectionReader::new(section.reader())? {
                    let operators = body?.get_operators_reader()?;
                    read_off(operators.into_iter(), &calls, &mut widths)?;
                }
            }
            _ => {}
        }
    }
    let of_bytes = widths.iter().find_map(|(ty, width)| (*width == 1).then_some(*ty));
    let wider = widths.into_iter().filter(|(_, width)| *width > 1).collect();
    Ok(of_bytes.map(|of_bytes| Lists { of_bytes, wider }))
}

fn imported(section: &Section<'_>) -> Result<HashMap<u32, Call>, BinaryReaderError> {
    let mut calls = HashMap::new();
    let mut index = 0;
    for import in ImportSectionReader::new(section.reader())?.into_imports() {
        let import = import?;
        if matches!(import.ty, TypeRef::Func(_) | TypeRef::FuncExact(_)) {
            calls.extend(Call::of(import.name).map(|call| (index, call)));
            index += 1;
        }
    }
    Ok(calls)
}

/// Notes what a function says of lists. The type is the last argument, so its constant stands right
/// before the call.
fn read_off<'a>(
    operators: impl Iterator<Item = Result<Operator<'a>, BinaryReaderError>>,
    calls: &HashMap<u32, Call>,
    widths: &mut BTreeMap<u32, u32>,
) -> Result<(), BinaryReaderError> {
    // The constant at hand, and the call before with the constant that it had.
    let (mut constant, mut before) = (None, (None, None));
    for operator in operators {
        match operator? {
            Operator::I32Const { value } => constant = u32::try_from(value).ok(),
            Operator::Call { function_index } => {
                let call = calls.get(&function_index).copied();
                match (before, call) {
                    ((Some(Call::Push(width)), _), Some(Call::Append)) => {
                        widths.extend(constant.map(|ty| (ty, width)));
                    }
                    ((Some(Call::Next), ty), Some(Call::Pop(width))) => {
                        widths.extend(ty.map(|ty| (ty, width)));
                    }
                    _ => {}
                }
                before = (call, constant.take());
            }
            _ => {}
        }
    }
    Ok(())
}
