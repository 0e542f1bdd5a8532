//! A chat and broadcast server, its client, and the event loop that they run on: one thread, one
//! `mio::Poll`, one slab of connections, no locks, no async runtime.
//!
//! A room is a bounded log and a member is a cursor in it: a message is appended once, whoever reads.
//!
//! In reading order:
//!
//! 1. [`engine`]: the contract between the loop and a program, which does no I/O.
//! 2. [`event_loop`]: the turn; the connections; [`event_loop::io`], the operating system.
//! 3. [`chat`]: the chat server as an engine; [`chat::log`] is the idea that the rest stands on.
//! 4. [`codec`]: bytes to lines, and text that is safe to show.
//! 5. [`clients`]: the chat client as an engine on the same loop.
//! 6. [`limits`]: every bound, and [`deadlines`]: what is due when.
//! 7. [`cli`]: arguments, messages to people, exit codes.
//!
//! Arrows point down only: `cli` may use everything, `chat` and `clients` the engine's contract, the codecs
//! and the limits, the loop the contract and the limits. `tests/architecture.rs` holds the code to it.
#![forbid(unsafe_code)]
#![warn(missing_docs)]

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
pub mod output_queues;
#[cfg(feature = "course")]
pub mod servers;
pub mod socketserver;
