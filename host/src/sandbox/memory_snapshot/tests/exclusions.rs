//! What does not qualify, each with its reason.

use super::super::{Refused, rewrite};

fn refused(text: &str) -> Refused {
    let bytes = wat::parse_str(text).unwrap_or_else(|e| panic!("{e}\n{text}"));
    match rewrite(&bytes) {
        Ok(_) => panic!("it qualifies: {text}"),
        Err(refused) => refused,
    }
}

/// One reason for one text: the place, and a part of the reason.
fn check(text: &str, place: &str, part: &str) {
    let refused = refused(text);
    let [reason] = &refused.reasons[..] else { panic!("{text}: {refused}") };
    assert_eq!(reason.place, place, "{text}");
    assert!(reason.why.to_string().contains(part), "{text}: {reason}");
}

fn qualifies(text: &str) {
    let bytes = wat::parse_str(text).unwrap_or_else(|e| panic!("{e}\n{text}"));
    if let Err(refused) = rewrite(&bytes) {
        panic!("{text}: {refused}");
    }
}

/// A component of one core module.
fn module(fields: &str) -> String {
    format!("(component (core module {fields}))")
}

#[test]
fn memories_that_are_shared_or_of_64_bits() {
    check(&module("(memory 1 1 shared)"), "core module 0", "shared between threads");
    check(&module("(memory i64 1)"), "core module 0", "64-bit addresses");
    check(&module("(memory 1 (pagesize 1))"), "core module 0", "pages of another size");
}

#[test]
fn globals_that_hold_references() {
    let global = module("(global i32 (i32.const 0)) (global (mut funcref) (ref.null func))");
    check(&global, "core module 0", "mutable global 1 holds a reference");
    let imported = r#"(import "" "g" (global i32)) (global (mut externref) (ref.null extern))"#;
    check(&module(imported), "core module 0", "mutable global 1 holds a reference");
    qualifies(&module("(global funcref (ref.null func)) (global (mut i64) (i64.const 1))"));
}

#[test]
fn instructions_that_change_tables_or_drop_segments() {
    for (instruction, body) in [
        ("table.set", "(table.set $t (i32.const 0) (ref.null func))"),
        ("table.grow", "(drop (table.grow $t (ref.null func) (i32.const 1)))"),
        ("table.fill", "(table.fill $t (i32.const 0) (ref.null func) (i32.const 1))"),
        ("table.copy", "(table.copy $t $t (i32.const 0) (i32.const 0) (i32.const 1))"),
        ("table.init", "(table.init $t $e (i32.const 0) (i32.const 0) (i32.const 1))"),
        ("elem.drop", "(elem.drop $e)"),
        ("data.drop", "(data.drop $d)"),
    ] {
        let text = module(&format!(
            r#"(table $t 1 funcref) (elem $e func $other) (data $d "x") (memory 1)
               (func $other) (func $culprit {body})"#
        ));
        let place = "core module 0, function 1 (`culprit`)";
        check(&text, place, &format!("`{instruction}`"));
    }
    qualifies(&module(
        r#"(table 1 funcref) (elem (i32.const 0) func $f) (memory 1) (data $d "x")
           (func $f (memory.init $d (i32.const 0) (i32.const 0) (i32.const 1)))"#,
    ));
}

#[test]
fn types_of_the_garbage_collector() {
    check(&module("(type (struct (field i32)))"), "core module 0", "structs");
    check(&module("(type (array (mut i8)))"), "core module 0", "arrays");
    check(&module("(type $f (func)) (type (cont $f))"), "core module 0", "continuations");
}

#[test]
fn code_that_comes_from_outside() {
    let module = r#"(component (import "m" (core module (export "f" (func)))))"#;
    check(module, "the component", "a core module from outside");
    let component = r#"(component (import "c" (component)))"#;
    check(component, "the component", "a component from outside");
    let exported = r#"(component
        (import "i" (instance $i (export "m" (core module))))
        (alias export $i "m" (core module)))"#;
    check(exported, "the component", "a core module that an instance exports");
}

#[test]
fn resources_of_its_own() {
    check("(component (type (resource (rep i32))))", "the component", "a resource type of its own");
    let nested = "(component (component) (component (type (resource (rep i32)))))";
    check(nested, "component 1", "a resource type of its own");
}

#[test]
fn what_is_asynchronous() {
    let lift = r#"(component
        (core module $m (func (export "f")))
        (core instance $i (instantiate $m))
        (func (canon lift (core func $i "f") async)))"#;
    let reasons = wat::parse_str(lift).map(|bytes| rewrite(&bytes));
    if let Ok(Err(refused)) = reasons {
        assert!(refused.to_string().contains("asynchronous"), "{refused}");
    }
    let lower = r#"(component (import "f" (func $f async))
        (core func (canon lower (func $f) async)))"#;
    check(lower, "the component", "`canon lower` is asynchronous");
    for (text, name) in [
        ("(core func (canon context.get i32 0))", "context.get"),
        ("(core func (canon context.set i32 0))", "context.set"),
        ("(core func (canon waitable-set.new))", "waitable.set-new"),
        ("(core func (canon backpressure.inc))", "backpressure.inc"),
    ] {
        check(&format!("(component {text})"), "the component", &format!("`{name}`"));
    }
}

