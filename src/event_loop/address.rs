//! Addresses as people write them: `HOST:PORT`, `[V6]:PORT`, `:PORT`, `unix:PATH`, and for datagrams
//! `udp:HOST:PORT` and `unixgram:PATH`.

use std::fmt;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, ToSocketAddrs};
use std::path::PathBuf;
use std::str::FromStr;

use crate::engine::Endpoint;

/// An address to listen on or to connect to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Address {
    /// `HOST:PORT` or `[V6]:PORT`, with `tcp:` or `udp:` before it
    Host(Transport, String, u16),
    /// `:PORT`: every address of this machine, of both families; for a client, this machine.
    Any(Transport, u16),
    /// `unix:PATH`
    Unix(PathBuf),
    /// `unixgram:PATH`
    Unixgram(PathBuf),
}

/// What a host and a port are an address of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transport {
    /// A stream of bytes: what is meant where nothing is said.
    Tcp,
    /// Datagrams.
    Udp,
}

impl Transport {
    fn endpoint(self, address: SocketAddr) -> Endpoint {
        match self {
            Transport::Tcp => Endpoint::Tcp(address),
            Transport::Udp => Endpoint::Udp(address),
        }
    }
}

impl FromStr for Address {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        for (scheme, address) in
            [("unix:", Address::Unix as fn(PathBuf) -> Address), ("unixgram:", Address::Unixgram)]
        {
            match text.strip_prefix(scheme) {
                Some("") => return Err(format!("{scheme} needs a path behind it")),
                Some(path) => return Ok(address(path.into())),
                None => {}
            }
        }
        if text.contains("://") {
            return Err("an address is no URL, but HOST:PORT, as localhost:8089".into());
        }
        let (transport, text) = match (text.strip_prefix("tcp:"), text.strip_prefix("udp:")) {
            (Some(rest), _) => (Transport::Tcp, rest),
            (_, Some(rest)) => (Transport::Udp, rest),
            _ => (Transport::Tcp, text),
        };
        let Some((host, port)) = text.rsplit_once(':') else {
            return Err("an address is HOST:PORT, [V6]:PORT, :PORT or unix:PATH, or udp:HOST:PORT or \
                        unixgram:PATH for datagrams"
                .into());
        };
        let port = port.parse().map_err(|_| format!("'{port}' is no port: 0 to 65535"))?;
        let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
        match (bare, host) {
            (Some(v6), _) if v6.parse::<Ipv6Addr>().is_err() => Err(format!("'{v6}' is no IPv6 address")),
            (Some(v6), _) => Ok(Address::Host(transport, v6.into(), port)),
            (None, "") => Ok(Address::Any(transport, port)),
            (None, host) if host.contains(':') => {
                Err("an IPv6 address stands in brackets: [::1]:60000".into())
            }
            (None, host) => Ok(Address::Host(transport, host.into(), port)),
        }
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Address::Host(Transport::Udp, ..) | Address::Any(Transport::Udp, _) => f.write_str("udp:")?,
            _ => {}
        }
        match self {
            Address::Host(_, host, port) if host.contains(':') => write!(f, "[{host}]:{port}"),
            Address::Host(_, host, port) => write!(f, "{host}:{port}"),
            Address::Any(_, port) => write!(f, ":{port}"),
            Address::Unix(path) => write!(f, "unix:{}", path.display()),
            Address::Unixgram(path) => write!(f, "unixgram:{}", path.display()),
        }
    }
}

impl Address {
    /// Whether datagrams are exchanged with it, not a stream of bytes.
    #[must_use]
    pub fn is_datagram(&self) -> bool {
        matches!(
            self,
            Address::Host(Transport::Udp, ..) | Address::Any(Transport::Udp, _) | Address::Unixgram(_)
        )
    }

    /// Whether nobody but this machine's can reach what listens there, as far as can be told without asking
    /// for the address of a name.
    #[must_use]
    pub fn is_local(&self) -> bool {
        match self {
            Address::Unix(_) | Address::Unixgram(_) => true,
            Address::Any(..) => false,
            Address::Host(_, host, _) => match host.parse::<IpAddr>() {
                Ok(ip) => ip.to_canonical().is_loopback(),
                // RFC 6761, section 6.3
                Err(_) => {
                    host.eq_ignore_ascii_case("localhost")
                        || host.to_ascii_lowercase().ends_with(".localhost")
                }
            },
        }
    }

