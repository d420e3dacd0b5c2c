//! Reads a `[[sink]]`.

use std::path::Path;

use super::{
    graph::{Graph, Kind},
    job::{Compression, FileOutput, OutputRef, SinkConnector, SinkSpec},
    node::{Node, Value},
    read::Surroundings,
    section::{self, Refusal, Section},
    webhook,
};

#[derive(Clone, Copy)]
enum Connector {
    Csv,
    JsonLines,
    Lines,
    Stdout,
    Discard,
    Http,
}

const CONNECTORS: &[(&str, Connector)] = &[
    ("csv", Connector::Csv),
    ("jsonl", Connector::JsonLines),
    ("lines", Connector::Lines),
    ("stdout", Connector::Stdout),
    ("discard", Connector::Discard),
    ("http", Connector::Http),
];

const COMPRESSIONS: &[(&str, Compression)] =
    &[("none", Compression::None), ("gzip", Compression::Gzip), ("zstd", Compression::Zstd)];

pub(super) fn read(node: Node, around: &Surroundings<'_>, graph: &mut Graph) -> Option<SinkSpec> {
    let mut section = Section::new("[[sink]]", node, around.problems)?;
    let name = graph.name(&mut section, Kind::Sink);
    let inputs = read_inputs(&mut section, graph);
    let parallelism = section.get("parallelism", section::integer(1..=around.max_parallelism));
    let kind = section.require("connector", "connector = \"jsonl\"", |node| {
        let kind = section::one_of(CONNECTORS)(node)?;
        if matches!(kind, Connector::Stdout) && around.folder.is_walled() {
            return Err(Refusal::new("cannot be \"stdout\" on a server")
                .with_help("write a file in the tenant's directory: \"jsonl\""));
        }
        Ok(kind)
    });
    // Without it, nobody knows which other keys there may be.
    let connector = match kind? {
        Connector::Csv => {
            let file = read_file(&mut section, around);
            let columns = section.require("columns", "columns = [\"name\"]", |node| {
                let names = section::list(section::text)(node)?;
                match names.is_empty() {
                    true => Err(Refusal::new("must name at least one column")),
                    false => Ok(names),
                }
            });
            let delimiter = section.get("delimiter", section::delimiter).unwrap_or(b',');
            file.zip(columns).map(|(file, columns)| SinkConnector::Csv { file, columns, delimiter })
        }
        Connector::JsonLines => read_file(&mut section, around).map(SinkConnector::JsonLines),
        Connector::Lines => read_file(&mut section, around).map(SinkConnector::Lines),
        Connector::Stdout => {
            let key = section.get("key", section::boolean).unwrap_or(false);
            Some(SinkConnector::Stdout { key })
        }
        Connector::Discard => Some(SinkConnector::Discard),
        Connector::Http => {
            webhook::read(&mut section, around).map(|spec| SinkConnector::Http(Box::new(spec)))
        }
    };
    section.finish();
    Some(SinkSpec {
        name: name?,
        inputs: inputs?,
        parallelism: parallelism.unwrap_or(1),
        connector: connector?,
    })
}

/// A sink has one input port, into which everything is merged.
fn read_inputs(section: &mut Section<'_>, graph: &mut Graph) -> Option<Vec<OutputRef>> {
    if !section.one_of_two("input", "inputs") {
        return None;
    }
    if !section.has("inputs") {
        section.take("inputs");
        let one = section.require("input", "input = \"NAME\"", |node| graph.reference(node));
        return one.map(|output| vec![output]);
    }
    section.take("input");
    section.get("inputs", |node| match &node.value {
        Value::List(items) if items.is_empty() => {
            Err(Refusal::new("is empty: a sink needs at least one input"))
        }
        Value::List(items) => items
            .iter()
            .map(|item| graph.reference(item).map_err(|refusal| refusal.at(&item.place)))
            .collect(),
        _ => Err(Refusal::new(format!("must be a list, not {}", node.describe()))
            .with_help("for a single one, write `input = \"NAME\"`")),
    })
}

fn read_file(section: &mut Section<'_>, around: &Surroundings<'_>) -> Option<FileOutput> {
    let path = section.require("path", "path = \"out/result.jsonl\"", |node| {
        let path = around.folder.path(node)?;
        match path.file_name() {
            Some(_) if !path.is_dir() => Ok(path),
            _ => Err(Refusal::new("must name a file, not a directory")),
        }
    });
    let compression = section.get("compression", section::one_of(COMPRESSIONS));
    let roll = section.get("roll", section::size(1..=i64::MAX.unsigned_abs()));
    path.map(|path| FileOutput {
        compression: compression.unwrap_or_else(|| told_by_extension(&path)),
        path,
        roll,
    })
}

fn told_by_extension(path: &Path) -> Compression {
    match path.extension().and_then(|extension| extension.to_str()) {
        Some("gz") => Compression::Gzip,
        Some("zst") => Compression::Zstd,
        _ => Compression::None,
    }
}
