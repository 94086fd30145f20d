//! How a process came to its end, as those who watch it are told.

use crate::Signal;

/// How a process came to its end. As a number: the class in the upper 32 bits, the detail in the lower ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum EndReason {
    /// It exited with this code.
    Exited(u32),
    /// It raised this signal against itself.
    Raised(Signal),
    /// It trapped, or broke its part of a contract.
    Trapped,
    /// Somebody ended it.
    Killed,
    /// The node that ran it cannot be reached. Whether it has ended is not known.
    Lost,
    /// Nobody has this pid, or has it any more.
    NoProcess,
}

impl EndReason {
    /// The only end that does not end those who are linked: exit with code 0.
    pub const NORMAL: u64 = 0;

    /// The number that the guest sees.
    #[must_use]
    pub const fn to_bits(self) -> u64 {
        let (class, detail) = match self {
            EndReason::Exited(code) => (0, code as u64),
            EndReason::Raised(signal) => (1, signal.code() as u64),
            EndReason::Trapped => (2, 0),
            EndReason::Killed => (3, 0),
            EndReason::Lost => (4, 0),
            EndReason::NoProcess => (5, 0),
        };
        class << 32 | detail
    }

    /// What a number means. `None`: nothing.
    #[must_use]
    pub fn from_bits(bits: u64) -> Option<EndReason> {
        let (class, detail) = (bits >> 32, bits as u32);
        match (class, detail) {
            (0, code) => Some(EndReason::Exited(code)),
            (1, code) => Some(EndReason::Raised(Signal::from_code(u8::try_from(code).ok()?)?)),
            (2, 0) => Some(EndReason::Trapped),
            (3, 0) => Some(EndReason::Killed),
            (4, 0) => Some(EndReason::Lost),
            (5, 0) => Some(EndReason::NoProcess),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_and_back() {
        let all = [
            EndReason::Exited(0),
            EndReason::Exited(u32::MAX),
            EndReason::Raised(Signal::Abrt),
            EndReason::Trapped,
            EndReason::Killed,
            EndReason::Lost,
            EndReason::NoProcess,
        ];
        for reason in all {
            assert_eq!(EndReason::from_bits(reason.to_bits()), Some(reason));
        }
        assert_eq!(EndReason::Exited(0).to_bits(), EndReason::NORMAL);
        for bits in [1 << 32 | 255, 2 << 32 | 1, 6 << 32, u64::MAX] {
            assert_eq!(EndReason::from_bits(bits), None, "{bits:#x}");
        }
    }
}
