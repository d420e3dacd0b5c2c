//! Folders that an operator may read: what is in them can be read and not changed,
//! and no path leads out of them.

#![allow(clippy::unwrap_used, reason = "these are tests, their helpers too")]

use std::{fs, os::unix::fs::symlink, sync::Arc};

use cofferdam::{
    config::job::{FolderGrant, Grant},
    failure::FailureKind,
    sandbox::SlotSettings,
};
use cofferdam_tests::{
    Place,
    zoo::{ANSWER, Arena, Guest, batch, settings},
};

const ERRORS: &str = "access would-block already bad-descriptor busy deadlock quota exist \
    file-too-large illegal-byte-sequence in-progress interrupted invalid io is-directory loop \
    too-many-links message-size name-too-long no-device no-entry no-lock insufficient-memory \
    insufficient-space not-directory not-empty not-recoverable unsupported no-tty \
    no-such-device overflow not-permitted pipe read-only invalid-seek text-file-busy cross-device";

/// An operator that opens its first folder and a path in it, and says as its error
/// what it read there, or which error it got. `then` is done with what was opened, in
/// local `$file`; its folder is in `$dir`; it leaves an error's code, or -1.
fn visitor(path: &str, open_flags: u32, flags: u32, then: &str) -> Guest {
    let len = path.len();
    let errors = ERRORS.split_whitespace().collect::<Vec<_>>().join(", ");
    Guest {
        world: "visitor".into(),
        wit: vec![
            format!(
                "package wasi:filesystem@0.2.0;
                interface types {{
                    enum error-code {{ {errors} }}
                    flags descriptor-flags {{ read, write, file-integrity-sync,
                        data-integrity-sync, requested-write-sync, mutate-directory }}
                    flags path-flags {{ symlink-follow }}
                    flags open-flags {{ create, directory, exclusive, truncate }}
                    resource descriptor {{
                        open-at: func(path-flags: path-flags, path: string,
                            open-flags: open-flags, %flags: descriptor-flags)
                            -> result<descriptor, error-code>;
                        read: func(length: u64, offset: u64)
                            -> result<tuple<list<u8>, bool>, error-code>;
                        write: func(buffer: list<u8>, offset: u64) -> result<u64, error-code>;
                        set-size: func(size: u64) -> result<_, error-code>;
                        create-directory-at: func(path: string) -> result<_, error-code>;
                        unlink-file-at: func(path: string) -> result<_, error-code>;
                        symlink-at: func(old-path: string, new-path: string)
                            -> result<_, error-code>;
                    }}
                }}
                interface preopens {{
                    use types.{{descriptor}};
                    get-directories: func() -> list<tuple<descriptor, string>>;
                }}"
            ),
            "package zoo:visitor; world visitor {
                import wasi:filesystem/types@0.2.0;
                import wasi:filesystem/preopens@0.2.0;
                export cofferdam:operator/processor@0.1.0; }"
                .into(),
        ],
        imports: r#"
            (import "wasi:filesystem/preopens@0.2.0" "get-directories" (func $dirs (param i32)))
            (import "wasi:filesystem/types@0.2.0" "[method]descriptor.open-at"
                (func $open (param i32 i32 i32 i32 i32 i32 i32)))
            (import "wasi:filesystem/types@0.2.0" "[method]descriptor.read"
                (func $read (param i32 i64 i64 i32)))
            (import "wasi:filesystem/types@0.2.0" "[method]descriptor.write"
                (func $write (param i32 i32 i32 i64 i32)))
            (import "wasi:filesystem/types@0.2.0" "[method]descriptor.set-size"
                (func $cut (param i32 i64 i32)))
            (import "wasi:filesystem/types@0.2.0" "[method]descriptor.create-directory-at"
                (func $mkdir (param i32 i32 i32 i32)))
            (import "wasi:filesystem/types@0.2.0" "[method]descriptor.unlink-file-at"
                (func $unlink (param i32 i32 i32 i32)))
            (import "wasi:filesystem/types@0.2.0" "[method]descriptor.symlink-at"
                (func $symlink (param i32 i32 i32 i32 i32 i32)))"#
            .into(),
        fields: format!(
            r#"
            (data (i32.const 256) "error ?")
            (data (i32.const 272) "no folder")
            (func $say (param $at i32) (param $len i32) (result i32)
                (i32.store8 (i32.const 32) (i32.const 1))
                (i32.store (i32.const 36) (local.get $at))
                (i32.store (i32.const 40) (local.get $len))
                (i32.const 32))
            (func $say_error (param $code i32) (result i32)
                (i32.store8 (i32.const 262) (i32.add (i32.const 65) (local.get $code)))
                (call $say (i32.const 256) (i32.const 7)))
            (func $visit (result i32)
                (local $dir i32) (local $file i32) (local $code i32)
                (call $dirs (i32.const 64))
                (if (i32.eqz (i32.load (i32.const 68)))
                    (then (return (call $say (i32.const 272) (i32.const 9)))))
                (local.set $dir (i32.load (i32.load (i32.const 64))))
                (call $open (local.get $dir) (i32.const 1) (i32.const {ANSWER}) (i32.const {len})
                    (i32.const {open_flags}) (i32.const {flags}) (i32.const 80))
                (if (i32.load8_u (i32.const 80))
                    (then (return (call $say_error (i32.load8_u (i32.const 84))))))
                (local.set $file (i32.load (i32.const 84)))
                (local.set $code {then})
                (if (i32.ge_s (local.get $code) (i32.const 0))
                    (then (return (call $say_error (local.get $code)))))
                (call $read (local.get $file) (i64.const 64) (i64.const 0) (i32.const 96))
                (if (i32.load8_u (i32.const 96))
                    (then (return (call $say_error (i32.load8_u (i32.const 100))))))
                (call $say (i32.load (i32.const 100)) (i32.load (i32.const 104))))"#
        ),
        answer: path.as_bytes().to_vec(),
        ..Guest::processing("(call $visit)")
    }
}

