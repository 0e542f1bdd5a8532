//! Clients as engines on the same loop.
//!
//! [`chat`] talks to a chat server; [`editor`] is its input line and [`keys`] what a keyboard sends.

pub mod chat;
pub mod editor;
pub mod keys;

use std::io;

/// How a client ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// As it should.
    Done,
    /// The connection was lost, or standard output is of no use; why.
    Failed(String),
    /// There never was a connection, or the server refused it; why.
    CannotConnect(String),
}

/// A system's error as people read it: `connection refused`.
pub(crate) fn describe(error: &io::Error) -> String {
    let text = error.to_string();
    let text = text.split(" (os error").next().unwrap_or(&text);
    let mut characters = text.chars();
    characters.next().map_or(String::new(), |first| first.to_lowercase().chain(characters).collect())
}
