//! Names of processes: of all that know each other, whatever kernel has them.
//!
//! A node knows the names of its own processes for certain, and those of other nodes' as they have told it. So a name may
//! be taken twice, on two nodes that have not heard of each other; then the process of the lower pid has it, and the other
//! one is told when they have ([`dispute`](crate::dispute)).

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;

use peripatos_abi::Pid;
use peripatos_abi::message::{NAME_BYTES_MAX, NAMES_MAX, Status};

use crate::dispute::NameLost;
use crate::groups::{MEMBER_BYTES, is_plain};
#[cfg(feature = "mutations")]
use crate::mutation::Mutation;

/// Who is called what. A process may have several names, a name has one owner.
#[derive(Debug, Default)]
pub struct Names {
    pub(crate) owners: BTreeMap<Vec<u8>, Pid>,
    names: BTreeMap<Pid, Vec<Vec<u8>>>,
    /// What other nodes have told, and which.
    pub(crate) foreign: BTreeMap<Vec<u8>, BTreeMap<u128, Pid>>,
    /// What others have not been told.
    changes: Vec<NameChange>,
    /// Names of processes here that a process of that node has, too, and does not keep.
    pub(crate) disputes: BTreeSet<(Vec<u8>, u128)>,
    /// Names that were lost, of those who have not been told, and who has them.
    pub(crate) untold: BTreeMap<Pid, Vec<(Vec<u8>, Pid)>>,
    /// What the host has not heard of that.
    pub(crate) losses: Vec<NameLost>,
    #[cfg(feature = "mutations")]
    pub(crate) mutation: Option<Mutation>,
}

/// Names that another node's processes may have. More are not taken in.
const FOREIGN_MAX: usize = 1 << 20;
/// Bytes of a name, or of what stands for a member of a group.
const BYTES_MAX: usize = NAME_BYTES_MAX + MEMBER_BYTES;

/// A process has a name, or (`None`) nobody has it any more.
pub type NameChange = (Vec<u8>, Option<Pid>);

/// What other nodes tell.
impl Names {
    /// What has changed since this was asked last, to be told to others.
    pub fn take_changes(&mut self) -> Vec<NameChange> {
        std::mem::take(&mut self.changes)
    }

    /// All names of own processes.
    #[must_use]
    pub fn own(&self) -> Vec<NameChange> {
        self.owners.iter().map(|(name, pid)| (name.clone(), Some(*pid))).collect()
    }

    /// Whether own processes have any.
    #[must_use]
    pub fn has_own(&self) -> bool {
        !self.owners.is_empty()
    }

    /// Those of one own process, which moves; those that it has lost and was not told of, too.
    #[must_use]
    pub fn of(&self, pid: Pid) -> Vec<Vec<u8>> {
        let untold = self.untold.get(&pid).into_iter().flatten().map(|(name, _)| name);
        self.names.get(&pid).into_iter().flatten().chain(untold).cloned().collect()
    }

    /// A node tells of its processes. Names that are too long are left out, and so are those that are too many.
    pub fn heard(&mut self, node: u128, changes: Vec<NameChange>) {
        for (name, pid) in changes {
            match pid {
                Some(pid) if name.len() <= BYTES_MAX && self.foreign.len() < FOREIGN_MAX => {
                    self.dispute(node, &name, pid);
                    self.foreign.entry(name).or_default().insert(node, pid);
                }
                Some(_) => {}
                None => {
                    if let Some(of) = self.foreign.get_mut(&name) {
                        of.remove(&node);
                    }
                    if self.foreign.get(&name).is_some_and(BTreeMap::is_empty) {
                        self.foreign.remove(&name);
                    }
                }
            }
        }
    }

    /// A node is not there any more, or will tell everything anew.
    pub fn forget_node(&mut self, node: u128) {
        self.foreign.retain(|_, of| {
            of.remove(&node);
            !of.is_empty()
        });
    }

    fn owner(&self, name: &[u8]) -> Option<Pid> {
        let foreign = self.foreign.get(name).into_iter().flat_map(BTreeMap::values);
        foreign.chain(self.owners.get(name)).min().copied()
    }
}

/// What own processes do.
impl Names {
    /// Gives a process a name.
    ///
    /// # Errors
    /// [`Status::TooLong`], or [`Status::NameTaken`] by somebody else; [`Status::NotPermitted`]: it begins with byte 255.
    /// [`Status::TooMany`] names.
    pub fn register(&mut self, name: &[u8], pid: Pid) -> Result<(), Status> {
        if name.len() > NAME_BYTES_MAX {
            return Err(Status::TooLong);
        }
        if !is_plain(name) {
            return Err(Status::NotPermitted);
        }
        match self.owner(name) {
            Some(owner) if owner != pid => Err(Status::NameTaken),
            None if !self.may_have_more(pid) => Err(Status::TooMany),
            _ => {
                self.insert(name, pid);
                Ok(())
            }
        }
    }

