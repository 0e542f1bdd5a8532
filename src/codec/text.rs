//! One client's bytes, made fit for another one's terminal.
//!
//! What comes out is valid UTF-8 that cannot move a cursor, ring a bell, change
//! a colour, start a second line or reverse the order of its neighbours, so a
//! line cannot pass for something that the server or someone else has said.
//! All else goes through as it came: every script, combining marks, emoji with
//! their joiners and selectors, and the directional *marks* (U+200E, U+200F,
//! U+061C), which right-to-left text needs and which end with themselves.
//!
//! Knows nothing of lines: the caller has split them. See
//! [`telnet`] for the commands that are taken out here.

use std::io;

use super::telnet::{self, IAC, Telnet};

/// Appends `line` to `out`, cleaned.
///
/// - Telnet commands are dropped, also one that the end of the line cuts off.
/// - Invalid UTF-8 becomes U+FFFD, by the rules of [`String::from_utf8_lossy`].
/// - Controls (C0 except tab, DEL, C1), line and paragraph separators, and
///   bidirectional embeddings, overrides and isolates are dropped, and so is
///   the byte order mark.
///
/// `line` is a whole line without its terminator: a part of one could end
/// inside a character. What is appended is valid UTF-8 of at most three times
/// the length of `line`, may be empty, and is not changed by cleaning it again.
pub fn clean_into(line: &[u8], out: &mut Vec<u8>) {
    if is_plain(line) {
        out.extend_from_slice(line);
        return;
    }
    let mut rest = line;
    while let Some(at) = memchr::memchr(IAC, rest) {
        let (text, command) = rest.split_at(at);
        clean_text_into(text, out);
        rest = match telnet::decode(command) {
            Telnet::Command { length, .. } => &command[length..],
            Telnet::Literal { length } => {
                push_replacement(out);
                &command[length..]
            }
            Telnet::NotTelnet => {
                push_replacement(out);
                &command[1..]
            }
            Telnet::Incomplete => return,
        };
    }
    clean_text_into(rest, out);
}

/// `line`, cleaned as [`clean_into`] does.
#[must_use]
pub fn clean(line: &[u8]) -> String {
    let mut clean = Vec::with_capacity(line.len());
    clean_into(line, &mut clean);
    String::from_utf8_lossy(&clean).into_owned()
}

/// `bytes` as one line of text that is safe to show, and can be told from all others: line ends, tabs and
/// backslashes as in a string of Rust, and so what [`clean_into`] would remove or replace.
#[must_use]
pub fn escape(bytes: &[u8]) -> String {
    let mut escaped = String::with_capacity(bytes.len());
    for chunk in bytes.utf8_chunks() {
        for character in chunk.valid().chars() {
            match character {
                '\\' | '\t' | '\n' | '\r' => escaped.extend(character.escape_default()),
                _ if is_removed(character) => escaped.extend(character.escape_unicode()),
                _ => escaped.push(character),
            }
        }
        for byte in chunk.invalid() {
            escaped.extend(std::ascii::escape_default(*byte).map(char::from));
        }
    }
    escaped
}

/// The longest beginning of `text` that has at most `bytes_max` bytes and does
/// not cut a character (a Unicode scalar value) in two.
pub fn truncate_at_char(text: &str, bytes_max: usize) -> &str {
    &text[..text.floor_char_boundary(bytes_max)]
}

/// Whether `text` stops short inside a character, so that its sender cannot be
/// done: one read, or one packet, may hold a part of it only.
#[must_use]
pub fn ends_inside_character(text: &[u8]) -> bool {
    let is_continuation = |byte: u8| byte & 0b1100_0000 == 0b1000_0000;
    let mut tail = text.iter().rev().take(4).enumerate();
    let first = tail.find(|(_, byte)| !is_continuation(**byte));
    // A character's first byte tells by its leading ones how many there are.
    first.is_some_and(|(behind, byte)| byte.leading_ones() as usize > behind + 1)
}

/// A system's error as people read it: `connection refused`.
#[must_use]
pub fn describe(error: &io::Error) -> String {
    let text = error.to_string();
    let text = text.split(" (os error").next().unwrap_or(&text);
    let mut characters = text.chars();
    characters.next().map_or(String::new(), |first| first.to_lowercase().chain(characters).collect())
}

