//! A plain HTTP client, which keeps its connection, as a collector of metrics does, and takes answers
//! without looking at them: what is measured is the server.

use std::{
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::TcpStream,
};

use anyhow::{Context as _, ensure};
use cofferdam_tests::Served;

/// A connection to a server.
#[derive(Debug)]
pub(crate) struct Connection(BufReader<TcpStream>);

impl Connection {
    pub(crate) fn open(address: &str) -> anyhow::Result<Self> {
        let stream = BufReader::new(TcpStream::connect(address)?);
        stream.get_ref().set_nodelay(true)?;
        Ok(Self(stream))
    }

    /// Asks, and takes the whole answer.
    pub(crate) fn ask(&mut self, request: &[u8]) -> anyhow::Result<()> {
        self.0.get_mut().write_all(request)?;
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            ensure!(self.0.read_line(&mut head)? > 0, "the server went away");
        }
        let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
        let mut body = vec![0; length.context("an answer with a length")?.parse()?];
        self.0.read_exact(&mut body)?;
        ensure!(head.starts_with("HTTP/1.1 200"), "{head}{}", String::from_utf8_lossy(&body));
        Ok(())
    }
}

/// A request of the administrator's.
pub(crate) fn request(served: &Served, method: &str, path: &str, body: &str) -> String {
    format!(
        "{method} {path} HTTP/1.1\r\nhost: {}\r\nauthorization: Bearer {}\r\n\
         content-length: {}\r\n\r\n{body}",
        served.address(),
        served.token,
        body.len()
    )
}
