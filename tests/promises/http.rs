//! P46: requests that a proxy before the server could see the end of in another place (RFC 9112, 11.2): each has
//! exactly one answer, which is the last, and what was smuggled behind it is never answered. P47: heads that are
//! too large, or never end.

use std::os::fd::AsFd;
use std::time::Instant;

use onepoll::limits;
use rustix::event::{PollFd, PollFlags, Timespec};

use crate::harness::{DEADLINE, are_installed, raise_descriptor_limit, tool};
use crate::visitor::{GET, Visitor, hello};

/// What a smuggler hides behind a head.
const SMUGGLED: &str = "GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n";

/// Heads without their version line, `Host` and end; and the status that they have.
const FIELDS: &[(&str, u16)] = &[
    // Two lengths.
    ("Content-Length: 0\r\nContent-Length: 0", 400),
    ("Content-Length: 6\r\nContent-Length: 5", 400),
    ("Content-Length: 0\r\ncontent-length: 38", 400),
    ("Content-Length: 0, 38", 400),
    ("Content-Length: 38, 38", 400),
    // Lengths that are none.
    ("Content-Length: +38", 400),
    ("Content-Length: -38", 400),
    ("Content-Length: -0", 400),
    ("Content-Length: 0x26", 400),
    ("Content-Length: 3 8", 400),
    ("Content-Length: 38;", 400),
    ("Content-Length: \"38\"", 400),
    ("Content-Length: 3.8e1", 400),
    ("Content-Length: \u{663}", 400),
    ("Content-Length:", 400),
    // Lengths.
    ("Content-Length: 38", 413),
    ("Content-Length:38", 413),
    ("CONTENT-LENGTH: \t 00038 \t", 413),
    ("Content-Length: 18446744073709551616", 413),
    ("Content-Length: 340282366920938463463374607431768211456000000000000", 413),
    // A length and a coding, both ways round.
    ("Content-Length: 38\r\nTransfer-Encoding: chunked", 400),
    ("Transfer-Encoding: chunked\r\nContent-Length: 38", 400),
    ("Transfer-Encoding: chunked\r\nContent-Length: 0", 400),
    ("Content-Length: 38\r\nTransfer-Encoding: identity", 400),
    // Codings, and what only some would take for one.
    ("Transfer-Encoding: chunked", 411),
    ("transfer-encoding:\tCHUNKED\t", 411),
    ("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked", 501),
    ("Transfer-Encoding: chunked\r\nTransfer-Encoding: identity", 501),
    ("Transfer-Encoding: identity", 501),
    ("Transfer-Encoding: xchunked", 501),
    ("Transfer-Encoding: chunked, chunked", 501),
    ("Transfer-Encoding: gzip, chunked", 501),
    ("Transfer-Encoding: chunked;q=1", 501),
    ("Transfer-Encoding: \"chunked\"", 501),
    ("Transfer-Encoding:", 501),
    ("Transfer-Encoding : chunked", 400),
    ("Transfer-Encoding\t: chunked", 400),
    (" Transfer-Encoding: chunked", 400),
    ("Transfer-Encoding: \u{b}chunked", 400),
    ("Transfer-Encoding: chunked\0", 400),
    ("Transfer-Encoding\r\n : chunked", 400),
    ("Transfer-Encoding:\r\n chunked", 400),
    ("X: y\r\n Transfer-Encoding: chunked", 400),
    ("X: y\rTransfer-Encoding: chunked", 400),
    ("X: y\nTransfer-Encoding: chunked", 400),
    ("X: y\r\n\rTransfer-Encoding: chunked", 400),
    ("Transfer-Encoding chunked", 400),
    (": chunked", 400),
    ("X: y\r\n\n", 400),
    ("X: y\n", 400),
    // More than one host, or none that can be.
    ("Host: b", 400),
    ("host: a", 400),
];

