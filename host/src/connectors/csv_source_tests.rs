//! Tests of the `csv` source.

use super::*;
use crate::{
    config::job::{FileInput, TimestampField},
    connectors::{
        Source, SourceEvent,
        file_source::{
            FileSource,
            testing::{self, alone, drain, input, records},
        },
    },
    stream::DeadLetter,
};
use proptest::prelude::*;
use std::path::{Path, PathBuf};

fn spec(path: &Path) -> CsvSource {
    CsvSource {
        files: input(vec![path.to_owned()]),
        delimiter: b',',
        null: "NA".into(),
        columns: None,
        key: None,
        timestamp: None,
    }
}

fn write(text: impl AsRef<[u8]>) -> (tempfile::TempDir, PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("in.csv");
    std::fs::write(&path, text).unwrap();
    (dir, path)
}

fn open(spec: &CsvSource) -> Result<FileSource<CsvFormat>, ConnectorError> {
    FileSource::open(CsvFormat::new(spec), &spec.files, alone(), None)
}

fn values(spec: &CsvSource) -> (Vec<String>, Vec<DeadLetter>) {
    let (good, bad, error) = drain(&mut open(spec).unwrap());
    assert!(error.is_none(), "{error:?}");
    (good.into_iter().map(|r| String::from_utf8(r.1).unwrap()).collect(), bad)
}

fn reasons(bad: &[DeadLetter]) -> Vec<&str> {
    bad.iter().map(|letter| letter.reason.split_once("in.csv, ").unwrap().1).collect()
}

