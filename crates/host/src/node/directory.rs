//! A node's place on disk: `RUNTIME_DIRECTORY/nodes/NAME`, private to its user.
//!
//! | file | what |
//! |---|---|
//! | `lock` | held by the OS process that is the node: there is one a name |
//! | `key` | the node's key pair, so that its identity outlives the OS process |
//! | `token` | the cluster's token, and the one before it, if the node has them |
//! | `certificate` | what the node is in the cluster by, until it expires |
//! | `removed` | nodes that were removed from the cluster: a line each with its id, and what proves it |
//! | `control.sock` | where this user's commands reach it |
//! | `logs/PID.log` | what detached programs write |

use std::collections::BTreeMap;
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use peripatos_cluster::limits::{CERTIFICATE_BYTES_MAX, REMOVED_MAX};
use peripatos_cluster::{Certified, NodeId, Proof, Signature};
use rustix::fs::{FlockOperation, flock};

use super::NodeError;
use crate::control::RuntimeDirectory;
use crate::link::Keyring;
use crate::private_file::store;

/// More than any two tokens take with what stands beside them.
const TOKEN_FILE_BYTES_MAX: u64 = 1024;
/// More than four certificates take with what stands beside them.
const CERTIFIED_BYTES_MAX: u64 = 5 * CERTIFICATE_BYTES_MAX as u64;
/// Longer is no line of the list of removed nodes, with its end: an id, a key and two signatures.
const REMOVED_LINE_BYTES_MAX: usize = 33 + 65 + 2 * 129 + 1;

/// The directory of one node.
#[derive(Debug)]
pub struct NodeDirectory {
    path: PathBuf,
}

