//! Which addresses a sink may connect to. A tenant of a server must not reach what only the
//! server's own network can: a name is looked up once, and the connection is made to an address
//! that was looked at, so that a name which means another one later changes nothing.

use std::{
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
};

use tokio::net::{TcpStream, lookup_host};

use crate::config::webhook::{Reach, Target};

/// How many addresses of a name are tried.
const MOST_ADDRESSES: usize = 8;

/// Connects to a target, where that may be.
pub(super) async fn connect(target: &Target, reach: Reach) -> Result<TcpStream, String> {
    let addresses: Vec<SocketAddr> = match target.host.parse::<IpAddr>() {
        Ok(address) => vec![SocketAddr::new(address, target.port)],
        Err(_) => lookup_host((target.host.as_str(), target.port))
            .await
            .map_err(|error| format!("its name cannot be looked up: {error}"))?
            .take(MOST_ADDRESSES)
            .collect(),
    };
    let allowed = |address: &&SocketAddr| reach == Reach::Any || is_public(address.ip());
    let mut why = "its addresses are those of a private network, which webhooks reach only if the \
                   server's configuration lists the host: `[network] webhook_hosts`"
        .to_owned();
    for address in addresses.iter().filter(allowed) {
        match TcpStream::connect(address).await {
            Ok(stream) => {
                // A request is written whole.
                let _ = stream.set_nodelay(true);
                return Ok(stream);
            }
            Err(error) => why = refused(&error, target.port),
        }
    }
    Err(why)
}

fn refused(error: &io::Error, port: u16) -> String {
    match error.kind() {
        // The hardening of this process, or a firewall.
        io::ErrorKind::PermissionDenied => format!(
            "port {port} may not be connected to: the server's `[network] ports` must have it"
        ),
        _ => format!("it cannot be connected to: {error}"),
    }
}

/// Whether an address is one of the internet at large (the registries of special-purpose
/// addresses, RFC 6890, name those that are not).
fn is_public(address: IpAddr) -> bool {
    match address.to_canonical() {
        IpAddr::V4(address) => is_public_v4(address),
        IpAddr::V6(address) => is_public_v6(address),
    }
}

fn is_public_v4(address: Ipv4Addr) -> bool {
    let [a, b, c, _] = address.octets();
    let special = address.is_private()
        || address.is_loopback()
        || address.is_link_local()
        || address.is_documentation()
        || address.is_multicast()
        || a == 0
        || a >= 240
        || (a == 100 && (64..128).contains(&b))
        || (a == 192 && b == 0 && c == 0)
        || (a == 192 && b == 88 && c == 99)
        || (a == 198 && (b == 18 || b == 19));
    !special
}

fn is_public_v6(address: Ipv6Addr) -> bool {
    let parts = address.segments();
    let embedded = |high: u16, low: u16| {
        let [a, b] = high.to_be_bytes();
        let [c, d] = low.to_be_bytes();
        is_public_v4(Ipv4Addr::new(a, b, c, d))
    };
    match parts {
        // NAT64 and 6to4 lead to addresses of IPv4.
        [0x64, 0xff9b, 0, 0, 0, 0, high, low] => embedded(high, low),
        [0x2002, high, low, ..] => embedded(high, low),
        // Teredo, documentation, benchmarks, identifiers.
        [0x2001, second, ..] if second < 0x200 || second == 0xdb8 => false,
        [0x3fff, second, ..] if second < 0x1000 => false,
        // All that is global unicast begins with these three bits.
        [first, ..] => first & 0xe000 == 0x2000,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_addresses_of_the_internet_at_large_are_public() {
        for public in ["1.1.1.1", "100.128.0.1", "172.32.0.1", "2606:4700::1", "::ffff:8.8.8.8"] {
            assert!(is_public(public.parse().unwrap()), "{public}");
        }
        for private in [
            "127.0.0.1",
            "10.1.2.3",
            "172.16.0.1",
            "192.168.1.1",
            "169.254.169.254",
            "0.0.0.0",
            "100.64.0.1",
            "224.0.0.1",
            "255.255.255.255",
            "198.18.0.1",
            "192.0.0.8",
            "::",
            "::1",
            "fe80::1",
            "fc00::1",
            "fd00:ec2::254",
            "ff02::1",
            "::ffff:127.0.0.1",
            "::ffff:10.0.0.1",
            "64:ff9b::a00:1",
            "2002:a00:1::1",
            "2001:db8::1",
            "2001::1",
            "::127.0.0.1",
        ] {
            assert!(!is_public(private.parse().unwrap()), "{private}");
        }
    }

    #[tokio::test]
    async fn a_name_of_this_machine_is_not_reached_from_a_server() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        for host in ["localhost", "127.0.0.1"] {
            let (host, authority, path) = (host.to_owned(), String::new(), "/".to_owned());
            let target = Target { tls: false, host, port, authority, path };
            let error = connect(&target, Reach::Public).await.unwrap_err();
            assert!(error.contains("webhook_hosts"), "{error}");
            connect(&target, Reach::Any).await.unwrap();
        }
    }
}
