//! What is answered to whom.

use jiff::Timestamp;
use jiff::fmt::rfc2822::DateTimeParser;

use crate::harness::{Client, Directory, onepoll, run};
use crate::visitor::{GET, PAGE, Visitor, hello};

#[test]
fn the_page_comes_with_all_that_belongs_to_it() {
    let server = hello(&[]);
    let before = Timestamp::now().as_second();
    let answer = Visitor::of(&server).ask(GET);
    let after = Timestamp::now().as_second();
    assert_eq!(answer.line, "HTTP/1.1 200 OK");
    assert_eq!(answer.body, PAGE);
    let date = answer.field("Date").expect("a date");
    assert!(date.len() == 29 && date.ends_with(" GMT"), "{date}");
    let time = DateTimeParser::new().parse_timestamp(date).expect("a date").as_second();
    assert!((before..=after).contains(&time), "{date}");
    let rest: Vec<&String> = answer.fields.iter().filter(|field| !field.starts_with("Date: ")).collect();
    assert_eq!(rest, ["Content-Type: text/html; charset=utf-8", "Content-Length: 20"]);
}

#[test]
fn head_has_the_fields_of_get_and_no_body() {
    let server = hello(&[]);
    let mut visitor = Visitor::of(&server);
    visitor.send("HEAD / HTTP/1.1\r\nHost: a\r\n\r\n");
    let head = visitor.answer_to_head();
    let mut get = visitor.ask(GET);
    assert_eq!(get.body, PAGE);
    get.body.clear();
    let undated = |answer: crate::visitor::Answer| {
        let fields = answer.fields.into_iter().filter(|field| !field.starts_with("Date: "));
        (answer.line, fields.collect::<Vec<String>>())
    };
    assert_eq!(undated(head), undated(get));
}

#[test]
fn every_path_and_every_form_of_it_has_the_page() {
    let server = hello(&[]);
    let mut visitor = Visitor::of(&server);
    for target in ["/", "/a/../b?c=d&e", "/%00", "/é", "http://elsewhere/", "//"] {
        visitor.ask(format!("GET {target} HTTP/1.1\r\nHost: a\r\n\r\n")).expect_page();
    }
}

#[test]
fn a_connection_stays_as_its_version_has_it_and_its_client_wants_it() {
    let server = hello(&[]);
    for (version, said, stays, answered) in [
        ("1.1", "", true, None),
        ("1.1", "Connection: keep-alive\r\n", true, None),
        ("1.1", "Connection: close\r\n", false, Some("close")),
        ("1.1", "connection: TE, CLOSE\r\n", false, Some("close")),
        ("1.1", "Connection: keep-alive\r\nConnection: close\r\n", false, Some("close")),
        ("1.0", "", false, Some("close")),
        ("1.0", "Connection: Keep-Alive\r\n", true, Some("keep-alive")),
        ("1.0", "Connection: keep-alive, close\r\n", false, Some("close")),
    ] {
        let mut visitor = Visitor::of(&server);
        let request = format!("GET / HTTP/{version}\r\nHost: a\r\n{said}\r\n");
        let answer = visitor.ask(&request);
        assert_eq!(answer.field("Connection"), answered, "{request}");
        assert_eq!(answer.line, "HTTP/1.1 200 OK", "the version is the server's own");
        answer.expect_page();
        if stays {
            visitor.ask(GET).expect_page();
        } else {
            visitor.expect_end();
        }
    }
}

#[test]
fn requests_sent_ahead_are_answered_in_order_up_to_the_last() {
    let server = hello(&[]);
    let mut visitor = Visitor::of(&server);
    let head = GET.replace("GET", "HEAD");
    let put = GET.replace("GET", "PUT");
    visitor.send([GET, GET, &head, GET, &put, GET, GET].concat());
    visitor.answer().expect_page();
    visitor.answer().expect_page();
    assert_eq!(visitor.answer_to_head().status, 200);
    visitor.answer().expect_page();
    assert_eq!(visitor.last_answer().status, 405);
}

#[test]
fn other_methods_are_told_which_are_understood() {
    let server = hello(&[]);
    for method in ["POST", "PUT", "DELETE", "PATCH", "TRACE", "BREW", "get"] {
        let mut visitor = Visitor::of(&server);
        visitor.send(format!("{method} / HTTP/1.1\r\nHost: a\r\n\r\n"));
        let answer = visitor.last_answer();
        assert_eq!((answer.status, answer.field("Allow")), (405, Some("GET, HEAD")), "{method}");
        assert!(answer.body.starts_with("<h1>405 Method Not Allowed</h1>"), "{answer:?}");
    }
    for request in ["OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n", "CONNECT a:80 HTTP/1.1\r\nHost: a:80\r\n\r\n"] {
        let mut visitor = Visitor::of(&server);
        visitor.send(request);
        assert_eq!(visitor.last_answer().status, 405, "{request}");
    }
}

