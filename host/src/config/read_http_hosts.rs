//! Reads `http_hosts` and `http_roots` of an `[[operator]]`: where it may send HTTP
//! requests to, and whom it trusts there. Certificates are read here, once: a hardened
//! process cannot read them any more.

use std::{
    fs::{self, File},
    io::Read as _,
    net::Ipv6Addr,
    path::Path,
};

use rustls::{
    RootCertStore,
    pki_types::{CertificateDer, pem::PemObject as _},
};

use super::{
    errors::Place,
    job::HttpHost,
    node::{Entry, Node, Value},
    read::Surroundings,
    section::{self, Read, Refusal},
};

/// How many hosts an operator may have.
const MOST: usize = 64;
/// The longest name of a host, in bytes.
const LONGEST_NAME: usize = 253;
/// How long a file of certificates may be: five times what browsers come with.
const MOST_OF_ROOTS: u64 = 1 << 20;
/// What a file of certificates is.
pub(super) const PEM: &str = "a PEM file of certificates: -----BEGIN CERTIFICATE-----";
const EXAMPLE: &str = "http_hosts = [\"api.example.com\", \"localhost:8080\"]";

/// All entries that are sound; mistakes are noted. `granted` says whether the operator
/// may send requests at all.
pub(super) fn read(entry: Entry, granted: bool, around: &Surroundings<'_>) -> Vec<HttpHost> {
    let problems = around.problems;
    let Value::List(items) = &entry.node.value else {
        let what = entry.node.describe();
        let message = format!("`http_hosts` must be a list of hosts, not {what}");
        problems.add(&entry.node.place, message, Some(format!("write `{EXAMPLE}`")));
        return Vec::new();
    };
    if !granted && !items.is_empty() {
        let help = "add \"wasi-http\" to the operator's `grants`".to_owned();
        let message = "`http_hosts` are of no use without the grant to reach them".to_owned();
        problems.add(&entry.key_place, message, Some(help));
    }
    if granted && items.is_empty() {
        missing(&entry.node.place, around);
    }
    if items.len() > MOST {
        let message = format!("`http_hosts` has {} entries, and may have {MOST}", items.len());
        problems.add(&entry.key_place, message, None);
        return Vec::new();
    }
    let mut hosts: Vec<HttpHost> = Vec::new();
    for item in items {
        let host = host(item).and_then(|host| {
            if hosts.contains(&host) {
                return Err(Refusal::new(format!("is {}, as one before it", item.describe())));
            }
            Ok(host)
        });
        match host {
            Ok(host) => hosts.push(host),
            Err(Refusal { message, help, .. }) => {
                problems.add(&item.place, format!("an entry of `http_hosts` {message}"), help);
            }
        }
    }
    hosts
}

/// Notes that the grant is there and no host is, at the one or the other.
pub(super) fn missing(place: &Place, around: &Surroundings<'_>) {
    let message = "the grant \"wasi-http\" is of no use without a host to reach".to_owned();
    around.problems.add(place, message, Some(format!("add `{EXAMPLE}`")));
}

/// The certificates of a PEM file that an operator trusts. `granted` as above.
pub(super) fn roots(
    node: &Node,
    operator: &str,
    granted: bool,
    around: &Surroundings<'_>,
) -> Read<Vec<CertificateDer<'static>>> {
    if !granted {
        return Err(Refusal::new("is of no use without the grant to send requests")
            .with_help("add \"wasi-http\" to the operator's `grants`"));
    }
    let path = around.folder.path(node)?;
    certificates(&path).map_err(|why| {
        Refusal::new(format!("of `{operator}` names {}, {why}", around.folder.shown(&path)))
            .with_help(PEM)
    })
}

