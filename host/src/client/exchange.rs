//! One request over one connection of its own, with TLS or without, each step of it with a limit
//! of time, and the answer with a limit of length.

use std::{fs, io, path::Path, sync::Arc, time::Duration};

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::{HeaderMap, Method, Request, StatusCode, client::conn::http1};
use hyper_util::rt::TokioIo;
use rustls::{
    ClientConfig, RootCertStore,
    crypto::ring,
    pki_types::{CertificateDer, ServerName, pem::PemObject as _},
};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
    time::timeout,
};
use tokio_rustls::TlsConnector;

use super::{address::Address, error::ClientError};

/// How long it may take until a connection is there.
const CONNECTING: Duration = Duration::from_secs(10);
/// The longest answer that is read, in bytes.
const LONGEST_ANSWER: usize = 64 << 20;

/// What came back.
pub(crate) struct Exchanged {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

/// Why nothing came back.
pub(crate) enum Failed {
    /// Nothing was sent, and that will not change.
    Never(ClientError),
    /// Nothing was sent.
    NotSent(ClientError),
    /// It was sent, as a whole or in part.
    Lost(ClientError),
}

/// TLS that trusts whom everybody trusts, and the certificates in a file.
pub(crate) fn connector(ca: Option<&Path>) -> Result<TlsConnector, ClientError> {
    let mut roots = RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() };
    if let Some(path) = ca {
        let wrong = |why: &dyn std::fmt::Display| {
            ClientError::Given(format!(
                "the certificates in {} cannot be used: {why}; it must be a PEM file",
                path.display()
            ))
        };
        let pem = fs::read(path).map_err(|error| wrong(&error))?;
        let before = roots.len();
        for root in CertificateDer::pem_slice_iter(&pem) {
            roots.add(root.map_err(|e| wrong(&e))?).map_err(|error| wrong(&error))?;
        }
        if roots.len() == before {
            return Err(wrong(&"there is none in it"));
        }
    }
    let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|error| ClientError::Given(format!("TLS cannot be set up: {error}")))?;
    let mut config = config.with_root_certificates(roots).with_no_client_auth();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(TlsConnector::from(Arc::new(config)))
}

/// Connects, sends the request, and waits for the answer.
pub(crate) async fn exchange(
    address: &Address,
    tls: Option<&TlsConnector>,
    request: Request<Full<Bytes>>,
    patience: Duration,
) -> Result<Exchanged, Failed> {
    let stream = connect(address, tls).await?;
    converse(address, stream, request, patience).await
}

/// As [`exchange`], of an answer that goes on: `heard` is given each piece of it as it comes, until
/// it says that this is enough. A problem is returned, and not given piece by piece.
pub(super) async fn listen(
    address: &Address,
    tls: Option<&TlsConnector>,
    request: Request<Full<Bytes>>,
    patience: Duration,
    heard: &mut dyn FnMut(&[u8]) -> bool,
) -> Result<Exchanged, Failed> {
    let stream = connect(address, tls).await?;
    let lost = |reason: String| {
        Failed::Lost(ClientError::Lost { address: address.to_string(), reason, advice: "" })
    };
    let (mut sender, connection) =
        http1::handshake(TokioIo::new(stream)).await.map_err(|error| lost(error.to_string()))?;
    let slow = || lost(format!("it said nothing for {} s", patience.as_secs()));
    let listening = async {
        let answer = timeout(patience, sender.send_request(request)).await.map_err(|_| slow())?;
        let (head, mut body) = answer.map_err(|error| lost(why(error)))?.into_parts();
        let mut kept = Vec::new();
        loop {
            let frame = timeout(patience, body.frame()).await.map_err(|_| slow())?;
            let Some(frame) = frame else { break };
            let frame = frame.map_err(|error| lost(format!("its answer ended early: {error}")))?;
            let Ok(data) = frame.into_data() else { continue };
            if !head.status.is_success() {
                kept.extend_from_slice(&data);
                if kept.len() > LONGEST_ANSWER {
                    break;
                }
            } else if !heard(&data) {
                break;
            }
        }
        Ok(Exchanged { status: head.status, headers: head.headers, body: kept.into() })
    };
    tokio::pin!(connection, listening);
    tokio::select! {
        biased;
        answer = &mut listening => answer,
        // What it has left behind is still to be taken.
        _ = &mut connection => listening.await,
    }
}

