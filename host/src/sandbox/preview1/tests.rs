//! What the stub answers, asked by modules as text that run in real slots.

use std::{sync::Arc, time::Duration};

use super::{Preview1, STUB, shut};
use crate::{
    clock::Clock,
    config::job::Grant,
    failure::Failure,
    ids::TenantId,
    memory::SlotMeter,
    sandbox::{
        CpuMeter, KeptLog, LoadError, LogBudget, Sandbox, SandboxConfig, SlotSettings,
        componentize::{CONTRACT_WIT, Recipe, component_of},
        sections::sections,
    },
    stream::BatchBuilder,
};

const GRANTS: [Grant; 3] = [Grant::Log, Grant::Config, Grant::Metrics];

#[test]
fn the_stub_is_what_its_text_makes() {
    let made = wat::parse_str(include_str!("stub.wat")).unwrap();
    if std::env::var_os("COFFERDAM_BLESS").is_some() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/src/sandbox/preview1/stub.wasm");
        std::fs::write(path, &made).unwrap();
    }
    assert!(made == STUB, "run it again with COFFERDAM_BLESS=1, and look at what changed");
}

/// A processor as a compiler leaves it. Its text lies at 1024; addresses below 256 are for
/// whoever asks.
#[derive(Clone, Copy)]
struct Guest<'a> {
    /// Fields of the module.
    fields: &'a str,
    /// What lies at 1024.
    text: &'a str,
    initialize: &'a str,
    realloc: &'a str,
    process: &'a str,
}

const GUEST: Guest<'_> = Guest { fields: "", text: "", initialize: "", realloc: "", process: "" };

impl Guest<'_> {
    fn module(&self) -> Vec<u8> {
        let text = self.text();
        wat::parse_str(&text).unwrap_or_else(|error| panic!("{error}\n{text}"))
    }

    fn text(&self) -> String {
        let Self { fields, text, initialize, realloc, process } = self;
        let p = |n: usize| vec!["i32"; n].join(" ");
        let (six, twelve) = (p(6), p(12));
        let from = r#"(import "wasi_snapshot_preview1""#;
        format!(
            r#"(module
    {from} "fd_write" (func $fd_write (param i32 i32 i32 i32) (result i32)))
    {from} "fd_prestat_get" (func $fd_prestat_get (param i32 i32) (result i32)))
    {from} "fd_fdstat_get" (func $fd_fdstat_get (param i32 i32) (result i32)))
    {from} "fd_read" (func $fd_read (param i32 i32 i32 i32) (result i32)))
    {from} "fd_seek" (func $fd_seek (param i32 i64 i32 i32) (result i32)))
    {from} "path_open" (func $path_open (param i32 i32 i32 i32 i32 i64 i64 i32 i32) (result i32)))
    {from} "clock_time_get" (func $clock_time_get (param i32 i64 i32) (result i32)))
    {from} "poll_oneoff" (func $poll_oneoff (param i32 i32 i32 i32) (result i32)))
    {from} "random_get" (func $random_get (param i32 i32) (result i32)))
    {from} "args_sizes_get" (func $args_sizes_get (param i32 i32) (result i32)))
    {from} "environ_sizes_get" (func $environ_sizes_get (param i32 i32) (result i32)))
    {from} "proc_exit" (func $proc_exit (param i32)))
    (memory (export "memory") 2)
    (global $heap (mut i32) (i32.const 65536))
    (data (i32.const 1024) "{text}")
    (func $write (param $fd i32) (param $at i32) (param $length i32)
        (i32.store (i32.const 0) (local.get $at))
        (i32.store (i32.const 4) (local.get $length))
        (call $is (call $fd_write (local.get $fd) (i32.const 0) (i32.const 1) (i32.const 8))
            (i32.const 0))
        (call $is (i32.load (i32.const 8)) (local.get $length)))
    (func $is (param i32 i32) (if (i32.ne (local.get 0) (local.get 1)) (then unreachable)))
    (func $is64 (param i64 i64) (if (i64.ne (local.get 0) (local.get 1)) (then unreachable)))
    {fields}
    (func (export "_initialize") {initialize})
    (func (export "cabi_realloc") (param i32 i32 i32 i32) (result i32)
        {realloc}
        (global.set $heap (i32.add (global.get $heap)
            (i32.and (i32.add (local.get 3) (i32.const 31)) (i32.const -16))))
        (i32.and (i32.sub (global.get $heap) (local.get 3)) (i32.const -16)))
    (func (export "cofferdam:operator/processor@0.1.0#open") (param {six}) (result i32)
        (i32.const 512))
    (func (export "cofferdam:operator/processor@0.1.0#process") (param {twelve}) (result i32)
        {process}
        (i32.const 512))
    (func (export "cofferdam:operator/processor@0.1.0#finish") (result i32) (i32.const 512)))"#
        )
    }

    async fn lines(&self) -> Vec<String> {
        let (ended, lines) = run(&self.module()).await;
        ended.unwrap();
        lines
    }
}

