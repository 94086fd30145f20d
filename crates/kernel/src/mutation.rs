//! Faults that can be put into a kernel, so that a simulation can show that it would find them.
//!
//! Without the feature `mutations` there are none, and what asks for them is compiled away.

use crate::kernel::Kernel;
use crate::names::Names;

/// What a kernel does wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(not(feature = "mutations"), expect(unreachable_pub, reason = "nobody needs it then"))]
pub enum Mutation {
    /// A send that comes again is new.
    NoDuplicateFilter,
    /// It is not known where a process went.
    NoForwarder,
    /// What was lost is not said again.
    NoResend,
    /// An answer that was lost is not given again.
    NoAnswerKept,
    /// What a process has answered is forgotten when it ends.
    AnswersEndToo,
    /// A process ends, and nobody is told.
    NobodyTold,
    /// What is over is remembered for ever.
    NothingForgotten,
    /// Replies are not acknowledged.
    NoAcknowledgement,
    /// A process that moves leaves its messages behind.
    QueueLost,
    /// A process that moves leaves behind who waits for it.
    ClientsLost,
    /// Who counts on it that nothing is lost within the node is not told that a process has left it.
    NoWordOfLeaving,
    /// Nobody looks for circles.
    NoProbe,
    /// A probe does not look whether who is waited for has the message, and one is enough.
    ProbeUnchecked,
    /// Any reply will do.
    AnyReply,
    /// Nothing is given up.
    NoGivingUp,
    /// A forwarded send is known by the name that it had before.
    NoHops,
    /// A handler that replies later has nobody who waits for it.
    DebtsForgotten,
    /// A handler that moves in the middle of a call forgets whose message it has.
    ServedForgotten,
    /// Who watches is not looked after.
    WatchOnce,
    /// What was passed to a process that did not take it is not kept for it.
    PassedNotKept,
    /// What was lent with a send that is over is read and written.
    LeaseOutlives,
    /// What is written to what was lent is not there.
    WriteUnseen,
    /// A lender that moves leaves behind what is wanted of it.
    WantedLost,
    /// Who has sent to a group and moves leaves behind what the members reply.
    DelegatesLeft,
    /// A member that cannot reply is waited for.
    MemberUncounted,
    /// Of names that two have nobody loses any.
    NameKept,
    /// Who has lost a name is not told.
    LoserUntold,
    /// The names of one that has come, or goes on, are not compared with others'.
    NamesNotCompared,
}

#[cfg(feature = "mutations")]
impl Mutation {
    /// Those of kernels.
    pub const ALL: [Mutation; 25] = [
        Mutation::NoDuplicateFilter,
        Mutation::NoForwarder,
        Mutation::NoResend,
        Mutation::NoAnswerKept,
        Mutation::AnswersEndToo,
        Mutation::NobodyTold,
        Mutation::NothingForgotten,
        Mutation::NoAcknowledgement,
        Mutation::QueueLost,
        Mutation::ClientsLost,
        Mutation::NoWordOfLeaving,
        Mutation::NoProbe,
        Mutation::ProbeUnchecked,
        Mutation::AnyReply,
        Mutation::NoGivingUp,
        Mutation::NoHops,
        Mutation::DebtsForgotten,
        Mutation::ServedForgotten,
        Mutation::WatchOnce,
        Mutation::PassedNotKept,
        Mutation::LeaseOutlives,
        Mutation::WriteUnseen,
        Mutation::WantedLost,
        Mutation::DelegatesLeft,
        Mutation::MemberUncounted,
    ];

    /// Those of the names, which nodes tell each other.
    pub const OF_NAMES: [Mutation; 3] =
        [Mutation::NameKept, Mutation::LoserUntold, Mutation::NamesNotCompared];
}

impl Kernel {
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

impl Names {
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
