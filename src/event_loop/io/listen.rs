//! Listening sockets: binding them so that nobody is surprised, and accepting from them.

use std::fmt;
use std::fs;
use std::io;
use std::net::SocketAddr;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};

use mio::event::Source;
use mio::net::{TcpListener, UnixListener};
use mio::{Interest, Registry, Token};
use rustix::fs::Mode;
use socket2::{Domain, Protocol, SockAddr, SockRef, Socket, TcpKeepalive, Type};

use super::Stream;
use crate::engine::{Endpoint, Peer};
use crate::limits;

/// What is set on every socket.
#[derive(Clone, Copy, Debug)]
pub struct SocketOptions {
    /// Bytes asked for the send buffer, which the kernel doubles for its bookkeeping (socket(7)).
    pub send_buffer_bytes: usize,
}

impl Default for SocketOptions {
    fn default() -> Self {
        SocketOptions { send_buffer_bytes: limits::SEND_BUFFER_BYTES }
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

/// The file of a Unix socket, removed with its listener; not where another has taken its place.
#[derive(Debug)]
pub struct SocketFile {
    path: PathBuf,
    device_and_inode: Option<(u64, u64)>,
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        if self.device_and_inode.is_some() && identity(&self.path) == self.device_and_inode {
            // Where it cannot be removed, the next start finds that nobody answers, and replaces it.
            let _ = fs::remove_file(&self.path);
        }
    }
}

fn identity(path: &Path) -> Option<(u64, u64)> {
    let metadata = fs::symlink_metadata(path).ok()?;
    metadata.file_type().is_socket().then(|| (metadata.dev(), metadata.ino()))
}

/// Why an address could not be listened on.
#[derive(Debug)]
pub struct BindError {
    /// The address.
    pub address: String,
    /// The system's or our own reason.
    pub error: io::Error,
    /// What helps, where something is known to.
    pub remedy: Option<String>,
}

impl fmt::Display for BindError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let why = match self.error.kind() {
            io::ErrorKind::AddrInUse => "address already in use".to_string(),
            io::ErrorKind::AddrNotAvailable => "this machine has no such address".to_string(),
            io::ErrorKind::PermissionDenied => "permission denied".to_string(),
            _ => self.error.to_string(),
        };
        write!(f, "cannot listen on {}: {why}", self.address)?;
        match &self.remedy {
            Some(remedy) => write!(f, "; {remedy}"),
            None => Ok(()),
        }
    }
}

impl std::error::Error for BindError {}

impl Listener {
    /// Listens on an address. IPv6 sockets take IPv6 only; ports are not shared; a restart finds its
    /// port free (`SO_REUSEADDR`, but not `SO_REUSEPORT`, P24).
    ///
    /// # Errors
    /// Why it cannot be, with the remedy.
    pub fn bind(endpoint: &Endpoint, options: &SocketOptions) -> Result<Self, BindError> {
        match endpoint {
            Endpoint::Inet(address) => bind_tcp(*address, options).map_err(|error| BindError {
                address: address.to_string(),
                remedy: tcp_remedy(&error, address.port()),
                error,
            }),
            Endpoint::Unix(path) => bind_unix(path),
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
            Listener::Unix(_, file) => format!("unix:{}", file.path.display()),
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

    pub(super) fn register(&mut self, registry: &Registry, token: Token) -> io::Result<()> {
        match self {
            Listener::Tcp(listener) => listener.register(registry, token, Interest::READABLE),
            Listener::Unix(listener, _) => listener.register(registry, token, Interest::READABLE),
        }
    }

    pub(super) fn accept(&self, options: &SocketOptions) -> io::Result<(Stream, Peer)> {
        match self {
            // What was set on the listener, Linux copies to what it accepts (tcp(7) does not promise
            // it, a test does): four system calls saved for each newcomer.
            Listener::Tcp(listener) => {
                listener.accept().map(|(stream, address)| (Stream::Tcp(stream), Peer::from(address)))
            }
            Listener::Unix(listener, _) => {
                let (stream, _) = listener.accept()?;
                // Failing leaves the system's default, which is a bound too.
                let _ = SockRef::from(&stream).set_send_buffer_size(options.send_buffer_bytes);
                Ok((Stream::Unix(stream), Peer::Unix))
            }
        }
    }
}

fn tcp_remedy(error: &io::Error, port: u16) -> Option<String> {
    match error.kind() {
        io::ErrorKind::AddrInUse => Some(format!("who holds it: ss -tlnp 'sport = :{port}'")),
        io::ErrorKind::PermissionDenied if port < 1024 => {
            Some("ports below 1024 are root's: choose a higher one".into())
        }
        _ => None,
    }
}

fn bind_tcp(address: SocketAddr, options: &SocketOptions) -> io::Result<Listener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM.nonblocking(), Some(Protocol::TCP))?;
    if address.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    socket.set_reuse_address(true)?;
    socket.set_tcp_nodelay(true)?;
    socket.set_send_buffer_size(options.send_buffer_bytes)?;
    set_keepalive(&SockRef::from(&socket))?;
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

fn bind_unix(path: &Path) -> Result<Listener, BindError> {
    let fail = |error: io::Error, remedy: Option<String>| BindError {
        address: format!("unix:{}", path.display()),
        error,
        remedy,
    };
    let socket = Socket::new(Domain::UNIX, Type::STREAM.nonblocking(), None).map_err(|e| fail(e, None))?;
    let address = SockAddr::unix(path).map_err(|error| fail(error, Some("choose a shorter path".into())))?;
    remove_stale(path).map_err(|(error, remedy)| fail(error, remedy))?;
    // The mode has to be right from the first instant: a later chmod would be too late (P28). The
    // only other thread waits for signals, so nobody else's file is born with this mask.
    let mask_before = rustix::process::umask(Mode::from_raw_mode(0o177));
    let bound = socket.bind(&address);
    rustix::process::umask(mask_before);
    bound.map_err(|error| fail(error, None))?;
    let file = SocketFile { path: path.to_path_buf(), device_and_inode: identity(path) };
    socket.listen(limits::LISTEN_BACKLOG).map_err(|error| fail(error, None))?;
    let listener: std::os::unix::net::UnixListener = socket.into();
    Ok(Listener::Unix(UnixListener::from_std(listener), file))
}

/// Removes the socket that a killed server left behind: only a socket, and only if nobody answers.
fn remove_stale(path: &Path) -> Result<(), (io::Error, Option<String>)> {
    let metadata = match fs::symlink_metadata(path) {
        Ok(metadata) => metadata,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err((error, None)),
    };
    if !metadata.file_type().is_socket() {
        let error = io::Error::new(io::ErrorKind::AlreadyExists, "a file that is no socket is there");
        return Err((error, Some("choose another path".into())));
    }
    // Non-blocking, for a server whose queue is full answers too, but late.
    let probe = Socket::new(Domain::UNIX, Type::STREAM.nonblocking(), None)
        .and_then(|socket| SockAddr::unix(path).and_then(|address| socket.connect(&address)));
    match probe {
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
            fs::remove_file(path).map_err(|error| (error, None))
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => Err((error, None)),
        _ => {
            let remedy = format!("who holds it: ss -xlp src {}", path.display());
            Err((io::Error::from(io::ErrorKind::AddrInUse), Some(remedy)))
        }
    }
}
