//! In place of a hello: why there is no link with a node that has proved who it is.
//!
//! `PERIDENY | u8 reason`. It stands where a hello would, so that whoever is refused reads it; nothing else of ours is said to
//! him. A reason that a later release has added is still read as a refusal.

const MAGIC: [u8; 8] = *b"PERIDENY";
/// More is not read.
const REFUSAL_BYTES_MAX: usize = 256;

/// Why.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// The node was removed from the cluster.
    Removed,
    /// The cluster's token was rotated, and who comes has the one before it, which is accepted no more.
    OldToken,
    /// Something that this version has no word for.
    Unknown,
}

impl Refusal {
    /// The bytes.
    pub(super) fn encode(self) -> Vec<u8> {
        let reason = match self {
            Refusal::Unknown => 0,
            Refusal::Removed => 1,
            Refusal::OldToken => 2,
        };
        [&MAGIC[..], &[reason]].concat()
    }

    /// The refusal in the bytes of a first frame, if it is one.
    pub(super) fn decode(bytes: &[u8]) -> Option<Refusal> {
        let rest = bytes.strip_prefix(&MAGIC)?;
        let reason = rest.first().filter(|_| bytes.len() <= REFUSAL_BYTES_MAX)?;
        Some(match reason {
            1 => Refusal::Removed,
            2 => Refusal::OldToken,
            _ => Refusal::Unknown,
        })
    }

    /// What the side says that refuses.
    pub(super) fn of_them(self) -> &'static str {
        match self {
            Refusal::Removed => "that node was removed from the cluster",
            Refusal::OldToken => "the other side has a token that was rotated",
            Refusal::Unknown => "that node is not taken",
        }
    }

    /// What the side says that is refused.
    pub(super) fn of_us(self) -> &'static str {
        match self {
            Refusal::Removed => "this node was removed from the cluster",
            Refusal::OldToken => {
                "the cluster's token was rotated; `peri token show`, on a node of it, prints the new one \
                 (`peri token use` gives it to a node that runs)"
            }
            Refusal::Unknown => {
                "the other side refuses this node, for a reason that this release does not know"
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn round_trip_and_what_is_none() {
        for refusal in [Refusal::Removed, Refusal::OldToken, Refusal::Unknown] {
            assert_eq!(Refusal::decode(&refusal.encode()), Some(refusal));
        }
        assert_eq!(Refusal::decode(b"PERIDENY\x01 and more"), Some(Refusal::Removed));
        assert_eq!(Refusal::decode(b"PERIDENY\xff"), Some(Refusal::Unknown));
        for none in [&b""[..], b"PERIDENY", b"PERILINK\x01", &[&MAGIC[..], &[1; 300]].concat()] {
            assert_eq!(Refusal::decode(none), None);
        }
    }
}
