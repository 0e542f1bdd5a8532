//! A chat and broadcast server, a library for socket servers, a course in sockets, and the event loop that
//! they run on: one thread, one `mio::Poll`, one slab of connections, no locks, no async runtime.
//!
//! A room is a bounded log and a member is a cursor in it: a message is appended once, whoever reads.
//!
//! In reading order:
//!
//! 1. [`engine`]: the contract between the loop and a program, which does no I/O.
//! 2. [`event_loop`]: the turn; the connections; [`event_loop::io`], the operating system.
//! 3. [`chat`]: the chat server as an engine; [`chat::log`] is the idea that the rest stands on.
//! 4. [`socketserver`]: a handler for each connection or datagram, as an engine; for servers of your own.
//! 5. `servers`: the classic servers of a course, each a small engine or handler.
//! 6. [`clients`]: the clients as engines on the same loop.
//! 7. `lab`: experiments on real sockets, told call by call.
//! 8. [`codec`]: bytes to lines and messages, and text that is safe to show.
//! 9. [`metrics`]: what a program counts; [`stats`]: who reads that, beside the program on its loop.
//! 10. [`limits`]: every bound; [`memory`]: what follows from them; [`deadlines`]: what is due when;
//!     [`log_window`]: how much is logged; [`output_queues`] and `input_texts`: what engines keep for each
//!     connection.
//! 11. [`recording`]: a run of the loop as a file, and again from that file.
//! 12. [`cli`]: arguments, messages to people, exit codes.
//! 13. `simulation`: the loop and its programs over a simulated system, checked after each turn; `sabotage`:
//!     defects that it must find. Both are for tests alone.
//!
//! Arrows point down only: `cli` may use everything, the programs the engine's contract, the codecs and the
//! limits, the loop the contract and the limits. `tests/architecture.rs` holds the code to it. Without the
//! feature `course` (`--no-default-features`) there is the chat alone, and the library.
#![forbid(unsafe_code)]
#![warn(missing_docs)]
// One client must not end everybody's server: what cannot happen has an `expect` that says why (P70).
#![cfg_attr(not(test), warn(clippy::unwrap_used, clippy::panic, clippy::unreachable, clippy::get_unwrap))]

pub mod chat;
pub mod cli;
pub mod clients;
pub mod codec;
pub mod deadlines;
pub mod engine;
pub mod event_loop;
#[cfg(feature = "course")]
pub mod input_texts;
#[cfg(feature = "course")]
pub mod lab;
pub mod limits;
pub mod log_window;
pub mod memory;
pub mod metrics;
pub mod output_queues;
#[cfg(feature = "course")]
pub mod progress;
pub mod recording;
mod sabotage;
#[cfg(feature = "course")]
pub mod servers;
#[cfg(any(test, feature = "simulation"))]
pub mod simulation;
pub mod socketserver;
pub mod stats;

/// The programs in the README are compiled with the tests.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
