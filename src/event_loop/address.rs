//! Addresses as people write them: `HOST:PORT`, `[V6]:PORT`, `:PORT`, `unix:PATH`.

use std::fmt;
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, ToSocketAddrs};
use std::path::PathBuf;
use std::str::FromStr;

use crate::engine::Endpoint;

/// An address to listen on or to connect to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Address {
    /// `HOST:PORT` or `[V6]:PORT`
    Host(String, u16),
    /// `:PORT`: every address of this machine, of both families; for a client, this machine.
    Any(u16),
    /// `unix:PATH`
    Unix(PathBuf),
}

impl FromStr for Address {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if let Some(path) = text.strip_prefix("unix:") {
            if path.is_empty() {
                return Err("unix: needs a path behind it".into());
            }
            return Ok(Address::Unix(path.into()));
        }
        let Some((host, port)) = text.rsplit_once(':') else {
            return Err("an address is HOST:PORT, [V6]:PORT, :PORT or unix:PATH".into());
        };
        let port = port.parse().map_err(|_| format!("'{port}' is no port: 0 to 65535"))?;
        let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
        match (bare, host) {
            (Some(v6), _) if v6.parse::<Ipv6Addr>().is_err() => Err(format!("'{v6}' is no IPv6 address")),
            (Some(v6), _) => Ok(Address::Host(v6.into(), port)),
            (None, "") => Ok(Address::Any(port)),
            (None, host) if host.contains(':') => {
                Err("an IPv6 address stands in brackets: [::1]:60000".into())
            }
            (None, host) => Ok(Address::Host(host.into(), port)),
        }
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Address::Host(host, port) if host.contains(':') => write!(f, "[{host}]:{port}"),
            Address::Host(host, port) => write!(f, "{host}:{port}"),
            Address::Any(port) => write!(f, ":{port}"),
            Address::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

impl Address {
    /// What to listen on: all addresses that the name has. [`Address::Any`] gives both families.
    ///
    /// # Errors
    /// Where the name is not known. It asks the resolver, and so may block.
    pub fn to_listen(&self) -> io::Result<Vec<Endpoint>> {
        Ok(match self {
            Address::Unix(path) => vec![Endpoint::Unix(path.clone())],
            Address::Any(port) => vec![
                Endpoint::Inet((Ipv6Addr::UNSPECIFIED, *port).into()),
                Endpoint::Inet((Ipv4Addr::UNSPECIFIED, *port).into()),
            ],
            Address::Host(host, port) => resolve(host, *port)?,
        })
    }

    /// What to connect to, in the order in which to try.
    ///
    /// # Errors
    /// Where the name is not known. It asks the resolver, and so may block.
    pub fn to_connect(&self) -> io::Result<Vec<Endpoint>> {
        Ok(match self {
            Address::Unix(path) => vec![Endpoint::Unix(path.clone())],
            Address::Any(port) => vec![
                Endpoint::Inet((Ipv4Addr::LOCALHOST, *port).into()),
                Endpoint::Inet((Ipv6Addr::LOCALHOST, *port).into()),
            ],
            Address::Host(host, port) => resolve(host, *port)?,
        })
    }
}

fn resolve(host: &str, port: u16) -> io::Result<Vec<Endpoint>> {
    let mut addresses: Vec<SocketAddr> = (host, port).to_socket_addrs()?.collect();
    let mut seen = Vec::new();
    addresses.retain(|address| {
        let is_new = !seen.contains(address);
        seen.push(*address);
        is_new
    });
    Ok(addresses.into_iter().map(Endpoint::Inet).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_form_is_read_and_written_back() {
        for (text, address) in [
            ("localhost:60000", Address::Host("localhost".into(), 60000)),
            ("127.0.0.1:0", Address::Host("127.0.0.1".into(), 0)),
            ("[::1]:7", Address::Host("::1".into(), 7)),
            (":60000", Address::Any(60000)),
            ("unix:/tmp/a:b", Address::Unix("/tmp/a:b".into())),
        ] {
            assert_eq!(text.parse(), Ok(address.clone()));
            assert_eq!(address.to_string(), text);
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
        ] {
            let error = text.parse::<Address>().expect_err(text);
            assert!(error.contains(why), "{text}: {error}");
        }
    }
}
