//! Who is a member: an OS process of a node, and where it takes datagrams.

use core::net::SocketAddr;
use std::fmt;
use std::sync::Arc;

use crate::limits::NODE_NAME_BYTES_MAX;
use crate::{Incarnation, NodeId};

/// A member of the cluster. One that was thought dead comes back as another one: with the next number of rejoins.
///
/// Two are the same if node, incarnation and rejoins are; where it is reached is only what somebody says.
#[derive(Clone)]
pub struct Member {
    node: NodeId,
    incarnation: Incarnation,
    rejoins: u32,
    contact: Arc<Contact>,
}

/// How it is reached, and what it is called.
#[derive(Debug)]
struct Contact {
    address: SocketAddr,
    name: Box<str>,
}

/// Why there is no such member.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MemberError {
    /// No datagram can be sent there.
    #[error("not the address of one node")]
    Address,
    /// Too long, empty, or with characters that no node's name has.
    #[error("not a node's name")]
    Name,
}

impl Member {
    /// A member that has not been thought dead yet.
    ///
    /// # Errors
    /// The name is none ([`is_node_name`]), or the address has no port or is one of many nodes. It may be unspecified: then whoever
    /// hears from it takes the address that the datagram came from.
    pub fn new(
        node: NodeId,
        incarnation: Incarnation,
        address: SocketAddr,
        name: &str,
    ) -> Result<Member, MemberError> {
        Member::again(node, incarnation, 0, address, name)
    }

    pub(super) fn again(
        node: NodeId,
        incarnation: Incarnation,
        rejoins: u32,
        address: SocketAddr,
        name: &str,
    ) -> Result<Member, MemberError> {
        let many = match address {
            SocketAddr::V4(v4) => v4.ip().is_broadcast() || v4.ip().is_multicast(),
            SocketAddr::V6(v6) => v6.ip().is_multicast(),
        };
        if many || address.port() == 0 {
            return Err(MemberError::Address);
        }
        if !is_node_name(name) {
            return Err(MemberError::Name);
        }
        let contact = Arc::new(Contact { address, name: name.into() });
        Ok(Member { node, incarnation, rejoins, contact })
    }

    /// Which node.
    #[must_use]
    pub fn node(&self) -> NodeId {
        self.node
    }

    /// Which OS process of it.
    #[must_use]
    pub fn incarnation(&self) -> Incarnation {
        self.incarnation
    }

    /// Where it takes datagrams.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.contact.address
    }

    /// What it is called.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.contact.name
    }

    /// How often it has been thought dead and come back.
    #[must_use]
    pub fn rejoins(&self) -> u32 {
        self.rejoins
    }

    /// Node and incarnation, which stay.
    pub(super) fn key(&self) -> (NodeId, Incarnation) {
        (self.node, self.incarnation)
    }
}

/// Whether a node may have this name: 1 to [`NODE_NAME_BYTES_MAX`] of `A-Z a-z 0-9 . _ -`.
#[must_use]
pub fn is_node_name(name: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
    (1..=NODE_NAME_BYTES_MAX).contains(&name.len()) && name.bytes().all(allowed)
}

impl PartialEq for Member {
    fn eq(&self, other: &Member) -> bool {
        (self.key(), self.rejoins) == (other.key(), other.rejoins)
    }
}

impl Eq for Member {}

impl fmt::Debug for Member {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({}, {:?})", self.name(), self.address(), self.node)
    }
}

/// What the SWIM library asks of an identity. Its "address" is what stays when a member comes back.
impl foca::Identity for Member {
    type Addr = (NodeId, Incarnation);

    fn renew(&self) -> Option<Member> {
        let rejoins = self.rejoins.checked_add(1)?;
        Some(Member { rejoins, ..self.clone() })
    }

    fn addr(&self) -> (NodeId, Incarnation) {
        self.key()
    }

    fn win_addr_conflict(&self, other: &Member) -> bool {
        self.rejoins > other.rejoins
    }
}