/// The certificates of a PEM file that a sink trusts.
pub(super) fn ca(node: &Node, around: &Surroundings<'_>) -> Read<Vec<CertificateDer<'static>>> {
    let path = around.folder.path(node)?;
    certificates(&path).map_err(|why| {
        Refusal::new(format!("names {}, {why}", around.folder.shown(&path))).with_help(PEM)
    })
}

/// The certificates of a PEM file; or why there are none, to be read after its name.
pub(super) fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, String> {
    // Others could be without an end, or a beginning.
    if fs::metadata(path).is_ok_and(|found| !found.is_file()) {
        return Err("which is no file".to_owned());
    }
    let mut pem = Vec::new();
    let read = File::open(path).and_then(|file| file.take(MOST_OF_ROOTS + 1).read_to_end(&mut pem));
    if let Err(error) = read {
        return Err(format!("which cannot be read: {error}"));
    }
    if pem.len() as u64 > MOST_OF_ROOTS {
        return Err("which is longer than 1 MiB".to_owned());
    }
    let mut roots = Vec::new();
    for (index, root) in CertificateDer::pem_slice_iter(&pem).enumerate() {
        let number = index + 1;
        let root = root.map_err(|e| format!("whose certificate {number} is broken: {e}"))?;
        RootCertStore::empty()
            .add(root.clone())
            .map_err(|e| format!("whose certificate {number} is of no use: {e}"))?;
        roots.push(root);
    }
    if roots.is_empty() {
        return Err("which has no certificate".to_owned());
    }
    Ok(roots)
}

/// `NAME` or `NAME:PORT`.
pub(super) fn host(node: &Node) -> Read<HttpHost> {
    let text = section::text(node)?;
    let refuse = |why: &str, help: &str| {
        Err(Refusal::new(format!("{why}, and is {}", node.describe())).with_help(help.to_owned()))
    };
    let only_a_name = "a name and maybe a port: \"api.example.com\", \"localhost:8080\"";
    if text.contains(['/', '@', '?', '#']) {
        return refuse("must be a host, not an address of a page", only_a_name);
    }
    if text.contains('*') {
        return refuse("must be one host: there are no wildcards", "list each of them");
    }
    // The colons of an IPv6 address are in brackets.
    let (name, port) = match text.rsplit_once(':') {
        Some((name, port)) if !port.contains(']') => (name, Some(port)),
        _ => (text.as_str(), None),
    };
    let port = match port.map(str::parse::<u16>) {
        None => None,
        Some(Ok(port)) if port > 0 => Some(port),
        Some(_) => return refuse("must have a port from 1 to 65535", only_a_name),
    };
    if !is_name(name) {
        return refuse(
            "must have a name of letters, digits, `-`, `_` and `.`, or an address, of IPv6 in \
             brackets",
            only_a_name,
        );
    }
    Ok(HttpHost { name: HttpHost::plain_name(name), port })
}

fn is_name(name: &str) -> bool {
    if let Some(rest) = name.strip_prefix('[') {
        return rest.strip_suffix(']').is_some_and(|text| text.parse::<Ipv6Addr>().is_ok());
    }
    let plain = |b: u8| b.is_ascii_alphanumeric() || b == b'-' || b == b'_';
    name.len() <= LONGEST_NAME
        && name.split('.').all(|label| !label.is_empty() && label.bytes().all(plain))
}

#[cfg(test)]
mod tests {
    use std::{fs, path::Path};

    use crate::config::{self, job::HttpHost};

    fn parse(lines: &str) -> Result<Vec<HttpHost>, String> {
        let job = format!(
            "[job]\nname = 'j'\n[[source]]\nname = 'in'\nconnector = 'stdin'\n\
             [[operator]]\nname = 'op'\nartifact = 'x'\ninput = 'in'\n{lines}\n\
             [[sink]]\nname = 'out'\ninput = 'op'\nconnector = 'discard'\n"
        );
        let spec =
            config::parse(&job, Path::new("job.toml"), &[]).map_err(|errors| errors.to_string())?;
        Ok(spec.operators[0].http_hosts.clone())
    }

    const GRANTED: &str = "grants = ['wasi-http']; ";

    fn lines(text: &str) -> String {
        text.replace("; ", "\n")
    }

    #[test]
    fn hosts_have_a_name_in_lower_case_and_a_port() {
        let text = "http_hosts = ['API.example.com', 'localhost:8080', '[0::1]:81', '10.0.0.1']";
        let host = |name: &str, port| HttpHost { name: name.to_owned(), port };
        assert_eq!(
            parse(&lines(&format!("{GRANTED}{text}"))),
            Ok(vec![
                host("api.example.com", None),
                host("localhost", Some(8080)),
                host("::1", Some(81)),
                host("10.0.0.1", None),
            ])
        );
        assert_eq!(parse("http_hosts = []"), Ok(vec![]));
    }

    #[test]
    fn every_mistake_about_http_hosts_is_told_with_its_line_and_what_to_do() {
        for (hosts, said, help) in [
            ("'a'", "a list of hosts, not \"a\"", "http_hosts = ["),
            ("[]", "of no use without a host", "add `http_hosts = ["),
            ("[80]", "must be text, not 80", ""),
            ("['http://a/']", "not an address of a page", "a name and maybe a port"),
            ("['https://a']", "not an address of a page", "a name and maybe a port"),
            ("['a/b']", "not an address of a page", "a name"),
            ("['me@a']", "not an address of a page", "a name"),
            ("['*.example.com']", "there are no wildcards", "list each"),
            ("['a:0']", "a port from 1 to 65535", "a name"),
            ("['a:65536']", "a port from 1 to 65535", "a name"),
            ("['a:']", "a port from 1 to 65535", "a name"),
            ("['']", "must have a name", "a name"),
            ("['a.']", "must have a name", "a name"),
            ("['a b']", "must have a name", "a name"),
            ("['::1']", "must have a name", "in brackets"),
            ("['[a]:1']", "must have a name", "a name"),
            ("['a', 'A']", "as one before it", ""),
            ("['a:80', 'A:80']", "as one before it", ""),
        ] {
            let text = lines(&format!("{GRANTED}http_hosts = {hosts}"));
            let errors = parse(&text).unwrap_err();
            assert!(errors.contains(said) && errors.contains(help), "{hosts}: {errors}");
            assert!(errors.contains("job.toml:11:"), "{errors}");
            assert!(
                errors.contains("1 error") || errors.matches("error:").count() == 1,
                "{errors}"
            );
        }
        let many = (0..65).map(|i| format!("'h{i}'")).collect::<Vec<_>>().join(", ");
        let errors = parse(&lines(&format!("{GRANTED}http_hosts = [{many}]"))).unwrap_err();
        assert!(errors.contains("may have 64"), "{errors}");
    }

    #[test]
    fn every_mistake_about_http_roots_names_the_file_the_operator_and_the_line() {
        let dir = tempfile::tempdir().unwrap();
        let broken = "-----BEGIN CERTIFICATE-----\n*\n-----END CERTIFICATE-----\n";
        let no_certificate = broken.replace('*', "AAAA");
        fs::write(dir.path().join("broken.pem"), broken).unwrap();
        fs::write(dir.path().join("other.pem"), no_certificate).unwrap();
        fs::write(dir.path().join("text.pem"), "not PEM\n").unwrap();
        fs::write(dir.path().join("long.pem"), vec![b'x'; (1 << 20) + 1]).unwrap();
        let errors = |grants: &str, file: &str| {
            let job = format!(
                "[job]\nname = 'j'\n[[source]]\nname = 'in'\nconnector = 'stdin'\n\
                 [[operator]]\nname = 'op'\nartifact = 'x'\ninput = 'in'\n{grants}\n\
                 http_roots = '{file}'\n\
                 [[sink]]\nname = 'out'\ninput = 'op'\nconnector = 'discard'\n"
            );
            config::parse(&job, &dir.path().join("job.toml"), &[]).unwrap_err().to_string()
        };
        for (file, said) in [
            ("broken.pem", "whose certificate 1 is broken"),
            ("other.pem", "whose certificate 1 is of no use"),
            ("text.pem", "which has no certificate"),
            ("long.pem", "longer than 1 MiB"),
            ("gone.pem", "cannot be read"),
            (".", "which is no file"),
        ] {
            let errors = errors("grants = ['wasi-http']\nhttp_hosts = ['a']", file);
            for part in [said, file, "`op`", "`http_roots`", "job.toml:12:"] {
                assert!(errors.contains(part), "{file}: {part}: {errors}");
            }
        }
        let errors = errors("grants = ['wasi']", "text.pem");
        assert!(errors.contains("of no use without the grant"), "{errors}");
    }

    #[test]
    fn hosts_and_their_grant_are_of_no_use_without_each_other() {
        for grants in ["", "grants = ['wasi']; "] {
            let errors = parse(&lines(&format!("{grants}http_hosts = ['a']"))).unwrap_err();
            assert!(errors.contains("without the grant to reach them"), "{errors}");
            assert!(errors.contains("add \"wasi-http\""), "{errors}");
        }
        let errors = parse(&lines(GRANTED)).unwrap_err();
        assert!(errors.contains("of no use without a host"), "{errors}");
        assert!(errors.contains("job.toml:10:"), "{errors}");
        // A mistake in the grants is told, and not what would follow from it.
        let errors = parse("grants = ['wasi-htp']\nhttp_hosts = ['a']").unwrap_err();
        assert!(!errors.contains("of no use"), "{errors}");
    }
}
