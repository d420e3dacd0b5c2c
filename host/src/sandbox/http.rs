//! Outgoing HTTP: what a guest asks of hosts that it was granted, and of no other.
//! HTTP/1.1; what goes around it for `https` is in `tls`. Which interfaces there are
//! for it is in `wasi`.
//!
//! A request is a task of the runtime that timers of chains have, with a connection of
//! its own that ends with it. What of it lies in the host is bounded by the constants
//! below; what the guest makes of an answer is the guest's memory, and its time.

use std::{
    error::Error as _,
    io,
    net::{IpAddr, SocketAddr, ToSocketAddrs as _},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use http_body_util::BodyExt as _;
use hyper::{
    Method, Request, Response, Uri,
    body::{Body, Frame, Incoming},
    client::conn::http1,
    http::uri::Scheme,
};
use rustls::pki_types::CertificateDer;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
    sync::{OwnedSemaphorePermit, Semaphore},
    task::spawn_blocking,
    time::{Instant, Sleep, sleep, timeout},
};
use wasmtime::component::ResourceTable;
use wasmtime_wasi_http::{
    Error, RequestOptions, WasiBody, WasiHttpCtx, WasiHttpCtxView, WasiHttpHooks, io::TokioIo,
    p2::bindings::http::types::ErrorCode,
};

use super::tls::Tls;
use crate::config::job::HttpHost;

/// How many requests of an instance may be under way. A name that is being looked up
/// holds a thread.
const MOST_REQUESTS: usize = 16;
/// How much of an answer is read ahead, and with it how long its headers may be.
const READ_AHEAD: usize = 64 << 10;
/// How much of a request's body is taken from the guest at once.
const WRITTEN_AT_ONCE: usize = 64 << 10;
/// What the headers that a guest puts together may take, for each list of them.
const MOST_OF_FIELDS: usize = 64 << 10;
/// How many addresses of a name are tried.
const MOST_ADDRESSES: usize = 8;

/// What a guest can shorten, and not lengthen.
const TO_CONNECT: Duration = Duration::from_secs(10);
const TO_ANSWER: Duration = Duration::from_secs(60);
const BETWEEN_BYTES: Duration = Duration::from_secs(60);

/// Where an instance may send requests to, and whom it trusts there.
#[derive(Clone)]
pub(super) struct Outside {
    pub(super) hosts: Arc<[HttpHost]>,
    pub(super) roots: Arc<[CertificateDer<'static>]>,
}

/// What an instance has for its requests.
pub(super) struct Http {
    ctx: WasiHttpCtx,
    gate: Gate,
}

impl Http {
    pub(super) fn new(outside: Outside) -> Self {
        let mut ctx = WasiHttpCtx::new();
        ctx.set_field_size_limit(MOST_OF_FIELDS);
        let free = Arc::new(Semaphore::new(MOST_REQUESTS));
        Self { ctx, gate: Gate { outside, free, tls: None } }
    }

    pub(super) fn view<'a>(&'a mut self, table: &'a mut ResourceTable) -> WasiHttpCtxView<'a> {
        WasiHttpCtxView { hooks: &mut self.gate, table, ctx: &mut self.ctx }
    }
}

/// What lets requests out.
struct Gate {
    outside: Outside,
    free: Arc<Semaphore>,
    /// Made for the first request that needs it.
    tls: Option<Tls>,
}

type Driver = Box<dyn Future<Output = Result<(), Error>> + Send>;
type Answer = Result<(Response<WasiBody>, Driver), Error>;

impl WasiHttpHooks for Gate {
    fn is_supported_scheme(&mut self, scheme: &Scheme) -> bool {
        *scheme == Scheme::HTTP || *scheme == Scheme::HTTPS
    }

    fn default_scheme(&mut self) -> Option<Scheme> {
        Some(Scheme::HTTP)
    }

    fn send_request(
        &mut self,
        request: Request<WasiBody>,
        options: Option<RequestOptions>,
        _: Driver,
    ) -> Box<dyn Future<Output = Answer> + Send> {
        let to = allowed(&self.outside.hosts, request.method(), request.uri());
        let free = self.free.clone().try_acquire_owned();
        let to = to.and_then(|to| {
            let tls = if to.encrypted { Some(self.tls()?) } else { None };
            Ok((to, tls))
        });
        Box::new(async move {
            let (to, tls) = to?;
            let permit = free.map_err(|_| Error::ConnectionLimitReached)?;
            send((to, tls), request, options.unwrap_or_default(), permit).await
        })
    }

    fn p2_outgoing_body_chunk_size(&mut self) -> usize {
        WRITTEN_AT_ONCE
    }

    // These say nothing to the log of the host, which a guest could fill with them.

    fn p2_error_from_hyper(&mut self, _: &hyper::Error) -> ErrorCode {
        ErrorCode::HttpProtocolError
    }

