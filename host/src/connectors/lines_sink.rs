//! The `lines` sink's lines: values as they are, one a line.

use super::file_sink::Encode;

/// Writes values as lines.
pub(crate) struct LinesEncoder;

impl Encode for LinesEncoder {
    fn header(&self, _out: &mut Vec<u8>) {}

    fn encode(&mut self, value: &[u8], out: &mut Vec<u8>) -> Result<(), String> {
        if let Some(at) = memchr::memchr(b'\n', value) {
            return Err(format!(
                "byte {} of the value is a line end, so it would be read back as several records; \
                 write JSON with the sink `jsonl`, or replace line ends in the operator before",
                at + 1
            ));
        }
        out.extend_from_slice(value);
        out.push(b'\n');
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_with_a_line_end_is_refused() {
        let mut out = Vec::new();
        LinesEncoder.encode(b"one", &mut out).unwrap();
        LinesEncoder.encode(b"", &mut out).unwrap();
        let error = LinesEncoder.encode(b"two\nthree", &mut out).unwrap_err();
        assert!(error.contains("byte 4 of the value is a line end"), "{error}");
        assert_eq!(out, b"one\n\n");
    }
}