/// Processes a batch, and says how that ended and what was logged.
async fn run(module: &[u8]) -> (Result<(), Failure>, Vec<String>) {
    let sandbox = Sandbox::new(&SandboxConfig::uncached(2)).unwrap();
    let component = component_of(module, &recipe(Preview1::Stub)).unwrap();
    let artifact = sandbox.load(&component, &GRANTS).unwrap();
    let log = Arc::new(KeptLog::new(1 << 20));
    let ended = match artifact.instantiate(&settings(&log)).await {
        Ok(mut instance) => {
            let mut batch = BatchBuilder::new();
            batch.push(None, b"a value", None);
            instance.process(0, &batch.take()).await.map(drop)
        }
        Err(failure) => Err(failure),
    };
    let lines = log.take();
    (ended, lines.iter().map(|line| format!("{}: {}", line.level, line.message)).collect())
}

fn recipe(preview1: Preview1) -> Recipe<'static> {
    Recipe { world: "processor-operator", wit: &CONTRACT_WIT, preview1 }
}

fn settings(log: &Arc<KeptLog>) -> SlotSettings {
    SlotSettings {
        memory: SlotMeter::alone(16 << 20),
        deadline: Duration::from_secs(10),
        operator: Arc::from("op"),
        tenant: TenantId::default(),
        subtask: 0,
        parallelism: 1,
        inputs: 1,
        outputs: 1,
        config: Arc::default(),
        metrics: Arc::default(),
        cpu: CpuMeter::default(),
        log: LogBudget::keeping(Arc::from("op"), Clock::System, log.clone()),
        folders: Arc::default(),
        http_hosts: Arc::default(),
        http_roots: Arc::default(),
    }
}

#[tokio::test]
async fn what_is_written_is_logged_line_by_line() {
    let guest = Guest {
        text: r"panic: boom\n\nat line\n1 and more",
        process: r"
            (call $write (i32.const 2) (i32.const 1024) (i32.const 7))
            (call $write (i32.const 1) (i32.const 1037) (i32.const 8))
            (call $write (i32.const 2) (i32.const 1031) (i32.const 10))
            (call $write (i32.const 2) (i32.const 1041) (i32.const 14))",
        ..GUEST
    };
    // What comes after the last end of a line waits for its own.
    assert_eq!(guest.lines().await, ["info: at line", "error: panic: boom", "error: at line"]);
}

#[tokio::test]
async fn the_start_of_a_module_may_write() {
    let write = "(call $write (i32.const 1) (i32.const 1024) (i32.const 3))";
    let guest = Guest { text: r"up\n", initialize: write, ..GUEST };
    assert_eq!(guest.lines().await, ["info: up"]);
}

#[tokio::test]
async fn a_line_without_an_end_is_cut_and_bytes_that_are_no_text_are_replaced() {
    let long = "x".repeat(5000) + r"\n";
    let guest = Guest {
        text: &long,
        process: "(call $write (i32.const 1) (i32.const 1024) (i32.const 5001))",
        ..GUEST
    };
    let lines = guest.lines().await;
    assert_eq!(
        lines,
        [format!("info: {}", "x".repeat(4096)), format!("info: {}", "x".repeat(904))]
    );
    // Valid: é, €, 😀. Then: a lone continuation, an overlong form, a surrogate, beyond the last
    // character, and a character that the end cuts off.
    let guest = Guest {
        text: r"\c3\a9\e2\82\ac\f0\9f\98\80 \80 \c0\80 \ed\a0\80 \f4\90\80\80 \e2\82\n",
        process: "(call $write (i32.const 1) (i32.const 1024) (i32.const 27))",
        ..GUEST
    };
    assert_eq!(guest.lines().await, ["info: é€😀 ? ?? ??? ???? ??"]);
}

