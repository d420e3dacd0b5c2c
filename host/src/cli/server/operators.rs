//! `cofferdam operator push`, `list`, `inspect`, `rm` and `tag`: the artifacts of a server.

use std::{fs, path::Path, time::Duration};

use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use super::{
    Server,
    args::{AtServer, OperatorRef, VersionRef},
    fields, keys,
    operator_args::{InspectArgs, PushArgs, RemoveArgs, TagArgs},
    text, words,
};
use crate::{
    cli::{
        authoring::build::component_of,
        exit::Exit,
        human::{self, table},
        terminal,
    },
    client::Request,
    ids::{ArtifactName, Hex, VersionName},
};

/// What helps where a version of a project is there already, with other bytes.
const ANOTHER_VERSION: &str = "operator.toml says which version it is: raise `version` there, or name \
                               another one with --version VERSION";

/// An upload is checked and compiled before it is answered.
const UPLOADING: Duration = Duration::from_secs(300);

pub(in crate::cli) fn push(args: &PushArgs) -> Result<Exit, Exit> {
    let refuse = |what: &str| {
        terminal::say(&format!("error: {what}"));
        Exit::Usage
    };
    let server = Server::of(&args.at.server)?;
    let (project, file) = match args.file.is_dir() {
        true => component_of(&args.file, args.no_build).map(|(of, file)| (Some(of), file))?,
        false => (None, args.file.clone()),
    };
    let bytes = fs::read(&file)
        .map_err(|error| refuse(&format!("cannot read {}: {error}", file.display())))?;
    let name = match (&args.name, &project) {
        (Some(name), _) => name.clone(),
        (None, Some(project)) => project.name.clone(),
        (None, None) => name_of(&file).map_err(|why| refuse(&why))?,
    };
    let version = match (&args.version, &project) {
        (Some(version), _) => version.clone(),
        (None, Some(project)) => project.version.clone(),
        (None, None) => version_of(&bytes),
    };
    let signature = keys::signature_of(args, &file, &bytes)?;
    let mut request =
        Request::put(&["v1", "artifacts", name.as_str(), "versions", version.as_str()])
            .query_if("tenant", server.tenant.as_ref());
    if let Some(signature) = signature {
        request = request.header(keys::HEADER, &signature.to_string());
    }
    let request = request.body("application/wasm", bytes).patience(UPLOADING);
    let answer = server.ask(&request).inspect_err(|exit| {
        if project.is_some() && args.version.is_none() && *exit == Exit::JobFailed {
            terminal::say(ANOTHER_VERSION);
        }
    })?;
    if let Some(tag) = &args.tag {
        let _ = server.ask(&tagging(&server, &name, tag, &version))?;
    }
    super::show(args.at.json, &answer.json, |pushed| {
        let done = if answer.status == 201 { "pushed" } else { "it was there already:" };
        let size = human::bytes(pushed["size"].as_f64().unwrap_or(0.0));
        let tagged = match &args.tag {
            Some(tag) => format!(", and `{tag}` points to it"),
            None => String::new(),
        };
        let signed = match pushed["signed"]["name"].as_str() {
            Some(key) => format!(", signed with `{key}`"),
            None => String::new(),
        };
        let mut shown = format!(
            "{done} {name}@{version} ({size}){tagged}{signed}: {} of {}\n",
            text(&pushed["inspection"]["kind"]),
            text(&pushed["inspection"]["contract"]),
        );
        if pushed["hides_built_in"] == true {
            shown += &format!(
                "an operator `{name}` comes with the program, too: a job file that names no version \
                 gets yours\n"
            );
        }
        if let (Some(why), false) = memory_not_saved(&pushed["inspection"]) {
            shown += &format!("its memory cannot be saved without its help: {why}\n");
        }
        shown
    })
}

fn name_of(file: &Path) -> Result<ArtifactName, String> {
    let stem = file.file_stem().and_then(|stem| stem.to_str()).unwrap_or_default();
    ArtifactName::new(stem)
        .map_err(|bad| format!("the file's name is none for an operator ({bad}); give --name"))
}

fn version_of(bytes: &[u8]) -> VersionName {
    let digits = Hex(&Sha256::digest(bytes)[..6]).to_string();
    VersionName::new(digits).expect("hexadecimal digits can name a version")
}

fn tagging(
    server: &Server,
    name: &ArtifactName,
    tag: &VersionName,
    version: &VersionName,
) -> Request {
    Request::put(&["v1", "artifacts", name.as_str(), "tags", tag.as_str()])
        .query_if("tenant", server.tenant.as_ref())
        .json(&json!({"version": version}))
}

pub(in crate::cli) fn list(at: &AtServer) -> Result<Exit, Exit> {
    let server = Server::of(&at.server)?;
    let request = Request::get(&["v1", "artifacts"]).query_if("tenant", server.tenant.as_ref());
    let answer = server.ask(&request)?;
    super::show(at.json, &answer.json, |answer| {
        // What somebody has uploaded is looked for more often.
        let mut artifacts: Vec<_> = answer["artifacts"].as_array().into_iter().flatten().collect();
        artifacts.sort_by_key(|artifact| artifact["built_in"] == true);
        versions_table(artifacts.into_iter())
    })
}

