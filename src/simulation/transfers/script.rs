//! What senders send: files as they should be, and whatever else comes over a wire.

use std::rc::Rc;

use super::super::random::Random;
use super::plan::Plan;
use crate::codec::transfer::{Header, name};
use crate::limits;

/// A file that a sender offers.
#[derive(Clone, Debug)]
pub(super) struct Offered {
    /// As the sender calls it.
    pub(super) name: String,
    /// What must be visible, if anything is.
    pub(super) content: Rc<[u8]>,
    /// Whether the hash that follows is that of what was sent.
    pub(super) has_true_hash: bool,
}

impl Offered {
    /// The name that it has to get, where that is free.
    pub(super) fn clean_name(&self) -> Option<String> {
        name::clean(&self.name)
    }
}

/// When a file was sent completely, so that it may become visible.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Complete {
    /// Never.
    Never,
    /// As soon as so many bytes of the stream are sent.
    At(usize),
    /// When all is sent and the sender ended its side.
    AtEnd,
}

/// What a sender does when it has sent everything.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ending {
    /// Waits for the answer.
    Wait,
    /// Ends its side, and waits for the answer.
    Finish,
    /// Goes.
    Leave,
    /// Is cut off.
    Reset,
}

/// What one transfer sends.
#[derive(Debug)]
pub(super) struct Script {
    pub(super) offered: Offered,
    /// From the first byte of the connection; of one that asks what is there, its header.
    pub(super) stream: Vec<u8>,
    pub(super) complete: Complete,
    pub(super) ending: Ending,
    pub(super) resuming: Option<Resuming>,
}

/// A transfer that goes on where an earlier one broke off.
#[derive(Clone, Debug)]
pub(super) struct Resuming {
    /// Takes up any offer, whatever its own bytes are.
    pub(super) is_blind: bool,
    /// Sends from the beginning although there is an offer to come.
    pub(super) is_impatient: bool,
    /// Ends after so many bytes behind the header.
    pub(super) cut_after: Option<usize>,
    /// What is there was settled.
    pub(super) is_settled: bool,
}

impl Script {
    /// The next transfer of a sender.
    pub(super) fn draw(plan: &Plan, honesty: u32, random: &mut Random) -> Self {
        if random.chance(plan.resumes) && plan.file_bytes_max > RESUMED_BYTES_MIN {
            Script::resuming(plan, random)
        } else if random.chance(honesty) {
            match random.below(4) {
                0 => Script::without_size(plan, random),
                _ => Script::sized(plan, random),
            }
        } else {
            Script::dishonest(plan, random)
        }
    }

    /// A small file that nothing speaks against.
    pub(super) fn newcomer() -> Self {
        let content: Rc<[u8]> = Rc::from(&b"all is well"[..]);
        let header = Header { name: "newcomer".into(), bytes: Some(11), has_trailer: true, resume: None };
        let offered = Offered { name: header.name.clone(), content, has_true_hash: true };
        let stream = [&header.encode(), &offered.content[..], &hash(&offered.content)].concat();
        let complete = Complete::At(stream.len());
        Script { offered, stream, complete, ending: Ending::Finish, resuming: None }
    }

    /// A file, its size in front and perhaps its hash behind.
    fn sized(plan: &Plan, random: &mut Random) -> Self {
        let content = content(plan, random);
        let has_trailer = random.chance(600);
        let header = Header {
            name: file_name(random),
            bytes: Some(content.len() as u64),
            has_trailer,
            resume: random.chance(100).then(|| "too long for an identity ".repeat(10)),
        };
        let offered = Offered { name: header.name.clone(), content, has_true_hash: true };
        let mut stream = [&header.encode(), &offered.content[..]].concat();
        if has_trailer {
            stream.extend(hash(&offered.content));
        }
        let complete = Complete::At(stream.len());
        let ending = *random.pick(&[Ending::Wait, Ending::Wait, Ending::Finish, Ending::Leave]);
        Script { offered, stream, complete, ending, resuming: None }
    }

    /// As classic senders do: the name stands where the size should.
    fn without_size(plan: &Plan, random: &mut Random) -> Self {
        let content = content(plan, random);
        let name = file_name(random);
        let json = serde_json::json!({"action": "upload", "filename": name, "filesize": name}).to_string();
        let stream = [&framed(json.as_bytes()), &content[..]].concat();
        let offered = Offered { name, content, has_true_hash: true };
        let (complete, ending) = match random.below(4) {
            0 => (Complete::Never, Ending::Reset),
            1 => (Complete::Never, Ending::Wait),
            _ => (Complete::AtEnd, Ending::Finish),
        };
        Script { offered, stream, complete, ending, resuming: None }
    }

