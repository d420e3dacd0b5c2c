//! Whoever gets webhooks: a server of HTTP in threads of the test's own process, which remembers
//! what came, and answers what it is told to.

use std::{
    collections::VecDeque,
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::{SocketAddr, TcpListener, TcpStream},
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    thread,
    time::Duration,
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
}

#[derive(Debug, Default)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    received: Vec<Received>,
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
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("it listens");
        let shared = Arc::new(Shared::default());
        *shared.lock() =
            State { received: Vec::new(), first: first.iter().copied().collect(), then };
        let of_threads = shared.clone();
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let shared = of_threads.clone();
                thread::spawn(move || receive(&stream, &shared));
            }
        });
        Self { address, shared }
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

/// One request of a connection; none if it is not whole.
fn receive(stream: &TcpStream, shared: &Shared) -> Option<()> {
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
    let mut stream = stream;
    write!(stream, "HTTP/1.1 {status} Said\r\ncontent-length: 0\r\nconnection: close\r\n\r\n").ok()
}
