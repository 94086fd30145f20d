//! Faults that can be put into a node, so that a simulation can show that it would find them.
//!
//! Without the feature `mutations` there are none, and what asks for them is compiled away.

use crate::node::Node;
use crate::strays::Strays;

/// What a node does wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(not(feature = "mutations"), expect(unreachable_pub, reason = "nobody needs it then"))]
pub enum Mutation {
    /// A process runs at its target before the commit.
    RunsUncommitted,
    /// A source drops a process when it says the commit, and not when it hears of the outcome.
    DroppedAtCommit,
    /// A process whose move is in doubt goes on at its source.
    DoubtGoesOn,
    /// What a move in doubt has come to is not asked when the link is back.
    DoubtNotAsked,
    /// A target does not remember which moves were committed.
    OutcomeForgotten,
    /// A target remembers them for ever.
    OutcomeKept,
    /// One that has come moves on before its source has heard that it came.
    MovesOnUnheard,
    /// That a target is gone does not end a doubt.
    GoneIgnored,
    /// A family does not end with its root.
    FamilyGoesOn,
    /// A birth is not told to the origin's node.
    BirthUntold,
    /// One that was to end while it was on its way goes on.
    KillForgotten,
    /// An end that its origin's node may not have heard of is not told again.
    EndNotRepeated,
    /// A node that is gone had nobody, as far as the origins' nodes care.
    LossUnnoticed,
    /// A node that others know, and that was not met yet, has nobody.
    UnmetIgnored,
    /// Packets for one that stands still are not kept: it is looked for elsewhere.
    NothingKept,
    /// Nobody listens to who says that it has a process that is looked for, or has not.
    SoughtIgnored,
    /// A node that has not answered has nobody.
    NeverDoubtful,
    /// The directory names another node than was entered, and packets are sent there without asking.
    HintBelieved,
    /// What a node that was asked alone does not know nobody has.
    NotKnownBelieved,
    /// The names of a node that neither gossip nor a link says lives count on.
    NamesOutlive,
    /// Only nodes with a link are asked where a process is, as if they were all.
    LinkedAreAll,
    /// That a node without a link does not live any more is not told to who waits for it.
    PartedUnheard,
    /// A node whose lease is over goes on.
    #[cfg(feature = "mutations")]
    NotFenced,
    /// A node whose lease has expired is taken in again. Harmless where it has ended, as it should.
    ExpiredHeard,
    /// The directory names another node than was entered. Harmless: it is a hint.
    DirectoryWrong,
}

#[cfg(feature = "mutations")]
impl Mutation {
    /// Those that do harm.
    pub const ALL: [Mutation; 22] = [
        Mutation::RunsUncommitted,
        Mutation::DroppedAtCommit,
        Mutation::DoubtGoesOn,
        Mutation::DoubtNotAsked,
        Mutation::OutcomeForgotten,
        Mutation::OutcomeKept,
        Mutation::MovesOnUnheard,
        Mutation::GoneIgnored,
        Mutation::FamilyGoesOn,
        Mutation::BirthUntold,
        Mutation::KillForgotten,
        Mutation::EndNotRepeated,
        Mutation::LossUnnoticed,
        Mutation::UnmetIgnored,
        Mutation::SoughtIgnored,
        Mutation::NeverDoubtful,
        Mutation::HintBelieved,
        Mutation::NotKnownBelieved,
        Mutation::NamesOutlive,
        Mutation::LinkedAreAll,
        Mutation::PartedUnheard,
        Mutation::NotFenced,
    ];

    /// Those that must not.
    pub const HARMLESS: [Mutation; 3] =
        [Mutation::DirectoryWrong, Mutation::NothingKept, Mutation::ExpiredHeard];
}

impl Node {
    /// From now on this is done wrong.
    #[cfg(feature = "mutations")]
    pub fn mutate(&mut self, mutation: Mutation) {
        self.mutation = Some(mutation);
    }

    #[cfg(feature = "mutations")]
    pub(crate) fn does_wrong(&self, mutation: Mutation) -> bool {
        self.mutation == Some(mutation)
    }

    #[cfg(not(feature = "mutations"))]
    #[expect(clippy::unused_self, reason = "with the feature it is used")]
    pub(crate) fn does_wrong(&self, _: Mutation) -> bool {
        false
    }
}

impl<P> Strays<P> {
    /// From now on this is done wrong.
    #[cfg(feature = "mutations")]
    pub fn mutate(&mut self, mutation: Mutation) {
        self.mutation = Some(mutation);
    }

    #[cfg(feature = "mutations")]
    pub(crate) fn does_wrong(&self, mutation: Mutation) -> bool {
        self.mutation == Some(mutation)
    }

    #[cfg(not(feature = "mutations"))]
    #[expect(clippy::unused_self, reason = "with the feature it is used")]
    pub(crate) fn does_wrong(&self, _: Mutation) -> bool {
        false
    }
}
