//! A chat on a scripted system: recorded, replayed, cut, damaged and forged.

mod scene;

use std::collections::HashMap;
use std::io;
use std::path::PathBuf;
use std::time::Duration;

use jiff::tz::{TimeZone, offset};

use super::entry::{Answer, Call, Entry};
use super::sum::Sum;
use super::*;
use crate::chat::Chat;
use crate::chat::config::Config;
use crate::engine::{Moment, Peer};
use crate::event_loop::io::Io;
use crate::event_loop::{EventLoop, Linger};
use crate::limits;
use scene::{Received, SCRIPT, Scene, Step};

/// Keeps what went out, as [`Scene`] does.
#[derive(Default)]
struct Ear {
    received: Received,
    numbers: HashMap<usize, usize>,
    entries: Vec<Entry<'static>>,
}

impl Audience for Ear {
    fn hear(&mut self, _moment: Moment, entry: &Entry<'_>, out: [&[u8]; 2]) -> io::Result<()> {
        if entry.call == Call::Register {
            let number = 1 + self.entries.iter().filter(|entry| entry.call == Call::Register).count();
            self.numbers.insert(entry.slot, number);
        }
        let number = if entry.call == Call::Write { self.numbers[&entry.slot] } else { 0 };
        if !out.concat().is_empty() {
            self.received.entry(number).or_default().extend(out.concat());
        }
        let answer = match &entry.answer {
            Ok(Answer::Peer(peer)) => Ok(Answer::Peer(*peer)),
            Ok(Answer::Number(number)) => Ok(Answer::Number(*number)),
            Ok(_) => Ok(Answer::Done),
            Err(errno) => Err(*errno),
        };
        self.entries.push(Entry { call: entry.call, slot: entry.slot, answer });
        Ok(())
    }
}

fn config() -> Config {
    Config {
        clients_max: 3,
        log_bytes_max: 1024,
        line_bytes_max: 64,
        history_messages: 3,
        ..Config::default()
    }
}

/// Runs until the loop ends by itself; gives its system back.
fn run<I: Io<Listener = ()>>(io: I) -> (I, io::Result<()>) {
    let mut event_loop = EventLoop::new(io, Chat::new(config()), Linger::InAll(Duration::from_secs(2)));
    let mut run = || {
        event_loop.listen(())?;
        event_loop.run().map(drop)
    };
    let result = run();
    (event_loop.into_io(), result)
}

/// A file of this test's own, removed when it ends.
struct Scratch(PathBuf);

impl Scratch {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("onepoll-recording-{}-{name}", std::process::id()));
        let _ = std::fs::remove_file(&path);
        Scratch(path)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

/// A recording of the script, and what everyone received.
fn record(name: &str, is_redacted: bool, bytes_max: u64) -> (Vec<u8>, Received) {
    let scratch = Scratch::new(name);
    let head = Head { version: "test".into(), is_redacted, ..Head::default() };
    let recorder = Recorder::create(&scratch.0, &head, bytes_max).expect("a new file");
    let (scene, received) = Scene::new(&SCRIPT);
    run(Recording::new(scene, recorder)).1.expect("the script plays");
    let bytes = std::fs::read(&scratch.0).expect("the file is there");
    (bytes, received.take())
}

fn replay(bytes: &[u8], until: Option<Moment>) -> Result<(Option<Ending>, Ear), Fault> {
    let (reader, _) = Reader::new(bytes)?;
    let (replaying, _) = run(Replaying::new(reader, Ear::default(), until));
    let (ending, _, _, ear) = replaying.finish();
    Ok((ending, ear))
}

#[test]
fn a_replay_writes_to_everyone_what_was_written_to_them() {
    let (bytes, received) = record("replay", false, limits::RECORDING_BYTES_MAX);
    let (ending, ear) = replay(&bytes, None).expect("a recording");
    assert!(ending.is_none(), "{ending:?}");
    assert_eq!(ear.received, received);
    assert!(received[&0].starts_with(b"-- the server is full"), "{received:?}");
    let all = received.values().flatten().copied().collect();
    let all = String::from_utf8(all).expect("text");
    for text in ["hello there", "flowers", "too long", "a secret", "seven", "closing"] {
        assert!(all.contains(text), "the script shows too little: {text}");
    }
}

