//! Reads an `[[operator]]`.

use std::time::Duration;

use super::{
    graph::{Graph, Kind},
    job::{
        ArtifactRef, CpuShare, EXPR, Grant, OperatorSpec, OutputRef, PoisonPolicy, StateKeeping,
        WindowAssigner, WindowSpec,
    },
    node::{Node, Value},
    read::Surroundings,
    read_folders, read_http_hosts,
    section::{self, Read, Refusal, Section},
};
use crate::ids::{ArtifactName, InvalidName, OperatorName, PortName, VersionName};

/// A page of Wasm memory: with less, nothing runs.
const LEAST_MEMORY: u64 = 64 << 10;
/// What a 32-bit guest can address.
const MOST_MEMORY: u64 = 4 << 30;

pub(super) const GRANTS: &[(&str, Grant)] = &[
    ("log", Grant::Log),
    ("config", Grant::Config),
    ("metrics", Grant::Metrics),
    ("wasi", Grant::Wasi),
    ("wasi-clocks", Grant::WasiClocks),
    ("wasi-random", Grant::WasiRandom),
    ("wasi-stdio", Grant::WasiStdio),
    ("wasi-filesystem", Grant::WasiFilesystem),
    ("wasi-http", Grant::WasiHttp),
];

const POISON: &[(&str, PoisonPolicy)] =
    &[("dead-letter", PoisonPolicy::DeadLetter), ("fail", PoisonPolicy::Fail)];

const STATES: &[(&str, StateKeeping)] = &[
    ("fold", StateKeeping::Fold),
    ("export", StateKeeping::Export),
    ("memory", StateKeeping::Memory),
];

pub(super) fn read(
    node: Node,
    around: &Surroundings<'_>,
    graph: &mut Graph,
) -> Option<OperatorSpec> {
    let mut section = Section::new("[[operator]]", node, around.problems)?;
    let name = graph.name(&mut section, Kind::Operator);
    let (artifact, expressions) = read_artifact(&mut section, around);
    let ports = section.get("ports", ports).unwrap_or_default();
    // A window with a mistake in it is still one.
    graph.offers(&ports, section.has("window"));
    let window = section.table("window").and_then(read_window);
    let inputs = read_inputs(&mut section, graph);
    let parallelism = section.get("parallelism", section::integer(1..=around.max_parallelism));
    let memory = section
        .get("memory", section::memory_size(LEAST_MEMORY..=MOST_MEMORY))
        .unwrap_or(256 << 20);
    let state = section.get("state", section::one_of(STATES));
    let deadline = section.get("deadline", section::millis).unwrap_or(Duration::from_secs(30));
    let cpu_cap = section.get("cpu_cap", cpu_share);
    let poison = section.get("poison", section::one_of(POISON)).unwrap_or_default();
    let grants_wrong = section.has("grants");
    let grants = section.get_placed("grants", section::list(section::one_of(GRANTS)));
    let grants_wrong = grants_wrong && grants.is_none();
    let has = |grant| grants.as_ref().is_some_and(|(grants, _)| grants.contains(&grant));
    let may_see = has(Grant::WasiFilesystem) || grants_wrong;
    let folders = section.take("folders");
    let folders = folders.map(|entry| read_folders::read(entry, may_see, around));
    let may_send = has(Grant::WasiHttp) || grants_wrong;
    let http_hosts = match section.take("http_hosts") {
        Some(entry) => read_http_hosts::read(entry, may_send, around),
        None => {
            if let Some((_, place)) = grants.as_ref().filter(|_| has(Grant::WasiHttp)) {
                read_http_hosts::missing(place, around);
            }
            Vec::new()
        }
    };
    let called = name.as_ref().map_or("an operator", OperatorName::as_str);
    let roots = |node: &Node| read_http_hosts::roots(node, called, may_send, around);
    let http_roots = section.get("http_roots", roots).unwrap_or_default();
    let config = section.get("config", config).or(expressions).unwrap_or_default();
    section.finish();
    Some(OperatorSpec {
        name: name?,
        artifact: artifact?,
        inputs: inputs?,
        parallelism,
        ports,
        window,
        memory,
        state,
        deadline,
        cpu_cap,
        poison,
        grants: grants
            .map_or_else(|| vec![Grant::Log, Grant::Config, Grant::Metrics], |(grants, _)| grants),
        folders: folders.unwrap_or_default(),
        http_hosts,
        http_roots,
        config,
    })
}

