//! What is a head, what is none, and that it does not matter how it arrives.

use proptest::prelude::*;

use super::*;

/// What a client sends, and what its heads ask for, up to the first that is malformed.
type Sample = (&'static [u8], &'static [(&'static str, &'static str, Connection, Body)], Option<Malformed>);

const GET: (&str, &str, Connection, Body) = ("GET", "/", Connection::Persists, Body::Absent);

const SAMPLES: &[Sample] = &[
    (b"GET / HTTP/1.1\r\nHost: a\r\n\r\n", &[GET], None),
    (b"\r\n\r\nGET / HTTP/1.1\r\nhost:\t a:80 \t\r\n\r\n", &[GET], None),
    (b"GET / HTTP/1.1\r\nHost:\r\n\r\nGET / HTTP/1.1\r\nHost: [::1]:8089\r\n\r\n", &[GET, GET], None),
    (
        b"HEAD http://a/b?c HTTP/1.1\r\nHost: a\r\nConnection: Upgrade , Close\r\nContent-Length: 000\r\n\r\n",
        &[("HEAD", "http://a/b?c", Connection::Closes, Body::Absent)],
        None,
    ),
    (b"GET / HTTP/1.0\r\n\r\n", &[("GET", "/", Connection::Closes, Body::Absent)], None),
    (
        b"GET / HTTP/1.0\r\nConnection: Keep-Alive\r\n\r\n",
        &[("GET", "/", Connection::PersistsAsAsked, Body::Absent)],
        None,
    ),
    (
        b"OPTIONS * HTTP/1.0\r\nConnection: keep-alive\r\nConnection: close\r\n\r\n",
        &[("OPTIONS", "*", Connection::Closes, Body::Absent)],
        None,
    ),
    (
        b"GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 99999999999999999999999999999\r\n\r\n",
        &[("GET", "/", Connection::Persists, Body::Sized)],
        None,
    ),
    (
        b"GET / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: Chunked\r\n\r\n",
        &[("GET", "/", Connection::Persists, Body::Chunked)],
        None,
    ),
    (
        b"GET / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip\r\ntransfer-encoding: chunked\r\n\r\n",
        &[("GET", "/", Connection::Persists, Body::Coded)],
        None,
    ),
    (b"hello\r\n", &[], Some(Malformed::RequestLine)),
    (b"GET /\r\n\r\n", &[], Some(Malformed::RequestLine)),
    (b"GET  / HTTP/1.1\r\n\r\n", &[], Some(Malformed::RequestLine)),
    (b"GET / http/1.1\r\n\r\n", &[], Some(Malformed::RequestLine)),
    (b"GET / HTTP/1.1.1\r\n\r\n", &[], Some(Malformed::LineEnd)),
    (b"\x16\x03\x01\x02\x00", &[], Some(Malformed::RequestLine)),
    (b"hello\n", &[], Some(Malformed::LineEnd)),
    (b"GET / HTTP/1.1\r\nHost: a\r\n\n", &[], Some(Malformed::LineEnd)),
    (b"GET / HTTP/1.1\r\nHost: a\r\n\r\r\n\r\n", &[], Some(Malformed::LineEnd)),
    (b"GET / HTTP/1.1\r\nHost: a\rX: b\r\n\r\n", &[], Some(Malformed::Field)),
    (b"GET / HTTP/1.1\r\nHost: a\r\n b\r\n\r\n", &[], Some(Malformed::Field)),
    (b"GET / HTTP/1.1\r\n Host: a\r\n\r\n", &[], Some(Malformed::Field)),
    (b"GET / HTTP/1.1\r\nHost : a\r\n\r\n", &[], Some(Malformed::Field)),
    (b"GET / HTTP/1.1\r\n: a\r\n\r\n", &[], Some(Malformed::Field)),
    (b"GET / HTTP/1.1\r\nHost\r\n\r\n", &[], Some(Malformed::Field)),
    (b"GET / HTTP/1.1\r\nHost: a\r\nX: \0\r\n\r\n", &[], Some(Malformed::Field)),
    (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", &[], Some(Malformed::Version)),
    (b"GET / HTTP/1.2\r\n", &[], Some(Malformed::Version)),
    (b"GET / a HTTP/1.2\r\n", &[], Some(Malformed::RequestLine)),
    (b"GET hello HTTP/1.1\r\nHost: a\r\n\r\n", &[], Some(Malformed::Target)),
    (b"GET * HTTP/1.1\r\nHost: a\r\n\r\n", &[], Some(Malformed::Target)),
    (b"GET / HTTP/1.1\r\n\r\n", &[], Some(Malformed::Host)),
    (b"GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n", &[], Some(Malformed::Host)),
    (b"GET / HTTP/1.0\r\nHost: a\r\nHost: b\r\n\r\n", &[], Some(Malformed::Host)),
    (b"GET / HTTP/1.1\r\nHost: a/b\r\n\r\n", &[], Some(Malformed::Host)),
    (b"GET / HTTP/1.1\r\nHost: a b\r\n\r\n", &[], Some(Malformed::Host)),
    (b"GET / HTTP/1.1\r\nHost: a\r\nContent-Length: +1\r\n\r\n", &[], Some(Malformed::ContentLength)),
    (b"GET / HTTP/1.1\r\nHost: a\r\nContent-Length:\r\n\r\n", &[], Some(Malformed::ContentLength)),
    (b"GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 0, 0\r\n\r\n", &[], Some(Malformed::ContentLength)),
    (
        b"GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\nContent-Length: 0\r\n\r\n",
        &[],
        Some(Malformed::ContentLength),
    ),
    (
        b"GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\nTransfer-Encoding: chunked\r\n\r\n",
        &[],
        Some(Malformed::Framing),
    ),
    (b"GET / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n", &[], Some(Malformed::Framing)),
    (
        b"GET / HTTP/1.1\r\nHost: a\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\nGET / HTTP/1.1\r\n\r\n",
        &[GET, GET],
        Some(Malformed::Host),
    ),
];

/// Decodes what arrives in these pieces: the heads, and what ends them. It is what a fuzzer calls, too.
fn decode<'a>(input: &'a [u8], cuts: &[usize]) -> (Vec<Head<'a>>, Option<Malformed>) {
    let mut decoder = HeadDecoder::default();
    let mut heads = Vec::new();
    let mut done = 0;
    for arrived in cuts.iter().copied().chain([input.len()]) {
        loop {
            match decoder.decode(&input[done..arrived]) {
                Decoded::Incomplete => break,
                Decoded::Head { head, consumed } => {
                    assert!(input[..done + consumed].ends_with(b"\r\n\r\n"));
                    // Told apart by a test of its own.
                    heads.push(Head { host: None, ..head });
                    done += consumed;
                }
                Decoded::Malformed(malformed) => return (heads, Some(malformed)),
            }
        }
    }
    (heads, None)
}