/// Whole heads that are wrong in their first line or in their host.
const HEADS: &[&str] = &[
    "GET / HTTP/1.1\r\n\r\n",
    "GET / HTTP/1.1\r\nHost: a b\r\n\r\n",
    "GET / HTTP/1.1\r\nHost: a,b\r\nHost: c\r\n\r\n",
    "GET / HTTP/1.1\r\nHost: a@b/c\r\n\r\n",
    "GET / HTTP/1.1\nHost: a\n\n",
    "GET / HTTP/1.1\nHost: a\r\n\r\n",
    "GET / HTTP/1.1\rHost: a\r\n\r\n",
    "GET / HTTP/1.1 \r\nHost: a\r\n\r\n",
    " GET / HTTP/1.1\r\nHost: a\r\n\r\n",
    "GET  / HTTP/1.1\r\nHost: a\r\n\r\n",
    "GET\t/\tHTTP/1.1\r\nHost: a\r\n\r\n",
    "GET / HTTP/1.1HTTP/1.1\r\nHost: a\r\n\r\n",
    "GET / /b HTTP/1.1\r\nHost: a\r\n\r\n",
    "GET b HTTP/1.1\r\nHost: a\r\n\r\n",
    "G(T / HTTP/1.1\r\nHost: a\r\n\r\n",
    "GET /\u{1} HTTP/1.1\r\nHost: a\r\n\r\n",
    "\r\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n",
    "\nGET / HTTP/1.1\r\nHost: a\r\n\r\n",
    "GET / HTTP/1.0\r\nTransfer-Encoding: chunked\r\nConnection: keep-alive\r\n\r\n",
];

#[test]
fn p46_what_is_behind_a_head_that_can_be_misread_is_never_answered() {
    let server = hello(&[]);
    let heads = FIELDS
        .iter()
        .map(|(fields, status)| (format!("GET / HTTP/1.1\r\nHost: a\r\n{fields}\r\n\r\n"), *status))
        .chain(HEADS.iter().map(|head| (head.to_string(), 400)));
    for (head, status) in heads {
        for body in ["", "0\r\n\r\n", "5\r\nhello\r\n0\r\n\r\ngarbage", "0\r\nX: y\r\n\r\n"] {
            let mut visitor = Visitor::of(&server);
            visitor.send([&head, body, SMUGGLED].concat());
            let answer = visitor.last_answer();
            assert_eq!(answer.status, status, "{head:?}: {answer:?}");
        }
    }
}

#[test]
fn p46_an_answer_to_head_that_refuses_a_body_has_none_itself() {
    let server = hello(&[]);
    for (fields, status) in
        [("Content-Length: 38", 413), ("Transfer-Encoding: chunked", 411), ("Transfer-Encoding: x", 501)]
    {
        let mut visitor = Visitor::of(&server);
        visitor.send(format!("HEAD / HTTP/1.1\r\nHost: a\r\n{fields}\r\n\r\n{SMUGGLED}"));
        let answer = visitor.answer_to_head();
        assert_eq!((answer.status, answer.closes()), (status, true));
        visitor.expect_end();
    }
}

#[test]
fn p46_a_client_in_the_middle_of_a_large_body_still_reads_the_answer() {
    let server = hello(&[]);
    let mut visitor = Visitor::of(&server);
    visitor.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 10000000\r\n\r\n");
    // Closing over what is on its way would reset the connection, and the answer with it.
    for _ in 0..100 {
        visitor.send([b'x'; 100_000]);
    }
    assert_eq!(visitor.last_answer().status, 405);
}

#[test]
fn p47_heads_that_are_too_large_are_told_so() {
    let server = hello(&[]);
    let fields = "HTTP/1.1 431 Request Header Fields Too Large";
    let long = format!("X: {}\r\n", "x".repeat(8192));
    for (request, line) in [
        (format!("GET / HTTP/1.1\r\n{long}"), fields),
        (format!("GET / HTTP/1.1\r\n{}\r\n", "X: y\r\n".repeat(65)), fields),
        (format!("GET / HTTP/1.1\r\n{}\r\n", "X: y\r\n".repeat(10_000)), fields),
        (format!("GET /{} HTTP/1.1\r\n", "x".repeat(8192)), "HTTP/1.1 414 URI Too Long"),
    ] {
        let mut visitor = Visitor::of(&server);
        visitor.send(&request);
        assert_eq!(visitor.last_answer().line, line, "{} bytes", request.len());
    }
}

