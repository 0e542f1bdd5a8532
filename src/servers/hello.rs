//! The tiny HTTP server: one page, whatever the path.
//!
//! The classic program reads once, takes whatever that was for a request, writes a page without saying how
//! long it is, and closes. Here a request begins and ends where HTTP says (RFC 9112), which is found by
//! [`codec::http`](crate::codec::http), however its bytes arrive; the answer says how long it is, so the
//! connection can stay for the next one; and what is no request, or would go on behind its head, is answered
//! with the reason, and is the last that is read.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use log::debug;

use crate::codec::http::{self, Answer, Connection, Content, Decoded, Head, HeadDecoder, Malformed, Part};
use crate::engine::Reason;
use crate::socketserver::{Handler, Request};

/// The page.
pub const HTML: &str = "<h1>Hello,World</h1>";

/// What all visitors share: the page, ready to be sent.
#[derive(Debug)]
pub struct Site {
    /// How long a visitor may be silent between two requests; `None`: for ever.
    idle_max: Option<Duration>,
    /// How long a head may take from its first byte to its last; `None`: for ever.
    head_max: Option<Duration>,
    page: RefCell<Page>,
}

/// The answer, in each of the forms that differ in what they say of the connection.
#[derive(Debug)]
struct Page {
    /// The second that all this is of.
    unix_s: i64,
    date: String,
    /// In the order of [`Connection::ALL`].
    answers: [Answer; 3],
}

impl Site {
    /// A site that answers with this status, 200 to 599.
    #[must_use]
    pub fn new(status: u16, idle_max: Option<Duration>, head_max: Option<Duration>) -> Rc<Self> {
        let answer = |connection| Answer::new(status, connection, fields_of(status), Content::html(HTML));
        let answers = Connection::ALL.map(answer);
        let page = RefCell::new(Page { unix_s: 0, date: http::date(0), answers });
        Rc::new(Site { idle_max, head_max, page })
    }

    /// The handler of a new connection.
    #[must_use]
    pub fn visitor(self: &Rc<Self>) -> Visitor {
        Visitor { site: Rc::clone(self), heads: HeadDecoder::default(), has_begun: false }
    }
}

impl Page {
    /// Dates the answers anew, once a second.
    fn set_time(&mut self, unix_s: i64) {
        if self.unix_s != unix_s {
            self.unix_s = unix_s;
            self.date = http::date(unix_s);
            for answer in &mut self.answers {
                answer.set_date(&self.date);
            }
        }
    }
}

/// What a status needs beside what all need (RFC 9110, 15.5.6).
fn fields_of(status: u16) -> &'static [(&'static str, &'static str)] {
    if status == 405 { &[("Allow", "GET, HEAD")] } else { &[] }
}

/// One connection, and its requests, one after another.
#[derive(Debug)]
pub struct Visitor {
    site: Rc<Site>,
    heads: HeadDecoder,
    /// A part of a head is there, and its deadline is set.
    has_begun: bool,
}

impl Handler for Visitor {
    fn setup(&mut self, request: &mut Request<'_>) {
        request.set_timeout(self.site.idle_max);
    }

    /// One head each time. What a client sends ahead is answered in order, as long as it reads the answers.
    fn handle(&mut self, request: &mut Request<'_>) {
        match self.heads.decode(request.unread()) {
            Decoded::Head { head, consumed } => {
                request.consume(consumed);
                self.has_begun = false;
                request.set_timeout(self.site.idle_max);
                self.answer(request, &head);
            }
            // The deadline is for the whole head: a byte now and then does not put it off.
            Decoded::Incomplete if !self.has_begun => {
                self.has_begun = true;
                request.set_timeout(self.site.head_max);
            }
            Decoded::Incomplete => {}
            Decoded::Malformed(why) => self.refuse(request, why.status(), &why.to_string(), Part::Whole),
        }
    }

    /// A half of a request is none. All others were answered, and are sent before the close.
    fn handle_eof(&mut self, request: &mut Request<'_>) {
        if !request.unread().trim_ascii().is_empty() {
            let why = Malformed::CutOff;
            self.refuse(request, why.status(), &why.to_string(), Part::Whole);
        }
        request.close();
    }

    /// Silence between requests is no fault: it is ended without a word.
    fn handle_timeout(&mut self, request: &mut Request<'_>) {
        if self.has_begun {
            self.refuse(request, 408, "the request took too long to arrive", Part::Whole);
        }
        request.close_for(Reason::Idle);
    }
}

impl Visitor {
    fn answer(&self, request: &mut Request<'_>, head: &Head<'_>) {
        debug!("{}: {} {:?}", request.peer(), head.method, head.target);
        let part = match head.asked_part() {
            Ok(part) => part,
            Err(declined) => return self.refuse(request, declined.status, declined.why, declined.part),
        };
        let mut page = self.site.page.borrow_mut();
        page.set_time(request.now().unix_s);
        request.send(page.answers[head.connection as usize].part(part));
        if head.connection == Connection::Closes {
            request.close();
        }
    }

    /// Says what is wrong, and closes: behind it, nobody knows where the next request would begin.
    fn refuse(&self, request: &mut Request<'_>, status: u16, why: &str, part: Part) {
        debug!("{}: {status}: {why}", request.peer());
        let html = format!("<h1>{status} {}</h1>\n<p>{why}</p>\n", http::reason_phrase(status));
        let mut answer = Answer::new(status, Connection::Closes, fields_of(status), Content::html(&html));
        let mut page = self.site.page.borrow_mut();
        page.set_time(request.now().unix_s);
        answer.set_date(&page.date);
        request.send(answer.part(part));
        request.close_for(Reason::WrongProtocol);
    }
}
