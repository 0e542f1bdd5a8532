//! The echo server: what comes is sent back, on streams and as datagrams, as it is or inside a template.
//!
//! The classic program sends what `recv` gave with one `send`, and loses what the socket did not take; or
//! it waits in `sendall` for one client that does not read, and holds up all others. Here what is sent
//! waits for that client alone, and a client that does not read is not read either.

use std::rc::Rc;
use std::time::Duration;

use crate::limits;
use crate::socketserver::{Handler, Request};

/// What to send back.
#[derive(Debug)]
pub struct Style {
    /// None: what came, as it came.
    pub template: Option<Template>,
    /// Line by line, not chunk by chunk as it arrives.
    pub by_lines: bool,
    /// How long a client may say nothing before it is closed.
    pub idle_max: Option<Duration>,
}

/// One connection's, or one datagram's, echo.
#[derive(Debug)]
pub struct Echo {
    style: Rc<Style>,
}

impl Echo {
    /// An echo in this style.
    #[must_use]
    pub fn new(style: &Rc<Style>) -> Self {
        Echo { style: Rc::clone(style) }
    }

    fn answer(&self, request: &mut Request<'_>, words: &[u8]) {
        match &self.style.template {
            None => request.send(words),
            Some(template) => {
                let answer = template.fill(words, &request.peer_name());
                request.send(&answer);
            }
        }
    }

    fn answer_line(&self, request: &mut Request<'_>, line: &[u8]) {
        self.answer(request, line);
        request.send(b"\n");
    }
}

impl Handler for Echo {
    fn setup(&mut self, request: &mut Request<'_>) {
        request.set_timeout(self.style.idle_max);
    }

    fn handle(&mut self, request: &mut Request<'_>) {
        request.set_timeout(self.style.idle_max);
        // A datagram is a message whole, whatever is in it. Sent back as it is, it is never longer than it
        // came: nobody can have more sent to a forged address than they sent themselves.
        if !self.style.by_lines || request.is_datagram() {
            let chunk = request.recv(usize::MAX);
            return self.answer(request, chunk);
        }
        match request.read_line(limits::LINE_BYTES_MAX) {
            None => {}
            Some(Ok(line)) => self.answer_line(request, line),
            Some(Err(_)) => {
                let limit = limits::LINE_BYTES_MAX;
                request.send(format!("-- that line was too long: {limit} bytes at most --\n").as_bytes());
            }
        }
    }

    /// The last line may have no end.
    fn handle_eof(&mut self, request: &mut Request<'_>) {
        let rest = request.recv(usize::MAX);
        if !rest.is_empty() {
            self.answer_line(request, rest);
        }
        request.close();
    }
}

/// A text with places for what was said, `{}`, and for who said it, `{peer}`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Template(Vec<Part>);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Part {
    Text(String),
    Words,
    Peer,
}

impl Template {
    /// Reads a template; braces that name nothing stay what they are.
    #[must_use]
    pub fn new(text: &str) -> Self {
        let mut parts = Vec::new();
        let mut rest = text;
        loop {
            let next = [("{}", Part::Words), ("{peer}", Part::Peer)]
                .into_iter()
                .filter_map(|(name, part)| Some((rest.find(name)?, name, part)))
                .min_by_key(|(at, ..)| *at);
            let Some((at, name, part)) = next else { break };
            parts.extend([Part::Text(rest[..at].into()), part]);
            rest = &rest[at + name.len()..];
        }
        parts.push(Part::Text(rest.into()));
        Template(parts)
    }

    fn fill(&self, words: &[u8], peer: &str) -> Vec<u8> {
        let parts = self.0.iter().map(|part| match part {
            Part::Text(text) => text.as_bytes(),
            Part::Words => words,
            Part::Peer => peer.as_bytes(),
        });
        parts.flatten().copied().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_template_has_places_for_the_words_and_the_peer() {
        for (template, filled) in [
            ("ack. {}", "ack. 你好\n"),
            ("{peer} says {}!{}", "unix says 你好\n!你好\n"),
            ("I am OK, are u OK", "I am OK, are u OK"),
            ("{ } {name} {{}}", "{ } {name} {你好\n}"),
            ("", ""),
        ] {
            let answer = Template::new(template).fill("你好\n".as_bytes(), "unix");
            assert_eq!(String::from_utf8_lossy(&answer), filled, "{template}");
        }
    }

    #[test]
    fn words_that_look_like_a_template_are_only_words() {
        assert_eq!(Template::new("<{}>").fill(b"{peer}{}", "unix"), b"<{peer}{}>");
    }
}
