//! What the service goes on needing of this machine once it listens: told to `hardening`, which
//! gives up the rest.

use std::path::{Path, PathBuf};

use crate::{catalog::shelf::Shelf, config::server::ServerSpec, hardening::Needs};

/// The data directory, the directories that job files may name beside it, the program itself as a
/// compiler, the operators of the shelf, the ports that operators may be granted, and that of the collector of traces. What is not there yet cannot be allowed:
/// the data directory must have been made.
#[must_use]
pub fn of_service(dir: &Path, spec: &ServerSpec, shelf: &Shelf) -> Needs {
    let files = spec.shared_files.iter().chain(spec.tenant_files.values().flatten());
    // A certificate that is renewed is another file in the same directory, or in the one that a
    // link leads to.
    let certificates = spec.tls.iter().flat_map(|tls| [&tls.certificate, &tls.key]);
    let certificates = certificates.flat_map(|file| [Some(file.clone()), file.canonicalize().ok()]);
    let beside = |file: PathBuf| file.parent().map(Path::to_owned);
    let collector = spec.traces.endpoint.as_ref();
    let of_shelf = shelf.iter().filter_map(|operator| operator.file().map(Path::to_owned));
    let mut needs = Needs {
        read: certificates.flatten().filter_map(beside).chain(of_shelf).collect(),
        list: Vec::new(),
        write: std::iter::once(dir.to_owned()).chain(files.cloned()).collect(),
        starts_itself: true,
        tcp_ports: spec.ports.clone(),
        looks_up_names: !spec.ports.is_empty(),
    };
    needs.add_host(collector.map(|at| (at.host.as_str(), at.port)));
    needs
}