#[test]
fn a_replay_until_a_moment_is_the_beginning_of_the_whole() {
    let (bytes, received) = record("until", false, limits::RECORDING_BYTES_MAX);
    let mut shorter = 0;
    for millis in (0..16_000).step_by(500) {
        let until = Moment::START + Duration::from_millis(millis);
        let (ending, ear) = replay(&bytes, Some(until)).expect("a recording");
        match ending {
            Some(Ending::Until) => shorter += 1,
            other => assert!(other.is_none(), "{other:?}"),
        }
        for (number, bytes) in &ear.received {
            assert!(received[number].starts_with(bytes), "#{number} until {millis} ms");
        }
    }
    assert!(shorter > 10, "{shorter}");
}

#[test]
fn a_recording_that_was_cut_anywhere_replays_up_to_there() {
    let (bytes, received) = record("cut", false, limits::RECORDING_BYTES_MAX);
    let (mut torn, mut whole) = (0, 0);
    for cut in 0..bytes.len() {
        match replay(&bytes[..cut], None) {
            Err(Fault::NoRecording) => assert!(cut <= MAGIC.len()),
            Err(Fault::NoHead) => assert!(cut < MAGIC.len() + 1 + FRAME_HEAD_BYTES + 9, "{cut}"),
            Err(other) => panic!("cut at {cut}: {other}"),
            Ok((ending, ear)) => {
                match ending {
                    Some(Ending::Recording(Tail::Torn)) => torn += 1,
                    // The last frame holds nothing but the sum.
                    Some(Ending::Recording(Tail::Whole)) | None => whole += 1,
                    other => panic!("cut at {cut}: {other:?}"),
                }
                for (number, bytes) in &ear.received {
                    assert!(received[number].starts_with(bytes), "#{number}, cut at {cut}");
                }
            }
        }
    }
    assert!(torn > 1000 && whole > 20, "{torn} torn, {whole} whole");
}

#[test]
fn a_recording_that_is_full_ends_there_and_says_so() {
    let scratch = Scratch::new("full");
    let recorder = Recorder::create(&scratch.0, &Head::default(), 700).expect("a new file");
    let (scene, received) = Scene::new(&SCRIPT);
    run(Recording::new(scene, recorder)).1.expect("the script plays");
    let bytes = std::fs::read(&scratch.0).expect("the file is there");
    assert!((600..=700).contains(&bytes.len()), "{}", bytes.len());
    let (ending, ear) = replay(&bytes, None).expect("a recording");
    assert!(matches!(ending, Some(Ending::Recording(Tail::Full))), "{ending:?}");
    let received = received.take();
    assert!(!ear.received.is_empty() && ear.received != received);
    for (number, bytes) in &ear.received {
        assert!(received[number].starts_with(bytes), "#{number}");
    }
}

