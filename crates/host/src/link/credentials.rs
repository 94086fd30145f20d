//! What a node needs to link with others: from the token and its key to the TLS configurations of both ends.
//!
//! On a link each side proves that it holds its own key, and that somebody with the token has signed for it not long ago.
//!
//! Invariants:
//! * Without the token no certificate is accepted, on either side; TLS 1.3 only, always mutual, never resumed. A
//!   resumed session would be accepted for what an earlier one proved.
//! * Certificates expire. A link that stands is not cut then; none is made with one that has expired.
//! * Who has the token before the one in force, and it is accepted no more, passes the handshake to be told that, and no further.
//! * A node that was removed proves as well as any who it is; then it is refused by its id.
//!
//! What this does not do: keep out who has the token in force. He makes himself a new key.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::SystemTime;

use peripatos_cluster::{Certified, NodeId, Proof};
use rustls::client::danger::ServerCertVerifier as _;
use rustls::client::{Resumption, WebPkiServerVerifier};
use rustls::crypto::{CryptoProvider, ring};
use rustls::pki_types::{CertificateDer, PrivatePkcs8KeyDer, ServerName, UnixTime};
use rustls::server::WebPkiClientVerifier;
use rustls::version::TLS13;
use rustls::{ClientConfig, RootCertStore, ServerConfig};

use super::authority::{SERVER_NAME, Validity};
use super::identity::{IdentityError, NodeKey, node_id};
use super::keyring::{Keyring, unix_seconds};
use super::refusal::Refusal;
use super::statement::{Believed, Statement};

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
    pub removed: Arc<BTreeMap<NodeId, Proof>>,
    validity: Validity,
    /// Believes nobody but the authority of the token in force.
    current: Arc<WebPkiServerVerifier>,
    /// Until when the token before is accepted, in seconds since 1970. Its authority is believed in the handshake, and then it
    /// depends.
    previous_until: Option<u64>,
    /// Whose word counts that a node was removed.
    believed: Believed,
}

impl Credentials {
    /// Of the node with this key in the cluster of these tokens: it signs for itself. They are good for a day from `now`.
    pub fn new(
        keyring: &Keyring,
        key: &NodeKey,
        now: SystemTime,
    ) -> Result<Credentials, IdentityError> {
        Credentials::of(&keyring.certify(&key.public()?, now)?, key)
    }

    /// Of the node with this key, for which somebody has signed.
    pub fn of(certified: &Certified, key: &NodeKey) -> Result<Credentials, IdentityError> {
        let chain = certified.chain.iter().cloned().map(CertificateDer::from);
        let chain: Vec<CertificateDer<'static>> = chain.collect();
        let id = match chain.first() {
            Some(own) => node_id(own)?,
            None => return Err(IdentityError::NotOfThisNode),
        };
        if id != key.id() || !certified.is_valid() {
            return Err(IdentityError::NotOfThisNode);
        }
        let mut roots = RootCertStore::empty();
        roots.add(certified.authority.clone().into())?;
        let only_current = Arc::new(roots.clone());
        if let Some((previous, _)) = &certified.previous {
            roots.add(previous.clone().into())?;
        }
        let roots = Arc::new(roots);
        let previous = certified.previous.as_ref().map(|(certificate, _)| certificate.as_slice());
        let believed = Believed::of(&certified.authority, previous)?;
        let validity = Validity::of(certified.made);
        let previous_until = certified.previous.as_ref().map(|(_, until)| *until);
        let private_key = || PrivatePkcs8KeyDer::from(key.pair.serialize_der()).into();

        let fast_aes = has_aes();
        let provider = Arc::new(provider(fast_aes));
        let current =
            WebPkiServerVerifier::builder_with_provider(only_current, provider.clone()).build()?;
        let verifier =
            WebPkiClientVerifier::builder_with_provider(roots.clone(), provider.clone()).build()?;
        let mut server = ServerConfig::builder_with_provider(provider.clone())
            .with_protocol_versions(&[&TLS13])?
            .with_client_cert_verifier(verifier)
            .with_single_cert(chain.clone(), private_key())?;
        server.send_tls13_tickets = 0;
        server.max_tls13_tickets = 0;
        // A side without AES instructions has the last word, whichever it is: AES is slow for it, not for the other.
        server.ignore_client_order = !fast_aes;

        let mut client = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&TLS13])?
            .with_root_certificates(roots)
            .with_client_auth_cert(chain, private_key())?;
        client.resumption = Resumption::disabled();
        client.enable_sni = false;
        let (server, client) = (Arc::new(server), Arc::new(client));
        Ok(Credentials {
            id,
            server,
            client,
            removed: Arc::default(),
            validity,
            current,
            previous_until,
            believed,
        })
    }

    /// The same, and no link with these nodes.
    #[must_use]
    pub fn refusing(self, removed: impl Into<Arc<BTreeMap<NodeId, Proof>>>) -> Credentials {
        Credentials { removed: removed.into(), ..self }
    }

    /// Whether it is time to make new ones.
    pub fn are_to_be_renewed(&self, now: SystemTime) -> bool {
        self.validity.is_half_over(now)
    }

    /// Why there is to be no link with a node that has proved to be this one, by these certificates.
    pub(super) fn refusal(
        &self,
        peer: NodeId,
        certificates: &[CertificateDer<'_>],
        now: SystemTime,
    ) -> Option<Refusal> {
        if self.removed.contains_key(&peer) {
            return Some(Refusal::Removed);
        }
        (!self.accept_previous(now) && !self.are_of_current(certificates))
            .then_some(Refusal::OldToken)
    }

    /// Whether the token before is accepted, or there is none.
    pub(crate) fn accept_previous(&self, now: SystemTime) -> bool {
        self.previous_until.is_none_or(|until| unix_seconds(now) < until)
    }

    /// Whether somebody with a token that is accepted has signed this.
    pub fn prove(&self, statement: Statement, proof: &Proof, now: SystemTime) -> bool {
        self.believed.prove(
            statement,
            proof,
            self.previous_until.is_some() && self.accept_previous(now),
        )
    }

    /// Whether the token in force has signed this.
    pub(crate) fn are_of_authority(&self, proof: &Proof) -> bool {
        self.believed.current == proof.authority
    }

    /// Whether these have expired.
    pub fn are_over(&self, now: SystemTime) -> bool {
        self.validity.is_over(now)
    }

    /// What an issuer has signed, if it is for the node of this key, and the authority that is believed here has signed it, or has
    /// vouched for the one that has.
    pub fn renewed(
        &self,
        certified: &Certified,
        key: &NodeKey,
    ) -> Result<Credentials, IdentityError> {
        let chain = certified.chain.iter().map(|one| CertificateDer::from(one.as_slice()));
        let chain: Vec<CertificateDer<'_>> = chain.collect();
        let new = Credentials::of(certified, key)?;
        match self.are_of_current(&chain) && new.are_of_current(&chain[..1]) {
            true => Ok(new.refusing(Arc::clone(&self.removed))),
            false => Err(IdentityError::NotOfThisNode),
        }
    }

    /// Whether somebody with the token in force has signed for these.
    fn are_of_current(&self, certificates: &[CertificateDer<'_>]) -> bool {
        let Some((own, others)) = certificates.split_first() else { return false };
        let Ok(name) = ServerName::try_from(SERVER_NAME) else { return false };
        self.current.verify_server_cert(own, others, &name, &[], UnixTime::now()).is_ok()
    }
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
