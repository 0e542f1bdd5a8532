//! `onepoll greet` and `onepoll echo`: the real binary, and all kinds of clients.
#![cfg(feature = "course")]

/// The real binary and its peers, as the chat's tests have them.
#[allow(dead_code)]
#[path = "../serve/harness.rs"]
mod harness;

/// Echo on streams: partial reads and writes, lines, templates.
mod echo;
/// Echo of datagrams: boundaries, lengths, names.
mod echo_datagrams;
/// Greetings in turn.
mod greet;
/// What a hostile or unlucky client can do to both.
mod hostile;