const READ: u32 = 1;
const WRITE: u32 = 2;
const MUTATE_DIRECTORY: u32 = 32;
const NOTHING: &str = "(i32.const -1)";

/// What a result without a value at an address says.
fn code_at(address: u32) -> String {
    format!(
        "(if (result i32) (i32.load8_u (i32.const {address}))
            (then (i32.load8_u (i32.const {}))) (else (i32.const -1)))",
        address + 1
    )
}

/// A folder with a file, links and a folder below, and a secret beside it.
fn folder() -> (Place, SlotSettings) {
    let place = Place::new();
    fs::create_dir_all(place.path("ref/below")).unwrap();
    fs::create_dir_all(place.path("other")).unwrap();
    place.write("secret.txt", "the secret");
    place.write("other/secret.txt", "the secret");
    place.write("ref/table.txt", "the table");
    place.write("ref/below/more.txt", "more of it");
    symlink("table.txt", place.path("ref/inside")).unwrap();
    symlink("../secret.txt", place.path("ref/outside")).unwrap();
    symlink(place.path("secret.txt"), place.path("ref/absolute")).unwrap();
    symlink("../other", place.path("ref/dir")).unwrap();
    symlink("..", place.path("ref/below/up")).unwrap();
    let grant = FolderGrant { path: place.path("ref"), name: "/ref".to_owned() };
    let slot = SlotSettings { folders: Arc::from([grant]), ..settings("hostile") };
    (place, slot)
}

/// What the operator says about its visit.
async fn said(arena: &Arena, slot: &SlotSettings, guest: &Guest) -> String {
    let artifact = arena.sandbox().load(&guest.build(), &[Grant::WasiFilesystem]).unwrap();
    let mut instance = artifact.instantiate(slot).await.unwrap();
    let failure = instance.process(0, &batch(1)).await.unwrap_err();
    assert_eq!(failure.kind, FailureKind::GuestError, "{failure}");
    let said = failure.message.rsplit("said: ").next().unwrap().to_owned();
    let Some(letter) = said.strip_prefix("error ") else { return said };
    let code = usize::from(letter.as_bytes()[0] - b'A');
    ERRORS.split_whitespace().nth(code).unwrap().to_owned()
}

