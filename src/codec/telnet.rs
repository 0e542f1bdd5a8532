//! Telnet's commands, as far as a line-based server has to know them: where
//! one ends, and what to answer (RFC 854, RFC 855, RFC 1123 section 3.2).
//!
//! Every option is refused, so the far end stays the plain "network virtual
//! terminal" that sends lines, and no option state is kept. A refusal is still
//! needed: a telnet client whose user presses Ctrl-C sends `DO TIMING-MARK`
//! and shows nothing more until it is answered (RFC 860). `WONT` and `DONT`
//! are never answered, so two ends that refuse cannot do so for ever.
//!
//! A command never reaches across a `\n`: whatever a peer opens, the next line
//! is a line again.

/// "Interpret as command": the byte that begins every telnet command.
///
/// It occurs nowhere in UTF-8, so a search for it cannot hit text.
pub const IAC: u8 = 0xFF;

/// The longest subnegotiation that is skipped as one command, in bytes, from
/// its [`IAC`] on. What goes on after that is text.
pub const SUBNEGOTIATION_BYTES_MAX: usize = 256;

const SE: u8 = 0xF0;
const GO_AHEAD: u8 = 0xF9;
const SB: u8 = 0xFA;
const WILL: u8 = 0xFB;
const WONT: u8 = 0xFC;
const DO: u8 = 0xFD;
const DONT: u8 = 0xFE;

/// What stands at an [`IAC`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Telnet {
    /// The bytes end inside a command: decode again from the same place when
    /// there are more. Not an error, and never said of
    /// [`SUBNEGOTIATION_BYTES_MAX`] bytes or more.
    Incomplete,
    /// A command, to be left out of the text.
    Command {
        /// How many bytes it takes, the [`IAC`] included. Never more than were
        /// given, and none of them is a `\n`.
        length: usize,
        /// What the protocol wants sent back: the refusal of an option.
        reply: Option<[u8; 3]>,
    },
    /// `IAC IAC`: one byte of data of the value 0xFF.
    Literal {
        /// How many bytes stand for that one: 2.
        length: usize,
    },
    /// No command at all: the first byte is a stray 0xFF, such as the `ÿ` of
    /// Latin-1, or is no [`IAC`]. It is data, and so is what follows.
    NotTelnet,
}

/// Says which command `bytes` begin with. They should begin with [`IAC`].
///
/// The answer depends on nothing but the bytes of the command itself: more
/// bytes after it do not change it. A command that a `\n` interrupts ends in
/// front of it, without a reply.
pub fn decode(bytes: &[u8]) -> Telnet {
    match *bytes {
        [] | [IAC] => Telnet::Incomplete,
        [IAC, IAC, ..] => Telnet::Literal { length: 2 },
        [IAC, SB, ..] => decode_subnegotiation(bytes),
        [IAC, SE..=GO_AHEAD, ..] => Telnet::Command { length: 2, reply: None },
        [IAC, WILL..=DONT] => Telnet::Incomplete,
        // Option 10 (RFC 658) is given up for this: a lost line end would let a
        // peer glue two lines together.
        [IAC, WILL..=DONT, b'\n', ..] => Telnet::Command { length: 2, reply: None },
        [IAC, WILL, option, ..] => refuse(DONT, option),
        [IAC, DO, option, ..] => refuse(WONT, option),
        [IAC, WONT | DONT, _, ..] => Telnet::Command { length: 3, reply: None },
        _ => Telnet::NotTelnet,
    }
}

fn refuse(verb: u8, option: u8) -> Telnet {
    Telnet::Command { length: 3, reply: Some([IAC, verb, option]) }
}

