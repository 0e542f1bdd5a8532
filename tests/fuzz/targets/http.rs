//! Heads of HTTP requests: never taken where httparse alone would not take them, or for something else.

use httparse::{EMPTY_HEADER, Request, Status};
use onepoll::codec::http::{Body, Connection, Decoded, Head, HeadDecoder, Malformed};
use onepoll::limits::{HTTP_FIELDS_MAX, HTTP_HEAD_BYTES_MAX};

use super::pieces;

/// The first byte chooses the pieces; the rest is what a client sends.
///
/// However it is split, the same heads come out, and the same end. What is taken for a head is one to httparse, with
/// the same method and target, and ends at its first empty line: nothing of what follows has a part in it. What
/// frames a body in two ways, or in a way that others may read differently, is no head.
pub fn head(input: &[u8]) {
    let [choice, stream @ ..] = input else { return };
    let (heads, malformed) = decode(stream, [stream].into_iter());
    for split in [0, *choice] {
        let (heads_split, malformed_split) = decode(stream, pieces(stream, split));
        assert_eq!(heads_split, heads);
        // Which of several faults is met first may differ.
        assert_eq!(malformed_split.is_some(), malformed.is_some());
    }
    let mut rest = stream;
    for (head, consumed) in heads {
        let (bytes, behind) = rest.split_at(consumed);
        check(&head, bytes);
        rest = behind;
    }
    match malformed {
        None => assert!(rest.len() < HTTP_HEAD_BYTES_MAX),
        Some(malformed) => assert!(matches!(malformed.status(), 400 | 414 | 431 | 505)),
    }
}

/// The heads, each with its length, and what ends them. Each call has one outcome, and each head takes bytes.
fn decode<'a>(
    stream: &'a [u8],
    pieces: impl Iterator<Item = &'a [u8]>,
) -> (Vec<(Head<'a>, usize)>, Option<Malformed>) {
    let mut decoder = HeadDecoder::default();
    let mut heads = Vec::new();
    let (mut done, mut arrived) = (0, 0);
    for piece in pieces {
        arrived += piece.len();
        loop {
            match decoder.decode(&stream[done..arrived]) {
                Decoded::Incomplete => break,
                Decoded::Head { head, consumed } => {
                    assert!((1..=HTTP_HEAD_BYTES_MAX.min(arrived - done)).contains(&consumed));
                    heads.push((head, consumed));
                    done += consumed;
                }
                Decoded::Malformed(malformed) => return (heads, Some(malformed)),
            }
        }
    }
    (heads, None)
}

fn check(head: &Head<'_>, bytes: &[u8]) {
    let begin = bytes.iter().position(|byte| !b"\r\n".contains(byte)).expect("a request line");
    let empty_line = bytes[begin..].windows(4).position(|four| four == b"\r\n\r\n").expect("an empty line");
    assert_eq!(begin + empty_line + 4, bytes.len(), "the head ends at its first empty line");
    let mut before = 0;
    for byte in bytes {
        assert!(*byte != b'\n' || before == b'\r', "an LF without CR ends a line");
        before = *byte;
    }

    let mut fields = [EMPTY_HEADER; HTTP_FIELDS_MAX];
    let mut request = Request::new(&mut fields);
    assert_eq!(request.parse(bytes), Ok(Status::Complete(bytes.len())));
    assert_eq!(request.method, Some(head.method));
    assert_eq!(request.path, Some(head.target));
    let is_1_1 = request.version == Some(1);
    let values = |name: &str| -> Vec<&[u8]> {
        let named = request.headers.iter().filter(|field| field.name.eq_ignore_ascii_case(name));
        named.map(|field| field.value).collect()
    };
    let (hosts, lengths, codings) = (values("host"), values("content-length"), values("transfer-encoding"));
    assert!(hosts.len() == 1 || (hosts.is_empty() && !is_1_1));
    assert!(lengths.len() <= 1 && lengths.iter().all(|length| length.iter().all(u8::is_ascii_digit)));
    assert!(lengths.is_empty() || codings.is_empty(), "a body is framed in two ways");
    assert!(is_1_1 || codings.is_empty());
    let body = match (&lengths[..], &codings[..]) {
        ([], []) => Body::Absent,
        ([length], _) if length.iter().all(|digit| *digit == b'0') => Body::Absent,
        ([_], _) => Body::Sized,
        (_, [coding]) if coding.eq_ignore_ascii_case(b"chunked") => Body::Chunked,
        _ => Body::Coded,
    };
    assert_eq!(head.body, body);
    let options = values("connection").join(&b',').to_ascii_lowercase();
    let says = |option: &[u8]| options.split(|byte| *byte == b',').any(|said| said.trim_ascii() == option);
    let connection = match (says(b"close"), is_1_1, says(b"keep-alive")) {
        (true, ..) | (_, false, false) => Connection::Closes,
        (_, true, _) => Connection::Persists,
        (_, false, true) => Connection::PersistsAsAsked,
    };
    assert_eq!(head.connection, connection);
    // What goes on with a body that is not read is the answer to nobody's request.
    assert!(body == Body::Absent || head.asked_part().is_err());
    let path = head.path();
    assert!(!path.is_empty() && !path.contains(['?', '#', '\r', '\n', ' ']), "{path:?}");
}
