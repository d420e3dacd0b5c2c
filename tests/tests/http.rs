//! Outgoing HTTP: an operator reaches the hosts that it was granted and no other, and
//! what a server does to it stays within its own memory and time.

#![allow(clippy::unwrap_used, reason = "these are tests, their helpers too")]

use std::{
    fs,
    io::{self, Write as _},
    net::TcpListener,
    sync::Arc,
    thread,
    time::Duration,
};

use cofferdam::{
    config::job::{Grant, HttpHost},
    failure::{Failure, FailureKind},
    memory::SlotMeter,
    sandbox::{Instance, SlotSettings},
    stream::{Batch, BatchBuilder},
};
use cofferdam_tests::{
    Place, Server, guests,
    zoo::{Arena, settings},
};
use rustls::pki_types::{CertificateDer, pem::PemObject as _};

const GRANTS: [Grant; 4] = [Grant::Log, Grant::Config, Grant::Metrics, Grant::WasiHttp];

/// A slot with time enough for a request.
fn slot(hosts: &[(&str, u16)]) -> SlotSettings {
    let host =
        |(name, port): &(&str, u16)| HttpHost { name: (*name).to_owned(), port: Some(*port) };
    SlotSettings {
        http_hosts: hosts.iter().map(host).collect(),
        deadline: Duration::from_secs(20),
        ..settings("hostile")
    }
}

fn short(slot: SlotSettings) -> SlotSettings {
    SlotSettings { deadline: Duration::from_millis(500), ..slot }
}

fn guest() -> Vec<u8> {
    fs::read(guests().join("fetch.wasm")).unwrap()
}

async fn open(arena: &Arena, slot: &SlotSettings) -> Instance {
    arena.sandbox().load(&guest(), &GRANTS).unwrap().instantiate(slot).await.unwrap()
}

fn lines(lines: &[String]) -> Batch {
    let mut builder = BatchBuilder::new();
    lines.iter().for_each(|line| builder.push(None, line.as_bytes(), None));
    builder.take()
}

/// What the operator got for these requests.
async fn answers(instance: &mut Instance, requests: &[String]) -> Result<Vec<String>, Failure> {
    let outcome = instance.process(0, &lines(requests)).await?;
    let (_, batch) = &outcome.emissions[0];
    let text = |i| String::from_utf8(batch.value(i).to_vec()).unwrap();
    Ok((0..requests.len()).map(text).collect())
}

