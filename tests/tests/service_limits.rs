//! How often may be asked of `cofferdam serve`, and how much may be sent.

#![allow(clippy::unwrap_used, reason = "these are tests, their helpers too")]

use std::fs;

use cofferdam_tests::{Place, Served, guests};

fn serve(place: &Place, config: &str) -> Served {
    Served::of_tenants(place, &["acme", "other"], config)
}

fn token(served: &Served, tenant: &str) -> String {
    served.token(tenant, "author")
}

#[test]
fn a_tenant_that_asks_too_often_is_sent_away_and_no_other() {
    let place = Place::new();
    let limits = "[limits]\ntenants.acme = {requests_per_second = 1, burst = 3}\n";
    let served = serve(&place, limits);
    let (acme, other) = (token(&served, "acme"), token(&served, "other"));
    let second = token(&served, "acme");
    let ask = |token: &str| served.ask_with(token, "GET", "/v1/jobs", b"");
    let mut refused = (0..50).map(|_| ask(&acme)).filter(|reply| reply.status != 200);
    let refused = refused.next().unwrap();
    refused.is_problem(429, "rate-limited", "[limits]");
    let wait: u64 = refused.header("retry-after").parse().unwrap();
    assert!((1..=2).contains(&wait), "{wait}");
    // The tenant is counted, not the token; health is for everybody.
    assert!((0..20).any(|_| ask(&second).status == 429));
    for _ in 0..50 {
        let _ = ask(&other).expect(200);
        let _ = served.ask_with("", "GET", "/healthz", b"").expect(200);
    }
    // It fills again.
    let _ = served.until("/v1/jobs", "allowed", |_| ask(&acme).status == 200);
}

#[test]
fn an_address_that_guesses_tokens_is_sent_away_even_with_a_right_one() {
    let place = Place::new();
    let served = serve(&place, "[limits]\nfailed_tokens_per_minute = 3\n");
    let guess = |n: usize| served.ask_with(&format!("cfd_{n:064x}"), "GET", "/v1/jobs", b"");
    for n in 0..3 {
        guess(n).is_problem(401, "unauthorized", "opens nothing");
    }
    guess(3).is_problem(429, "rate-limited", "opened nothing");
    let reply = served.ask("GET", "/v1/jobs", b"");
    reply.is_problem(429, "rate-limited", "opened nothing");
    let wait: u64 = reply.header("retry-after").parse().unwrap();
    assert!((1..=21).contains(&wait), "{wait}");
    // Who brings none has not guessed.
    served.ask_with("", "GET", "/v1/jobs", b"").is_problem(401, "unauthorized", "needs a token");
}

#[test]
fn the_longest_upload_is_the_tenants() {
    let place = Place::new();
    let served = serve(&place, "[limits]\ntenants.acme = {max_artifact = '2KiB'}\n");
    let guest = fs::read(guests().join("identity.wasm")).unwrap();
    let path = "/v1/artifacts/identity/versions/1";
    let acme = served.ask_with(&token(&served, "acme"), "PUT", path, &guest);
    acme.is_problem(413, "too-large", "2048 bytes");
    let _ = served.ask_with(&token(&served, "other"), "PUT", path, &guest).expect(201);
}