fn versions_table<'a>(artifacts: impl Iterator<Item = &'a Value>) -> String {
    let mut rows = Vec::new();
    for artifact in artifacts {
        for version in artifact["versions"].as_array().into_iter().flatten() {
            rows.push(vec![
                text(&artifact["name"]).to_owned(),
                text(&version["version"]).to_owned(),
                tags_of(artifact, text(&version["version"])),
                text(&version["inspection"]["kind"]).to_owned(),
                uploaded(version),
                human::bytes(version["size"].as_f64().unwrap_or(0.0)),
            ]);
        }
    }
    table(&["NAME", "VERSION", "TAGS", "KIND", "UPLOADED", "SIZE"], &rows, 5)
}

/// When a version was uploaded, if anybody had to.
fn uploaded(version: &Value) -> String {
    match version["built_in"].as_bool() {
        Some(true) => "with the program".to_owned(),
        _ => human::time(version["uploaded_at"].as_i64().unwrap_or(0)),
    }
}

/// The tags of an artifact that point to a version.
fn tags_of(artifact: &Value, version: &str) -> String {
    let tags = artifact["tags"].as_object().into_iter().flatten();
    let here = tags.filter(|(_, to)| text(to) == version).map(|(tag, _)| tag.as_str());
    let shown = here.collect::<Vec<_>>().join(", ");
    if shown.is_empty() { "-".to_owned() } else { shown }
}

pub(in crate::cli) fn inspect(args: &InspectArgs, operator: &OperatorRef) -> Result<Exit, Exit> {
    let server = Server::of(&args.at.server)?;
    let name = operator.name.as_str();
    let request = match &operator.version {
        Some(version) => Request::get(&["v1", "artifacts", name, "versions", version.as_str()]),
        None => Request::get(&["v1", "artifacts", name]),
    };
    let answer = server.ask(&request.query_if("tenant", server.tenant.as_ref()))?;
    super::show(args.at.json, &answer.json, |found| match &operator.version {
        Some(_) => version_text(found),
        None => versions_table(std::iter::once(found)),
    })
}

fn version_text(version: &Value) -> String {
    let inspection = &version["inspection"];
    let yes = |value: &Value| if value == true { "yes" } else { "no" }.to_owned();
    let imports = words(&inspection["imports"]);
    let memory = match memory_not_saved(inspection) {
        (None, _) => "yes".to_owned(),
        (Some(_), true) => "no, and need not be: state by key is the host's".to_owned(),
        (Some(why), false) => format!("no: {why}"),
    };
    fields(&[
        ("operator", format!("{}@{}", text(&version["name"]), text(&version["version"]))),
        ("tenant", text(&version["tenant"]).to_owned()),
        ("digest", text(&version["digest"]).to_owned()),
        ("size", human::bytes(version["size"].as_f64().unwrap_or(0.0))),
        ("uploaded", uploaded(version)),
        ("signed", signed(&version["signed"])),
        ("kind", text(&inspection["kind"]).to_owned()),
        ("contract", text(&inspection["contract"]).to_owned()),
        ("exports", words(&inspection["exports"])),
        ("imports", if imports.is_empty() { "nothing".to_owned() } else { imports }),
        ("written in", words(&inspection["languages"])),
        ("made with", words(&inspection["processed_by"])),
        ("says its state itself", yes(&inspection["snapshot"])),
        ("memory can be saved", memory),
    ])
}

/// Why its memory cannot be saved, if it cannot; and whether that makes no difference.
fn memory_not_saved(inspection: &Value) -> (Option<String>, bool) {
    let why = words(&inspection["memory_not_saved_because"]);
    ((!why.is_empty()).then_some(why), inspection["kind"] == "keyed-processor")
}

fn signed(signed: &Value) -> String {
    match signed["key"].as_str() {
        Some(key) => format!("with `{}`, key {key}", text(&signed["name"])),
        None => "no".to_owned(),
    }
}

pub(in crate::cli) fn remove(args: &RemoveArgs) -> Result<Exit, Exit> {
    let server = Server::of(&args.at.server)?;
    let VersionRef { name, version } = &args.operator;
    let request =
        Request::delete(&["v1", "artifacts", name.as_str(), "versions", version.as_str()])
            .query_if("tenant", server.tenant.as_ref())
            .query_if("force", args.force.then_some("true"));
    let answer = server.ask(&request)?;
    super::show(args.at.json, &answer.json, |_| format!("deleted {name}@{version}\n"))
}

pub(in crate::cli) fn tag(args: &TagArgs) -> Result<Exit, Exit> {
    let server = Server::of(&args.at.server)?;
    let VersionRef { name, version } = &args.operator;
    let answer = server.ask(&tagging(&server, name, &args.tag, version))?;
    super::show(args.at.json, &answer.json, |tag| {
        format!("{name}@{} is {name}@{}\n", args.tag, text(&tag["version"]))
    })
}
