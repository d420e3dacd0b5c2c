//! The sink `http`: each record is delivered, however often the receiver or the server fails, and
//! what is sent again has the same identifier; requests are signed; and a tenant's webhooks reach
//! no address that only the server can.

#![allow(clippy::unwrap_used, reason = "these are tests, their helpers too")]

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
};

use cofferdam_tests::{Place, Received, Receiver, Served};
use serde_json::Value;
use sha2::{Digest as _, Sha256};

const KEY: &[u8] = b"a key of more than sixteen bytes";

fn job(url: &str, more: &str) -> String {
    format!(
        "[job]\nname = 'hooked'\n[restart]\nstrategy = 'none'\n[checkpoints]\ninterval = '1h'\n
[[source]]\nname = 'in'\nconnector = 'http'\n
[[operator]]\nname = 'copied'\nartifact = 'identity'\ninput = 'in'\n
[[sink]]\nname = 'out'\ninput = 'copied'\nconnector = 'http'\nurl = '{url}'\n\
batch_records = 40\nmax_backoff = '300ms'\n{more}\n"
    )
}

/// A server whose webhooks may reach the receiver.
fn serve(place: &Place, receiver: &Receiver) -> Served {
    let (port, address) = (receiver.port(), receiver.address());
    fs::create_dir_all(place.path("data/secrets/default")).unwrap();
    fs::write(place.path("data/secrets/default/hook"), [KEY, b"\n"].concat()).unwrap();
    place.write(
        "server.toml",
        format!("[network]\nports = [{port}]\nwebhook_hosts = ['{address}']\n"),
    );
    let config = place.path("server.toml").display().to_string();
    let served = Served::start(&place.path("data"), &["--config", &config]);
    let _ = served.until("/readyz", "ready", |health| health["status"] == "ready");
    served
}

fn submit(served: &Served, job: &str) -> String {
    let reply = served.ask("POST", "/v1/jobs", job.as_bytes()).expect(201);
    let job = format!("/v1/jobs/{}", reply.json["id"].as_str().unwrap());
    let _ = served.until(&job, "running", |job| job["state"] == "running");
    job
}

fn post(served: &Served, job: &str, numbers: std::ops::Range<u32>) {
    let body: String = numbers.map(|n| format!("{{\"n\":{n}}}\n")).collect();
    let _ = served.ask("POST", &format!("{job}/sources/in"), body.as_bytes()).expect(200);
}

fn end(served: &Served, job: &str) {
    let _ = served.ask("POST", &format!("{job}/sources/in/end"), b"").expect(200);
}

/// What a receiver has that drops what it got before.
fn delivered(received: &[Received]) -> Vec<u64> {
    let mut bodies = BTreeMap::new();
    for request in received {
        let id = request.header("webhook-id").to_owned();
        assert_eq!(request.header("idempotency-key"), id);
        let before = bodies.insert(id, request.body.clone());
        assert!(before.is_none_or(|before| before == request.body), "the same id, another body");
    }
    let accepted: BTreeSet<_> = received
        .iter()
        .filter(|request| request.status == 200)
        .map(|request| request.header("webhook-id").to_owned())
        .collect();
    let mut numbers = Vec::new();
    for body in bodies.iter().filter(|(id, _)| accepted.contains(*id)).map(|(_, body)| body) {
        for line in std::str::from_utf8(body).unwrap().lines() {
            let record: Value = serde_json::from_str(line).unwrap();
            numbers.push(record["n"].as_u64().unwrap());
        }
    }
    numbers.sort_unstable();
    numbers
}

/// HMAC-SHA256, by the book and not by the host's code.
fn hmac(key: &[u8], message: &[u8]) -> [u8; 32] {
    let padded = |with: u8| {
        let mut block = [with; 64];
        block.iter_mut().zip(key).for_each(|(byte, key)| *byte ^= key);
        block
    };
    let inner = Sha256::digest([&padded(0x36), message].concat());
    Sha256::digest([padded(0x5c).as_slice(), &inner].concat()).into()
}

fn from_base64(text: &str) -> Vec<u8> {
    const DIGITS: &str = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let bits: String = text
        .trim_end_matches('=')
        .chars()
        .map(|c| format!("{:06b}", DIGITS.find(c).unwrap()))
        .collect();
    let whole = bits.len() / 8;
    (0..whole).map(|i| u8::from_str_radix(&bits[8 * i..8 * i + 8], 2).unwrap()).collect()
}

