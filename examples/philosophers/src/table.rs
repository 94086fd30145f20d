//! A table: a ring of places, and who waits for a place. First come, first served: while somebody waits for a place,
//! whoever has sat longest is asked to rise. Nobody sits down while places are being laid or taken away.

use std::collections::{BTreeSet, VecDeque};

use peripatos::{Error, Pid, Reply, link, receive, send, spawn_fn};

use crate::etiquette::{COUNT, END, HOME_BIT};
use crate::ring::Ring;
use crate::services::{Counts, HallClient, Order, Place, TableClient, TableRequest, tell};
use crate::waiter::{SECTION_PLACES_MAX, waiter};

/// Two philosophers need a fork on each side.
const PLACES_MIN: usize = 2;

struct Table {
    /// Meals until a philosopher goes home by itself; u64::MAX: when it is told to.
    meals_each: u64,
    ring: Ring,
    /// What waiters are to do, and waiters who have nothing to do.
    orders: VecDeque<Order>,
    waiters: VecDeque<Reply<Option<Order>>>,
    /// Sections that are ordered and not laid.
    in_the_making: u32,
    last_section: u32,
    /// Laid, and not put to the others yet.
    laid: VecDeque<(u32, Vec<Pid>)>,
    /// Who waits until all is laid.
    laying: Vec<Reply<()>>,
    /// Places that are to be there, if fewer than there are.
    shrink_to: Option<usize>,
    /// Who waits until they are gone.
    clearing: Vec<Reply<()>>,
    waiting: VecDeque<(u32, Reply<Place>)>,
    /// All that are here, and are to stay.
    guests: BTreeSet<Pid>,
    /// Who was sent home, and has not gone.
    leaving: BTreeSet<Pid>,
    /// How many were let in and have not come yet.
    expected: u32,
    counts: Counts,
    closing: Option<Reply<Counts>>,
}

/// A process of its own.
pub(crate) fn table((hall, waiters, meals_each): (HallClient, u32, u64)) {
    let me = TableClient::new(Pid::own());
    for _ in 0..waiters {
        let pid = spawn_fn(waiter, &(hall, me)).expect("a waiter");
        link(pid).expect("the waiter");
    }
    let mut table = Table {
        meals_each,
        ring: Ring::default(),
        orders: VecDeque::new(),
        waiters: VecDeque::new(),
        in_the_making: 0,
        last_section: 0,
        laid: VecDeque::new(),
        laying: Vec::new(),
        shrink_to: None,
        clearing: Vec::new(),
        waiting: VecDeque::new(),
        guests: BTreeSet::new(),
        leaving: BTreeSet::new(),
        expected: 0,
        counts: Counts::default(),
        closing: None,
    };
    // A section's forks have to fit.
    let mut buffer = [0; 16 * SECTION_PLACES_MAX as usize + 64];
    loop {
        let received = receive(&mut buffer).expect("a message");
        let Some(request) = received.message().and_then(TableRequest::of) else { continue };
        table.serve(request).expect("a philosopher, or a fork");
        if table.is_over() {
            return table.say_counts();
        }
    }
}

impl Table {
    fn serve(&mut self, request: TableRequest) -> Result<(), Error> {
        match request {
            TableRequest::Lay { places, philosophers, reply } => {
                self.order(places, philosophers);
                self.laying.push(reply);
            }
            TableRequest::Clear { places, reply } => {
                let left = self.ring.len().saturating_sub(places as usize).max(PLACES_MIN);
                self.shrink_to = Some(left).filter(|left| *left < self.ring.len());
                self.clearing.push(reply);
            }
            TableRequest::Dismiss { philosophers, reply } => {
                reply.send(&self.dismiss(philosophers))?;
            }
            TableRequest::NextOrder { reply } => self.waiters.push_back(reply),
            TableRequest::Laid { section, forks, reply } => {
                self.in_the_making -= 1;
                self.laid.push_back((section, forks));
                reply.send(&())?;
            }
            TableRequest::Sit { section, is_new, reply } => {
                self.expected -= u32::from(is_new);
                if !self.leaving.contains(&reply.pid()) {
                    self.guests.insert(reply.pid());
                }
                self.waiting.push_back((section, reply));
            }
            TableRequest::Rise { place, meals, for_good, reply } => {
                self.counts.meals += meals;
                self.ring.vacate(place as usize);
                if for_good && !self.leaving.remove(&reply.pid()) {
                    self.guests.remove(&reply.pid());
                }
                reply.send(&())?;
            }
            TableRequest::Counts { reply } => reply.send(&self.counts())?,
            TableRequest::Close { reply } => self.closing = Some(reply),
        }
        self.give_orders()?;
        self.rearrange()?;
        if self.closing.is_some() {
            // Also those who have come since.
            self.dismiss(u32::MAX);
        }
        self.seat()
    }

