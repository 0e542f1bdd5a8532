//! One who asks a server for its figures, over HTTP, and takes nothing for granted of what it gets.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Instant;

use crate::harness::{Client, DEADLINE, Server};

/// A server that can be watched, and where.
pub struct Watched {
    pub server: Server,
    pub address: String,
}

/// `onepoll serve` with these arguments and `--stats` on a free port.
pub fn watched(arguments: &[&str]) -> Watched {
    watched_at("127.0.0.1:0", arguments)
}

/// The same, with `--stats` somewhere else.
pub fn watched_at(address: &str, arguments: &[&str]) -> Watched {
    let mut server = Server::start(&[arguments, &["--stats", address]].concat());
    let line = server.console().line();
    let address = line.strip_prefix("stats on ").expect("it says where").to_string();
    Watched { server, address }
}

/// What was answered.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub head: String,
    pub body: String,
}

impl Answer {
    /// The value of a field that is there once.
    pub fn field(&self, name: &str) -> &str {
        let values: Vec<&str> =
            self.head.lines().filter_map(|line| line.strip_prefix(name)?.strip_prefix(": ")).collect();
        assert_eq!(values.len(), 1, "{name}: {self:?}");
        values[0]
    }
}

/// Sends bytes and reads the answer up to the end of the connection.
pub fn ask(address: &str, request: impl AsRef<[u8]>) -> Answer {
    let mut client = Client::connect(address);
    client.send(request);
    answer_to(&mut client)
}

/// Reads an answer up to the end of the connection.
pub fn answer_to(client: &mut Client) -> Answer {
    let text = String::from_utf8(client.rest()).expect("all of it is text");
    let (head, body) = text.split_once("\r\n\r\n").expect("a head has an end");
    let status = head.strip_prefix("HTTP/1.1 ").expect("HTTP")[..3].parse().expect("a status");
    let answer = Answer { status, head: head.into(), body: body.into() };
    assert_eq!(answer.field("Connection"), "close");
    answer
}

pub fn get(address: &str, target: &str) -> Answer {
    let answer = ask(address, format!("GET {target} HTTP/1.1\r\nHost: localhost\r\n\r\n"));
    assert_eq!(answer.field("Content-Length"), answer.body.len().to_string());
    answer
}

/// The figures of a page for Prometheus, each by its name and labels as they are written there.
pub type Figures = BTreeMap<String, f64>;

impl Watched {
    pub fn page(&self) -> String {
        let answer = get(&self.address, "/metrics");
        assert_eq!(answer.status, 200, "{answer:?}");
        answer.body
    }

    pub fn figures(&self) -> Figures {
        parse(&self.page())
    }

    pub fn figure(&self, name: &str) -> f64 {
        let figures = self.figures();
        *figures.get(&format!("onepoll_{name}")).unwrap_or_else(|| panic!("{name} is not in {figures:?}"))
    }

    /// Asks until a figure has a value: what a client sees comes before what is counted of it.
    #[track_caller]
    pub fn expect(&self, name: &str, value: f64) {
        let until = Instant::now() + DEADLINE;
        loop {
            let figure = self.figure(name);
            if figure == value {
                return;
            }
            assert!(Instant::now() < until, "{name}: {figure}, not {value}");
        }
    }
}

/// One line of a page.
#[derive(Debug)]
struct Sample {
    name: String,
    label: Option<(String, String)>,
    value: f64,
}

/// Reads the exposition format of Prometheus, version 0.0.4, as strictly as it can be read: each figure has a
/// line that says what it is about and one that says of which kind it is, and stands right behind them.
pub fn parse(page: &str) -> Figures {
    assert!(page.ends_with('\n'), "the last line has an end, too");
    let mut figures = Figures::new();
    let mut families = BTreeSet::new();
    let mut lines = page.lines().peekable();
    while let Some(line) = lines.next() {
        let (name, help) = line.strip_prefix("# HELP ").and_then(|rest| rest.split_once(' ')).expect(line);
        assert!(!help.is_empty() && !help.contains('\\'), "{line}");
        assert!(families.insert(name), "{name} is there twice");
        let line = lines.next().expect("a kind");
        let kind = line.strip_prefix(&format!("# TYPE {name} ")).expect(line);
        assert!(["counter", "gauge", "histogram"].contains(&kind), "{line}");
        assert_eq!(name.ends_with("_total"), kind == "counter", "{line}");
        let mut series = Vec::new();
        while let Some(line) = lines.next_if(|line| !line.starts_with('#')) {
            let (key, value) = line.rsplit_once(' ').expect(line);
            let (name, labels) = key.split_once('{').map_or((key, None), |(a, b)| (a, Some(b)));
            assert!(name.starts_with("onepoll_"), "{line}");
            assert!(name.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_'), "{line}");
            let label = labels.map(|labels| label_of(labels, line));
            let value: f64 = value.parse().expect(line);
            assert!(value.is_finite() && value >= 0.0, "{line}");
            assert!(figures.insert(key.into(), value).is_none(), "{key} is there twice");
            series.push(Sample { name: name.into(), label, value });
        }
        match kind {
            "histogram" => check_histogram(name, &series),
            _ => {
                assert!(series.iter().all(|sample| sample.name == name), "{name}: {series:?}");
                let labels: BTreeSet<_> = series.iter().filter_map(|sample| sample.label.as_ref()).collect();
                assert!(series.len() == 1 || labels.len() == series.len(), "{name}: {series:?}");
            }
        }
        assert!(!series.is_empty(), "{name} has no value");
    }
    figures
}

/// `name="value"}`, both of harmless characters.
fn label_of(labels: &str, line: &str) -> (String, String) {
    let (name, value) = labels.split_once("=\"").expect(line);
    let value = value.strip_suffix("\"}").expect(line);
    assert!(name.bytes().all(|byte| byte.is_ascii_lowercase()), "{line}");
    let is_harmless = |byte: u8| byte.is_ascii_alphanumeric() || b"_.+".contains(&byte);
    assert!(!value.is_empty() && value.bytes().all(is_harmless), "{line}");
    (name.into(), value.into())
}

fn check_histogram(name: &str, series: &[Sample]) {
    let [buckets @ .., sum, count] = series else { panic!("{name}: {series:?}") };
    assert_eq!((&sum.name, &count.name), (&format!("{name}_sum"), &format!("{name}_count")));
    assert!(sum.label.is_none() && count.label.is_none(), "{series:?}");
    let (mut bound_before, mut count_before) = (-1.0, 0.0);
    for bucket in buckets {
        assert_eq!(bucket.name, format!("{name}_bucket"));
        let Some((le, bound)) = &bucket.label else { panic!("{name}: a bucket has a bound") };
        let bound: f64 = bound.parse().expect("a bound is a number");
        assert!(le == "le" && bound > bound_before && bucket.value >= count_before, "{buckets:?}");
        (bound_before, count_before) = (bound, bucket.value);
    }
    assert_eq!((bound_before, count_before), (f64::INFINITY, count.value), "the last bucket has all");
}

/// A page whose numbers are left out: what is left must not depend on anybody.
pub fn without_digits(page: &str) -> String {
    let mut text = String::new();
    for part in page.chars() {
        match part {
            '0'..='9' if text.ends_with('0') => {}
            '0'..='9' => text.push('0'),
            other => text.push(other),
        }
    }
    text
}
