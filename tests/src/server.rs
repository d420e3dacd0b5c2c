//! A server of HTTP for tests, with TLS or without, in threads of the test's own
//! process. What it answers is said by the path.

use std::{
    io::{self, BufRead as _, BufReader, Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    sync::{Arc, Condvar, Mutex, PoisonError},
    thread,
    time::Duration,
};

use rustls::{
    ServerConfig, ServerConnection, Stream,
    crypto::ring,
    pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer},
};

/// How long something may take that is sure to come.
const PATIENCE: Duration = Duration::from_secs(60);

/// Listens on a port of this machine until the test ends.
///
/// | path | what it answers |
/// | --- | --- |
/// | `/echo` | the method, the path, the `host` and the body of the request |
/// | `/moved` | that the page is at another place, `http://127.0.0.1:1/` |
/// | `/endless` | a body without end |
/// | `/silent` | nothing, until the client goes |
/// | `/begun` | the beginning of a body, and then nothing |
/// | `/cut` | a body that is shorter than it should be |
/// | `/heads` | headers without end |
/// | anything else | no HTTP |
#[derive(Debug)]
pub struct Server {
    address: SocketAddr,
    seen: Arc<Seen>,
    certificate: Option<String>,
}

#[derive(Debug, Default)]
struct Seen {
    counts: Mutex<Counts>,
    changed: Condvar,
}

#[derive(Debug, Default, Clone, Copy)]
struct Counts {
    made: usize,
    open: usize,
}

impl Seen {
    fn change(&self, how: impl FnOnce(&mut Counts)) {
        how(&mut self.counts.lock().unwrap_or_else(PoisonError::into_inner));
        self.changed.notify_all();
    }
}

impl Default for Server {
    fn default() -> Self {
        Self::start()
    }
}

impl Server {
    /// Starts one.
    ///
    /// # Panics
    /// If there is no port for it.
    #[must_use]
    pub fn start() -> Self {
        Self::of(None, None)
    }

    /// One with TLS, as a host of this name or address, whose certificate is its own and
    /// nobody else's.
    ///
    /// # Panics
    /// If there is no port for it, or the name is none.
    #[must_use]
    pub fn start_with_tls(name: &str) -> Self {
        let made = rcgen::generate_simple_self_signed([name.to_owned()]).expect("a host's name");
        let key = PrivatePkcs8KeyDer::from(made.signing_key.serialize_der());
        let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .expect("there are some")
            .with_no_client_auth()
            .with_single_cert(vec![made.cert.der().clone()], PrivateKeyDer::from(key));
        let mut config = config.expect("the key is that of the certificate");
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Self::of(Some(Arc::new(config)), Some(made.cert.pem()))
    }

    fn of(tls: Option<Arc<ServerConfig>>, certificate: Option<String>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("it listens");
        let seen = Arc::new(Seen::default());
        let of_threads = seen.clone();
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                of_threads.change(|counts| {
                    counts.made += 1;
                    counts.open += 1;
                });
                let (seen, tls) = (of_threads.clone(), tls.clone());
                thread::spawn(move || {
                    // A client that goes away is what some tests are about.
                    let _ = match tls {
                        None => answer(&stream),
                        Some(config) => answer_with_tls(config, &stream),
                    };
                    drop(stream);
                    seen.change(|counts| counts.open -= 1);
                });
            }
        });
        Self { address, seen, certificate }
    }

    /// The certificate to trust, as PEM.
    ///
    /// # Panics
    /// If it has no TLS.
    #[must_use]
    pub fn certificate(&self) -> &str {
        self.certificate.as_deref().expect("it has TLS")
    }

    /// Its port.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.address.port()
    }

    /// How many connections were ever made.
    #[must_use]
    pub fn connections(&self) -> usize {
        self.seen.counts.lock().unwrap_or_else(PoisonError::into_inner).made
    }

    /// Waits until so many connections are open.
    ///
    /// # Panics
    /// If it does not come to that.
    pub fn until_open(&self, number: usize) {
        let counts = self.seen.counts.lock().unwrap_or_else(PoisonError::into_inner);
        let waited = self.seen.changed.wait_timeout_while(counts, PATIENCE, |c| c.open != number);
        let (counts, timed_out) = waited.unwrap_or_else(PoisonError::into_inner);
        assert!(!timed_out.timed_out(), "{} connections are open, not {number}", counts.open);
    }
}

fn answer_with_tls(config: Arc<ServerConfig>, mut stream: &TcpStream) -> io::Result<()> {
    let mut tls = ServerConnection::new(config).map_err(io::Error::other)?;
    answer(Stream::new(&mut tls, &mut stream))?;
    assert_eq!(tls.alpn_protocol(), Some(b"http/1.1".as_slice()));
    tls.send_close_notify();
    tls.complete_io(&mut stream).map(|_| ())
}

fn answer(stream: impl Read + Write) -> io::Result<()> {
    let mut reader = BufReader::new(stream);
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        if reader.read_line(&mut head)? == 0 {
            return Ok(());
        }
    }
    let mut words = head.split_whitespace();
    let (method, path) = (words.next().unwrap_or(""), words.next().unwrap_or(""));
    let header = |name: &str| {
        let mut lines = head.lines().filter_map(|line| line.split_once(": "));
        lines.find(|(found, _)| found.eq_ignore_ascii_case(name)).map_or("", |(_, value)| value)
    };
    match path {
        "/echo" => {
            let body = if header("transfer-encoding") == "chunked" {
                chunks(&mut reader)?
            } else {
                let mut body = vec![0; header("content-length").parse().unwrap_or(0)];
                reader.read_exact(&mut body)?;
                body
            };
            let body = String::from_utf8_lossy(&body);
            let text = format!("{method} {path} {} {body}", header("host"));
            let length = text.len();
            write!(reader.get_mut(), "HTTP/1.1 200 OK\r\ncontent-length: {length}\r\n\r\n{text}")
        }
        "/moved" => reader.get_mut().write_all(
            b"HTTP/1.1 302 Found\r\nlocation: http://127.0.0.1:1/\r\ncontent-length: 0\r\n\r\n",
        ),
        "/endless" => {
            reader.get_mut().write_all(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n")?;
            let chunk = [b"10000\r\n".as_slice(), &[b'x'; 0x10000], b"\r\n"].concat();
            loop {
                reader.get_mut().write_all(&chunk)?;
            }
        }
        "/silent" => gone(&mut reader),
        "/begun" => {
            reader.get_mut().write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nhello")?;
            gone(&mut reader)
        }
        "/cut" => {
            reader.get_mut().write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nhello")
        }
        "/heads" => {
            reader.get_mut().write_all(b"HTTP/1.1 200 OK\r\n")?;
            loop {
                reader.get_mut().write_all(b"x-more: of the same, and no end of it\r\n")?;
            }
        }
        _ => reader.get_mut().write_all(b"\x00\x01 this is something else\r\n\r\n"),
    }
}

/// Waits until the client has gone.
fn gone(reader: &mut BufReader<impl Read>) -> io::Result<()> {
    io::copy(reader, &mut io::sink()).map(|_| ())
}

fn chunks(reader: &mut BufReader<impl Read>) -> io::Result<Vec<u8>> {
    let mut body = Vec::new();
    loop {
        let mut line = String::new();
        reader.read_line(&mut line)?;
        let length = usize::from_str_radix(line.trim(), 16).map_err(io::Error::other)?;
        let mut chunk = vec![0; length + 2];
        reader.read_exact(&mut chunk)?;
        if length == 0 {
            return Ok(body);
        }
        body.extend_from_slice(&chunk[..length]);
    }
}
