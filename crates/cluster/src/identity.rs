//! Who a node is.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// A node's lasting name for other nodes: what it proves on every link, so that nobody can take it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct NodeId(pub u128);

/// One OS process under a [`NodeId`]: drawn at random when it starts.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Incarnation(pub u64);

/// `n0f3a…`, 32 digits; the alternate form `{:#}` has 8.
impl fmt::Display for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if f.alternate() {
            write!(f, "n{:08x}", self.0 >> 96)
        } else {
            write!(f, "n{:032x}", self.0)
        }
    }
}

/// The long form.
impl FromStr for NodeId {
    type Err = String;

    fn from_str(text: &str) -> Result<NodeId, String> {
        // A sign would be read as part of a number, too.
        let is_hex = |digits: &&str| digits.bytes().all(|byte| byte.is_ascii_hexdigit());
        let digits = text.strip_prefix('n').filter(|digits| digits.len() == 32).filter(is_hex);
        let number = digits.and_then(|digits| u128::from_str_radix(digits, 16).ok());
        number.map(NodeId).ok_or_else(|| "a node's id is n and 32 hexadecimal digits".to_owned())
    }
}

impl fmt::Debug for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self:#}")
    }
}

impl fmt::Display for Incarnation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

impl fmt::Debug for Incarnation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_read_as_they_are_written() {
        for id in [NodeId(0), NodeId(0x0f3a << 100), NodeId(u128::MAX)] {
            assert_eq!(id.to_string().parse(), Ok(id));
        }
        let short = format!("{:#}", NodeId(7 << 96));
        let signed = format!("n+{}", "1".repeat(31));
        for wrong in ["", "n", &short, &"1".repeat(33), &format!("n{}g", "1".repeat(31)), &signed] {
            wrong.parse::<NodeId>().expect_err(wrong);
        }
    }
}
