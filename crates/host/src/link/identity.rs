//! Who may link, and who is who: from the token to the TLS configurations of both ends.
//!
//! The token yields the *authority*, an Ed25519 key that signs certificates; each node has a key pair of its own, made
//! once and kept. On a link each side proves that it holds its own key and that somebody with the token signed for it.
//!
//! Invariants:
//! * Without the token no certificate is accepted, on either side; TLS 1.3 only, always mutual, never resumed. A
//!   resumed session would be accepted for what an earlier one proved.
//! * A [`NodeId`] is the hash of the public key that the peer has proved to hold, so nobody can take another's.
//! * The authority is a pure function of the token. Its certificate never travels; each node makes it again.
//! * Certificates do not expire: they are made anew at every start, and machines with a wrong clock shall link.
//!
//! A node that was removed proves as well as any who it is; then it is refused by its id.
//!
//! What this does not do: keep out who has the token. He makes himself a new key.

use super::refusal::Refusal;
use super::token::Token;
use crate::private_file::store;
use peripatos_cluster::NodeId;
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, PKCS_ED25519, PublicKeyData as _,
};
use rustls::client::Resumption;
use rustls::crypto::{CryptoProvider, ring};
use rustls::pki_types::{CertificateDer, PrivatePkcs8KeyDer};
use rustls::server::{ParsedCertificate, WebPkiClientVerifier};
use rustls::version::TLS13;
use rustls::{ClientConfig, RootCertStore, ServerConfig};
use std::collections::BTreeSet;
use std::fs::File;
use std::io::{self, ErrorKind, Read as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// The name in every node's certificate. It says "a node"; which one, says the key.
pub(super) const SERVER_NAME: &str = "node.peripatos";
/// Separates this use of the token from any other there may be one day.
const AUTHORITY_CONTEXT: &str = "peripatos 2026-11 cluster authority";
/// What stands before the 32 bytes of an Ed25519 seed in PKCS#8 (RFC 8410, section 7): a sequence of 46 bytes, of
/// version 0, the algorithm 1.3.101.112, and an octet string of 34 bytes that holds an octet string of 32.
const PKCS8_ED25519: [u8; 16] = [
    0x30, 0x2e, 0x02, 0x01, 0x00, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x04, 0x22, 0x04, 0x20,
];
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
    pair: KeyPair,
}

/// What a node needs to link with others of its cluster; cheap to clone.
#[derive(Clone)]
pub struct Credentials {
    /// The node's own id.
    pub id: NodeId,
    /// For links that others ask for.
    pub server: Arc<ServerConfig>,
    /// For links to others.
    pub client: Arc<ClientConfig>,
    /// Nodes that it makes no link with, whatever they prove.
    pub removed: Arc<BTreeSet<NodeId>>,
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

    /// The id of the node with this key.
    pub fn id(&self) -> NodeId {
        id_of(&self.pair.subject_public_key_info())
    }
}

impl Credentials {
    /// Makes the certificate of the node with this key in the cluster of this token, and all that goes with it.
    pub fn new(token: &Token, key: &NodeKey) -> Result<Credentials, IdentityError> {
        let authority = authority_key(token)?;
        let parameters = authority_parameters();
        let mut roots = RootCertStore::empty();
        roots.add(parameters.self_signed(&authority)?.der().clone())?;
        let roots = Arc::new(roots);

        let issuer = Issuer::new(parameters, authority);
        let certificate = node_parameters()?.signed_by(&key.pair, &issuer)?.der().clone();
        let id = node_id(&certificate)?;
        assert_eq!(id, key.id(), "a certificate holds the key that it was made for");
        let private_key = || PrivatePkcs8KeyDer::from(key.pair.serialize_der()).into();

        let fast_aes = has_aes();
        let provider = Arc::new(provider(fast_aes));
        let verifier =
            WebPkiClientVerifier::builder_with_provider(roots.clone(), provider.clone()).build()?;
        let mut server = ServerConfig::builder_with_provider(provider.clone())
            .with_protocol_versions(&[&TLS13])?
            .with_client_cert_verifier(verifier)
            .with_single_cert(vec![certificate.clone()], private_key())?;
        server.send_tls13_tickets = 0;
        server.max_tls13_tickets = 0;
        // A side without AES instructions has the last word, whichever it is: AES is slow for it, not for the other.
        server.ignore_client_order = !fast_aes;

        let mut client = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&TLS13])?
            .with_root_certificates(roots)
            .with_client_auth_cert(vec![certificate], private_key())?;
        client.resumption = Resumption::disabled();
        client.enable_sni = false;
        let (server, client) = (Arc::new(server), Arc::new(client));
        Ok(Credentials { id, server, client, removed: Arc::default() })
    }

    /// Why there is to be no link with a node that has proved to be this one.
    pub(super) fn refusal(&self, peer: NodeId) -> Option<Refusal> {
        self.removed.contains(&peer).then_some(Refusal::Removed)
    }
}

