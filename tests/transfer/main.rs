//! `onepoll receive` and `onepoll send`: the real binary, classic peers, and a real disk.
#![cfg(feature = "course")]

/// The real binary and its peers, as the chat's tests have them.
#[allow(dead_code)]
#[path = "../serve/harness.rs"]
mod harness;

/// Senders, receivers and folders; the tests of promises have them, too.
#[allow(dead_code)]
mod peers;

/// What breaks off or goes wrong, and what is left of it: nothing that looks whole.
mod broken;
/// Programs as courses teach them, in Python and with plain sockets.
mod classic;
/// Many at once, and those that mean harm.
mod crowd;
/// What people see meanwhile.
mod progress;
/// Broken transfers that go on.
mod resuming;
/// `onepoll send` and `onepoll receive` with each other: flags, conflicts, exit codes.
mod together;
