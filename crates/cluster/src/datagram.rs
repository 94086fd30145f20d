//! What is in a datagram between members, once it has been opened.
//!
//! ```text
//! datagram = 0 samples membership | 1 word | 2 lookup
//! ```
//! See `promises::wire`, `membership::codec` and `lookup` for what these are.

use crate::lookup::Lookup;
use crate::promises::{Heard, MalformedWord, Word, read_samples};

const MEMBERSHIP: u8 = 0;
const WORD: u8 = 1;
const LOOKUP: u8 = 2;

/// A datagram.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Datagram<'a> {
    /// Of membership, and what has come along with it.
    Membership {
        /// Samples of loads.
        heard: Vec<Heard>,
        /// What members say.
        bytes: &'a [u8],
    },
    /// About promises.
    Word(Word),
    /// Where processes are.
    Lookup(Lookup),
}

impl Datagram<'_> {
    /// From bytes.
    ///
    /// # Errors
    /// They are none.
    pub fn read(bytes: &[u8]) -> Result<Datagram<'_>, MalformedWord> {
        match bytes.split_first() {
            Some((&MEMBERSHIP, rest)) => {
                let (heard, bytes) = read_samples(rest)?;
                Ok(Datagram::Membership { heard, bytes })
            }
            Some((&WORD, rest)) => Ok(Datagram::Word(Word::read(rest)?)),
            Some((&LOOKUP, rest)) => Ok(Datagram::Lookup(Lookup::read(rest)?)),
            Some(_) => Err(MalformedWord::Unknown("kind of datagram")),
            None => Err(MalformedWord::Cut),
        }
    }

    /// One of membership. `samples`: as [`Node::samples`](crate::Node::samples) has them.
    #[must_use]
    pub fn of_membership(samples: &[u8], bytes: &[u8]) -> Vec<u8> {
        [&[MEMBERSHIP], samples, bytes].concat()
    }

    /// One with a word.
    #[must_use]
    pub fn of_word(word: &Word) -> Vec<u8> {
        [&[WORD], word.to_bytes().as_slice()].concat()
    }

    /// One about where processes are.
    #[must_use]
    pub fn of_lookup(lookup: &Lookup) -> Vec<u8> {
        [&[LOOKUP], lookup.to_bytes().as_slice()].concat()
    }
}

#[cfg(test)]
mod tests {
    use peripatos_balancer::Load;

    use super::*;

    #[test]
    fn datagrams_are_read_as_they_were_written() {
        let bytes = Datagram::of_membership(&[0], b"ping");
        let read = Datagram::Membership { heard: Vec::new(), bytes: b"ping" };
        assert_eq!(Datagram::read(&bytes), Ok(read));
        let load = Load {
            cores: 1,
            speed_permille: 900,
            demand_permille: 2_500,
            memory_free_bytes: 1 << 30,
            draining: false,
            closed: false,
        };
        let word = Word::Ask { number: 7, load };
        assert_eq!(Datagram::read(&Datagram::of_word(&word)), Ok(Datagram::Word(word)));
        let lookup = Lookup::Entries(Vec::new());
        let bytes = Datagram::of_lookup(&lookup);
        assert_eq!(Datagram::read(&bytes), Ok(Datagram::Lookup(lookup)));
        assert_eq!(Datagram::read(&[]), Err(MalformedWord::Cut));
        assert_eq!(Datagram::read(&[3]), Err(MalformedWord::Unknown("kind of datagram")));
        assert_eq!(Datagram::read(&[0]), Err(MalformedWord::Cut));
    }
}
