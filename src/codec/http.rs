//! HTTP/1.1 on the wire, as far as a server that takes no request bodies needs it: heads in (RFC 9112),
//! answers out (RFC 9110). What a head asks for, and what is answered, is the server's business.
//!
//! The decoder keeps no bytes: it is shown the same unconsumed ones again with more behind them, and
//! remembers how far it has looked, so the work is linear however they arrive (P32); `httparse` sees a head
//! when all of it is there, and a request line that comes before the rest. Wherever the RFC lets a recipient be lenient about where a message ends,
//! this one is not: two readers of one stream who disagree there are how requests are smuggled (RFC 9112,
//! 11.2), so a malformed head has no end, and nothing behind it is ever read.

mod answer;
#[cfg(test)]
mod tests;

use std::fmt;
use std::mem::MaybeUninit;

use httparse::{Error, Header, Status};
use memchr::memchr_iter;

use crate::limits::{HTTP_FIELDS_MAX, HTTP_HEAD_BYTES_MAX};

pub use answer::{Answer, Content, Part, UNAVAILABLE, date, reason_phrase};

/// One connection's place in its current head.
#[derive(Clone, Copy, Debug, Default)]
pub struct HeadDecoder {
    /// Bytes of the unconsumed input that hold no end of the head.
    scanned: usize,
    /// Where the line begins that has not ended yet; at most `scanned`.
    line_at: usize,
    /// The request line has ended, and was found to be one.
    has_request_line: bool,
}

/// What the front of the input holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decoded<'a> {
    /// No end of a head yet; nothing is consumed.
    Incomplete,
    /// A whole head.
    Head {
        /// What it says.
        head: Head<'a>,
        /// Bytes done with, the empty line at its end included.
        consumed: usize,
    },
    /// No head, and no telling where one would begin: the answer to it is the last.
    Malformed(Malformed),
}

/// The head of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Head<'a> {
    /// `GET`, `HEAD` or any other token: methods are case-sensitive (RFC 9110, 9.1).
    pub method: &'a str,
    /// What stands between method and version, not looked into (RFC 9112, 3.2).
    pub target: &'a str,
    /// What `Host` says, if it is there: as it always is in HTTP/1.1.
    pub host: Option<&'a str>,
    /// Whether the connection may outlive the answer.
    pub connection: Connection,
    /// What follows the head.
    pub body: Body,
}

/// Whether a connection outlives an answer (RFC 9112, 9.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Connection {
    /// It persists, as it does in HTTP/1.1 where nothing is said.
    Persists,
    /// It persists because an HTTP/1.0 client asked for it, which the answer has to confirm.
    PersistsAsAsked,
    /// The answer is the last.
    Closes,
}

impl Connection {
    /// All of them, in the order of their declaration.
    pub const ALL: [Connection; 3] = [Connection::Persists, Connection::PersistsAsAsked, Connection::Closes];
}

/// What follows the head (RFC 9112, 6.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Body {
    /// Nothing, or a body of no bytes.
    Absent,
    /// Bytes in the number that `Content-Length` says.
    Sized,
    /// Chunks.
    Chunked,
    /// Something in a transfer coding that nobody here knows.
    Coded,
}

/// How bytes fail to be a request that can be answered as it wants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Malformed {
    /// The first line is no request line.
    RequestLine,
    /// A line does not end in CR LF. RFC 9112, 2.2, lets a recipient take LF alone; this one does not.
    LineEnd,
    /// A version other than 1.0 and 1.1.
    Version,
    /// A field line that is none: folded, without a colon, with a space before it, with control bytes.
    Field,
    /// The target is neither a path nor a URL.
    Target,
    /// Not exactly one `Host`, or none that can be (RFC 9112, 3.2).
    Host,
    /// `Content-Length` is not one plain number (RFC 9110, 8.6).
    ContentLength,
    /// The length of the body is said in two ways, or in one that its version does not have.
    Framing,
    /// The request line has more than [`HTTP_HEAD_BYTES_MAX`].
    RequestLineTooLong,
    /// The head has more than [`HTTP_HEAD_BYTES_MAX`].
    HeadTooLong,
    /// It has more than [`HTTP_FIELDS_MAX`] fields.
    TooManyFields,
    /// The input ended before the head did.
    CutOff,
}