fn head((method, target, connection, body): (&'static str, &'static str, Connection, Body)) -> Head<'static> {
    Head { method, target, host: None, connection, body }
}

#[test]
fn heads_are_understood_and_what_is_none_is_not_wherever_they_are_split() {
    for (input, heads, malformed) in SAMPLES {
        let expected: (Vec<Head<'_>>, _) = (heads.iter().copied().map(head).collect(), *malformed);
        let text = input.escape_ascii().to_string();
        assert_eq!(decode(input, &[]), expected, "{text}");
        for cut in 0..=input.len() {
            assert_eq!(decode(input, &[cut]), expected, "{text}, cut at {cut}");
        }
        let all: Vec<usize> = (0..input.len()).collect();
        assert_eq!(decode(input, &all), expected, "{text}, byte by byte");
    }
}

#[test]
fn the_host_is_what_its_field_says() {
    for (input, host) in [
        (&b"GET / HTTP/1.1\r\nA: b\r\nhost:\t a.example:80 \t\r\n\r\n"[..], Some("a.example:80")),
        (b"GET / HTTP/1.1\r\nHost:\r\n\r\n", Some("")),
        (b"GET / HTTP/1.0\r\nX-Host: a\r\n\r\n", None),
    ] {
        let Decoded::Head { head, .. } = HeadDecoder::default().decode(input) else { panic!("a head") };
        assert_eq!(head.host, host);
    }
}

#[test]
fn what_speaks_another_protocol_is_told_before_its_head_could_end() {
    for (input, malformed) in [
        (&b"hello\r\n"[..], Malformed::RequestLine),
        (b"\x16", Malformed::RequestLine),
        (b"\r\n\x16", Malformed::RequestLine),
        (b"hello\n", Malformed::LineEnd),
        (b"GET / HTTP/2.0\r\n", Malformed::Version),
    ] {
        assert_eq!(decode(input, &[]), (vec![], Some(malformed)), "{}", input.escape_ascii());
    }
}

#[test]
fn a_field_that_is_none_is_told_at_the_end_of_its_head_however_it_arrives() {
    let input = b"GET / HTTP/1.1\r\nno field\r\n\r\n";
    let begun = &input[..input.len() - 2];
    for cuts in [&[][..], &[16], &[4, 20]] {
        assert_eq!(decode(begun, cuts), (vec![], None), "{cuts:?}");
        assert_eq!(decode(input, cuts), (vec![], Some(Malformed::Field)), "{cuts:?}");
    }
}

/// A head of so many bytes and fields.
fn sized(bytes: usize, fields: usize) -> Vec<u8> {
    let mut head = b"GET / HTTP/1.1\r\nHost: a\r\n".to_vec();
    head.extend(b"a: b\r\n".repeat(fields - 2));
    head.extend(b"c: ");
    head.resize(bytes - 4, b'x');
    head.extend(b"\r\n\r\n");
    assert_eq!(head.len(), bytes);
    head
}

#[test]
fn heads_are_as_long_as_they_may_be_and_no_longer() {
    let (bytes, fields) = (HTTP_HEAD_BYTES_MAX, HTTP_FIELDS_MAX);
    assert_eq!(decode(&sized(bytes, fields), &[]), (vec![head(GET)], None));
    assert_eq!(decode(&sized(bytes, fields + 1), &[]).1, Some(Malformed::TooManyFields));
    assert_eq!(decode(&sized(bytes + 1, fields), &[]).1, Some(Malformed::HeadTooLong));
    // Told as soon as it is certain, and not once all has come.
    assert_eq!(decode(&sized(bytes + 1, 2)[..bytes - 1], &[]).1, None);
    assert_eq!(decode(&sized(bytes + 1, 2)[..bytes], &[]).1, Some(Malformed::HeadTooLong));
    assert_eq!(decode(&vec![b'x'; bytes], &[]).1, Some(Malformed::RequestLineTooLong));
    assert_eq!(decode(&b"\r\n".repeat(bytes / 2), &[]).1, Some(Malformed::RequestLineTooLong));
}

#[test]
fn a_path_is_what_stands_before_the_query_whatever_stands_before_the_path() {
    for (target, path) in [
        ("/", "/"),
        ("/metrics", "/metrics"),
        ("/metrics?a=/b#c", "/metrics"),
        ("/?", "/"),
        ("http://a/metrics?b", "/metrics"),
        ("HTTP://a:80", "/"),
        ("http://a?b/c", "/"),
        ("/go?to=http://a/b", "/go"),
        ("/http://a/b", "/http://a/b"),
        ("//a/b", "//a/b"),
        ("*", "*"),
    ] {
        assert_eq!(Head { target, ..head(GET) }.path(), path, "{target}");
    }
}

#[test]
fn a_page_can_be_had_without_its_content_and_for_no_request_with_a_body() {
    let asked = |method, body| Head { method, body, ..head(GET) }.asked_part();
    assert_eq!(asked("GET", Body::Absent), Ok(Part::Whole));
    assert_eq!(asked("HEAD", Body::Absent), Ok(Part::Head));
    for (method, body, status, part) in [
        ("get", Body::Absent, 405, Part::Whole),
        ("POST", Body::Sized, 405, Part::Whole),
        ("GET", Body::Sized, 413, Part::Whole),
        ("HEAD", Body::Chunked, 411, Part::Head),
        ("GET", Body::Coded, 501, Part::Whole),
    ] {
        let declined = asked(method, body).expect_err("it is declined");
        assert_eq!((declined.status, declined.part), (status, part), "{method} {body:?}");
    }
}

#[test]
fn bytes_that_arrive_alone_are_looked_at_once() {
    let input = sized(HTTP_HEAD_BYTES_MAX, HTTP_FIELDS_MAX);
    let mut decoder = HeadDecoder::default();
    for arrived in 0..input.len() {
        assert_eq!(decoder.decode(&input[..arrived]), Decoded::Incomplete);
        assert_eq!(decoder.scanned, arrived);
    }
}

proptest! {
    #[test]
    fn any_bytes_mean_the_same_however_they_are_split(
        pieces in prop::collection::vec(prop::sample::select(vec![
            &b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"[..], b"GET ", b"/", b" HTTP/1.1", b"\r\n", b"\r\n\r\n", b"\n",
            b"\r", b"Host: a", b"Content-Length: 3", b"Transfer-Encoding: chunked", b":", b" ", b"\t", b"x", b"\0",
            b"\xff", b"0\r\n\r\n",
        ]), 0..24),
        cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..6),
    ) {
        let input = pieces.concat();
        let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut.index(input.len() + 1)).collect();
        cuts.sort_unstable();
        let (whole, malformed) = decode(&input, &[]);
        let (split, malformed_split) = decode(&input, &cuts);
        prop_assert_eq!(whole, split);
        // Which of several faults is met first may differ.
        prop_assert_eq!(malformed.is_some(), malformed_split.is_some());
    }
}

#[test]
fn what_is_malformed_has_a_status_and_says_what_it_is() {
    for (malformed, status, words) in [
        (Malformed::Version, 505, "HTTP/1.1"),
        (Malformed::RequestLineTooLong, 414, "request line"),
        (Malformed::HeadTooLong, 431, "head"),
        (Malformed::TooManyFields, 431, "fields"),
        (Malformed::Host, 400, "Host"),
    ] {
        assert_eq!(malformed.status(), status, "{malformed}");
        assert!(malformed.to_string().contains(words), "{malformed}");
    }
}
