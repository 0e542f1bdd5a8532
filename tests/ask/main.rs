//! `onepoll ask`: the real binary, its operator's keyboard and screen, and all kinds of clients.
#![cfg(feature = "course")]

/// The real binary and its peers, as the chat's tests have them.
#[allow(dead_code)]
#[path = "../serve/harness.rs"]
mod harness;

/// What the operator sees and types.
mod console;
/// Clients that mean harm, or are many.
mod hostile;
/// What counts as a question, and who gets which answer.
mod questions;
/// The programs that people really use: nc, telnet, socat, python.
mod tools;