impl Malformed {
    /// The status that says so.
    #[must_use]
    pub fn status(self) -> u16 {
        match self {
            Malformed::Version => 505,
            Malformed::RequestLineTooLong => 414,
            Malformed::HeadTooLong | Malformed::TooManyFields => 431,
            _ => 400,
        }
    }
}

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Malformed::RequestLine => "this is no HTTP: the first line has to be like GET / HTTP/1.1",
            Malformed::LineEnd => "lines have to end in CR LF (nc -C)",
            Malformed::Version => "only HTTP/1.0 and HTTP/1.1 are spoken here",
            Malformed::Field => "a field is not like Name: value",
            Malformed::Target => "the target is neither a path nor a URL",
            Malformed::Host => "there has to be one Host field, with a host in it",
            Malformed::ContentLength => "Content-Length is not one plain number",
            Malformed::Framing => "where the body ends, others may read differently",
            Malformed::RequestLineTooLong => "the request line is too long",
            Malformed::HeadTooLong => "the head is too long",
            Malformed::TooManyFields => "there are too many fields",
            Malformed::CutOff => "the request ends in the middle of its head",
        })
    }
}

/// A request that is answered with an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Declined {
    /// What kind of error.
    pub status: u16,
    /// What is wrong.
    pub why: &'static str,
    /// What it asked for of the answer.
    pub part: Part,
}

impl<'a> Head<'a> {
    /// What it asks for of a page, from a server that has pages and takes no bodies.
    ///
    /// # Errors
    /// Where it is another method, or a body follows: one that is not read would be taken for the next
    /// request, which is what a smuggler wants, so the answer has to be the last.
    pub fn asked_part(&self) -> Result<Part, Declined> {
        let part = match self.method {
            "GET" => Part::Whole,
            "HEAD" => Part::Head,
            _ => {
                let why = "only GET and HEAD are understood";
                return Err(Declined { status: 405, why, part: Part::Whole });
            }
        };
        let (status, why) = match self.body {
            Body::Absent => return Ok(part),
            Body::Sized => (413, "no body is taken"),
            Body::Chunked => (411, "no body is taken, with a length or without"),
            Body::Coded => (501, "that transfer coding is unknown"),
        };
        Err(Declined { status, why, part })
    }

    /// The path of its target, which may be a whole URL (RFC 9112, 3.2.2), without the query.
    #[must_use]
    pub fn path(&self) -> &'a str {
        let behind_host = match self.target.split_once("://") {
            Some((scheme, rest)) if !scheme.contains('/') => {
                rest.find(['/', '?']).map_or("/", |at| &rest[at..])
            }
            _ => self.target,
        };
        match behind_host.split(['?', '#']).next() {
            Some("") | None => "/",
            Some(path) => path,
        }
    }
}

impl HeadDecoder {
    /// Looks for a whole head in `input`, which must begin where the last one ended.
    pub fn decode<'a>(&mut self, input: &'a [u8]) -> Decoded<'a> {
        match self.find(input) {
            Ok(None) => Decoded::Incomplete,
            Ok(Some((head, consumed))) => Decoded::Head { head, consumed },
            Err(malformed) => Decoded::Malformed(malformed),
        }
    }

    fn find<'a>(&mut self, input: &'a [u8]) -> Result<Option<(Head<'a>, usize)>, Malformed> {
        let window = &input[..input.len().min(HTTP_HEAD_BYTES_MAX)];
        debug_assert!(self.line_at <= self.scanned && self.scanned <= window.len());
        let mut new_request_line = None;
        for at in memchr_iter(b'\n', &window[self.scanned..]).map(|found| self.scanned + found) {
            let line = window[self.line_at..at].strip_suffix(b"\r").ok_or(Malformed::LineEnd)?;
            self.line_at = at + 1;
            if !line.is_empty() {
                if !std::mem::replace(&mut self.has_request_line, true) {
                    new_request_line = Some(&window[..=at]);
                }
            } else if self.has_request_line {
                *self = HeadDecoder::default();
                let head = parse(&window[..=at])?.ok_or(Malformed::RequestLine)?;
                return Ok(Some((head, at + 1)));
            }
            // Empty lines before the request line are to be ignored (RFC 9112, 2.2).
        }
        self.scanned = window.len();
        if let Some(request_line) = new_request_line {
            // Who speaks another protocol shall not wait for a deadline to be told. The fields that are there
            // wait for the others, so that it makes no difference how many arrive with it.
            parse(request_line)?;
        }
        // As TLS does, whose hello has no lines.
        let begins_badly =
            window.get(self.line_at).is_some_and(|byte| byte.is_ascii_control() && *byte != b'\r');
        match self.has_request_line {
            false if begins_badly => Err(Malformed::RequestLine),
            _ if window.len() < HTTP_HEAD_BYTES_MAX => Ok(None),
            false => Err(Malformed::RequestLineTooLong),
            true => Err(Malformed::HeadTooLong),
        }
    }
}