#[test]
fn what_is_no_http_is_told_so_at_once() {
    let server = hello(&[]);
    for bytes in
        [&b"hello\r\n"[..], b"hello\n", b"\x16\x03\x01\x02\x00\x01", b"GET /\r\n", b"GET / http/1.1\r\n"]
    {
        let mut visitor = Visitor::of(&server);
        visitor.send(bytes);
        let answer = visitor.last_answer();
        assert_eq!(answer.line, "HTTP/1.1 400 Bad Request", "{}", bytes.escape_ascii());
    }
}

#[test]
fn other_versions_are_told_so() {
    let server = hello(&[]);
    for request in ["GET / HTTP/1.2\r\n", "GET / HTTP/0.9\r\n\r\n", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"] {
        let mut visitor = Visitor::of(&server);
        visitor.send(request);
        assert_eq!(visitor.last_answer().line, "HTTP/1.1 505 HTTP Version Not Supported", "{request}");
    }
}

#[test]
fn who_closes_its_half_gets_what_is_due_and_half_a_request_is_none() {
    let server = hello(&[]);
    for (sent, statuses) in [
        ("", &[][..]),
        ("\r\n", &[]),
        (GET, &[200]),
        (&[GET, GET].concat(), &[200, 200]),
        ("hello", &[400]),
        (&GET[..GET.len() - 1], &[400]),
        (&[GET, "GET / HTTP/1.1\r\n"].concat(), &[200, 400]),
    ] {
        let mut visitor = Visitor::of(&server);
        visitor.send(sent);
        visitor.half_close();
        for status in statuses {
            assert_eq!(visitor.answer().status, *status, "{sent:?}");
        }
        visitor.expect_end();
    }
}

#[test]
fn an_empty_line_before_a_request_is_passed_over() {
    let server = hello(&[]);
    let mut visitor = Visitor::of(&server);
    visitor.ask(["\r\n", GET, "\r\n\r\n", GET].concat()).expect_page();
    visitor.answer().expect_page();
}

#[test]
fn a_client_that_waits_for_leave_to_send_a_body_is_answered_instead() {
    let server = hello(&[]);
    let expect = "Host: a\r\nExpect: 100-continue\r\n";
    let mut visitor = Visitor::of(&server);
    visitor.ask(format!("GET / HTTP/1.1\r\n{expect}\r\n")).expect_page();
    visitor.send(format!("GET / HTTP/1.1\r\n{expect}Content-Length: 5\r\n\r\n"));
    assert_eq!(visitor.last_answer().status, 413);
}

#[test]
fn any_final_status_can_be_seen() {
    for (status, line) in [
        ("404", "HTTP/1.1 404 Not Found"),
        ("500", "HTTP/1.1 500 Internal Server Error"),
        ("299", "HTTP/1.1 299 "),
        ("405", "HTTP/1.1 405 Method Not Allowed"),
    ] {
        let server = hello(&["--status", status]);
        let mut visitor = Visitor::of(&server);
        for _ in 0..2 {
            let answer = visitor.ask(GET);
            assert_eq!((&*answer.line, &*answer.body), (line, PAGE));
            assert_eq!(answer.field("Allow").is_some(), status == "405");
        }
    }
}

#[test]
fn statuses_without_content_have_none_and_the_next_answer_follows() {
    for (status, length) in [("204", None), ("205", Some("0")), ("304", None)] {
        let server = hello(&["--status", status]);
        let mut visitor = Visitor::of(&server);
        visitor.send([GET, GET].concat());
        for _ in 0..2 {
            let answer = visitor.answer_to_head();
            assert_eq!(answer.status.to_string(), status);
            assert_eq!(answer.field("Content-Length"), length);
            assert_eq!(answer.field("Content-Type"), None);
        }
        visitor.send("hello\r\n");
        assert_eq!(visitor.last_answer().status, 400);
    }
}

#[test]
fn statuses_that_end_no_request_are_refused_as_arguments() {
    for status in ["100", "101", "199", "600", "0", "-1", "OK"] {
        let (exit, _, stderr) = run(onepoll(&["hello", "--status", status]));
        assert_eq!(exit, 2, "{status}: {stderr}");
    }
    assert_eq!(run(onepoll(&["hello", "--listen", "udp:127.0.0.1:0"])).0, 2);
}

#[test]
fn a_unix_socket_serves_the_page_too() {
    let directory = Directory::new();
    let server = hello(&["--listen", &directory.socket("web")]);
    Visitor::new(Client::connect(&server.addresses[0])).ask(GET).expect_page();
}

#[test]
fn an_address_in_use_and_a_signal_have_their_exit_codes() {
    let mut server = hello(&[]);
    let mut visitor = Visitor::of(&server);
    visitor.ask(GET).expect_page();
    let (exit, _, stderr) = run(onepoll(&["hello", "--listen", &server.addresses[0]]));
    assert_eq!(exit, 3, "{stderr}");
    server.signal(rustix::process::Signal::TERM);
    visitor.expect_end();
    assert_eq!(server.exit_code(), 0);
}
