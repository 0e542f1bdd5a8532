//! What comes with a file from far away: its header, its name, and the answer to it.

use std::path::{Component, Path};

use onepoll::codec::transfer::name::{clean, numbered};
use onepoll::codec::transfer::{Answer, Decoded, Header, decode};
use onepoll::limits::{
    FILE_IDENTITY_BYTES_MAX, FILE_NAME_BYTES_MAX, FILE_NUMBERS_MAX, TRANSFER_HEADER_BYTES_MAX,
};

/// Bytes of the length before a header.
const LENGTH_BYTES: usize = 4;

/// The input is a sender's first bytes, the JSON of a header, and the name in one.
///
/// More bytes never change what was found, what is incomplete is bounded, and what was understood is announced again
/// in bytes that mean the same.
pub fn header(input: &[u8]) {
    check_header(input);
    let length = i32::try_from(input.len()).expect("inputs are short");
    check_header(&[&length.to_le_bytes()[..], input, b"body"].concat());

    let (numbers, text) = input.split_at(input.len().min(9));
    let bytes = numbers.first_chunk::<8>().map(|bytes| u64::from_le_bytes(*bytes));
    let text = String::from_utf8_lossy(text).into_owned();
    let has_trailer = bytes.is_some() && numbers.last().is_some_and(|byte| byte % 2 == 1);
    let resume = (has_trailer && (1..=FILE_IDENTITY_BYTES_MAX).contains(&text.len())).then(|| text.clone());
    check_encoded(&Header { name: text, bytes, has_trailer, resume });
}

fn check_header(input: &[u8]) {
    let whole = decode(input);
    let decisive = match &whole {
        Decoded::Incomplete => {
            assert!(input.len() < LENGTH_BYTES + TRANSFER_HEADER_BYTES_MAX);
            input.len() + 1
        }
        Decoded::Malformed(malformed) => {
            assert!(!malformed.to_string().is_empty());
            input.len()
        }
        Decoded::Complete { header, length } => {
            assert!((LENGTH_BYTES..=input.len()).contains(length));
            check_encoded(header);
            *length
        }
    };
    for end in 0..input.len() {
        let part = decode(&input[..end]);
        assert!(part == whole || (part == Decoded::Incomplete && end < decisive), "the first {end} bytes");
    }
}

fn check_encoded(header: &Header) {
    let bytes = header.encode();
    let length = bytes.len();
    let again = decode(&bytes);
    if length > LENGTH_BYTES + TRANSFER_HEADER_BYTES_MAX {
        assert!(matches!(again, Decoded::Malformed(_)), "too long, and it is {again:?}");
    } else {
        assert_eq!(again, Decoded::Complete { header: header.clone(), length });
    }
}

/// The input is a receiver's answer: what is understood is said again in one line that means the same.
pub fn answer(input: &[u8]) {
    let Some(answer) = Answer::decode(input) else { return };
    let line = answer.encode();
    assert_eq!(line.find('\n'), Some(line.len() - 1), "{line:?} is no line");
    assert!(!line[..line.len() - 1].contains(|c| c < ' '), "{line:?} has controls");
    assert_eq!(Answer::decode(line.as_bytes()), Some(answer.clone()));
}

/// The input is a name, then the same with its first half repeated until it is too long.
///
/// What comes out is one component of a path, below whatever it is put, in all systems; no terminal, shell or
/// Windows makes anything else of it; and it is clean.
pub fn name(input: &[u8]) {
    let name = String::from_utf8_lossy(input);
    check_name(&name);
    let half = name.floor_char_boundary(name.len() / 2);
    if half > 0 {
        let (first, second) = name.split_at(half);
        check_name(&(first.repeat(FILE_NAME_BYTES_MAX / half + 1) + second));
        check_name(&(first.to_string() + &" ".repeat(FILE_NAME_BYTES_MAX) + second));
    }
}

fn check_name(name: &str) {
    let Some(clean_name) = clean(name) else { return };
    check_component(&clean_name);
    assert!(clean_name.len() <= FILE_NAME_BYTES_MAX, "{} bytes", clean_name.len());
    assert_eq!(clean(&clean_name).as_ref(), Some(&clean_name), "cleaned again");
    for number in [1, FILE_NUMBERS_MAX] {
        let numbered = numbered(&clean_name, number);
        check_component(&numbered);
        // The longest name of Linux, macOS and Windows.
        assert!(numbered.len() <= 255, "{} bytes", numbered.len());
    }
}

fn check_component(name: &str) {
    let components: Vec<Component<'_>> = Path::new(name).components().collect();
    assert_eq!(components, [Component::Normal(name.as_ref())]);
    let root = Path::new("/root/of/all");
    assert_eq!(root.join(name).parent(), Some(root));
    assert!(!name.contains(['/', '\\']) && !name.chars().any(char::is_control), "{name:?}");
    assert!(!name.starts_with(['.', '-', ' ']), "{name:?}");
    assert!(!name.ends_with(['.', ' ']), "{name:?}");
    let stem = name.split('.').next().expect("a first part").trim_end().to_ascii_uppercase();
    let is_numbered = |kind| {
        let number = stem.strip_prefix(kind);
        number.is_some_and(|number: &str| "0123456789¹²³".contains(number) && number.chars().count() == 1)
    };
    let is_device = ["CON", "PRN", "AUX", "NUL", "CONIN$", "CONOUT$"].contains(&&*stem);
    assert!(!is_device && !is_numbered("COM") && !is_numbered("LPT"), "{name:?} is a device");
}
