//! Listening sockets, and accepting from them.

use std::io;
use std::net::SocketAddr;
use std::path::Path;

use mio::event::Source;
use mio::net::{TcpListener, UnixListener};
use mio::{Interest, Registry, Token};
use socket2::{Domain, Protocol, SockRef, Socket, TcpKeepalive, Type};

use super::Stream;
use super::bind::{self, BindError, SocketFile};
use crate::engine::{Endpoint, Peer};
use crate::limits;

/// What is set on every connection.
#[derive(Clone, Copy, Debug)]
pub struct SocketOptions {
    /// Bytes that may wait unsent in the kernel; once there are as many, a write is short. A TCP socket has a
    /// mark for them (tcp(7), `TCP_NOTSENT_LOWAT`). An accepted Unix socket has a send buffer of
    /// [`limits::UNIX_SEND_BUFFER_PER_UNSENT`] times as many bytes instead.
    pub unsent_bytes: usize,
}

impl Default for SocketOptions {
    fn default() -> Self {
        SocketOptions { unsent_bytes: limits::UNSENT_BYTES }
    }
}

/// A listening socket.
#[derive(Debug)]
pub enum Listener {
    /// TCP.
    Tcp(TcpListener),
    /// A Unix stream socket, and its file.
    Unix(UnixListener, SocketFile),
}

impl Listener {
    /// Listens on an address of streams. IPv6 sockets take IPv6 only; ports are not shared; a restart
    /// finds its port free (`SO_REUSEADDR`, but not `SO_REUSEPORT`, P24).
    ///
    /// # Errors
    /// Why it cannot be, with the remedy.
    pub fn bind(endpoint: &Endpoint, options: &SocketOptions) -> Result<Self, BindError> {
        match endpoint {
            Endpoint::Tcp(address) => {
                bind_tcp(*address, options).map_err(|error| BindError::of_port(endpoint, *address, error))
            }
            Endpoint::Unix(path) => bind_unix(path),
            Endpoint::Udp(_) | Endpoint::Unixgram(_) => Err(BindError {
                address: endpoint.to_string(),
                error: io::Error::new(io::ErrorKind::Unsupported, "nobody connects to a datagram socket"),
                remedy: None,
            }),
        }
    }

    /// The address really bound: what port 0 became.
    #[must_use]
    pub fn address(&self) -> String {
        match self {
            Listener::Tcp(listener) => match listener.local_addr() {
                Ok(address) => address.to_string(),
                Err(error) => format!("unknown address: {error}"),
            },
            Listener::Unix(_, file) => format!("unix:{}", file.path().display()),
        }
    }

    /// The port bound, for TCP.
    #[must_use]
    pub fn port(&self) -> Option<u16> {
        match self {
            Listener::Tcp(listener) => listener.local_addr().ok().map(|address| address.port()),
            Listener::Unix(..) => None,
        }
    }

    /// Whether only this machine reaches it.
    #[must_use]
    pub fn is_local(&self) -> bool {
        match self {
            Listener::Tcp(listener) => {
                listener.local_addr().is_ok_and(|address| address.ip().to_canonical().is_loopback())
            }
            Listener::Unix(..) => true,
        }
    }

    pub(super) fn register(&mut self, registry: &Registry, token: Token) -> io::Result<()> {
        match self {
            Listener::Tcp(listener) => listener.register(registry, token, Interest::READABLE),
            Listener::Unix(listener, _) => listener.register(registry, token, Interest::READABLE),
        }
    }

    pub(super) fn accept(&self, options: &SocketOptions) -> io::Result<(Stream, Peer)> {
        match self {
            // What was set on the listener, Linux copies to what it accepts (tcp(7) does not promise
            // it, a test does): that saves a system call for each, for every newcomer.
            Listener::Tcp(listener) => {
                listener.accept().map(|(stream, address)| (Stream::Tcp(stream), Peer::from(address)))
            }
            Listener::Unix(listener, _) => {
                let (stream, _) = listener.accept()?;
                // Failing leaves the system's default, which is a bound too.
                let bytes = limits::UNIX_SEND_BUFFER_PER_UNSENT * options.unsent_bytes;
                let _ = SockRef::from(&stream).set_send_buffer_size(bytes);
                Ok((Stream::Unix(stream), Peer::Unix))
            }
        }
    }
}

fn bind_tcp(address: SocketAddr, options: &SocketOptions) -> io::Result<Listener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM.nonblocking(), Some(Protocol::TCP))?;
    if address.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    socket.set_reuse_address(true)?;
    socket.set_tcp_nodelay(true)?;
    socket.set_send_buffer_size(limits::TCP_SEND_BUFFER_BYTES)?;
    set_keepalive(&SockRef::from(&socket))?;
    limit_unsent(&SockRef::from(&socket), options);
    socket.bind(&address.into())?;
    socket.listen(limits::LISTEN_BACKLOG)?;
    Ok(Listener::Tcp(TcpListener::from_std(socket.into())))
}

