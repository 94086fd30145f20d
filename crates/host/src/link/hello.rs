//! The first frame each way: the protocol's version, and who speaks.
//!
//! `PERILINK | u16 newest version | u16 oldest version | postcard`, little endian. Invariants:
//! * Magic and versions stand before everything that may change, so any release can name any other.
//! * A later release puts what it adds behind what there is: it is passed over here.
//! * A [`Hello`] that was read is valid: names and sizes are within their limits, the texts are printable.
//! * The node's id is not in it. That comes from the certificate, which proves it.

use super::frame::HELLO_BYTES_MAX;
use super::host_identity::HostIdentity;
use super::versions::{LINK_VERSION, LINK_VERSION_OLDEST, Versions, VersionsApart};
use crate::cores::CORES_MAX;
use peripatos_cluster::limits::NODE_NAME_BYTES_MAX;
use peripatos_cluster::membership::is_node_name;
use peripatos_cluster::{Incarnation, Labels};
use serde::{Deserialize, Serialize};

/// Longest name of a node: one label of a host name.
pub const NAME_BYTES_MAX: usize = NODE_NAME_BYTES_MAX;
/// Longest address: a host name of 253, a colon, a port.
pub const ADDRESS_BYTES_MAX: usize = 259;

/// In place of an incarnation: a command of somebody who has the token. It serves nobody and is no member.
pub const COMMAND: Incarnation = Incarnation(0);

const MAGIC: [u8; 8] = *b"PERILINK";
/// A UUID as text.
const BOOT_ID_BYTES_MAX: usize = 36;

/// What a node says about itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hello {
    /// What it speaks: [`Versions::OWN`].
    pub versions: Versions,
    /// Which of its lives this is; [`COMMAND`]: it is no node, but a command that speaks to one.
    pub incarnation: Incarnation,
    /// 1 to [`NAME_BYTES_MAX`] of `A-Z a-z 0-9 . _ -`.
    pub name: String,
    /// `HOST:PORT` on which it listens and others can reach it; empty if there is none.
    pub address: String,
    /// Kernel threads that run its processes, up to [`CORES_MAX`]; a command has none.
    pub cores: u32,
    /// What it is labelled with.
    pub labels: Labels,
    /// Its OS process.
    pub host: HostIdentity,
}

