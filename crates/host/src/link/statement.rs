//! What operators say of nodes, signed by somebody who has the cluster's token: that one was removed, that one is gone. And what a node
//! says of itself, signed by its own key: that it has left.
//!
//! Signed is by the authority's key, which follows from the token; certificates are signed by the same one, over other bytes. Who knows
//! an authority, as every node does, can look at it.
//!
//! Invariants:
//! * Believed is what the authority of the token in force has signed, or the one before as long as that token is accepted; and what
//!   an authority has signed for which one of those has vouched: the token was rotated, and this node has not heard it yet.
//! * Who has a token that is accepted no more is believed by nobody, but for those that believe in it still.
//! * That a node was removed stays true, whoever says it again. That one is gone does not: it may have been started again. So that is signed
//!   for one node, which believes it of its word only; others it proves nothing to.

use peripatos_cluster::{Departure, Incarnation, NodeId, OwnProof, Proof, Signature};
use rcgen::SigningKey as _;
use ring::signature::{ED25519, Ed25519KeyPair, KeyPair as _, UnparsedPublicKey};
use rustls::pki_types::CertificateDer;
use rustls::server::ParsedCertificate;

use super::authority::{self, PublicKey};
use super::identity::{IdentityError, NodeKey};
use super::token::Token;

/// Signed with a node's id behind it: that node was removed.
const REMOVAL: &[u8] = b"peripatos 2026-11 removal of a node\0";
/// Signed with two ids behind it: the first node is gone, says an operator to the second.
const GONE: &[u8] = b"peripatos 2026-11 a node is gone\0";
/// Signed by a node itself with its incarnation behind it: that OS process has left, and nothing was left on it.
const LEFT: &[u8] = b"peripatos 2026-11 this node has left\0";
/// Signed with a public key behind it: that is the authority from now on.
const VOUCHED: &[u8] = b"peripatos 2026-11 authority after a rotation\0";

/// What is signed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Statement {
    /// That node was removed.
    Removed(NodeId),
    /// The OS process of a node is gone, which is said to one other node.
    Gone {
        /// Which is gone.
        node: NodeId,
        /// To whom it is said.
        to: NodeId,
    },
}

impl Statement {
    fn bytes(self) -> Vec<u8> {
        match self {
            Statement::Removed(node) => [REMOVAL, &node.0.to_be_bytes()].concat(),
            Statement::Gone { node, to } => {
                [GONE, &node.0.to_be_bytes(), &to.0.to_be_bytes()].concat()
            }
        }
    }
}

/// By these tokens: the one in force, and the one before if there is one.
pub(super) fn sign(
    statement: Statement,
    token: &Token,
    before: Option<&Token>,
) -> Result<Proof, IdentityError> {
    let own = key(token)?;
    let authority = public(&own)?;
    let vouched = before
        .map(|before| key(before).map(|before| halves(&before, &[VOUCHED, &authority].concat())));
    let signature = halves(&own, &statement.bytes());
    Ok(Proof { authority, signature, vouched: vouched.transpose()? })
}

/// The public keys of authorities that a node believes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Believed {
    pub(super) current: [u8; 32],
    /// Of the token before.
    pub(super) previous: Option<[u8; 32]>,
}

impl Believed {
    /// Those of these certificates.
    pub(super) fn of(current: &[u8], previous: Option<&[u8]>) -> Result<Believed, IdentityError> {
        let previous = previous.map(key_of).transpose()?;
        Ok(Believed { current: key_of(current)?, previous })
    }

    /// Whether this proves that. `accepts_previous`: the token before is accepted.
    pub(super) fn prove(
        &self,
        statement: Statement,
        proof: &Proof,
        accepts_previous: bool,
    ) -> bool {
        let Proof { authority, signature, vouched } = proof;
        let believed = [Some(self.current), self.previous.filter(|_| accepts_previous)];
        let vouches = |key: &[u8; 32]| {
            let said = [VOUCHED, authority].concat();
            vouched.is_some_and(|vouched| is_signed(key, &said, &vouched))
        };
        let mut believed = believed.iter().flatten();
        believed.any(|key| key == authority || vouches(key))
            && is_signed(authority, &statement.bytes(), signature)
    }
}

impl NodeKey {
    /// Signs for that an OS process of this node has left in order.
    ///
    /// # Errors
    /// The key cannot sign.
    pub fn sign_departure(&self, incarnation: Incarnation) -> Result<OwnProof, IdentityError> {
        let signature = self.pair.sign(&departure_of(incarnation))?;
        Ok(OwnProof { public_key: self.public()?.bytes(), signature: in_halves(&signature) })
    }
}

/// Whether the node that is said to have left has signed it itself.
#[must_use]
pub fn is_departure(departure: &Departure) -> bool {
    let Departure { node, incarnation, proof: OwnProof { public_key, signature } } = departure;
    authority::id_of_key(public_key) == *node
        && is_signed(public_key, &departure_of(*incarnation), signature)
}

fn departure_of(incarnation: Incarnation) -> Vec<u8> {
    [LEFT, &incarnation.0.to_be_bytes()].concat()
}

fn key(token: &Token) -> Result<Ed25519KeyPair, IdentityError> {
    let key = Ed25519KeyPair::from_seed_unchecked(&authority::seed(token));
    key.map_err(|_| IdentityError::NotOfThisNode)
}