/// A connection, encrypted or not.
trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

async fn connect(address: &Address, tls: Option<&TlsConnector>) -> Result<Box<dyn Stream>, Failed> {
    let unreachable =
        |reason: String| ClientError::Unreachable { address: address.to_string(), reason };
    let slow = || unreachable(format!("it took more than {} s", CONNECTING.as_secs()));
    let connecting = TcpStream::connect((address.host.as_str(), address.port));
    let stream = match timeout(CONNECTING, connecting).await {
        Err(_) => return Err(Failed::Never(slow())),
        Ok(Err(error)) => return Err(not_connected(&error, unreachable)),
        Ok(Ok(stream)) => stream,
    };
    // A request is written whole.
    let _ = stream.set_nodelay(true);
    let Some(connector) = tls else { return Ok(Box::new(stream)) };
    let name = ServerName::try_from(address.host.clone())
        .map_err(|_| Failed::Never(unreachable("its name is no host's name".to_owned())))?;
    match timeout(CONNECTING, connector.connect(name, stream)).await {
        Err(_) => Err(Failed::Never(slow())),
        Ok(Err(error)) => Err(Failed::Never(unreachable(tls_refused(&error)))),
        Ok(Ok(stream)) => Ok(Box::new(stream)),
    }
}

fn not_connected(error: &io::Error, unreachable: impl Fn(String) -> ClientError) -> Failed {
    match error.kind() {
        // It may be starting just now.
        io::ErrorKind::ConnectionRefused => Failed::NotSent(unreachable(
            "nobody listens there; is it started, and is the port right?".to_owned(),
        )),
        io::ErrorKind::ConnectionReset => Failed::NotSent(unreachable(error.to_string())),
        _ => Failed::Never(unreachable(error.to_string())),
    }
}

fn tls_refused(error: &io::Error) -> String {
    let cause = error.get_ref().and_then(|cause| cause.downcast_ref::<rustls::Error>());
    match cause {
        Some(rustls::Error::InvalidCertificate(why)) => format!(
            "its certificate is not trusted ({why}); if it is signed by an authority of your own, \
             name that one's certificate with --ca FILE"
        ),
        Some(rustls::Error::InvalidMessage(_)) => {
            "it does not speak TLS; write http:// if it is to be asked without".to_owned()
        }
        _ => format!("no TLS with it: {error}"),
    }
}

async fn converse<S: AsyncRead + AsyncWrite + Unpin>(
    address: &Address,
    stream: S,
    request: Request<Full<Bytes>>,
    patience: Duration,
) -> Result<Exchanged, Failed> {
    let advice = match *request.method() {
        Method::GET => "",
        _ => "; look whether it was done before you ask for it again",
    };
    let lost = |reason: String| {
        Failed::Lost(ClientError::Lost { address: address.to_string(), reason, advice })
    };
    let (mut sender, connection) =
        http1::handshake(TokioIo::new(stream)).await.map_err(|error| lost(error.to_string()))?;
    let answered = async {
        let (head, body) = sender.send_request(request).await.map_err(why)?.into_parts();
        let body = Limited::new(body, LONGEST_ANSWER).collect().await;
        let body = body.map_err(|error| format!("its answer ended early: {error}"))?.to_bytes();
        Ok(Exchanged { status: head.status, headers: head.headers, body })
    };
    let both = async {
        tokio::pin!(connection, answered);
        tokio::select! {
            biased;
            answer = &mut answered => answer,
            // What it has left behind is still to be taken.
            _ = &mut connection => answered.await,
        }
    };
    match timeout(patience, both).await {
        Ok(answer) => answer.map_err(lost),
        Err(_) => Err(lost(format!("it took more than {} s", patience.as_secs()))),
    }
}

#[expect(clippy::needless_pass_by_value, reason = "it maps an error")]
fn why(error: hyper::Error) -> String {
    if error.is_parse() {
        return "what answers there is no HTTP; write https:// if it has TLS".to_owned();
    }
    // The innermost cause says most.
    let mut cause: &dyn std::error::Error = &error;
    while let Some(inner) = cause.source() {
        cause = inner;
    }
    cause.to_string()
}