/// Why bytes are no hello.
#[derive(Debug, thiserror::Error)]
pub enum HelloError {
    /// The first frame was something else.
    #[error("the other side did not say hello")]
    NotAHello,
    /// A release with which there is no common version of the protocol.
    #[error(transparent)]
    Versions(#[from] VersionsApart),
    /// The bytes behind the versions are not what it says.
    #[error("malformed hello")]
    Malformed,
    /// One field is not as it must be.
    #[error("malformed hello: the {0} is not valid")]
    Field(&'static str),
}

/// The bytes behind the versions.
#[derive(Serialize, Deserialize)]
struct Wire {
    incarnation: u64,
    name: String,
    address: String,
    cores: u32,
    labels: Labels,
    boot_id: String,
    pid_namespace: u64,
    os_process: u32,
    started_ticks: u64,
}

impl Hello {
    /// Whether a command speaks, not a node.
    #[must_use]
    pub fn is_of_command(&self) -> bool {
        self.incarnation == COMMAND
    }

    /// The bytes. Errors: a field is not valid.
    pub(super) fn encode(&self) -> Result<Vec<u8>, HelloError> {
        self.check()?;
        let wire = Wire {
            incarnation: self.incarnation.0,
            name: self.name.clone(),
            address: self.address.clone(),
            cores: self.cores,
            labels: self.labels.clone(),
            boot_id: self.host.boot_id.clone(),
            pid_namespace: self.host.pid_namespace,
            os_process: self.host.os_process,
            started_ticks: self.host.started_ticks,
        };
        let mut bytes = MAGIC.to_vec();
        let Versions { oldest, newest } = self.versions;
        [newest, oldest].iter().for_each(|one| bytes.extend_from_slice(&one.to_le_bytes()));
        let bytes = postcard::to_extend(&wire, bytes).map_err(|_| HelloError::Malformed)?;
        assert!(bytes.len() <= HELLO_BYTES_MAX, "valid fields are short");
        Ok(bytes)
    }

    /// The hello in these bytes, if it is valid and there is a version that both speak: that.
    pub(super) fn decode(bytes: &[u8]) -> Result<(Hello, u16), HelloError> {
        let (versions, body) = versions(bytes)?;
        let version = Versions::OWN.common(versions)?;
        let read = postcard::take_from_bytes::<Wire>(body);
        let (wire, rest) = read.map_err(|_| HelloError::Malformed)?;
        if !rest.is_empty() && versions.newest <= LINK_VERSION {
            return Err(HelloError::Malformed);
        }
        let hello = Hello {
            versions,
            incarnation: Incarnation(wire.incarnation),
            name: wire.name,
            address: wire.address,
            cores: wire.cores,
            labels: wire.labels,
            host: HostIdentity {
                boot_id: wire.boot_id,
                pid_namespace: wire.pid_namespace,
                os_process: wire.os_process,
                started_ticks: wire.started_ticks,
            },
        };
        hello.check()?;
        Ok((hello, version))
    }

    fn check(&self) -> Result<(), HelloError> {
        let boot_id = &self.host.boot_id;
        let boot_id_good = boot_id.len() <= BOOT_ID_BYTES_MAX
            && boot_id.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
        match () {
            () if !is_name(&self.name) => Err(HelloError::Field("name")),
            () if !self.address.is_empty() && !is_address(&self.address) => {
                Err(HelloError::Field("address"))
            }
            () if self.cores as usize > CORES_MAX => Err(HelloError::Field("number of cores")),
            () if !self.labels.is_valid() => Err(HelloError::Field("labels")),
            () if !boot_id_good => Err(HelloError::Field("boot id")),
            () => Ok(()),
        }
    }
}

/// The versions in a hello's head, and what stands behind it.
fn versions(bytes: &[u8]) -> Result<(Versions, &[u8]), HelloError> {
    let rest = bytes.strip_prefix(&MAGIC).ok_or(HelloError::NotAHello)?;
    let (newest, rest) = rest.split_first_chunk().ok_or(HelloError::NotAHello)?;
    let newest = u16::from_le_bytes(*newest);
    if newest < LINK_VERSION_OLDEST {
        // Until version 6 there was one number. Later ones that are too old are refused all the same.
        return Ok((Versions { oldest: newest, newest }, rest));
    }
    let (oldest, rest) = rest.split_first_chunk().ok_or(HelloError::Malformed)?;
    Ok((Versions { oldest: u16::from_le_bytes(*oldest), newest }, rest))
}

/// Whether a node may have this name.
pub fn is_name(name: &str) -> bool {
    is_node_name(name)
}

/// Whether this is `HOST:PORT` by its form; an IPv6 address stands in brackets.
pub fn is_address(address: &str) -> bool {
    let Some((host, port)) = address.rsplit_once(':') else { return false };
    let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
    let inner = bare.unwrap_or(host);
    let allowed = |byte: u8| {
        byte.is_ascii_alphanumeric() || b"._-".contains(&byte) || bare.is_some() && byte == b':'
    };
    address.len() <= ADDRESS_BYTES_MAX
        && !inner.is_empty()
        && inner.bytes().all(allowed)
        && port.bytes().all(|byte| byte.is_ascii_digit())
        && port.parse::<u16>().is_ok_and(|port| port != 0)
}

#[cfg(test)]
mod tests {
    use peripatos_cluster::limits::{LABEL_BYTES_MAX, LABELS_MAX};

    use super::*;

    const HEAD_BYTES: usize = MAGIC.len() + 4;

    fn labels(texts: &[&str]) -> Labels {
        Labels::new(texts.iter().map(|text| text.parse().unwrap())).unwrap()
    }

    fn hello() -> Hello {
        Hello {
            versions: Versions::OWN,
            incarnation: Incarnation(u64::MAX),
            name: "atlas-2".into(),
            address: "[::1]:7000".into(),
            cores: CORES_MAX as u32,
            labels: labels(&["gpu=yes", "zone=a"]),
            host: HostIdentity::own().unwrap(),
        }
    }

    #[test]
    fn round_trip() {
        let check = |hello: Hello| {
            let read = Hello::decode(&hello.encode().unwrap()).unwrap();
            assert_eq!(read, (hello, LINK_VERSION));
        };
        check(hello());
        check(Hello { address: String::new(), name: "a".repeat(NAME_BYTES_MAX), ..hello() });
        let host = "h".repeat(ADDRESS_BYTES_MAX - 6);
        check(Hello { address: format!("{host}:65535"), ..hello() });
        // The longest hello there is.
        let long = (0..LABELS_MAX)
            .map(|number| format!("{number:0>LABEL_BYTES_MAX$}={}", "v".repeat(LABEL_BYTES_MAX)));
        let long: Vec<String> = long.collect();
        let long = labels(&long.iter().map(String::as_str).collect::<Vec<_>>());
        let name = "a".repeat(NAME_BYTES_MAX);
        check(Hello { address: format!("{host}:65535"), name, labels: long, ..hello() });
    }

    #[test]
    fn what_is_not_valid_is_neither_sent_nor_taken() {
        let check = |hello: Hello, field: &str| {
            let error = hello.encode().expect_err("not valid").to_string();
            assert!(error.contains(field), "{error} does not say {field}");
        };
        for name in ["", "a b", "a/b", "ä", "a\n", &"a".repeat(NAME_BYTES_MAX + 1)] {
            check(Hello { name: name.into(), ..hello() }, "name");
        }
        let long = format!("{}:1", "h".repeat(ADDRESS_BYTES_MAX));
        for address in ["host", ":1", "host:", "host:0", "host:65536", "a b:1", "::1:7", "h:+7"] {
            check(Hello { address: address.into(), ..hello() }, "address");
        }
        check(Hello { address: long, ..hello() }, "address");
        check(Hello { cores: CORES_MAX as u32 + 1, ..hello() }, "cores");
        // As another program may send them.
        let bad: Labels = postcard::from_bytes(&[1, 1, b'k', 1, 0x1b]).unwrap();
        check(Hello { labels: bad, ..hello() }, "labels");
        let host = HostIdentity { boot_id: "\u{1b}[2J".into(), ..hello().host };
        check(Hello { host, ..hello() }, "boot id");
    }

    #[test]
    fn foreign_bytes_are_refused() {
        let good = hello().encode().unwrap();
        let check = |bytes: &[u8], expected: &str| {
            let error = Hello::decode(bytes).expect_err("no hello").to_string();
            assert!(error.contains(expected), "{error} does not say {expected}");
        };
        check(b"", "did not say hello");
        check(b"GET / HTTP/1.1\r\n", "did not say hello");
        check(b"PERILINK\x07", "did not say hello");
        check(b"PERILINK\x06\0", "speaks version 6 of the link protocol");
        check(b"PERILINK\x03\x01", "malformed");
        check(b"PERILINK\x03\x01\x02\x01", "speaks versions 258 to 259 of the link protocol");
        check(&good[..HEAD_BYTES], "malformed");
        check(&[good.as_slice(), b"more"].concat(), "malformed");
        // A length that is not there.
        check(&[&good[..HEAD_BYTES], b"\x01\xff\xff\xff\xff\x0f"].concat(), "malformed");
        for length in 0..good.len() {
            Hello::decode(&good[..length]).expect_err("cut");
        }
        let mut bad_name = good.clone();
        let at = good.windows(7).position(|bytes| bytes == b"atlas-2").unwrap();
        bad_name[at] = b'/';
        check(&bad_name, "the name");
    }
}
