//! The client against a server that says what the test wants: what is sent, what is sent again,
//! and what is made of an answer.

use std::{
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::TcpListener,
    sync::mpsc::{Receiver, sync_channel},
    thread,
};

use serde_json::json;

use super::*;

/// Gives these answers, one a connection, and tells what it was sent.
fn serve(answers: Vec<String>) -> (String, Receiver<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    let (say, said) = sync_channel(100);
    thread::spawn(move || {
        for answer in answers {
            let (mut stream, _) = listener.accept().unwrap();
            let mut reader = BufReader::new(stream.try_clone().unwrap());
            let (mut head, mut length) = (String::new(), 0);
            while !head.ends_with("\r\n\r\n") {
                let from = head.len();
                reader.read_line(&mut head).unwrap();
                if let Some(value) = head[from..].strip_prefix("content-length: ") {
                    length = value.trim().parse().unwrap();
                }
            }
            let mut body = vec![0; length];
            reader.read_exact(&mut body).unwrap();
            let _ = stream.write_all(answer.as_bytes());
            say.send(head + &String::from_utf8(body).unwrap()).unwrap();
        }
    });
    (address, said)
}

fn answer(status: &str, kind: &str, body: &Value) -> String {
    let body = body.to_string();
    format!(
        "HTTP/1.1 {status}\r\ncontent-type: {kind}\r\nretry-after: 0\r\ncontent-length: {}\r\n\
         connection: close\r\n\r\n{body}",
        body.len()
    )
}

fn client(address: &str) -> Client {
    let given = target::Given {
        server: Some(address.to_owned()),
        token: Some("cfd_x".to_owned()),
        ..target::Given::default()
    };
    let target = target::find(&given, &|_| None, &profiles::Profiles::default());
    Client::new(&target.unwrap().unwrap()).unwrap()
}

const JSON: &str = "application/json";

#[test]
fn a_request_has_its_path_query_token_and_body() {
    let (address, sent) = serve(vec![answer("201 Created", JSON, &json!({"id": 1}))]);
    let request = Request::put(&["v1", "a b/c", "1.0+x"])
        .query("set", "a.b=c&d")
        .query_if("tenant", Some("acme"))
        .query_if("name", None::<&str>)
        .json(&json!({"a": 1}));
    let got = client(&format!("{address}/below/")).send(&request).unwrap();
    assert_eq!(got, Answer { status: 201, json: json!({"id": 1}), etag: None });
    let sent = sent.recv().unwrap();
    let first = "PUT /below/v1/a%20b%2Fc/1.0%2Bx?set=a.b%3Dc%26d&tenant=acme HTTP/1.1\r\n";
    assert!(sent.starts_with(first), "{sent}");
    assert!(sent.contains("\r\nauthorization: Bearer cfd_x\r\n"), "{sent}");
    assert!(sent.contains("\r\ncontent-type: application/json\r\n"), "{sent}");
    assert!(sent.ends_with("\r\n\r\n{\"a\":1}"), "{sent}");
}

#[test]
fn what_is_safe_is_sent_again_and_nothing_else() {
    let busy = || answer("503 Service Unavailable", JSON, &json!({}));
    let fine = || answer("200 OK", JSON, &json!({"a": 1}));
    let (address, sent) = serve(vec![busy(), String::new(), fine()]);
    assert_eq!(client(&address).send(&Request::get(&["x"])).unwrap().json, json!({"a": 1}));
    assert_eq!(sent.iter().count(), 3);

    let (address, sent) = serve(vec![String::new(), fine()]);
    let error = client(&address).send(&Request::post(&["x"])).unwrap_err();
    assert!(matches!(error, ClientError::Lost { .. }), "{error}");
    assert!(error.to_string().contains("look whether it was done"), "{error}");
    assert_eq!(sent.try_iter().count(), 1);
}

#[test]
fn a_problem_is_told_as_one_and_what_is_none_as_a_stranger() {
    let problem = json!({"type": "urn:cofferdam:problem:conflict", "status": 409, "detail": "no"});
    let (address, _sent) = serve(vec![
        answer("409 Conflict", "application/problem+json", &problem),
        answer("404 Not Found", "text/html", &json!("hello")),
        "HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello".to_owned(),
        "HTTP/1.1 204 No Content\r\n\r\n".to_owned(),
    ]);
    let client = client(&address);
    let ask = || client.send(&Request::post(&["x"]));
    let Err(ClientError::Refused(problem)) = ask() else { panic!("a problem") };
    assert_eq!((problem.kind.as_str(), problem.to_string().as_str()), ("conflict", "no"));
    for _ in 0..2 {
        let error = ask().unwrap_err();
        assert!(matches!(error, ClientError::Foreign { .. }), "{error}");
    }
    assert_eq!(ask().unwrap(), Answer { status: 204, json: Value::Null, etag: None });
}

#[test]
fn a_server_that_is_not_there_is_named() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    drop(listener);
    let error = client(&address).send(&Request::post(&["x"])).unwrap_err();
    assert!(matches!(error, ClientError::Unreachable { .. }), "{error}");
    assert!(error.to_string().contains(&address), "{error}");
}

#[test]
fn what_speaks_no_tls_and_no_http_is_told_with_what_to_do() {
    let (address, _sent) = serve(vec!["\0\x01 this is something else\r\n\r\n".to_owned()]);
    let error = client(&address).send(&Request::post(&["x"])).unwrap_err().to_string();
    assert!(error.contains("write https://"), "{error}");
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let _ = stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n");
        let _ = stream.read(&mut [0; 1_000]);
    });
    let error = client(&format!("https://{address}")).send(&Request::get(&["x"])).unwrap_err();
    assert!(error.to_string().contains("write http://"), "{error}");
}

#[test]
fn what_may_be_sent_twice_depends_on_what_it_does_and_on_which_condition() {
    let path = ["v1"];
    for (request, repeatable) in [
        (Request::get(&path), true),
        (Request::put(&path), true),
        (Request::post(&path), false),
        (Request::delete(&path), false),
        (Request::post(&path).repeatable(), true),
        (Request::put(&path).if_new(), false),
        (Request::put(&path).if_match("\"1\""), false),
    ] {
        assert_eq!(request.repeatable, repeatable, "{request:?}");
    }
}

#[test]
fn conditions_are_sent_and_bytes_come_as_they_are() {
    let (address, said) = serve(vec![
        answer("200 OK", JSON, &json!({})),
        "HTTP/1.1 200 OK\r\ncontent-length: 2\r\nconnection: close\r\n\r\n\u{1}\u{2}".to_owned(),
        answer(
            "404 Not Found",
            "application/problem+json",
            &json!({"status": 404, "detail": "none"}),
        ),
    ]);
    let client = client(&address);
    let _ = client.send(&Request::put(&["v1"]).if_match("\"7\"")).unwrap();
    assert!(said.recv().unwrap().contains("if-match: \"7\"\r\n"));
    assert_eq!(client.fetch(&Request::get(&["v1"])).unwrap().as_ref(), [1, 2]);
    let refused = client.fetch(&Request::get(&["v1"])).unwrap_err();
    assert!(refused.to_string().starts_with("none"), "{refused}");
}
