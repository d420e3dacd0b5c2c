//! Where a server is: `http://127.0.0.1:8080`, `https://streams.example/cofferdam`.

use std::{fmt, net::IpAddr, str::FromStr};

use hyper::Uri;

/// Where a server is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Address {
    /// Whether it speaks TLS.
    pub tls: bool,
    /// Its name or address, an IPv6 address without brackets.
    pub host: String,
    /// Its port.
    pub port: u16,
    /// What comes before `/v1` in paths, if a proxy has it below a path; else empty.
    pub path: String,
}

/// Reads on after "the server's address ".
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("must be as http://127.0.0.1:8080 or https://NAME, {0}")]
pub struct NotAnAddress(&'static str);

impl FromStr for Address {
    type Err = NotAnAddress;

    fn from_str(text: &str) -> Result<Self, NotAnAddress> {
        let uri: Uri = text.trim().parse().map_err(|_| NotAnAddress("and it is no URL"))?;
        let (tls, port) = match uri.scheme_str() {
            Some("http") => (false, 80),
            Some("https") => (true, 443),
            Some(_) => return Err(NotAnAddress("not with another scheme")),
            None => return Err(NotAnAddress("with http:// or https:// in front")),
        };
        if uri.authority().is_some_and(|authority| authority.as_str().contains('@')) {
            return Err(NotAnAddress("without a user; a token is given with --token"));
        }
        if uri.query().is_some() {
            return Err(NotAnAddress("without `?` and what follows it"));
        }
        let host = uri.host().filter(|host| !host.is_empty());
        let host = host.ok_or(NotAnAddress("with a host"))?;
        let host = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
        Ok(Self {
            tls,
            host: host.to_ascii_lowercase(),
            port: uri.port_u16().unwrap_or(port),
            path: uri.path().trim_end_matches('/').to_owned(),
        })
    }
}

impl Address {
    /// Host and port, as the header `Host` has them.
    #[must_use]
    pub fn authority(&self) -> String {
        let host =
            if self.host.contains(':') { format!("[{}]", self.host) } else { self.host.clone() };
        let usual = if self.tls { 443 } else { 80 };
        if self.port == usual { host } else { format!("{host}:{}", self.port) }
    }

    /// Whether what is sent there can be read by no other machine.
    #[must_use]
    pub fn is_private(&self) -> bool {
        self.tls
            || self.host == "localhost"
            || self.host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.tls { "https" } else { "http" };
        write!(f, "{scheme}://{}{}", self.authority(), self.path)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_read_and_shown() {
        for (text, shown, port, private) in [
            ("http://127.0.0.1:8080", "http://127.0.0.1:8080", 8080, true),
            ("http://localhost/", "http://localhost", 80, true),
            ("https://Streams.Example/cofferdam/", "https://streams.example/cofferdam", 443, true),
            ("http://[::1]:9", "http://[::1]:9", 9, true),
            ("http://10.0.0.1:443", "http://10.0.0.1:443", 443, false),
            ("https://x:443", "https://x", 443, true),
            ("http://localhost.example", "http://localhost.example", 80, false),
        ] {
            let address: Address = text.parse().unwrap();
            assert_eq!((address.to_string().as_str(), address.port), (shown, port));
            assert_eq!(address.is_private(), private, "{text}");
        }
    }

    #[test]
    fn what_is_none_is_refused_with_an_example() {
        for bad in ["", "127.0.0.1:8080", "localhost", "ftp://x", "http://", "http://me:pw@x"] {
            let error = bad.parse::<Address>().unwrap_err().to_string();
            assert!(error.contains("http://127.0.0.1:8080"), "{bad}: {error}");
        }
        assert!("http://x/?a=b".parse::<Address>().is_err());
    }
}