fn public(key: &Ed25519KeyPair) -> Result<[u8; 32], IdentityError> {
    key.public_key().as_ref().try_into().map_err(|_| IdentityError::NotOfThisNode)
}

fn key_of(certificate: &[u8]) -> Result<[u8; 32], IdentityError> {
    let certificate = CertificateDer::from(certificate);
    let info = ParsedCertificate::try_from(&certificate)?.subject_public_key_info();
    PublicKey::parse(&info).map(PublicKey::bytes).ok_or(IdentityError::NotOfThisNode)
}

fn halves(key: &Ed25519KeyPair, said: &[u8]) -> Signature {
    in_halves(key.sign(said).as_ref())
}

fn in_halves(signature: &[u8]) -> Signature {
    let mut halves = Signature::default();
    let bytes = signature.chunks_exact(32);
    halves.iter_mut().zip(bytes).for_each(|(half, bytes)| half.copy_from_slice(bytes));
    halves
}

fn is_signed(key: &[u8; 32], said: &[u8], signature: &Signature) -> bool {
    UnparsedPublicKey::new(&ED25519, key).verify(said, signature.as_flattened()).is_ok()
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, SystemTime};

    use super::super::keyring::Keyring;
    use super::*;

    const HOUR: Duration = Duration::from_secs(3_600);
    const REMOVED: Statement = Statement::Removed(NodeId(7));
    const GONE: Statement = Statement::Gone { node: NodeId(7), to: NodeId(8) };

    fn believed(keyring: &Keyring) -> Believed {
        let own = NodeKey::generate().unwrap().public().unwrap();
        let certified = keyring.certify(&own, SystemTime::now()).unwrap();
        let previous = certified.previous.as_ref().map(|(certificate, _)| certificate.as_slice());
        Believed::of(&certified.authority, previous).unwrap()
    }

    fn new() -> Keyring {
        Token::generate().unwrap().into()
    }

    #[test]
    fn what_the_token_in_force_has_signed_is_believed_and_nothing_else() {
        let first = new();
        for said in [REMOVED, GONE] {
            let proof = first.sign(said).unwrap();
            assert!(believed(&first).prove(said, &proof, false));
            assert!(!believed(&new()).prove(said, &proof, true));
            assert!(!believed(&first).prove(said, &Proof::default(), true));
            for bit in 0..64 * 8 {
                let mut changed = proof;
                changed.signature[bit / 256][bit % 256 / 8] ^= 1 << (bit % 8);
                assert!(!believed(&first).prove(said, &changed, true), "{bit}");
            }
            // Somebody else's key, that he signs with himself.
            let other = new().sign(said).unwrap();
            assert!(!believed(&first).prove(said, &other, true));
            let vouched = Some(other.signature);
            assert!(!believed(&first).prove(said, &Proof { vouched, ..other }, true));
        }
    }

    #[test]
    fn what_is_signed_of_one_node_or_for_one_proves_nothing_else() {
        let keyring = new();
        let ids = [7, 8].map(NodeId);
        let gone = ids.map(|node| ids.map(|to| Statement::Gone { node, to }));
        let all: Vec<Statement> =
            ids.map(Statement::Removed).into_iter().chain(gone.into_iter().flatten()).collect();
        for signed in &all {
            let proof = keyring.sign(*signed).unwrap();
            for said in &all {
                assert_eq!(believed(&keyring).prove(*said, &proof, true), said == signed);
            }
        }
    }

    #[test]
    fn that_a_node_has_left_it_says_itself() {
        let [own, other] = [(); 2].map(|()| NodeKey::generate().unwrap());
        let incarnation = Incarnation(5);
        let proof = own.sign_departure(incarnation).unwrap();
        let departure = Departure { node: own.id(), incarnation, proof };
        assert!(is_departure(&departure));
        assert!(!is_departure(&Departure { incarnation: Incarnation(6), ..departure }));
        let proof = other.sign_departure(incarnation).unwrap();
        for (public_key, signature) in [
            (proof.public_key, proof.signature),
            (departure.proof.public_key, proof.signature),
            (proof.public_key, departure.proof.signature),
            Default::default(),
        ] {
            assert!(!is_departure(&Departure {
                proof: OwnProof { public_key, signature },
                ..departure
            }));
        }
    }

    #[test]
    fn after_a_rotation_each_side_believes_the_other_as_far_as_it_should() {
        let first = new();
        let second = first.rotated(HOUR, SystemTime::now()).unwrap();
        let third = second.rotated(HOUR, SystemTime::now()).unwrap();
        let signed = [&first, &second, &third].map(|one| one.sign(REMOVED).unwrap());
        let prove = |keyring: &Keyring, accepts: bool| {
            let believed = believed(keyring);
            signed.each_ref().map(|proof| believed.prove(REMOVED, proof, accepts))
        };
        // Who was away believes the next one, for which the one he knows has vouched.
        assert_eq!(prove(&first, false), [true, true, false]);
        assert_eq!(prove(&second, true), [true, true, true]);
        // Who holds a token that was taken out of force says nothing any more.
        assert_eq!(prove(&second, false), [false, true, true]);
        assert_eq!(prove(&third, false), [false, false, true]);
        // Nor may he vouch for a key of his own.
        let stolen = first.rotated(HOUR, SystemTime::now()).unwrap();
        let forged = stolen.sign(REMOVED).unwrap();
        assert!(believed(&first).prove(REMOVED, &forged, false), "he has the token in force there");
        assert!(!believed(&second).prove(REMOVED, &forged, false));
    }
}