    /// One of a few long files, which several senders try to get through.
    fn resuming(plan: &Plan, random: &mut Random) -> Self {
        let file = random.below(2);
        let mut of_file = Random::new(plan.seed, "file", file as usize);
        let bytes = of_file.between(RESUMED_BYTES_MIN, plan.file_bytes_max);
        let mut content = random_bytes(&mut of_file, bytes);
        let is_changed = random.chance(200);
        if is_changed {
            let at = random.below(bytes) as usize;
            content[at] ^= 1;
        }
        let name = format!("long-{file}");
        let header =
            Header { name: name.clone(), bytes: Some(bytes), has_trailer: true, resume: Some("17".into()) };
        let cut_after = random.chance(700).then(|| {
            let least = if random.chance(800) { limits::PART_BYTES_MIN } else { 0 };
            random.between(least, bytes + 31) as usize
        });
        let resuming = Resuming {
            is_blind: is_changed && random.chance(500),
            is_impatient: random.chance(150),
            cut_after,
            is_settled: false,
        };
        let ending = match cut_after {
            Some(_) => *random.pick(&[Ending::Wait, Ending::Finish, Ending::Leave, Ending::Reset]),
            None => Ending::Wait,
        };
        let offered = Offered { name, content: content.into(), has_true_hash: !resuming.is_blind };
        Script {
            offered,
            stream: header.encode(),
            complete: Complete::Never,
            ending,
            resuming: Some(resuming),
        }
    }

