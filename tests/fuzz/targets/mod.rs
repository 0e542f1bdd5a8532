//! What holds for any bytes at all, one function for each place where they come in: it panics where that does not
//! hold. The smoke test calls them, and so does libFuzzer (`libfuzzer/Cargo.toml` tells how); they use nothing but
//! the public interface, and judge by other means than the code under test.

/// The loop and the chat.
#[cfg(feature = "simulation")]
pub mod core;
/// File names and headers of transfers.
#[cfg(feature = "course")]
pub mod files;
/// Heads of HTTP requests.
pub mod http;
/// Lines, and the text in them.
pub mod lines;
/// Recordings.
pub mod recording;

/// A target's name, which is its corpus's, too, and its function.
pub type Target = (&'static str, fn(&[u8]));

/// All of them.
pub const ALL: &[Target] = &[
    ("lines", lines::lines),
    ("text", lines::text),
    ("http_head", http::head),
    #[cfg(feature = "course")]
    ("transfer_header", files::header),
    #[cfg(feature = "course")]
    ("transfer_answer", files::answer),
    #[cfg(feature = "course")]
    ("file_name", files::name),
    ("recording", recording::recording),
    #[cfg(feature = "simulation")]
    ("core", core::core),
];

/// The input in pieces: `choice` says how large, 0: one byte each.
fn pieces(input: &[u8], choice: u8) -> impl Iterator<Item = &[u8]> {
    let mut rest = input;
    let mut state = u32::from(choice);
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        // A linear congruential generator (Numerical Recipes): what matters is that sizes differ.
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        let most = if choice == 0 { 1 } else { 1 + (state >> 16) as usize % (usize::from(choice) * 2) };
        let (piece, behind) = rest.split_at(most.min(rest.len()));
        rest = behind;
        Some(piece)
    })
}
