//! Bytes to frames and back, without I/O: incomplete, malformed and complete are three outcomes.
//!
//! [`mod@line`] finds the lines in a stream, [`telnet`] understands the option bytes of its clients, and
//! [`text`] cleans what reaches other people's terminals. `transfer` is what a file travels in, `http` what
//! web pages are asked for in.

#[cfg(feature = "course")]
pub mod http;
pub mod line;
pub mod telnet;
pub mod text;
#[cfg(feature = "course")]
pub mod transfer;
