//! A fork: who wants it while somebody has it gets the reply when it is free, in the order of asking.

use std::collections::VecDeque;

use peripatos::Caller;

use crate::part::{GIVE, TAKE, USES};

/// See the module.
#[derive(Default)]
pub(crate) struct Fork {
    is_taken: bool,
    waiting: VecDeque<Caller>,
    /// How often it was given back.
    uses: u64,
}

impl Fork {
    pub(crate) fn serve(&mut self, caller: Caller, buffer: &mut [u8]) -> Option<usize> {
        match buffer[0] {
            TAKE if self.is_taken => {
                self.waiting.push_back(caller);
                None
            }
            TAKE => {
                self.is_taken = true;
                Some(0)
            }
            GIVE => {
                assert!(self.is_taken, "a fork was given back that nobody had");
                self.uses += 1;
                match self.waiting.pop_front() {
                    Some(next) => next.reply(&[]).expect("one who waits"),
                    None => self.is_taken = false,
                }
                Some(0)
            }
            USES => {
                buffer[..8].copy_from_slice(&self.uses.to_le_bytes());
                Some(8)
            }
            other => panic!("nobody says {other} to a fork"),
        }
    }
}
