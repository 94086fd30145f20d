//! Where processes are that are not here, as far as was heard.

use peripatos_abi::Pid;

use crate::aged::Aged;
use crate::limits::{ROUTE_NS, ROUTES_MAX};
use crate::packet::Place;

/// Where processes are that are not here. What is wrong costs a detour: whoever was there knows where it went.
#[derive(Debug)]
pub struct Routes {
    here: Place,
    places: Aged<Pid, Route>,
    now: u64,
}

#[derive(Clone, Copy, Debug)]
struct Route {
    place: Place,
    /// It was here, and went there itself: better knowledge than hearsay.
    went: bool,
}

impl Routes {
    /// None are known yet, at this place.
    #[must_use]
    pub(crate) fn new(here: Place) -> Routes {
        Routes { here, places: Aged::new(ROUTES_MAX), now: 0 }
    }

    /// A process is there.
    pub fn set(&mut self, pid: Pid, place: Place) {
        self.places.insert(pid, Route { place, went: false }, self.now);
    }

    /// It is not there any more.
    pub fn forget(&mut self, pid: Pid) {
        self.places.remove(pid);
    }

    /// A process has gone there from here.
    pub(crate) fn went(&mut self, pid: Pid, place: Place) {
        self.places.insert(pid, Route { place, went: true }, self.now);
    }

    /// A process was heard of from there.
    pub(crate) fn heard(&mut self, pid: Pid, place: Place) {
        match self.places.get(pid) {
            // Hearsay may be older than what is known.
            Some(route) if route.went || route.place == place => {}
            // It was, perhaps, or the host says for it that it is nowhere. Who looks for it here looks in the table.
            _ if place == self.here => {}
            _ => self.set(pid, place),
        }
    }

    /// A process is not there, if that is where it was thought to be.
    pub(crate) fn not_at(&mut self, pid: Pid, place: Place) {
        // Where it went from here it may not have arrived.
        if self.places.get(pid).is_some_and(|route| route.place == place && !route.went) {
            self.forget(pid);
        }
    }

    pub(crate) fn not_at_node(&mut self, node: u128) {
        self.places.remove_if(|_, route| route.place.node == node && !route.went);
    }

    pub(crate) fn get(&self, pid: Pid) -> Option<Place> {
        self.places.get(pid).map(|route| route.place)
    }

    pub(crate) fn len(&self) -> usize {
        self.places.len()
    }

    pub(crate) fn tick(&mut self, now: u64) {
        self.now = now;
        self.places.expire(now, ROUTE_NS, |_, _| true);
    }
}