    fn p2_error_from_connect(&mut self, _: &io::Error) -> ErrorCode {
        ErrorCode::ConnectionRefused
    }
}

impl Gate {
    fn tls(&mut self) -> Result<Tls, Error> {
        let tls = match self.tls.take() {
            Some(tls) => tls,
            None => Tls::new(&self.outside.roots)?,
        };
        Ok(self.tls.insert(tls).clone())
    }
}

/// Where a request goes.
#[derive(Debug)]
struct Target {
    name: String,
    port: u16,
    encrypted: bool,
}

/// Where a request goes, if it is one of these hosts.
fn allowed(hosts: &[HttpHost], method: &Method, uri: &Uri) -> Result<Target, Error> {
    let authority = uri.authority().ok_or(Error::HttpRequestUriInvalid)?;
    // Names of users have no place in it, and `host()` would pass over them. Nor has
    // a port that is none.
    let text = authority.as_str();
    if text.contains('@') || (authority.port().is_some() && authority.port_u16().is_none()) {
        return Err(Error::HttpRequestUriInvalid);
    }
    // It makes a tunnel, to wherever it says.
    if *method == Method::CONNECT {
        return Err(Error::HttpRequestMethodInvalid);
    }
    let encrypted = uri.scheme() == Some(&Scheme::HTTPS);
    let usual = if encrypted { HttpHost::TLS_PORT } else { HttpHost::PORT };
    let port = authority.port_u16().unwrap_or(usual);
    let name = HttpHost::plain_name(authority.host());
    let is_it = |host: &HttpHost| host.port.unwrap_or(usual) == port && host.name == name;
    if !hosts.iter().any(is_it) {
        return Err(Error::HttpRequestDenied);
    }
    Ok(Target { name, port, encrypted })
}

async fn send(
    (to, tls): (Target, Option<Tls>),
    mut request: Request<WasiBody>,
    options: RequestOptions,
    permit: OwnedSemaphorePermit,
) -> Answer {
    let at_most =
        |asked: Option<Duration>, most: Duration| asked.map_or(most, |asked| most.min(asked));
    let connecting =
        timeout(at_most(options.connect_timeout, TO_CONNECT), connect(to, tls, permit));
    let (stream, permit) = connecting.await.map_err(|_| Error::ConnectionTimeout)??;
    // Only a proxy is told the rest; the host is in a header.
    let path = request.uri().path_and_query().cloned();
    *request.uri_mut() = path.map_or_else(|| Uri::from_static("/"), Uri::from);

    let mut http = http1::Builder::new();
    let made = http.max_buf_size(READ_AHEAD).handshake::<_, WasiBody>(TokioIo::new(stream)).await;
    let (mut sender, connection) = made.map_err(told)?;
    let mut connection = Box::pin(connection);
    let mut ended = false;
    let answering = async {
        let mut answer = std::pin::pin!(sender.send_request(request));
        tokio::select! {
            biased;
            answer = &mut answer => answer,
            end = &mut connection => {
                ended = true;
                match end {
                    Ok(()) => answer.await,
                    Err(error) => Err(error),
                }
            }
        }
    };
    let within = at_most(options.first_byte_timeout, TO_ANSWER);
    let answer = timeout(within, answering).await.map_err(|_| Error::ConnectionReadTimeout)?;
    let between = at_most(options.between_bytes_timeout, BETWEEN_BYTES);
    let answer = answer.map_err(told)?.map(|body| Timed::new(body, between).boxed_unsync());
    let driver = async move {
        if !ended {
            // The body's reader learns of it.
            let _ = connection.await;
        }
        drop(permit);
        Ok(())
    };
    Ok((answer, Box::new(driver)))
}

/// A connection, encrypted or not.
trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}

impl<T: AsyncRead + AsyncWrite + Unpin + Send> Stream for T {}

async fn connect(
    to: Target,
    tls: Option<Tls>,
    permit: OwnedSemaphorePermit,
) -> Result<(Box<dyn Stream>, OwnedSemaphorePermit), Error> {
    let (stream, permit) = reach(&to, permit).await?;
    Ok(match tls {
        None => (Box::new(stream), permit),
        Some(tls) => (Box::new(tls.shake_hands(&to.name, stream).await?), permit),
    })
}

/// The permit goes with the thread that looks up the name: that is not over when
/// nobody waits for it any more.
async fn reach(
    to: &Target,
    permit: OwnedSemaphorePermit,
) -> Result<(TcpStream, OwnedSemaphorePermit), Error> {
    let (addresses, permit) = match to.name.parse::<IpAddr>() {
        Ok(address) => (vec![SocketAddr::new(address, to.port)], permit),
        Err(_) => {
            let (name, port) = (to.name.clone(), to.port);
            let looking = spawn_blocking(move || {
                let found = (name.as_str(), port).to_socket_addrs();
                (found.map(|all| all.take(MOST_ADDRESSES).collect::<Vec<_>>()), permit)
            });
            let no_name = Error::DnsError { rcode: None, info_code: None };
            match looking.await {
                Ok((Ok(found), permit)) => (found, permit),
                _ => return Err(no_name),
            }
        }
    };
    let mut failure = Error::DestinationNotFound;
    for address in addresses {
        match TcpStream::connect(address).await {
            Ok(stream) => {
                // Without it, a request is only slower.
                let _ = stream.set_nodelay(true);
                return Ok((stream, permit));
            }
            Err(error) => failure = not_connected(&error),
        }
    }
    Err(failure)
}

