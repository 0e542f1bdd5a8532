//! Requests and answers.

use crate::harness::{BARE, Directory, is_installed, run, tool};
use crate::reader::{answer_to, ask, get, parse, watched, watched_at};

use crate::harness::Client;

#[test]
fn both_pages_are_there_over_tcp_and_over_a_unix_socket() {
    let directory = Directory::new();
    for place in ["127.0.0.1:0", "[::1]:0", "localhost:0", &directory.socket("stats")] {
        let watched = watched_at(place, &BARE);
        let answer = get(&watched.address, "/metrics");
        assert_eq!(answer.status, 200);
        assert_eq!(answer.field("Content-Type"), "text/plain; version=0.0.4; charset=utf-8");
        assert_eq!(answer.field("Cache-Control"), "no-store");
        assert!(parse(&answer.body).len() > 50);
        let answer = get(&watched.address, "/stats");
        assert_eq!((answer.status, answer.field("Content-Type")), (200, "application/json"));
    }
}

#[test]
fn a_page_fits_into_the_memory_that_is_reckoned_for_it() {
    let watched = watched(&BARE);
    for path in ["/metrics", "/stats"] {
        // It is made as text, which grows by doubling, out of figures, and copied behind a head.
        let bytes = get(&watched.address, path).body.len();
        assert!(4 * bytes < 64 << 10, "{path}: {bytes} bytes");
    }
}

#[test]
fn the_json_is_what_python_reads_and_has_the_same_names_and_numbers() {
    if !is_installed("python3") {
        return;
    }
    let watched = watched(&BARE);
    let mut ann = watched.server.join_as("ann");
    ann.echo("hello");
    let page = parse(&watched.page());
    let json = get(&watched.address, "/stats").body;
    // One series a line, as the other page has them; a name that is there twice is an error.
    let script = "
import json, sys
def pairs(found):
    assert len(found) == len({name for name, _ in found}), found
    return dict(found)
def flat(name, value):
    if isinstance(value, dict) and 'buckets' in value:
        assert set(value) == {'buckets', 'sum', 'count'}
        flat(name + '_sum', value['sum']); flat(name + '_count', value['count'])
        for bound, count in value['buckets'].items(): print(name + '_bucket{le=\"' + bound + '\"}', count)
    elif name == 'onepoll_build_info':
        print(name + '{version=\"' + value['version'] + '\"}', 1)
    elif isinstance(value, dict):
        label = {'onepoll_closes_total': 'reason', 'onepoll_limits_met_total': 'limit',
                 'onepoll_accept_shortages_total': 'of'}[name]
        for kind, count in value.items(): print(name + '{' + label + '=\"' + kind + '\"}', count)
    else:
        print(name, value + 0)
for name, value in json.loads(sys.argv[1], object_pairs_hook=pairs).items(): flat(name, value)
";
    let mut python = tool("python3");
    python.args(["-c", script, &json]);
    python.stdout(std::process::Stdio::piped()).stderr(std::process::Stdio::piped());
    let (code, out, error) = run(python);
    assert_eq!(code, 0, "{error}");
    let flat: Vec<(&str, f64)> = out
        .lines()
        .map(|line| {
            let (name, value) = line.rsplit_once(' ').expect("a name and a value");
            (name, value.parse().expect("a number"))
        })
        .collect();
    assert_eq!(flat.len(), page.len());
    for (name, value) in flat {
        // Of the loop there may be more by now.
        let is_of_loop = ["turn", "event", "accept", "read", "write"].iter().any(|word| name.contains(word));
        assert!(page[name] == value || is_of_loop && page[name] <= value, "{name}: {value}, {}", page[name]);
    }
}

#[test]
fn head_get_queries_and_whole_urls_are_understood() {
    let watched = watched(&BARE);
    for target in ["/metrics?module=x", "http://localhost/metrics", "HTTP://a:1/metrics?x#y"] {
        assert_eq!(get(&watched.address, target).status, 200, "{target}");
    }
    let answer = ask(&watched.address, "HEAD /metrics HTTP/1.0\r\n\r\n");
    assert_eq!((answer.status, &*answer.body), (200, ""));
    assert!(answer.field("Content-Length").parse::<usize>().expect("a length") > 1000);
}

#[test]
fn what_is_not_there_names_what_is() {
    let watched = watched(&BARE);
    for target in ["/", "/metrics/", "/Metrics", "/stats.json", "http://a", "/../metrics"] {
        let answer = get(&watched.address, target);
        assert_eq!(answer.status, 404, "{target}");
        assert!(answer.body.contains("/metrics") && answer.body.contains("/stats"), "{answer:?}");
    }
}

#[test]
fn other_methods_and_what_is_no_http_are_refused() {
    let watched = watched(&BARE);
    let answer = ask(&watched.address, "DELETE /metrics HTTP/1.1\r\nHost: [::1]\r\n\r\n");
    assert_eq!((answer.status, answer.field("Allow")), (405, "GET, HEAD"));
    for (request, status) in [
        ("POST /metrics HTTP/1.1\r\nHost: [::1]\r\nContent-Length: 3\r\n\r\nabc", 405),
        ("GET /metrics HTTP/1.1\r\nHost: [::1]\r\nContent-Length: 3\r\n\r\nabc", 413),
        ("GET /metrics HTTP/1.1\r\nHost: evil.example\r\n\r\n", 421),
        ("hello\r\n\r\n", 400),
        ("GET /metrics HTTP/1.1\r\n\r\n", 400),
        ("GET /metrics HTTP/2.0\r\nHost: [::1]\r\n\r\n", 505),
    ] {
        assert_eq!(ask(&watched.address, request).status, status, "{request}");
    }
    // Half a request, and the end.
    let mut half = Client::connect(&watched.address);
    half.send("GET /metrics HTTP/1.1\r\nHo");
    half.half_close();
    assert_eq!(answer_to(&mut half).status, 400);
}

#[test]
fn one_request_is_answered_however_its_bytes_come_and_whatever_follows() {
    let watched = watched(&BARE);
    let mut client = Client::connect(&watched.address);
    for byte in b"GET /metrics HTTP/1.1\r\nHost: [::1]\r\n\r\n" {
        client.send([*byte]);
    }
    client.send("GET /stats HTTP/1.1\r\nHost: [::1]\r\n\r\n");
    let answer = answer_to(&mut client);
    assert_eq!((answer.status, answer.field("Content-Length")), (200, &*answer.body.len().to_string()));
    parse(&answer.body);
}

#[test]
fn curl_reads_both_pages_over_both_kinds_of_sockets() {
    if !is_installed("curl") {
        return;
    }
    let directory = Directory::new();
    for place in ["127.0.0.1:0", &directory.socket("stats")] {
        let watched = watched_at(place, &BARE);
        for (path, begin) in
            [("metrics", "# HELP onepoll_build_info "), ("stats", "{\n\"onepoll_build_info\"")]
        {
            let mut curl = tool("curl");
            curl.args(["-sS", "--fail", "--max-time", "20"]);
            match watched.address.strip_prefix("unix:") {
                Some(file) => curl.args(["--unix-socket", file, &format!("http://localhost/{path}")]),
                None => curl.arg(format!("http://{}/{path}", watched.address)),
            };
            curl.stdout(std::process::Stdio::piped()).stderr(std::process::Stdio::piped());
            let (code, out, error) = run(curl);
            assert_eq!((code, &*error), (0, ""));
            assert!(out.starts_with(begin), "{out}");
        }
    }
}
