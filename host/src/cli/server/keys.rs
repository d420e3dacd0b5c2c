//! `cofferdam tenant keys …`: the keys of a tenant of a server. `cofferdam operator keygen` and `sign`,
//! which ask nobody; and the signature that an operator is pushed with.

use std::{
    fs::{self, OpenOptions},
    io::Write as _,
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
};

use hyper::header::HeaderName;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use super::{
    Server,
    args::AtServer,
    key_args::{AddArgs, KeygenArgs, KeysCommand, RemoveArgs, SignArgs},
    moment,
    operator_args::PushArgs,
    refuse, text, words,
};
use crate::{
    cli::{exit::Exit, human::table},
    client::Request,
    ids::ArtifactDigest,
    signature::{SecretKey, Signature},
};

/// The header that a signature comes in.
pub(super) const HEADER: HeaderName = HeaderName::from_static("x-cofferdam-signature");

pub(in crate::cli) fn keys(command: &KeysCommand) -> Result<Exit, Exit> {
    match command {
        KeysCommand::Add(args) => add(args),
        KeysCommand::List(at) => list(at),
        KeysCommand::Remove(args) => remove(args),
    }
}

fn add(args: &AddArgs) -> Result<Exit, Exit> {
    let server = Server::of(&args.at.server)?;
    let pem = read(&args.file)?;
    let stem = || args.file.file_stem().unwrap_or_default().to_string_lossy().into_owned();
    let name = args.name.clone().unwrap_or_else(stem);
    let request = Request::post(&["v1", "keys"])
        .query_if("tenant", server.tenant.as_ref())
        .json(&json!({"name": name, "key": pem}))
        .repeatable();
    let answer = server.ask(&request)?;
    super::show(args.at.json, &answer.json, |key| {
        let done = if answer.status == 201 { "added" } else { "it was there already:" };
        let (id, tenant) = (text(&key["id"]), text(&key["tenant"]));
        format!("{done} key {id} `{}` of tenant `{tenant}`\n", text(&key["name"]))
    })
}

fn list(at: &AtServer) -> Result<Exit, Exit> {
    let server = Server::of(&at.server)?;
    let request = Request::get(&["v1", "keys"]).query_if("tenant", server.tenant.as_ref());
    let answer = server.ask(&request)?;
    super::show(at.json, &answer.json, |answer| {
        let all = answer["keys"].as_array().into_iter().flatten();
        let row = |key: &Value| {
            let word = |name: &str| text(&key[name]).to_owned();
            vec![word("id"), word("tenant"), moment(&key["created_at"]), word("name")]
        };
        table(&["KEY", "TENANT", "ADDED", "FOR"], &all.map(row).collect::<Vec<_>>(), 4)
    })
}

fn remove(args: &RemoveArgs) -> Result<Exit, Exit> {
    let server = Server::of(&args.at.server)?;
    let id = args.id.to_string();
    let request = Request::delete(&["v1", "keys", &id]).query_if("tenant", server.tenant.as_ref());
    let answer = server.ask(&request)?;
    super::show(args.at.json, &answer.json, |removed| {
        let unsigned = words(&removed["unsigned"]);
        let meaning = match unsigned.as_str() {
            "" => "it had signed nothing that is there".to_owned(),
            all => format!(
                "these count as unsigned now: {all}; jobs that run go on with them, and a tenant \
                 that requires signatures starts no new ones"
            ),
        };
        format!("removed key {id} `{}`: {meaning}\n", text(&removed["name"]))
    })
}

pub(in crate::cli) fn keygen(args: &KeygenArgs) -> Result<Exit, Exit> {
    let key = SecretKey::generate();
    let public = with(&args.file, ".pub");
    if public.exists() {
        return Err(refuse(&format!("{} is there already", public.display())));
    }
    write_new(&args.file, &key.to_pem(), 0o600)?;
    write_new(&public, &key.public().to_pem(), 0o644)?;
    let id = key.public().id();
    let made = json!({"secret": args.file, "public": public, "key": id.to_string()});
    super::show(args.json, &made, |_| {
        format!(
            "{} signs: keep it to yourself\n{} is for `cofferdam tenant keys add`: key {}\n",
            args.file.display(),
            public.display(),
            id
        )
    })
}

pub(in crate::cli) fn sign(args: &SignArgs) -> Result<Exit, Exit> {
    let signature = signed(&args.key, &read_bytes(&args.file)?)?;
    let to = args.to.clone().unwrap_or_else(|| with(&args.file, ".sig"));
    fs::write(&to, format!("{signature}\n"))
        .map_err(|error| refuse(&format!("cannot write {}: {error}", to.display())))?;
    let made = json!({"file": to, "signature": signature.to_string()});
    super::show(args.json, &made, |_| format!("{}\n", to.display()))
}

/// The signature that an operator is pushed with, if it has one.
pub(super) fn signature_of(
    args: &PushArgs,
    component: &Path,
    bytes: &[u8],
) -> Result<Option<Signature>, Exit> {
    if let Some(key) = &args.key {
        return signed(key, bytes).map(Some);
    }
    let beside = with(component, ".sig");
    let file = match &args.signature {
        Some(file) => file,
        None if beside.is_file() => &beside,
        None => return Ok(None),
    };
    let read = read(file)?.parse();
    read.map(Some).map_err(|error| refuse(&format!("{}: {error}", file.display())))
}

fn signed(key: &Path, bytes: &[u8]) -> Result<Signature, Exit> {
    let secret = SecretKey::from_pem(&read(key)?)
        .map_err(|error| refuse(&format!("the key {}: {error}", key.display())))?;
    Ok(secret.sign(&ArtifactDigest(Sha256::digest(bytes).into())))
}

/// A path with something behind it.
fn with(path: &Path, end: &str) -> PathBuf {
    let mut path = path.to_owned().into_os_string();
    path.push(end);
    path.into()
}

fn read_bytes(path: &Path) -> Result<Vec<u8>, Exit> {
    fs::read(path).map_err(|error| refuse(&format!("cannot read {}: {error}", path.display())))
}

fn read(path: &Path) -> Result<String, Exit> {
    fs::read_to_string(path)
        .map_err(|error| refuse(&format!("cannot read {}: {error}", path.display())))
}

fn write_new(path: &Path, text: &str, mode: u32) -> Result<(), Exit> {
    let file = OpenOptions::new().write(true).create_new(true).mode(mode).open(path);
    let written = file.and_then(|mut file| file.write_all(text.as_bytes()));
    written.map_err(|error| refuse(&format!("cannot write {}: {error}", path.display())))
}
