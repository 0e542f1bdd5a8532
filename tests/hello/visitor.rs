//! One who visits the page: a socket, and answers read as RFC 9112 says.

use std::ops::{Deref, DerefMut};

use crate::harness::{Client, Server, onepoll};

pub const PAGE: &str = "<h1>Hello,World</h1>";

/// The shortest request.
pub const GET: &str = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";

/// `onepoll hello` with these arguments, on a free port where they name no address.
pub fn hello(arguments: &[&str]) -> Server {
    let place: &[&str] = if arguments.contains(&"--listen") { &[] } else { &["--listen", "127.0.0.1:0"] };
    Server::spawn(onepoll(&[&["hello"], arguments, place].concat()))
}

/// An answer.
#[derive(Debug, PartialEq, Eq)]
pub struct Answer {
    pub status: u16,
    /// The status line, without its end.
    pub line: String,
    /// The field lines, without their ends, in order.
    pub fields: Vec<String>,
    pub body: String,
}

impl Answer {
    /// The value of a field that is there at most once.
    pub fn field(&self, name: &str) -> Option<&str> {
        let mut values = self.fields.iter().filter_map(|field| field.strip_prefix(name)?.strip_prefix(": "));
        let value = values.next();
        assert_eq!(values.next(), None, "{name} is there twice: {self:?}");
        value
    }

    pub fn closes(&self) -> bool {
        self.field("Connection") == Some("close")
    }

    #[track_caller]
    pub fn expect_page(self) {
        assert_eq!((self.status, &*self.body), (200, PAGE), "{self:?}");
    }
}

pub struct Visitor(Client);

impl Deref for Visitor {
    type Target = Client;

    fn deref(&self) -> &Client {
        &self.0
    }
}

impl DerefMut for Visitor {
    fn deref_mut(&mut self) -> &mut Client {
        &mut self.0
    }
}

impl Visitor {
    pub fn of(server: &Server) -> Self {
        Visitor(server.connect())
    }

    pub fn new(client: Client) -> Self {
        Visitor(client)
    }

    pub fn into_client(self) -> Client {
        self.0
    }

    /// Sends, and reads the answer.
    #[track_caller]
    pub fn ask(&mut self, request: impl AsRef<[u8]>) -> Answer {
        self.send(request);
        self.answer()
    }

    /// The next answer, whose body is as long as it says.
    #[track_caller]
    pub fn answer(&mut self) -> Answer {
        let mut answer = self.answer_to_head();
        let bytes = answer.field("Content-Length").expect("a length").parse().expect("a number");
        answer.body = String::from_utf8(self.bytes(bytes)).expect("HTML");
        answer
    }

    /// The next answer, which has no body, whatever it says.
    #[track_caller]
    pub fn answer_to_head(&mut self) -> Answer {
        let mut lines = Vec::new();
        loop {
            let line = self.line();
            match line.strip_suffix('\r').expect("lines end in CR LF") {
                "" => break,
                line => lines.push(line.to_string()),
            }
        }
        let line = lines.remove(0);
        let status = line.strip_prefix("HTTP/1.1 ").expect("the version");
        let status = status.get(..3).expect("three digits").parse().expect("three digits");
        Answer { status, line, fields: lines, body: String::new() }
    }

    /// What answers bytes that are the last: one answer, which says that it is the last, and the end.
    #[track_caller]
    pub fn last_answer(&mut self) -> Answer {
        let answer = self.answer();
        assert!(answer.closes(), "{answer:?}");
        self.expect_end();
        answer
    }

    #[track_caller]
    pub fn expect_end(&mut self) {
        let rest = self.rest();
        assert!(rest.is_empty(), "{}", rest.escape_ascii());
    }
}
