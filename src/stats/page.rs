//! Figures as text: in the exposition format of Prometheus, version 0.0.4, and as JSON (RFC 8259).
//!
//! Names, labels and help texts are the program's own words, none of which needs an escape in either format;
//! all else are numbers. A JSON object has the same names as the other page.

use std::fmt::Write as _;
use std::time::Duration;

use crate::codec::http::Content;
use crate::metrics::{Metric, Value};

/// Before all names, so that they differ from other programs'.
const PREFIX: &str = "onepoll_";

/// What the figures are shown as.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Format {
    Prometheus,
    Json,
}

impl Format {
    /// What a path has, if it has anything.
    pub(super) fn at(path: &str) -> Option<Self> {
        match path {
            "/metrics" => Some(Format::Prometheus),
            "/stats" => Some(Format::Json),
            _ => None,
        }
    }

    pub(super) fn render(self, metrics: &[Metric]) -> String {
        match self {
            Format::Prometheus => prometheus(metrics),
            Format::Json => json(metrics),
        }
    }

    pub(super) fn content(self, text: &str) -> Content<'_> {
        let media_type = match self {
            Format::Prometheus => "text/plain; version=0.0.4; charset=utf-8",
            Format::Json => "application/json",
        };
        Content { media_type, text }
    }
}

fn prometheus(metrics: &[Metric]) -> String {
    let mut text = String::new();
    for Metric { name, help, value } in metrics {
        let name = format!("{PREFIX}{name}");
        let kind = match value {
            Value::Counter(_) | Value::Counters(..) => "counter",
            Value::Gauge(_) | Value::Seconds(_) | Value::Info(..) => "gauge",
            Value::Histogram { .. } => "histogram",
        };
        // A String takes all that is written to it.
        let _ = writeln!(text, "# HELP {name} {help}\n# TYPE {name} {kind}");
        let _ = match value {
            Value::Counter(number) | Value::Gauge(number) => writeln!(text, "{name} {number}"),
            Value::Seconds(duration) => writeln!(text, "{name} {}", seconds(*duration)),
            Value::Info(label, value) => writeln!(text, "{name}{{{label}=\"{value}\"}} 1"),
            Value::Counters(label, counts) => counts
                .iter()
                .try_for_each(|(value, count)| writeln!(text, "{name}{{{label}=\"{value}\"}} {count}")),
            Value::Histogram { bounds, counts, sum } => {
                for (bound, count) in cumulated(bounds, counts) {
                    let _ = writeln!(text, "{name}_bucket{{le=\"{bound}\"}} {count}");
                }
                let count: u64 = counts.iter().sum();
                writeln!(text, "{name}_sum {}\n{name}_count {count}", seconds(*sum))
            }
        };
    }
    text
}

fn json(metrics: &[Metric]) -> String {
    let members = metrics.iter().map(|Metric { name, value, .. }| {
        let value = match value {
            Value::Counter(number) | Value::Gauge(number) => number.to_string(),
            Value::Seconds(duration) => seconds(*duration),
            Value::Info(label, value) => format!("{{\"{label}\": \"{value}\"}}"),
            Value::Counters(_, counts) => object(counts.iter().copied()),
            Value::Histogram { bounds, counts, sum } => {
                let (buckets, sum) = (object(cumulated(bounds, counts)), seconds(*sum));
                let count: u64 = counts.iter().sum();
                format!("{{\"buckets\": {buckets}, \"sum\": {sum}, \"count\": {count}}}")
            }
        };
        format!("\"{PREFIX}{name}\": {value}")
    });
    format!("{{\n{}\n}}\n", members.collect::<Vec<_>>().join(",\n"))
}

fn object(counts: impl Iterator<Item = (impl AsRef<str>, u64)>) -> String {
    let members = counts.map(|(name, count)| format!("\"{}\": {count}", name.as_ref()));
    format!("{{{}}}", members.collect::<Vec<_>>().join(", "))
}

/// How often it took at most as long as each bound: the form that Prometheus asks for.
fn cumulated(bounds: &[Duration], counts: &[u64]) -> impl Iterator<Item = (String, u64)> {
    let bounds = bounds.iter().map(|bound| bound.as_secs_f64().to_string()).chain(["+Inf".into()]);
    bounds.zip(counts).scan(0, |sum, (bound, count)| {
        *sum += count;
        Some((bound, *sum))
    })
}

/// With as many digits behind the point whatever it is, and never an exponent.
fn seconds(duration: Duration) -> String {
    format!("{}.{:06}", duration.as_secs(), duration.subsec_micros())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn samples() -> Vec<Metric> {
        const BOUNDS: [Duration; 2] = [Duration::from_micros(100), Duration::from_secs(1)];
        vec![
            Metric::counter("lines_total", "Lines.", 7),
            Metric { name: "build_info", help: "What.", value: Value::Info("version", "0.1.0") },
            Metric {
                name: "closes_total",
                help: "Closes.",
                value: Value::Counters("reason", vec![("quit", 1), ("idle", 0)]),
            },
            Metric {
                name: "turn_seconds",
                help: "Turns.",
                value: Value::Histogram {
                    bounds: &BOUNDS,
                    counts: vec![3, 2, 1],
                    sum: Duration::from_micros(1_000_020),
                },
            },
            Metric {
                name: "longest_seconds",
                help: "Longest.",
                value: Value::Seconds(Duration::from_nanos(1_999)),
            },
        ]
    }

    #[test]
    fn a_page_for_prometheus() {
        let expected = "\
# HELP onepoll_lines_total Lines.
# TYPE onepoll_lines_total counter
onepoll_lines_total 7
# HELP onepoll_build_info What.
# TYPE onepoll_build_info gauge
onepoll_build_info{version=\"0.1.0\"} 1
# HELP onepoll_closes_total Closes.
# TYPE onepoll_closes_total counter
onepoll_closes_total{reason=\"quit\"} 1
onepoll_closes_total{reason=\"idle\"} 0
# HELP onepoll_turn_seconds Turns.
# TYPE onepoll_turn_seconds histogram
onepoll_turn_seconds_bucket{le=\"0.0001\"} 3
onepoll_turn_seconds_bucket{le=\"1\"} 5
onepoll_turn_seconds_bucket{le=\"+Inf\"} 6
onepoll_turn_seconds_sum 1.000020
onepoll_turn_seconds_count 6
# HELP onepoll_longest_seconds Longest.
# TYPE onepoll_longest_seconds gauge
onepoll_longest_seconds 0.000001
";
        assert_eq!(Format::Prometheus.render(&samples()), expected);
    }

    #[test]
    fn a_page_of_json() {
        let expected = "\
{
\"onepoll_lines_total\": 7,
\"onepoll_build_info\": {\"version\": \"0.1.0\"},
\"onepoll_closes_total\": {\"quit\": 1, \"idle\": 0},
\"onepoll_turn_seconds\": {\"buckets\": {\"0.0001\": 3, \"1\": 5, \"+Inf\": 6}, \"sum\": 1.000020, \"count\": 6},
\"onepoll_longest_seconds\": 0.000001
}
";
        assert_eq!(Format::Json.render(&samples()), expected);
    }
}