#[tokio::test]
async fn lines_that_are_written_while_nothing_may_be_imported_wait() {
    let guest = Guest {
        text: r"from inside\nafter\n",
        realloc: r"
            (call $write (i32.const 2) (i32.const 1024) (i32.const 12))
            (drop (call $clock_time_get (i32.const 1) (i64.const 1) (i32.const 16)))",
        process: "(call $write (i32.const 1) (i32.const 1036) (i32.const 6))",
        ..GUEST
    };
    // It is called for every list that is passed in, while `open` and `process` are called.
    let lines = guest.lines().await;
    let (last, inside) = lines.split_last().unwrap();
    assert_eq!(last, "info: after");
    assert!(inside.len() >= 2 && inside.iter().all(|l| l == "error: from inside"), "{lines:?}");
    // Whatever is asked for next lets them out.
    let process = "(drop (call $clock_time_get (i32.const 1) (i64.const 1) (i32.const 16)))";
    assert_eq!(Guest { process, ..guest }.lines().await, inside);
}

#[tokio::test]
async fn without_the_stub_such_a_call_traps() {
    // What the stub would do if it did not know.
    let text = r#"(module
        (import "cofferdam:operator/log@0.1.0" "log" (func $log (param i32 i32 i32)))
        (memory (export "memory") 2)
        (func (export "cabi_realloc") (param i32 i32 i32 i32) (result i32)
            (call $log (i32.const 2) (i32.const 0) (i32.const 0))
            (i32.const 1024))
        (func (export "cofferdam:operator/processor@0.1.0#open")
            (param i32 i32 i32 i32 i32 i32) (result i32) (i32.const 512))
        (func (export "cofferdam:operator/processor@0.1.0#process")
            (param i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32) (result i32) (i32.const 512))
        (func (export "cofferdam:operator/processor@0.1.0#finish") (result i32) (i32.const 512)))"#;
    let module = wat::parse_str(text).unwrap();
    let component = component_of(&module, &recipe(Preview1::Stub)).unwrap();
    let sandbox = Sandbox::new(&SandboxConfig::uncached(2)).unwrap();
    let artifact = sandbox.load(&component, &GRANTS).unwrap();
    let log = Arc::new(KeptLog::new(1 << 10));
    let failure = artifact.instantiate(&settings(&log)).await.unwrap_err();
    assert!(failure.message.contains("cannot leave component instance"), "{failure:?}");
}

#[tokio::test]
async fn the_clock_stands_still_until_somebody_sleeps() {
    // A subscription at 64: clock 1, relative, 5 ms. Its event goes to 128.
    let guest = Guest {
        process: r"
            (call $is (call $clock_time_get (i32.const 0) (i64.const 1) (i32.const 16)) (i32.const 0))
            (call $is64 (i64.load (i32.const 16)) (i64.const 946684800000000000))
            (call $is (call $clock_time_get (i32.const 1) (i64.const 1) (i32.const 16)) (i32.const 0))
            (call $is64 (i64.load (i32.const 16)) (i64.const 1000000000))
            (i64.store (i32.const 64) (i64.const 77))
            (i32.store (i32.const 80) (i32.const 1))
            (i64.store (i32.const 88) (i64.const 5000000))
            (call $is (call $poll_oneoff (i32.const 64) (i32.const 128) (i32.const 1) (i32.const 24))
                (i32.const 0))
            (call $is (i32.load (i32.const 24)) (i32.const 1))
            (call $is64 (i64.load (i32.const 128)) (i64.const 77))
            (call $is (i32.load (i32.const 136)) (i32.const 0))
            (drop (call $clock_time_get (i32.const 1) (i64.const 1) (i32.const 16)))
            (call $is64 (i64.load (i32.const 16)) (i64.const 1005000000))
            (i64.store (i32.const 88) (i64.const 1007000000))
            (i32.store16 (i32.const 104) (i32.const 1))
            (drop (call $poll_oneoff (i32.const 64) (i32.const 128) (i32.const 1) (i32.const 24)))
            (drop (call $clock_time_get (i32.const 1) (i64.const 1) (i32.const 16)))
            (call $is64 (i64.load (i32.const 16)) (i64.const 1007000000))
            (call $is (call $clock_time_get (i32.const 9) (i64.const 1) (i32.const 16)) (i32.const 28))",
        ..GUEST
    };
    guest.lines().await;
}