pub(super) fn set_keepalive(socket: &SockRef<'_>) -> io::Result<()> {
    socket.set_tcp_keepalive(
        &TcpKeepalive::new()
            .with_time(limits::KEEPALIVE_IDLE)
            .with_interval(limits::KEEPALIVE_INTERVAL)
            .with_retries(limits::KEEPALIVE_PROBES),
    )
}

/// Bounds what waits unsent in the kernel. A kernel without the option (Linux before 3.12, some sandboxes) is left
/// with the send buffer as the bound, which is why failing is no error.
pub(super) fn limit_unsent(socket: &SockRef<'_>, options: &SocketOptions) {
    let bytes = u32::try_from(options.unsent_bytes).unwrap_or(u32::MAX);
    let _ = socket.set_tcp_notsent_lowat(bytes);
}

fn bind_unix(path: &Path) -> Result<Listener, BindError> {
    let (socket, file) = bind::bind_unix(path, Type::STREAM, "unix")?;
    socket.listen(limits::LISTEN_BACKLOG).map_err(|error| BindError {
        address: format!("unix:{}", path.display()),
        error,
        remedy: None,
    })?;
    let listener: std::os::unix::net::UnixListener = socket.into();
    Ok(Listener::Unix(UnixListener::from_std(listener), file))
}

/// `ListenOverflows` of proc(5)'s `net/netstat`: a line of names, and below it one of their values.
pub(super) fn overflows(netstat: &str) -> Option<u64> {
    let mut lines = netstat.lines().filter(|line| line.starts_with("TcpExt:"));
    let (names, values) = (lines.next()?, lines.next()?);
    let mut figures = names.split(' ').zip(values.split(' '));
    figures.find(|(name, _)| *name == "ListenOverflows")?.1.parse().ok()
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;
    use crate::event_loop::io::{Io, System};

    /// Accepts the connection that was made just now.
    fn accepted(listener: &Listener, options: &SocketOptions) -> Stream {
        loop {
            match listener.accept(options) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => std::thread::yield_now(),
                accepted => return accepted.expect("a connection").0,
            }
        }
    }

    #[test]
    fn what_is_set_on_a_tcp_listener_every_connection_inherits() {
        let options = SocketOptions { unsent_bytes: 12_345 };
        let any_port = Endpoint::Tcp(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)));
        let listener = Listener::bind(&any_port, &options).expect("a free port");
        let port = listener.port().expect("TCP has ports");
        let mut system = System::new(options).expect("descriptors are left");
        let to_it = Endpoint::Tcp(SocketAddr::from((Ipv4Addr::LOCALHOST, port)));
        let connecting = system.connect(&to_it).expect("it listens");
        for (stream, is_accepted) in [(connecting, false), (accepted(&listener, &options), true)] {
            let Stream::Tcp(stream) = stream else { panic!("TCP") };
            let socket = SockRef::from(&stream);
            assert_eq!(socket.tcp_notsent_lowat().expect("Linux knows it"), 12_345);
            assert!(socket.tcp_nodelay().expect("TCP has it"));
            assert!(socket.keepalive().expect("TCP has it"));
            if is_accepted {
                let send_buffer = socket.send_buffer_size().expect("sockets have one");
                assert_eq!(send_buffer, 2 * limits::TCP_SEND_BUFFER_BYTES, "the kernel doubles it");
            }
        }
    }

    #[test]
    fn an_accepted_unix_socket_has_a_bounded_send_buffer() {
        let options = SocketOptions { unsent_bytes: 10_000 };
        let path = std::env::temp_dir().join(format!("onepoll-unsent-{}", std::process::id()));
        let listener = Listener::bind(&Endpoint::Unix(path.clone()), &options).expect("a new path");
        let _client = std::os::unix::net::UnixStream::connect(&path).expect("it listens");
        let Stream::Unix(stream) = accepted(&listener, &options) else { panic!("a Unix socket") };
        let send_buffer = SockRef::from(&stream).send_buffer_size().expect("sockets have one");
        let asked = limits::UNIX_SEND_BUFFER_PER_UNSENT * options.unsent_bytes;
        assert_eq!(send_buffer, 2 * asked, "the kernel doubles it");
    }

    #[test]
    fn overflows_are_found_by_their_name() {
        let netstat =
            "TcpExt: SyncookiesSent ListenOverflows ListenDrops\nTcpExt: 1 23 24\nIpExt: A B\nIpExt: 5 6\n";
        assert_eq!(overflows(netstat), Some(23));
        for other in [
            "",
            "TcpExt: ListenOverflows\n",
            "TcpExt: A\nTcpExt: 1\n",
            "TcpExt: ListenOverflows\nTcpExt: x\n",
        ] {
            assert_eq!(overflows(other), None, "{other}");
        }
    }
}