#[test]
fn a_receiver_that_answers_503_twice_gets_each_record_once_by_identifier_and_signed() {
    let place = Place::new();
    let receiver = Receiver::start(&[503, 503], 200);
    let served = serve(&place, &receiver);
    served.push("default", "identity", "1");
    let more = "sign_with = { secret = 'hook' }\nheaders = { x-from = { secret = 'hook' } }";
    let job = submit(&served, &job(&format!("http://{}/in?a=b", receiver.address()), more));
    post(&served, &job, 0..100);
    end(&served, &job);
    let _ = served.until(&job, "finished", |job| job["state"] == "finished");
    let received = receiver.received();
    assert_eq!(delivered(&received), (0..100).collect::<Vec<_>>());
    let statuses: Vec<u16> = received.iter().map(|request| request.status).collect();
    assert_eq!(statuses, [503, 503, 200, 200, 200]);
    assert_eq!(received[0].header("webhook-id"), received[2].header("webhook-id"));
    for request in &received {
        assert_eq!(request.line, "POST /in?a=b HTTP/1.1");
        assert_eq!(request.header("content-type"), "application/x-ndjson");
        assert_eq!(request.header("x-from").as_bytes(), KEY);
        let at = request.header("webhook-timestamp");
        assert!(at.parse::<i64>().unwrap() > 1_000_000_000);
        let id = request.header("webhook-id");
        let signed = [format!("{id}.{at}.").as_bytes(), request.body.as_slice()].concat();
        let signature = request.header("webhook-signature").strip_prefix("v1,").unwrap();
        assert_eq!(from_base64(signature), hmac(KEY, &signed));
    }
    // The key stands nowhere where the job is shown.
    let shown = served.ask("GET", &format!("{job}/config"), b"").text;
    assert!(shown.contains("hook") && !shown.contains("sixteen"), "{shown}");
}

#[test]
fn a_kill_while_the_receiver_is_down_loses_nothing_and_sends_the_same_again() {
    let place = Place::new();
    let receiver = Receiver::start(&[], 503);
    let served = serve(&place, &receiver);
    served.push("default", "identity", "1");
    let job = submit(&served, &job(&format!("http://{}/", receiver.address()), ""));
    post(&served, &job, 0..50);
    let _ = served.until(&format!("{job}/vertices/out"), "there", |sink| sink["records_in"] == 50);
    let _ = served.ask("POST", &format!("{job}/checkpoints"), b"").expect(200);
    receiver.until(2);
    let before = receiver.received()[0].header("webhook-id").to_owned();
    served.kill();
    receiver.answer(200);
    let served = serve(&place, &receiver);
    let _ = served.until(&job, "running", |job| job["state"] == "running");
    post(&served, &job, 50..60);
    end(&served, &job);
    let _ = served.until(&job, "finished", |job| job["state"] == "finished");
    let received = receiver.received();
    assert_eq!(delivered(&received), (0..60).collect::<Vec<_>>());
    let again = received.iter().filter(|request| request.header("webhook-id") == before);
    assert!(again.clone().any(|request| request.status == 200), "{received:?}");
}

#[test]
fn what_a_receiver_refuses_for_good_fails_the_job_or_is_left_out() {
    for (refused, state, said) in
        [("fail", "failed", "refuses request out-0-"), ("drop", "finished", "")]
    {
        let place = Place::new();
        let receiver = Receiver::start(&[422], 200);
        let served = serve(&place, &receiver);
        served.push("default", "identity", "1");
        let more = format!("refused = '{refused}'\nformat = 'json-array'");
        let job = submit(&served, &job(&format!("http://{}/", receiver.address()), &more));
        post(&served, &job, 0..80);
        end(&served, &job);
        let job = served.until(&job, state, |job| job["state"] == state);
        assert!(job["error"].to_string().contains(said), "{job:#}");
        let received = receiver.received();
        let first: Vec<Value> = serde_json::from_slice(&received[0].body).unwrap();
        assert_eq!((first.len(), received[0].status), (40, 422));
        assert_eq!(received.len(), if refused == "drop" { 2 } else { 1 });
    }
}

