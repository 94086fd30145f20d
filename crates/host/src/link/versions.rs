//! Which versions of the link protocol a node speaks: releases that follow each other can be in one cluster.
//!
//! The rule: a release that changes what goes over links raises [`LINK_VERSION`] by one, and still speaks the version before
//! ([`LINK_VERSION_OLDEST`]): a link is of the newest version that both ends speak, and what a release has added is said only on links
//! of its version. So nodes can be brought to a new release one after the other. Releases further apart refuse each other, and both
//! say which of them is the older one.

use std::fmt;

/// The newest version of what goes over a link that this release speaks.
pub const LINK_VERSION: u16 = 10;
/// The oldest. (Up to version 9 nobody signed for that a node was removed: it is refused. No release has spoken it. The rule holds from
/// version 10 on.)
pub const LINK_VERSION_OLDEST: u16 = 10;

/// From this version on a node takes in what a process has written and its origin has not heard, when it comes.
pub const WRITES_BEHIND_VERSION: u16 = 9;
/// From this version on links are closed when nobody needs them (`Part`, `Parted`, `Stay`), and each end says all names that it has
/// first of all, even if there are none.
pub const PARTING_VERSION: u16 = 9;

/// The versions that one end of a link speaks: all from the oldest to the newest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Versions {
    /// The least.
    pub oldest: u16,
    /// The greatest.
    pub newest: u16,
}

impl Versions {
    /// Those of this release.
    pub const OWN: Versions = Versions { oldest: LINK_VERSION_OLDEST, newest: LINK_VERSION };

    /// The version of a link between the two.
    ///
    /// # Errors
    /// There is none that both speak.
    pub fn common(self, theirs: Versions) -> Result<u16, VersionsApart> {
        let common = self.newest.min(theirs.newest);
        let both = common >= self.oldest && common >= theirs.oldest;
        both.then_some(common).ok_or(VersionsApart { theirs, ours: self })
    }
}

impl fmt::Display for Versions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.oldest < self.newest {
            true => write!(f, "versions {} to {}", self.oldest, self.newest),
            false => write!(f, "version {}", self.newest),
        }
    }
}

/// Two releases have no version in common.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "the other side speaks {theirs} of the link protocol, this one {ours}: {} is the older release",
    if theirs.newest < ours.newest { "the other one" } else { "this one" }
)]
pub struct VersionsApart {
    /// What the peer speaks.
    pub theirs: Versions,
    /// What this node speaks.
    pub ours: Versions,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn neighbours_talk_and_others_are_named() {
        let versions = |oldest, newest| Versions { oldest, newest };
        let check = |ours, theirs, expected: Result<u16, &str>| match (
            Versions::common(ours, theirs),
            expected,
        ) {
            (Ok(version), expected) => assert_eq!(Ok(version), expected),
            (Err(error), Err(says)) => assert!(error.to_string().contains(says), "{error}"),
            (found, _) => panic!("{found:?}"),
        };
        let [old, next, later] = [versions(7, 7), versions(7, 8), versions(8, 9)];
        for same in [old, next, later] {
            check(same, same, Ok(same.newest));
        }
        check(old, next, Ok(7));
        check(next, old, Ok(7));
        check(next, later, Ok(8));
        check(later, next, Ok(8));
        check(
            old,
            later,
            Err("speaks versions 8 to 9 of the link protocol, this one version 7: this one is"),
        );
        check(
            later,
            old,
            Err(
                "speaks version 7 of the link protocol, this one versions 8 to 9: the other one is",
            ),
        );
        // What nobody speaks.
        check(old, versions(9, 7), Err("the older release"));
    }
}
