//! The head of a recording: what the program was started with, so that a replay needs nothing else.

use std::ffi::OsString;
use std::os::unix::ffi::{OsStrExt, OsStringExt};

use super::entry::{Input, put_number};

/// What a recording begins with. What the arguments and facts mean is their program's affair.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Head {
    /// The version of the program that recorded.
    pub version: String,
    /// Whether there are lengths in place of bytes and numbers in place of addresses. Then there are no arguments
    /// and facts either.
    pub is_redacted: bool,
    /// The program's arguments.
    pub arguments: Vec<OsString>,
    /// What else it began with, by name.
    pub facts: Vec<(String, String)>,
}

impl Head {
    /// The fact of this name.
    #[must_use]
    pub fn fact(&self, name: &str) -> Option<&str> {
        self.facts.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    pub(super) fn encode(&self, out: &mut Vec<u8>) {
        put_text(out, self.version.as_bytes());
        out.push(u8::from(self.is_redacted));
        put_number(out, self.arguments.len() as u64);
        self.arguments.iter().for_each(|argument| put_text(out, argument.as_bytes()));
        put_number(out, self.facts.len() as u64);
        for (name, value) in &self.facts {
            put_text(out, name.as_bytes());
            put_text(out, value.as_bytes());
        }
    }

    pub(super) fn decode(input: &mut Input<'_>) -> Option<Self> {
        let version = string(input)?;
        let is_redacted = match input.byte()? {
            0 => false,
            1 => true,
            _ => return None,
        };
        // A list that claims more than there is ends at the first that is missing.
        let arguments = (0..input.number()?).map(|_| argument(input)).collect::<Option<_>>()?;
        let facts =
            (0..input.number()?).map(|_| Some((string(input)?, string(input)?))).collect::<Option<_>>()?;
        input.0.is_empty().then_some(Head { version, is_redacted, arguments, facts })
    }
}

fn put_text(out: &mut Vec<u8>, text: &[u8]) {
    put_number(out, text.len() as u64);
    out.extend_from_slice(text);
}

fn text<'a>(input: &mut Input<'a>) -> Option<&'a [u8]> {
    let length = usize::try_from(input.number()?).ok()?;
    input.bytes(length)
}

fn string(input: &mut Input<'_>) -> Option<String> {
    String::from_utf8(text(input)?.to_vec()).ok()
}

fn argument(input: &mut Input<'_>) -> Option<OsString> {
    Some(OsString::from_vec(text(input)?.to_vec()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_decoded_is_what_was_encoded_and_every_cut_is_seen() {
        let head = Head {
            version: "1.2.3".into(),
            is_redacted: false,
            arguments: vec!["serve".into(), OsString::from_vec(vec![0xff, b'\n'])],
            facts: vec![("motd".into(), "two\nlines\n".into()), ("zone".into(), String::new())],
        };
        let mut bytes = Vec::new();
        head.encode(&mut bytes);
        assert_eq!(Head::decode(&mut Input(&bytes)), Some(head.clone()));
        for cut in 0..bytes.len() {
            assert_eq!(Head::decode(&mut Input(&bytes[..cut])), None, "{cut}");
        }
        assert_eq!(head.fact("motd"), Some("two\nlines\n"));
        assert_eq!(head.fact("none"), None);
    }
}