#[test]
fn p47_a_head_as_large_as_it_may_be_is_answered_and_a_byte_or_a_field_more_is_not() {
    let server = hello(&[]);
    for (bytes, fields, status) in [
        (limits::HTTP_HEAD_BYTES_MAX, 2, 200),
        (limits::HTTP_HEAD_BYTES_MAX + 1, 2, 431),
        (8000, limits::HTTP_FIELDS_MAX, 200),
        (8000, limits::HTTP_FIELDS_MAX + 1, 431),
    ] {
        // Host and the last one are fields, too.
        let head = format!("GET / HTTP/1.1\r\nHost: a\r\n{}Y: ", "X: y\r\n".repeat(fields - 2));
        let padding = "y".repeat(bytes - head.len() - "\r\n\r\n".len());
        let mut visitor = Visitor::of(&server);
        visitor.send(format!("{head}{padding}\r\n\r\n"));
        assert_eq!(visitor.answer().status, status, "{bytes} bytes, {fields} fields");
    }
}

#[test]
fn p47_a_head_that_stays_unfinished_is_told_so_and_the_connection_closed() {
    let server = hello(&["--head", "0.1"]);
    for sent in ["G", "GET / HTTP/1.1\r\nHost: a\r\n", "GET / HTTP/1.1\r\nHost: a\r\n\r"] {
        let mut visitor = Visitor::of(&server);
        visitor.send(sent);
        assert_eq!(visitor.last_answer().line, "HTTP/1.1 408 Request Timeout");
    }
    // Also behind a request that was whole.
    let mut visitor = Visitor::of(&server);
    visitor.send([GET, "GET"].concat());
    visitor.answer().expect_page();
    assert_eq!(visitor.last_answer().status, 408);
}

#[test]
fn p47_a_byte_now_and_then_does_not_put_the_deadline_off() {
    let server = hello(&["--head", "0.3"]);
    let mut visitor = Visitor::of(&server);
    visitor.send("GET / HTTP/1.1\r\nX: ");
    let until = Instant::now() + DEADLINE;
    let pause = Timespec { tv_sec: 0, tv_nsec: 20_000_000 };
    // A deadline that each byte put off would not come before the head is too long, which takes minutes.
    loop {
        let descriptor = visitor.source.as_fd();
        let mut polled = [PollFd::new(&descriptor, PollFlags::IN)];
        if rustix::event::poll(&mut polled, Some(&pause)).expect("poll works") > 0 {
            break;
        }
        assert!(Instant::now() < until, "the head is still waited for");
        visitor.send("x");
    }
    assert_eq!(visitor.last_answer().status, 408);
}

#[test]
fn p47_slowhttptest_holds_no_connection_and_keeps_nobody_out() {
    if !are_installed(&["slowhttptest", "timeout"]) {
        return;
    }
    raise_descriptor_limit();
    let server = hello(&["--head", "1"]);
    let url = format!("http://{}/", server.addresses[0]);
    // Slow heads, a field each second; and slow bodies, which are not waited for.
    for form in ["-H", "-B"] {
        let mut tool = tool("timeout");
        tool.args(["30", "slowhttptest", form, "-c", "100", "-r", "200", "-i", "1", "-l", "20", "-u", &url]);
        let output = tool.stdin(std::process::Stdio::null()).output().expect("it runs");
        let report = String::from_utf8_lossy(&output.stdout);
        assert!(report.contains("No open connections left"), "{form}: {report}");
        Visitor::of(&server).ask(GET).expect_page();
    }
}