    /// What to listen on: all addresses that the name has. [`Address::Any`] gives both families.
    ///
    /// # Errors
    /// Where the name is not known. It asks the resolver, and so may block.
    pub fn to_listen(&self) -> io::Result<Vec<Endpoint>> {
        self.endpoints([Ipv6Addr::UNSPECIFIED.into(), Ipv4Addr::UNSPECIFIED.into()])
    }

    /// What to connect to, in the order in which to try.
    ///
    /// # Errors
    /// Where the name is not known. It asks the resolver, and so may block.
    pub fn to_connect(&self) -> io::Result<Vec<Endpoint>> {
        self.endpoints([Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()])
    }

    fn endpoints(&self, any: [IpAddr; 2]) -> io::Result<Vec<Endpoint>> {
        Ok(match self {
            Address::Unix(path) => vec![Endpoint::Unix(path.clone())],
            Address::Unixgram(path) => vec![Endpoint::Unixgram(path.clone())],
            Address::Any(transport, port) => {
                any.iter().map(|address| transport.endpoint((*address, *port).into())).collect()
            }
            Address::Host(transport, host, port) => {
                resolve(host, *port)?.into_iter().map(|address| transport.endpoint(address)).collect()
            }
        })
    }
}

fn resolve(host: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
    let mut addresses: Vec<SocketAddr> = (host, port).to_socket_addrs()?.collect();
    let mut seen = Vec::new();
    addresses.retain(|address| {
        let is_new = !seen.contains(address);
        seen.push(*address);
        is_new
    });
    Ok(addresses)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_form_is_read_and_written_back() {
        for (text, address) in [
            ("localhost:60000", Address::Host(Transport::Tcp, "localhost".into(), 60000)),
            ("127.0.0.1:0", Address::Host(Transport::Tcp, "127.0.0.1".into(), 0)),
            ("[::1]:7", Address::Host(Transport::Tcp, "::1".into(), 7)),
            (":60000", Address::Any(Transport::Tcp, 60000)),
            ("unix:/tmp/a:b", Address::Unix("/tmp/a:b".into())),
            ("udp:[::1]:53", Address::Host(Transport::Udp, "::1".into(), 53)),
            ("udp::53", Address::Any(Transport::Udp, 53)),
            ("unixgram:/tmp/a:b", Address::Unixgram("/tmp/a:b".into())),
        ] {
            assert_eq!(text.parse(), Ok(address.clone()));
            assert_eq!(address.to_string(), text);
        }
        assert_eq!("tcp:localhost:1".parse::<Address>(), "localhost:1".parse());
    }

    #[test]
    fn what_others_can_reach_is_not_local() {
        for (text, is_local) in [
            ("127.0.0.1:1", true),
            ("127.8.8.8:1", true),
            ("localhost:1", true),
            ("[::1]:1", true),
            ("[::ffff:127.0.0.1]:1", true),
            ("unix:/p", true),
            (":1", false),
            ("0.0.0.0:1", false),
            ("[::]:1", false),
            ("192.0.2.1:1", false),
            ("example.org:1", false),
            ("notlocalhost:1", false),
        ] {
            assert_eq!(text.parse::<Address>().map(|address| address.is_local()), Ok(is_local), "{text}");
        }
    }

    #[test]
    fn what_is_no_address_is_explained() {
        for (text, why) in [
            ("localhost", "an address is"),
            ("host:port", "no port"),
            ("host:65536", "no port"),
            ("::1:60000", "brackets"),
            ("[host]:1", "no IPv6 address"),
            ("unix:", "needs a path"),
            ("unixgram:", "needs a path"),
            ("udp:53", "an address is"),
            ("http://localhost:8089", "no URL"),
        ] {
            let error = text.parse::<Address>().expect_err(text);
            assert!(error.contains(why), "{text}: {error}");
        }
    }
}
