//! Where a program's memories are, for who reads them beside the process.

use std::ops::Range;
use std::sync::{Arc, Weak};

use super::Place;
use super::alone::{Address, Site};

/// How to find a memory, without keeping its place from becoming another one's.
#[derive(Clone, Debug)]
pub(crate) enum Whereabouts {
    /// In its process's place. It never moves.
    InPlace(Weak<Place>),
    /// Elsewhere. It may move.
    Alone(Weak<Address>),
}

/// Where a memory is. As long as somebody has this it cannot become another one's.
#[derive(Clone, Debug)]
pub(crate) enum Ground {
    InPlace(Arc<Place>),
    Alone(Arc<Site>),
}

impl Whereabouts {
    pub(super) fn in_place(place: &Arc<Place>) -> Whereabouts {
        Whereabouts::InPlace(Arc::downgrade(place))
    }

    pub(super) fn alone(address: &Arc<Address>) -> Whereabouts {
        Whereabouts::Alone(Arc::downgrade(address))
    }

    /// Where it is now. `None`: it has gone.
    pub(crate) fn ground(&self) -> Option<Ground> {
        match self {
            Whereabouts::InPlace(place) => place.upgrade().map(Ground::InPlace),
            Whereabouts::Alone(address) => Some(Ground::Alone(address.upgrade()?.site())),
        }
    }
}

impl Ground {
    /// Where the memory can reach here. Empty: it has none.
    pub(crate) fn reach(&self) -> Range<usize> {
        match self {
            Ground::InPlace(place) => place.memory_reach().unwrap_or_default(),
            Ground::Alone(site) => site.reach(),
        }
    }

    /// How large the memory has become here, bytes.
    pub(crate) fn used(&self) -> usize {
        match self {
            Ground::InPlace(place) => place.memory_used(),
            Ground::Alone(site) => site.used(),
        }
    }
}