#[test]
fn a_tenants_webhook_reaches_nothing_private_unless_the_configuration_lists_it() {
    let place = Place::new();
    let (listed, hidden) = (Receiver::start(&[], 200), Receiver::start(&[], 200));
    let served = serve(&place, &listed);
    served.push("default", "identity", "1");
    let jobs: Vec<String> = ["127.0.0.1", "localhost", "[::ffff:127.0.0.1]"]
        .iter()
        .map(|host| submit(&served, &job(&format!("http://{host}:{}/", hidden.port()), "")))
        .collect();
    let seen = submit(&served, &job(&format!("http://{}/", listed.address()), ""));
    for job in jobs.iter().chain([&seen]) {
        post(&served, job, 0..1);
        end(&served, job);
    }
    let _ = served.until(&seen, "finished", |job| job["state"] == "finished");
    // They had as much time, and go on trying: nothing came there.
    for job in &jobs {
        let now = served.ask("GET", job, b"").expect(200).json;
        assert_ne!(now["state"], "finished", "{now:#}");
    }
    assert_eq!((hidden.received().len(), listed.received().len()), (0, 1));
    let bad = job("http://x/", "headers = { x = { secret = '../default/hook' } }");
    let refused = served.ask("POST", "/v1/jobs", bad.as_bytes());
    refused.is_problem(422, "job-file", "cannot name a secret");
    let bad = job("http://x/", "headers = { x = { env = 'PATH' } }");
    served.ask("POST", "/v1/jobs", bad.as_bytes()).is_problem(422, "job-file", "secret");
}

#[test]
fn by_tls_a_webhook_goes_to_who_has_the_certificate_and_to_nobody_else() {
    let place = Place::new();
    let receiver = Receiver::start_with_tls("localhost", 200);
    let unknown = Receiver::start_with_tls("localhost", 200);
    let of_another_name = Receiver::start_with_tls("elsewhere.example", 200);
    let all = [&receiver, &unknown, &of_another_name];
    let ports: Vec<String> = all.map(|to| to.port().to_string()).into();
    let hosts: Vec<String> = all.map(|to| format!("'localhost:{}'", to.port())).into();
    place.write("ca.pem", format!("{}{}", receiver.certificate(), of_another_name.certificate()));
    place.write(
        "server.toml",
        format!(
            "[network]\nports = [{}]\nwebhook_hosts = [{}]\nwebhook_ca = 'ca.pem'\n",
            ports.join(", "),
            hosts.join(", ")
        ),
    );
    fs::create_dir_all(place.path("data")).unwrap();
    let config = place.path("server.toml").display().to_string();
    let served = Served::start(&place.path("data"), &["--config", &config]);
    served.push("default", "identity", "1");
    let begin = |to: &Receiver, more: &str| {
        let job = submit(&served, &job(&format!("https://localhost:{}/in", to.port()), more));
        post(&served, &job, 0..100);
        end(&served, &job);
        job
    };
    let well = begin(&receiver, "");
    let refused = [begin(&unknown, ""), begin(&of_another_name, "")];
    let _ = served.until_state(&well, "finished");
    assert_eq!(delivered(&receiver.received()), (0..100).collect::<Vec<_>>());
    for to in [&unknown, &of_another_name] {
        to.until_in_vain(3);
        assert!(to.received().is_empty(), "nothing is sent to who has no certificate");
    }
    for job in refused {
        assert_ne!(served.ask("GET", &job, b"").expect(200).json["state"], "finished");
    }
    // A tenant may trust its own.
    fs::write(served.home("default").join("own.pem"), unknown.certificate()).unwrap();
    let own = begin(&unknown, "ca = 'own.pem'");
    let _ = served.until_state(&own, "finished");
    assert_eq!(delivered(&unknown.received()), (0..100).collect::<Vec<_>>());
    fs::write(served.home("default").join("none.pem"), "none").unwrap();
    let url = "https://localhost/in";
    let reply = served.ask("POST", "/v1/jobs", job(url, "ca = 'none.pem'").as_bytes());
    reply.is_problem(422, "job-file", "which has no certificate");
    let reply = served.ask("POST", "/v1/jobs", job("http://a/in", "ca = 'own.pem'").as_bytes());
    reply.is_problem(422, "job-file", "is of no use without TLS");
}
