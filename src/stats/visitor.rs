//! One conversation of HTTP: one request, one answer, and the end. What the page says, its caller knows.
//!
//! Nothing persists: who reads the figures every few seconds connects anew, and holds no place meanwhile.

use std::net::IpAddr;

use crate::codec::http::{self, Answer, Connection, Content, Decoded, Head, HeadDecoder, Malformed, Part};
use crate::engine::{ConnectionId, Moment, Now, Output, Reason};
use crate::limits;
use crate::metrics::Metric;

use super::page::Format;

/// Somebody who reads the figures.
#[derive(Debug)]
pub(super) struct Visitor {
    pub(super) id: ConnectionId,
    /// When it has to have asked, and then, when it has to be gone.
    pub(super) due: Moment,
    /// The loop is to look at it.
    pub(super) is_ready: bool,
    heads: HeadDecoder,
    has_begun: bool,
    /// Whether it may ask by any name.
    any_host: bool,
    answer: Option<Vec<u8>>,
    /// Bytes of the answer that its socket took.
    written: usize,
}

impl Visitor {
    pub(super) fn new(now: Now, id: ConnectionId, any_host: bool) -> Self {
        Visitor {
            id,
            due: now.moment + limits::STATS_PATIENCE,
            is_ready: false,
            heads: HeadDecoder::default(),
            has_begun: false,
            any_host,
            answer: None,
            written: 0,
        }
    }

    /// Whether it is still to be heard.
    pub(super) fn is_asking(&self) -> bool {
        self.answer.is_none()
    }

    /// Takes input. `Some` where it is answered now: the bytes done with, and why it is to be closed.
    pub(super) fn take(
        &mut self,
        now: Now,
        input: &[u8],
        metrics: impl FnOnce() -> Vec<Metric>,
    ) -> Option<(usize, Reason)> {
        match self.heads.decode(input) {
            Decoded::Head { head, consumed } => Some((consumed, self.answer(now, &head, metrics))),
            Decoded::Incomplete => {
                self.has_begun = true;
                None
            }
            Decoded::Malformed(why) => Some((input.len(), self.refuse_malformed(now, why))),
        }
    }

    /// It sends no more, and left `rest` unanswered.
    pub(super) fn end(&mut self, now: Now, rest: &[u8]) -> Reason {
        if rest.trim_ascii().is_empty() {
            return self.dismiss(now, Reason::EndOfInput);
        }
        self.refuse_malformed(now, Malformed::CutOff)
    }

    /// Its time is over.
    pub(super) fn expire(&mut self, now: Now) -> Reason {
        if self.has_begun {
            self.refuse(now, 408, "the request took too long to arrive", Part::Whole);
        }
        self.dismiss(now, Reason::Idle)
    }

    /// It gets nothing more.
    fn dismiss(&mut self, now: Now, reason: Reason) -> Reason {
        self.due = now.moment + limits::STATS_PATIENCE;
        self.answer.get_or_insert_default();
        reason
    }

    pub(super) fn output(&self) -> Output<'_> {
        Output::one(self.answer.as_deref().map_or(&[], |answer| &answer[self.written..]))
    }

    pub(super) fn advance(&mut self, bytes: usize) {
        self.written += bytes;
    }

    fn answer(&mut self, now: Now, head: &Head<'_>, metrics: impl FnOnce() -> Vec<Metric>) -> Reason {
        let part = match head.asked_part() {
            Ok(part) => part,
            Err(declined) => return self.refuse(now, declined.status, declined.why, declined.part),
        };
        if !self.any_host && !head.host.is_none_or(names_address) {
            let why = "ask for an address or for localhost: other names can be anybody's (--stats-public)";
            return self.refuse(now, 421, why, part);
        }
        let Some(format) = Format::at(head.path()) else {
            return self.refuse(now, 404, "there are /metrics, for Prometheus, and /stats, as JSON", part);
        };
        let text = format.render(&metrics());
        self.send(now, 200, &[("Cache-Control", "no-store")], format.content(&text), part);
        Reason::Quit
    }

    fn refuse_malformed(&mut self, now: Now, why: Malformed) -> Reason {
        self.refuse(now, why.status(), &why.to_string(), Part::Whole)
    }

    fn refuse(&mut self, now: Now, status: u16, why: &str, part: Part) -> Reason {
        let fields: &[_] = if status == 405 { &[("Allow", "GET, HEAD")] } else { &[] };
        let text = format!("{status} {}: {why}\n", http::reason_phrase(status));
        let content = Content { media_type: "text/plain; charset=utf-8", text: &text };
        self.send(now, status, fields, content, part);
        Reason::WrongProtocol
    }

    fn send(&mut self, now: Now, status: u16, fields: &[(&str, &str)], content: Content<'_>, part: Part) {
        let mut answer = Answer::new(status, Connection::Closes, fields, content);
        answer.set_date(&http::date(now.unix_s));
        self.answer = Some(answer.part(part).to_vec());
        self.due = now.moment + limits::STATS_PATIENCE;
    }
}

/// Whether a `Host` is an address or `localhost`, with a port or without: names that no name server gives a
/// meaning to.
fn names_address(host: &str) -> bool {
    let is_port = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    let name = host.rsplit_once(':').filter(|(_, port)| is_port(port)).map_or(host, |(name, _)| name);
    let bare = name.strip_prefix('[').and_then(|name| name.strip_suffix(']')).unwrap_or(name);
    bare.eq_ignore_ascii_case("localhost") || bare.parse::<IpAddr>().is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_and_localhost_are_told_from_names() {
        for host in
            ["127.0.0.1", "127.0.0.1:9000", "[::1]", "[::1]:9000", "localhost", "LocalHost:80", "[fe80::1]:"]
        {
            assert!(names_address(host), "{host}");
        }
        for host in [
            "",
            "evil.example",
            "evil.example:9000",
            "localhost.evil.example",
            "127.0.0.1.nip.io",
            "[::1",
            "a:b",
        ] {
            assert!(!names_address(host), "{host}");
        }
    }
}
