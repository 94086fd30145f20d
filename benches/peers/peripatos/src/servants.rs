//! Servants, as those see them who need one.

use peripatos::{Error, Pid, send, spawn};

/// Makes one with this argument: its part, and what else that needs.
pub(crate) fn start(argument: &[u8]) -> Result<Pid, Error> {
    spawn("servant").argument_bytes(argument).start()
}

/// Ends one.
pub(crate) fn dismiss(servant: Pid) -> Result<(), Error> {
    // It ends in place of a reply.
    match send(servant, &[], &mut []) {
        Err(Error::NoProcess) => Ok(()),
        Err(error) => Err(error),
        Ok(_) => panic!("a servant has not gone"),
    }
}
