//! What members say to each other, as bytes.
//!
//! A datagram is a header and, where the header's kind has any, a count and so many updates, as `foca` puts them together. All
//! numbers are big endian.
//!
//! ```text
//! header  = sender:member  refutations:u16  receiver:id  kind:u8  rest
//! rest    = probe:u8 | other:member probe:u8 | other:id probe:u8 | nothing, after the kind
//! update  = member  refutations:u16  state:u8
//! member  = id  family:u8 (4 or 6)  ip:4 or 16  port:u16  length:u8  name
//! id      = node:u128  incarnation:u64  rejoins:u32
//! ```
//!
//! Whoever is only to be told apart travels as an id; who may be sent to, as a member. Every address and name is checked here.

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use bytes::{Buf, BufMut, TryGetError};
use foca::{Header, Message, State};

use super::member::{Member, MemberError};
use crate::limits::NODE_NAME_BYTES_MAX;
use crate::{Incarnation, NodeId};

/// What stands in for the address of who is not to be sent to. It is nobody's: port 9 discards.
const NOWHERE: SocketAddr = SocketAddr::new(IpAddr::V6(Ipv6Addr::UNSPECIFIED), 9);
/// And for the name.
const NAMELESS: &str = "-";

/// Why bytes are no such datagram, or do not fit.
#[derive(Debug, thiserror::Error)]
pub(super) enum CodecError {
    /// There are too few.
    #[error("it is cut off")]
    Cut(#[from] TryGetError),
    /// No more room; the library then leaves it for the next datagram.
    #[error("no room")]
    Full,
    /// A number that stands for nothing.
    #[error("it has an unknown {0}")]
    Unknown(&'static str),
    /// A member that cannot be.
    #[error(transparent)]
    Member(#[from] MemberError),
}

/// See the module.
#[derive(Clone, Copy, Debug)]
pub(super) struct Codec;

impl foca::Codec<Member> for Codec {
    type Error = CodecError;

    fn encode_header(
        &mut self,
        header: &Header<Member>,
        buf: impl BufMut,
    ) -> Result<(), CodecError> {
        let mut bytes = Vec::with_capacity(2 * MEMBER_BYTES_MAX);
        put_member(&header.src, &mut bytes);
        bytes.put_u16(header.src_incarnation);
        put_id(&header.dst, &mut bytes);
        put_message(&header.message, &mut bytes);
        fit(&bytes, buf)
    }

    fn decode_header(&mut self, mut buf: impl Buf) -> Result<Header<Member>, CodecError> {
        Ok(Header {
            src: get_member(&mut buf)?,
            src_incarnation: buf.try_get_u16()?,
            dst: get_id(&mut buf)?,
            message: get_message(&mut buf)?,
        })
    }

    fn encode_member(
        &mut self,
        update: &foca::Member<Member>,
        buf: impl BufMut,
    ) -> Result<(), CodecError> {
        let mut bytes = Vec::with_capacity(MEMBER_BYTES_MAX);
        put_member(update.id(), &mut bytes);
        bytes.put_u16(update.incarnation());
        bytes.put_u8(match update.state() {
            State::Alive => 0,
            State::Suspect => 1,
            State::Down => 2,
        });
        fit(&bytes, buf)
    }

    fn decode_member(&mut self, mut buf: impl Buf) -> Result<foca::Member<Member>, CodecError> {
        let (member, refutations) = (get_member(&mut buf)?, buf.try_get_u16()?);
        let state = match buf.try_get_u8()? {
            0 => State::Alive,
            1 => State::Suspect,
            2 => State::Down,
            _ => return Err(CodecError::Unknown("state")),
        };
        Ok(foca::Member::new(member, refutations, state))
    }
}

/// The most that one takes, with what stands behind it in an update.
const MEMBER_BYTES_MAX: usize = 28 + 19 + 1 + NODE_NAME_BYTES_MAX + 3;

fn fit(bytes: &[u8], mut buf: impl BufMut) -> Result<(), CodecError> {
    if buf.remaining_mut() < bytes.len() {
        return Err(CodecError::Full);
    }
    buf.put_slice(bytes);
    Ok(())
}

/// The datagram with its sender's address, if it has not said one: a node that listens at all of its addresses does not know by
/// which of them others reach it, and they do.
pub(super) fn with_address(bytes: &[u8], from: SocketAddr) -> Result<Vec<u8>, CodecError> {
    let mut rest = bytes;
    let (node, incarnation, rejoins) = get_key(&mut rest)?;
    let said = get_address(&mut rest)?;
    if !said.ip().is_unspecified() {
        return Ok(bytes.to_vec());
    }
    let name = get_name(&mut rest)?;
    let here = SocketAddr::new(from.ip(), said.port());
    let member = Member::again(node, incarnation, rejoins, here, &name)?;
    let mut whole = Vec::with_capacity(bytes.len() + 12);
    put_member(&member, &mut whole);
    whole.extend_from_slice(rest);
    Ok(whole)
}

/// The bytes of the header, without updates.
pub(super) fn header_of(bytes: &[u8]) -> Result<(Header<Member>, &[u8]), CodecError> {
    let mut rest = bytes;
    let header = foca::Codec::decode_header(&mut Codec, &mut rest)?;
    Ok((header, &bytes[..bytes.len() - rest.len()]))
}

fn put_id(member: &Member, buf: &mut Vec<u8>) {
    buf.put_u128(member.node().0);
    buf.put_u64(member.incarnation().0);
    buf.put_u32(member.rejoins());
}

fn put_member(member: &Member, buf: &mut Vec<u8>) {
    put_id(member, buf);
    match member.address().ip() {
        IpAddr::V4(ip) => {
            buf.put_u8(4);
            buf.put_slice(&ip.octets());
        }
        IpAddr::V6(ip) => {
            buf.put_u8(6);
            buf.put_slice(&ip.octets());
        }
    }
    buf.put_u16(member.address().port());
    // A member's name is never longer than NODE_NAME_BYTES_MAX.
    buf.put_u8(member.name().len() as u8);
    buf.put_slice(member.name().as_bytes());
}

fn put_message(message: &Message<Member>, buf: &mut Vec<u8>) {
    match message {
        Message::Ping(probe) => buf.put_slice(&[0, *probe]),
        Message::Ack(probe) => buf.put_slice(&[1, *probe]),
        Message::PingReq { target, probe_number } => put_other(2, target, *probe_number, buf),
        Message::IndirectPing { origin, probe_number } => put_other(3, origin, *probe_number, buf),
        Message::IndirectAck { target, probe_number } => put_other(4, target, *probe_number, buf),
        Message::ForwardedAck { origin, probe_number } => {
            buf.put_u8(5);
            put_id(origin, buf);
            buf.put_u8(*probe_number);
        }
        Message::Announce => buf.put_u8(6),
        Message::Feed => buf.put_u8(7),
        Message::Gossip => buf.put_u8(8),
        Message::Broadcast => buf.put_u8(9),
        Message::TurnUndead => buf.put_u8(10),
    }
}

fn put_other(kind: u8, other: &Member, probe: u8, buf: &mut Vec<u8>) {
    buf.put_u8(kind);
    put_member(other, buf);
    buf.put_u8(probe);
}

fn get_message(buf: &mut impl Buf) -> Result<Message<Member>, CodecError> {
    Ok(match buf.try_get_u8()? {
        0 => Message::Ping(buf.try_get_u8()?),
        1 => Message::Ack(buf.try_get_u8()?),
        2 => Message::PingReq { target: get_member(buf)?, probe_number: buf.try_get_u8()? },
        3 => Message::IndirectPing { origin: get_member(buf)?, probe_number: buf.try_get_u8()? },
        4 => Message::IndirectAck { target: get_member(buf)?, probe_number: buf.try_get_u8()? },
        5 => Message::ForwardedAck { origin: get_id(buf)?, probe_number: buf.try_get_u8()? },
        6 => Message::Announce,
        7 => Message::Feed,
        8 => Message::Gossip,
        10 => Message::TurnUndead,
        // 9 would be broadcasts of our own, of which there are none.
        _ => return Err(CodecError::Unknown("kind")),
    })
}

fn get_key(buf: &mut impl Buf) -> Result<(NodeId, Incarnation, u32), CodecError> {
    let node = NodeId(buf.try_get_u128()?);
    let incarnation = Incarnation(buf.try_get_u64()?);
    Ok((node, incarnation, buf.try_get_u32()?))
}

fn get_id(buf: &mut impl Buf) -> Result<Member, CodecError> {
    let (node, incarnation, rejoins) = get_key(buf)?;
    Ok(Member::again(node, incarnation, rejoins, NOWHERE, NAMELESS)?)
}

fn get_member(buf: &mut impl Buf) -> Result<Member, CodecError> {
    let (node, incarnation, rejoins) = get_key(buf)?;
    let (address, name) = (get_address(buf)?, get_name(buf)?);
    if address.ip().is_unspecified() {
        return Err(MemberError::Address.into());
    }
    Ok(Member::again(node, incarnation, rejoins, address, &name)?)
}

fn get_address(buf: &mut impl Buf) -> Result<SocketAddr, CodecError> {
    let ip = match buf.try_get_u8()? {
        4 => IpAddr::V4(Ipv4Addr::from_bits(buf.try_get_u32()?)),
        6 => IpAddr::V6(Ipv6Addr::from_bits(buf.try_get_u128()?)),
        _ => return Err(CodecError::Unknown("family of addresses")),
    };
    Ok(SocketAddr::new(ip, buf.try_get_u16()?))
}

fn get_name(buf: &mut impl Buf) -> Result<String, CodecError> {
    let length = usize::from(buf.try_get_u8()?);
    if length > NODE_NAME_BYTES_MAX {
        return Err(MemberError::Name.into());
    }
    let mut bytes = vec![0; length];
    buf.try_copy_to_slice(&mut bytes)?;
    String::from_utf8(bytes).map_err(|_| MemberError::Name.into())
}