#[tokio::test]
async fn an_operator_reads_what_is_in_its_folder() {
    let (_place, slot) = folder();
    let arena = Arena::new(2).await;
    for (path, content) in [
        ("table.txt", "the table"),
        ("./below/more.txt", "more of it"),
        ("below/../table.txt", "the table"),
        ("inside", "the table"),
        ("below/up/table.txt", "the table"),
    ] {
        assert_eq!(said(&arena, &slot, &visitor(path, 0, READ, NOTHING)).await, content, "{path}");
    }
    let gone = visitor("gone.txt", 0, READ, NOTHING);
    assert_eq!(said(&arena, &slot, &gone).await, "no-entry");
    // Granted, and without a folder.
    assert_eq!(said(&arena, &settings("hostile"), &gone).await, "no folder");
}

#[tokio::test]
async fn no_path_leads_out_of_a_folder() {
    let (place, slot) = folder();
    let mut arena = Arena::new(2).await;
    let absolute = place.path("secret.txt").display().to_string();
    for path in [
        "../secret.txt",
        "below/../../secret.txt",
        "below/up/../secret.txt",
        "../ref/../secret.txt",
        "outside",
        "absolute",
        "dir/secret.txt",
        "below/up/outside",
        "/etc/passwd",
        &absolute,
    ] {
        let said = said(&arena, &slot, &visitor(path, 0, READ, NOTHING)).await;
        assert_eq!(said, "not-permitted", "{path}");
        arena.neighbour_goes_on().await;
    }
}

#[tokio::test]
async fn nothing_in_a_folder_can_be_changed() {
    let (place, slot) = folder();
    let mut arena = Arena::new(2).await;
    let (create, truncate, directory) = (1, 8, 2);
    let own_path = format!("(i32.const {ANSWER}) (i32.const 5)");
    let at_folder = |call: &str| format!("{call} {}", code_at(128));
    for (what, guest) in [
        ("open to write", visitor("table.txt", 0, READ | WRITE, NOTHING)),
        ("create", visitor("new.txt", create, READ | WRITE, NOTHING)),
        ("create to read", visitor("new.txt", create, READ, NOTHING)),
        ("truncate", visitor("table.txt", truncate, READ, NOTHING)),
        ("mutate", visitor("below", directory, READ | MUTATE_DIRECTORY, NOTHING)),
        (
            "write",
            visitor(
                "table.txt",
                0,
                READ,
                "(block (result i32)
                    (call $write (local.get $file) (i32.const 256) (i32.const 7) (i64.const 0)
                        (i32.const 128))
                    (if (result i32) (i32.load8_u (i32.const 128))
                        (then (i32.load8_u (i32.const 136))) (else (i32.const -1))))",
            ),
        ),
        (
            "cut",
            visitor(
                "table.txt",
                0,
                READ,
                &format!(
                    "(block (result i32)
                        (call $cut (local.get $file) (i64.const 0) (i32.const 128)) {})",
                    code_at(128)
                ),
            ),
        ),
        (
            "make a folder",
            visitor(
                "below",
                directory,
                READ,
                &format!(
                    "(block (result i32) {})",
                    at_folder(&format!(
                        "(call $mkdir (local.get $file) {own_path} (i32.const 128))"
                    ))
                ),
            ),
        ),
        (
            "delete",
            visitor(
                "inside",
                0,
                READ,
                &format!(
                    "(block (result i32) {})",
                    at_folder(&format!(
                        "(call $unlink (local.get $dir) (i32.const {ANSWER}) (i32.const 6) \
                         (i32.const 128))"
                    ))
                ),
            ),
        ),
        (
            "link",
            visitor(
                "below",
                directory,
                READ,
                &format!(
                    "(block (result i32) {})",
                    at_folder(&format!(
                        "(call $symlink (local.get $dir) {own_path} (i32.const 256) \
                         (i32.const 5) (i32.const 128))"
                    ))
                ),
            ),
        ),
    ] {
        let said = said(&arena, &slot, &guest).await;
        let refused = ["not-permitted", "read-only", "bad-descriptor"].contains(&said.as_str());
        assert!(refused, "{what}: {said}");
        arena.neighbour_goes_on().await;
    }
    assert_eq!(fs::read_to_string(place.path("ref/table.txt")).unwrap(), "the table");
    let mut names: Vec<_> =
        fs::read_dir(place.path("ref")).unwrap().map(|e| e.unwrap().file_name()).collect();
    names.sort();
    assert_eq!(names, ["absolute", "below", "dir", "inside", "outside", "table.txt"]);
    assert_eq!(fs::read_dir(place.path("ref/below")).unwrap().count(), 2);
}

