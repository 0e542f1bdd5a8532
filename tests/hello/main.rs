//! `onepoll hello`: the real binary, as browsers, tools and worse meet it.
#![cfg(feature = "course")]

/// The real binary and its peers, as the chat's tests have them.
#[allow(dead_code)]
#[path = "../serve/harness.rs"]
mod harness;
/// One who visits the page, and reads answers as HTTP says.
mod visitor;

/// What is answered to whom.
mod answers;
/// Silence, and whose deadline it is that passes.
mod deadlines;
/// Clients that never read, that reset, that are a thousand.
mod hostile;
/// Heads that arrive in pieces.
mod splits;
/// curl, python, ab, wrk.
mod tools;
