//! The wire format of file transfer.
//!
//! On a connection of its own for each file, a sender says:
//!
//! 1. the length of the header, 4 bytes, little-endian (Python's `struct.pack("i", …)`);
//! 2. the header, UTF-8 JSON: `{"action": "upload", "filename": NAME, "filesize": BYTES}`;
//! 3. exactly `filesize` bytes; where that is no number, all bytes up to the end of the connection;
//! 4. if the header has `"trailer": "blake3"`, the 32 bytes of the BLAKE3 hash of those bytes.
//!
//! A receiver answers with a line of JSON and closes: `{"status": "ok", "bytes": BYTES, "blake3": HEX}` or
//! `{"status": "error", "error": TEXT}`. Classic receivers answer nothing, and stop before the trailer.
//!
//! To go on with a broken transfer, the header has `"resume": IDENTITY`, a word that changes whenever the
//! file does. A receiver that knows the field says at once, before anything else, `{"status": "resume",
//! "offset": N}`: it holds the first N bytes of a file of that name, size and identity. Where N is not 0 it
//! reads them again and says `{"status": "resume", "offset": N, "blake3": HEX}`, their hash. A sender
//! whose own first N bytes have that hash sends the 32 bytes of it, and then what is behind N. Any
//! sender may send the file from its first byte instead, at any time: it did not see an offer, waits no
//! longer, or has other bytes. The receiver tells the two apart by the 32 bytes, for no file begins
//! with the hash of a part of itself; so nobody has to guess what the other has seen.
//!
//! Names are made fit for a folder by [`name::clean`].

pub mod name;

use std::fmt;
use std::time::Duration;

use blake3::Hash;
use serde_json::Value;

use crate::limits;

/// Bytes of the header's length.
const LENGTH_BYTES: usize = 4;

/// Bytes of a hash: of the trailer, and of what takes up an offer to resume.
pub const HASH_BYTES: usize = blake3::OUT_LEN;

/// What a sender announces.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Header {
    /// The name as the sender gave it: anything at all.
    pub name: String,
    /// Bytes of the file; `None`: it ends where the connection ends.
    pub bytes: Option<u64>,
    /// Whether the hash of the file follows it.
    pub has_trailer: bool,
    /// What tells this file from others of its name and size, if the sender wants to go on where an earlier
    /// transfer broke off.
    pub resume: Option<String>,
}

/// What the front of a sender's bytes holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Decoded {
    /// The header is not all there yet; at most [`limits::TRANSFER_HEADER_BYTES_MAX`] and 4 bytes are to be kept.
    Incomplete,
    /// No header can come of it.
    Malformed(Malformed),
    /// The header, which ends after `length` bytes.
    Complete {
        /// What it says.
        header: Header,
        /// Bytes done with.
        length: usize,
    },
}

/// What is wrong with a header.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Malformed {
    /// Its length is out of bounds: more than likely the sender speaks another protocol.
    Length(i32),
    /// It is no JSON; why.
    Json(String),
    /// It is JSON, but no object.
    NotAnObject,
    /// It has no `filename` that is a string.
    NoName,
    /// Its `filesize` is a number that counts no bytes.
    Size(String),
    /// Its `trailer` is none that is known.
    Trailer,
    /// A trailer cannot be found without a size.
    TrailerWithoutSize,
    /// It asks for a file instead of sending one.
    Asks,
}

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Malformed::Length(length) => {
                let most = limits::TRANSFER_HEADER_BYTES_MAX;
                write!(f, "what comes first is no header's length: {length}, which has to be 2 to {most}")
            }
            Malformed::Json(why) => write!(f, "the header is no JSON: {why}"),
            Malformed::NotAnObject => f.write_str("the header is no JSON object"),
            Malformed::NoName => f.write_str("the header has no filename"),
            Malformed::Size(size) => write!(f, "filesize {size}: no number of bytes"),
            // Not which: it may be as long as a header.
            Malformed::Trailer => f.write_str("of trailers only \"blake3\" is known"),
            Malformed::TrailerWithoutSize => f.write_str("a trailer needs a filesize before it"),
            Malformed::Asks => f.write_str("files are taken here, not given"),
        }
    }
}

/// Looks for a header in `input`, which begins where the connection began. Costs next to nothing while it
/// is incomplete, and allocates by what came, not by what was announced.
#[must_use]
pub fn decode(input: &[u8]) -> Decoded {
    let Some((length, rest)) = input.split_first_chunk::<LENGTH_BYTES>() else { return Decoded::Incomplete };
    let announced = i32::from_le_bytes(*length);
    let length = match usize::try_from(announced) {
        // Nothing shorter is an object.
        Ok(length) if (2..=limits::TRANSFER_HEADER_BYTES_MAX).contains(&length) => length,
        _ => return Decoded::Malformed(Malformed::Length(announced)),
    };
    let Some(json) = rest.get(..length) else { return Decoded::Incomplete };
    match decode_json(json) {
        Ok(header) => Decoded::Complete { header, length: LENGTH_BYTES + length },
        Err(malformed) => Decoded::Malformed(malformed),
    }
}

