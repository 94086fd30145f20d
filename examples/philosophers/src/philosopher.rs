//! A philosopher: sits down, and thinks and eats by turns until it is to go home.

use std::thread::yield_now;
use std::time::{Duration, Instant};

use peripatos::{Pid, Received, link, receive_timeout, send};
use serde::{Deserialize, Serialize};

use crate::etiquette::{DONE, GIVE, HOME_BIT, RISE_BIT, TAKE};
use crate::services::{HallClient, Place, Record, TableClient, insist};

/// Between two looks at whether the table wants something. Where a hundred thousand dine that is less than from one meal to
/// the next.
const LOOK_EVERY: Duration = Duration::from_micros(200);

/// What a philosopher is told when it comes.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(crate) struct Invitation {
    pub(crate) hall: HallClient,
    pub(crate) table: TableClient,
    /// Who leads it to the table.
    pub(crate) waiter: Pid,
    /// Where the forks are near.
    pub(crate) section: u32,
    /// Meals until it goes home by itself; u64::MAX: when it is told to.
    pub(crate) meals: u64,
}

struct Philosopher {
    record: Record,
    /// The end of the last meal.
    full_at: Instant,
    looked_at: Instant,
    /// What has been notified and not been followed.
    bits: u64,
}

/// A process of its own.
pub(crate) fn philosopher(invitation: Invitation) {
    let Invitation { hall, table, waiter, section, meals } = invitation;
    // If something goes wrong here, the dinner is over.
    link(table.pid).expect("the table");
    let record = Record { meals: 0, longest_wait_ns: 0 };
    let now = Instant::now();
    let mut me = Philosopher { record, full_at: now, looked_at: now, bits: 0 };
    // The waiter hands it on to the table.
    let mut place = insist(|| TableClient::new(waiter).sit(section, true)).expect("a place");
    me.full_at = Instant::now();
    loop {
        let before = me.record.meals;
        me.eat_at(&place, meals);
        let is_done = me.bits & HOME_BIT != 0 || me.record.meals == meals;
        me.bits &= !RISE_BIT;
        insist(|| table.rise(place.number, me.record.meals - before, is_done)).expect("the table");
        if is_done {
            break;
        }
        place = insist(|| table.sit(section, false)).expect("a place");
    }
    insist(|| hall.goodbye(me.record)).expect("the hall");
}

impl Philosopher {
    /// Once, and until it is to rise, to go home, or has had so many meals.
    fn eat_at(&mut self, place: &Place, meals_max: u64) {
        loop {
            ask(place.first, TAKE);
            ask(place.second, TAKE);
            self.eat();
            ask(place.second, GIVE);
            ask(place.first, GIVE);
            if self.full_at.duration_since(self.looked_at) >= LOOK_EVERY {
                self.look();
            }
            if self.bits & (RISE_BIT | HOME_BIT) != 0 || self.record.meals == meals_max {
                return;
            }
            // Thinks: others have their turn.
            yield_now();
        }
    }

    fn eat(&mut self) {
        let now = Instant::now();
        let waited_ns = now.duration_since(self.full_at).as_nanos() as u64;
        self.record.longest_wait_ns = self.record.longest_wait_ns.max(waited_ns);
        self.record.meals += 1;
        self.full_at = now;
    }

    fn look(&mut self) {
        self.looked_at = self.full_at;
        if let Ok(Received::Notification(bits)) = receive_timeout(Duration::ZERO, &mut []) {
            self.bits |= bits;
        }
    }
}

/// Says this to a fork, and waits until that is done.
fn ask(fork: Pid, what: u8) {
    let mut answer = [0];
    send(fork, &[what], &mut answer).expect("a fork");
    assert_eq!(answer, [DONE], "it is not mine");
}
