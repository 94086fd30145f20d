//! Connections beside a link, and what both sides know of them.

use serde::{Deserialize, Serialize};

/// What the two ends of a link must know to open a lane beside it: a connection for one large thing.
#[derive(Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lane {
    /// By which the connection is recognised.
    pub name: [u8; 16],
    /// With which its bytes are sealed; a cipher with shorter keys takes the beginning.
    pub key: [u8; 32],
    /// How they are sealed.
    pub cipher: LaneCipher,
}

/// Does not show the key.
impl std::fmt::Debug for Lane {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Lane").field("cipher", &self.cipher).finish_non_exhaustive()
    }
}

/// What the two ends of a link must know to open a wire beside it: a connection for packets of kernels, from one core to
/// one core, both ways.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Wire {
    /// By which the connection is recognised, and how what the speaker sends is sealed.
    pub lane: Lane,
    /// How what the hearer sends is sealed.
    pub back: Lane,
    /// The speaker's core.
    pub own_core: u32,
    /// The hearer's.
    pub peer_core: u32,
}

/// How a lane's bytes are sealed: the sender's choice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum LaneCipher {
    /// Where the processor does it.
    Aes128Gcm,
    /// Elsewhere.
    ChaCha20Poly1305,
}
