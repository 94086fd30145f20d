//! What can be asked of a node, and what it answers. As [`crate::message`], a wire form.

use peripatos_abi::Pid;
use serde::{Deserialize, Serialize};

use crate::message::{Hold, MoveCost};
use crate::{NodeId, Proof};

/// What can be asked of the node that runs a process.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Command {
    /// Move a process.
    Migrate {
        /// Which.
        #[serde(with = "crate::message::pid_bits")]
        pid: Pid,
        /// Where to.
        to: NodeId,
        /// How long it stays there.
        hold: Hold,
    },
    /// Let the balancer leave a process where it is.
    Pin {
        /// Which.
        #[serde(with = "crate::message::pid_bits")]
        pid: Pid,
    },
    /// Let the balancer move a process again.
    Unpin {
        /// Which.
        #[serde(with = "crate::message::pid_bits")]
        pid: Pid,
    },
    /// End a process.
    Kill {
        /// Which.
        #[serde(with = "crate::message::pid_bits")]
        pid: Pid,
    },
    /// Empty this node, and take nothing; or take processes again.
    Drain {
        /// Which of the two.
        on: bool,
    },
    /// Give and take processes for the sake of the balance; or do not.
    Balance {
        /// Which of the two.
        on: bool,
    },
    /// Look at the balance at once, also at processes that rest.
    BalanceNow,
    /// Take nothing, and keep what is there; or take processes again.
    Cordon {
        /// Which of the two.
        on: bool,
    },
    /// An operator's word: that OS process is gone and will not come back.
    Forget {
        /// Which node.
        node: NodeId,
        /// To another node than the one that the operator's command speaks to: somebody with the token has signed that, for the node
        /// that is told. Hosts look at it, and leave out what proves nothing.
        proof: Option<Box<Proof>>,
    },
    /// An operator's word: that node is to be let in no more, and what runs there is gone. Only of the node that the operator's command
    /// speaks to, and only if that has the token.
    Remove {
        /// Which.
        node: NodeId,
    },
}

/// What came of a [`Command`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Answer {
    /// It is done.
    Done,
    /// The process has moved.
    Moved(MoveCost),
    /// It is not done, and nothing has changed: why.
    Refused(String),
}
