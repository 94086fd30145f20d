//! Who signs the certificates of a cluster's nodes, and for how long.
//!
//! The *authority* is an Ed25519 key that follows from the token. Its own certificate never travels; each node makes it again.
//!
//! Invariants:
//! * The authority is a pure function of the token.
//! * A node's certificate is good for a day, and from an hour before it was made, so that clocks may differ so much.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use peripatos_cluster::NodeId;
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, PKCS_ED25519, PublicKeyData, SignatureAlgorithm, date_time_ymd,
};
use rustls::pki_types::CertificateDer;

use super::identity::id_of;
use super::token::Token;

/// The name in every node's certificate. It says "a node"; which one, says the key.
pub(super) const SERVER_NAME: &str = "node.peripatos";
/// How long a node's certificate is good for. Half of it before, the node makes itself a new one.
pub const CERTIFICATE_LIFE: Duration = Duration::from_secs(24 * 3_600);
/// How much the clocks of two nodes may differ.
pub const CLOCK_SKEW_MAX: Duration = Duration::from_secs(3_600);

/// Separates this use of the token from any other there may be one day.
const CONTEXT: &str = "peripatos 2026-11 cluster authority";
/// What stands before the 32 bytes of an Ed25519 seed in PKCS#8 (RFC 8410, section 7): a sequence of 46 bytes, of
/// version 0, the algorithm 1.3.101.112, and an octet string of 34 bytes that holds an octet string of 32.
pub(super) const PKCS8_ED25519: [u8; 16] = [
    0x30, 0x2e, 0x02, 0x01, 0x00, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x04, 0x22, 0x04, 0x20,
];

/// The key that signs for all nodes of the token's cluster.
pub(super) struct Authority {
    issuer: Issuer<'static, KeyPair>,
    /// Signed by itself.
    pub(super) certificate: CertificateDer<'static>,
}

impl Authority {
    pub(super) fn of(token: &Token) -> Result<Authority, rcgen::Error> {
        let (key, parameters) = (key(token)?, parameters());
        let certificate = parameters.self_signed(&key)?.der().clone();
        Ok(Authority { issuer: Issuer::new(parameters, key), certificate })
    }

    /// Another authority's certificate, signed by this one: whoever knows this one only believes the other's nodes.
    pub(super) fn vouch_for(
        &self,
        other: &Authority,
        validity: Validity,
    ) -> Result<CertificateDer<'static>, rcgen::Error> {
        let mut parameters = parameters();
        validity.put_into(&mut parameters);
        Ok(parameters.signed_by(other.issuer.key(), &self.issuer)?.der().clone())
    }

    /// A certificate for the node with this key.
    pub(super) fn certify(
        &self,
        node: &PublicKey,
        validity: Validity,
    ) -> Result<CertificateDer<'static>, rcgen::Error> {
        let mut parameters = CertificateParams::new([SERVER_NAME.to_owned()])?;
        parameters.distinguished_name.push(DnType::CommonName, "peripatos node");
        parameters.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        parameters.extended_key_usages =
            vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        validity.put_into(&mut parameters);
        Ok(parameters.signed_by(node, &self.issuer)?.der().clone())
    }
}

/// A node's public key: what a certificate is made for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PublicKey([u8; 32]);

/// What stands before the 32 bytes of an Ed25519 public key in X.509 (RFC 8410, section 4): a sequence of 42 bytes, of the
/// algorithm 1.3.101.112 and a bit string of 33 bytes, none of whose bits is spare.
const SPKI_ED25519: [u8; 12] =
    [0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00];

impl PublicKey {
    /// The key in this form. `None`: it is of another kind.
    pub(super) fn parse(public_key_info: &[u8]) -> Option<PublicKey> {
        let key = public_key_info.strip_prefix(&SPKI_ED25519)?;
        key.try_into().ok().map(PublicKey)
    }

    pub(super) fn bytes(self) -> [u8; 32] {
        self.0
    }
}

