//! A stream has no messages: two lines in one read, one line in three (tcp(7), recv(2)).
//!
//! Python: `sock.makefile().readline()` hides this behind a buffer. [`LineDecoder`] is the same without a
//! socket: it is shown bytes as they come and says when there is a line.

use std::io;
use std::net::Shutdown;

use super::{Lesson, Narrator, pair, show, wait_for_bytes};
use crate::codec::line::{Decoded, Dialect, LineDecoder};

pub(super) const LESSON: Lesson = Lesson {
    name: "framing",
    about: "two lines in one read, one line in three; what makefile is for",
    remember: "recv returns bytes, not messages: as many as happen to be there. Where a message ends must \
               be in the bytes themselves (a line end, a length), so keep what is unfinished, look for the \
               end, and bound how much you keep. Decode text only when it is whole.",
    run,
};

const LINE_BYTES_MAX: usize = 4096;

fn run(lab: &mut Narrator) -> io::Result<()> {
    let (client, server) = pair()?;
    let mut buffer = [0; 8192];
    let mut lines = Lines::default();

    lab.say("Two lines, sent by two calls. When the server comes to read, both are there:");
    lab.send("client", &client, b"hello\n")?;
    lab.send("client", &client, b"world\n")?;
    wait_for_bytes(&server, 12)?;
    let bytes = lab.recv("server", &server, &mut buffer)?;
    let found = lines.feed(&buffer[..bytes]);
    lab.claim("two sends can be one read", format!("{bytes} bytes"), bytes == 12);
    lab.claim("a decoder finds both lines in it", format!("{found:?}"), found == ["hello", "world"]);

    lab.say(
        "One line, \"你好\\n\" (7 bytes: each of the two characters has 3), as a network may cut it: inside \
         the first character, and inside the second.",
    );
    let line = "你好\n".as_bytes();
    let mut found = Vec::new();
    let mut reads_of_text = 0;
    for part in [&line[..2], &line[2..4], &line[4..]] {
        lab.send("client", &client, part)?;
        let bytes = lab.recv("server", &server, &mut buffer)?;
        reads_of_text += usize::from(str::from_utf8(&buffer[..bytes]).is_ok());
        found.push(lines.feed(&buffer[..bytes]));
    }
    lab.claim(
        "a read can end inside a character: its bytes are no text (a UnicodeDecodeError)",
        format!("{reads_of_text} of 3 reads are UTF-8"),
        reads_of_text == 0,
    );
    lab.claim(
        "one line can take three reads",
        format!("{found:?}"),
        found == [vec![], vec![], vec!["你好".to_owned()]],
    );

    let message = "hello\nworld\n你好\n".as_bytes();
    let whole = Lines::default().feed(message);
    let cuts = (0..message.len()).filter(|at| {
        let mut lines = Lines::default();
        let (front, back) = message.split_at(*at);
        [lines.feed(front), lines.feed(back)].concat() == whole
    });
    let same = cuts.count();
    lab.claim(
        "the lines are the same wherever the stream is cut",
        format!("{same} of {} cuts", message.len()),
        same == message.len(),
    );

    lab.say(
        "A line that never ends would be kept for ever: readline() of a makefile would take all memory \
         there is. A decoder has a bound, here 4,096 bytes:",
    );
    lab.send("client", &client, &[b'x'; 5000])?;
    wait_for_bytes(&server, 5000)?;
    let bytes = lab.recv("server", &server, &mut buffer)?;
    let found = lines.feed(&buffer[..bytes]);
    lab.claim(
        "a line without an end is given up at the bound",
        format!("{found:?}, {} bytes kept", lines.kept.len()),
        found == ["(too long)"] && lines.kept.len() <= LINE_BYTES_MAX,
    );

    lab.say("The last line may have no end at all: then the end of the stream is its end.");
    lab.send("client", &client, b"\nbye")?;
    lab.call("shutdown(client, SHUT_WR)", || client.shutdown(Shutdown::Write))?;
    let bytes = lab.recv("server", &server, &mut buffer)?;
    let unfinished = lines.feed(&buffer[..bytes]);
    let end = lab.recv("server", &server, &mut buffer)?;
    let last = lines.finish();
    lab.claim(
        "the end of the stream ends the last line",
        format!("{unfinished:?}, then {}", show::quoted(last.as_bytes())),
        unfinished.is_empty() && end == 0 && last == "bye",
    );
    Ok(())
}

/// What a `makefile` is: a decoder, and the bytes that it is not done with.
#[derive(Default)]
struct Lines {
    decoder: LineDecoder,
    kept: Vec<u8>,
}

impl Lines {
    /// The lines that these bytes complete.
    fn feed(&mut self, bytes: &[u8]) -> Vec<String> {
        self.kept.extend_from_slice(bytes);
        let mut lines = Vec::new();
        loop {
            let consumed = match self.decoder.decode(&self.kept, Dialect::Raw, LINE_BYTES_MAX) {
                Decoded::Line { line, consumed } => {
                    lines.push(String::from_utf8_lossy(line).into_owned());
                    consumed
                }
                Decoded::TooLong { consumed } => {
                    lines.push("(too long)".into());
                    consumed
                }
                Decoded::Incomplete { consumed } => {
                    self.kept.drain(..consumed);
                    return lines;
                }
                // The raw dialect has no telnet.
                Decoded::TelnetReply(_) => return lines,
            };
            self.kept.drain(..consumed);
        }
    }

    /// What is left when the stream ends.
    fn finish(&mut self) -> String {
        String::from_utf8_lossy(self.decoder.decode_last(&self.kept).unwrap_or_default()).into_owned()
    }
}
