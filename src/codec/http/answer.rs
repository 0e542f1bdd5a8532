//! Answers: rendered once, and sent as often as they fit; between two times only their date changes.

use jiff::Timestamp;
use jiff::fmt::rfc2822::DateTimePrinter;

use super::Connection;

/// What a newcomer reads for whom nothing is left. An error needs no `Date` (RFC 9110, 6.6.1).
pub const UNAVAILABLE: &str = "HTTP/1.1 503 Service Unavailable\r\nRetry-After: 1\r\nContent-Length: 0\r\n\
                               Connection: close\r\n\r\n";

/// What an answer is about, and what that is.
#[derive(Clone, Copy, Debug)]
pub struct Content<'a> {
    /// As `Content-Type` has it.
    pub media_type: &'a str,
    /// All of it.
    pub text: &'a str,
}

impl<'a> Content<'a> {
    /// A page for a browser.
    #[must_use]
    pub fn html(text: &'a str) -> Self {
        Content { media_type: "text/html; charset=utf-8", text }
    }
}

/// What a request asks for of an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// All of it.
    Whole,
    /// All but its content.
    Head,
}

/// An answer in one piece: status line, fields, content.
#[derive(Clone, Debug)]
pub struct Answer {
    bytes: Vec<u8>,
    /// Where the 29 bytes of the date are.
    date_at: usize,
    /// Bytes before the content.
    head_bytes: usize,
}

impl Answer {
    /// An answer of this status, undated: [`set_date`](Self::set_date) comes next. `fields` are in addition
    /// to `Date`, `Content-Type`, `Content-Length`, and what has to be said of the connection. Statuses that
    /// have no content (204, 205, 304) are left without.
    #[must_use]
    pub fn new(status: u16, connection: Connection, fields: &[(&str, &str)], content: Content<'_>) -> Self {
        let mut head = format!("HTTP/1.1 {status} {}\r\nDate: ", reason_phrase(status));
        let date_at = head.len();
        head.push_str(&date(0));
        head.push_str("\r\n");
        let mut add = |name: &str, value: &str| head.extend([name, ": ", value, "\r\n"]);
        let text = match status {
            // RFC 9110, 15.3.5, 15.4.5: nothing there, and nothing said of it.
            204 | 304 => "",
            // 15.3.6: nothing there, but that is said.
            205 => {
                add("Content-Length", "0");
                ""
            }
            _ => {
                add("Content-Type", content.media_type);
                add("Content-Length", &content.text.len().to_string());
                content.text
            }
        };
        match connection {
            Connection::Persists => {}
            Connection::PersistsAsAsked => add("Connection", "keep-alive"),
            Connection::Closes => add("Connection", "close"),
        }
        for (name, value) in fields {
            add(name, value);
        }
        head.push_str("\r\n");
        let head_bytes = head.len();
        Answer { bytes: [head, text.into()].concat().into_bytes(), date_at, head_bytes }
    }

    /// Gives it the date that [`date`] rendered.
    pub fn set_date(&mut self, date: &str) {
        let at = self.date_at;
        self.bytes.splice(at..at + DATE_BYTES, date.bytes());
    }

    /// All of it.
    #[must_use]
    pub fn whole(&self) -> &[u8] {
        &self.bytes
    }

    /// Without its content: the answer to `HEAD` (RFC 9110, 9.3.2).
    #[must_use]
    pub fn head(&self) -> &[u8] {
        &self.bytes[..self.head_bytes]
    }

    /// What a request asked for.
    #[must_use]
    pub fn part(&self, part: Part) -> &[u8] {
        match part {
            Part::Whole => self.whole(),
            Part::Head => self.head(),
        }
    }
}

/// Bytes of a date.
const DATE_BYTES: usize = "Thu, 01 Jan 1970 00:00:00 GMT".len();

/// The time as `Date` has it (RFC 9110, 5.6.7: IMF-fixdate), always of the same length. A clock beyond the
/// years 1970 to 9999 is shown as if it were at their edge.
#[must_use]
pub fn date(unix_s: i64) -> String {
    let timestamp = Timestamp::from_second(unix_s.max(0)).unwrap_or(Timestamp::MAX);
    let date = DateTimePrinter::new().timestamp_to_rfc9110_string(&timestamp);
    let date = date.expect("invariant: the year is between 1970 and 9999");
    debug_assert_eq!(date.len(), DATE_BYTES);
    date
}