/// Whether `line` is printable ASCII and tabs only: what most lines are.
///
/// Looks at every byte instead of stopping at the first odd one, because only
/// a loop without an early exit is compiled to vector instructions.
pub(crate) fn is_plain(line: &[u8]) -> bool {
    line.iter().fold(true, |plain, &byte| plain & (matches!(byte, b' '..=b'~') | (byte == b'\t')))
}

fn clean_text_into(text: &[u8], out: &mut Vec<u8>) {
    for chunk in text.utf8_chunks() {
        let valid = chunk.valid();
        let mut kept_from = 0;
        for (at, removed) in valid.match_indices(is_removed) {
            out.extend_from_slice(&valid.as_bytes()[kept_from..at]);
            kept_from = at + removed.len();
        }
        out.extend_from_slice(&valid.as_bytes()[kept_from..]);
        if !chunk.invalid().is_empty() {
            push_replacement(out);
        }
    }
}

fn is_removed(character: char) -> bool {
    match character {
        '\t' => false,
        // Separators, embeddings and overrides; isolates; the byte order mark.
        '\u{2028}'..='\u{202E}' | '\u{2066}'..='\u{2069}' | '\u{FEFF}' => true,
        _ => character.is_control(),
    }
}

fn push_replacement(out: &mut Vec<u8>) {
    out.extend_from_slice("\u{FFFD}".as_bytes());
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn clean(line: impl AsRef<[u8]>) -> String {
        let mut out = Vec::new();
        clean_into(line.as_ref(), &mut out);
        String::from_utf8(out).expect("invariant: clean text is valid UTF-8")
    }

    #[test]
    fn what_is_escaped_can_be_shown_and_told_apart() {
        for (bytes, shown) in [
            (&b"plain, 'quoted' \"text\""[..], "plain, 'quoted' \"text\""),
            (b"a\tb\r\n\\n", "a\\tb\\r\\n\\\\n"),
            ("大家 é\u{301} 👩\u{200d}💻".as_bytes(), "大家 é\u{301} 👩\u{200d}💻"),
            (b"\x1b[2J\x07\x00", "\\u{1b}[2J\\u{7}\\u{0}"),
            ("\u{9b}\u{202e}\u{feff}".as_bytes(), "\\u{9b}\\u{202e}\\u{feff}"),
            (b"\xff\xe5\xa4", "\\xff\\xe5\\xa4"),
        ] {
            assert_eq!(escape(bytes), shown);
        }
    }

    #[test]
    fn printable_ascii_and_tab_pass_unchanged() {
        let printable: String = ('\t'..='\t').chain(' '..='~').collect();
        assert_eq!(clean(&printable), printable);
    }

    #[test]
    fn text_is_appended_to_what_is_there() {
        let mut out = b"bob: ".to_vec();
        clean_into(b"hi", &mut out);
        clean_into("\u{7} 你".as_bytes(), &mut out);
        assert_eq!(out, "bob: hi 你".as_bytes());
    }

    #[test]
    fn every_script_combining_marks_and_emoji_pass_unharmed() {
        for text in [
            "你好，世界",
            "Привет",
            "e\u{301}",
            "नमस्ते",
            "שלום\u{200E} \u{200F}مرحبا\u{61C}",
            "👩\u{200D}🚀 ❤\u{FE0F} 🇨🇭 👍🏽",
            "\u{1F3F4}\u{E0067}\u{E0062}\u{E007F}",
        ] {
            assert_eq!(clean(text), text);
        }
    }

    #[test]
    fn every_control_character_but_tab_is_removed() {
        for code in (0..0x20).chain(0x7F..=0x9F) {
            let control = char::from_u32(code).expect("invariant: below the surrogates");
            let kept = if control == '\t' { "a\tb" } else { "ab" };
            assert_eq!(clean(format!("a{control}b")), kept, "{code:#x}");
            assert_eq!(clean(format!("é a{control}b")), format!("é {kept}"), "{code:#x}");
        }
    }

    #[test]
    fn colour_sequence_leaves_only_harmless_text() {
        assert_eq!(clean("\x1B[31mred\x1B[0m\r\0"), "[31mred[0m");
    }

    #[test]
    fn order_reversals_separators_and_byte_order_mark_are_removed() {
        for removed in ('\u{2028}'..='\u{202E}').chain('\u{2066}'..='\u{2069}').chain(['\u{FEFF}']) {
            assert_eq!(clean(format!("a{removed}b")), "ab", "{removed:?}");
        }
        assert_eq!(clean("\u{2027}\u{202F}\u{2065}\u{206A}"), "\u{2027}\u{202F}\u{2065}\u{206A}");
    }

    #[test]
    fn invalid_utf8_becomes_one_replacement_for_each_maximal_run() {
        assert_eq!(clean(b"a\x80b"), "a\u{FFFD}b");
        assert_eq!(clean(b"a\xE4\xBDb"), "a\u{FFFD}b");
        assert_eq!(clean(b"caf\xE9"), "caf\u{FFFD}");
        assert_eq!(clean(b"\xC0\xAF"), "\u{FFFD}\u{FFFD}");
        assert_eq!(clean(b"\xED\xA0\x80"), "\u{FFFD}\u{FFFD}\u{FFFD}");
    }

    #[test]
    fn raw_c1_byte_is_invalid_and_never_reaches_a_terminal() {
        assert_eq!(clean(b"\x9B31m"), "\u{FFFD}31m");
    }

    #[test]
    fn telnet_commands_are_removed() {
        assert_eq!(clean(b"he\xFF\xF1llo"), "hello");
        assert_eq!(clean(b"\xFF\xF4\xFF\xFD\x06hi"), "hi");
        assert_eq!(clean(b"\xFF\xFA\x18\x00xterm\xFF\xF0hi"), "hi");
    }

    #[test]
    fn telnet_command_cut_by_the_end_of_the_line_is_removed() {
        for cut in [&b"hi\xFF"[..], b"hi\xFF\xFD", b"hi\xFF\xFA\x18\x00xterm"] {
            assert_eq!(clean(cut), "hi");
        }
    }

    #[test]
    fn literal_and_stray_0xff_are_invalid_text() {
        assert_eq!(clean(b"a\xFF\xFFb"), "a\u{FFFD}b");
        assert_eq!(clean(b"a\xFFb"), "a\u{FFFD}b");
    }

    #[test]
    fn truncation_keeps_whole_characters() {
        assert_eq!(truncate_at_char("你好", 6), "你好");
        assert_eq!(truncate_at_char("你好", 5), "你");
        assert_eq!(truncate_at_char("你好", 2), "");
        assert_eq!(truncate_at_char("abc", 2), "ab");
        assert_eq!(truncate_at_char("abc", usize::MAX), "abc");
    }

    #[test]
    fn every_beginning_of_a_text_tells_whether_it_ends_inside_a_character() {
        let text = "aé你👩";
        for end in 0..=text.len() {
            assert_eq!(ends_inside_character(&text.as_bytes()[..end]), !text.is_char_boundary(end), "{end}");
        }
        assert!(!ends_inside_character(b"\x80\x80\x80\x80\x80"));
    }

    /// Bytes that are dense in what the cleaning looks for.
    fn hostile() -> impl Strategy<Value = Vec<u8>> {
        let piece = prop_oneof![
            any::<u8>().prop_map(|byte| vec![byte]),
            any::<char>().prop_map(|character| character.to_string().into_bytes()),
            prop::char::range('\u{2020}', '\u{2070}')
                .prop_map(|character| character.to_string().into_bytes()),
            (0xF0..=0xFFu8).prop_map(|code| vec![IAC, code]),
            "[ -~]{0,8}".prop_map(String::into_bytes),
        ];
        prop::collection::vec(piece, 0..64).prop_map(|pieces| pieces.concat())
    }

    proptest! {
        #[test]
        fn clean_text_holds_nothing_that_is_removed_and_is_bounded(line in hostile()) {
            let cleaned = clean(&line);
            prop_assert!(!cleaned.contains(is_removed));
            prop_assert!(cleaned.len() <= 3 * line.len());
        }

        #[test]
        fn cleaning_twice_is_cleaning_once(line in hostile()) {
            let once = clean(&line);
            prop_assert_eq!(clean(&once), once);
        }

        #[test]
        fn printable_text_passes_unchanged(text in "\\PC*") {
            prop_assume!(!text.contains(is_removed));
            prop_assert_eq!(clean(&text), text);
        }

        #[test]
        fn without_telnet_it_is_lossy_decoding_less_the_removed(line in hostile()) {
            let line: Vec<u8> = line.into_iter().filter(|&byte| byte != IAC).collect();
            let mut expected = String::from_utf8_lossy(&line).into_owned();
            expected.retain(|character| !is_removed(character));
            prop_assert_eq!(clean(&line), expected);
        }
    }
}