/// The id of the node that holds a certificate's key.
pub(super) fn node_id(certificate: &CertificateDer<'_>) -> Result<NodeId, rustls::Error> {
    Ok(id_of(&ParsedCertificate::try_from(certificate)?.subject_public_key_info()))
}

fn id_of(public_key_info: &[u8]) -> NodeId {
    let mut first = [0; 16];
    first.copy_from_slice(&blake3::hash(public_key_info).as_bytes()[..16]);
    NodeId(u128::from_be_bytes(first))
}

/// The key that signs for all nodes of the token's cluster.
fn authority_key(token: &Token) -> Result<KeyPair, rcgen::Error> {
    let seed = blake3::derive_key(AUTHORITY_CONTEXT, token.secret());
    let pkcs8 = [PKCS8_ED25519.as_slice(), &seed].concat();
    KeyPair::from_pkcs8_der_and_sign_algo(&pkcs8.into(), &PKCS_ED25519)
}

fn authority_parameters() -> CertificateParams {
    let mut parameters = CertificateParams::default();
    parameters.distinguished_name.push(DnType::CommonName, "peripatos cluster");
    parameters.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    parameters.key_usages = vec![KeyUsagePurpose::KeyCertSign];
    parameters
}

fn node_parameters() -> Result<CertificateParams, rcgen::Error> {
    let mut parameters = CertificateParams::new([SERVER_NAME.to_owned()])?;
    parameters.distinguished_name.push(DnType::CommonName, "peripatos node");
    parameters.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    parameters.extended_key_usages =
        vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
    Ok(parameters)
}

/// AES-128 where the processor does it, ChaCha20 elsewhere; each side can do both.
fn provider(fast_aes: bool) -> CryptoProvider {
    let (aes, chacha) = (
        ring::cipher_suite::TLS13_AES_128_GCM_SHA256,
        ring::cipher_suite::TLS13_CHACHA20_POLY1305_SHA256,
    );
    let cipher_suites = if fast_aes { vec![aes, chacha] } else { vec![chacha, aes] };
    CryptoProvider { cipher_suites, ..ring::default_provider() }
}

pub(super) fn has_aes() -> bool {
    #[cfg(target_arch = "x86_64")]
    return std::arch::is_x86_feature_detected!("aes");
    #[cfg(target_arch = "aarch64")]
    return std::arch::is_aarch64_feature_detected!("aes");
    #[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
    return false;
}

#[cfg(test)]
mod tests {
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

        let token = Token::generate().unwrap();
        assert_eq!(Credentials::new(&token, &again).unwrap().id, first.id());
        let other = Token::generate().unwrap();
        assert_eq!(Credentials::new(&other, &again).unwrap().id, first.id());
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

    #[test]
    fn the_authority_follows_from_the_token() {
        let token: Token = "a".repeat(52).parse().unwrap();
        let key = |token: &Token| authority_key(token).unwrap().subject_public_key_info();
        assert_eq!(key(&token), key(&token.clone()));
        assert_ne!(key(&token), key(&Token::generate().unwrap()));
    }
}
