//! A slot that is used again shows nothing of whoever had it before: no byte of
//! memory, no entry of a table, no global. One operator fills all it can get;
//! the next, in the very same slot, looks everywhere.

#![allow(clippy::unwrap_used, reason = "these are tests, their helpers too")]

use cofferdam::{
    failure::FailureKind,
    memory::SlotMeter,
    sandbox::{Artifact, Instance, Sandbox, SandboxConfig, SlotSettings},
};
use cofferdam_tests::zoo::{Guest, batch, settings};

/// How many pages an operator has when it has grown, of 64 KiB.
const PAGES: u32 = 200;
/// How many entries of a table.
const ENTRIES: u32 = 5_000;

/// What an operator has to write into and to look at. `main` is where a
/// component keeps its data, so only what lies above it is looked at.
const ROOM: &str = "(memory $more 1)
    (table $t 10 funcref)
    (global $a (mut i64) (i64.const 0)) (global $b (mut f64) (f64.const 0))
    (global $c (mut funcref) (ref.null func))
    (func $mark) (elem declare func $mark)
    (func $grow
        (drop (memory.grow $memory (i32.sub (i32.const PAGES) (memory.size $memory))))
        (drop (memory.grow $more (i32.sub (i32.const PAGES) (memory.size $more))))
        (drop (table.grow $t (ref.null func) (i32.sub (i32.const ENTRIES) (table.size $t))))
        (if (i32.ne (memory.size $more) (i32.const PAGES)) (then unreachable))
        (if (i32.ne (memory.size $memory) (i32.const PAGES)) (then unreachable))
        (if (i32.ne (table.size $t) (i32.const ENTRIES)) (then unreachable)))
    (func $fill
        (call $grow)
        (memory.fill $memory (i32.const 262144) (i32.const 0xa5)
            (i32.sub (i32.mul (i32.const PAGES) (i32.const 65536)) (i32.const 262144)))
        (memory.fill $more (i32.const 0) (i32.const 0xa5)
            (i32.mul (i32.const PAGES) (i32.const 65536)))
        (table.fill $t (i32.const 0) (ref.func $mark) (i32.const ENTRIES))
        (global.set $a (i64.const -1)) (global.set $b (f64.const 1))
        (global.set $c (ref.func $mark)))
    (func $scan (local $i i32)
        (call $grow)
        (local.set $i (i32.const 262144))
        (loop $next
            (if (i64.ne (i64.const 0) (i64.load $memory (local.get $i))) (then unreachable))
            (local.set $i (i32.add (local.get $i) (i32.const 8)))
            (br_if $next (i32.lt_u (local.get $i) (i32.mul (i32.const PAGES) (i32.const 65536)))))
        (local.set $i (i32.const 0))
        (loop $next
            (if (i64.ne (i64.const 0) (i64.load $more (local.get $i))) (then unreachable))
            (local.set $i (i32.add (local.get $i) (i32.const 8)))
            (br_if $next (i32.lt_u (local.get $i) (i32.mul (i32.const PAGES) (i32.const 65536)))))
        (local.set $i (i32.const 0))
        (loop $next
            (if (i32.eqz (ref.is_null (table.get $t (local.get $i)))) (then unreachable))
            (local.set $i (i32.add (local.get $i) (i32.const 1)))
            (br_if $next (i32.lt_u (local.get $i) (i32.const ENTRIES))))
        (if (i64.ne (i64.const 0) (global.get $a)) (then unreachable))
        (if (f64.ne (f64.const 0) (global.get $b)) (then unreachable))
        (if (i32.eqz (ref.is_null (global.get $c))) (then unreachable)))";

fn operator(process: &str, data: &[u8]) -> Guest {
    let fields = ROOM.replace("PAGES", &PAGES.to_string()).replace("ENTRIES", &ENTRIES.to_string());
    Guest { fields, answer: data.to_vec(), ..Guest::processing(process) }
}

fn slot() -> SlotSettings {
    SlotSettings { memory: SlotMeter::alone(64 << 20), ..settings("tenant") }
}

async fn used(artifact: &Artifact) -> (Instance, Result<(), FailureKind>) {
    let mut instance = artifact.instantiate(&slot()).await.unwrap();
    let done = instance.process(0, &batch(3)).await.map(|_| ()).map_err(|failure| failure.kind);
    (instance, done)
}

#[tokio::test]
async fn a_released_slot_shows_the_next_tenant_no_byte_of_the_last() {
    let sandbox = Sandbox::new(&SandboxConfig::uncached(1)).unwrap();
    assert!(sandbox.is_pooling(), "this machine has no pool to test");
    let load = |guest: Guest| sandbox.load(&guest.build(), &[]).unwrap();
    // With data from the file, whose pages the pool maps, and without.
    let fill = load(operator("(call $fill) (i32.const 16)", &[0x5a; 3_000]));
    let trap = load(operator("(call $fill) (unreachable)", &[0x5a; 100_000]));
    let scan = load(operator("(call $scan) (i32.const 16)", &[]));
    let scan_beside_data = load(operator("(call $scan) (i32.const 16)", &[0x77; 70_000]));
    for round in 0..10 {
        for (last, ends) in [(&fill, Ok(())), (&trap, Err(FailureKind::GuestTrap))] {
            let (instance, done) = used(last).await;
            assert_eq!(done, ends);
            // There is one slot, so it is certainly the one that is used again.
            assert!(scan.instantiate(&slot()).await.is_err(), "there is a second slot");
            drop(instance);
            for next in [&scan, &scan_beside_data, &scan] {
                assert_eq!(used(next).await.1, Ok(()), "round {round}: something was left");
            }
        }
    }
}

#[tokio::test]
async fn the_scan_finds_what_is_there() {
    let sandbox = Sandbox::new(&SandboxConfig::uncached(1)).unwrap();
    let end = format!("(i32.const {})", PAGES * 65_536 - 1);
    for trace in [
        format!("(i32.store8 $memory {end} (i32.const 1))"),
        format!("(i32.store8 $more {end} (i32.const 1))"),
        "(i32.store8 $more (i32.const 0) (i32.const 1))".to_owned(),
        format!("(table.set $t (i32.const {}) (ref.func $mark))", ENTRIES - 1),
        "(global.set $a (i64.const 1))".to_owned(),
        "(global.set $b (f64.const 1))".to_owned(),
        "(global.set $c (ref.func $mark))".to_owned(),
    ] {
        let guest = operator(&format!("(call $grow) {trace} (call $scan) (i32.const 16)"), &[]);
        let artifact = sandbox.load(&guest.build(), &[]).unwrap();
        assert_eq!(used(&artifact).await.1, Err(FailureKind::GuestTrap), "{trace}");
    }
}
