//! Signatures of uploads: keys of tenants, what is refused, what is shown, and what becomes of what a
//! key signed that is taken away.

#![allow(clippy::unwrap_used, reason = "these are tests, their helpers too")]
#![allow(clippy::print_stderr, reason = "a test that is skipped says so")]

use std::{fs, os::unix::fs::PermissionsExt as _, process::Command};

use cofferdam::{ids::ArtifactDigest, signature::SecretKey};
use cofferdam_tests::{
    Place, Reply, Served,
    client::{ask, guest, offline},
    console::Visitor,
    guests,
    jobs::DISCARDING,
    zoo::Guest,
};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

fn bytes(name: &str) -> Vec<u8> {
    fs::read(guests().join(format!("{name}.wasm"))).unwrap()
}

fn digest(bytes: &[u8]) -> ArtifactDigest {
    ArtifactDigest(Sha256::digest(bytes).into())
}

/// Uploads for acme, with a signature or without.
fn upload(served: &Served, version: &str, bytes: &[u8], signature: Option<&str>) -> Reply {
    let mut headers = format!("authorization: Bearer {}\r\n", served.token);
    if let Some(signature) = signature {
        headers += &format!("x-cofferdam-signature: {signature}\r\n");
    }
    let path = format!("/v1/artifacts/identity/versions/{version}?tenant=acme");
    served.send("PUT", &path, &headers, bytes)
}

fn register(served: &Served, name: &str, key: &SecretKey) -> Reply {
    let asked = json!({"name": name, "key": key.public().to_pem()}).to_string();
    served.ask("POST", "/v1/keys?tenant=acme", asked.as_bytes())
}

fn require(served: &Served, required: bool) {
    let quotas = json!({"require_signatures": required}).to_string();
    let put = served.ask("PUT", "/v1/tenants/acme", quotas.as_bytes()).expect(200);
    assert_eq!(put.json["require_signatures"], required);
}

fn submit(served: &Served, version: &str) -> Reply {
    let artifact = format!("artifact = \"identity@{version}\"");
    let job = DISCARDING.replace("artifact = \"identity\"", &artifact);
    served.ask("POST", "/v1/jobs?tenant=acme", job.as_bytes())
}

#[test]
fn a_signature_is_checked_kept_and_asked_for() {
    let place = Place::new();
    let served = Served::of_tenants(&place, &["acme", "mallory"], "");
    let (ours, theirs) = (SecretKey::generate(), SecretKey::generate());
    let identity = bytes("identity");
    let signed = |key: &SecretKey, bytes: &[u8]| key.sign(&digest(bytes)).to_string();
    let good = signed(&ours, &identity);
    let refused = |reply: &Reply, said: &str| reply.is_problem(422, "signature-refused", said);
    // A key that nobody has registered has signed nothing, asked for or not.
    refused(&upload(&served, "0", &identity, Some(&good)), "0 keys");
    let key = register(&served, "releases", &ours).expect(201);
    assert_eq!(key.header("location"), format!("/v1/keys/{}", ours.public().id()));
    assert_eq!(register(&served, "another name", &ours).expect(200).json, key.json);
    refused(&upload(&served, "0", &identity, Some(&signed(&theirs, &identity))), "keys add");
    refused(&upload(&served, "0", &identity, Some(&signed(&ours, b"other bytes"))), "other bytes");
    for bad in ["", "ed25519:AAAA", "x"] {
        let reply = upload(&served, "0", &identity, Some(bad));
        reply.is_problem(400, "invalid-request", "x-cofferdam-signature");
    }
    served.ask("GET", "/v1/artifacts/identity?tenant=acme", b"").is_problem(404, "not-found", "");

    assert_eq!(
        upload(&served, "unsigned", &identity, None).expect(201).json["signed"],
        Value::Null
    );
    let old = submit(&served, "unsigned").expect(201).header("location").to_owned();
    let _ = served.until_state(&old, "running");
    let there = upload(&served, "signed", &identity, Some(&good)).expect(201).json;
    assert_eq!(
        (&there["signed"]["key"], &there["signed"]["name"]),
        (&key.json["id"], &json!("releases"))
    );
    assert_eq!(there["signed"]["signature"], good);
    require(&served, true);
    refused(&upload(&served, "2", &identity, None), "signed artifacts only");
    refused(&upload(&served, "unsigned", &identity, None), "signed artifacts only");
    // What was uploaded before is refused when a job is to begin with it, and goes on otherwise.
    submit(&served, "unsigned").is_problem(
        422,
        "job-file",
        "is not signed by a key of tenant `acme`",
    );
    let job = submit(&served, "signed").expect(201).header("location").to_owned();
    let _ = served.until_state(&job, "running");
    served.kill();
    let served = Served::start(&place.path("data"), &[]);
    let _ = served.until_state(&old, "running");
    // The same bytes may be signed afterwards.
    let path = "/v1/artifacts/identity/versions/unsigned?tenant=acme";
    let now = upload(&served, "unsigned", &identity, Some(&good)).expect(200).json;
    assert_eq!(served.ask("GET", path, b"").expect(200).json, now);
    assert_eq!(now["signed"]["key"], key.json["id"]);
    let _ = submit(&served, "unsigned").expect(201);

    // Of a core module it is the module that is signed, not the component that becomes of it.
    let module = Guest::default().core();
    refused(&upload(&served, "core", &module, Some(&good)), "other bytes");
    let reply = upload(&served, "core", &module, Some(&signed(&ours, &module))).expect(201);
    assert_eq!(reply.json["signed"]["key"], key.json["id"]);

    // A key that is taken away leaves what it has signed unsigned.
    let id = key.json["id"].as_str().unwrap();
    let path = format!("/v1/keys/{id}?tenant=acme");
    let removed = served.ask("DELETE", &path, b"").expect(200).json;
    assert_eq!(
        removed["unsigned"],
        json!(["identity@core", "identity@signed", "identity@unsigned"])
    );
    served.ask("DELETE", &path, b"").is_problem(404, "not-found", id);
    submit(&served, "signed").is_problem(422, "job-file", "is not signed");
    refused(&upload(&served, "signed", &identity, None), "signed artifacts only");
    assert_eq!(served.ask("GET", &job, b"").expect(200).json["state"], "running");
    let _ = register(&served, "again", &ours).expect(201);
    let _ = submit(&served, "signed").expect(201);

    // It takes an admin, and a public key.
    let author = served.token("acme", "author");
    let asked = json!({"name": "x", "key": theirs.public().to_pem()}).to_string();
    let add = |token: &str, body: &str| served.ask_with(token, "POST", "/v1/keys", body.as_bytes());
    add(&author, &asked).is_problem(403, "forbidden", "admin");
    assert_eq!(
        served.ask_with(&author, "GET", "/v1/keys", b"").expect(200).json["keys"]
            .as_array()
            .unwrap()
            .len(),
        1
    );
    let admin = served.token("acme", "admin");
    let secret = json!({"name": "x", "key": theirs.to_pem()}).to_string();
    add(&admin, &secret).is_problem(400, "invalid-request", "stays where it is");
    for _ in 0..31 {
        let key = SecretKey::generate().public().to_pem();
        let _ = add(&admin, &json!({"name": "x", "key": key}).to_string()).expect(201);
    }
    add(&admin, &asked).is_problem(403, "over-quota", "32 keys");
}