fn decode_json(json: &[u8]) -> Result<Header, Malformed> {
    let value: Value = serde_json::from_slice(json).map_err(|error| Malformed::Json(error.to_string()))?;
    let fields = value.as_object().ok_or(Malformed::NotAnObject)?;
    let text = |field| fields.get(field).and_then(Value::as_str);
    if matches!(text("action"), Some("download" | "get")) {
        return Err(Malformed::Asks);
    }
    let name = text("filename").ok_or(Malformed::NoName)?.to_string();
    let bytes = match fields.get("filesize") {
        // Numbers that are negative, broken or beyond 64 bits are a lie or a mistake.
        Some(Value::Number(size)) => Some(size.as_u64().ok_or_else(|| Malformed::Size(size.to_string()))?),
        // A known slip of classic senders, which repeat the name here.
        _ => None,
    };
    let has_trailer = match fields.get("trailer") {
        None | Some(Value::Null) => false,
        Some(Value::String(kind)) if kind == "blake3" => true,
        Some(_) => return Err(Malformed::Trailer),
    };
    if has_trailer && bytes.is_none() {
        return Err(Malformed::TrailerWithoutSize);
    }
    // Without a trailer nothing would show that the parts belong together.
    let resume = text("resume")
        .filter(|identity| has_trailer && (1..=limits::FILE_IDENTITY_BYTES_MAX).contains(&identity.len()))
        .map(String::from);
    Ok(Header { name, bytes, has_trailer, resume })
}

impl Header {
    /// The bytes that announce it, its length included. A name that makes it longer than a receiver takes
    /// is for the receiver to refuse.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut json = format!(r#"{{"action": "upload", "filename": {}"#, quoted(&self.name));
        match self.bytes {
            Some(bytes) => json += &format!(r#", "filesize": {bytes}"#),
            None => json += r#", "filesize": null"#,
        }
        if self.has_trailer {
            json += r#", "trailer": "blake3""#;
        }
        if let Some(identity) = &self.resume {
            json += &format!(r#", "resume": {}"#, quoted(identity));
        }
        json.push('}');
        // No name that a system knows comes near it.
        let length = i32::try_from(json.len()).unwrap_or(i32::MAX);
        [&length.to_le_bytes()[..], json.as_bytes()].concat()
    }
}

/// What a receiver says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// The file is there.
    Done {
        /// Its bytes.
        bytes: u64,
        /// Their hash.
        hash: Hash,
        /// Its name, where that is not the one that the sender gave.
        name: Option<String>,
        /// What could not be checked.
        warning: Option<String>,
    },
    /// It is not; why.
    Failed(String),
    /// A part of it is there already.
    Resume {
        /// Bytes of that part, from the file's beginning.
        offset: u64,
        /// Their hash, once it is known.
        hash: Option<Hash>,
    },
}

impl Answer {
    /// The answer as a line, its end included.
    #[must_use]
    pub fn encode(&self) -> String {
        let mut json = match self {
            Answer::Done { bytes, hash, .. } => {
                format!(r#"{{"status": "ok", "bytes": {bytes}, "blake3": "{hash}""#)
            }
            Answer::Failed(why) => format!(r#"{{"status": "error", "error": {}"#, quoted(why)),
            Answer::Resume { offset, hash } => {
                let hash = hash.map_or(String::new(), |hash| format!(r#", "blake3": "{hash}""#));
                format!(r#"{{"status": "resume", "offset": {offset}{hash}"#)
            }
        };
        if let Answer::Done { name, warning, .. } = self {
            for (field, text) in [("filename", name), ("warning", warning)] {
                if let Some(text) = text {
                    json += &format!(r#", "{field}": {}"#, quoted(text));
                }
            }
        }
        json + "}\n"
    }

    /// The answer to people.
    #[must_use]
    pub fn in_words(&self) -> String {
        match self {
            Answer::Done { bytes, hash, name, warning } => {
                let name = name.as_ref().map_or(String::new(), |name| format!(", as {name}"));
                let warning = warning.as_ref().map_or(String::new(), |warning| format!("; {warning}"));
                format!("{bytes} bytes, blake3 {hash}{name}{warning}")
            }
            Answer::Failed(why) => why.clone(),
            Answer::Resume { offset, .. } => format!("{offset} bytes are there already"),
        }
    }

    /// Reads a line, with or without its end; `None` where it is no answer.
    #[must_use]
    pub fn decode(line: &[u8]) -> Option<Answer> {
        let value: Value = serde_json::from_slice(line).ok()?;
        let text = |field| value.get(field).and_then(Value::as_str);
        let number = |field| value.get(field).and_then(Value::as_u64);
        let hash = || text("blake3").and_then(|hex| Hash::from_hex(hex).ok());
        Some(match text("status")? {
            "ok" => Answer::Done {
                bytes: number("bytes")?,
                hash: hash()?,
                name: text("filename").map(String::from),
                warning: text("warning").map(String::from),
            },
            "error" => Answer::Failed(text("error")?.into()),
            "resume" => Answer::Resume { offset: number("offset")?, hash: hash() },
            _ => return None,
        })
    }
}

/// How long one side may take to read so many bytes again before it says what their hash is.
#[must_use]
pub fn check_time_max(bytes: u64) -> Duration {
    Duration::from_secs(bytes / limits::PART_BYTES_PER_SECOND_MIN)
}

/// A JSON string.
fn quoted(text: &str) -> String {
    Value::from(text).to_string()
}

#[cfg(test)]
mod tests;
