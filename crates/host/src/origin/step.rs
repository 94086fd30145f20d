//! What comes of trying a request: its reply, or what it must wait for before it is tried again.

use std::fs::File;
use std::sync::Arc;
use std::time::Duration;

use peripatos_abi::device::Reply;
use rustix::event::PollFlags;

/// The result of trying a request.
#[derive(Debug)]
pub(super) enum Step {
    /// Done.
    Reply(Reply),
    /// Nothing has happened yet. Try again when this comes true.
    Wait(Wait),
}

/// When to try again: when any of the files is ready, or the time is over.
#[derive(Debug, Default)]
pub(super) struct Wait {
    pub(super) files: Vec<(Arc<File>, PollFlags)>,
    pub(super) timeout: Option<Duration>,
}

impl Wait {
    /// Waits for one file.
    pub(super) fn file(file: &Arc<File>, interest: PollFlags) -> Self {
        Self { files: vec![(Arc::clone(file), interest)], timeout: None }
    }

    /// Waits for a while.
    pub(super) fn time(timeout: Duration) -> Self {
        Self { files: Vec::new(), timeout: Some(timeout) }
    }
}

impl From<Reply> for Step {
    fn from(reply: Reply) -> Self {
        Self::Reply(reply)
    }
}
