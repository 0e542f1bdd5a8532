//! Clients as engines on the same loop.
//!
//! [`chat`] talks to a chat server; [`editor`] is its input line and [`keys`] what a keyboard sends.

pub mod chat;
pub mod editor;
pub mod keys;