#[test]
fn a_redacted_recording_has_nothing_that_was_said_and_numbers_for_addresses() {
    let (bytes, received) = record("redacted", true, limits::RECORDING_BYTES_MAX);
    let said = SCRIPT.iter().filter_map(|step| match step {
        Step::Say(_, text) => Some(*text),
        _ => None,
    });
    // Three bytes in a row may be chance, four of a script this small are not.
    for text in said {
        for word in text.as_bytes().windows(4) {
            assert!(!bytes.windows(4).any(|found| found == word), "{text:?}");
        }
    }
    for address in [[192, 0, 2, 1], [192, 0, 2, 2], [0x20, 1, 0xd, 0xb8]] {
        assert!(!bytes.windows(4).any(|found| found == address), "{address:?}");
    }
    let (reader, head) = Reader::new(&bytes[..]).expect("a recording");
    assert!(head.is_redacted);
    let (ending, _, _, ear) = Replaying::new(reader, Ear::default(), None).list();
    assert!(matches!(ending, Some(Ending::Recording(Tail::Whole))), "{ending:?}");
    let numbers: Vec<String> = ear
        .entries
        .iter()
        .filter_map(|entry| match entry.answer {
            Ok(Answer::Peer(peer)) => Some(peer.to_string()),
            _ => None,
        })
        .collect();
    assert_eq!(numbers, ["0.0.0.1:0", "0.0.0.2:0", "0.0.0.3:0", "0.0.0.4:0", "0.0.0.2:0"]);
    let count = |call, of: fn(&Answer<'_>) -> u64| -> u64 {
        let entries = ear.entries.iter().filter(|entry| entry.call == call);
        entries.filter_map(|entry| entry.answer.as_ref().ok()).map(of).sum()
    };
    let number = |answer: &Answer<'_>| if let Answer::Number(number) = answer { *number } else { 0 };
    let written: usize =
        received.iter().filter(|(number, _)| **number > 0).map(|(_, bytes)| bytes.len()).sum();
    assert_eq!(count(Call::Write, number), written as u64);
    assert_eq!(count(Call::Sum, |_| 1), 0, "a sum would confirm a guess");
}

#[test]
fn another_engine_is_told_where_it_differs() {
    let (bytes, _) = record("diverged", false, limits::RECORDING_BYTES_MAX);
    let more = Config { motd: "hi\n".into(), ..config() };
    // As many bytes, in calls that are the same: only what is in them differs.
    let other = Config { time_zone: TimeZone::fixed(offset(8)), ..config() };
    for (config, what) in [(more, "; now: "), (other, "what was written since the last such sum")] {
        let (reader, _) = Reader::new(&bytes[..]).expect("a recording");
        let replaying = Replaying::new(reader, Ear::default(), None);
        let mut event_loop =
            EventLoop::new(replaying, Chat::new(config), Linger::InAll(Duration::from_secs(2)));
        event_loop.listen(()).expect("it was recorded");
        event_loop.run().expect_err("it is another chat");
        let (ending, ..) = event_loop.into_io().finish();
        let Some(Ending::Diverged(divergence)) = ending else { panic!("{ending:?}") };
        let text = divergence.to_string();
        assert!(text.starts_with("entry ") && text.contains(what), "{text}");
    }
}

#[test]
fn what_comes_in_is_in_the_file_before_the_engine_sees_it() {
    let scratch = Scratch::new("early");
    let recorder = Recorder::create(&scratch.0, &Head::default(), limits::RECORDING_BYTES_MAX);
    let script = [Step::Come("192.0.2.1"), Step::Say(1, "a line that is fatal\n")];
    let mut io = Recording::new(Scene::new(&script).0, recorder.expect("a new file"));
    // What a replay of the file would answer with last.
    let last = || {
        let bytes = std::fs::read(&scratch.0).expect("the file is there");
        let (reader, _) = Reader::new(&bytes[..]).expect("a recording");
        let (.., ear) = Replaying::new(reader, Ear::default(), None).list();
        ear.entries.last().map(|entry| entry.call)
    };
    let mut events = Vec::new();
    io.poll(&mut events, None).expect("it is scripted");
    io.now();
    assert_eq!(last(), Some(Call::Now));
    let (mut stream, _) = io.accept(&mut ()).expect("somebody came");
    assert_eq!(last(), Some(Call::Accept));
    io.register(&mut stream, 0, false).expect("it is scripted");
    io.poll(&mut events, None).expect("it is scripted");
    io.read(&mut stream, &mut [0; 100]).expect("somebody said it");
    assert_eq!(last(), Some(Call::Read));
    // What the socket took can wait for the end of the turn, but no longer.
    io.write(&mut stream, [b"an answer", b""]).expect("there is room");
    assert_eq!(last(), Some(Call::Read));
    io.poll(&mut events, None).expect("it is scripted");
    assert_eq!(last(), Some(Call::Write));
}

