//! A guest for tests that sends HTTP requests: each record's value is one, as
//! `METHOD URL` or `METHOD URL BODY`, and in its place comes the answer, as
//! `STATUS BODY` or `error WHICH`. A method that begins with `!` has only the length
//! of the answer's body kept, `&` only begins a request, and keeps what there is of
//! it, and `?` waits for 50 ms at most.

#![cfg(target_arch = "wasm32")]

mod wasi {
    #![allow(unsafe_code, reason = "generated glue of the canonical ABI")]
    #![allow(missing_docs, unreachable_pub, unused_qualifications, reason = "generated")]
    #![allow(clippy::all, clippy::allow_attributes_without_reason, reason = "generated")]

    wit_bindgen::generate!({ path: "wit", world: "client", generate_all });
}

use cofferdam_sdk::{Batch, Context, Error, Outcome, Processor};

use self::wasi::wasi::{
    http::{
        outgoing_handler,
        types::{
            ErrorCode, Fields, FutureIncomingResponse, IncomingBody, Method, OutgoingBody,
            OutgoingRequest, RequestOptions, Scheme,
        },
    },
    io::streams::StreamError,
};

/// Sends requests.
#[derive(Debug)]
pub struct Fetch {
    /// Those that were only begun.
    begun: Vec<FutureIncomingResponse>,
}

impl Processor for Fetch {
    fn open(_: &Context) -> Result<Self, Error> {
        Ok(Self { begun: Vec::new() })
    }

    fn process(&mut self, batch: &Batch, out: &mut Outcome) -> Result<(), Error> {
        for record in batch.records() {
            let answer = match self.answer(record.value_str()?) {
                Ok(answer) => answer,
                Err(error) => format!("error {error}"),
            };
            out.emit(&record).value(answer.as_bytes());
        }
        Ok(())
    }
}

impl Fetch {
    fn answer(&mut self, line: &str) -> Result<String, String> {
        let mut words = line.splitn(3, ' ');
        let (method, url) = (words.next().unwrap_or(""), words.next().unwrap_or(""));
        let body = words.next();
        let sent = |method| send(method, url, body);
        if let Some(method) = method.strip_prefix('&') {
            let begun = sent(method)?;
            self.begun.push(begun);
            return Ok("begun".to_owned());
        }
        match method.strip_prefix('!') {
            Some(method) => {
                let mut length = 0;
                let status = receive(&sent(method)?, |bytes| length += bytes.len())?;
                Ok(format!("{status} {length}"))
            }
            None => {
                let mut body = Vec::new();
                let status = receive(&sent(method)?, |bytes| body.extend_from_slice(bytes))?;
                Ok(format!("{status} {}", String::from_utf8_lossy(&body)))
            }
        }
    }
}

/// 50 ms, in nanoseconds.
const NOT_LONG: u64 = 50_000_000;

fn send(method: &str, url: &str, body: Option<&str>) -> Result<FutureIncomingResponse, String> {
    let (scheme, rest) = url.split_once("://").ok_or("no URL")?;
    let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
    let scheme = match scheme {
        "http" => Scheme::Http,
        "https" => Scheme::Https,
        other => Scheme::Other(other.to_owned()),
    };
    let (method, options) = match method.strip_prefix('?') {
        None => (method, None),
        Some(method) => {
            let options = RequestOptions::new();
            options.set_first_byte_timeout(Some(NOT_LONG)).expect("it is supported");
            options.set_between_bytes_timeout(Some(NOT_LONG)).expect("it is supported");
            (method, Some(options))
        }
    };
    let request = OutgoingRequest::new(Fields::new());
    let unfit = |what: &'static str| move |()| format!("{what} is none");
    request.set_method(&Method::Other(method.to_owned())).map_err(unfit("the method"))?;
    request.set_scheme(Some(&scheme)).map_err(unfit("the scheme"))?;
    request.set_authority(Some(authority)).map_err(unfit("the host"))?;
    request.set_path_with_query(Some(path)).map_err(unfit("the path"))?;
    let writer = body.map(|text| (request.body().expect("asked for once"), text));
    let future = outgoing_handler::handle(request, options).map_err(name)?;
    if let Some((body, text)) = writer {
        let stream = body.write().expect("asked for once");
        for part in text.as_bytes().chunks(4096) {
            stream.blocking_write_and_flush(part).map_err(|error| error.to_string())?;
        }
        drop(stream);
        OutgoingBody::finish(body, None).map_err(name)?;
    }
    Ok(future)
}

/// Waits for the answer, and reads it to its end.
fn receive(future: &FutureIncomingResponse, mut take: impl FnMut(&[u8])) -> Result<u16, String> {
    future.subscribe().block();
    let response = future.get().expect("it is there").expect("asked for once").map_err(name)?;
    let status = response.status();
    let body = response.consume().expect("asked for once");
    let stream = body.stream().expect("asked for once");
    loop {
        match stream.blocking_read(64 << 10) {
            Ok(bytes) => take(&bytes),
            Err(StreamError::Closed) => break,
            Err(StreamError::LastOperationFailed(error)) => {
                let code = wasi::wasi::http::types::http_error_code(&error);
                return Err(code.map_or_else(|| error.to_debug_string(), name));
            }
        }
    }
    drop(stream);
    drop(IncomingBody::finish(body));
    Ok(status)
}

fn name(code: ErrorCode) -> String {
    format!("{code:?}").replace("ErrorCode::", "")
}

cofferdam_sdk::export!(processor: Fetch);
