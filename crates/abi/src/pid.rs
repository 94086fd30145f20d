//! Process ids: 128 bits, part of it unguessable, the same before, during and after a move.

use std::fmt;
use std::hash::{Hash, Hasher};
use std::str::FromStr;

/// Names one process, wherever it runs.
///
/// The upper 64 bits are a number a person can read (chosen by whoever starts the process), the
/// lower 64 bits are random: a pid is a capability, and who was not given it cannot make it up.
///
/// Kept as two words: 128-bit numbers are aligned to 16 bytes, and so would the tag of each enum be that holds a pid,
/// which is then written in halves and read as a whole, at some nanoseconds each time.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Pid {
    number: u64,
    random: u64,
}

/// As one number: what goes over the wire.
impl serde::Serialize for Pid {
    fn serialize<S: serde::Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_u128(self.bits())
    }
}

impl<'d> serde::Deserialize<'d> for Pid {
    fn deserialize<D: serde::Deserializer<'d>>(from: D) -> Result<Pid, D::Error> {
        u128::deserialize(from).map(Pid::from_bits)
    }
}

impl Pid {
    /// A pid from its readable number and 64 random bits, which the caller draws.
    #[must_use]
    #[inline]
    pub const fn new(number: u64, random: u64) -> Self {
        Self { number, random }
    }

    /// All 128 bits.
    #[must_use]
    #[inline]
    pub const fn bits(self) -> u128 {
        ((self.number as u128) << 64) | self.random as u128
    }

    /// The pid of these 128 bits.
    #[must_use]
    #[inline]
    pub const fn from_bits(bits: u128) -> Self {
        Self { number: (bits >> 64) as u64, random: bits as u64 }
    }

    /// The readable half. Unique only among the processes of one starter.
    #[must_use]
    #[inline]
    pub const fn number(self) -> u64 {
        self.number
    }

    const fn random(self) -> u64 {
        self.random
    }
}

impl Hash for Pid {
    #[inline]
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u128(self.bits());
    }
}

/// `p81-00f3a9c2d4e5b677`: the number in decimal, the random half in 16 hexadecimal digits.
/// The alternate form, `{:#}`, is the short one for tables: `p81`. It grants nothing.
impl fmt::Display for Pid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "p{}", self.number())?;
        if f.alternate() { Ok(()) } else { write!(f, "-{:016x}", self.random()) }
    }
}

/// As [`fmt::Display`], so that logs and errors show what a user can type.
impl fmt::Debug for Pid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The text is not `pNUMBER-RANDOM`.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a process id: {0:?} (a process id looks like p81-00f3a9c2d4e5b677)")]
pub struct ParsePidError(String);

impl FromStr for Pid {
    type Err = ParsePidError;

    fn from_str(text: &str) -> Result<Self, ParsePidError> {
        parse(text).ok_or_else(|| ParsePidError(text.chars().take(64).collect()))
    }
}

fn parse(text: &str) -> Option<Pid> {
    let (number, random) = text.strip_prefix('p')?.split_once('-')?;
    let digits = |text: &str, radix| text.bytes().all(|byte| (byte as char).is_digit(radix));
    if !digits(number, 10) || !digits(random, 16) || random.len() != 16 {
        return None;
    }
    Some(Pid::new(number.parse().ok()?, u64::from_str_radix(random, 16).ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_round_trips() {
        for pid in [Pid::new(0, 0), Pid::new(81, 0xf3a9), Pid::new(u64::MAX, u64::MAX)] {
            assert_eq!(pid.to_string().parse(), Ok(pid));
            assert_eq!(Pid::from_bits(pid.bits()), pid);
        }
        assert_eq!(format!("{:#}", Pid::new(81, 7)), "p81");
        assert_eq!(Pid::new(81, 7).to_string(), "p81-0000000000000007");
    }

    #[test]
    fn other_text_is_refused() {
        for text in ["", "p", "p1", "81-0000000000000007", "p81-7", "p+1-0000000000000007"] {
            assert!(text.parse::<Pid>().is_err(), "{text}");
        }
    }
}