/// Held while the node lives.
#[derive(Debug)]
pub struct NodeLock(#[expect(dead_code, reason = "held, never looked at")] File);

impl NodeDirectory {
    /// The directory of the node of this name; made if absent.
    ///
    /// # Errors
    /// It cannot be made.
    pub fn open(runtime: &RuntimeDirectory, name: &str) -> Result<NodeDirectory, NodeError> {
        let path = nodes(runtime).join(name);
        let make = |path: &Path| DirBuilder::new().mode(0o700).recursive(true).create(path);
        make(&path.join("logs")).map_err(|cause| NodeError::file(&path, cause))?;
        Ok(NodeDirectory { path })
    }

    /// Names of the nodes that live under this user, by name.
    ///
    /// # Errors
    /// The directory cannot be read.
    pub fn living(runtime: &RuntimeDirectory) -> Result<Vec<String>, NodeError> {
        let path = nodes(runtime);
        let entries = match fs::read_dir(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            entries => entries.map_err(|cause| NodeError::file(&path, cause))?,
        };
        let mut names: Vec<String> = entries
            .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
            .filter(|name| NodeDirectory { path: path.join(name) }.is_living())
            .collect();
        names.sort();
        Ok(names)
    }

    fn is_living(&self) -> bool {
        let Ok(file) = File::open(self.path.join("lock")) else { return false };
        flock(&file, FlockOperation::NonBlockingLockShared).is_err()
    }

    /// Becomes the node of this name.
    ///
    /// # Errors
    /// [`NodeError::Running`]: another OS process is it.
    pub fn lock(&self, name: &str) -> Result<NodeLock, NodeError> {
        let path = self.path.join("lock");
        let failed = |cause| NodeError::file(&path, cause);
        let mut options = OpenOptions::new();
        let options = options.create(true).truncate(false).write(true).mode(0o600);
        let file = options.open(&path).map_err(failed)?;
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => Ok(NodeLock(file)),
            Err(rustix::io::Errno::WOULDBLOCK) => Err(NodeError::Running(name.to_owned())),
            Err(error) => Err(failed(error.into())),
        }
    }

    /// Where the key pair is kept.
    #[must_use]
    pub fn key(&self) -> PathBuf {
        self.path.join("key")
    }

    /// Where commands reach the node.
    #[must_use]
    pub fn socket(&self) -> PathBuf {
        self.path.join("control.sock")
    }

    /// Where detached programs' output goes.
    #[must_use]
    pub fn logs(&self) -> PathBuf {
        self.path.join("logs")
    }

    /// The tokens of the cluster that the node was last in.
    ///
    /// # Errors
    /// The file is there and holds something else.
    pub fn keyring(&self) -> Result<Option<Keyring>, NodeError> {
        let path = self.path.join("token");
        let failed = |cause| NodeError::file(&path, cause);
        let mut text = String::new();
        match File::open(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            file => {
                let file = file.map_err(failed)?.take(TOKEN_FILE_BYTES_MAX);
                { file }.read_to_string(&mut text).map_err(failed)?;
            }
        }
        let keyring = Keyring::parse(&text);
        let invalid = |error| failed(io::Error::new(io::ErrorKind::InvalidData, error));
        keyring.map(Some).map_err(invalid)
    }

    /// Keeps the tokens, readable for this user only.
    ///
    /// # Errors
    /// They cannot be written.
    pub fn keep_keyring(&self, keyring: &Keyring) -> Result<(), NodeError> {
        let path = self.path.join("token");
        store(&path, keyring.to_string().as_bytes()).map_err(|cause| NodeError::file(&path, cause))
    }

    /// Does not keep them any more.
    ///
    /// # Errors
    /// They cannot be removed.
    pub fn remove_keyring(&self) -> Result<(), NodeError> {
        let path = self.path.join("token");
        fs::remove_file(&path).map_err(|cause| NodeError::file(&path, cause))
    }

    /// What the node was in the cluster by that it was last in.
    ///
    /// # Errors
    /// The file is there and holds something else.
    pub fn certified(&self) -> Result<Option<Certified>, NodeError> {
        let path = self.path.join("certificate");
        let failed = |cause| NodeError::file(&path, cause);
        let file = match File::open(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            file => file.map_err(failed)?,
        };
        let mut bytes = Vec::new();
        file.take(CERTIFIED_BYTES_MAX).read_to_end(&mut bytes).map_err(failed)?;
        let certified = postcard::from_bytes::<Certified>(&bytes).ok().filter(Certified::is_valid);
        let damaged = || io::Error::new(io::ErrorKind::InvalidData, "not a node's certificate");
        certified.map(Some).ok_or_else(|| failed(damaged()))
    }

    /// Keeps that, readable for this user only.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn keep_certified(&self, certified: &Certified) -> Result<(), NodeError> {
        let path = self.path.join("certificate");
        let failed = |cause| NodeError::file(&path, cause);
        let bytes = postcard::to_stdvec(certified).map_err(|error| failed(io::Error::other(error)));
        store(&path, &bytes?).map_err(failed)
    }

    /// Whether the node of this name can be in the cluster that it was last in, without being given the token.
    #[must_use]
    pub fn is_member(runtime: &RuntimeDirectory, name: &str) -> bool {
        let path = nodes(runtime).join(name);
        path.join("token").exists() || path.join("certificate").exists()
    }

    /// The nodes that were removed from the cluster that the node was last in.
    ///
    /// # Errors
    /// The file is there and holds something else.
    pub fn removed(&self) -> Result<BTreeMap<NodeId, Proof>, NodeError> {
        let path = self.path.join("removed");
        let failed = |cause| NodeError::file(&path, cause);
        let file = match File::open(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(BTreeMap::new()),
            file => file.map_err(failed)?,
        };
        let bytes_max = REMOVED_MAX * REMOVED_LINE_BYTES_MAX;
        let mut text = String::new();
        file.take(bytes_max as u64 + 1).read_to_string(&mut text).map_err(failed)?;
        let read = match text.len() > bytes_max || text.lines().count() > REMOVED_MAX {
            true => Err(format!("more than {REMOVED_MAX} nodes")),
            false => text.lines().map(removed_of).collect(),
        };
        read.map_err(|error| failed(io::Error::new(io::ErrorKind::InvalidData, error)))
    }

    /// Keeps these, and no others.
    ///
    /// # Errors
    /// They cannot be written.
    pub fn keep_removed(&self, nodes: &BTreeMap<NodeId, Proof>) -> Result<(), NodeError> {
        let path = self.path.join("removed");
        let text: String = nodes.iter().map(|(node, proof)| removed_line(*node, proof)).collect();
        store(&path, text.as_bytes()).map_err(|cause| NodeError::file(&path, cause))
    }
}

