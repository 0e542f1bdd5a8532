//! What peers of other protocols begin with, of whom a chat server must not take anything for text; and what its
//! clients must not begin a text with.

/// The type of a TLS handshake record (RFC 8446, section 5.1).
pub const TLS_HANDSHAKE: u8 = 0x16;

/// Whether a line is an HTTP request line (RFC 9112, section 3), whatever it asks for.
#[must_use]
pub fn looks_like_http(line: &[u8]) -> bool {
    let mut words = line.split(|byte| *byte == b' ');
    let method = words.next().unwrap_or_default();
    let version = words.nth(1).unwrap_or_default();
    is_method(method) && version.starts_with(b"HTTP/") && words.next().is_none()
}

/// Whether a line that is too long to be seen whole begins as an HTTP request line does.
#[must_use]
pub fn begins_like_http(line: &[u8]) -> bool {
    let mut words = line.split(|byte| *byte == b' ');
    let method = words.next().unwrap_or_default();
    let target = words.next().unwrap_or_default();
    match method {
        // What a proxy is asked for is a host (RFC 9112, section 3.2.3), which may begin with anything.
        b"CONNECT" => !target.is_empty(),
        _ => is_method(method) && [&b"/"[..], b"*", b"http"].iter().any(|begin| target.starts_with(begin)),
    }
}

/// Whether it may be a method of HTTP: those that browsers know are upper case.
fn is_method(word: &[u8]) -> bool {
    !word.is_empty() && word.iter().all(u8::is_ascii_uppercase)
}

/// Whether first bytes are a TLS handshake record (RFC 8446, section 5.1).
#[must_use]
pub fn looks_like_tls(bytes: &[u8]) -> bool {
    bytes.starts_with(&[TLS_HANDSHAKE, 0x03])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_line_has_a_method_a_target_and_a_version() {
        for line in [&b"GET / HTTP/1.1"[..], b"CONNECT a:1 HTTP/1.1", b"POST http://a/b HTTP/1.0"] {
            assert!(looks_like_http(line) && begins_like_http(line), "{}", line.escape_ascii());
        }
        for line in
            [&b""[..], b" / HTTP/1.1", b"get / HTTP/1.1", b"GET it", b"GET / HTTP/1.1 x", b"I GET / HTTP/1.1"]
        {
            assert!(!looks_like_http(line), "{}", line.escape_ascii());
        }
        for line in [&b"GET /"[..], b"OPTIONS * and", b"CONNECT x"] {
            assert!(begins_like_http(line), "{}", line.escape_ascii());
        }
        for line in [&b""[..], b"GET it", b"CONNECT", b"CONNECT ", b"I like / and that", b" / x"] {
            assert!(!begins_like_http(line), "{}", line.escape_ascii());
        }
    }
}
