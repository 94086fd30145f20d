//! Names of processes: of all that know each other, whatever kernel has them.

use std::collections::BTreeMap;

use peripatos_abi::Pid;
use peripatos_abi::message::{NAME_BYTES_MAX, Status};

/// Who is called what. A process may have several names, a name has one owner.
#[derive(Debug, Default)]
pub struct Names {
    owners: BTreeMap<Vec<u8>, Pid>,
    names: BTreeMap<Pid, Vec<Vec<u8>>>,
}

impl Names {
    /// Gives a process a name.
    ///
    /// # Errors
    /// [`Status::TooLong`], or [`Status::NameTaken`] by somebody else.
    pub fn register(&mut self, name: &[u8], pid: Pid) -> Result<(), Status> {
        if name.len() > NAME_BYTES_MAX {
            return Err(Status::TooLong);
        }
        match self.owners.get(name) {
            Some(owner) if *owner == pid => Ok(()),
            Some(_) => Err(Status::NameTaken),
            None => {
                self.owners.insert(name.to_vec(), pid);
                self.names.entry(pid).or_default().push(name.to_vec());
                Ok(())
            }
        }
    }

    /// Who has this name.
    ///
    /// # Errors
    /// [`Status::NoName`].
    pub fn lookup(&self, name: &[u8]) -> Result<Pid, Status> {
        self.owners.get(name).copied().ok_or(Status::NoName)
    }

    /// All names that begin so, in their order.
    pub fn with_prefix<'a>(&'a self, prefix: &'a [u8]) -> impl Iterator<Item = (&'a [u8], Pid)> {
        let from = self.owners.range(prefix.to_vec()..);
        let with = from.take_while(move |(name, _)| name.starts_with(prefix));
        with.map(|(name, pid)| (name.as_slice(), *pid))
    }

    /// A process has ended: its names are free.
    pub fn forget(&mut self, pid: Pid) {
        for name in self.names.remove(&pid).unwrap_or_default() {
            self.owners.remove(&name);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_has_one_owner_until_it_ends() {
        let (mut names, [one, two]) = (Names::default(), [1, 2].map(|n| Pid::new(n, n)));
        for name in ["a/1", "a/2", "b"] {
            names.register(name.as_bytes(), one).unwrap();
        }
        names.register(b"b", one).unwrap();
        assert_eq!(names.register(b"b", two), Err(Status::NameTaken));
        assert_eq!(names.register(&[b'x'; NAME_BYTES_MAX + 1], two), Err(Status::TooLong));
        let found: Vec<_> = names.with_prefix(b"a/").map(|(name, _)| name.to_vec()).collect();
        assert_eq!(found, [b"a/1", b"a/2"]);
        names.forget(one);
        assert_eq!(names.lookup(b"b"), Err(Status::NoName));
        names.register(b"b", two).unwrap();
        assert_eq!(names.lookup(b"b"), Ok(two));
    }
}
