//! Groups: names that several processes have together.
//!
//! That a process is a member is kept as a name of its own, which no process can register: so it is told to other nodes,
//! goes with the process and ends with it as names do.

use std::collections::BTreeSet;

use peripatos_abi::Pid;
use peripatos_abi::message::{GROUP_MEMBERS_MAX, NAME_BYTES_MAX, PID_BYTES, Status};

use crate::names::Names;

/// What these names begin with. No text in UTF-8 does.
const MARK: u8 = 0xff;
/// Bytes that such a name has beside the group's.
pub(crate) const MEMBER_BYTES: usize = 1 + 2 + PID_BYTES;

/// Whether a name is one that a process may have by itself.
pub(crate) fn is_plain(name: &[u8]) -> bool {
    name.first() != Some(&MARK)
}

/// What all names of a group's members begin with. The length keeps those of longer groups apart.
fn stem(group: &[u8]) -> Vec<u8> {
    let len = group.len() as u16;
    [&[MARK][..], &len.to_be_bytes(), group].concat()
}

fn member_name(group: &[u8], pid: Pid) -> Vec<u8> {
    [&stem(group)[..], &pid.bits().to_be_bytes()].concat()
}

/// What members do, and who sends to them.
impl Names {
    /// A process is a member of a group, which there is as long as it has members.
    ///
    /// # Errors
    /// [`Status::TooLong`], or [`Status::TooMany`] members, or names.
    pub fn join(&mut self, group: &[u8], pid: Pid) -> Result<(), Status> {
        if group.len() > NAME_BYTES_MAX {
            return Err(Status::TooLong);
        }
        let members = self.members(group);
        if members.len() >= GROUP_MEMBERS_MAX && !members.contains(&pid) {
            return Err(Status::TooMany);
        }
        if !members.contains(&pid) && !self.may_have_more(pid) {
            return Err(Status::TooMany);
        }
        self.insert(&member_name(group, pid), pid);
        Ok(())
    }

    /// It is no member any more.
    ///
    /// # Errors
    /// [`Status::NoName`]: it is none.
    pub fn leave(&mut self, group: &[u8], pid: Pid) -> Result<(), Status> {
        if group.len() > NAME_BYTES_MAX {
            return Err(Status::NoName);
        }
        self.remove(&member_name(group, pid), pid)
    }

    /// Who is a member, as far as this node knows. Nobody: there is no such group.
    #[must_use]
    pub fn members(&self, group: &[u8]) -> Vec<Pid> {
        if group.len() > NAME_BYTES_MAX {
            return Vec::new();
        }
        let stem = stem(group);
        let (mut members, mut after) = (BTreeSet::new(), stem.clone());
        while let Ok((name, pid)) = self.next_of_all(&stem, &after)
            && members.len() < GROUP_MEMBERS_MAX
        {
            members.insert(pid);
            after = name.to_vec();
        }
        members.into_iter().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn members_come_and_go_and_are_told_of() {
        let [one, two, three] = [1, 2, 3].map(|number| Pid::new(number, number));
        let (mut here, mut there) = (Names::default(), Names::default());
        for (group, pid) in [(&b"a"[..], one), (b"a", two), (b"ab", three), (b"a", one)] {
            here.join(group, pid).unwrap();
        }
        there.heard(5, here.take_changes());
        for names in [&here, &there] {
            assert_eq!(names.members(b"a"), [one, two]);
            assert_eq!(names.members(b"ab"), [three]);
            assert_eq!(names.members(b""), []);
            assert_eq!(names.next(b"", b""), Err(Status::NoName));
        }
        assert_eq!(here.leave(b"a", one), Ok(()));
        assert_eq!(here.leave(b"a", one), Err(Status::NoName));
        // One moves: it is a member all the time.
        there.arrived(two, &here.of(two));
        assert_eq!(there.members(b"a"), [one, two]);
        here.forget(two);
        there.heard(5, here.take_changes());
        assert_eq!(there.members(b"a"), [two]);
        assert_eq!(here.members(b"a"), []);
        assert_eq!(here.join(&[b'a'; NAME_BYTES_MAX + 1], one), Err(Status::TooLong));
        let longest = [b'a'; NAME_BYTES_MAX];
        here.join(&longest, one).unwrap();
        there.heard(5, here.take_changes());
        assert_eq!(there.members(&longest), [one]);
    }

    #[test]
    fn nobody_has_such_a_name() {
        let (mut names, one) = (Names::default(), Pid::new(1, 1));
        let name = member_name(b"a", Pid::new(2, 2));
        assert_eq!(names.register(&name, one), Err(Status::NotPermitted));
        names.join(b"a", one).unwrap();
        let own = member_name(b"a", one);
        assert_eq!(names.lookup(&own), Err(Status::NoName));
        assert_eq!(names.unregister(&own, one), Err(Status::NoName));
    }
}
