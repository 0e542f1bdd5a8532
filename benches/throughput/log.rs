//! The log: posting, reading by cursor, and what a reader costs who is overtaken.

use std::hint::black_box;

use criterion::{Criterion, Throughput};
use onepoll::chat::log::{Cursor, Kind, Log};
use onepoll::limits;

/// A message of 64 bytes with its time and name, in the parts that a post has.
const PARTS: [&[u8]; 4] = [
    b"2026/11/21 10:00:00 ",
    b"127.0.0.1:50000: ",
    b"xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx",
    b"\n",
];

const RECORD_BYTES: u64 = (PARTS[0].len() + PARTS[1].len() + PARTS[2].len() + PARTS[3].len()) as u64;

/// Records in one span: what a member lags behind in a busy room.
const SPAN_RECORDS: u64 = 64;

/// Records for each call that is timed.
const RECORDS: u64 = 4096;

/// A log that is full: every post drops the oldest record.
fn full() -> Log {
    let mut log = Log::new(limits::LOG_BYTES_MAX);
    while log.base() == Cursor::default() {
        log.append(Kind::Message, &PARTS);
    }
    log
}

pub fn bench(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("log");

    let mut log = full();
    group.throughput(Throughput::Bytes(RECORDS * RECORD_BYTES));
    group.bench_function("append", |bencher| {
        bencher.iter(|| {
            for _ in 0..RECORDS {
                log.append(Kind::Message, black_box(&PARTS));
            }
        });
    });

    // As the engine reads: a span, which nobody copies but the socket, then the cursor behind it; until
    // all that is kept is read, wrap included.
    let log = full();
    let kept = log.end().offset - log.base().offset;
    group.throughput(Throughput::Bytes(kept));
    group.bench_function("read_by_cursor", |bencher| {
        bencher.iter(|| {
            let mut cursor = log.base();
            while cursor.offset < log.end().offset {
                let to = log.end().offset.min(cursor.offset + SPAN_RECORDS * RECORD_BYTES);
                black_box(log.slice(cursor.offset, to));
                cursor = log.cursor_at(to);
            }
            assert_eq!(cursor, log.end());
        });
    });

    // The dearest place: the middle, with a record torn by a short write.
    let middle = log.base().offset + kept / 2 + 1;
    group.throughput(Throughput::Elements(1));
    group.bench_function("cursor_at_the_middle", |bencher| {
        bencher.iter(|| log.cursor_at(black_box(middle)));
    });

    let mut log = full();
    let mut cursor = log.base();
    group.throughput(Throughput::Elements(1));
    group.bench_function("skip", |bencher| {
        bencher.iter(|| {
            log.append(Kind::Message, &PARTS);
            let base = log.base();
            let missed = base.messages - cursor.messages;
            assert!(missed > 0, "the reader was not overtaken");
            black_box(log.slice(base.offset, log.end().offset));
            cursor = log.cursor_at(base.offset);
            missed
        });
    });

    group.throughput(Throughput::Elements(limits::HISTORY_MESSAGES as u64));
    group.bench_function("history", |bencher| {
        bencher.iter(|| {
            let from = log.last_messages(limits::HISTORY_MESSAGES as u64);
            let (from, to) = log.next_messages(from.offset, log.end().offset);
            black_box(log.slice(from, to));
        });
    });
    group.finish();
}
