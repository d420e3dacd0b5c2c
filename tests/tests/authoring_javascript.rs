//! What is special about operators in JavaScript and TypeScript: lines of what they throw, text in
//! an engine that has no decoder, and their own tests.

#![allow(clippy::unwrap_used, reason = "these are tests, their helpers too")]

use std::{
    fmt::Write as _,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use cofferdam_tests::{
    Place,
    authoring::{KINDS, has, operator, path, project, said},
    repository,
};

const TOOLS: [&str; 2] = ["componentize-qjs", "esbuild"];

/// One case, of these lines of input.
fn case(project: &Path, input: &str) {
    let folder = project.join("tests/one");
    fs::create_dir_all(&folder).unwrap();
    fs::write(folder.join("input.jsonl"), input).unwrap();
}

/// A project in a folder of its language.
fn project_in(place: &Place, language: &str, kind: &str) -> PathBuf {
    let folder = place.path(language);
    fs::create_dir_all(&folder).unwrap();
    project(&folder, language, kind)
}

fn replace(file: &Path, from: &str, to: &str) {
    let text = fs::read_to_string(file).unwrap();
    assert!(text.contains(from), "`{from}` is not in {}", file.display());
    fs::write(file, text.replace(from, to)).unwrap();
}

#[test]
fn an_exception_tells_the_line_in_the_authors_file_and_the_record() {
    if !has(&TOOLS) {
        return;
    }
    let place = Place::new();
    for (language, file) in [("javascript", "operator.js"), ("typescript", "operator.ts")] {
        let project = project_in(&place, language, "failing");
        case(
            &project,
            "{\"value\":\"a\"}\n{\"value\":\"b\"}\n{\"value\":\"panic\"}\n{\"value\":\"c\"}\n",
        );
        let source = fs::read_to_string(project.join("src").join(file)).unwrap();
        let line = source.lines().position(|line| line.contains("told to panic")).unwrap() + 1;
        let ran = operator(&project, &["test", "--case", "one", "--quick"]);
        let said = said(&ran);
        assert!(!ran.status.success(), "{said}");
        assert!(said.contains("Error: boom: told to panic (record 2 of the batch)"), "{said}");
        assert!(said.contains(&format!("at processRecord (src/{file}:{line}:")), "{said}");
    }
}

#[test]
fn what_is_thrown_at_build_is_told_with_its_line() {
    if !has(&TOOLS) {
        return;
    }
    let place = Place::new();
    let project = project_in(&place, "javascript", "map");
    let source = project.join("src/operator.js");
    replace(&source, "// What each byte becomes.", "const LENGTH = ((x) => x.y)(null);");
    let text = fs::read_to_string(&source).unwrap();
    let line = text.lines().position(|line| line.contains("x.y")).unwrap() + 1;
    let built = operator(&project, &["build"]);
    let told = said(&built);
    assert!(!built.status.success(), "{told}");
    assert!(told.contains("cannot read property 'y' of null"), "{told}");
    assert!(told.contains(&format!("(src/operator.js:{line}:")), "{told}");

    replace(&source, "((x) => x.y)(null)", "35");
    replace(&project.join("operator.toml"), "processor-operator", "keyed-operator");
    let built = said(&operator(&project, &["build"]));
    assert!(built.contains("the world keyed-operator needs `fold`"), "{built}");
    let settings = "keyed-operator\"\n[build]\nengine = \"v8\"";
    replace(&project.join("operator.toml"), "keyed-operator\"", settings);
    let built = said(&operator(&project, &["build"]));
    assert!(built.contains("is `quickjs` or `starlingmonkey`, not `v8`"), "{built}");
}

/// What `operator build` says of these lines in `src/operator.js`, after the import.
fn told_at_build(project: &Path, lines: &str) -> String {
    let text = format!("import {{ Processor }} from \"../cofferdam/cofferdam.js\";\n{lines}\n");
    fs::write(project.join("src/operator.js"), text).unwrap();
    let built = operator(project, &["build"]);
    assert!(!built.status.success(), "{lines}: {}", said(&built));
    said(&built)
}

#[test]
fn mistakes_are_told_at_build() {
    if !has(&TOOLS) {
        return;
    }
    let place = Place::new();
    let project = project_in(&place, "javascript", "map");
    let class = |body: &str| format!("export default class Op extends Processor {{ {body} }}");
    let build = |lines: &str| told_at_build(&project, lines);
    let told = build(&class("async processRecord(record, out) { out.keep(record); }"));
    assert!(told.contains("`processRecord` of Op is `async`"), "{told}");
    let told = build(&class("procesRecord(record, out) { out.keep(record); }"));
    assert!(told.contains("Op has neither `process` nor `processRecord`"), "{told}");
    let told = build("export class Op extends Processor {}");
    assert!(told.contains("src/operator.js has no `export default`"), "{told}");
    let told = build(&format!("import fs from \"node:fs\";\n{}", class("process() { fs.x(); }")));
    assert!(told.contains("`node:fs` is a part of Node.js, and not there"), "{told}");
    assert!(told.contains("src/operator.js:2:15"), "{told}");
    let told = build(&class("process(batch out) {}"));
    assert!(told.contains("src/operator.js:2:"), "{told}");
}

#[test]
fn what_a_call_promises_is_not_lost_without_a_word() {
    if !has(&TOOLS) {
        return;
    }
    let place = Place::new();
    let project = project_in(&place, "javascript", "route");
    let source = project.join("src/operator.js");
    replace(
        &source,
        "const value = record.bytes();",
        "return new Promise(() => {}); const value = record.bytes();",
    );
    case(&project, "{\"value\":\"a\"}\n");
    let said = said(&operator(&project, &["test", "--case", "one", "--quick"]));
    assert!(said.contains("`processRecord` returned a promise"), "{said}");
}

#[test]
fn a_clock_is_refused_in_words() {
    if !has(&TOOLS) {
        return;
    }
    let place = Place::new();
    let project = project_in(&place, "javascript", "route");
    let source = project.join("src/operator.js");
    replace(&source, "const value = record.bytes();", "const value = record.bytes(); new Date();");
    case(&project, "{\"value\":\"a\"}\n");
    let said = said(&operator(&project, &["test", "--case", "one", "--quick"]));
    assert!(said.contains("there is no clock here"), "{said}");
}

/// Parts of UTF-8, and what is none: overlong, surrogates, beyond U+10FFFF, cut off.
const PIECES: [&[u8]; 20] = [
    b"a",
    b"\x7f",
    b"\0",
    b"%",
    b"%41",
    b"\\\"",
    "é".as_bytes(),
    "€".as_bytes(),
    "🙂".as_bytes(),
    "\u{feff}".as_bytes(),
    "\u{7ff}".as_bytes(),
    "\u{d7ff}".as_bytes(),
    "\u{10ffff}".as_bytes(),
    b"\xff",
    b"\xc3",
    b"\xed\xa0\x80",
    b"\xc0\x80",
    b"\xf4\x90\x80\x80",
    b"\xe0\x80\x80",
    b"\xf8\x88\x80\x80\x80",
];
/// How many of them are UTF-8.
const GOOD: usize = 13;

#[test]
fn text_is_utf8_both_ways_though_the_engine_has_no_decoder() {
    if !has(&TOOLS) {
        return;
    }
    let mut input = String::new();
    let mut state = 7_u64;
    let mut below = |n: usize| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        usize::try_from(state >> 33).unwrap() % n
    };
    for i in 0..3000 {
        let (long, of) =
            (if i % 2 == 0 { 40 } else { 6 }, if i % 3 == 0 { PIECES.len() } else { GOOD });
        let bytes: Vec<u8> = (0..below(long)).flat_map(|_| PIECES[below(of)].to_vec()).collect();
        let mut hex = String::new();
        bytes.iter().for_each(|byte| write!(hex, "{byte:02x}").unwrap());
        let text = std::str::from_utf8(&bytes).ok();
        let value = serde_json::json!({"value": {"b": hex, "t": text}});
        writeln!(input, "{value}").unwrap();
    }
    let place = Place::new();
    let project = project_in(&place, "javascript", "filter");
    fs::copy(repository().join("tests/fixtures/text.js"), project.join("src/operator.js")).unwrap();
    case(&project, &input);
    let ran = operator(&project, &["test", "--case", "one", "--quick"]);
    assert!(ran.status.success(), "{}", said(&ran));
}

