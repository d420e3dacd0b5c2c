//! Whoever gets webhooks: a server of HTTP in threads of the test's own process, which remembers
//! what came, and answers what it is told to.

use std::{
    collections::VecDeque,
    io::{BufRead as _, BufReader, Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
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

/// A request that came.
#[derive(Debug, Clone)]
pub struct Received {
    /// What it asked for: method and path.
    pub line: String,
    /// Names in lower case.
    pub headers: Vec<(String, String)>,
    /// Its body.
    pub body: Vec<u8>,
    /// What it was answered with.
    pub status: u16,
}

impl Received {
    /// A header; empty if there is none.
    #[must_use]
    pub fn header(&self, name: &str) -> &str {
        let found = self.headers.iter().find(|(known, _)| known == name);
        found.map_or("", |(_, value)| value)
    }
}

/// Listens on a port of this machine until the test ends.
#[derive(Debug)]
pub struct Receiver {
    address: SocketAddr,
    shared: Arc<Shared>,
    certificate: Option<String>,
}

#[derive(Debug, Default)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    received: Vec<Received>,
    /// Connections that ended before there was a whole request.
    in_vain: usize,
    /// What comes next is answered with these, and then with `then`.
    first: VecDeque<u16>,
    then: u16,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Receiver {
    /// Answers the first requests with these statuses, and others with that one.
    ///
    /// # Panics
    /// If there is no port for it.
    #[must_use]
    pub fn start(first: &[u16], then: u16) -> Self {
        Self::of(first, then, None, None)
    }

    /// With TLS, as a host of this name, whose certificate is its own and nobody else's; all
    /// requests are answered with this status.
    ///
    /// # Panics
    /// If there is no port for it, or the name is none.
    #[must_use]
    pub fn start_with_tls(name: &str, then: u16) -> Self {
        let made = rcgen::generate_simple_self_signed([name.to_owned()]).expect("a host's name");
        let key = PrivatePkcs8KeyDer::from(made.signing_key.serialize_der());
        let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .expect("there are some")
            .with_no_client_auth()
            .with_single_cert(vec![made.cert.der().clone()], PrivateKeyDer::from(key));
        let config = config.expect("the key is that of the certificate");
        Self::of(&[], then, Some(Arc::new(config)), Some(made.cert.pem()))
    }

    fn of(
        first: &[u16],
        then: u16,
        tls: Option<Arc<ServerConfig>>,
        certificate: Option<String>,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("it listens");
        let shared = Arc::new(Shared::default());
        *shared.lock() = State { first: first.iter().copied().collect(), then, ..State::default() };
        let of_threads = shared.clone();
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (shared, tls) = (of_threads.clone(), tls.clone());
                thread::spawn(move || {
                    let received = match tls {
                        None => receive(&stream, &shared),
                        Some(config) => receive_with_tls(config, &stream, &shared),
                    };
                    if received.is_none() {
                        shared.lock().in_vain += 1;
                        shared.changed.notify_all();
                    }
                });
            }
        });
        Self { address, shared, certificate }
    }

    /// Where it is: `127.0.0.1:1234`.
    #[must_use]
    pub fn address(&self) -> String {
        self.address.to_string()
    }

    /// Its port.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.address.port()
    }

    /// The certificate to trust, as PEM.
    ///
    /// # Panics
    /// If it has no TLS.
    #[must_use]
    pub fn certificate(&self) -> &str {
        self.certificate.as_deref().expect("it has TLS")
    }

    /// Waits until so many connections ended without a request.
    ///
    /// # Panics
    /// If they do not.
    pub fn until_in_vain(&self, count: usize) {
        let state = self.shared.lock();
        let waited = self.shared.changed.wait_timeout_while(state, PATIENCE, |s| s.in_vain < count);
        let (state, timed_out) = waited.unwrap_or_else(PoisonError::into_inner);
        assert!(!timed_out.timed_out(), "{} connections came to nothing", state.in_vain);
    }

    /// From now on answers with this status.
    pub fn answer(&self, status: u16) {
        let mut state = self.shared.lock();
        state.first.clear();
        state.then = status;
    }

    /// All that came.
    #[must_use]
    pub fn received(&self) -> Vec<Received> {
        self.shared.lock().received.clone()
    }

    /// Waits until so many requests came.
    ///
    /// # Panics
    /// If they do not.
    pub fn until(&self, count: usize) {
        let state = self.shared.lock();
        let waited =
            self.shared.changed.wait_timeout_while(state, PATIENCE, |s| s.received.len() < count);
        let (state, timed_out) = waited.unwrap_or_else(PoisonError::into_inner);
        assert!(!timed_out.timed_out(), "{} requests came, not {count}", state.received.len());
    }
}

fn receive_with_tls(
    config: Arc<ServerConfig>,
    mut stream: &TcpStream,
    shared: &Shared,
) -> Option<()> {
    let mut tls = ServerConnection::new(config).ok()?;
    receive(Stream::new(&mut tls, &mut stream), shared)?;
    tls.send_close_notify();
    tls.complete_io(&mut stream).ok().map(|_| ())
}

/// One request of a connection; none if it is not whole.
fn receive(stream: impl Read + Write, shared: &Shared) -> Option<()> {
    let mut reader = BufReader::new(stream);
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        if reader.read_line(&mut head).ok()? == 0 {
            return None;
        }
    }
    let mut lines = head.lines();
    let line = lines.next()?.to_owned();
    let headers: Vec<(String, String)> = lines
        .filter_map(|line| line.split_once(':'))
        .map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned()))
        .collect();
    let length = headers.iter().find(|(name, _)| name == "content-length")?.1.parse().ok()?;
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    let status = {
        let mut state = shared.lock();
        let status = state.first.pop_front().unwrap_or(state.then);
        state.received.push(Received { line, headers, body, status });
        status
    };
    shared.changed.notify_all();
    write!(
        reader.get_mut(),
        "HTTP/1.1 {status} Said\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"
    )
    .ok()
}
