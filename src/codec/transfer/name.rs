//! Names from far away, made fit for a folder here.
//!
//! What comes out is one component of a path: never hidden, never an option of a program, never a device of
//! any system, nothing that a terminal obeys, and short enough to be numbered ([`numbered`]). It says
//! nothing of what is in the folder: that is the disk's affair.

use crate::codec::text;
use crate::limits;

/// What a name becomes that is a device's or would be hidden or taken for an option.
const GUARD: char = '_';

/// The last component of `name`, cleaned; `None` where nothing is left of it.
///
/// - Both slashes separate, so neither an absolute path nor `..` leads anywhere.
/// - What no terminal should see is dropped ([`text::clean_into`]), and tabs and NUL with it.
/// - Blanks at both ends and dots at the end are dropped: Windows does, too, and they deceive.
/// - Dots and dashes in front become `_`: files like `.profile` are obeyed, `-rf` is, too.
/// - Names of devices on Windows get a `_` in front: `NUL.txt` is one.
/// - It is cut, before its extension, to [`limits::FILE_NAME_BYTES_MAX`].
#[must_use]
pub fn clean(name: &str) -> Option<String> {
    let last = name.rsplit(['/', '\\']).next().unwrap_or_default();
    let mut clean = Vec::with_capacity(last.len());
    text::clean_into(last.as_bytes(), &mut clean);
    let clean = String::from_utf8_lossy(&clean).replace('\t', "");
    let clean = clean.trim_start().trim_end_matches(is_dot_or_blank);
    let rest = clean.trim_start_matches(['.', '-']);
    if rest.is_empty() {
        return None;
    }
    let guards = clean.len() - rest.len();
    let mut clean = format!("{}{rest}", GUARD.to_string().repeat(guards.min(2)));
    if is_device(&clean) {
        clean.insert(0, GUARD);
    }
    let mut clean = shorten(&clean, limits::FILE_NAME_BYTES_MAX);
    // What was in its middle may be at its end now.
    if is_device(&clean) {
        clean.insert(0, GUARD);
    }
    Some(clean)
}

fn is_dot_or_blank(c: char) -> bool {
    c == '.' || c.is_whitespace()
}

/// A name that stands for `name` where that is taken: `report-1.pdf`.
#[must_use]
pub fn numbered(name: &str, number: u32) -> String {
    let (stem, extension) = split_extension(name);
    format!("{stem}-{number}{extension}")
}

/// The stem, and the extension with its dot.
fn split_extension(name: &str) -> (&str, &str) {
    match name.rfind('.') {
        Some(dot) if dot > 0 => name.split_at(dot),
        _ => (name, ""),
    }
}

fn shorten(name: &str, bytes_max: usize) -> String {
    if name.len() <= bytes_max {
        return name.into();
    }
    let (stem, extension) = split_extension(name);
    // What is half of the name is no extension.
    if extension.len() > bytes_max / 2 {
        return text::truncate_at_char(name, bytes_max).trim_end_matches(is_dot_or_blank).into();
    }
    let stem = text::truncate_at_char(stem, bytes_max - extension.len());
    format!("{}{extension}", stem.trim_end())
}

