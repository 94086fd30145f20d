//! A fork: a handler, for it is called four times a meal. Who takes it while somebody has it gets the reply when it is his
//! turn: first come, first served.

mod etiquette;

use std::cell::RefCell;
use std::collections::VecDeque;

use etiquette::{COUNT, DONE, END, GIVE, REFUSED, TAKE};
use peripatos::{Caller, Pid};

#[derive(Default)]
struct Fork {
    owner: Option<Pid>,
    waiting: VecDeque<Caller>,
    /// How often it was taken and given back.
    uses: u64,
}

impl Fork {
    /// The reply; none: later.
    fn take(&mut self, by: Caller) -> Option<u8> {
        if self.owner.is_some() {
            self.waiting.push_back(by);
            return None;
        }
        self.owner = Some(by.pid());
        Some(DONE)
    }

    fn give(&mut self, by: &Caller) -> u8 {
        if self.owner != Some(by.pid()) {
            return REFUSED;
        }
        self.uses += 1;
        // Who waits no more is passed over.
        self.owner = std::iter::from_fn(|| self.waiting.pop_front()).find_map(|next| {
            let pid = next.pid();
            next.reply(&[DONE]).ok().map(|()| pid)
        });
        DONE
    }
}

thread_local! {
    static FORK: RefCell<Fork> = RefCell::default();
}

fn serve(from: Caller, buffer: &mut [u8], length: usize) -> Option<usize> {
    FORK.with_borrow_mut(|fork| {
        buffer[0] = match (length, buffer[0]) {
            (1, TAKE) => fork.take(from)?,
            (1, GIVE) => fork.give(&from),
            (1, COUNT) => {
                buffer[..8].copy_from_slice(&fork.uses.to_le_bytes());
                return Some(8);
            }
            (1, END) => std::process::exit(0),
            _ => REFUSED,
        };
        Some(1)
    })
}

peripatos::handler!(bytes: serve);
