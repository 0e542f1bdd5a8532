//! Bytes to frames and back, without I/O: incomplete, malformed and complete are three outcomes.
//!
//! [`mod@line`] finds the lines in a stream, [`telnet`] understands the option bytes of its clients, and
//! [`text`] cleans what reaches other people's terminals, [`protocol`] knows those who speak something else. [`http`] is what web pages are asked for in,
//! `transfer` what a file travels in.

pub mod http;
pub mod line;
pub mod protocol;
pub mod telnet;
pub mod text;
#[cfg(feature = "course")]
pub mod transfer;
