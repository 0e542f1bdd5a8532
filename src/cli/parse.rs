//! What arguments look like: sizes, durations, rates, policies.

use std::time::Duration;

use crate::chat::config::{Rate, SlowPolicy};
use crate::event_loop::address::Address;
use crate::limits;

/// `512`, `64K`, `1M`: bytes.
pub(super) fn bytes(text: &str) -> Result<usize, String> {
    let bytes = scaled_bytes(text, "KM", "512, 64K or 1M")?;
    usize::try_from(bytes).map_err(|_| TOO_MANY_BYTES.into())
}

/// The same for a recording, which needs some to begin with.
pub(super) fn recording_bytes(text: &str) -> Result<u64, String> {
    match bytes(text)? as u64 {
        few @ ..limits::RECORDING_BYTES_MIN => {
            Err(format!("{few} bytes are too few: at least {}", limits::RECORDING_BYTES_MIN))
        }
        enough => Ok(enough),
    }
}

/// `512K`, `32M`, `2G`: bytes of memory.
pub(super) fn memory_bytes(text: &str) -> Result<u64, String> {
    scaled_bytes(text, "KMG", "32M or 2G")
}

/// `512M`, `4G`, `1T`: bytes of a file.
#[cfg(feature = "course")]
pub(super) fn file_bytes(text: &str) -> Result<u64, String> {
    scaled_bytes(text, "KMGT", "512M or 4G")
}

/// What is to stay free of a disk.
#[cfg(feature = "course")]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reserve {
    Bytes(u64),
    /// At most 100.
    Percent(u64),
}

/// `512M`, `5%`.
#[cfg(feature = "course")]
pub(super) fn reserve(text: &str) -> Result<Reserve, String> {
    match text.strip_suffix('%') {
        None => file_bytes(text).map(Reserve::Bytes).map_err(|why| format!("{why}, or a percentage, as 5%")),
        Some(percent) => match percent.parse() {
            Ok(percent @ 0..=100) => Ok(Reserve::Percent(percent)),
            _ => Err("0% to 100%".into()),
        },
    }
}

const TOO_MANY_BYTES: &str = "more bytes than there can be";

/// A number, and perhaps one of these units, each 1,024 of the one before.
fn scaled_bytes(text: &str, units: &str, examples: &str) -> Result<u64, String> {
    let unit = text.chars().last().and_then(|last| units.find(last.to_ascii_uppercase()));
    let (digits, shift) = match unit {
        Some(at) => (&text[..text.len() - 1], 10 * (at + 1)),
        None => (text, 0),
    };
    let number: u64 = digits.parse().map_err(|_| format!("a number of bytes, as {examples}"))?;
    number.checked_mul(1 << shift).ok_or_else(|| TOO_MANY_BYTES.into())
}

/// An address that peers connect to, not one that they send datagrams to.
pub(super) fn stream_address(text: &str) -> Result<Address, String> {
    let address: Address = text.parse()?;
    if address.is_datagram() {
        return Err("needs a stream: HOST:PORT or unix:PATH, not udp: or unixgram:".into());
    }
    Ok(address)
}

/// `2`, `0.5`: seconds.
pub(super) fn seconds(text: &str) -> Result<Duration, String> {
    scaled(text, 1.0).ok_or_else(|| "a number of seconds, as 2 or 0.5".into())
}

/// The same, but more than none: for what has to end some time.
#[cfg(feature = "course")]
pub(super) fn some_seconds(text: &str) -> Result<Duration, String> {
    match seconds(text)? {
        Duration::ZERO => Err("more than 0 seconds".into()),
        some => Ok(some),
    }
}

/// `12.5`, `12.5s`: a moment, in seconds since the start.
pub(super) fn moment(text: &str) -> Result<Duration, String> {
    scaled(text.strip_suffix('s').unwrap_or(text), 1.0)
        .ok_or_else(|| "a number of seconds, as 12.5 or 12.5s".into())
}

/// `20`, `0.5`: milliseconds.
pub(super) fn milliseconds(text: &str) -> Result<Duration, String> {
    scaled(text, 1e-3).ok_or_else(|| "a number of milliseconds, as 20 or 0.5".into())
}

fn scaled(text: &str, unit_s: f64) -> Option<Duration> {
    let number: f64 = text.parse().ok().filter(|number: &f64| !number.is_nan())?;
    let seconds = (number * unit_s).min(limits::FOR_EVER.as_secs_f64());
    Duration::try_from_secs_f64(seconds).ok()
}

/// `skip`, `close`, `wait:SECONDS`.
pub(super) fn slow(text: &str) -> Result<SlowPolicy, String> {
    match text {
        "skip" => Ok(SlowPolicy::Skip),
        "close" => Ok(SlowPolicy::Close),
        _ => match text.strip_prefix("wait:") {
            Some(patience) => seconds(patience).map(SlowPolicy::Wait),
            None => Err("skip, close or wait:SECONDS".into()),
        },
    }
}

