//! Lines in: cutting them out of the stream, and making them fit for other people's terminals.

use std::hint::black_box;

use criterion::{Criterion, Throughput};
use onepoll::codec::line::{Decoded, Dialect, LineDecoder};
use onepoll::codec::text;
use onepoll::limits;

const ENGLISH: &str = "The quick brown fox jumps over the lazy dog, and then over 9 more.";
const CHINESE: &str = "你好，世界！今天天气很好，我们一起去公园散步吧。";
/// What cleaning is for: colours, a bell, an override, a broken character, a telnet command.
const HOSTILE: &[u8] = b"\x1b[31mred\x1b[0m\x07 \xe2\x80\xaereversed \xe4\xbd broken \xff\xfb\x01 end";

/// As many whole lines as one read brings.
fn input(line: &str) -> Vec<u8> {
    let line = format!("{line}\r\n");
    line.repeat(limits::READ_BYTES_MAX / line.len()).into_bytes()
}

/// Decodes what one read brought; returns the lines.
fn decode_whole(input: &[u8]) -> usize {
    let mut decoder = LineDecoder::default();
    let mut lines = 0;
    let mut done = 0;
    loop {
        match decoder.decode(&input[done..], Dialect::Terminal, limits::LINE_BYTES_MAX) {
            Decoded::Line { line, consumed } => {
                black_box(line);
                lines += 1;
                done += consumed;
            }
            _ => return lines,
        }
    }
}

/// The same where each byte arrives alone: unconsumed ones are shown again.
fn decode_bytewise(input: &[u8]) -> usize {
    let mut decoder = LineDecoder::default();
    let mut lines = 0;
    let mut done = 0;
    for arrived in 1..=input.len() {
        if let Decoded::Line { line, consumed } =
            decoder.decode(&input[done..arrived], Dialect::Terminal, limits::LINE_BYTES_MAX)
        {
            black_box(line);
            lines += 1;
            done += consumed;
        }
    }
    lines
}

pub fn bench(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("decode");
    for (name, line) in [("english", ENGLISH), ("chinese", CHINESE)] {
        let input = input(line);
        let lines = input.len() / (line.len() + 2);
        group.throughput(Throughput::Bytes(input.len() as u64));
        group.bench_function(name, |bencher| {
            bencher.iter(|| assert_eq!(decode_whole(black_box(&input)), lines));
        });
        group.bench_function(format!("{name}_one_byte_at_a_time"), |bencher| {
            bencher.iter(|| assert_eq!(decode_bytewise(black_box(&input)), lines));
        });
    }
    group.finish();

    let mut group = criterion.benchmark_group("clean");
    let mut out = Vec::new();
    for (name, line) in
        [("english", ENGLISH.as_bytes()), ("chinese", CHINESE.as_bytes()), ("hostile", HOSTILE)]
    {
        group.throughput(Throughput::Bytes(line.len() as u64));
        group.bench_function(name, |bencher| {
            bencher.iter(|| {
                out.clear();
                text::clean_into(black_box(line), &mut out);
                black_box(out.len())
            });
        });
    }
    group.finish();
}
