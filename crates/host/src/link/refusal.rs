//! In place of a hello: why there is no link with a node that has proved who it is.
//!
//! `PERIDENY | u8 reason | proof`. It stands where a hello would, so that whoever is refused reads it; nothing else of ours is said to
//! him. That a node was removed is proved to it, for it ends then: a proof goes behind that reason, and behind no other one. A reason
//! that a later release has added is still read as a refusal.

use peripatos_cluster::Proof;

const MAGIC: [u8; 8] = *b"PERIDENY";
/// More is not read.
const REFUSAL_BYTES_MAX: usize = 256;

/// Why.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// The node was removed from the cluster. Who is refused so has seen that it is proved.
    Removed,
    /// The other side says that the node was removed, and has not proved it: for this side it says nothing.
    Unproved,
    /// The cluster's token was rotated, and who comes has the one before it, which is accepted no more.
    OldToken,
    /// Something that this version has no word for.
    Unknown,
}

impl Refusal {
    /// The bytes. `proof`: of a removal.
    pub(super) fn encode(self, proof: Option<&Proof>) -> Vec<u8> {
        let reason = match self {
            Refusal::Unknown => 0,
            Refusal::Removed | Refusal::Unproved => 1,
            Refusal::OldToken => 2,
        };
        // It always has a form in postcard.
        let proof = proof.map(|proof| postcard::to_stdvec(proof).unwrap_or_default());
        [&MAGIC[..], &[reason], &proof.unwrap_or_default()].concat()
    }

    /// The refusal in the bytes of a first frame, if it is one. `is_proved`: whether this proves that the reader was removed.
    pub(super) fn decode(bytes: &[u8], is_proved: impl FnOnce(&Proof) -> bool) -> Option<Refusal> {
        let rest = bytes.strip_prefix(&MAGIC)?;
        let reason = rest.first().filter(|_| bytes.len() <= REFUSAL_BYTES_MAX)?;
        Some(match reason {
            1 if postcard::from_bytes(&rest[1..]).is_ok_and(|proof| is_proved(&proof)) => {
                Refusal::Removed
            }
            1 => Refusal::Unproved,
            2 => Refusal::OldToken,
            _ => Refusal::Unknown,
        })
    }

    /// What the side says that refuses.
    pub(super) fn of_them(self) -> &'static str {
        match self {
            Refusal::Removed | Refusal::Unproved => "that node was removed from the cluster",
            Refusal::OldToken => "the other side has a token that was rotated",
            Refusal::Unknown => "that node is not taken",
        }
    }

    /// What the side says that is refused.
    pub(super) fn of_us(self) -> &'static str {
        match self {
            Refusal::Removed => "this node was removed from the cluster",
            Refusal::Unproved => {
                "the other side says that this node was removed from the cluster, and does not prove it"
            }
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
        let proof = Proof { authority: [1; 32], signature: [[2; 32]; 2], vouched: None };
        let vouched = Proof { vouched: Some([[3; 32]; 2]), ..proof };
        for own in [proof, vouched] {
            let bytes = Refusal::Removed.encode(Some(&own));
            assert_eq!(Refusal::decode(&bytes, |read| *read == own), Some(Refusal::Removed));
            assert_eq!(Refusal::decode(&bytes, |_| false), Some(Refusal::Unproved));
            let cut = Refusal::decode(&bytes[..bytes.len() - 1], |_| true);
            assert_eq!(cut, Some(Refusal::Unproved));
        }
        let decode = |bytes: &[u8]| Refusal::decode(bytes, |_| true);
        for refusal in [Refusal::OldToken, Refusal::Unknown] {
            assert_eq!(decode(&refusal.encode(None)), Some(refusal));
        }
        assert_eq!(decode(&Refusal::Removed.encode(None)), Some(Refusal::Unproved));
        assert_eq!(decode(b"PERIDENY\x01 and more"), Some(Refusal::Unproved));
        assert_eq!(decode(b"PERIDENY\xff"), Some(Refusal::Unknown));
        for none in [&b""[..], b"PERIDENY", b"PERILINK\x01", &[&MAGIC[..], &[1; 300]].concat()] {
            assert_eq!(decode(none), None);
        }
    }
}