/// What people call a status (RFC 9110, 15; RFC 6585; RFC 7725); empty for numbers that have no name.
#[must_use]
pub fn reason_phrase(status: u16) -> &'static str {
    match status {
        200 => "OK",
        201 => "Created",
        202 => "Accepted",
        203 => "Non-Authoritative Information",
        204 => "No Content",
        205 => "Reset Content",
        206 => "Partial Content",
        300 => "Multiple Choices",
        301 => "Moved Permanently",
        302 => "Found",
        303 => "See Other",
        304 => "Not Modified",
        305 => "Use Proxy",
        307 => "Temporary Redirect",
        308 => "Permanent Redirect",
        400 => "Bad Request",
        401 => "Unauthorized",
        402 => "Payment Required",
        403 => "Forbidden",
        404 => "Not Found",
        405 => "Method Not Allowed",
        406 => "Not Acceptable",
        407 => "Proxy Authentication Required",
        408 => "Request Timeout",
        409 => "Conflict",
        410 => "Gone",
        411 => "Length Required",
        412 => "Precondition Failed",
        413 => "Content Too Large",
        414 => "URI Too Long",
        415 => "Unsupported Media Type",
        416 => "Range Not Satisfiable",
        417 => "Expectation Failed",
        418 => "I'm a teapot",
        421 => "Misdirected Request",
        422 => "Unprocessable Content",
        426 => "Upgrade Required",
        428 => "Precondition Required",
        429 => "Too Many Requests",
        431 => "Request Header Fields Too Large",
        451 => "Unavailable For Legal Reasons",
        500 => "Internal Server Error",
        501 => "Not Implemented",
        502 => "Bad Gateway",
        503 => "Service Unavailable",
        504 => "Gateway Timeout",
        505 => "HTTP Version Not Supported",
        511 => "Network Authentication Required",
        _ => "",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_one_piece_whose_date_can_be_changed_in_place() {
        let mut answer = Answer::new(200, Connection::Persists, &[], Content::html("<h1>Hello,World</h1>"));
        answer.set_date(&date(784_111_777));
        let expected = "HTTP/1.1 200 OK\r\nDate: Sun, 06 Nov 1994 08:49:37 GMT\r\n\
            Content-Type: text/html; charset=utf-8\r\nContent-Length: 20\r\n\r\n<h1>Hello,World</h1>";
        assert_eq!(String::from_utf8_lossy(answer.whole()), expected);
        assert_eq!(
            answer.head(),
            expected.as_bytes().strip_suffix(b"<h1>Hello,World</h1>").expect("it ends so")
        );
    }

    #[test]
    fn statuses_without_content_have_none() {
        for (status, length) in [(204, None), (205, Some("Content-Length: 0\r\n")), (304, None)] {
            let answer = Answer::new(status, Connection::Closes, &[], Content::html("html"));
            let text = String::from_utf8_lossy(answer.whole()).into_owned();
            assert_eq!(answer.whole(), answer.head());
            assert!(!text.contains("Content-Type"), "{text}");
            assert_eq!(text.contains("Content-Length"), length.is_some(), "{text}");
            assert!(text.contains(length.unwrap_or_default()), "{text}");
            assert!(text.ends_with("\r\nConnection: close\r\n\r\n"), "{text}");
        }
    }

    #[test]
    fn a_status_without_a_name_keeps_the_space_before_it() {
        let answer = Answer::new(299, Connection::PersistsAsAsked, &[("Allow", "GET")], Content::html(""));
        let text = String::from_utf8_lossy(answer.whole()).into_owned();
        assert!(text.starts_with("HTTP/1.1 299 \r\nDate: "), "{text}");
        assert!(
            text.ends_with("Content-Length: 0\r\nConnection: keep-alive\r\nAllow: GET\r\n\r\n"),
            "{text}"
        );
    }

    #[test]
    fn dates_have_one_length_also_those_of_wrong_clocks() {
        for unix_s in [i64::MIN, -1, 0, 951_782_400, 253_402_207_200, i64::MAX] {
            assert_eq!(date(unix_s).len(), DATE_BYTES, "{unix_s}");
        }
        assert_eq!(date(951_782_400), "Tue, 29 Feb 2000 00:00:00 GMT");
    }

    #[test]
    fn every_registered_status_has_a_name_and_no_other() {
        let of_rfc_9110 = (200..=206).chain(300..=305).chain(307..=308).chain(400..=418);
        let of_others = [421, 422, 426, 428, 429, 431, 451].into_iter().chain(500..=505).chain([511]);
        let named: Vec<u16> = (0..1000).filter(|status| !reason_phrase(*status).is_empty()).collect();
        assert_eq!(named, of_rfc_9110.chain(of_others).collect::<Vec<_>>());
    }
}