#[tokio::test]
async fn random_numbers_are_the_same_in_every_instance_and_differ_from_one_another() {
    let process = r#"
        (call $is (call $random_get (i32.const 2048) (i32.const 16)) (i32.const 0))
        (call $is64 (i64.load (i32.const 2048)) (i64.const FIRST))
        (call $is64 (i64.load (i32.const 2056)) (i64.const SECOND))"#;
    let mut seed: u64 = 0x636f_6666_6572_646d;
    // splitmix64, as Steele, Lea and Flood have it; the highest byte of each number.
    let mut byte = || {
        seed = seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (seed ^ (seed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z.to_be_bytes()[0]
    };
    let mut word = || i64::from_le_bytes(std::array::from_fn(|_| byte()));
    let (first, second) = (word(), word());
    assert_ne!(first, second);
    let process =
        process.replace("FIRST", &first.to_string()).replace("SECOND", &second.to_string());
    for _ in 0..2 {
        Guest { process: &process, ..GUEST }.lines().await;
    }
}

#[tokio::test]
async fn there_is_nothing_but_three_streams() {
    let guest = Guest {
        process: r"
            (call $is (call $fd_prestat_get (i32.const 3) (i32.const 16)) (i32.const 8))
            (call $is (call $fd_write (i32.const 3) (i32.const 0) (i32.const 0) (i32.const 8))
                (i32.const 8))
            (call $is (call $fd_write (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 8))
                (i32.const 8))
            (call $is (call $path_open (i32.const 3) (i32.const 0) (i32.const 0) (i32.const 0)
                (i32.const 0) (i64.const 0) (i64.const 0) (i32.const 0) (i32.const 16)) (i32.const 8))
            (i32.store (i32.const 16) (i32.const 99))
            (call $is (call $fd_read (i32.const 0) (i32.const 0) (i32.const 1) (i32.const 16))
                (i32.const 0))
            (call $is (i32.load (i32.const 16)) (i32.const 0))
            (call $is (call $fd_seek (i32.const 1) (i64.const 0) (i32.const 0) (i32.const 16))
                (i32.const 70))
            (call $is (call $fd_seek (i32.const 4) (i64.const 0) (i32.const 0) (i32.const 16))
                (i32.const 8))
            (call $is (call $fd_fdstat_get (i32.const 2) (i32.const 32)) (i32.const 0))
            (call $is (i32.load8_u (i32.const 32)) (i32.const 2))
            (call $is64 (i64.load (i32.const 40)) (i64.const 64))
            (i64.store (i32.const 16) (i64.const -1))
            (call $is (call $args_sizes_get (i32.const 16) (i32.const 20)) (i32.const 0))
            (call $is64 (i64.load (i32.const 16)) (i64.const 0))
            (i64.store (i32.const 16) (i64.const -1))
            (call $is (call $environ_sizes_get (i32.const 16) (i32.const 20)) (i32.const 0))
            (call $is64 (i64.load (i32.const 16)) (i64.const 0))",
        ..GUEST
    };
    guest.lines().await;
}

#[tokio::test]
async fn leaving_is_a_trap_after_the_last_words() {
    let guest = Guest {
        text: "last words",
        process: r"
            (call $write (i32.const 2) (i32.const 1024) (i32.const 10))
            (call $proc_exit (i32.const 1))",
        ..GUEST
    };
    let (ended, lines) = run(&guest.module()).await;
    assert_eq!(lines, ["error: last words"]);
    let failure = ended.unwrap_err();
    assert_eq!(failure.message, "`process`: last words");
    assert!(failure.backtrace[0].contains("proc_exit"), "{failure:?}");
}

#[tokio::test]
async fn the_memory_that_lines_wait_in_is_not_the_modules() {
    // A module that writes takes a page more; everything that it had stays as it is.
    let guest = Guest {
        text: r"a line\n",
        process: r"
            (memory.fill (i32.const 4096) (i32.const 0x5a) (i32.const 126976))
            (call $write (i32.const 1) (i32.const 1024) (i32.const 7))
            (call $is (memory.size) (i32.const 3))
            (call $is64 (i64.load (i32.const 131064)) (i64.const 0x5a5a5a5a5a5a5a5a))",
        ..GUEST
    };
    assert_eq!(guest.lines().await, ["info: a line"]);
}

/// Go's runtime thinks that what the memory is longer by is its own.
#[tokio::test]
async fn the_memory_of_go_is_left_as_long_as_it_is() {
    let guest = Guest {
        fields: r#"(@custom "go:buildid" "x") (data (i32.const 12288) "of go\n")"#,
        process: r"
            (call $write (i32.const 1) (i32.const 12288) (i32.const 6))
            (call $is (memory.size) (i32.const 2))
            (call $is (i32.load8_u (i32.const 12288)) (i32.const 111))",
        ..GUEST
    };
    // The data of these tests at 1024 is where Go has none.
    let module = wat::parse_str(guest.text().replace("(data (i32.const 1024) \"\")", ""));
    let (ended, lines) = run(&module.unwrap()).await;
    ended.unwrap();
    assert_eq!(lines, ["info: of go"]);
    // A linker that leaves no room: lines are lost, and nothing else is.
    let (ended, lines) = run(&guest.module()).await;
    ended.unwrap();
    assert!(lines.is_empty());
}

/// wasmtime's adapter imports what the module wants of WASI, which must be granted.
#[test]
fn the_adapter_is_for_those_who_ask_for_it() {
    let sandbox = Sandbox::new(&SandboxConfig::uncached(2)).unwrap();
    let component = component_of(&GUEST.module(), &recipe(Preview1::Adapter)).unwrap();
    let error = sandbox.load(&component, &GRANTS).unwrap_err().to_string();
    assert!(error.contains("`wasi:") && error.contains("`grants`"), "{error}");
    let grants = [&GRANTS[..], &[Grant::Wasi, Grant::WasiFilesystem]].concat();
    sandbox.load(&component, &grants).unwrap();
}

#[test]
fn a_module_becomes_a_component_of_the_world_that_is_asked_for() {
    let module = GUEST.module();
    let of = |world| component_of(&module, &Recipe { world, ..recipe(Preview1::Stub) });
    let said = |result: Result<Vec<u8>, LoadError>| result.unwrap_err().to_string();
    let error = said(of("keyed-operator"));
    assert!(error.contains("keyed-processor") && error.contains("open"), "{error}");
    let error = said(of("no-such-world"));
    assert!(error.contains("no-such-world"), "{error}");
    let wit = [("x.wit", "package cofferdam:operator@0.1.0; world {")];
    let error = said(component_of(&module, &Recipe { wit: &wit, ..recipe(Preview1::Stub) }));
    assert!(error.contains("x.wit:1"), "{error}");
    // What says itself which world it is of is believed.
    let mut says = module.clone();
    super::super::componentize::tests::embed_for_tests(&mut says, "processor-operator");
    let other = Recipe { world: "keyed-operator", ..recipe(Preview1::Stub) };
    assert!(component_of(&says, &other).is_ok());
    assert!(component_of(b"nonsense", &recipe(Preview1::Stub)).is_err());
}

/// Debug information speaks of offsets in the section of code, and of indexes.
#[test]
fn what_is_known_of_the_shut_moves_nothing() {
    let module = GUEST.module();
    let changed = shut::with_shut(&module).unwrap();
    let code = |module: &[u8]| {
        sections(module).unwrap().iter().find(|s| s.id == 10).unwrap().content.to_vec()
    };
    let (before, after) = (code(&module), code(&changed));
    assert_eq!(before[1..], after[1..before.len()]);
    assert_eq!(u32::from(after[0]), u32::from(before[0]) + 1);
    wasmparser::validate(&changed).unwrap();
}

/// Modules with less in them, and with more than one that is wrapped.
#[test]
fn sections_that_are_missing_are_made_where_they_belong() {
    for text in [
        "(module)",
        "(module (memory 1) (data \"x\"))",
        r#"(module (import "a" "cabi_realloc" (func (param i32 i32 i32 i32) (result i32)))
            (export "cabi_realloc" (func 0)))"#,
        r#"(module (global (mut i64) (i64.const 1)) (func (export "cabi_post_x") (param i32))
            (func (export "cabi_realloc") (param i32 i64) (result i32 i32) unreachable)
            (func $start) (start $start) (table 1 funcref) (elem (i32.const 0) $start))"#,
    ] {
        let changed = shut::with_shut(&wat::parse_str(text).unwrap()).unwrap();
        wasmparser::validate(&changed).unwrap_or_else(|error| panic!("{error}: {text}"));
    }
    // So many functions that one more needs another byte to count.
    let functions = "(func)".repeat(126);
    let text = format!(r#"(module {functions} (func (export "cabi_post_x") (param i32)))"#);
    let changed = shut::with_shut(&wat::parse_str(&text).unwrap()).unwrap();
    wasmparser::validate(&changed).unwrap();
    assert!(shut::with_shut(b"\0asm\x01\0\0\0\x01\x05").is_err());
}