/// The frames of a recording, behind its magic.
fn frames(bytes: &[u8]) -> Vec<Vec<u8>> {
    let mut rest = &bytes[MAGIC.len() + 1..];
    let mut frames = Vec::new();
    while let [low, high, _, _, _, _, _, _, behind @ ..] = rest {
        let (payload, next) = behind.split_at(usize::from(u16::from_le_bytes([*low, *high])));
        frames.push(payload.to_vec());
        rest = next;
    }
    frames
}

fn sealed(frames: &[Vec<u8>]) -> Vec<u8> {
    let mut bytes = [MAGIC, &[FORMAT]].concat();
    for payload in frames {
        let length = u16::try_from(payload.len()).expect("short");
        bytes.extend(length.to_le_bytes());
        bytes.extend((!length).to_le_bytes());
        bytes.extend(Sum::of(payload).to_le_bytes());
        bytes.extend(payload);
    }
    bytes
}

/// Numbers that look random, and are the same each time (xorshift64).
struct Dice(u64);

impl Dice {
    fn below(&mut self, end: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % end as u64) as usize
    }
}

fn mutate(bytes: &mut Vec<u8>, dice: &mut Dice) {
    if bytes.is_empty() {
        return;
    }
    let at = dice.below(bytes.len());
    match dice.below(6) {
        0 => bytes[at] ^= 1 << dice.below(8),
        1 => bytes[at] = dice.below(256) as u8,
        2 => drop(bytes.remove(at)),
        3 => bytes.insert(at, dice.below(256) as u8),
        4 => bytes.truncate(at),
        _ => {
            let from = dice.below(bytes.len());
            let length = dice.below(20).min(bytes.len() - from);
            let copy = bytes[from..from + length].to_vec();
            bytes.splice(at..at, copy);
        }
    }
}

#[test]
fn a_damaged_recording_is_refused_or_replays_up_to_the_damage() {
    let (bytes, received) = record("damaged", false, limits::RECORDING_BYTES_MAX);
    let mut dice = Dice(0x5eed);
    let mut damaged = 0;
    for round in 0..2000 {
        let mut bytes = bytes.clone();
        for _ in 0..=dice.below(3) {
            mutate(&mut bytes, &mut dice);
        }
        let Ok((ending, ear)) = replay(&bytes, None) else { continue };
        damaged += usize::from(matches!(ending, Some(Ending::Fault(Fault::Damaged(_)))));
        for (number, bytes) in &ear.received {
            assert!(received[number].starts_with(bytes), "round {round}: #{number}");
        }
    }
    assert!(damaged > 1000, "{damaged}");
}

fn read_all(bytes: &[u8]) -> Result<(), Fault> {
    let (mut reader, _) = Reader::new(bytes)?;
    while reader.next_entry()?.is_some() {}
    Ok(())
}

#[test]
fn each_flipped_bit_of_a_frame_s_head_is_damage_and_no_end() {
    let (bytes, _) = record("bits", false, limits::RECORDING_BYTES_MAX);
    read_all(&bytes).expect("it is whole");
    let frames = frames(&bytes);
    assert!(frames.len() > 50, "{} frames", frames.len());
    let mut at = MAGIC.len() + 1;
    for payload in frames {
        for bit in 0..8 * FRAME_HEAD_BYTES {
            let mut bytes = bytes.clone();
            bytes[at + bit / 8] ^= 1 << (bit % 8);
            let fault = read_all(&bytes).expect_err("a bit is flipped");
            assert!(matches!(fault, Fault::Damaged(offset) if offset == at as u64), "bit {bit}: {fault:?}");
        }
        at += FRAME_HEAD_BYTES + payload.len();
    }
}

