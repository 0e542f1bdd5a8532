//! The programs that people really use.

use std::process::Stdio;

use crate::harness::{Server, are_installed, tool};
use crate::visitor::{PAGE, hello};

/// What a script prints, with the server's URL as `$1`, its host and port as `$2` and `$3`; it must succeed.
fn output(server: &Server, script: &str) -> String {
    let (host, port) = server.addresses[0].rsplit_once(':').expect("host and port");
    let url = format!("http://{host}:{port}/");
    let mut command = tool("timeout");
    command.args(["20", "/bin/sh", "-c", script, "sh", &url, host, port]).stdin(Stdio::null());
    let output = command.output().expect("sh runs");
    let stdout = String::from_utf8(output.stdout).expect("text");
    assert!(output.status.success(), "{script}: {stdout}{}", String::from_utf8_lossy(&output.stderr));
    stdout
}

#[test]
fn curl_sees_the_page_and_keeps_its_connection() {
    if !are_installed(&["curl", "timeout"]) {
        return;
    }
    let server = hello(&[]);
    assert_eq!(output(&server, "curl -sSf \"$1\""), PAGE);
    assert_eq!(output(&server, "curl -sSf --http1.0 \"$1\""), PAGE);
    let counted = output(&server, "curl -sSf -w ' %{num_connects}\\n' \"$1\" \"$1another\" \"$1third\"");
    assert_eq!(counted, format!("{PAGE} 1\n{PAGE} 0\n{PAGE} 0\n"));
    let counted = output(
        &server,
        "curl -sS -w '%{http_code} %{num_connects}\\n' -o /dev/null -o /dev/null -I \"$1\" \"$1\"",
    );
    assert_eq!(counted, "200 1\n200 0\n");
}

#[test]
fn curl_is_told_what_is_refused() {
    if !are_installed(&["curl", "timeout"]) {
        return;
    }
    let server = hello(&[]);
    let code = "curl -sS -o /dev/null -w '%{http_code}' --expect100-timeout 20";
    for (arguments, status) in [
        ("-d a=b", "405"),
        ("-X GET -d a=b", "413"),
        ("-X GET -H 'Transfer-Encoding: chunked' -d a=b", "411"),
        ("-T /bin/sh", "405"),
        ("-X DELETE", "405"),
        ("-H 'Host:'", "400"),
        ("-H 'Expect: 100-continue' -d a=b", "405"),
        ("-H 'Upgrade: h2c' -H 'Connection: Upgrade'", "200"),
    ] {
        assert_eq!(output(&server, &format!("{code} {arguments} \"$1\"")), status, "{arguments}");
    }
}

#[test]
fn python_asks_several_times_on_one_connection() {
    if !are_installed(&["python3", "timeout"]) {
        return;
    }
    let server = hello(&[]);
    let script = r#"exec python3 -c '
import http.client, sys
connection = http.client.HTTPConnection(sys.argv[1], int(sys.argv[2]), timeout=20)
for method in ["GET", "HEAD", "GET"]:
    connection.request(method, "/")
    socket = connection.sock
    answer = connection.getresponse()
    print(method, answer.status, answer.headers["Content-Length"], answer.read().decode(), connection.sock is socket)
' "$2" "$3""#;
    let expected = format!("GET 200 20 {PAGE} True\nHEAD 200 20  True\nGET 200 20 {PAGE} True\n");
    assert_eq!(output(&server, script), expected);
}

#[test]
fn nc_is_answered_whatever_it_says() {
    if !are_installed(&["nc", "timeout"]) {
        return;
    }
    let server = hello(&[]);
    for said in ["hello", "hello\\n", "hello\\r\\n", "GET / HTTP/1.1\\n\\n"] {
        let answer = output(&server, &format!("printf '{said}' | nc -N \"$2\" \"$3\""));
        assert!(answer.starts_with("HTTP/1.1 400 Bad Request\r\n"), "{said}: {answer}");
    }
}

#[test]
fn ab_counts_no_failure() {
    if !are_installed(&["ab", "timeout"]) {
        return;
    }
    let server = hello(&[]);
    for (options, kept) in [("", None), ("-k", Some("Keep-Alive requests:    500"))] {
        let report = output(&server, &format!("ab -q {options} -n 500 -c 10 \"$1\""));
        for line in
            ["Complete requests:      500", "Failed requests:        0", "Document Length:        20 bytes"]
        {
            assert!(report.contains(line), "{report}");
        }
        assert!(report.contains(kept.unwrap_or_default()) && !report.contains("Non-2xx"), "{report}");
    }
}

#[test]
fn wrk_counts_no_error() {
    if !are_installed(&["wrk", "timeout"]) {
        return;
    }
    let server = hello(&[]);
    let report = output(&server, "wrk -t1 -c64 -d1s \"$1\"");
    assert!(report.contains("Requests/sec") && !report.contains("Socket errors"), "{report}");
    assert!(!report.contains("Non-2xx"), "{report}");
}