/// The id of the node whose public key has these bytes.
pub(super) fn id_of_key(public_key: &[u8; 32]) -> NodeId {
    id_of(&[SPKI_ED25519.as_slice(), public_key].concat())
}

impl PublicKeyData for PublicKey {
    fn der_bytes(&self) -> &[u8] {
        &self.0
    }

    fn algorithm(&self) -> &'static SignatureAlgorithm {
        &PKCS_ED25519
    }
}

/// What the authority's key is made of.
pub(super) fn seed(token: &Token) -> [u8; 32] {
    blake3::derive_key(CONTEXT, token.secret())
}

fn key(token: &Token) -> Result<KeyPair, rcgen::Error> {
    let pkcs8 = [PKCS8_ED25519.as_slice(), &seed(token)].concat();
    KeyPair::from_pkcs8_der_and_sign_algo(&pkcs8.into(), &PKCS_ED25519)
}

fn parameters() -> CertificateParams {
    let mut parameters = CertificateParams::default();
    parameters.distinguished_name.push(DnType::CommonName, "peripatos cluster");
    parameters.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    parameters.key_usages = vec![KeyUsagePurpose::KeyCertSign];
    parameters
}

/// When a certificate is good, by the moment in which it is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Validity {
    /// Since 1970.
    made: Duration,
}

impl Validity {
    /// Of one that was made at this time, in seconds since 1970.
    pub(super) fn of(made_unix_seconds: u64) -> Validity {
        Validity { made: Duration::from_secs(made_unix_seconds) }
    }

    /// Of one that is made at this time. A clock that stands before 1970 counts as at its beginning.
    pub(super) fn from(now: SystemTime) -> Validity {
        let since = now.duration_since(UNIX_EPOCH).unwrap_or_default();
        Validity::of(since.as_secs())
    }

    /// When it was made, in seconds since 1970.
    pub(super) fn made_unix_seconds(self) -> u64 {
        self.made.as_secs()
    }

    /// Whether it is over.
    pub(super) fn is_over(self, now: SystemTime) -> bool {
        Validity::from(now).made >= self.ends()[1]
    }

    /// From when and until when, since 1970.
    fn ends(self) -> [Duration; 2] {
        [self.made.saturating_sub(CLOCK_SKEW_MAX), self.made + CERTIFICATE_LIFE]
    }

    fn put_into(self, parameters: &mut CertificateParams) {
        let [from, until] = self.ends().map(|at| date_time_ymd(1970, 1, 1) + at);
        (parameters.not_before, parameters.not_after) = (from, until);
    }

    /// Whether it is time for a new one: half of its life is over, or the clock was set back.
    pub(super) fn is_half_over(self, now: SystemTime) -> bool {
        let now = Validity::from(now).made;
        now < self.made || now >= self.made + CERTIFICATE_LIFE / 2
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_authority_follows_from_the_token() {
        let token: Token = "a".repeat(52).parse().unwrap();
        let public = |token: &Token| key(token).unwrap().subject_public_key_info();
        assert_eq!(public(&token), public(&token.clone()));
        assert_ne!(public(&token), public(&Token::generate().unwrap()));
        let certificate = |token: &Token| Authority::of(token).unwrap().certificate;
        assert_eq!(certificate(&token), certificate(&token));
    }

    #[test]
    fn a_certificate_is_renewed_at_half_its_life() {
        let hours = |count: u64| Duration::from_secs(count * 3_600);
        let made = UNIX_EPOCH + hours(500_000);
        let validity = Validity::from(made);
        assert_eq!(validity.ends(), [hours(499_999), hours(500_024)]);
        let moment = Duration::from_secs(1);
        let check = |now, expected| assert_eq!(validity.is_half_over(now), expected, "{now:?}");
        check(made, false);
        check(made + hours(12) - moment, false);
        check(made + hours(12), true);
        // Machines sleep, and clocks are set.
        check(made + hours(10_000), true);
        check(made - moment, true);
        check(UNIX_EPOCH - hours(1), true);
        assert_eq!(Validity::from(UNIX_EPOCH).ends(), [hours(0), hours(24)]);
    }
}
