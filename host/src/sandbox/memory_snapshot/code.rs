//! What the code of a function does that matters here: whom it calls, and what it
//! changes that is neither linear memory nor a number.

use wasmparser::{BinaryReaderError, FunctionBody, Operator};

use super::reasons::Why;

/// What a function does.
#[derive(Debug, Default)]
pub(super) struct Code {
    /// Functions that it calls, each once.
    pub(super) calls: Vec<u32>,
    /// Functions that it takes a reference of.
    pub(super) takes: Vec<u32>,
    /// Whether it calls what it does not name.
    pub(super) indirect: bool,
    /// What cannot be saved of it.
    pub(super) unsaved: Vec<Why>,
}

/// Reads a function.
pub(super) fn read(body: &FunctionBody<'_>) -> Result<Code, BinaryReaderError> {
    let mut code = Code::default();
    let mut reader = body.get_operators_reader()?;
    while !reader.eof() {
        let unsaved = match reader.read()? {
            Operator::Call { function_index } | Operator::ReturnCall { function_index } => {
                code.calls.push(function_index);
                continue;
            }
            Operator::RefFunc { function_index } => {
                code.takes.push(function_index);
                continue;
            }
            Operator::CallIndirect { .. }
            | Operator::ReturnCallIndirect { .. }
            | Operator::CallRef { .. }
            | Operator::ReturnCallRef { .. } => {
                code.indirect = true;
                continue;
            }
            Operator::TableSet { .. } => Why::ChangesTable("table.set"),
            Operator::TableGrow { .. } => Why::ChangesTable("table.grow"),
            Operator::TableFill { .. } => Why::ChangesTable("table.fill"),
            Operator::TableCopy { .. } => Why::ChangesTable("table.copy"),
            Operator::TableInit { .. } => Why::ChangesTable("table.init"),
            Operator::ElemDrop { .. } => Why::DropsSegment("elem.drop"),
            Operator::DataDrop { .. } => Why::DropsSegment("data.drop"),
            _ => continue,
        };
        if !code.unsaved.contains(&unsaved) {
            code.unsaved.push(unsaved);
        }
    }
    for list in [&mut code.calls, &mut code.takes] {
        list.sort_unstable();
        list.dedup();
        list.shrink_to_fit();
    }
    Ok(code)
}
