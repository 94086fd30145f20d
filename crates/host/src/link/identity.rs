//! Who is who: a node's lasting key pair, and the id that follows from it.
//!
//! Invariants:
//! * A [`NodeId`] is the hash of the public key that the peer has proved to hold, so nobody can take another's.
//! * The key is made once, and kept where only its user can read it.

use std::fs::File;
use std::io::{self, ErrorKind, Read as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use peripatos_cluster::NodeId;
use rcgen::{KeyPair, PKCS_ED25519, PublicKeyData as _};
use rustls::pki_types::CertificateDer;
use rustls::server::ParsedCertificate;

use super::authority::PublicKey;
use crate::private_file::store;

/// More than any Ed25519 key in PKCS#8 takes.
const KEY_FILE_BYTES_MAX: u64 = 1024;
/// Permission bits of group and others.
const OTHERS: u32 = 0o077;

/// Why a node cannot have its identity. Nothing on disk was changed.
#[derive(Debug, thiserror::Error)]
pub enum IdentityError {
    /// The key file cannot be read or written.
    #[error("{}: {cause}", path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        cause: io::Error,
    },
    /// Others could have read the key.
    #[error("{}: others may read this key; it must have mode 0600", .0.display())]
    NotPrivate(PathBuf),
    /// The file holds something else than a key.
    #[error("{}: not a node's key; if it is lost, remove the file: the node will be another one", .0.display())]
    Damaged(PathBuf),
    /// A certificate is for another key, or nobody has signed it.
    #[error("a certificate is not this node's")]
    NotOfThisNode,
    /// No key or certificate could be made.
    #[error("cannot make a certificate: {0}")]
    Certificate(#[from] rcgen::Error),
    /// The TLS library refused what was made.
    #[error("cannot set up TLS: {0}")]
    Tls(#[from] rustls::Error),
    /// The same about the verifier of certificates.
    #[error("cannot set up TLS: {0}")]
    Verifier(#[from] rustls::server::VerifierBuilderError),
}

/// A node's lasting key pair.
pub struct NodeKey {
    pub(super) pair: KeyPair,
}

impl NodeKey {
    /// A new key that is kept nowhere.
    pub fn generate() -> Result<NodeKey, IdentityError> {
        Ok(NodeKey { pair: KeyPair::generate_for(&PKCS_ED25519)? })
    }

    /// The key in this file, or a new one that is put there. The caller holds the directory's lock: two that generate
    /// at once would each go on with a key of its own.
    pub fn load_or_generate(path: &Path) -> Result<NodeKey, IdentityError> {
        let failed = |cause| IdentityError::File { path: path.into(), cause };
        match File::open(path) {
            Ok(file) => NodeKey::load(file, path),
            Err(error) if error.kind() == ErrorKind::NotFound => {
                let key = NodeKey::generate()?;
                store(path, key.pair.serialized_der()).map_err(failed)?;
                Ok(key)
            }
            Err(error) => Err(failed(error)),
        }
    }

    fn load(file: File, path: &Path) -> Result<NodeKey, IdentityError> {
        let failed = |cause| IdentityError::File { path: path.into(), cause };
        if file.metadata().map_err(failed)?.mode() & OTHERS != 0 {
            return Err(IdentityError::NotPrivate(path.into()));
        }
        let mut der = Vec::new();
        file.take(KEY_FILE_BYTES_MAX).read_to_end(&mut der).map_err(failed)?;
        // The file holds both halves of the key; that they match is checked here too.
        let pair = KeyPair::from_pkcs8_der_and_sign_algo(&der.into(), &PKCS_ED25519);
        Ok(NodeKey { pair: pair.map_err(|_| IdentityError::Damaged(path.into()))? })
    }

    /// Its public half.
    pub fn public(&self) -> Result<PublicKey, IdentityError> {
        // A key of another kind cannot be read or made here.
        PublicKey::parse(&self.pair.subject_public_key_info()).ok_or(IdentityError::NotOfThisNode)
    }

    /// The id of the node with this key.
    pub fn id(&self) -> NodeId {
        id_of(&self.pair.subject_public_key_info())
    }
}

/// The id of the node that holds a certificate's key.
pub(super) fn node_id(certificate: &CertificateDer<'_>) -> Result<NodeId, rustls::Error> {
    Ok(id_of(&ParsedCertificate::try_from(certificate)?.subject_public_key_info()))
}

pub(super) fn id_of(public_key_info: &[u8]) -> NodeId {
    let mut first = [0; 16];
    first.copy_from_slice(&blake3::hash(public_key_info).as_bytes()[..16]);
    NodeId(u128::from_be_bytes(first))
}

#[cfg(test)]
mod tests {
    use super::super::authority::PKCS8_ED25519;
    use super::*;
    use std::fs;
    use std::os::unix::fs::PermissionsExt as _;

    #[test]
    fn the_key_is_kept() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("key");
        let first = NodeKey::load_or_generate(&path).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, 0o600);
        let again = NodeKey::load_or_generate(&path).unwrap();
        assert_eq!(first.id(), again.id());
        assert_ne!(NodeKey::generate().unwrap().id(), first.id());
    }

    #[test]
    fn a_wrong_key_file_says_what_is_wrong() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("key");
        NodeKey::load_or_generate(&path).unwrap();
        let good = fs::read(&path).unwrap();
        let check = |bytes: &[u8], mode: u32, expected: &str| {
            fs::write(&path, bytes).unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
            let error = NodeKey::load_or_generate(&path).err().expect("refused");
            assert!(error.to_string().contains(expected), "{error} does not say {expected}");
            assert_eq!(fs::read(&path).unwrap(), bytes, "the file is left as it was");
        };
        check(&good, 0o640, "mode 0600");
        check(b"", 0o600, "not a node's key");
        check(&good[..good.len() - 1], 0o600, "not a node's key");
        check(&vec![0x30; 4096], 0o600, "not a node's key");
        let mut flipped = good.clone();
        flipped[PKCS8_ED25519.len() + 3] ^= 1;
        check(&flipped, 0o600, "not a node's key");
        let absent = NodeKey::load_or_generate(Path::new("/proc/absent/key"));
        assert!(matches!(absent, Err(IdentityError::File { .. })));
    }
}