    /// A file with something wrong about it, or no file at all.
    fn dishonest(plan: &Plan, random: &mut Random) -> Self {
        let mut script = Script::sized(plan, random);
        match random.below(9) {
            0 => {
                // Cut in the middle.
                let length = random.below(script.stream.len() as u64 + 1) as usize;
                script.stream.truncate(length);
                script.ending = *random.pick(&[Ending::Wait, Ending::Finish, Ending::Leave, Ending::Reset]);
            }
            1 => script = Script::wrong_hash(plan, random),
            2 | 3 => script = Script::wrong_size(plan, random),
            4 => {
                let bytes = random.log_between(1, 40_000);
                script.stream = random_bytes(random, bytes);
                script.offered.has_true_hash = false;
                script.complete = Complete::Never;
            }
            5 => {
                script.stream = framed(random.pick(&ODD_HEADERS).as_bytes());
                script.complete = Complete::Never;
            }
            6 => {
                // A header that is announced as longer than any.
                let length = limits::TRANSFER_HEADER_BYTES_MAX as u64 + random.below(1 << 20);
                script.stream[..4].copy_from_slice(&(length as u32).to_le_bytes());
                script.complete = Complete::Never;
            }
            7 => {
                // The longest header that is taken: whatever else is in it, is nobody's affair.
                let json = serde_json::json!({
                    "filename": script.offered.name, "filesize": script.offered.content.len(), "more": "",
                });
                let json = json.to_string();
                let more = "x".repeat(limits::TRANSFER_HEADER_BYTES_MAX - json.len());
                let json = json.replace(r#""more":"""#, &format!(r#""more":"{more}""#));
                script.stream = [&framed(json.as_bytes()), &script.offered.content[..]].concat();
                script.complete = Complete::At(script.stream.len());
                return script;
            }
            _ => {
                script.stream.clear();
                script.ending = *random.pick(&[Ending::Wait, Ending::Finish, Ending::Leave]);
            }
        }
        if matches!(script.complete, Complete::At(bytes) if bytes > script.stream.len()) {
            script.complete = Complete::Never;
        }
        script
    }

    fn wrong_hash(plan: &Plan, random: &mut Random) -> Self {
        let content = content(plan, random);
        let header = Header {
            name: file_name(random),
            bytes: Some(content.len() as u64),
            has_trailer: true,
            resume: random.chance(500).then(|| "17".into()),
        };
        let offered = Offered { name: header.name.clone(), content, has_true_hash: false };
        let mut wrong = hash(&offered.content);
        wrong[random.below(32) as usize] ^= 1;
        let stream = [&header.encode(), &offered.content[..], &wrong].concat();
        Script { offered, stream, complete: Complete::Never, ending: Ending::Wait, resuming: None }
    }

    /// Announces more or less than it sends.
    fn wrong_size(plan: &Plan, random: &mut Random) -> Self {
        let content = content(plan, random);
        let sent = content.len() as u64;
        let announced = if random.chance(500) {
            random.below(sent + 1)
        } else {
            sent.saturating_add(*random.pick(&[1, 31, 32, 100_000, 1 << 40, u64::MAX / 2]))
        };
        let has_trailer = random.chance(400);
        let header = Header {
            name: file_name(random),
            bytes: Some(announced),
            has_trailer,
            resume: random.chance(300).then(|| "17".into()),
        };
        let mut stream = [&header.encode(), &content[..]].concat();
        let front = stream.len() - content.len();
        let complete = match usize::try_from(announced) {
            // What was announced is there, and a hash of all of it.
            Ok(bytes) if bytes < content.len() && !has_trailer => Complete::At(front + bytes),
            Ok(bytes) if bytes == content.len() => {
                Complete::At(front + bytes + 32 * usize::from(has_trailer))
            }
            _ => Complete::Never,
        };
        if has_trailer {
            stream.extend(hash(&content));
        }
        let shown = (announced as usize).min(content.len());
        let content = content[..shown].into();
        let offered = Offered { name: header.name, content, has_true_hash: false };
        let ending = *random.pick(&[Ending::Wait, Ending::Finish]);
        Script { offered, stream, complete, ending, resuming: None }
    }
}

/// Bytes from which a file is worth being continued, and some.
const RESUMED_BYTES_MIN: u64 = limits::PART_BYTES_MIN + 4096;

/// Headers that are none, or that nothing can be made of.
const ODD_HEADERS: [&str; 12] = [
    "{",
    "[]",
    "{}",
    "null",
    r#"{"filename": 7, "filesize": 3}"#,
    r#"{"filename": "a", "filesize": -1}"#,
    r#"{"filename": "a", "filesize": 1e300}"#,
    r#"{"filename": "a", "filesize": 36893488147419103232}"#,
    r#"{"filename": "a", "filesize": 3, "trailer": "md5"}"#,
    r#"{"filename": "a", "trailer": "blake3"}"#,
    r#"{"action": "download", "filename": "a"}"#,
    "\u{feff}{}",
];

/// Names that lead out of the folder, or hide in it, where they are not made harmless.
const HOSTILE_NAMES: [&str; 20] = [
    "../../etc/passwd",
    "/etc/passwd",
    "..",
    ".",
    "",
    "/",
    "a/",
    ".onepoll-new-0123456789abcdef",
    ".onepoll-resume-0123456789abcdef0123456789abcdef",
    ".profile",
    "-rf",
    "NUL.txt",
    "com1",
    "a\0b",
    "a\nb\r\t\x1b[31m",
    "x\\..\\y",
    "C:\\autoexec.bat",
    "\u{202e}gpj.exe",
    "  . . ",
    "\u{ff0e}\u{ff0e}/\u{2215}a",
];

fn file_name(random: &mut Random) -> String {
    match random.below(10) {
        0 => "taken".into(),
        1..4 => "a.txt".into(),
        4 => (*random.pick(&HOSTILE_NAMES)).into(),
        5 => format!("{}.{}", "long".repeat(100), "\u{e4}".repeat(random.below(100) as usize)),
        _ => format!("file-{}", random.below(6)),
    }
}

/// Contents of any length, and of those at which a chunk ends.
fn content(plan: &Plan, random: &mut Random) -> Rc<[u8]> {
    let chunk = limits::WRITE_CHUNK_BYTES as u64;
    let bytes = match random.below(8) {
        0 => random.below(2),
        1..5 => random.log_between(1, 3000),
        5 => random.between(1, 3) * chunk - 1 + random.below(3),
        6 => limits::PART_BYTES_MIN - 1 + random.below(3),
        _ => random.log_between(1, plan.file_bytes_max),
    };
    random_bytes(random, bytes.min(plan.file_bytes_max)).into()
}

fn random_bytes(random: &mut Random, bytes: u64) -> Vec<u8> {
    let words = (0..bytes.div_ceil(8)).flat_map(|_| random.draw().to_le_bytes());
    words.take(bytes as usize).collect()
}

/// A header of these bytes, its length in front.
fn framed(json: &[u8]) -> Vec<u8> {
    [&(json.len() as u32).to_le_bytes()[..], json].concat()
}

fn hash(bytes: &[u8]) -> [u8; 32] {
    *blake3::hash(bytes).as_bytes()
}
