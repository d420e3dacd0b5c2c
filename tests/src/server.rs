//! A server of HTTP for tests, in threads of the test's own process. What it answers
//! is said by the path.

use std::{
    io::{self, BufRead as _, BufReader, Read as _, Write as _},
    net::{SocketAddr, TcpListener, TcpStream},
    sync::{Arc, Condvar, Mutex, PoisonError},
    thread,
    time::Duration,
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
                let seen = of_threads.clone();
                thread::spawn(move || {
                    // A client that goes away is what some tests are about.
                    let _ = answer(&stream);
                    drop(stream);
                    seen.change(|counts| counts.open -= 1);
                });
            }
        });
        Self { address, seen }
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

fn answer(mut stream: &TcpStream) -> io::Result<()> {
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
            write!(stream, "HTTP/1.1 200 OK\r\ncontent-length: {length}\r\n\r\n{text}")
        }
        "/moved" => stream.write_all(
            b"HTTP/1.1 302 Found\r\nlocation: http://127.0.0.1:1/\r\ncontent-length: 0\r\n\r\n",
        ),
        "/endless" => {
            stream.write_all(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n")?;
            let chunk = [b"10000\r\n".as_slice(), &[b'x'; 0x10000], b"\r\n"].concat();
            loop {
                stream.write_all(&chunk)?;
            }
        }
        "/silent" => gone(&mut reader),
        "/begun" => {
            stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nhello")?;
            gone(&mut reader)
        }
        "/cut" => stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nhello"),
        "/heads" => {
            stream.write_all(b"HTTP/1.1 200 OK\r\n")?;
            loop {
                stream.write_all(b"x-more: of the same, and no end of it\r\n")?;
            }
        }
        _ => stream.write_all(b"\x00\x01 this is something else\r\n\r\n"),
    }
}

/// Waits until the client has gone.
fn gone(reader: &mut BufReader<&TcpStream>) -> io::Result<()> {
    io::copy(reader, &mut io::sink()).map(|_| ())
}

fn chunks(reader: &mut BufReader<&TcpStream>) -> io::Result<Vec<u8>> {
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
