//! Headers and answers, at every split and with every slip that is known.

use super::*;

fn framed(json: &str) -> Vec<u8> {
    [&(json.len() as i32).to_le_bytes()[..], json.as_bytes()].concat()
}

fn header_of(json: &str) -> Result<Header, Malformed> {
    match decode(&framed(json)) {
        Decoded::Complete { header, length } => {
            assert_eq!(length, json.len() + 4);
            Ok(header)
        }
        Decoded::Malformed(malformed) => Err(malformed),
        Decoded::Incomplete => panic!("{json} is complete"),
    }
}

fn plain(name: &str, bytes: Option<u64>) -> Header {
    Header { name: name.into(), bytes, has_trailer: false, resume: None }
}

#[test]
fn the_time_to_check_a_part_grows_with_it() {
    for seconds in [0, 1, 100] {
        let bytes = seconds * limits::PART_BYTES_PER_SECOND_MIN;
        assert_eq!(check_time_max(bytes), std::time::Duration::from_secs(seconds));
    }
}

#[test]
fn a_header_is_incomplete_until_its_last_byte_and_ends_there() {
    let header = Header {
        name: "你好 \"x\".txt".into(),
        bytes: Some(5_000_000_000),
        has_trailer: true,
        resume: Some("17-4".into()),
    };
    let encoded = header.encode();
    for split in 0..encoded.len() {
        assert_eq!(decode(&encoded[..split]), Decoded::Incomplete, "{split}");
    }
    for behind in [&b""[..], b"the file"] {
        let input = [&encoded, behind].concat();
        let expected = Decoded::Complete { header: header.clone(), length: encoded.len() };
        assert_eq!(decode(&input), expected);
    }
}

#[test]
fn what_python_packs_is_read() {
    // struct.pack("i", 62) + json.dumps({...}).encode(), as Python 3 writes it.
    let packed = b"\x3e\x00\x00\x00{\"action\": \"put\", \"filename\": \"\\u4f60.txt\", \"filesize\": 12345}";
    let expected = Decoded::Complete { header: plain("你.txt", Some(12345)), length: packed.len() };
    assert_eq!(decode(packed), expected);
}

