//! Sizes of memory, as options have them: `512` (MiB), `512M`, `2G`, `500MB`; and rates: `100MB/s`.

use std::str::FromStr;

/// Bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Size(u64);

impl Size {
    pub(crate) fn bytes(self) -> u64 {
        self.0
    }
}

/// What may stand behind the number, and what it is worth. The shorter ones last: they end the longer ones.
const UNITS: [(&str, u64); 12] = [
    ("KiB", 1 << 10),
    ("MiB", 1 << 20),
    ("GiB", 1 << 30),
    ("TiB", 1 << 40),
    ("kB", 1_000),
    ("MB", 1_000_000),
    ("GB", 1_000_000_000),
    ("TB", 1_000_000_000_000),
    ("K", 1 << 10),
    ("M", 1 << 20),
    ("G", 1 << 30),
    ("T", 1 << 40),
];

impl FromStr for Size {
    type Err = String;

    fn from_str(text: &str) -> Result<Size, String> {
        let unit = UNITS.iter().find_map(|(unit, bytes)| Some((text.strip_suffix(unit)?, *bytes)));
        let (number, unit) = unit.unwrap_or((text, 1 << 20));
        let digits = !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit());
        let number = number.parse::<u64>().ok().filter(|_| digits);
        let bytes = number.and_then(|number| number.checked_mul(unit));
        bytes.map(Size).ok_or_else(|| "write it as 512 (MiB), 512M, 2G or 500MB".to_owned())
    }
}

/// Bytes a second.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Rate(u64);

/// With less, the pieces of all that may leave a node at a time would come so late that their targets gave them up.
const RATE_MIN: u64 = 4_000_000;

impl Rate {
    pub(crate) fn bytes_per_s(self) -> u64 {
        self.0
    }
}

impl FromStr for Rate {
    type Err = String;

    fn from_str(text: &str) -> Result<Rate, String> {
        let size = text.strip_suffix("/s").unwrap_or(text);
        let has_unit = !size.ends_with(|last: char| last.is_ascii_digit());
        let size = size.parse::<Size>().ok().filter(|_| has_unit);
        let size = size.ok_or("write it as 100MB/s or 64MiB/s")?;
        let least = format!("{} MB/s at least", RATE_MIN / 1_000_000);
        (size.bytes() >= RATE_MIN).then_some(Rate(size.bytes())).ok_or(least)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_have_units() {
        let check = |text: &str, bytes: Option<u64>| {
            assert_eq!(text.parse().ok().map(Size::bytes), bytes, "{text}");
        };
        check("512", Some(512 << 20));
        check("0", Some(0));
        check("512M", Some(512 << 20));
        check("2G", Some(2 << 30));
        check("2GiB", Some(2 << 30));
        check("500MB", Some(500_000_000));
        check("64kB", Some(64_000));
        for wrong in ["", "G", "-1", "+1", "1.5G", "1 G", "1g", "99999999999T", "much"] {
            check(wrong, None);
        }
    }

    #[test]
    fn rates_have_units_and_are_not_too_low() {
        let check = |text: &str, rate: Option<u64>| {
            assert_eq!(text.parse().ok().map(Rate::bytes_per_s), rate, "{text}");
        };
        check("100MB/s", Some(100_000_000));
        check("64MiB/s", Some(64 << 20));
        check("1G", Some(1 << 30));
        check("4MB/s", Some(4_000_000));
        for wrong in ["", "100", "100/s", "3MB/s", "0MB/s", "100MB/m", "/s", "fast"] {
            check(wrong, None);
        }
    }
}
