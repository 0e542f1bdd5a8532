//! Heads that arrive in pieces, each of which the server has seen before the next is sent.

use crate::harness::Server;
use crate::visitor::{GET, Visitor, hello};

/// Sends in pieces. What another connection is answered shows that the server has read a piece: it reads
/// all that is there before it writes.
fn send_in_pieces(server: &Server, other: &mut Visitor, pieces: &[&[u8]]) -> Visitor {
    let mut visitor = Visitor::of(server);
    for piece in pieces {
        visitor.send(piece);
        other.ask(GET).expect_page();
    }
    visitor
}

#[test]
fn a_head_may_be_split_anywhere() {
    let server = hello(&[]);
    let mut other = Visitor::of(&server);
    let input = ["\r\n", GET, GET, "HEAD / HTTP/1.0\r\n\r\n"].concat().into_bytes();
    for cut in 0..=input.len() {
        let (first, second) = input.split_at(cut);
        let mut visitor = send_in_pieces(&server, &mut other, &[first, second]);
        visitor.answer().expect_page();
        visitor.answer().expect_page();
        let last = visitor.answer_to_head();
        assert_eq!((last.status, last.closes()), (200, true), "cut at {cut}");
        visitor.expect_end();
    }
}

#[test]
fn a_head_may_come_byte_by_byte() {
    let server = hello(&[]);
    let mut other = Visitor::of(&server);
    let input = [GET, GET].concat().into_bytes();
    let mut visitor = send_in_pieces(&server, &mut other, &input.chunks(1).collect::<Vec<_>>());
    visitor.answer().expect_page();
    visitor.answer().expect_page();
    visitor.half_close();
    visitor.expect_end();
}

#[test]
fn what_is_malformed_is_so_wherever_it_is_split() {
    let server = hello(&[]);
    let mut other = Visitor::of(&server);
    let input = [GET, "GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\n"].concat();
    for cut in 0..=input.len() {
        let (first, second) = input.as_bytes().split_at(cut);
        let mut visitor = send_in_pieces(&server, &mut other, &[first, second]);
        visitor.answer().expect_page();
        assert_eq!(visitor.last_answer().status, 400, "cut at {cut}");
    }
}