/// What the operator runs; and its configuration, if that is expressions.
fn read_artifact(
    section: &mut Section<'_>,
    around: &Surroundings<'_>,
) -> (Option<ArtifactRef>, Option<Config>) {
    if !section.has(EXPR) {
        let example = "artifact = \"filter\"` or `expr = { filter = \"…\" }";
        return (section.require("artifact", example, |node| artifact(node, around)), None);
    }
    let one_of_them = section.one_of_two("artifact", EXPR) && section.one_of_two("config", EXPR);
    if !one_of_them {
        return (None, None);
    }
    // Known, so that a slip of the finger is told.
    section.take("artifact");
    let expressions = section.get(EXPR, expressions);
    let name = ArtifactName::new(EXPR).ok();
    (name.map(|name| ArtifactRef::OfShelf { name, file: None }), expressions)
}

/// The table of expressions: what they may be is known to the operator that evaluates them.
fn expressions(node: &Node) -> Read<Config> {
    match &node.value {
        Value::Table(_) => config(node),
        _ => Err(Refusal::new(format!("must be a table, not {}", node.describe()))
            .with_help("write `expr = { filter = \"record.delay > 15\" }`")),
    }
}

fn artifact(node: &Node, around: &Surroundings<'_>) -> Read<ArtifactRef> {
    let text = section::text(node)?;
    if around.folder.is_walled() {
        return uploaded(&text);
    }
    if text.contains('/') || text.ends_with(".wasm") {
        return around.folder.file(node).map(ArtifactRef::Path);
    }
    let name = OperatorName::new(text).map_err(|bad| {
        Refusal::new(format!("is not a valid name: {}", bad.reason))
            .with_help("a name on the shelf, or a path to a .wasm file")
    })?;
    Ok(ArtifactRef::Named(name))
}

/// `NAME`, `NAME@VERSION` or `NAME@TAG`: what was uploaded to the service that reads the file.
fn uploaded(text: &str) -> Read<ArtifactRef> {
    if text.contains('/') || text.ends_with(".wasm") {
        return Err(Refusal::new("is a path, and a server takes no files of its own")
            .with_help("upload the component, and write its name: \"NAME@VERSION\""));
    }
    let (name, version) = match text.split_once('@') {
        Some((name, version)) => (name, Some(version)),
        None => (text, None),
    };
    let refuse = |bad: InvalidName| {
        Refusal::new(format!("is not a valid name: {}", bad.reason))
            .with_help("an artifact that was uploaded: \"NAME\", \"NAME@VERSION\" or \"NAME@TAG\"")
    };
    let name = ArtifactName::new(name).map_err(refuse)?;
    let version = version.map(VersionName::new).transpose().map_err(refuse)?;
    Ok(ArtifactRef::Uploaded { name, version, file: None })
}

/// A part of one core, in percent.
fn cpu_share(node: &Node) -> Read<CpuShare> {
    let refuse = || {
        Refusal::new(format!(
            "must be a percentage of one core, \"1%\" to \"100%\", not {}",
            node.describe()
        ))
    };
    let text = section::text(node).map_err(|_| refuse())?;
    let percent = text.strip_suffix('%').and_then(|text| text.trim().parse().ok());
    let percent: u32 = percent.ok_or_else(refuse)?;
    if (1..=100).contains(&percent) { Ok(CpuShare(percent * 10)) } else { Err(refuse()) }
}

fn ports(node: &Node) -> Read<Vec<PortName>> {
    let names = section::list(section::name::<PortName>)(node)?;
    for (index, name) in names.iter().enumerate() {
        let text = name.as_str();
        if matches!(text, "late" | "dead-letters") || text.bytes().all(|b| b.is_ascii_digit()) {
            return Err(Refusal::new(format!("cannot name a port `{text}`, which means another")));
        }
        if names[..index].contains(name) {
            return Err(Refusal::new(format!("names `{text}` twice")));
        }
    }
    Ok(names)
}