#[test]
fn what_is_linked_in_is_what_its_source_says() {
    let lib = repository().join("guest-sdk/javascript/cofferdam/lib");
    let source = fs::read_to_string(lib.join("columns.wat")).unwrap();
    let link = fs::read_to_string(lib.join("link.mjs")).unwrap();
    let bytes = wat::parse_str(source).unwrap();
    let found =
        link.lines().find_map(|line| line.strip_prefix("export const COLUMNS = Buffer.from(\""));
    let found = found.and_then(|rest| rest.split('"').next()).unwrap_or_default();
    let made = base64(&bytes);
    assert!(found == made, "link.mjs has not what columns.wat says; this is it:\n{made}");
}

fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::new();
    for three in bytes.chunks(3) {
        let bits = (0..3).fold(0, |bits, i| bits << 8 | u32::from(*three.get(i).unwrap_or(&0)));
        for i in 0..4 {
            let digit = DIGITS[(bits >> (18 - 6 * i) & 63) as usize];
            text.push(if i > three.len() { '=' } else { char::from(digit) });
        }
    }
    text
}

#[test]
fn a_new_projects_own_tests_pass() {
    if !has(&TOOLS) {
        return;
    }
    let place = Place::new();
    for language in ["javascript", "typescript"] {
        for kind in KINDS {
            let project = project_in(&place, language, kind);
            let mut command = Command::new("npm");
            let ran =
                command.arg("test").current_dir(&project).env("PATH", path()).output().unwrap();
            assert!(ran.status.success(), "{kind} in {language}: {}", said(&ran));
            assert!(said(&ran).contains("# fail 0"), "{kind} in {language}: {}", said(&ran));
        }
    }
}
