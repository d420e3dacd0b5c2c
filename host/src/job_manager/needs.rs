//! What a job goes on needing of the files of this machine, once its job file is
//! read: told to `hardening`, which gives up the rest. Directories that the job
//! would make are made here, since only what is there can be allowed.

use std::{
    fs,
    net::IpAddr,
    path::{Path, PathBuf},
};

use crate::{
    catalog,
    config::job::{FileInput, FileOutput, Grant, JobSpec, SinkConnector, SourceConnector},
    hardening::Needs,
    job_manager::{capsules, control::RunOptions},
    sandbox::{Compiler, make_private_dir},
};

/// What it takes to load and open a job's operators.
#[must_use]
pub fn of_operators(spec: &JobSpec, options: &RunOptions) -> Needs {
    let dirs = catalog::search_path(options.artifacts.as_deref());
    // Whatever is linked to by a name is allowed, and not all that lies beside it.
    let artifacts =
        spec.operators.iter().filter_map(|o| catalog::locate(&o.artifact, &dirs)?.file());
    let folders = spec.operators.iter().flat_map(|o| &o.folders).map(|folder| folder.path.clone());
    let senders = spec.operators.iter().filter(|o| o.grants.contains(&Grant::WasiHttp));
    let hosts: Vec<_> = senders.flat_map(|operator| &operator.http_hosts).collect();
    let mut needs = Needs {
        read: artifacts.chain(folders).collect(),
        list: dirs,
        write: Vec::new(),
        starts_itself: matches!(options.settings.compiler, Compiler::Child { .. }),
        tcp_ports: hosts.iter().flat_map(|host| host.ports()).collect(),
        looks_up_names: hosts.iter().any(|host| host.name.parse::<IpAddr>().is_err()),
    };
    // Without it, operators are compiled each time; that is told when it happens.
    let cache = options.settings.cache_dir.clone();
    needs.write.extend(cache.filter(|dir| make_private_dir(dir).is_ok()));
    needs
}

/// What it takes to run a job.
#[must_use]
pub fn of_run(spec: &JobSpec, options: &RunOptions) -> Needs {
    let mut needs = of_operators(spec, options);
    needs.read.extend(spec.sources.iter().filter_map(|s| input(&s.connector)).flatten().cloned());
    needs.read.extend(options.from_savepoint.clone());
    for sink in &spec.sinks {
        if let SinkConnector::Http(webhook) = &sink.connector {
            needs.tcp_ports.push(webhook.url.port);
            needs.looks_up_names |= webhook.url.host.parse::<IpAddr>().is_err();
        }
    }
    let outputs = spec.sinks.iter().filter_map(|sink| output(&sink.connector));
    let capsules = capsules::directory(spec.job.capsules, options);
    let directories = outputs.filter_map(directory_of).chain(options.state.clone()).chain(capsules);
    // One that cannot be made is told with its reason when it is used.
    needs.write.extend(directories.filter(|dir| fs::create_dir_all(dir).is_ok()));
    needs
}

fn input(connector: &SourceConnector) -> Option<&[PathBuf]> {
    let files: &FileInput = match connector {
        SourceConnector::Csv(csv) => &csv.files,
        SourceConnector::JsonLines(jsonl) => &jsonl.files,
        SourceConnector::Lines(files) => files,
        SourceConnector::Generator(_) | SourceConnector::Stdin | SourceConnector::Http(_) => {
            return None;
        }
    };
    Some(&files.paths)
}

fn output(connector: &SinkConnector) -> Option<&FileOutput> {
    match connector {
        SinkConnector::Csv { file, .. }
        | SinkConnector::JsonLines(file)
        | SinkConnector::Lines(file) => Some(file),
        SinkConnector::Stdout { .. } | SinkConnector::Discard | SinkConnector::Http(_) => None,
    }
}

/// Where the parts of a file are written and renamed; none if the path is no file's,
/// which the sink tells.
fn directory_of(output: &FileOutput) -> Option<PathBuf> {
    output.path.file_name()?;
    let parent = output.path.parent()?;
    Some(if parent == Path::new("") { PathBuf::from(".") } else { parent.to_owned() })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config;

    #[test]
    fn a_job_needs_its_inputs_its_artifacts_and_the_directories_of_its_outputs() {
        let dir = tempfile::tempdir().unwrap();
        for name in ["a.txt", "b.txt", "secret", "op.wasm"] {
            fs::write(dir.path().join(name), "").unwrap();
        }
        let job = "
[job]\nname = 'j'
[[source]]\nname = 'in'\nconnector = 'lines'\npath = '*.txt'
[[operator]]\nname = 'op'\nartifact = './op.wasm'\ninput = 'in'
[[sink]]\nname = 'out'\ninput = 'op'\nconnector = 'lines'\npath = 'made/for/it.txt'
[[sink]]\nname = 'none'\ninput = 'op'\nconnector = 'discard'\n";
        let spec = config::parse(job, &dir.path().join("job.toml"), &[]).unwrap();
        let state = dir.path().join("state");
        let options = RunOptions {
            state: Some(state.clone()),
            artifacts: Some(dir.path().join("shelf")),
            ..RunOptions::default()
        };
        let needs = of_run(&spec, &options);
        let mut read = needs.read.clone();
        read.sort();
        assert_eq!(read, ["a.txt", "b.txt", "op.wasm"].map(|name| dir.path().join(name)));
        assert_eq!(needs.list[0], dir.path().join("shelf"));
        let made = dir.path().join("made/for");
        assert!(needs.write.contains(&made) && needs.write.contains(&state), "{needs:?}");
        assert!(made.is_dir() && state.is_dir());
        assert!(!needs.starts_itself);
        // To check a job, nothing of its inputs and outputs is needed.
        let check = of_operators(&spec, &options);
        assert_eq!(check.read, [dir.path().join("op.wasm")]);
        assert!(!check.write.contains(&made));
        assert!(check.tcp_ports.is_empty() && !check.looks_up_names);
    }

    #[test]
    fn a_job_needs_the_ports_of_the_hosts_that_its_operators_may_reach() {
        for (hosts, ports, names) in [
            ("'127.0.0.1:8080', '[::1]'", vec![8080, 80, 443], false),
            ("'127.0.0.1:8080', 'localhost'", vec![8080, 80, 443], true),
        ] {
            let job = format!(
                "[job]\nname = 'j'\n[[source]]\nname = 'in'\nconnector = 'stdin'\n\
                 [[operator]]\nname = 'op'\nartifact = 'x'\ninput = 'in'\n\
                 grants = ['wasi-http']\nhttp_hosts = [{hosts}]\n\
                 [[sink]]\nname = 'out'\ninput = 'op'\nconnector = 'discard'\n"
            );
            let spec = config::parse(&job, Path::new("job.toml"), &[]).unwrap();
            let needs = of_operators(&spec, &RunOptions::default());
            assert_eq!((needs.tcp_ports, needs.looks_up_names), (ports, names), "{hosts}");
        }
    }
}