async fn answer(instance: &mut Instance, request: String) -> String {
    answers(instance, &[request]).await.unwrap().remove(0)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_operator_reaches_the_hosts_that_are_listed() {
    let (server, arena) = (Server::start(), Arena::new(2).await);
    let port = server.port();
    let mut instance = open(&arena, &slot(&[("localhost", port), ("127.0.0.1", port)])).await;
    for host in ["localhost", "127.0.0.1"] {
        let url = format!("http://{host}:{port}/echo");
        let got = answer(&mut instance, format!("GET {url}")).await;
        assert_eq!(got, format!("200 GET /echo {host}:{port} "));
        let long = "a body ".repeat(2_000);
        let got = answer(&mut instance, format!("POST {url} {long}")).await;
        assert_eq!(got, format!("200 POST /echo {host}:{port} {long}"));
    }
    assert_eq!(server.connections(), 4);
    // Each is over with its request.
    server.until_open(0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_host_that_is_not_listed_is_denied_and_never_hears_of_it() {
    let (server, other) = (Server::start(), Server::start());
    let mut arena = Arena::new(2).await;
    let (port, free) = (server.port(), other.port());
    let mut instance = open(&arena, &slot(&[("localhost", port), ("127.0.0.1", port)])).await;
    for (request, said) in [
        (format!("GET http://127.0.0.1:{free}/echo"), "HttpRequestDenied"),
        (format!("GET http://localhost:{free}/echo"), "HttpRequestDenied"),
        (format!("GET http://127.0.0.2:{port}/echo"), "HttpRequestDenied"),
        (format!("GET http://localhost.:{port}/echo"), "HttpRequestDenied"),
        (format!("GET http://[::ffff:127.0.0.1]:{port}/echo"), "HttpRequestDenied"),
        ("GET http://localhost/echo".to_owned(), "HttpRequestDenied"),
        (format!("GET http://localhost:{port}@127.0.0.1:{free}/echo"), "HttpRequestUriInvalid"),
        (format!("CONNECT http://localhost:{port}/echo"), "HttpRequestMethodInvalid"),
        ("GET https://localhost/echo".to_owned(), "HttpRequestDenied"),
        (format!("GET ftp://localhost:{port}/echo"), "HttpProtocolError"),
    ] {
        assert_eq!(
            answer(&mut instance, request.clone()).await,
            format!("error {said}"),
            "{request}"
        );
    }
    // Nobody goes where a server points; the operator can, as far as it may.
    let moved = answer(&mut instance, format!("GET http://localhost:{port}/moved")).await;
    assert_eq!(moved, "302 ");
    assert_eq!((server.connections(), other.connections()), (1, 0));
    drop(instance);
    // Granted, and without a host.
    let mut instance = open(&arena, &settings("hostile")).await;
    let denied = answer(&mut instance, format!("GET http://localhost:{port}/echo")).await;
    assert_eq!(denied, "error HttpRequestDenied");
    arena.neighbour_goes_on().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_the_grant_an_operator_that_sends_requests_does_not_load() {
    let arena = Arena::new(2).await;
    for grants in [
        &GRANTS[..3],
        &[Grant::Log, Grant::Config, Grant::Metrics, Grant::Wasi, Grant::WasiFilesystem],
    ] {
        let refused = arena.sandbox().load(&guest(), grants).unwrap_err().to_string();
        assert!(refused.contains("imports `wasi:"), "{refused}");
        assert!(refused.contains("which is not granted"), "{refused}");
        assert!(refused.contains("\"wasi-http\""), "{refused}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_endless_answer_ends_with_the_memory_or_the_time_of_who_asked() {
    let server = Server::start();
    let mut arena = Arena::new(2).await;
    let slot = slot(&[("127.0.0.1", server.port())]);
    let url = format!("http://127.0.0.1:{}/endless", server.port());
    for (request, slot, kind) in [
        (format!("GET {url}"), slot.clone(), FailureKind::OutOfMemory),
        (format!("!GET {url}"), short(slot), FailureKind::DeadlineExceeded),
    ] {
        let slot = SlotSettings { memory: SlotMeter::alone(16 << 20), ..slot };
        let mut instance = open(&arena, &slot).await;
        let failure = answers(&mut instance, &[request]).await.unwrap_err();
        assert_eq!(failure.kind, kind, "{failure}");
        drop(instance);
        server.until_open(0);
        arena.neighbour_goes_on().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_says_nothing_costs_the_deadline_and_no_more() {
    let server = Server::start();
    let mut arena = Arena::new(2).await;
    let slot = short(slot(&[("127.0.0.1", server.port())]));
    for path in ["silent", "begun"] {
        let mut instance = open(&arena, &slot).await;
        let request = format!("GET http://127.0.0.1:{}/{path}", server.port());
        let failure = answers(&mut instance, &[request]).await.unwrap_err();
        assert_eq!(failure.kind, FailureKind::DeadlineExceeded, "{path}: {failure}");
        arena.neighbour_goes_on().await;
        // Its connection goes with it.
        drop(instance);
        server.until_open(0);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_guest_that_does_not_want_to_wait_gets_an_error_and_goes_on() {
    let (server, arena) = (Server::start(), Arena::new(2).await);
    let mut instance = open(&arena, &slot(&[("127.0.0.1", server.port())])).await;
    for (method, path, said) in [
        ("?GET", "silent", "errorconnectionreadtimeout"),
        ("?GET", "begun", "errorconnectionreadtimeout"),
        ("GET", "echo", "200"),
    ] {
        let url = format!("http://127.0.0.1:{}/{path}", server.port());
        let got = answer(&mut instance, format!("{method} {url}")).await;
        // As a code from the request, or in words from the stream of its body.
        assert!(got.to_lowercase().replace(' ', "").starts_with(said), "{path}: {got}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn requests_that_are_begun_without_end_are_bounded() {
    let server = Server::start();
    let mut arena = Arena::new(2).await;
    let slot = slot(&[("127.0.0.1", server.port())]);
    let url = |path| format!("http://127.0.0.1:{}/{path}", server.port());
    let mut instance = open(&arena, &slot).await;
    let mut requests = vec![format!("&GET {}", url("silent")); 40];
    requests.push(format!("GET {}", url("echo")));
    let got = answers(&mut instance, &requests).await.unwrap();
    assert_eq!(got[40], "error ConnectionLimitReached");
    server.until_open(16);
    // What only lies about is bounded too.
    let failure = answers(&mut instance, &vec![requests.remove(0); 100]).await.unwrap_err();
    assert_eq!(failure.kind, FailureKind::GuestTrap, "{failure}");
    assert_eq!(server.connections(), 16);
    drop(instance);
    server.until_open(0);
    arena.neighbour_goes_on().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_broken_server_says_is_an_error_of_the_request() {
    let server = Server::start();
    let mut arena = Arena::new(2).await;
    let closed = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let port = server.port();
    let mut instance = open(&arena, &slot(&[("127.0.0.1", port), ("127.0.0.1", closed)])).await;
    for (port, path, said) in [
        // An error of a stream has no code, but words.
        (port, "cut", "incomplete HTTP response"),
        (port, "heads", "HttpResponseHeaderSectionSize(None)"),
        (port, "something", "HttpProtocolError"),
        (closed, "echo", "ConnectionRefused"),
    ] {
        let got = answer(&mut instance, format!("GET http://127.0.0.1:{port}/{path}")).await;
        assert_eq!(got, format!("error {said}"), "{path}");
    }
    let fine = answer(&mut instance, format!("GET http://127.0.0.1:{port}/echo")).await;
    assert!(fine.starts_with("200 "), "{fine}");
    arena.neighbour_goes_on().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_cannot_prove_to_be_the_host_gets_no_request() {
    let arena = Arena::new(2).await;
    let (server, other) =
        (Server::start_with_tls("localhost"), Server::start_with_tls("127.0.0.1"));
    let plain = TcpListener::bind("127.0.0.1:0").unwrap();
    let (port, others) = (server.port(), other.port());
    let no_tls = plain.local_addr().unwrap().port();
    thread::spawn(move || {
        let (mut stream, _) = plain.accept().unwrap();
        stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").unwrap();
        // Until the client has gone.
        let _ = io::copy(&mut stream, &mut io::sink());
    });
    let hosts = [("localhost", port), ("127.0.0.1", port), ("127.0.0.1", others)];
    let untrusting = slot(&[&hosts[..], &[("127.0.0.1", no_tls)]].concat());
    let trusting = |roots: &[CertificateDer<'static>]| SlotSettings {
        http_roots: roots.into(),
        ..untrusting.clone()
    };
    let root = |of: &Server| CertificateDer::from_pem_slice(of.certificate().as_bytes()).unwrap();
    let (both, misled) = (trusting(&[root(&server), root(&other)]), trusting(&[root(&other)]));
    let untrusted = "error TlsCertificateError";
    for (slot, host, said) in [
        (&untrusting, format!("localhost:{port}"), untrusted),
        (&misled, format!("localhost:{port}"), untrusted),
        // Trusted, and not as this.
        (&both, format!("127.0.0.1:{port}"), untrusted),
        (&both, format!("127.0.0.1:{no_tls}"), "error TlsProtocolError"),
        (&both, format!("localhost:{port}"), "200 GET /echo {host} "),
        (&both, format!("127.0.0.1:{others}"), "200 GET /echo {host} "),
    ] {
        let mut instance = open(&arena, slot).await;
        let got = answer(&mut instance, format!("GET https://{host}/echo")).await;
        assert_eq!(got, said.replace("{host}", &host), "{host}");
    }
    server.until_open(0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn with_tls_a_body_is_as_long_as_without_and_a_cut_one_is_told() {
    let (server, arena) = (Server::start_with_tls("localhost"), Arena::new(2).await);
    let root = CertificateDer::from_pem_slice(server.certificate().as_bytes()).unwrap();
    let hosts = slot(&[("localhost", server.port())]);
    let slot = SlotSettings { http_roots: Arc::from([root]), ..hosts };
    let mut instance = open(&arena, &slot).await;
    let (at, long) = (format!("localhost:{}", server.port()), "a body ".repeat(40_000));
    let got = answer(&mut instance, format!("POST https://{at}/echo {long}")).await;
    assert!(got == format!("200 POST /echo {at} {long}"), "{} bytes", got.len());
    let got = answer(&mut instance, format!("GET https://{at}/cut")).await;
    assert_eq!(got, "error incomplete HTTP response");
    server.until_open(0);
}

fn job(grants: &str, deadline: &str) -> String {
    format!(
        "[job]\nname = 'fetch'\n[restart]\nstrategy = 'none'
[[source]]\nname = 'in'\nconnector = 'lines'\npath = 'in.txt'
[[operator]]\nname = 'fetch'\nartifact = 'fetch'\ninput = 'in'\ndeadline = '{deadline}'\n{grants}
[[sink]]\nname = 'out'\ninput = 'fetch'\nconnector = 'lines'\npath = 'out.txt'\n"
    )
}

#[test]
fn a_hardened_job_reaches_the_hosts_of_its_job_file() {
    let (place, server, other) = (Place::new(), Server::start(), Server::start());
    let port = server.port();
    let requests = [
        format!("GET http://localhost:{port}/echo"),
        format!("GET http://localhost:{}/echo", other.port()),
    ];
    place.write("in.txt", requests.join("\n"));
    let granted = "grants = ['log', 'config', 'metrics', 'wasi-http']";
    let hosts = format!("http_hosts = ['localhost:{port}']");
    let both = job(&format!("{granted}\n{hosts}"), "20s");
    let ended = place.run_job(&both, &["--hardening", "on"]).finished();
    let echo = format!("200 GET /echo localhost:{port} ");
    assert_eq!(place.lines("out.txt"), [echo, "error HttpRequestDenied".to_owned()]);
    assert_eq!(ended.summary["hardening"]["tcp_ports"], serde_json::json!([53, port]));
    assert_eq!((server.connections(), other.connections()), (1, 0));
    // One without the other is a mistake, and without either it does not load.
    place.run_job(&job(granted, "20s"), &[]).failed(2, &["of no use", "http_hosts ="]);
    place.run_job(&job(&hosts, "20s"), &[]).failed(2, &["without the grant", "\"wasi-http\""]);
    place.run_job(&job("", "20s"), &[]).failed(2, &["not granted", "\"wasi-http\""]);
}

#[test]
fn a_hardened_job_trusts_the_roots_of_its_job_file() {
    let (place, server) = (Place::new(), Server::start_with_tls("localhost"));
    let port = server.port();
    place.write("in.txt", format!("GET https://localhost:{port}/echo\n"));
    place.write("ca.pem", server.certificate());
    let granted = format!(
        "grants = ['log', 'config', 'metrics', 'wasi-http']\nhttp_hosts = ['localhost:{port}']"
    );
    let ended = place.run_job(&job(&granted, "20s"), &["--hardening", "on"]).finished();
    assert_eq!(ended.summary["hardening"]["tcp_ports"], serde_json::json!([53, port]));
    assert_eq!(place.lines("out.txt"), ["error TlsCertificateError"]);
    let trusting = job(&format!("{granted}\nhttp_roots = 'ca.pem'"), "20s");
    let ended = place.run_job(&trusting, &["--hardening", "on"]).finished();
    assert_eq!(ended.summary["hardening"]["tcp_ports"], serde_json::json!([53, port]));
    assert_eq!(place.lines("out.txt"), [format!("200 GET /echo localhost:{port} ")]);
}

#[test]
fn a_job_whose_server_says_nothing_ends_at_the_deadline() {
    let (place, server) = (Place::new(), Server::start());
    place.write("in.txt", format!("GET http://127.0.0.1:{}/silent\n", server.port()));
    let grants = format!(
        "grants = ['log', 'config', 'metrics', 'wasi-http']\nhttp_hosts = ['127.0.0.1:{}']",
        server.port()
    );
    let ended = place.run_job(&job(&grants, "300ms"), &["--hardening", "on"]);
    ended.failed(1, &["deadline"]);
    assert_eq!(ended.summary["hardening"]["tcp_ports"], serde_json::json!([server.port()]));
    server.until_open(0);
}