    /// Orders so many places and philosophers, in sections.
    fn order(&mut self, places: u32, philosophers: u32) {
        self.expected += philosophers;
        let sections = places.max(philosophers).div_ceil(SECTION_PLACES_MAX);
        let share = |of: u32, section: u32| of / sections + u32::from(section < of % sections);
        for number in 0..sections {
            let (places, philosophers) = (share(places, number), share(philosophers, number));
            self.last_section += 1;
            self.in_the_making += u32::from(places > 0);
            let (section, meals) = (self.last_section, self.meals_each);
            self.orders.push_back(Order { section, places, philosophers, meals });
        }
    }

    fn give_orders(&mut self) -> Result<(), Error> {
        while !self.orders.is_empty()
            && let Some(waiter) = self.waiters.pop_front()
        {
            waiter.send(&self.orders.pop_front())?;
        }
        Ok(())
    }

    /// Sends so many home, each after a meal: how many there were.
    fn dismiss(&mut self, philosophers: u32) -> u32 {
        let mut dismissed = 0;
        while dismissed < philosophers
            && let Some(guest) = self.guests.pop_first()
        {
            self.leaving.insert(guest);
            tell(guest, HOME_BIT);
            dismissed += 1;
        }
        dismissed
    }

    /// Puts new places to the others, and takes those away that are not wanted, as far as nobody sits there.
    fn rearrange(&mut self) -> Result<(), Error> {
        if self.in_the_making > 0 {
            return Ok(());
        }
        if !self.laid.is_empty() && self.ring.clear_from(self.ring.len().saturating_sub(1)) {
            for (section, forks) in self.laid.drain(..) {
                self.ring.extend(section, forks);
            }
        }
        if self.laid.is_empty() && self.expected == 0 {
            self.laying.drain(..).try_for_each(|reply| reply.send(&()))?;
        }
        if let Some(left) = self.shrink_to
            && self.ring.clear_from(left - 1)
        {
            self.shrink_to = None;
            for fork in self.ring.truncate(left) {
                self.counts.uses += retire(fork)?;
            }
        }
        if self.shrink_to.is_none() {
            self.clearing.drain(..).try_for_each(|reply| reply.send(&()))?;
        }
        Ok(())
    }

    /// Gives free places to those who wait. Those who come together begin together.
    fn seat(&mut self) -> Result<(), Error> {
        if self.in_the_making > 0
            || self.expected > 0
            || !self.laid.is_empty()
            || self.shrink_to.is_some()
        {
            return Ok(());
        }
        while let Some((section, reply)) = self.waiting.pop_front() {
            match self.ring.occupy(section, reply.pid()) {
                Some(place) => reply.send(&place)?,
                None => {
                    self.waiting.push_front((section, reply));
                    break;
                }
            }
        }
        self.ring.make_room(self.waiting.len());
        Ok(())
    }

    fn counts(&self) -> Counts {
        let philosophers = self.guests.len() as u32;
        Counts { philosophers, places: self.ring.len() as u32, ..self.counts }
    }

    fn is_over(&self) -> bool {
        let nobody = self.guests.is_empty() && self.leaving.is_empty() && self.expected == 0;
        self.closing.is_some() && nobody && self.in_the_making == 0
    }

    fn say_counts(mut self) {
        let new = self.laid.drain(..).flat_map(|(_, forks)| forks);
        for fork in self.ring.truncate(0).into_iter().chain(new) {
            self.counts.uses += retire(fork).expect("a fork");
        }
        for waiter in self.waiters.drain(..) {
            waiter.send(&None).expect("a waiter");
        }
        if let Some(reply) = self.closing.take() {
            reply.send(&self.counts).expect("the hall");
        }
    }
}

/// A fork's count, after which it is no more.
fn retire(fork: Pid) -> Result<u64, Error> {
    let mut uses = [0; 8];
    send(fork, &[COUNT], &mut uses)?;
    // It ends in place of a reply.
    let _ = send(fork, &[END], &mut []);
    Ok(u64::from_le_bytes(uses))
}
