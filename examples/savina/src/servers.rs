//! The servers of the benchmarks: handlers, for that is what a server is here.

mod services;

use std::collections::{BTreeMap, VecDeque};

use peripatos::Reply;
use services::{Colour, ServerRequest};

#[derive(Default)]
struct Server {
    count: u64,
    /// Who waits for another chameneos.
    first: Option<(Colour, Reply<Option<Colour>>)>,
    meetings_left: u64,
    /// Forks that are taken, by number.
    taken: BTreeMap<u32, ()>,
    hungry: VecDeque<(u32, u32, Reply<()>)>,
}

impl Server {
    fn serve(&mut self, request: ServerRequest) {
        // Whoever does not wait any more, does not miss the reply.
        let _ = match request {
            ServerRequest::Increment { reply } => {
                self.count += 1;
                reply.send(&())
            }
            ServerRequest::Total { reply } => reply.send(&self.count),
            ServerRequest::Ping { number, reply } => reply.send(&number),
            ServerRequest::Open { meetings, reply } => {
                self.meetings_left = meetings;
                reply.send(&())
            }
            ServerRequest::Meet { colour, reply } => match self.first.take() {
                _ if self.meetings_left == 0 => reply.send(&None),
                None => {
                    self.first = Some((colour, reply));
                    return;
                }
                Some((other, first)) => {
                    self.meetings_left -= 1;
                    let _ = first.send(&Some(colour));
                    reply.send(&Some(other))
                }
            },
            ServerRequest::Take { place, places, reply } => {
                if !self.is_free(place, places) {
                    return self.hungry.push_back((place, places, reply));
                }
                self.occupy(place, places);
                reply.send(&())
            }
            ServerRequest::Give { place, places, reply } => {
                for fork in [place, (place + 1) % places] {
                    self.taken.remove(&fork);
                }
                self.feed();
                reply.send(&())
            }
        };
    }

    fn is_free(&self, place: u32, places: u32) -> bool {
        ![place, (place + 1) % places].iter().any(|fork| self.taken.contains_key(fork))
    }

    fn occupy(&mut self, place: u32, places: u32) {
        self.taken.extend([place, (place + 1) % places].map(|fork| (fork, ())));
    }

    /// Those who have been hungry longest come first.
    fn feed(&mut self) {
        for _ in 0..self.hungry.len() {
            let Some((place, places, reply)) = self.hungry.pop_front() else { return };
            if self.is_free(place, places) {
                self.occupy(place, places);
                let _ = reply.send(&());
            } else {
                self.hungry.push_back((place, places, reply));
            }
        }
    }
}

peripatos::handler!(later ServerRequest, Server::default, Server::serve);
