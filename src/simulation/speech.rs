//! What people type: messages, commands, commands with something wrong in them, and noise.

use super::plan::Habit;
use super::random::Random;

/// What somebody wants to do.
#[derive(Debug)]
pub(super) enum Intent {
    Say(Vec<u8>),
    /// End one's own side, and read on.
    Finish,
    Leave,
    Reset,
    Nothing,
}

const NICKS: [&str; 13] = [
    "guest-1",
    "Guest-2",
    "ann",
    "Ann",
    "bob",
    "b0b",
    "cho",
    "安娜",
    "аnn",
    "a b",
    "operator",
    "x-1",
    "\u{202e}evil",
];
const ROOMS: [&str; 8] =
    ["lobby", "red", "blue", "大厅", "green", "a room", "+", "a-name-that-is-much-too-long-for-a-room"];
const TEXTS: [&str; 9] =
    ["", "hi", "你好", "a b  c", "\ttab", "e\u{301}", "ends in CR\r", "-- not the server --", "🎉"];
const OPERATIONS: [&str; 15] = [
    "stats",
    "clients",
    "rooms",
    "watch",
    "help",
    "say hello",
    "say 大家好",
    "say",
    "kick 2",
    "kick #3 out",
    "kick ann",
    "kick guest-1",
    "kick",
    "closed",
    "?",
];

/// What somebody with this habit does next; `act` is different each time.
pub(super) fn intent(random: &mut Random, habit: Habit, index: usize, act: u64) -> Intent {
    if habit == Habit::Steady {
        return Intent::Say(line(format!("p{index}m{act}")));
    }
    if random.chance(8) {
        return match random.below(4) {
            0 => Intent::Finish,
            1 => Intent::Leave,
            2 => Intent::Reset,
            _ => Intent::Say(b"quit\n".to_vec()),
        };
    }
    let message = |random: &mut Random| line(format!("p{index}m{act} {}", random.pick(&TEXTS)));
    match habit {
        Habit::Chatter if random.chance(300) => Intent::Say(line(command(random))),
        Habit::Chatter | Habit::Dripper => Intent::Say(message(random)),
        Habit::Flood => {
            let lines = random.log_between(1, 60);
            Intent::Say((0..lines).flat_map(|n| line(format!("p{index}m{act}.{n}"))).collect())
        }
        Habit::Hopper if random.chance(600) => {
            let room = random.pick(&ROOMS);
            Intent::Say(line(if random.chance(250) { "/leave".into() } else { format!("/join {room}") }))
        }
        Habit::Renamer if random.chance(600) => Intent::Say(line(format!("/nick {}", random.pick(&NICKS)))),
        Habit::Hopper | Habit::Renamer => Intent::Say(message(random)),
        Habit::Mutator => {
            let bytes = line(command(random));
            Intent::Say(mutate(random, bytes))
        }
        Habit::Garbage => Intent::Say(garbage(random)),
        Habit::OneShot => match act % 3 {
            1 => Intent::Say(message(random)),
            2 => Intent::Finish,
            _ => Intent::Leave,
        },
        Habit::Visitor if random.chance(300) => Intent::Leave,
        Habit::Visitor => Intent::Say(message(random)),
        Habit::Listener if random.chance(50) => Intent::Say(b"/lag\n".to_vec()),
        Habit::Listener | Habit::Steady => Intent::Nothing,
    }
}

/// What an operator does next.
pub(super) fn operation(random: &mut Random) -> Intent {
    match random.below(60) {
        0 => Intent::Finish,
        1 => Intent::Say(b"quit\n".to_vec()),
        2..20 => Intent::Say(line((*random.pick(&OPERATIONS)).into())),
        _ => Intent::Nothing,
    }
}

fn line(mut text: String) -> Vec<u8> {
    text.push('\n');
    text.into_bytes()
}

fn command(random: &mut Random) -> String {
    match random.below(17) {
        0 => format!("/nick {}", random.pick(&NICKS)),
        1 | 2 => format!("/join {}", random.pick(&ROOMS)),
        3 => "/leave".into(),
        4 => format!("/me {}", random.pick(&TEXTS)),
        5 | 6 => format!("/msg {} {}", random.pick(&NICKS), random.pick(&TEXTS)),
        7 => "/who".into(),
        8 => "/rooms".into(),
        9 => format!("/last {}", random.below(30)),
        10 => "/last".into(),
        11 => "/lag".into(),
        12 => format!("/ping {}", random.pick(&TEXTS)),
        13 => "/help".into(),
        14 => format!("//{}", random.pick(&TEXTS)),
        15 => {
            let text = random.pick(&["quit", "/quit", "  /nick x", "//", " ", "GET / HTTP/1.1", "你好  "]);
            format!("/say {text}")
        }
        _ => format!("/{}", random.pick(&["", "wo", "HELP", "jion", "x y z", "last -1", "nick"])),
    }
}

/// The same with something wrong in it.
fn mutate(random: &mut Random, mut bytes: Vec<u8>) -> Vec<u8> {
    let at = random.below(bytes.len() as u64) as usize;
    match random.below(7) {
        0 => bytes[at] ^= 1 << random.below(8),
        1 => bytes.truncate(at),
        2 => bytes = bytes.repeat(random.log_between(1, 100) as usize),
        3 => {
            let other = command(random).into_bytes();
            bytes.splice(at.., other);
        }
        4 => bytes.insert(at, *random.pick(&[b'\r', b'\n', 0, 0x1b, 0xff, 0xc3, 0xfd])),
        5 => bytes.extend(vec![b'x'; random.log_between(1, 500) as usize]),
        _ => {}
    }
    bytes
}

fn garbage(random: &mut Random) -> Vec<u8> {
    match random.below(10) {
        0 => b"GET / HTTP/1.1\r\nHost: x\r\n\r\n".to_vec(),
        1 => vec![0x16, 3, 1, 0, 200, 1],
        // A telnet client's options (RFC 854).
        2 => vec![0xff, 0xfd, 3, 0xff, 0xfb, 24, 0xff, 0xf6, 0xff, 0xfa, 24, 1, 0xff, 0xf0, b'\r', 0],
        3 => vec![b'y'; random.log_between(1, 600) as usize],
        _ => (0..random.log_between(1, 60)).map(|_| random.draw() as u8).collect(),
    }
}
