//! One CSV row into fields, as RFC 4180 has it: a quoted field may hold the
//! delimiter, and doubled quotes stand for one.

use std::borrow::Cow;

use cofferdam_sdk::Error;

/// Splits a row. A line break at its end is no part of it.
pub(crate) fn split(row: &str, delimiter: u8) -> Result<Vec<Cow<'_, str>>, Error> {
    let row = row.strip_suffix('\n').unwrap_or(row);
    let mut rest = row.strip_suffix('\r').unwrap_or(row);
    let delimiter = char::from(delimiter);
    let mut fields = Vec::new();
    loop {
        let (field, after) = match rest.strip_prefix('"') {
            Some(quoted) => unquote(quoted)?,
            None => {
                let end = rest.find(delimiter).unwrap_or(rest.len());
                (Cow::Borrowed(&rest[..end]), &rest[end..])
            }
        };
        fields.push(field);
        match after.strip_prefix(delimiter) {
            Some(more) => rest = more,
            None if after.is_empty() => return Ok(fields),
            None => {
                return Err(Error::new(format!("column {}: text after its quotes", fields.len())));
            }
        }
    }
}

/// The field up to the closing quote, and what comes after that.
fn unquote(text: &str) -> Result<(Cow<'_, str>, &str), Error> {
    let mut field = Cow::Borrowed("");
    let mut rest = text;
    loop {
        let end = rest.find('"').ok_or_else(|| Error::from("a quoted field does not end"))?;
        let (part, after) = (&rest[..end], &rest[end + 1..]);
        if field.is_empty() {
            field = Cow::Borrowed(part);
        } else {
            field.to_mut().push_str(part);
        }
        match after.strip_prefix('"') {
            Some(more) => {
                field.to_mut().push('"');
                rest = more;
            }
            None => return Ok((field, after)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_split_as_rfc_4180_says() {
        for (row, fields) in [
            ("", vec![""]),
            ("a,b", vec!["a", "b"]),
            ("a,,\r\n", vec!["a", "", ""]),
            (r#""a,b","""",c"#, vec!["a,b", "\"", "c"]),
            (r#""a""b""c""#, vec!["a\"b\"c"]),
        ] {
            assert_eq!(split(row, b',').unwrap(), fields, "{row}");
        }
        assert!(split(r#""a"#, b',').is_err());
        assert!(split(r#""a"b,c"#, b',').is_err());
    }
}