#[tokio::test]
async fn an_operator_that_opens_files_without_end_is_stopped_before_the_process_has_none() {
    let (_place, slot) = folder();
    let mut arena = Arena::new(2).await;
    let hoard = format!(
        "(loop (result i32)
            (call $open (local.get $dir) (i32.const 1) (i32.const {ANSWER}) (i32.const 9)
                (i32.const 0) (i32.const 1) (i32.const 80))
            (br_if 0 (i32.eqz (i32.load8_u (i32.const 80))))
            (i32.load8_u (i32.const 84)))"
    );
    let guest = visitor("table.txt", 0, READ, &hoard);
    let artifact = arena.sandbox().load(&guest.build(), &[Grant::WasiFilesystem]).unwrap();
    let open = || fs::read_dir("/proc/self/fd").unwrap().count();
    let before = open();
    let mut instance = artifact.instantiate(&slot).await.unwrap();
    let failure = instance.process(0, &batch(1)).await.unwrap_err();
    assert_eq!(failure.kind, FailureKind::GuestTrap, "{failure}");
    // Other tests in this process open files too, but not as many.
    assert!(open() < before + 250, "{} files are open", open());
    drop(instance);
    arena.neighbour_goes_on().await;
}

#[tokio::test]
async fn a_folder_that_is_gone_is_told_by_both_its_names() {
    let (place, slot) = folder();
    let arena = Arena::new(2).await;
    fs::rename(place.path("ref"), place.path("moved")).unwrap();
    let guest = visitor("table.txt", 0, READ, NOTHING).build();
    let artifact = arena.sandbox().load(&guest, &[Grant::WasiFilesystem]).unwrap();
    let failure = artifact.instantiate(&slot).await.unwrap_err();
    assert!(failure.message.contains("`/ref`"), "{failure}");
    assert!(failure.message.contains(&place.path("ref").display().to_string()), "{failure}");
}

#[test]
fn a_hardened_job_gives_its_operator_the_folder_of_the_job_file() {
    let (place, _) = folder();
    place.write("visitor.wasm", visitor("table.txt", 0, READ, NOTHING).build());
    let job = "
[job]\nname = 'visit'\n[restart]\nstrategy = 'none'
[[source]]\nname = 'in'\nconnector = 'generator'\nrecords = 1
[[operator]]\nname = 'visitor'\nartifact = './visitor.wasm'\ninput = 'in'
grants = ['wasi-filesystem']\nfolders = [{ path = 'ref', as = '/ref' }]
[[sink]]\nname = 'out'\ninput = 'visitor'\nconnector = 'discard'\n";
    place.run_job(job, &["--hardening", "on"]).failed(1, &["said: the table"]);
    // What is not granted is not there, folder or not.
    let bare = job.replace("grants = ['wasi-filesystem']\nfolders", "grants = ['log']\nfolders");
    place.run_job(&bare, &[]).failed(2, &["without the grant", "\"wasi-filesystem\""]);
}
