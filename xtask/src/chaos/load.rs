//! What runs meanwhile: real programs, dinners, files that are written line by line, and a server with clients. Each stream is
//! a thread that starts one piece of work after the other, on machines drawn by lot, and keeps what has become of it.

use super::random::Random;
use super::work::{Kind, Piece, Work, Works};
use super::world::World;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::Duration;

/// Streams of real programs.
const PROGRAMS: usize = 5;
/// Streams of files that are written.
const FILES: usize = 2;
/// Streams of clients of the server.
const CLIENTS: usize = 3;
/// How long a stream waits that could not start anything.
const NOBODY: Duration = Duration::from_millis(500);

/// All that is running, and what has become of the rest.
pub(super) struct Load<'a> {
    world: &'a World,
    works: &'a Works,
    seed: u64,
    /// Nothing new is started.
    is_over: AtomicBool,
    /// What still runs now has failed to end.
    gives_up: AtomicBool,
    started: AtomicUsize,
    /// Clients that run.
    clients: AtomicUsize,
    done: Mutex<Vec<Piece>>,
}

impl<'a> Load<'a> {
    pub(super) fn new(world: &'a World, works: &'a Works, seed: u64) -> Load<'a> {
        Load {
            world,
            works,
            seed,
            is_over: AtomicBool::new(false),
            gives_up: AtomicBool::new(false),
            started: AtomicUsize::new(0),
            clients: AtomicUsize::new(0),
            done: Mutex::default(),
        }
    }

    /// Starts all streams on threads of `scope`, which end when [`Load::end`] has been called and their last piece has ended.
    pub(super) fn begin<'s>(&'s self, scope: &'s thread::Scope<'s, 'a>)
    where
        'a: 's,
    {
        let stream = |number: usize, next: fn(&Works, &mut Random) -> Work| {
            let mut random = Random::new(self.seed, 100 + number as u64);
            scope.spawn(move || self.stream(&mut random, next));
        };
        stream(0, |works, _| works.server());
        stream(1, |works, random| works.dinner(random));
        (0..PROGRAMS).for_each(|number| stream(10 + number, |works, random| works.program(random)));
        (0..FILES).for_each(|number| stream(30 + number, |works, random| works.file(random)));
        (0..CLIENTS).for_each(|number| stream(50 + number, |works, random| works.client(random)));
    }

    fn stream(&self, random: &mut Random, next: fn(&Works, &mut Random) -> Work) {
        while !self.is_over.load(Ordering::Relaxed) {
            let machines = self.world.running();
            if machines.is_empty() {
                thread::sleep(NOBODY);
                continue;
            }
            let machine = *random.one_of(&machines);
            let number = self.started.fetch_add(1, Ordering::Relaxed);
            let work = next(self.works, random);
            let clients = usize::from(matches!(work.kind, Kind::Client));
            self.clients.fetch_add(clients, Ordering::Relaxed);
            let piece = work.run(self.works, self.world, machine, number, &|work| {
                // The server is there for its clients.
                let is_idle = self.is_over.load(Ordering::Relaxed)
                    && self.clients.load(Ordering::Relaxed) == 0;
                self.gives_up.load(Ordering::Relaxed) || work.is_endless() && is_idle
            });
            self.clients.fetch_sub(clients, Ordering::Relaxed);
            if piece.could_not_start() {
                thread::sleep(NOBODY);
            }
            self.done.lock().unwrap_or_else(PoisonError::into_inner).push(piece);
        }
    }

    /// No new pieces.
    pub(super) fn end(&self) {
        self.is_over.store(true, Ordering::Relaxed);
    }

    /// What runs now is stopped, and counts as not having ended.
    pub(super) fn give_up(&self) {
        self.gives_up.store(true, Ordering::Relaxed);
    }

    /// Whether a piece has not ended.
    pub(super) fn is_running(&self) -> bool {
        let ended = self.done.lock().unwrap_or_else(PoisonError::into_inner).len();
        self.started.load(Ordering::Relaxed) > ended
    }

    pub(super) fn into_pieces(self) -> Vec<Piece> {
        self.done.into_inner().unwrap_or_else(PoisonError::into_inner)
    }
}
