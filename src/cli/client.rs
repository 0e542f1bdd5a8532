//! What all clients do alike: the server's addresses, signals, the console, the loop, and the exit code.

use super::{Exit, complain};
use crate::clients::Outcome;
use crate::engine::{Endpoint, Engine, Peer};
use crate::event_loop::address::Address;
use crate::event_loop::io::{Console, SocketOptions, Stream, System};
use crate::event_loop::{EventLoop, Linger};
use crate::limits;

/// What an address stands for, at least one; or why a client cannot connect to it.
pub(super) fn endpoints(address: &Address) -> Result<Vec<Endpoint>, Outcome> {
    let why = match address.to_connect() {
        Ok(endpoints) if !endpoints.is_empty() => return Ok(endpoints),
        Ok(_) => "it has no address".into(),
        Err(error) => format!("{error}; is the name right?"),
    };
    Err(Outcome::CannotConnect(format!("cannot connect to {address}: {why}")))
}

/// Runs a client that has the console, until it, the peer or a signal ends it; gives it back to be asked
/// how. It is built once signals are its own to answer, for it may change the terminal.
pub(super) fn run<E: Engine>(client: impl FnOnce() -> std::io::Result<E>) -> std::io::Result<E> {
    let system = system()?;
    let mut event_loop = EventLoop::new(system, client()?, Linger::InAll(limits::LINGER));
    event_loop.adopt(Stream::Console(Console::new()), Peer::Console)?;
    event_loop.run()?;
    Ok(event_loop.into_engine())
}

/// Runs a client that has no use for the console.
#[cfg(feature = "course")]
pub(super) fn run_without_console<E: Engine>(client: E) -> std::io::Result<E> {
    // Nothing is expected any more of a server that the client has done with.
    let mut event_loop = EventLoop::new(system()?, client, Linger::InAll(limits::CLIENT_STOP));
    event_loop.run()?;
    Ok(event_loop.into_engine())
}

fn system() -> std::io::Result<System> {
    super::system(SocketOptions::default())
}

/// Tells the person how the client called `name` ended.
pub(super) fn exit(name: &str, outcome: std::io::Result<Outcome>) -> Exit {
    match outcome {
        Ok(Outcome::Done) => Exit::Done,
        Ok(Outcome::Failed(why)) => complain(Exit::Failed, format!("{name}: {why}")),
        Ok(Outcome::CannotConnect(why)) => complain(Exit::CannotConnect, why),
        Err(error) => complain(Exit::Failed, format!("{name}: {error}")),
    }
}