/// Reads a head that ends at its empty line; `None`: it does not, but is well so far.
fn parse(bytes: &[u8]) -> Result<Option<Head<'_>>, Malformed> {
    let mut fields = [const { MaybeUninit::uninit() }; HTTP_FIELDS_MAX];
    let mut request = httparse::Request::new(&mut []);
    match request.parse_with_uninit_headers(bytes, &mut fields) {
        Ok(Status::Complete(length)) => debug_assert_eq!(length, bytes.len()),
        Ok(Status::Partial) => return Ok(None),
        Err(Error::Version) if names_version(bytes) => return Err(Malformed::Version),
        Err(Error::NewLine) => return Err(Malformed::LineEnd),
        Err(Error::HeaderName | Error::HeaderValue) => return Err(Malformed::Field),
        Err(Error::TooManyHeaders) => return Err(Malformed::TooManyFields),
        Err(Error::Token | Error::Version | Error::Status) => return Err(Malformed::RequestLine),
    }
    let (Some(method), Some(target), Some(minor)) = (request.method, request.path, request.version) else {
        return Err(Malformed::RequestLine);
    };
    // Those two have forms of their own, `*` and `host:port`.
    if !matches!(method, "OPTIONS" | "CONNECT") && !target.starts_with('/') && !target.contains("://") {
        return Err(Malformed::Target);
    }
    let (host, connection, body) = parse_fields(request.headers, minor == 1)?;
    Ok(Some(Head { method, target, host, connection, body }))
}

/// What the fields say of the message itself; all others are passed over.
fn parse_fields<'a>(
    fields: &[Header<'a>],
    is_1_1: bool,
) -> Result<(Option<&'a str>, Connection, Body), Malformed> {
    let mut host = None;
    let mut has_bytes = None;
    let mut coding = None;
    let (mut says_close, mut says_keep_alive) = (false, false);
    for Header { name, value } in fields {
        if name.eq_ignore_ascii_case("Host") {
            if host.is_some() || !value.iter().all(|byte| is_of_host(*byte)) {
                return Err(Malformed::Host);
            }
            host = Some(std::str::from_utf8(value).map_err(|_| Malformed::Host)?);
        } else if name.eq_ignore_ascii_case("Content-Length") {
            let is_number = !value.is_empty() && value.iter().all(u8::is_ascii_digit);
            if !is_number || has_bytes.is_some() {
                return Err(Malformed::ContentLength);
            }
            // However long it is: no number that could overflow is made of it.
            has_bytes = Some(value.iter().any(|digit| *digit != b'0'));
        } else if name.eq_ignore_ascii_case("Transfer-Encoding") {
            let is_chunked = coding.is_none() && value.eq_ignore_ascii_case(b"chunked");
            coding = Some(if is_chunked { Body::Chunked } else { Body::Coded });
        } else if name.eq_ignore_ascii_case("Connection") {
            for option in value.split(|byte| *byte == b',').map(<[u8]>::trim_ascii) {
                says_close |= option.eq_ignore_ascii_case(b"close");
                says_keep_alive |= option.eq_ignore_ascii_case(b"keep-alive");
            }
        }
    }
    if is_1_1 && host.is_none() {
        return Err(Malformed::Host);
    }
    let body = match (coding, has_bytes) {
        (Some(_), Some(_)) => return Err(Malformed::Framing),
        // HTTP/1.0 has no transfer codings: whoever sent it on did not know what it was (RFC 9112, 6.1).
        (Some(_), None) if !is_1_1 => return Err(Malformed::Framing),
        (Some(coding), None) => coding,
        (None, Some(true)) => Body::Sized,
        (None, Some(false) | None) => Body::Absent,
    };
    let connection = match (is_1_1, says_keep_alive) {
        _ if says_close => Connection::Closes,
        (true, _) => Connection::Persists,
        (false, true) => Connection::PersistsAsAsked,
        (false, false) => Connection::Closes,
    };
    Ok((host, connection, body))
}

/// `uri-host [":" port]` (RFC 3986, 3.2.2), by its characters.
fn is_of_host(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-._~%!$&'()*+,;=:[]".contains(&byte)
}

/// Whether the third part of the request line is a version, of whatever number (RFC 9112, 2.3).
fn names_version(bytes: &[u8]) -> bool {
    let line = bytes.trim_ascii_start().split(|byte| *byte == b'\r').next().unwrap_or_default();
    let version = line.splitn(3, |byte| *byte == b' ').nth(2).unwrap_or_default();
    matches!(version, [b'H', b'T', b'T', b'P', b'/', major, b'.', minor]
        if major.is_ascii_digit() && minor.is_ascii_digit())
}