/// Finds the end of `IAC SB … IAC SE`, of which `bytes` hold the beginning.
///
/// No option was agreed on, so what is inside was not asked for; it is dropped
/// even where it is cut off, because nobody wants to read it.
fn decode_subnegotiation(bytes: &[u8]) -> Telnet {
    let seen = &bytes[..bytes.len().min(SUBNEGOTIATION_BYTES_MAX)];
    let mut at = 2;
    while let Some(&byte) = seen.get(at) {
        match (byte, seen.get(at + 1)) {
            (b'\n', _) => {
                return Telnet::Command { length: at, reply: None };
            }
            (IAC, Some(&SE)) => {
                return Telnet::Command { length: at + 2, reply: None };
            }
            // A doubled IAC is data, and its second half must not be taken for
            // the beginning of `IAC SE`.
            (IAC, Some(&IAC)) => at += 2,
            _ => at += 1,
        }
    }
    if seen.len() == SUBNEGOTIATION_BYTES_MAX {
        Telnet::Command { length: SUBNEGOTIATION_BYTES_MAX, reply: None }
    } else {
        Telnet::Incomplete
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const TIMING_MARK: u8 = 6;
    const TERMINAL_TYPE: u8 = 24;

    fn command(length: usize) -> Telnet {
        Telnet::Command { length, reply: None }
    }

    fn answered(reply: [u8; 3]) -> Telnet {
        Telnet::Command { length: 3, reply: Some(reply) }
    }

    #[test]
    fn offer_and_request_are_refused() {
        assert_eq!(decode(&[IAC, WILL, TERMINAL_TYPE]), answered([IAC, DONT, TERMINAL_TYPE]));
        assert_eq!(decode(&[IAC, DO, TIMING_MARK]), answered([IAC, WONT, TIMING_MARK]));
    }

    #[test]
    fn refusal_is_not_answered() {
        assert_eq!(decode(&[IAC, WONT, TERMINAL_TYPE]), command(3));
        assert_eq!(decode(&[IAC, DONT, TERMINAL_TYPE]), command(3));
    }

    #[test]
    fn control_c_of_a_telnet_client_is_two_commands_and_one_answer() {
        const INTERRUPT: u8 = 0xF4;
        let sent = [IAC, INTERRUPT, IAC, DO, TIMING_MARK];
        assert_eq!(decode(&sent), command(2));
        assert_eq!(decode(&sent[2..]), answered([IAC, WONT, TIMING_MARK]));
    }

    #[test]
    fn each_command_without_an_option_takes_two_bytes() {
        for code in SE..=GO_AHEAD {
            assert_eq!(decode(&[IAC, code, b'a']), command(2), "{code:#x}");
        }
    }

    #[test]
    fn doubled_iac_is_a_literal() {
        assert_eq!(decode(&[IAC, IAC, WILL]), Telnet::Literal { length: 2 });
    }

    #[test]
    fn stray_0xff_in_front_of_text_is_not_telnet() {
        for code in 0..SE {
            assert_eq!(decode(&[IAC, code, b'a', b'b']), Telnet::NotTelnet, "{code:#x}");
        }
        assert_eq!(decode(b"text"), Telnet::NotTelnet);
    }

    #[test]
    fn subnegotiation_ends_at_its_end_mark() {
        let sent = [IAC, SB, TERMINAL_TYPE, 0, b'x', b't', IAC, SE, b'h', b'i'];
        assert_eq!(decode(&sent), command(8));
    }

    #[test]
    fn doubled_iac_in_a_subnegotiation_does_not_end_it() {
        assert_eq!(decode(&[IAC, SB, 31, IAC, IAC, SE, IAC, SE]), command(8));
    }

    #[test]
    fn line_end_is_never_part_of_a_command() {
        assert_eq!(decode(&[IAC, SB, 31, 0, b'\n', IAC, SE]), command(4));
        assert_eq!(decode(&[IAC, SB, 31, IAC, b'\n', IAC, SE]), command(4));
        assert_eq!(decode(&[IAC, SB, b'\n']), command(2));
        assert_eq!(decode(&[IAC, DO, b'\n']), command(2));
        assert_eq!(decode(&[IAC, b'\n']), Telnet::NotTelnet);
    }

    #[test]
    fn endless_subnegotiation_is_cut_at_its_bound() {
        let mut sent = vec![b'x'; 4 * SUBNEGOTIATION_BYTES_MAX];
        sent[..2].copy_from_slice(&[IAC, SB]);
        assert_eq!(decode(&sent), command(SUBNEGOTIATION_BYTES_MAX));
        assert_eq!(decode(&sent[..SUBNEGOTIATION_BYTES_MAX]), command(SUBNEGOTIATION_BYTES_MAX));
        assert_eq!(decode(&sent[..SUBNEGOTIATION_BYTES_MAX - 1]), Telnet::Incomplete);
    }

    #[test]
    fn every_split_of_a_command_is_incomplete_until_it_is_whole() {
        let samples: [&[u8]; 7] = [
            &[IAC, IAC],
            &[IAC, SE],
            &[IAC, GO_AHEAD],
            &[IAC, WILL, 1],
            &[IAC, DO, TIMING_MARK],
            &[IAC, DONT, 1],
            &[IAC, SB, TERMINAL_TYPE, 0, IAC, IAC, b'x', IAC, SE],
        ];
        for sample in samples {
            for split in 0..sample.len() {
                assert_eq!(decode(&sample[..split]), Telnet::Incomplete, "{sample:x?} at {split}");
            }
            assert_ne!(decode(sample), Telnet::Incomplete, "{sample:x?}");
        }
    }

    proptest! {
        #[test]
        fn more_bytes_never_change_an_answer(
            tail in prop::collection::vec(
                prop_oneof![Just(IAC), SE..=DONT, Just(b'\n'), any::<u8>()],
                0..2 * SUBNEGOTIATION_BYTES_MAX,
            ),
            opens in any::<bool>(),
        ) {
            let mut bytes = if opens { vec![IAC, SB] } else { vec![IAC] };
            bytes.extend(tail);
            let whole = decode(&bytes);
            for split in 0..=bytes.len() {
                let part = decode(&bytes[..split]);
                prop_assert!(part == Telnet::Incomplete || part == whole);
            }
            if let Telnet::Command { length, .. } | Telnet::Literal { length } = whole {
                prop_assert!((2..=bytes.len()).contains(&length));
                prop_assert!(!bytes[..length].contains(&b'\n'));
            }
        }
    }
}