#[test]
fn keys_and_signatures_are_made_on_the_command_line() {
    let place = Place::new();
    let served = Served::of_tenants(&place, &["acme"], "");
    let ask =
        |arguments: &[&str]| ask(&place, &served, &[arguments, &["--tenant", "acme"]].concat());
    let made = offline(&place, &["operator", "keygen", "signing.pem"]).well();
    let mode = fs::metadata(place.path("signing.pem")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    offline(&place, &["operator", "keygen", "signing.pem"]).refused(2, &["signing.pem"]);
    let add = ["tenant", "keys", "add", "signing.pem.pub", "--name", "release builds"];
    assert!(ask(&add).well().starts_with("added key "));
    assert!(ask(&add).well().starts_with("it was there already: key "));
    ask(&["tenant", "keys", "add", "signing.pem"]).refused(2, &["stays where it is"]);
    let listed = ask(&["tenant", "keys", "list"]).well();
    let id = listed.lines().nth(1).unwrap().split_whitespace().next().unwrap();
    assert!(listed.contains("release builds") && made.contains(id), "{listed}{made}");

    let mut set = cofferdam_tests::client::alone(&place);
    set.env("COFFERDAM_SERVER", format!("http://{}", served.address()));
    set.env("COFFERDAM_TOKEN", &served.token);
    set.args(["tenant", "set", "acme", "--require-signatures", "true"]);
    assert!(cofferdam_tests::client::Ended::of(set).well().contains("require_signatures yes\n"));
    fs::copy(guest("identity"), place.path("identity.wasm")).unwrap();
    let push = ["operator", "push", "identity.wasm", "--version", "1"];
    ask(&push).refused(2, &["operator sign"]);
    let sign = ["operator", "sign", "identity.wasm", "--key", "signing.pem"];
    assert_eq!(offline(&place, &sign).well(), "identity.wasm.sig\n");
    let pushed = ask(&push).well();
    assert!(pushed.contains(", signed with `release builds`"), "{pushed}");
    let inspected = ask(&["operator", "inspect", "identity@1"]).well();
    assert!(inspected.contains(&format!("with `release builds`, key {id}\n")), "{inspected}");
    // A signature that is left of other bytes is no signature of these.
    fs::copy(guest("count"), place.path("identity.wasm")).unwrap();
    let second = ["operator", "push", "identity.wasm", "--version", "2"];
    ask(&second).refused(2, &["other bytes"]);
    let with_key = [second.as_slice(), &["--key", "signing.pem"]].concat();
    assert!(ask(&with_key).well().contains(", signed with"));
    ask(&[second.as_slice(), &["--key", "identity.wasm"]].concat()).refused(2, &["identity.wasm"]);
    let removed = ask(&["tenant", "keys", "remove", id]).well();
    assert!(removed.contains("count as unsigned now: identity@1, identity@2; jobs"), "{removed}");
}

#[test]
fn the_console_sends_signatures_and_the_playground_asks_for_them() {
    let place = Place::new();
    let served = Served::of_tenants(&place, &["acme"], "");
    let key = SecretKey::generate();
    let _ = register(&served, "releases", &key).expect(201);
    let identity = bytes("identity");
    let good = key.sign(&digest(&identity)).to_string();
    let _ = upload(&served, "old", &identity, None).expect(201);
    require(&served, true);
    let author = Visitor::new(&served, &served.token("acme", "author"));
    let send = |version: &str, signature: &str| {
        let fields = [("name", "identity"), ("version", version), ("signature", signature)];
        author.upload(&fields, &identity)
    };
    for (signature, status, said) in [
        ("", 422, "signed artifacts only"),
        (&*key.sign(&digest(b"others")).to_string(), 422, "other bytes"),
        ("no signature", 400, "The file of the signature cannot be used"),
    ] {
        let refused = send("1", signature).expect(status).text;
        assert!(refused.contains(said), "{said} is not in {refused}");
    }
    // As the file has it that `operator sign` writes: with the end of a line.
    let taken = send("1", &format!("{good}\n")).expect(303);
    assert!(taken.header("location").ends_with("said=uploaded"), "{}", taken.header("location"));
    let there = served.ask("GET", "/v1/artifacts/identity/versions/1?tenant=acme", b"");
    assert_eq!(there.expect(200).json["signed"]["signature"], good);

    let try_it = |version: &str| {
        let path = format!("/v1/artifacts/identity/versions/{version}/try?tenant=acme");
        served.ask("POST", &path, br#"{"records": [{"value": "{}"}]}"#)
    };
    try_it("old").is_problem(422, "signature-refused", "`identity@old` is not signed by a key");
    let tried = author.post("/console/artifacts/identity/old/try?tenant=acme", "lines=%7B%7D");
    assert_eq!(tried.status, 422, "{}", tried.text);
    assert!(tried.text.contains("is not signed by a key of tenant"), "{}", tried.text);
    assert_eq!(try_it("1").expect(200).json["ended"], "finished");
    require(&served, false);
    assert_eq!(try_it("old").expect(200).json["ended"], "finished");
}

#[test]
fn what_openssl_signs_is_signed() {
    let place = Place::new();
    let run = |arguments: &[&str]| {
        let mut openssl = Command::new("openssl");
        openssl.current_dir(place.path("")).args(arguments).output()
    };
    let made = run(&["genpkey", "-algorithm", "ed25519", "-out", "key.pem"]);
    if !made.is_ok_and(|made| made.status.success()) {
        eprintln!("skipped: there is no `openssl` with Ed25519 here");
        return;
    }
    let well = |arguments: &[&str]| {
        let ran = run(arguments).unwrap();
        assert!(ran.status.success(), "{}", String::from_utf8_lossy(&ran.stderr));
        ran.stdout
    };
    let _ = well(&["pkey", "-in", "key.pem", "-pubout", "-out", "key.pem.pub"]);
    let identity = bytes("identity");
    place.write("text", format!("cofferdam artifact sha256-{}", digest(&identity)));
    let _ =
        well(&["pkeyutl", "-sign", "-rawin", "-in", "text", "-inkey", "key.pem", "-out", "raw"]);
    let encoded = String::from_utf8(well(&["base64", "-A", "-in", "raw"])).unwrap();
    let signature = format!("ed25519:{}", encoded.trim());
    // Ours reads its keys, and makes the same signature of them.
    let secret = SecretKey::from_pem(&fs::read_to_string(place.path("key.pem")).unwrap()).unwrap();
    assert_eq!(secret.sign(&digest(&identity)).to_string(), signature);
    // And it reads ours.
    place.write("ours.pem", SecretKey::generate().to_pem());
    let _ = well(&["pkey", "-in", "ours.pem", "-noout"]);
    let served = Served::of_tenants(&place, &["acme"], "");
    let pem = fs::read_to_string(place.path("key.pem.pub")).unwrap();
    let asked = json!({"name": "openssl", "key": pem}).to_string();
    let _ = served.ask("POST", "/v1/keys?tenant=acme", asked.as_bytes()).expect(201);
    let there = upload(&served, "1", &identity, Some(&signature)).expect(201).json;
    assert_eq!(there["signed"]["name"], "openssl");
}
