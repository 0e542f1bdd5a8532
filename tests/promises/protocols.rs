//! P43 and P44: browsers and TLS clients on the chat's port, which must not have their bytes taken for chat.

use std::io::Write;

use crate::harness::{Server, are_installed, is_installed, tool, until};

const NO_HTTP: [&str; 1] = ["-- you speak HTTP; this is a chat server --"];
const NO_TLS: [&str; 1] = ["-- you speak TLS; connect without it --"];

/// What a browser can be made to send by any page, behind a head that it writes itself.
const BODY: &str =
    "\r\n/nick evil\r\n/join kitchen\r\nhello\r\n/msg bob hello\r\nNICK x\r\nJOIN #r\r\nquit\r\n";

/// Waits until the operator sees so many of them: a close is counted when its peer has hung up, too.
fn expect_counted(server: &mut Server, count: usize) {
    let counted = format!("{count}: wrong protocol");
    until(&counted, || server.answer("stats").iter().any(|line| line.ends_with(&counted)));
}

#[test]
fn p43_a_browser_that_posts_to_the_chat_runs_no_command() {
    let mut server = Server::bare(&[]);
    let mut bob = server.join_as("bob");
    let heads = [
        "GET / HTTP/1.1\r\nHost: localhost\r\n\r\n",
        "POST /chat HTTP/1.1\r\nHost: x\r\nContent-Length: 12\r\n\r\n",
        "POST / HTTP/1.1\r\n",
        "OPTIONS * HTTP/1.0\n\n",
        "PUT http://localhost:60000/ HTTP/1.1\r\n",
        "CONNECT localhost:60000 HTTP/1.1\r\nHost: localhost:60000\r\n\r\n",
        "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        "\r\nPOST / HTTP/1.1\r\n",
    ];
    for head in heads {
        let request = format!("{head}{BODY}");
        // At once, and as the network may cut it.
        for cut in [0, 1, 4, 6, head.len() - 1, head.len(), head.len() + 5] {
            let mut browser = server.join();
            browser.send(&request[..cut]);
            bob.fence();
            // The server may have hung up.
            let _ = browser.source.write_all(&request.as_bytes()[cut..]);
            assert_eq!(browser.rest_lines(), NO_HTTP, "{head:?} cut at {cut}");
            assert!(bob.fence().is_empty(), "{head:?} cut at {cut}");
        }
    }
    assert_eq!(bob.ask("/rooms"), "-- 1 room: lobby (1) --");
    expect_counted(&mut server, 7 * heads.len());
}

#[test]
fn p43_a_request_line_that_is_longer_than_any_line_is_one_all_the_same() {
    let server = Server::bare(&["--max-line", "16"]);
    let mut bob = server.join();
    let path = "x".repeat(5000);
    for line in
        [&*format!("POST /{path}"), "POST /somewhere", "CONNECT localhost:60000", "GET http://localhost/"]
    {
        let mut browser = server.join();
        browser.send(format!("{line} HTTP/1.1\r\nHost: localhost\r\n\r\n{BODY}"));
        assert_eq!(browser.rest_lines(), NO_HTTP, "{line:?}");
        assert!(bob.fence().is_empty(), "a request's head or body was said");
    }
}

#[test]
fn p43_what_people_say_of_http_is_said() {
    let server = Server::bare(&[]);
    let mut ann = server.join_as("ann");
    assert_eq!(ann.echo("GET well soon"), "ann: GET well soon");
    assert_eq!(ann.echo("GET / HTTP/1.1"), "ann: GET / HTTP/1.1", "who has spoken is no browser");
}

#[test]
fn p43_curl_is_told_that_this_is_no_web_server() {
    if !is_installed("curl") {
        return;
    }
    let server = Server::bare(&[]);
    let mut bob = server.join_as("bob");
    let url = format!("http://{}/", server.addresses[0]);
    for form in [&["-d", BODY][..], &["-F", "a=\n/nick evil\nhello"], &["-T", "/etc/hostname"], &[]] {
        let curl = tool("curl").args(["-s", "--http0.9", "--max-time", "20"]).args(form).arg(&url).output();
        let said = String::from_utf8(curl.expect("curl runs").stdout).expect("text");
        assert!(said.ends_with(&format!("{}\n", NO_HTTP[0])), "{form:?}: {said:?}");
        assert!(bob.fence().is_empty(), "{form:?}");
    }
    assert_eq!(bob.ask("/who"), "-- 1 in lobby: bob --");
}

/// The first bytes of a TLS client: a record header, a hello, and the extension `supported_groups`,
/// whose number is 10, a line feed.
const CLIENT_HELLO: &[u8] =
    b"\x16\x03\x01\x00\x20\x01\x00\x00\x1c\x03\x03random bytes\x00\x0a\x00\x08\x00\x06\x00\x1d\x00\x17";

#[test]
fn p44_a_tls_client_is_told_and_closed_and_nothing_of_it_is_said() {
    let mut server = Server::bare(&[]);
    let mut bob = server.join();
    for cut in 1..=CLIENT_HELLO.len() {
        let mut client = server.join();
        client.send(&CLIENT_HELLO[..cut]);
        assert!(bob.fence().is_empty());
        let _ = client.source.write_all(&CLIENT_HELLO[cut..]);
        assert_eq!(client.rest_lines(), NO_TLS, "cut at {cut}");
        assert!(bob.fence().is_empty(), "binary was said");
    }
    // Without a line feed nothing else would ever end its wait.
    let mut client = server.join();
    client.send(&CLIENT_HELLO[..20]);
    assert_eq!(client.rest_lines(), NO_TLS);
    drop(client);
    expect_counted(&mut server, CLIENT_HELLO.len() + 1);
}

#[test]
fn p44_openssl_is_told_that_there_is_no_tls() {
    if !are_installed(&["openssl", "timeout"]) {
        return;
    }
    let server = Server::bare(&[]);
    let mut ann = server.join();
    for version in ["-tls1_2", "-tls1_3"] {
        let client = tool("timeout")
            .args(["20", "openssl", "s_client", version, "-connect", &server.addresses[0]])
            .stdin(std::process::Stdio::null())
            .output()
            .expect("openssl runs");
        // It fails by itself, long before the patience with it ends (124).
        assert_eq!(client.status.code(), Some(1), "{}", String::from_utf8_lossy(&client.stderr));
        assert!(ann.fence().is_empty(), "its hello was said");
    }
    ann.ask_until("/who", "-- 1 in lobby");
}
