//! Binding, so that nobody is surprised: all addresses of a name, one port for both families, files of
//! Unix sockets with the right mode from the first instant, and remedies for what cannot be had.

use std::fmt;
use std::fs;
use std::io;
use std::net::SocketAddr;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};

use log::warn;
use rustix::fs::Mode;
use rustix::io::Errno;
use socket2::{Domain, SockAddr, Socket, Type};

use super::{Datagrams, Listener, SocketOptions};
use crate::engine::Endpoint;
use crate::event_loop::address::Address;

/// How often port 0 is tried where one family's free port is taken in the other.
const PORT_ATTEMPTS: u32 = 16;

/// A socket that an address became.
#[derive(Debug)]
pub enum Bound {
    /// Peers connect to it.
    Listener(Listener),
    /// Peers send to it.
    Datagrams(Datagrams),
}

impl Bound {
    /// Binds one endpoint; see [`Listener::bind`] and [`Datagrams::bind`].
    ///
    /// # Errors
    /// Why it cannot be, with the remedy.
    pub fn bind(endpoint: &Endpoint, options: &SocketOptions) -> Result<Self, BindError> {
        if endpoint.is_datagram() {
            Datagrams::bind(endpoint).map(Bound::Datagrams)
        } else {
            Listener::bind(endpoint, options).map(Bound::Listener)
        }
    }

    /// Binds all that an address stands for. Where a name or `:PORT` stands for several, one that the
    /// machine lacks (a family that is turned off) is left out, unless none is left.
    ///
    /// # Errors
    /// Why it cannot be, with the remedy. It asks the resolver, and so may block.
    pub fn bind_all(address: &Address, options: &SocketOptions) -> Result<Vec<Self>, BindError> {
        let unknown = |error: io::Error| BindError {
            address: address.to_string(),
            error,
            remedy: Some("is the name right?".into()),
        };
        let endpoints = address.to_listen().map_err(unknown)?;
        let mut attempts_left = PORT_ATTEMPTS;
        loop {
            match bind_endpoints(&endpoints, options) {
                // Port 0 of one family became a port that another program has in the other.
                Err(error)
                    if matches!(address, Address::Any(_, 0) | Address::Host(_, _, 0))
                        && error.error.kind() == io::ErrorKind::AddrInUse
                        && attempts_left > 0 =>
                {
                    attempts_left -= 1;
                }
                bound => return bound,
            }
        }
    }

    /// The address really bound: what port 0 became.
    #[must_use]
    pub fn address(&self) -> String {
        match self {
            Bound::Listener(listener) => listener.address(),
            Bound::Datagrams(socket) => socket.address(),
        }
    }

    /// The port bound, for TCP and UDP.
    #[must_use]
    pub fn port(&self) -> Option<u16> {
        match self {
            Bound::Listener(listener) => listener.port(),
            Bound::Datagrams(socket) => socket.port(),
        }
    }
}

fn bind_endpoints(endpoints: &[Endpoint], options: &SocketOptions) -> Result<Vec<Bound>, BindError> {
    let mut bound: Vec<Bound> = Vec::new();
    let mut missing = None;
    for endpoint in endpoints {
        let mut endpoint = endpoint.clone();
        if let Endpoint::Tcp(address) | Endpoint::Udp(address) = &mut endpoint
            && address.port() == 0
            && let Some(port) = bound.first().and_then(Bound::port)
        {
            address.set_port(port);
        }
        match Bound::bind(&endpoint, options) {
            Ok(socket) => bound.push(socket),
            Err(error) if endpoints.len() > 1 && is_missing(&error.error) => {
                warn!("{error}");
                missing = Some(error);
            }
            Err(error) => return Err(error),
        }
    }
    match missing {
        Some(error) if bound.is_empty() => Err(error),
        _ => Ok(bound),
    }
}

fn is_missing(error: &io::Error) -> bool {
    let errno = error.raw_os_error().map(Errno::from_raw_os_error);
    matches!(errno, Some(Errno::AFNOSUPPORT | Errno::ADDRNOTAVAIL))
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
            io::ErrorKind::NotFound => "its folder is not there".to_string(),
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

impl BindError {
    pub(super) fn of_port(endpoint: &Endpoint, address: SocketAddr, error: io::Error) -> Self {
        let protocol = if endpoint.is_datagram() { 'u' } else { 't' };
        BindError {
            address: endpoint.to_string(),
            remedy: port_remedy(&error, address.port(), protocol),
            error,
        }
    }
}

fn port_remedy(error: &io::Error, port: u16, protocol: char) -> Option<String> {
    match error.kind() {
        io::ErrorKind::AddrInUse => Some(format!("who holds it: ss -{protocol}lnp 'sport = :{port}'")),
        io::ErrorKind::PermissionDenied if port < 1024 => {
            Some("ports below 1024 are root's: choose a higher one".into())
        }
        _ => None,
    }
}

/// Binds a Unix socket of a kind, whose addresses begin with `scheme`.
pub(super) fn bind_unix(path: &Path, kind: Type, scheme: &str) -> Result<(Socket, SocketFile), BindError> {
    let fail = |error: io::Error, remedy: Option<String>| BindError {
        address: format!("{scheme}:{}", path.display()),
        error,
        remedy,
    };
    let socket = Socket::new(Domain::UNIX, kind.nonblocking(), None).map_err(|e| fail(e, None))?;
    let address = SockAddr::unix(path).map_err(|error| fail(error, Some("choose a shorter path".into())))?;
    remove_stale(path, kind).map_err(|(error, remedy)| fail(error, remedy))?;
    // The file takes its mode from the socket when it is bound, and so is right from the first instant: a
    // later chmod would be too late (P28), and umask is everybody's.
    rustix::fs::fchmod(&socket, Mode::from_raw_mode(0o600)).map_err(|error| fail(error.into(), None))?;
    socket.bind(&address).map_err(|error| fail(error, None))?;
    let file = SocketFile { path: path.to_path_buf(), device_and_inode: identity(path) };
    Ok((socket, file))
}

/// The file of a Unix socket, removed with its listener; not where another has taken its place.
#[derive(Debug)]
pub struct SocketFile {
    path: PathBuf,
    device_and_inode: Option<(u64, u64)>,
}

impl SocketFile {
    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }
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

/// Removes the socket that a killed server left behind: only a socket, and only if nobody answers.
fn remove_stale(path: &Path, kind: Type) -> Result<(), (io::Error, Option<String>)> {
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
    let probe = Socket::new(Domain::UNIX, kind.nonblocking(), None)
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
