//! Names of processes: of all that know each other, whatever kernel has them.

use std::collections::BTreeMap;
use std::ops::Bound;

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

    /// Takes a name from a process.
    ///
    /// # Errors
    /// [`Status::NoName`]: it does not have it.
    pub fn unregister(&mut self, name: &[u8], pid: Pid) -> Result<(), Status> {
        if self.owners.get(name) != Some(&pid) {
            return Err(Status::NoName);
        }
        self.owners.remove(name);
        if let Some(names) = self.names.get_mut(&pid) {
            names.retain(|one| one != name);
        }
        Ok(())
    }

    /// The first name that begins with `prefix` and comes after `after`, in the order of bytes, and who has it.
    ///
    /// # Errors
    /// [`Status::NoName`]: there is none.
    pub fn next(&self, prefix: &[u8], after: &[u8]) -> Result<(&[u8], Pid), Status> {
        let from = if after < prefix { Bound::Included(prefix) } else { Bound::Excluded(after) };
        let mut names = self.owners.range::<[u8], _>((from, Bound::Unbounded));
        let (name, pid) = names.next().ok_or(Status::NoName)?;
        if name.starts_with(prefix) { Ok((name, *pid)) } else { Err(Status::NoName) }
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
        assert_eq!(names.next(b"a/", b""), Ok((&b"a/1"[..], one)));
        assert_eq!(names.next(b"a/", b"a/1"), Ok((&b"a/2"[..], one)));
        assert_eq!(names.next(b"a/", b"a/2"), Err(Status::NoName));
        assert_eq!(names.unregister(b"a/2", two), Err(Status::NoName));
        names.unregister(b"a/2", one).unwrap();
        assert_eq!(names.next(b"a/", b"a/1"), Err(Status::NoName));
        names.forget(one);
        assert_eq!(names.lookup(b"b"), Err(Status::NoName));
        names.register(b"b", two).unwrap();
        assert_eq!(names.lookup(b"b"), Ok(two));
    }
}
