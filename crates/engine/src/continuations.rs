//! The continuations of a program: found by site, compiled once, shared by all its processes.
//!
//! A running process that misses one asks for it by [`Continuations::want`] and waits while the
//! compile thread makes it. A thaw makes all that its image needs in one module.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Waker;

use wasmtime::Module;

/// A continuation module, compiled.
#[derive(Debug)]
pub(crate) struct Compiled {
    pub(crate) module: Module,
    /// Its sites, each with the size of its frames.
    pub(crate) sites: Vec<(u32, u32)>,
    /// For each of the module's imports the name of what satisfies it, as the pass gave it.
    pub(crate) imports: Vec<String>,
}

impl Compiled {
    /// Size of the frames of one of its sites.
    pub(crate) fn frame_size(&self, site: u32) -> Option<u32> {
        self.sites.iter().find(|(id, _)| *id == site).map(|(_, size)| *size)
    }
}

/// How it stands with a continuation.
pub(crate) enum Wait {
    Ready(Arc<Compiled>),
    /// It cannot be made, and will never be: why.
    Failed(String),
    /// It is being made; the waker is registered.
    Pending,
}

enum Entry {
    Ready(Arc<Compiled>),
    Failed(String),
    Making(Vec<Waker>),
}

/// All continuations of one program, by site.
#[derive(Default)]
pub(crate) struct Continuations {
    by_site: Mutex<HashMap<u32, Entry>>,
}

impl Continuations {
    /// What there is for a site.
    pub(crate) fn get(&self, site: u32) -> Option<Arc<Compiled>> {
        match self.lock().get(&site)? {
            Entry::Ready(compiled) => Some(Arc::clone(compiled)),
            Entry::Failed(_) | Entry::Making(_) => None,
        }
    }

    /// Asks for a site's continuation. `make` is called if nobody has asked before; it must see to
    /// it that [`Continuations::put`] or [`Continuations::fail`] is called for the site.
    pub(crate) fn want(&self, site: u32, waker: &Waker, make: impl FnOnce()) -> Wait {
        let mut by_site = self.lock();
        match by_site.get_mut(&site) {
            Some(Entry::Ready(compiled)) => Wait::Ready(Arc::clone(compiled)),
            Some(Entry::Failed(message)) => Wait::Failed(message.clone()),
            Some(Entry::Making(wakers)) => {
                if !wakers.iter().any(|other| other.will_wake(waker)) {
                    wakers.push(waker.clone());
                }
                Wait::Pending
            }
            None => {
                by_site.insert(site, Entry::Making(vec![waker.clone()]));
                drop(by_site);
                make();
                Wait::Pending
            }
        }
    }

    /// These sites have their continuation.
    pub(crate) fn put(&self, compiled: &Arc<Compiled>) {
        for (site, _) in &compiled.sites {
            self.settle(*site, Entry::Ready(Arc::clone(compiled)));
        }
    }

    /// This site's continuation cannot be made.
    pub(crate) fn fail(&self, site: u32, message: String) {
        self.settle(site, Entry::Failed(message));
    }

    fn settle(&self, site: u32, entry: Entry) {
        let before = self.lock().insert(site, entry);
        if let Some(Entry::Making(wakers)) = before {
            wakers.into_iter().for_each(Waker::wake);
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<u32, Entry>> {
        // The map is whole after every operation, whoever panicked meanwhile.
        self.by_site.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