#[test]
fn a_size_that_is_no_number_lasts_until_the_end_of_the_connection() {
    for size in [r#", "filesize": "a.txt""#, r#", "filesize": null"#, r#", "filesize": [1]"#, ""] {
        let json = format!(r#"{{"action": "upload", "filename": "a.txt"{size}}}"#);
        assert_eq!(header_of(&json), Ok(plain("a.txt", None)), "{json}");
    }
}

#[test]
fn a_number_that_counts_no_bytes_is_refused() {
    for size in ["-1", "1.5", "1e9", "18446744073709551616", "1e400"] {
        let json = format!(r#"{{"filename": "a", "filesize": {size}}}"#);
        let error = header_of(&json).expect_err(size);
        assert!(matches!(error, Malformed::Size(_) | Malformed::Json(_)), "{size}: {error:?}");
    }
    for size in ["007", "1_000", "0x10", "+1", "NaN"] {
        let json = format!(r#"{{"filename": "a", "filesize": {size}}}"#);
        assert!(matches!(header_of(&json), Err(Malformed::Json(_))), "{size}");
    }
    for (size, bytes) in [("0", 0), ("9223372036854775808", 1 << 63), ("18446744073709551615", u64::MAX)] {
        let json = format!(r#"{{"filename": "a", "filesize": {size}}}"#);
        assert_eq!(header_of(&json), Ok(plain("a", Some(bytes))));
    }
}

#[test]
fn a_length_out_of_bounds_is_refused_before_anything_else_comes() {
    let most = limits::TRANSFER_HEADER_BYTES_MAX as i32;
    for length in [-1, i32::MIN, 0, 1, most + 1, i32::MAX, i32::from_le_bytes(*b"GET ")] {
        assert_eq!(decode(&length.to_le_bytes()), Decoded::Malformed(Malformed::Length(length)));
    }
    assert_eq!(decode(&most.to_le_bytes()), Decoded::Incomplete);
    let longest = format!(r#"{{"filename": "{}"}}"#, "x".repeat(most as usize - 16));
    assert_eq!(longest.len(), most as usize);
    assert!(header_of(&longest).is_ok());
}

#[test]
fn what_is_no_header_is_explained() {
    for (json, why) in [
        ("{]", "no JSON"),
        ("[]", "no JSON object"),
        ("12", "no JSON object"),
        ("{}", "no filename"),
        (r#"{"filename": 7}"#, "no filename"),
        (r#"{"filename": "a", "filesize": -1}"#, "filesize -1: no number of bytes"),
        (r#"{"filename": "a", "filesize": 1, "trailer": "md5"}"#, "only \"blake3\" is known"),
        (r#"{"filename": "a", "trailer": "blake3"}"#, "needs a filesize"),
        (r#"{"action": "get", "filename": "a"}"#, "not given"),
        (&"[".repeat(1000), "no JSON"),
    ] {
        let error = header_of(json).expect_err(json).to_string();
        assert!(error.contains(why), "{json}: {error}");
    }
    let not_text = [&2_i32.to_le_bytes()[..], b"\xFF\xFE"].concat();
    assert!(matches!(decode(&not_text), Decoded::Malformed(Malformed::Json(_))));
}

#[test]
fn resuming_needs_a_trailer_and_a_short_word() {
    let long = "x".repeat(limits::FILE_IDENTITY_BYTES_MAX + 1);
    for (fields, resume) in [
        (r#""trailer": "blake3", "resume": "17""#, Some("17")),
        (r#""resume": "17""#, None),
        (r#""trailer": "blake3", "resume": """#, None),
        (r#""trailer": "blake3", "resume": true"#, None),
        (&format!(r#""trailer": "blake3", "resume": "{long}""#), None),
    ] {
        let header = header_of(&format!(r#"{{"filename": "a", "filesize": 1, {fields}}}"#));
        assert_eq!(header.expect(fields).resume.as_deref(), resume, "{fields}");
    }
}

#[test]
fn answers_are_read_as_they_were_written() {
    let hash = blake3::hash(b"x");
    for answer in [
        Answer::Done { bytes: 7, hash, name: None, warning: None },
        Answer::Done { bytes: 7, hash, name: Some("a-1.txt".into()), warning: Some("no \"length\"".into()) },
        Answer::Failed("no space left: \u{7}\n".into()),
        Answer::Resume { offset: 0, hash: None },
        Answer::Resume { offset: 1 << 40, hash: Some(hash) },
    ] {
        let line = answer.encode();
        assert_eq!(line.find('\n'), Some(line.len() - 1), "one line: {line:?}");
        assert_eq!(Answer::decode(line.as_bytes()).as_ref(), Some(&answer));
        for split in 0..line.len() - 1 {
            assert_eq!(Answer::decode(&line.as_bytes()[..split]), None, "{split}");
        }
    }
    let done = Answer::Done { bytes: 7, hash, name: None, warning: None }.encode();
    assert_eq!(done, format!("{{\"status\": \"ok\", \"bytes\": 7, \"blake3\": \"{hash}\"}}\n"));
}

#[test]
fn what_is_no_answer_is_not_taken_for_one() {
    for line in [
        "",
        "ok",
        "-- the server is full: try again later --",
        "[]",
        r#"{"status": 7}"#,
        r#"{"status": "ok"}"#,
        r#"{"status": "ok", "bytes": 7, "blake3": "abc"}"#,
        r#"{"status": "ok", "bytes": -7, "blake3": ""}"#,
        r#"{"status": "error"}"#,
        r#"{"status": "resume", "offset": "many"}"#,
    ] {
        assert_eq!(Answer::decode(line.as_bytes()), None, "{line}");
    }
}

mod properties {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn any_header_is_read_as_it_was_written(name: String, bytes: Option<u64>, resume: Option<u32>) {
            let has_trailer = bytes.is_some();
            let resume = resume.filter(|_| has_trailer).map(|identity| identity.to_string());
            let header = Header { name, bytes, has_trailer, resume };
            let encoded = header.encode();
            let length = encoded.len();
            prop_assert_eq!(decode(&encoded), Decoded::Complete { header, length });
        }

        #[test]
        fn no_bytes_upset_the_decoders(bytes: Vec<u8>, json in "[\\[{\":,filenamesize0-9.e+]{0,64}") {
            let _ = decode(&bytes);
            let _ = decode(&framed(&json));
            let _ = Answer::decode(&bytes);
        }
    }
}
