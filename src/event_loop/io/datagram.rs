//! Datagram sockets: UDP and Unix, bound to be sent to, or connected to one peer.

use std::ffi::OsStr;
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::AsFd;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

use mio::net::{UdpSocket, UnixDatagram};
use rustix::net::{RecvFlags, SendFlags, SocketAddrAny, SocketAddrUnix};
use socket2::{Domain, Protocol, Socket, Type};

use super::Stream;
use super::bind::{self, BindError, SocketFile};
use crate::engine::Endpoint;

/// A bound datagram socket, and its file.
#[derive(Debug)]
pub struct Datagrams {
    socket: Stream,
    file: Option<SocketFile>,
}

impl Datagrams {
    /// Binds a datagram address. Ports are not shared, not even with `SO_REUSEADDR`, which would let a
    /// second UDP server steal the first one's datagrams.
    ///
    /// # Errors
    /// Why it cannot be, with the remedy.
    pub fn bind(endpoint: &Endpoint) -> Result<Self, BindError> {
        match endpoint {
            Endpoint::Udp(address) => bind_udp(*address)
                .map(|socket| Datagrams { socket: Stream::Udp(socket), file: None })
                .map_err(|error| BindError::of_port(endpoint, *address, error)),
            Endpoint::Unixgram(path) => {
                let (socket, file) = bind::bind_unix(path, Type::DGRAM, "unixgram")?;
                let socket = UnixDatagram::from_std(socket.into());
                Ok(Datagrams { socket: Stream::Unixgram(socket), file: Some(file) })
            }
            Endpoint::Tcp(_) | Endpoint::Unix(_) => Err(BindError {
                address: endpoint.to_string(),
                error: io::Error::new(io::ErrorKind::Unsupported, "a stream has to be listened on"),
                remedy: None,
            }),
        }
    }

    /// The socket, and the file that is to be kept as long.
    pub(in crate::event_loop) fn into_parts(self) -> (Stream, Option<SocketFile>) {
        (self.socket, self.file)
    }

    /// The address really bound: what port 0 became.
    #[must_use]
    pub fn address(&self) -> String {
        match (&self.socket, &self.file) {
            (_, Some(file)) => format!("unixgram:{}", file.path().display()),
            (Stream::Udp(socket), _) => match socket.local_addr() {
                Ok(address) => format!("udp:{address}"),
                Err(error) => format!("unknown address: {error}"),
            },
            _ => "unknown address".into(),
        }
    }

    /// The port bound, for UDP.
    #[must_use]
    pub fn port(&self) -> Option<u16> {
        match &self.socket {
            Stream::Udp(socket) => socket.local_addr().ok().map(|address| address.port()),
            _ => None,
        }
    }
}

fn bind_udp(address: SocketAddr) -> io::Result<UdpSocket> {
    let socket = Socket::new(Domain::for_address(address), Type::DGRAM.nonblocking(), Some(Protocol::UDP))?;
    if address.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    socket.bind(&address.into())?;
    Ok(UdpSocket::from_std(socket.into()))
}

/// A UDP socket that hears only `address`, and learns when nobody listens there (udp(7)).
pub(super) fn connect_udp(address: SocketAddr) -> io::Result<UdpSocket> {
    let any = if address.is_ipv6() {
        SocketAddr::from((Ipv6Addr::UNSPECIFIED, 0))
    } else {
        SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0))
    };
    let socket = bind_udp(any)?;
    socket.connect(address)?;
    Ok(socket)
}

/// A Unix datagram socket that sends to `path`, and has a name of its own to be answered at: one that
/// the kernel invents (unix(7), "Autobind feature").
pub(super) fn connect_unix(path: &Path) -> io::Result<UnixDatagram> {
    let socket = UnixDatagram::unbound()?;
    rustix::net::bind(&socket, &SocketAddrUnix::new_unnamed())?;
    socket.connect(path)?;
    Ok(socket)
}

/// Receives a datagram and its sender, if that has a name; the length is the datagram's own, though the
/// buffer may have taken less of it.
pub(super) fn receive(socket: impl AsFd, buffer: &mut [u8]) -> io::Result<(usize, Option<Endpoint>)> {
    let (_, bytes, from) = rustix::net::recvfrom(socket, buffer, RecvFlags::TRUNC)?;
    Ok((bytes, from.and_then(endpoint)))
}

fn endpoint(address: SocketAddrAny) -> Option<Endpoint> {
    match SocketAddr::try_from(address.clone()) {
        Ok(address) => Some(Endpoint::Udp(address)),
        Err(_) => {
            let address = SocketAddrUnix::try_from(address).ok()?;
            let path = match (address.path_bytes(), address.abstract_name()) {
                (Some(path), _) => OsStr::from_bytes(path).into(),
                (None, Some(name)) => PathBuf::from(std::ffi::OsString::from_vec([b"\0", name].concat())),
                (None, None) => return None,
            };
            Some(Endpoint::Unixgram(path))
        }
    }
}

/// Sends a datagram, whole or not at all; `None`: to whom the socket is connected.
pub(super) fn send_to(socket: impl AsFd, to: Option<&Endpoint>, bytes: &[u8]) -> io::Result<()> {
    let sent = match to {
        None => rustix::net::send(socket, bytes, SendFlags::NOSIGNAL)?,
        Some(Endpoint::Udp(address)) => rustix::net::sendto(socket, bytes, SendFlags::NOSIGNAL, address)?,
        Some(Endpoint::Unixgram(path)) => {
            let address = match path.as_os_str().as_bytes() {
                [0, name @ ..] => SocketAddrUnix::new_abstract_name(name)?,
                path => SocketAddrUnix::new(path)?,
            };
            rustix::net::sendto(socket, bytes, SendFlags::NOSIGNAL, &address)?
        }
        Some(Endpoint::Tcp(_) | Endpoint::Unix(_)) => return Err(io::ErrorKind::InvalidInput.into()),
    };
    debug_assert_eq!(sent, bytes.len(), "a datagram is never torn");
    Ok(())
}