fn not_connected(error: &io::Error) -> Error {
    match error.kind() {
        io::ErrorKind::ConnectionRefused => Error::ConnectionRefused,
        io::ErrorKind::TimedOut => Error::ConnectionTimeout,
        // The hardening of this process, or a firewall.
        io::ErrorKind::PermissionDenied => Error::DestinationIpProhibited,
        _ => Error::DestinationUnavailable,
    }
}

/// What went wrong, as the guest is told.
#[expect(clippy::needless_pass_by_value, reason = "as `map_err` has it")]
fn told(error: hyper::Error) -> Error {
    if error.is_parse_too_large() {
        Error::HttpResponseHeaderSectionSize(None)
    } else if error.is_parse() {
        Error::HttpProtocolError
    } else if error.is_incomplete_message() || is_cut_off(&error) {
        Error::HttpResponseIncomplete
    } else {
        Error::ConnectionTerminated
    }
}

/// Whether a body ended before its length.
fn is_cut_off(error: &hyper::Error) -> bool {
    let cause = error.source().and_then(|cause| cause.downcast_ref::<io::Error>());
    cause.is_some_and(|cause| cause.kind() == io::ErrorKind::UnexpectedEof)
}

/// The body of an answer, which must not pause for too long.
struct Timed {
    body: Incoming,
    between: Duration,
    pause: Pin<Box<Sleep>>,
}

impl Timed {
    fn new(body: Incoming, between: Duration) -> Self {
        Self { body, between, pause: Box::pin(sleep(between)) }
    }
}

impl Body for Timed {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        let this = &mut *self;
        if let Poll::Ready(frame) = Pin::new(&mut this.body).poll_frame(cx) {
            this.pause.as_mut().reset(Instant::now() + this.between);
            return Poll::Ready(frame.map(|frame| frame.map_err(told)));
        }
        this.pause.as_mut().poll(cx).map(|()| Some(Err(Error::ConnectionReadTimeout)))
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> hyper::body::SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(uri: &str) -> Result<(String, u16, bool), String> {
        let hosts = [("api.example.com", 0), ("localhost", 8080), ("::1", 81), ("10.0.0.1", 80)];
        let host = |(name, port): (&str, u16)| HttpHost {
            name: name.to_owned(),
            port: Some(port).filter(|port| *port > 0),
        };
        let hosts = hosts.map(host);
        let uri: Uri = uri.parse().unwrap();
        let to = allowed(&hosts, &Method::GET, &uri).map_err(|error| error.to_string())?;
        Ok((to.name, to.port, to.encrypted))
    }

    #[test]
    fn only_a_listed_name_with_its_port_is_let_out() {
        for (uri, name, port, encrypted) in [
            ("http://api.example.com/a?b", "api.example.com", 80, false),
            ("http://api.example.com:80/", "api.example.com", 80, false),
            ("http://API.Example.com/", "api.example.com", 80, false),
            ("https://API.Example.com/", "api.example.com", 443, true),
            ("https://api.example.com:443/", "api.example.com", 443, true),
            ("http://localhost:8080/", "localhost", 8080, false),
            ("https://localhost:8080/", "localhost", 8080, true),
            ("http://[::1]:81/", "::1", 81, false),
            ("https://[0:0::1]:81/", "::1", 81, true),
            ("http://10.0.0.1/", "10.0.0.1", 80, false),
            ("https://10.0.0.1:80/", "10.0.0.1", 80, true),
        ] {
            assert_eq!(answer(uri), Ok((name.to_owned(), port, encrypted)), "{uri}");
        }
        for uri in [
            "http://api.example.com:8080/",
            "http://api.example.com:443/",
            "https://api.example.com:80/",
            "https://localhost/",
            "https://10.0.0.1/",
            "http://api.example.com.:80/",
            "http://www.api.example.com/",
            "http://example.com/",
            "http://api.example.com.evil.org/",
            "http://localhost/",
            "http://127.0.0.1:8080/",
            "http://[::1]/",
            "http://[::ffff:10.0.0.1]/",
            "http://010.0.0.1/",
        ] {
            assert_eq!(answer(uri), Err(Error::HttpRequestDenied.to_string()), "{uri}");
        }
        for uri in ["http://api.example.com@evil.org/", "http://x@api.example.com/", "/path"] {
            assert_eq!(answer(uri), Err(Error::HttpRequestUriInvalid.to_string()), "{uri}");
        }
    }

    #[test]
    fn no_tunnel_is_made() {
        let hosts = [HttpHost { name: "proxy".to_owned(), port: None }];
        let refused = allowed(&hosts, &Method::CONNECT, &Uri::from_static("http://proxy/"));
        assert!(matches!(refused, Err(Error::HttpRequestMethodInvalid)));
    }
}