    /// Whether a process may have another name.
    pub(crate) fn may_have_more(&self, pid: Pid) -> bool {
        self.names.get(&pid).is_none_or(|names| names.len() < NAMES_MAX)
    }

    /// A process has come, with these names. One that somebody here has, too, the lower pid keeps.
    pub fn arrived(&mut self, pid: Pid, names: &[Vec<u8>]) {
        for name in names.iter().filter(|name| name.len() <= BYTES_MAX) {
            let (name, other) = (name.clone(), self.owners.get(name).copied());
            match other.filter(|other| *other != pid) {
                Some(owner) if owner < pid => self.loses(NameLost { name, owner, loser: pid }),
                Some(loser) => {
                    let _ = self.remove(&name, loser);
                    self.insert(&name, pid);
                    self.loses(NameLost { name, owner: pid, loser });
                }
                None => self.insert(&name, pid),
            }
        }
    }

    pub(crate) fn insert(&mut self, name: &[u8], pid: Pid) {
        if self.owners.insert(name.to_vec(), pid).is_none() {
            self.names.entry(pid).or_default().push(name.to_vec());
            self.changes.push((name.to_vec(), Some(pid)));
        }
    }

    /// Who has this name.
    ///
    /// # Errors
    /// [`Status::NoName`].
    pub fn lookup(&self, name: &[u8]) -> Result<Pid, Status> {
        self.owner(name).filter(|_| is_plain(name)).ok_or(Status::NoName)
    }

    /// Takes a name from a process.
    ///
    /// # Errors
    /// [`Status::NoName`]: it does not have it.
    pub fn unregister(&mut self, name: &[u8], pid: Pid) -> Result<(), Status> {
        if is_plain(name) { self.remove(name, pid) } else { Err(Status::NoName) }
    }

    pub(crate) fn remove(&mut self, name: &[u8], pid: Pid) -> Result<(), Status> {
        if self.owners.get(name) != Some(&pid) {
            return Err(Status::NoName);
        }
        self.owners.remove(name);
        self.changes.push((name.to_vec(), None));
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
        // Those of groups' members come after all others.
        self.next_of_all(prefix, after)
            .and_then(|found| if is_plain(found.0) { Ok(found) } else { Err(Status::NoName) })
    }

    /// The same, of groups' members, too.
    pub(crate) fn next_of_all(&self, prefix: &[u8], after: &[u8]) -> Result<(&[u8], Pid), Status> {
        let from = if after < prefix { Bound::Included(prefix) } else { Bound::Excluded(after) };
        let range = (from, Bound::Unbounded);
        let own = self.owners.range::<[u8], _>(range).next().map(|(name, _)| name);
        let foreign = self.foreign.range::<[u8], _>(range).next().map(|(name, _)| name);
        let first = own.into_iter().chain(foreign).min().filter(|name| name.starts_with(prefix));
        let name = first.ok_or(Status::NoName)?;
        self.owner(name).map(|pid| (name.as_slice(), pid)).ok_or(Status::NoName)
    }

    /// A process has ended, or has left: its names are free here. Whether it had any.
    pub fn forget(&mut self, pid: Pid) -> bool {
        self.untold.remove(&pid);
        let names = self.names.remove(&pid).unwrap_or_default();
        let had = !names.is_empty();
        for name in names {
            self.owners.remove(&name);
            self.changes.push((name, None));
        }
        had
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

    #[test]
    fn what_nodes_have_told_counts_until_they_take_it_back() {
        let (mut here, mut there) = (Names::default(), Names::default());
        let [one, two] = [1, 2].map(|n| Pid::new(n, n));
        there.register(b"b", two).unwrap();
        there.register(b"d", two).unwrap();
        here.register(b"c", one).unwrap();
        here.heard(7, there.take_changes());
        assert!(there.take_changes().is_empty());
        assert_eq!(here.lookup(b"b"), Ok(two));
        assert_eq!(here.register(b"b", one), Err(Status::NameTaken));
        let all: Vec<&[u8]> = [&b""[..], b"b", b"c"]
            .map(|after| here.next(b"", after).map(|(name, _)| name).unwrap())
            .to_vec();
        assert_eq!(all, [&b"b"[..], b"c", b"d"]);
        assert_eq!(here.next(b"", b"d"), Err(Status::NoName));
        there.unregister(b"b", two).unwrap();
        here.heard(7, there.take_changes());
        assert_eq!(here.lookup(b"b"), Err(Status::NoName));
        here.forget_node(7);
        assert_eq!(here.lookup(b"d"), Err(Status::NoName));
        // Both have taken it: everywhere the same one has it.
        here.register(b"e", two).unwrap();
        there.register(b"e", one).unwrap();
        here.heard(7, there.take_changes());
        there.heard(8, here.take_changes());
        assert_eq!((here.lookup(b"e"), there.lookup(b"e")), (Ok(one), Ok(one)));
        // One moves to where the other one is.
        let moved = there.of(one);
        there.forget(one);
        here.arrived(one, &moved);
        here.heard(7, there.take_changes());
        assert_eq!(here.lookup(b"e"), Ok(one));
    }
}