/// `LINES_PER_SECOND[:BURST]` or `off`. Without a burst, ten seconds' worth may come at once.
pub(super) fn rate(text: &str) -> Result<RateLimit, String> {
    let rate = rate_and_burst(text).ok_or("LINES_PER_SECOND[:BURST] or off; both at least 1")?;
    Ok(RateLimit(rate.map(|(lines_per_second, burst)| Rate {
        lines_per_second,
        burst_lines: burst.unwrap_or(lines_per_second.saturating_mul(10)),
    })))
}

/// `CONNECTS_PER_MINUTE[:BURST]` or `off`.
pub(super) fn connect_rate(text: &str) -> Result<ConnectLimit, String> {
    let rate = rate_and_burst(text).ok_or("CONNECTS_PER_MINUTE[:BURST] or off; both at least 1")?;
    Ok(ConnectLimit(rate))
}

/// A rate, and how many at once if that is said; `Some(None)`: off.
#[allow(clippy::option_option, reason = "off is an answer")]
fn rate_and_burst(text: &str) -> Option<Option<(u32, Option<u32>)>> {
    if text == "off" {
        return Some(None);
    }
    let (rate, burst) = text.split_once(':').map_or((text, None), |(rate, burst)| (rate, Some(burst)));
    let at_least_one = |text: &str| text.parse().ok().filter(|number: &u32| *number > 0);
    let rate = at_least_one(rate).filter(|rate| *rate <= 1_000_000_000)?;
    let burst = match burst {
        Some(burst) => Some(at_least_one(burst)?),
        None => None,
    };
    Some(Some((rate, burst)))
}

/// A rate, or none: a type of its own, for clap takes an `Option` as an argument that may be absent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct RateLimit(pub(super) Option<Rate>);

/// The same for newcomers: how many a minute, and at once if that is said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct ConnectLimit(pub(super) Option<(u32, Option<u32>)>);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_have_units() {
        assert_eq!(bytes("512"), Ok(512));
        assert_eq!(bytes("64K"), Ok(65536));
        assert_eq!(bytes("1m"), Ok(1 << 20));
        for wrong in ["", "K", "-1", "1G", "99999999999999999999", "18446744073709551615M"] {
            assert!(bytes(wrong).is_err(), "{wrong}");
        }
    }

    #[cfg(feature = "course")]
    #[test]
    fn files_are_larger() {
        assert_eq!(file_bytes("7"), Ok(7));
        assert_eq!(file_bytes("4g"), Ok(4 << 30));
        assert_eq!(file_bytes("1T"), Ok(1 << 40));
        for wrong in ["", "G", "-1", "1GG", "1X", "17000000T"] {
            assert!(file_bytes(wrong).is_err(), "{wrong}");
        }
    }

    #[cfg(feature = "course")]
    #[test]
    fn what_stays_free_is_bytes_or_a_part() {
        assert_eq!(reserve("2G"), Ok(Reserve::Bytes(2 << 30)));
        assert_eq!(reserve("0"), Ok(Reserve::Bytes(0)));
        assert_eq!(reserve("100%"), Ok(Reserve::Percent(100)));
        for wrong in ["", "%", "101%", "-1%", "1.5%", "5 %", "half"] {
            assert!(reserve(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn durations_may_have_fractions() {
        assert_eq!(seconds("0.5"), Ok(Duration::from_millis(500)));
        assert_eq!(milliseconds("20"), Ok(Duration::from_millis(20)));
        assert_eq!(moment("12.5s"), moment("12.5"));
        assert_eq!(moment("12.5s"), Ok(Duration::from_millis(12_500)));
        assert_eq!(seconds("1e300"), seconds("3153600000"));
        for wrong in ["", "-1", "nan", "soon"] {
            assert!(seconds(wrong).is_err() && moment(wrong).is_err(), "{wrong}");
        }
        #[cfg(feature = "course")]
        assert!(some_seconds("0").is_err() && some_seconds("0.5").is_ok());
    }

    #[test]
    fn policies_and_rates_are_explained() {
        assert_eq!(slow("wait:2"), Ok(SlowPolicy::Wait(Duration::from_secs(2))));
        assert!(slow("wait").is_err());
        assert_eq!(rate("off"), Ok(RateLimit(None)));
        let explicit = Rate { lines_per_second: 5, burst_lines: 7 };
        assert_eq!(rate("5:7"), Ok(RateLimit(Some(explicit))));
        assert_eq!(rate("5"), Ok(RateLimit(Some(Rate { burst_lines: 50, ..explicit }))));
        assert_eq!(connect_rate("off"), Ok(ConnectLimit(None)));
        assert_eq!(connect_rate("5"), Ok(ConnectLimit(Some((5, None)))));
        assert_eq!(connect_rate("5:7"), Ok(ConnectLimit(Some((5, Some(7))))));
        for wrong in ["0", "5:0", ":5", "fast", "-1", "5000000000"] {
            assert!(rate(wrong).is_err() && connect_rate(wrong).is_err(), "{wrong}");
        }
    }
}