#[test]
fn a_forged_recording_ends_in_words_whatever_it_says() {
    let (bytes, _) = record("forged", false, limits::RECORDING_BYTES_MAX);
    let frames = frames(&bytes);
    let mut dice = Dice(0xf0_49ed);
    let (mut diverged, mut undecodable) = (0, 0);
    for _ in 0..3000 {
        let mut frames = frames.clone();
        for _ in 0..=dice.below(3) {
            let at = dice.below(frames.len());
            if dice.below(8) == 0 {
                let frame = frames.remove(at);
                frames.insert(dice.below(frames.len() + 1), frame);
            } else {
                mutate(&mut frames[at], &mut dice);
            }
        }
        match replay(&sealed(&frames), None) {
            Ok((Some(Ending::Diverged(_)), _)) => diverged += 1,
            Ok((Some(Ending::Fault(_)), _)) | Err(_) => undecodable += 1,
            Ok(_) => {}
        }
    }
    assert!(diverged > 1000 && undecodable > 100, "{diverged} diverged, {undecodable} undecodable");
}

#[test]
fn a_taken_name_is_left_alone_and_a_new_file_is_private() {
    use std::os::unix::fs::MetadataExt;
    let scratch = Scratch::new("taken");
    drop(Recorder::create(&scratch.0, &Head::default(), limits::RECORDING_BYTES_MIN).expect("a new file"));
    let metadata = std::fs::metadata(&scratch.0).expect("it is there");
    assert_eq!(metadata.mode() & 0o777, 0o600);
    let before = std::fs::read(&scratch.0).expect("it is there");
    let again = Recorder::create(&scratch.0, &Head::default(), limits::RECORDING_BYTES_MIN);
    assert_eq!(again.expect_err("it is taken").kind(), io::ErrorKind::AlreadyExists);
    assert_eq!(std::fs::read(&scratch.0).expect("it is there"), before);
    let link = Scratch::new("link");
    std::os::unix::fs::symlink("/nowhere/at-all", &link.0).expect("a link");
    let through = Recorder::create(&link.0, &Head::default(), limits::RECORDING_BYTES_MIN);
    assert_eq!(through.expect_err("links are not followed").kind(), io::ErrorKind::AlreadyExists);
    let long = Head { arguments: vec!["x".repeat(70_000).into()], ..Head::default() };
    let scratch = Scratch::new("long");
    let refused = Recorder::create(&scratch.0, &long, limits::RECORDING_BYTES_MIN).expect_err("too long");
    assert_eq!(refused.kind(), io::ErrorKind::InvalidInput);
    assert!(!scratch.0.exists());
}

#[test]
fn a_recorder_holds_no_more_than_is_reckoned_for_it() {
    for is_redacted in [false, true] {
        let scratch = Scratch::new(if is_redacted { "held-redacted" } else { "held" });
        let arguments = vec!["x".repeat(60_000).into()];
        let head = Head { is_redacted, arguments, ..Head::default() };
        let taken = allocation_counter::measure(|| {
            let mut recorder =
                Recorder::create(&scratch.0, &head, limits::RECORDING_BYTES_MAX).expect("a new file");
            for address in 0..limits::RECORDED_ADDRESSES_MAX + 1000 {
                let peer = Peer::Inet(std::net::Ipv4Addr::from_bits(address).into(), 7);
                recorder.note(Call::Accept, 0, Ok(Answer::Peer(peer)));
            }
            let bytes = vec![0; limits::READ_BYTES_MAX];
            for _ in 0..10 {
                recorder.note(Call::Read, 0, Ok(Answer::Bytes(bytes.as_slice().into())));
            }
        });
        let bytes_max = crate::memory::bytes_max(&memory_parts(is_redacted));
        assert!(taken.bytes_max <= bytes_max, "{} bytes, of {bytes_max} at most", taken.bytes_max);
        // What is reckoned is not far from what it is.
        assert!(!is_redacted || taken.bytes_max > bytes_max / 8, "{} bytes of {bytes_max}", taken.bytes_max);
    }
}