/// Each entry of `inputs` is an input port, and may merge several outputs.
fn read_inputs(section: &mut Section<'_>, graph: &mut Graph) -> Option<Vec<Vec<OutputRef>>> {
    if !section.one_of_two("input", "inputs") {
        return None;
    }
    if !section.has("inputs") {
        section.take("inputs");
        let one = section.require("input", "input = \"NAME\"", |node| placed(graph, node));
        return one.map(|output| vec![vec![output]]);
    }
    section.take("input");
    section.get("inputs", |node| {
        let Value::List(items) = &node.value else {
            return Err(Refusal::new(format!("must be a list, not {}", node.describe()))
                .with_help("for a single one, write `input = \"NAME\"`"));
        };
        if items.is_empty() {
            return Err(Refusal::new("is empty: an operator needs at least one input"));
        }
        items
            .iter()
            .map(|item| match &item.value {
                Value::List(merged) if merged.is_empty() => {
                    Err(Refusal::new("has an input port that nothing leads to").at(&item.place))
                }
                Value::List(merged) => merged.iter().map(|one| placed(graph, one)).collect(),
                _ => Ok(vec![placed(graph, item)?]),
            })
            .collect()
    })
}

fn placed(graph: &mut Graph, node: &Node) -> Read<OutputRef> {
    graph.reference(node).map_err(|refusal| refusal.at(&node.place))
}

type Config = serde_json::Map<String, serde_json::Value>;

fn config(node: &Node) -> Read<Config> {
    match node.to_json() {
        Ok(serde_json::Value::Object(map)) => Ok(map),
        Ok(_) => Err(Refusal::new(format!("must be a table, not {}", node.describe()))
            .with_help("write [operator.config] and its keys below")),
        Err((place, why)) => Err(Refusal::new(format!("is not possible: {why}")).at(&place)),
    }
}

#[derive(Clone, Copy)]
enum WindowType {
    Tumbling,
    Sliding,
    Session,
}

const WINDOW_TYPES: &[(&str, WindowType)] = &[
    ("tumbling", WindowType::Tumbling),
    ("sliding", WindowType::Sliding),
    ("session", WindowType::Session),
];

fn read_window(mut section: Section<'_>) -> Option<WindowSpec> {
    // Which keys there may be depends on the type: without it, read no further.
    let kind = section.require("type", "type = \"tumbling\"", section::one_of(WINDOW_TYPES))?;
    let assigner = match kind {
        WindowType::Tumbling => {
            let size = section.require("size", "size = \"1m\"", section::millis);
            let offset = read_offset(&mut section, size, "size");
            size.map(|size| WindowAssigner::Tumbling { size, offset })
        }
        WindowType::Sliding => {
            let size = section.require("size", "size = \"1m\"", section::millis);
            let slide = section.require("slide", "slide = \"10s\"", |node| {
                let slide = section::millis(node)?;
                match size {
                    Some(size) if slide > size => {
                        Err(Refusal::new(format!("must be at most the window's size, {size:?}")))
                    }
                    _ => Ok(slide),
                }
            });
            let offset = read_offset(&mut section, slide, "slide");
            size.zip(slide).map(|(size, slide)| WindowAssigner::Sliding { size, slide, offset })
        }
        WindowType::Session => section
            .require("gap", "gap = \"30m\"", section::millis)
            .map(|gap| WindowAssigner::Session { gap }),
    };
    let allowed_lateness = section.get("allowed_lateness", section::millis_or_zero);
    section.finish();
    Some(WindowSpec {
        assigner: assigner?,
        allowed_lateness: allowed_lateness.unwrap_or(Duration::ZERO),
    })
}

fn read_offset(section: &mut Section<'_>, limit: Option<Duration>, of: &str) -> Duration {
    let offset = section.get("offset", |node| {
        let offset = section::millis_or_zero(node)?;
        match limit {
            Some(limit) if offset >= limit => {
                Err(Refusal::new(format!("must be less than `{of}`, {limit:?}")))
            }
            _ => Ok(offset),
        }
    });
    offset.unwrap_or(Duration::ZERO)
}