#[test]
fn rows_become_typed_objects_with_key_and_event_time() {
    let (_dir, path) = write(
        "a,b,c,d,t\n1,x,+2.5,true,2013-01-01T10:00:00Z\n\nNA,\"q \"\"u\"\", v\nw\",NA,NA,1970-01-01T00:00:00Z\r\n",
    );
    let mut spec = spec(&path);
    let column = |name: &str, kind| (name.to_owned(), kind);
    spec.columns = Some(vec![
        column("c", ColumnType::Float),
        column("a", ColumnType::Integer),
        column("b", ColumnType::String),
        column("d", ColumnType::Boolean),
    ]);
    spec.key = Some("a".into());
    spec.timestamp = Some(TimestampField { field: "t".into(), format: TimestampFormat::Rfc3339 });
    let (good, bad, _) = drain(&mut open(&spec).unwrap());
    assert!(bad.is_empty(), "{bad:?}");
    let want = |key: &str, value: &str, time| (key.into(), value.into(), Some(time));
    assert_eq!(
        good,
        [
            want("1", r#"{"c":2.5,"a":1,"b":"x","d":true}"#, 1_357_034_400_000),
            want("", r#"{"c":null,"a":null,"b":"q \"u\", v\nw","d":null}"#, 0),
        ]
    );
}

#[test]
fn a_missing_column_names_the_file_and_suggests_one() {
    let (_dir, path) = write("year,dep_delay,arr_delay\n");
    let mut spec = spec(&path);
    spec.columns = Some(vec![("depdelay".into(), ColumnType::Integer)]);
    let error = open(&spec).err().unwrap().to_string();
    assert!(error.starts_with(&format!("{}, line 1: ", path.display())), "{error}");
    assert!(error.contains("no column `depdelay`; did you mean `dep_delay`?"), "{error}");
    spec.columns = None;
    spec.key = Some("carrier".into());
    let error = open(&spec).err().unwrap().to_string();
    assert!(error.contains("no column `carrier` (the header has year, dep_delay"), "{error}");
}

#[test]
fn headers_that_cannot_be_used_are_refused() {
    let refused = |text: &[u8]| {
        let (_dir, path) = write(text);
        open(&spec(&path)).err().unwrap().to_string()
    };
    assert!(refused(b"").contains("line 1: the file is empty, but needs a header"));
    assert!(refused(b"a,b,a\n").contains("has column `a` twice"));
    assert!(refused(b"a,\xff\n").contains("the header is not UTF-8"));
    assert!(refused(b"a,\"b\n").contains("the header cannot be read: a quote is not closed"));
}

#[test]
fn malformed_rows_become_dead_letters_with_line_and_column() {
    let (_dir, path) = write(
        b"n,f,b,s\n1,1.0,true,x\nx1,1,true,x\n1,inf,true,x\n1,1,yes,x\n1,1,true,\xff\n1,1\n\
          99999999999999999999,1,true,x\n2,2,false,\"multi\nline\"\n3,bad,true,y\n",
    );
    let mut spec = spec(&path);
    spec.columns = Some(vec![
        ("n".into(), ColumnType::Integer),
        ("f".into(), ColumnType::Float),
        ("b".into(), ColumnType::Boolean),
        ("s".into(), ColumnType::String),
    ]);
    let (good, bad) = values(&spec);
    assert_eq!(
        good,
        [r#"{"n":1,"f":1.0,"b":true,"s":"x"}"#, r#"{"n":2,"f":2,"b":false,"s":"multi\nline"}"#]
    );
    assert_eq!(
        reasons(&bad),
        [
            "line 3, column `n`: `x1` is not a 64-bit integer",
            "line 4, column `f`: `inf` is not a number",
            "line 5, column `b`: `yes` is not true or false",
            "line 6, column `s`: is not UTF-8 from byte 1 on",
            "line 7: the row has 2 fields, but the header has 4",
            "line 8, column `n`: `99999999999999999999` is not a 64-bit integer",
            "line 11, column `f`: `bad` is not a number",
        ]
    );
    assert_eq!(bad[0].value, b"x1,1,true,x");
}

#[test]
fn a_quote_that_is_never_closed_costs_no_more_than_max_line() {
    let (_dir, path) = write("a\n\"open\nxxxxxxxxxx\nyyyyyyyyyy\nzzzzzzzzzz\nok\n5\" disk\n\"last");
    let mut spec = spec(&path);
    spec.files = FileInput { max_line: 20, ..spec.files };
    let (good, bad) = values(&spec);
    assert_eq!(good, [r#"{"a":"zzzzzzzzzz"}"#, r#"{"a":"ok"}"#, r#"{"a":"5\" disk"}"#]);
    assert_eq!(
        reasons(&bad),
        [
            "line 2: a quote is not closed within max_line = 20 bytes; skipped to the end of line 4",
            "line 8: a quote is not closed before the end of the file",
        ]
    );
}

#[test]
fn an_event_time_that_is_missing_or_wrong_is_a_dead_letter() {
    let (_dir, path) = write("t\nNA\n12\n12.5\n");
    let mut spec = spec(&path);
    spec.timestamp = Some(TimestampField { field: "t".into(), format: TimestampFormat::Millis });
    let (good, bad) = values(&spec);
    assert_eq!((good.len(), bad.len()), (1, 2));
    assert!(bad[0].reason.contains("line 2, column `t`: `NA` is not a whole number"));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]
    #[test]
    fn any_table_reads_as_the_csv_crate_wrote_it(
        rows in prop::collection::vec(prop::collection::vec("[ab\",\n;é]{0,6}", 3), 0..20),
        always in any::<bool>(),
    ) {
        let style = if always { csv::QuoteStyle::Always } else { csv::QuoteStyle::Necessary };
        let mut writer = csv::WriterBuilder::new().quote_style(style).from_writer(Vec::new());
        writer.write_record(["x", "y", "z"]).unwrap();
        rows.iter().for_each(|row| writer.write_record(row).unwrap());
        let (_dir, path) = write(writer.into_inner().unwrap());
        let (good, bad) = values(&spec(&path));
        prop_assert!(bad.is_empty(), "{bad:?}");
        let want: Vec<_> = rows
            .iter()
            .map(|r| serde_json::json!({"x": r[0], "y": r[1], "z": r[2]}).to_string())
            .collect();
        prop_assert_eq!(good, want);
    }

    #[test]
    fn resuming_between_any_two_batches_gives_the_same_rows(rows in 0_usize..4000, every in 2_usize..50) {
        let text: String = (0..rows)
            .map(|i| if i % every == 0 { format!("\"{i}\nx\",NA\n") } else { format!("{i},\"\"\n") })
            .collect();
        let (_dir, path) = write(format!("a,b\n{text}"));
        let spec = spec(&path);
        let whole = drain(&mut open(&spec).unwrap()).0;
        prop_assert_eq!(whole.len(), rows);
        let mut source = open(&spec).unwrap();
        let mut before = Vec::new();
        while let SourceEvent::Batch { batch, .. } = source.advance().unwrap() {
            before.extend(records(&batch));
            let saved = source.positions();
            let format = CsvFormat::new(&spec);
            let mut resumed = FileSource::open(format, &spec.files, alone(), Some(&saved)).unwrap();
            let all: Vec<testing::Record> = before.iter().cloned().chain(drain(&mut resumed).0).collect();
            prop_assert!(all == whole);
        }
    }
}
