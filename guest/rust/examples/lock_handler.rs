//! The same lock as in `later.rs`, as a handler.

#[path = "interfaces/lock.rs"]
mod interface;

use std::collections::VecDeque;

use interface::LockRequest;
use peripatos::Reply;

#[derive(Default)]
struct State {
    taken: bool,
    times: u32,
    waiting: VecDeque<Reply<()>>,
}

impl State {
    fn serve(&mut self, request: LockRequest) {
        match request {
            LockRequest::Take { reply } if self.taken => self.waiting.push_back(reply),
            LockRequest::Take { reply } => {
                self.taken = true;
                let _ = reply.send(&());
            }
            LockRequest::Give { reply } => {
                self.times += 1;
                let _ = reply.send(&self.times);
                let waiting = std::iter::from_fn(|| self.waiting.pop_front());
                // One who waits no more is passed over.
                self.taken = waiting.map(|reply| reply.send(&())).any(|sent| sent.is_ok());
            }
        }
    }
}

peripatos::handler!(later LockRequest, State::default, State::serve);