#[test]
fn start_functions_of_components() {
    let start = r#"(component (import "f" (func $f)) (start $f))"#;
    check(start, "the component", "start function");
}

#[test]
fn start_functions_that_reach_what_is_imported() {
    // Straight, through another module, and through a table.
    let straight = r#"(component
        (import "f" (func $f)) (core func $l (canon lower (func $f)))
        (core module $m (import "host" "call" (func $h)) (start $s) (func $s (call $h)))
        (core instance (instantiate $m (with "host" (instance (export "call" (func $l)))))))"#;
    check(straight, "core module 0", "`call` of `host`");
    let through = r#"(component
        (import "f" (func $f)) (core func $l (canon lower (func $f)))
        (core module $lib (import "host" "call" (func $h)) (func (export "run") (call $h)))
        (core instance $lib (instantiate $lib
            (with "host" (instance (export "call" (func $l))))))
        (core module $m (import "lib" "run" (func $r)) (start $r))
        (core instance (instantiate $m (with "lib" (instance $lib)))))"#;
    check(through, "core module 1", "`call` of `host`");
    let table = r#"(component
        (import "f" (func $f)) (core func $l (canon lower (func $f)))
        (core module $m (import "host" "call" (func $h)) (type $t (func))
            (table funcref (elem $h))
            (start $s) (func $s (call_indirect (type $t) (i32.const 0))))
        (core instance (instantiate $m (with "host" (instance (export "call" (func $l)))))))"#;
    check(table, "core module 0", "`call` of `host`");
    // It stays within; and what is not reached may call what it likes.
    qualifies(
        r#"(component
        (import "f" (func $f)) (core func $l (canon lower (func $f)))
        (core module $lib (import "host" "call" (func $h))
            (func (export "run")) (func (export "other") (call $h)))
        (core instance $lib (instantiate $lib
            (with "host" (instance (export "call" (func $l))))))
        (core module $m (import "lib" "run" (func $r)) (start $r))
        (core instance (instantiate $m (with "lib" (instance
            (export "run" (func $lib "run")))))))"#,
    );
}

#[test]
fn names_that_are_reserved() {
    let core = module(r#"(memory (export "cofferdam:memory-snapshot/memory-0") 1)"#);
    check(&core, "core module 0", "reserved for memory snapshots");
    let interface = r#"(component (instance $i)
        (export "cofferdam:memory-snapshot/access@1.0.0" (instance $i)))"#;
    check(interface, "the component", "reserved for memory snapshots");
}

#[test]
fn too_much_of_anything() {
    let globals = "(global (mut i32) (i32.const 0))".repeat(100);
    let many = "(core instance (instantiate $m))".repeat(50);
    let text = format!("(component (core module $m {globals}) {many})");
    check(&text, "the component", "more than 4096 mutable globals");
    // Few components, many instances: each doubles what is in it.
    let mut text = String::from(
        "(component $c0 (core module $m (memory 1)) (core instance (instantiate $m)))",
    );
    for i in 1..12 {
        text = format!(
            "(component $c{i} {text} (instance (instantiate $c{0})) (instance (instantiate $c{0})))",
            i - 1
        );
    }
    let refused = refused(&format!("(component {text} (instance (instantiate $c11)))"));
    assert!(refused.to_string().contains("more than 64 memories"), "{refused}");
    assert!(refused.to_string().contains("more than 256 nested instances"), "{refused}");
    let deep = (0..20).fold(String::new(), |inner, _| format!("(component {inner})"));
    check_deep(&format!("(component {deep})"));
}

fn check_deep(text: &str) {
    let refused = refused(text);
    assert!(refused.to_string().contains("nested in each other"), "{refused}");
}

#[test]
fn all_reasons_are_told_at_once_and_names_are_cut_short() {
    let name = "n".repeat(500);
    let text = format!(
        r#"(component
        (type (resource (rep i32)))
        (core module (memory 1 1 shared))
        (component (core module (table $t 1 funcref)
            (func (@name "{name}") (table.set $t (i32.const 0) (ref.null func))
                (table.fill $t (i32.const 0) (ref.null func) (i32.const 1))))))"#
    );
    let refused = refused(&text);
    assert_eq!(refused.reasons.len(), 4, "{refused}");
    let text = refused.to_string();
    assert!(text.contains("core module 0 of component 0, function 0 (`nnn"), "{text}");
    assert!(text.len() < 1200, "{text}");
    let many: String = (0..100).map(|_| "(core module (memory i64 1))").collect();
    let text = self::refused(&format!("(component {many})")).to_string();
    assert!(text.ends_with("; and 68 more"), "{text}");
}

#[test]
fn what_cannot_be_read_is_a_reason_and_no_panic() {
    let whole = wat::parse_str(super::NASTY).unwrap();
    for length in 8..whole.len().min(3000) {
        let _ = rewrite(&whole[..length]);
    }
    assert!(rewrite(&whole[..whole.len() - 7]).is_err());
    for at in (8..whole.len()).step_by(5) {
        let mut broken = whole.clone();
        broken[at] ^= 0xff;
        let _ = rewrite(&broken);
    }
}
