//! What nodes tell each other of who they are: tokens and certificates. Hosts know what they are for; here they are only carried.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::limits::CERTIFICATE_BYTES_MAX;

/// 32 bytes that `Debug` does not show.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Secret(pub [u8; 32]);

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret")
    }
}

/// The token that is in force, and the one before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tokens {
    /// How often the token was rotated: of two the one with more counts.
    pub generation: u64,
    /// The one in force.
    pub current: Secret,
    /// The one before, and until when it is accepted, in seconds since 1970.
    pub previous: Option<(Secret, u64)>,
}

/// What nodes say to each other about who they are.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Identity {
    /// Whether the sender has the token, and of which generation its certificate is.
    Issuer {
        /// It has.
        issues: bool,
        /// How often the token was rotated, as far as it knows.
        generation: u64,
    },
    /// To one that has the token: sign for me.
    Certify,
    /// From one that has it.
    Certified(Certified),
    /// The tokens. Among those that have them, or to one that is to have them from now on.
    Tokens(Tokens),
}

/// What a node has of its cluster, whether it has the token or not. Certificates are X.509, in DER.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Certified {
    /// How often the token was rotated.
    pub generation: u64,
    /// The authority of the token in force.
    pub authority: Vec<u8>,
    /// That of the one before, and until when it is accepted, in seconds since 1970.
    pub previous: Option<(Vec<u8>, u64)>,
    /// The node's certificate; then the authority's, signed by the one before, if there is one.
    pub chain: Vec<Vec<u8>>,
    /// When the node's certificate was made, in seconds since 1970.
    pub made: u64,
    /// What datagrams are sealed by, which follows from the token; then the one before, as long as that is accepted.
    pub gossip: Vec<Secret>,
}

impl Certified {
    /// Whether everything is within its limits.
    #[must_use]
    pub fn is_valid(&self) -> bool {
        let previous = self.previous.as_ref().map(|(certificate, _)| certificate);
        let mut all = self.chain.iter().chain([&self.authority]).chain(previous);
        let counts = [self.chain.len(), self.gossip.len()];
        counts.iter().all(|count| (1..=2).contains(count))
            && all.all(|one| one.len() <= CERTIFICATE_BYTES_MAX)
    }
}
