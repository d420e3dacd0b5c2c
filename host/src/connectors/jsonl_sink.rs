//! The `jsonl` sink's lines: values that are JSON, one a line.

use super::{
    file_sink::{Encode, utf8},
    json,
};

/// Checks JSON values and writes them as they are, apart from line ends.
pub(crate) struct JsonLinesEncoder;

impl Encode for JsonLinesEncoder {
    fn header(&self, _out: &mut Vec<u8>) {}

    fn encode(&mut self, value: &[u8], out: &mut Vec<u8>) -> Result<(), String> {
        json::check(utf8(value)?).map_err(|problem| {
            format!("the value {problem}; for text that is not JSON there is the sink `lines`")
        })?;
        let start = out.len();
        out.extend_from_slice(value);
        // In valid JSON these stand only between tokens, where a blank does as well.
        for byte in &mut out[start..] {
            if matches!(byte, b'\n' | b'\r') {
                *byte = b' ';
            }
        }
        out.push(b'\n');
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_is_one_line_whatever_its_layout() {
        let mut out = Vec::new();
        JsonLinesEncoder.encode(b"{\r\n \"a\": \"x\\ny\"\n}", &mut out).unwrap();
        assert_eq!(out, b"{   \"a\": \"x\\ny\" }\n");
    }

    #[test]
    fn what_is_no_json_is_refused_with_what_to_do() {
        let refused = |value: &[u8]| JsonLinesEncoder.encode(value, &mut Vec::new()).unwrap_err();
        for value in [&b""[..], b"word", b"{} {}", b"{\"a\":\"x\ny\"}"] {
            let error = refused(value);
            assert!(error.contains("is not valid JSON") && error.contains("`lines`"), "{error}");
        }
        assert!(refused(b"\"\xff\"").contains("is not UTF-8 from byte 2 on"));
    }
}