/// Whether Windows takes it for a device, which it does whatever the extension
/// (<https://learn.microsoft.com/windows/win32/fileio/naming-a-file>).
fn is_device(name: &str) -> bool {
    let stem = name.split('.').next().unwrap_or_default().trim_end();
    if ["CON", "PRN", "AUX", "NUL", "CONIN$", "CONOUT$"]
        .iter()
        .any(|device| stem.eq_ignore_ascii_case(device))
    {
        return true;
    }
    let Some((kind, number)) = stem.split_at_checked(3) else { return false };
    (kind.eq_ignore_ascii_case("COM") || kind.eq_ignore_ascii_case("LPT"))
        && matches!(number, "0" | "1" | "2" | "3" | "4" | "5" | "6" | "7" | "8" | "9" | "¹" | "²" | "³")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[track_caller]
    fn becomes(name: &str, expected: &str) {
        assert_eq!(clean(name).as_deref(), Some(expected), "{name:?}");
    }

    #[test]
    fn ordinary_names_pass_unchanged() {
        for name in [
            "a",
            "report.pdf",
            "archive.tar.gz",
            "你好.txt",
            "e\u{301}.md",
            "a b (1).txt",
            "👩\u{200D}🚀.png",
        ] {
            becomes(name, name);
        }
    }

    #[test]
    fn only_the_last_component_is_left() {
        for (name, expected) in [
            ("../x", "x"),
            ("../../../../etc/passwd", "passwd"),
            ("/etc/passwd", "passwd"),
            ("C:\\Windows\\win.ini", "win.ini"),
            ("..\\x", "x"),
            ("a/../b", "b"),
            ("x/\0y", "y"),
        ] {
            becomes(name, expected);
        }
    }

    #[test]
    fn what_leaves_no_name_is_none() {
        for name in [
            "", ".", "..", "...", "/", "a/", "a/..", "\\", " ", " . ", "\0", "-", "--", ".-", "\u{202E}",
            "\t",
        ] {
            assert_eq!(clean(name), None, "{name:?}");
        }
    }

    #[test]
    fn what_a_terminal_would_obey_is_dropped() {
        becomes("a\0b\r\n\x1b[31mc\x7f\u{9b}.txt", "ab[31mc.txt");
        becomes("exe\u{202E}gnp.x\u{2066}", "exegnp.x");
        becomes("tab\there", "tabhere");
    }

    #[test]
    fn hidden_files_and_options_and_our_own_remains_are_guarded() {
        becomes(".profile", "_profile");
        becomes(".onepoll-0-0.part", "_onepoll-0-0.part");
        becomes("...x", "__x");
        becomes("-rf", "_rf");
        becomes("x-y.z", "x-y.z");
        becomes("  x. . ", "x");
        becomes("\u{3000}x\u{3000}. \u{a0}.", "x");
    }

    #[test]
    fn devices_are_guarded() {
        for device in ["CON", "nul", "Aux.txt", "com1", "LPT9.a.b", "COM¹.x", "conin$", "PRN .txt"] {
            becomes(device, &format!("_{device}"));
        }
        for name in ["CONSOLE", "COM", "COM10", "nul-x", "xNUL"] {
            becomes(name, name);
        }
    }

    #[test]
    fn devices_that_are_left_of_long_names_are_guarded() {
        for (name, expected) in [("CON", "_CON"), ("nul", "_nul"), ("xCON", "xCON")] {
            becomes(&format!("{name}{}x", " ".repeat(300)), expected);
            becomes(&format!("{name}{}x.txt", " ".repeat(300)), &format!("{expected}.txt"));
        }
    }

    #[test]
    fn long_names_are_cut_before_their_extension() {
        let most = limits::FILE_NAME_BYTES_MAX;
        let name = clean(&format!("{}.txt", "x".repeat(5000))).expect("a name");
        assert_eq!((name.len(), &name[most - 4..]), (most, ".txt"));
        let name = clean(&"你".repeat(5000)).expect("a name");
        assert_eq!(name.len(), most - most % 3);
        let name = clean(&format!("a.{}", "x".repeat(5000))).expect("a name");
        assert_eq!(name.len(), most);
        // Of two halves, the second may be the extension; what is longer is none.
        let half = format!(".{}", "y".repeat(most / 2 - 1));
        let name = clean(&format!("{}{half}", "x".repeat(5000))).expect("a name");
        assert_eq!(name, format!("{}{half}", "x".repeat(most - half.len())));
        let name = clean(&format!("{}{half}y", "x".repeat(5000))).expect("a name");
        assert_eq!(name, "x".repeat(most));
    }

    #[test]
    fn numbers_go_before_the_extension() {
        assert_eq!(numbered("report.pdf", 1), "report-1.pdf");
        assert_eq!(numbered("Makefile", 12), "Makefile-12");
        assert_eq!(numbered("_profile", 3), "_profile-3");
        assert_eq!(numbered(".profile", 3), ".profile-3");
    }

    proptest! {
        #[test]
        fn every_name_that_comes_out_is_one_harmless_component(name in "[./\\\\\\-~ a-cCONUL1\u{202E}\u{0}-\u{1f}你]{0,16}|\\PC*") {
            let Some(clean) = clean(&name) else { return Ok(()) };
            let path = std::path::Path::new(&clean);
            let components: Vec<_> = path.components().collect();
            prop_assert_eq!(components.len(), 1);
            prop_assert!(matches!(components[0], std::path::Component::Normal(_)));
            prop_assert!(!clean.starts_with(['.', '-', ' ']) && !clean.ends_with(' '));
            prop_assert!(!clean.chars().any(|c| c.is_control() || c == '/' || c == '\\'));
            prop_assert!(clean.len() <= limits::FILE_NAME_BYTES_MAX);
            prop_assert_eq!(super::clean(&clean), Some(clean.clone()), "cleaning again changes nothing");
            prop_assert!(numbered(&clean, limits::FILE_NUMBERS_MAX).len() <= 255);
        }
    }
}
