//! The configuration of `cofferdam serve`: from the file and the environment, checked, shown; and
//! TLS, with certificates that are renewed while the server runs.

#![allow(clippy::unwrap_used, reason = "these are tests, their helpers too")]

use std::{
    io::{self, Read as _, Write as _},
    net::TcpStream,
    process::Output,
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use cofferdam_tests::{Place, Served, program};
use rustls::{
    ClientConfig, ClientConnection, RootCertStore, StreamOwned, crypto::ring,
    pki_types::CertificateDer,
};

const PATIENCE: Duration = Duration::from_secs(60);

fn config(place: &Place, what: &str, variables: &[(&str, &str)]) -> Output {
    let mut command = program();
    command.args(["config", what, "--config"]).arg(place.path("server.toml"));
    command.envs(variables.iter().copied()).output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

#[test]
fn a_configuration_is_shown_with_where_it_comes_from_and_what_is_shown_means_the_same() {
    let place = Place::new();
    place.write(
        "server.toml",
        "[jobs]\nmax_live = 7\nhistory = 8\n[limits.tenants.acme]\nburst = 9\n",
    );
    let variables = [("COFFERDAM_JOBS_HISTORY", "20"), ("COFFERDAM_SERVER_LISTEN", "[::1]:99")];
    let shown = config(&place, "show", &variables);
    assert!(shown.status.success(), "{shown:?}");
    let shown = text(&shown.stdout);
    let line = |key: &str| {
        let found = shown.lines().find(|line| line.starts_with(key)).unwrap_or_default();
        found.split_whitespace().collect::<Vec<_>>().join(" ")
    };
    let file = place.path("server.toml").display().to_string();
    assert_eq!(line("max_live"), format!("max_live = 7 # {file}:2"));
    assert_eq!(line("history"), "history = 20 # COFFERDAM_JOBS_HISTORY");
    assert_eq!(line("listen"), "listen = \"[::1]:99\" # COFFERDAM_SERVER_LISTEN");
    assert_eq!(line("keep"), "keep = 1000 # default");
    assert_eq!(line("acme"), format!("acme = {{ burst = 9 }} # {file}:4"));

    place.write("server.toml", &shown);
    let again = text(&config(&place, "show", &[]).stdout);
    let values = |text: &str| {
        let each = text.lines().map(|line| line.split("  #").next().unwrap().trim().to_owned());
        each.filter(|line| !line.starts_with('#')).collect::<Vec<_>>()
    };
    assert_eq!(values(&again), values(&shown));
}

#[test]
fn a_mistake_in_a_file_or_a_variable_is_told_by_check_and_by_serve() {
    let place = Place::new();
    place.write("server.toml", "[jobs]\nmax_life = 7\n");
    let checked = config(&place, "check", &[("COFFERDAM_AUDIT_KEEP", "many")]);
    assert_eq!(checked.status.code(), Some(2));
    let said = text(&checked.stderr);
    for part in ["did you mean `max_live`?", "server.toml:2:1", "COFFERDAM_AUDIT_KEEP=many"] {
        assert!(said.contains(part), "`{part}` is not in {said}");
    }
    let mut serve = program();
    serve.args(["serve", "--data"]).arg(place.path("data")).arg("--config");
    let served = serve.arg(place.path("server.toml")).output().unwrap();
    assert_eq!(served.status.code(), Some(2));
    assert!(text(&served.stderr).contains("did you mean `max_live`?"));
    place.write("server.toml", "[jobs]\nmax_live = 7\n");
    assert!(config(&place, "check", &[]).status.success());
}

#[test]
fn what_tells_the_command_line_about_a_server_configures_none() {
    let place = Place::new();
    place.write("server.toml", "");
    let of_clients = ["SERVER", "TOKEN", "TOKEN_FILE", "PROFILE", "CA", "DATA", "ARTIFACTS", "LOG"];
    let of_clients = of_clients.map(|name| format!("COFFERDAM_{name}"));
    let variables = of_clients.each_ref().map(|name| (name.as_str(), "error"));
    let shown = config(&place, "show", &variables);
    assert!(shown.status.success(), "{shown:?}");
    assert_eq!(text(&shown.stdout), text(&config(&place, "show", &[]).stdout));
}

/// Writes a new certificate and its key, and gives what a client is to trust.
fn renew(place: &Place) -> CertificateDer<'static> {
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    // As it is done: the new file takes the name of the old one.
    for (name, pem) in [("key", made.signing_key.serialize_pem()), ("cert", made.cert.pem())] {
        place.write(&format!("{name}.new"), &pem);
        std::fs::rename(place.path(&format!("{name}.new")), place.path(&format!("{name}.pem")))
            .unwrap();
    }
    made.cert.der().clone()
}

/// What is answered to who trusts this certificate alone.
fn get(served: &Served, trusted: &CertificateDer<'static>) -> io::Result<String> {
    let mut roots = RootCertStore::empty();
    roots.add(trusted.clone()).unwrap();
    let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let name = "localhost".try_into().unwrap();
    let connection = ClientConnection::new(Arc::new(config), name).unwrap();
    let stream = TcpStream::connect(served.address())?;
    stream.set_read_timeout(Some(PATIENCE))?;
    let mut stream = StreamOwned::new(connection, stream);
    let token = &served.token;
    write!(
        stream,
        "GET /v1/jobs HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\
         authorization: Bearer {token}\r\n\r\n"
    )?;
    let mut answer = String::new();
    match stream.read_to_string(&mut answer) {
        Err(error) if answer.is_empty() => Err(error),
        _ => Ok(answer),
    }
}

#[test]
fn with_a_certificate_there_is_tls_alone_and_a_renewed_one_is_used_without_a_restart() {
    let place = Place::new();
    let first = renew(&place);
    let text =
        "[server]\nread_timeout = '500ms'\n[tls]\ncertificate = 'cert.pem'\nkey = 'key.pem'\n";
    place.write("server.toml", text);
    let file = place.path("server.toml").display().to_string();
    let served = Served::start(&place.path("data"), &["--config", &file]);
    let answer = get(&served, &first).unwrap();
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    // So is the command line, if it trusts it.
    let port = served.address().rsplit(':').next().unwrap();
    let mut list = program();
    list.args(["token", "list", "--json", "--server", &format!("https://localhost:{port}")]);
    list.args(["--token", &served.token, "--ca"]).arg(place.path("cert.pem"));
    let listed = list.output().unwrap();
    assert!(listed.status.success(), "{listed:?}");
    // Who speaks without TLS gets no answer of HTTP; who says nothing is not waited for.
    let mut plain = TcpStream::connect(served.address()).unwrap();
    plain.set_read_timeout(Some(PATIENCE)).unwrap();
    plain.write_all(b"GET /healthz HTTP/1.1\r\nhost: localhost\r\n\r\n").unwrap();
    let mut got = Vec::new();
    let _ = plain.read_to_end(&mut got);
    assert!(!got.starts_with(b"HTTP"), "{got:?}");
    let mut silent = TcpStream::connect(served.address()).unwrap();
    silent.set_read_timeout(Some(PATIENCE)).unwrap();
    assert_eq!(silent.read_to_end(&mut Vec::new()).unwrap(), 0);

    let other = renew(&place);
    #[expect(clippy::disallowed_methods, reason = "a test's patience ends by the real time")]
    let begun = Instant::now();
    while get(&served, &other).is_err() {
        assert!(begun.elapsed() < PATIENCE, "the new certificate is not used");
        thread::sleep(Duration::from_millis(50));
    }
    assert!(get(&served, &first).is_err());
    let _ = served.terminate();
}

#[test]
fn a_certificate_that_cannot_be_used_is_refused_at_the_start() {
    let place = Place::new();
    let _ = renew(&place);
    place.write("key.pem", "nonsense");
    place.write("server.toml", "[tls]\ncertificate = 'cert.pem'\nkey = 'key.pem'\n");
    let mut serve = program();
    serve.args(["serve", "--listen", "127.0.0.1:0", "--data"]).arg(place.path("data"));
    let ended = serve.arg("--config").arg(place.path("server.toml")).output().unwrap();
    assert_eq!(ended.status.code(), Some(2));
    let said = text(&ended.stderr);
    assert!(said.contains("key.pem of `[tls]` cannot be used"), "{said}");
}
