//! Clients as engines on the same loop.
//!
//! [`chat`] talks to a chat server; [`editor`] is its input line and [`keys`] what a keyboard sends.
//! `call`, of the course, talks to any server.

#[cfg(feature = "course")]
pub mod call;
pub mod chat;
pub mod editor;
pub mod keys;
#[cfg(feature = "course")]
pub mod send;

pub(crate) use crate::codec::text::describe;
use crate::engine::Reason;

/// How a client ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// As it should.
    Done,
    /// The connection was lost, or standard output is of no use; why.
    Failed(String),
    /// There never was a connection, or the server refused it, or what had to be granted first; why.
    CannotConnect(String),
}

impl Outcome {
    /// The console was closed. Where nobody reads on (`| head`), or it was closed by us, that is a quiet end.
    fn of_closed_console(reason: Reason) -> Self {
        match reason {
            Reason::SystemError => Outcome::Failed("standard input or output failed".into()),
            _ => Outcome::Done,
        }
    }
}
