//! This user's secret on this machine: 32 random bytes in a file that only the user can read. It never leaves.

use std::env;
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

const SECRET_BYTES: usize = 32;
/// Names the use of a key derived from the secret (blake3's key derivation).
const VOUCHER_CONTEXT: &str = "peripatos 2026 image voucher";

/// The key that vouches for images; `None` where there is no place to keep a secret.
pub(crate) fn voucher_key() -> Option<[u8; 32]> {
    let secret = read_or_make(&state_directory()?).ok()?;
    Some(blake3::derive_key(VOUCHER_CONTEXT, &secret))
}

/// `XDG_STATE_HOME/peripatos`, or `~/.local/state/peripatos`.
fn state_directory() -> Option<PathBuf> {
    let absolute = |name| env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    let base =
        absolute("XDG_STATE_HOME").or_else(|| Some(absolute("HOME")?.join(".local/state")))?;
    Some(base.join("peripatos"))
}

fn read_or_make(directory: &Path) -> io::Result<[u8; SECRET_BYTES]> {
    let path = directory.join("secret");
    match read(&path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => make(directory, &path)?,
        outcome => return outcome,
    }
    // Two commands may have made it at once: the first one's stays, and both read it.
    read(&path)
}

fn read(path: &Path) -> io::Result<[u8; SECRET_BYTES]> {
    let file = File::open(path)?;
    let found = file.metadata()?;
    if found.uid() != rustix::process::geteuid().as_raw() || found.mode() & 0o077 != 0 {
        return Err(io::ErrorKind::PermissionDenied.into());
    }
    let mut bytes = Vec::new();
    file.take(SECRET_BYTES as u64 + 1).read_to_end(&mut bytes)?;
    bytes.try_into().map_err(|_| io::ErrorKind::InvalidData.into())
}

/// Writes a new secret beside its place, then links it there: it is never seen half written.
fn make(directory: &Path, path: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(directory)?;
    let mut secret = [0; SECRET_BYTES];
    File::open("/dev/urandom")?.read_exact(&mut secret)?;
    let temporary = directory.join(format!(".secret.{}", std::process::id()));
    let mut file =
        OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&temporary)?;
    file.write_all(&secret)?;
    let linked = fs::hard_link(&temporary, path);
    fs::remove_file(&temporary)?;
    match linked {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(error),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt as _;

    #[test]
    fn the_secret_is_made_once_and_must_be_private() {
        let temporary = tempfile::tempdir().unwrap();
        let directory = temporary.path().join("state");
        let first = read_or_make(&directory).unwrap();
        assert_eq!(read_or_make(&directory).unwrap(), first);
        assert_ne!(first, [0; SECRET_BYTES]);
        let path = directory.join("secret");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
        assert!(read_or_make(&directory).is_err());
    }
}
