//! The `csv` sink's rows: JSON objects, by columns.

use serde_json::Value;

use super::{
    file_sink::{Encode, utf8},
    json,
};

/// Writes JSON objects as rows.
pub(crate) struct CsvEncoder {
    columns: Vec<String>,
    delimiter: u8,
    /// The fields of the record in hand.
    found: Vec<Option<Value>>,
}

impl CsvEncoder {
    pub(crate) fn new(columns: &[String], delimiter: u8) -> Self {
        Self { columns: columns.to_vec(), delimiter, found: Vec::new() }
    }

    fn write_field(&self, i: usize, field: &str, out: &mut Vec<u8>) {
        if i > 0 {
            out.push(self.delimiter);
        }
        let special = |b: u8| b == self.delimiter || matches!(b, b'"' | b'\n' | b'\r');
        // An empty line would not be read as a row.
        let empty_row = field.is_empty() && self.columns.len() == 1;
        if !empty_row && !field.bytes().any(special) {
            out.extend_from_slice(field.as_bytes());
            return;
        }
        out.push(b'"');
        for byte in field.bytes() {
            if byte == b'"' {
                out.push(b'"');
            }
            out.push(byte);
        }
        out.push(b'"');
    }
}

impl Encode for CsvEncoder {
    fn header(&self, out: &mut Vec<u8>) {
        for (i, name) in self.columns.iter().enumerate() {
            self.write_field(i, name, out);
        }
        out.push(b'\n');
    }

    fn encode(&mut self, value: &[u8], out: &mut Vec<u8>) -> Result<(), String> {
        self.found.clear();
        self.found.resize(self.columns.len(), None);
        json::pick(utf8(value)?, &self.columns, &mut self.found).map_err(|problem| {
            format!("the value {problem}; a csv sink writes the fields of JSON objects")
        })?;
        for (i, field) in self.found.iter().enumerate() {
            match field {
                None | Some(Value::Null) => self.write_field(i, "", out),
                Some(Value::String(text)) => self.write_field(i, text, out),
                Some(other) => self.write_field(i, &other.to_string(), out),
            }
        }
        out.push(b'\n');
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows(columns: &[&str], values: &[&str]) -> String {
        let columns: Vec<String> = columns.iter().map(|&c| c.to_owned()).collect();
        let (mut encoder, mut out) = (CsvEncoder::new(&columns, b','), Vec::new());
        encoder.header(&mut out);
        values.iter().for_each(|v| encoder.encode(v.as_bytes(), &mut out).unwrap());
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn objects_become_rows_by_columns() {
        let text = rows(
            &["b", "a,x", "n"],
            &[
                r#"{"a,x":"say \"hi\"","b":1.50,"c":0,"n":{"k":[1,2]}}"#,
                r#"{"b":null,"a,x":"two\nlines"}"#,
                r#"{"b":true,"n":"plain"}"#,
            ],
        );
        let want = "b,\"a,x\",n\n1.5,\"say \"\"hi\"\"\",\"{\"\"k\"\":[1,2]}\"\n,\"two\nlines\",\ntrue,,plain\n";
        assert_eq!(text, want);
    }

    #[test]
    fn every_row_of_a_single_column_reads_back_even_if_empty() {
        let text = rows(&["a"], &["{}", r#"{"a":""}"#, r#"{"a":"x"}"#]);
        let mut reader = csv::Reader::from_reader(text.as_bytes());
        let back: Vec<_> = reader.records().map(|r| r.unwrap()[0].to_owned()).collect();
        assert_eq!(back, ["", "", "x"]);
    }

    #[test]
    fn what_is_no_object_is_refused_with_what_to_do() {
        let mut encoder = CsvEncoder::new(&["a".to_owned()], b',');
        let mut refused = |value: &[u8]| encoder.encode(value, &mut Vec::new()).unwrap_err();
        assert!(refused(b"[1]").contains("is not a JSON object; a csv sink writes the fields"));
        assert!(refused(b"{").contains("is not valid JSON"));
        assert!(refused(b"\xff").contains("is not UTF-8"));
    }
}