/// `ID AUTHORITY SIGNATURE [VOUCHED]`, all but the id in hexadecimal digits.
fn removed_line(node: NodeId, proof: &Proof) -> String {
    let Proof { authority, signature, vouched } = proof;
    let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    let (authority, signature) = (hex(authority), hex(signature.as_flattened()));
    let vouched = vouched.map_or_else(String::new, |one| format!(" {}", hex(one.as_flattened())));
    format!("{node} {authority} {signature}{vouched}\n")
}

fn removed_of(line: &str) -> Result<(NodeId, Proof), String> {
    let mut words = line.split(' ');
    let node = words.next().unwrap_or_default().parse()?;
    let bytes = |word: Option<&str>, count: usize| {
        let is_hex = |word: &&str| word.bytes().all(|byte| byte.is_ascii_hexdigit());
        let digits = word.filter(|word| word.len() == 2 * count).filter(is_hex);
        let pairs = digits.unwrap_or_default().as_bytes().chunks(2);
        let byte = |pair: &[u8]| u8::from_str_radix(str::from_utf8(pair).ok()?, 16).ok();
        let bytes: Option<Vec<u8>> = pairs.map(byte).collect();
        let bytes = bytes.filter(|bytes| bytes.len() == count);
        bytes.ok_or_else(|| "behind a node's id comes what proves that it was removed".to_owned())
    };
    let signature = |word| {
        let (mut halves, bytes) = (Signature::default(), bytes(word, 64)?);
        halves.as_flattened_mut().copy_from_slice(&bytes);
        Ok::<_, String>(halves)
    };
    let mut authority = [0; 32];
    authority.copy_from_slice(&bytes(words.next(), 32)?);
    let signed = signature(words.next())?;
    let vouched = words.next().map(|word| signature(Some(word))).transpose()?;
    match words.next() {
        None => Ok((node, Proof { authority, signature: signed, vouched })),
        Some(_) => Err("there is more in a line than a proof".to_owned()),
    }
}

fn nodes(runtime: &RuntimeDirectory) -> PathBuf {
    runtime.path().join("nodes")
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::MetadataExt as _;

    #[test]
    fn those_that_were_removed_are_kept_and_checked() {
        let temporary = tempfile::tempdir().unwrap();
        let place = NodeDirectory { path: temporary.path().to_owned() };
        assert_eq!(place.removed().unwrap(), BTreeMap::new());
        let proof = |byte: u8| {
            let vouched = byte.is_multiple_of(2).then_some([[byte; 32], [byte + 1; 32]]);
            Proof { authority: [byte; 32], signature: [[byte; 32], [255; 32]], vouched }
        };
        let all = (0..REMOVED_MAX as u128).map(|node| (NodeId(node), proof(node as u8 / 2)));
        let two = BTreeMap::from([(NodeId(u128::MAX), proof(8)), (NodeId(7), proof(9))]);
        for nodes in [all.collect(), two, BTreeMap::new()] {
            place.keep_removed(&nodes).unwrap();
            assert_eq!(place.removed().unwrap(), nodes);
        }
        let path = temporary.path().join("removed");
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, 0o600);
        let check = |text: &str, expected: &str| {
            fs::write(&path, text).unwrap();
            let error = place.removed().expect_err("no list").to_string();
            assert!(error.contains(expected), "{error} does not say {expected}");
        };
        let (id, key, signature) = (NodeId(1), "ab".repeat(32), "cd".repeat(64));
        check("n12\n", "32 hexadecimal digits");
        check("\n", "32 hexadecimal digits");
        for short in ["", &key, &format!("{key} {key}"), &format!("{key} {signature} {key}")] {
            check(&format!("{id} {short}\n"), "what proves that it was removed");
        }
        check(&format!("{id} {} {signature}\n", "+1".repeat(32)), "what proves");
        check(&format!("{id}\n"), "what proves that it was removed");
        let line = format!("{id} {key} {signature}");
        check(&format!("{line} {signature} {signature}\n"), "more in a line");
        check(&format!("{line}\n").repeat(REMOVED_MAX + 1), "more than 4096 nodes");
    }
}
