//! `onepoll call`: the real binary against plain sockets, against the other programs, and against itself.
#![cfg(feature = "course")]

/// The real binary and its peers, as the chat's tests have them.
#[allow(dead_code)]
#[path = "../serve/harness.rs"]
mod harness;

/// Programs that acknowledge each other.
mod acks;
/// Texts and their answers on streams.
mod answers;
/// The same in datagrams.
mod datagrams;
/// How it ends, with which exit code, and what it says.
mod ends;
/// Lines from a pipe and from a terminal.
mod input;
/// The programs that it is made for, and those that people have.
mod tools;
