//! `--dir HOST::GUEST`: which directories a program may see, and under what name.

use crate::exit::{Code, Failure, Result};
use peripatos_abi::descriptors::{DescriptorTable, Identity};
use peripatos_host::origin::{OriginError, Preopen};
use std::ffi::{OsStr, OsString};
use std::fs;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::PathBuf;

/// Parses the values of `--dir`. `HOST` alone is known to the program by the same name.
pub(crate) fn parse(values: &[OsString]) -> Result<Vec<Preopen>> {
    values.iter().map(|value| parse_one(value)).collect()
}

fn parse_one(value: &OsStr) -> Result<Preopen> {
    let bytes = value.as_bytes();
    let wrong =
        |cause: &str| Failure::new(Code::Usage, format!("--dir {}", value.display()), cause);
    let (host, guest) = match bytes.windows(2).position(|pair| pair == b"::") {
        Some(index) => (&bytes[..index], &bytes[index + 2..]),
        None => (bytes, bytes),
    };
    if host.is_empty() || guest.is_empty() {
        return Err(wrong("write it as HOST::GUEST, both given, or HOST alone"));
    }
    let guest_path =
        std::str::from_utf8(guest).map_err(|_| wrong("the guest's name must be UTF-8"))?;
    let host_path = PathBuf::from(OsStr::from_bytes(host));
    if let Err(error) = fs::read_dir(&host_path) {
        let single = !bytes.windows(2).any(|pair| pair == b"::") && bytes.contains(&b':');
        let hint =
            if single { " (host and guest are separated by two colons, HOST::GUEST)" } else { "" };
        return Err(Failure::new(Code::Unreadable, host_path.display(), format!("{error}{hint}")));
    }
    Ok(Preopen { host_path, guest_path: guest_path.to_owned() })
}

/// A directory or stream that could not be opened, as a failure.
pub(crate) fn failure(error: &OriginError) -> Failure {
    let code = match error {
        OriginError::Directory { .. } | OriginError::Stream { .. } => Code::Unreadable,
        OriginError::TooManyDirectories => Code::Usage,
    };
    Failure::new(code, "--dir", error)
}

/// Puts the directories that a user grants into an image's table, in place of those it names.
///
/// With `recorded` (the image is the user's own) what is not granted anew stays as it was. Otherwise every directory
/// needs a grant: an image could name any.
pub(crate) fn grant(
    table: &mut DescriptorTable,
    granted: &[Preopen],
    recorded: bool,
) -> Result<()> {
    let mut unused: Vec<&Preopen> = granted.iter().collect();
    for root in &mut table.roots {
        let found = unused.iter().position(|preopen| preopen.guest_path == root.guest_path);
        match found.map(|index| unused.remove(index)) {
            Some(preopen) => {
                let unreadable =
                    |error| Failure::new(Code::Unreadable, preopen.host_path.display(), error);
                let metadata = fs::metadata(&preopen.host_path).map_err(unreadable)?;
                root.host_path = std::path::absolute(&preopen.host_path).map_err(unreadable)?;
                root.identity = Identity { device: metadata.dev(), inode: metadata.ino() };
            }
            None if recorded => {}
            None => {
                let (host, guest) = (root.host_path.display(), &root.guest_path);
                let cause = format!(
                    "the image was not made by you here and wants {host}; grant it or another: --dir {host}::{guest}"
                );
                return Err(Failure::new(Code::Unreadable, guest, cause));
            }
        }
    }
    match unused.first() {
        None => Ok(()),
        Some(preopen) => {
            let what = format!("--dir {}::{}", preopen.host_path.display(), preopen.guest_path);
            Err(Failure::new(Code::Usage, what, "the process has no directory of that name"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use peripatos_abi::descriptors::Root;

    #[test]
    fn directories_are_parsed() {
        let temporary = tempfile::tempdir().unwrap();
        let host = temporary.path().to_str().unwrap();
        let check = |value: String, expected: std::result::Result<(&str, &str), &str>| match (
            parse_one(OsStr::new(&value)),
            expected,
        ) {
            (Ok(found), Ok((host, guest))) => {
                assert_eq!(
                    (found.host_path.to_str().unwrap(), found.guest_path.as_str()),
                    (host, guest)
                );
            }
            (Err(failure), Err(text)) => assert!(failure.to_string().contains(text), "{failure}"),
            (found, _) => panic!("{value}: {found:?}"),
        };
        check(format!("{host}::/data"), Ok((host, "/data")));
        check(host.into(), Ok((host, host)));
        check(format!("{host}::"), Err("both given"));
        check("::/data".into(), Err("both given"));
        check(format!("{host}:/data"), Err("two colons"));
        check(format!("{host}/absent::/data"), Err("No such file"));
    }

    #[test]
    fn a_foreign_image_opens_nothing_ungranted() {
        let temporary = tempfile::tempdir().unwrap();
        let identity = Identity { device: 0, inode: 0 };
        let root = Root { host_path: "/etc".into(), guest_path: "/data".into(), identity };
        let table = DescriptorTable { roots: vec![root], ..DescriptorTable::default() };
        let own = Preopen { host_path: temporary.path().into(), guest_path: "/data".into() };
        let other = Preopen { guest_path: "/other".into(), ..own.clone() };

        let granted = |granted: &[Preopen], recorded| {
            let mut table = table.clone();
            grant(&mut table, granted, recorded).map(|()| table.roots[0].host_path.clone())
        };
        assert!(granted(&[], false).is_err());
        assert_eq!(granted(&[], true).unwrap(), PathBuf::from("/etc"));
        assert_eq!(granted(&[own], false).unwrap(), temporary.path());
        assert!(granted(&[other], true).is_err());
    }
}
