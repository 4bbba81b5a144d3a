//! Lengths of time, sizes and dates as people write them: `5m`, `64KiB`, `2026-01-31`. The unit is never guessed.

use std::time::Duration;

use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

/// `30s`, `5m`, `24h`, `1h 30m`; `Err` tells how to write it.
pub(super) fn duration(text: &str) -> Result<Duration, &'static str> {
    humantime::parse_duration(text.trim()).map_err(|_| "Write a number and a unit: 500ms, 30s, 5m, 24h, 7d.")
}

/// Bytes: `64KiB` (1024s), `10MB` (1000s), `512B`, or a bare number of bytes.
pub(super) fn size(text: &str) -> Result<u64, &'static str> {
    const HOW: &str = "Write a number and a unit: 512B, 64KiB, 1MiB, 5GiB.";
    let text = text.trim();
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at(digits);
    let number: u64 = number.parse().map_err(|_| HOW)?;
    let factor: u64 = match unit.trim_start() {
        "" | "B" => 1,
        "kB" | "KB" => 1000,
        "MB" => 1_000_000,
        "GB" => 1_000_000_000,
        "TB" => 1_000_000_000_000,
        "KiB" => 1 << 10,
        "MiB" => 1 << 20,
        "GiB" => 1 << 30,
        "TiB" => 1 << 40,
        _ => return Err(HOW),
    };
    number.checked_mul(factor).ok_or(HOW)
}

/// `2026-01-31` (its first instant, UTC) or RFC 3339 with a time.
pub(super) fn date(text: &str) -> Result<OffsetDateTime, &'static str> {
    let text = text.trim();
    let whole = if text.len() == 10 { format!("{text}T00:00:00Z") } else { text.to_owned() };
    OffsetDateTime::parse(&whole, &Rfc3339).map_err(|_| "Write 2026-01-31 or 2026-01-31T12:00:00Z.")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn units_are_read() {
        assert_eq!(duration("5m"), Ok(Duration::from_secs(300)));
        assert_eq!(duration("1h 30m"), Ok(Duration::from_secs(5400)));
        assert_eq!(size("64KiB"), Ok(65536));
        assert_eq!(size("5 GiB"), Ok(5 << 30));
        assert_eq!(size("10MB"), Ok(10_000_000));
        assert_eq!(size("0"), Ok(0));
        assert_eq!(date("1970-01-02").unwrap().unix_timestamp(), 86_400);
        assert_eq!(date("1970-01-01T01:00:00+01:00").unwrap().unix_timestamp(), 0);
    }

    #[test]
    fn guesses_are_refused() {
        for bad in ["", "5", "5 parsecs", "-5m", "m"] {
            assert!(duration(bad).is_err(), "{bad:?}");
        }
        for bad in ["", "KiB", "1.5MiB", "64K", "64kib", "-1", "99999999999TiB"] {
            assert!(size(bad).is_err(), "{bad:?}");
        }
        for bad in ["", "yesterday", "2026-02-30", "2026-1-1", "2026-01-01 12:00"] {
            assert!(date(bad).is_err(), "{bad:?}");
        }
    }
}
