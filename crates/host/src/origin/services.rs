//! The requests of a process that runs elsewhere, and of all that it has spawned.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use peripatos_abi::Pid;
use peripatos_abi::device::{Ahead, Reply, Request};

use super::{Origin, Service, Unwritten};

/// Serves a process, and those that belong to it from their first request on.
pub struct Services<E> {
    origin: Origin,
    root: Pid,
    services: BTreeMap<Pid, Service>,
    /// Those whose requests can be tried again.
    ready: Arc<Mutex<Vec<Pid>>>,
    notify: Arc<dyn Fn() + Send + Sync>,
    ended: Box<Told<E>>,
    notice: Option<Box<Notice>>,
}

/// Is told of the end of a process, and what its program was called.
type Told<E> = dyn FnMut(Pid, &str, E) + Send;

/// Is told what the user should know.
type Notice = dyn FnMut(&str) + Send;

/// What a device process asks of its origin.
#[derive(Debug)]
pub enum Ask {
    /// To do this for one of its clients.
    Request {
        /// What the origin is to call the client: a pid that no process has.
        client: Pid,
        /// Which of its requests this is.
        sequence: u64,
        /// What.
        request: Request,
    },
    /// To try again what waits.
    Retry,
    /// To close all that this client has.
    Release(Pid),
}

/// A reply, to which request of which process.
pub type Answered = (Pid, u64, Reply);

impl<E> Services<E> {
    /// Serves `root`, which the origin knows already. `notify` is called, as [`Service::new`]'s `ready` is, when it is time to
    /// call [`Services::retry`]; `ended` when a process that root has spawned has ended, with what its program is called.
    #[must_use]
    pub fn new(
        origin: Origin,
        root: Pid,
        notify: impl Fn() + Send + Sync + 'static,
        ended: impl FnMut(Pid, &str, E) + Send + 'static,
    ) -> Services<E> {
        Services {
            origin,
            root,
            services: BTreeMap::new(),
            ready: Arc::default(),
            notify: Arc::new(notify),
            ended: Box::new(ended),
            notice: None,
        }
    }

    /// `tell` is told what the user of the processes should know, in words.
    pub fn on_notice(&mut self, tell: impl FnMut(&str) + Send + 'static) {
        self.notice = Some(Box::new(tell));
    }

    /// There is something that the user should know.
    pub fn notice(&mut self, text: &str) {
        if let Some(tell) = &mut self.notice {
            tell(text);
        }
    }

    /// Tries a request, with what goes with it: see [`Service::request`].
    pub fn request(
        &mut self,
        pid: Pid,
        sequence: u64,
        ahead: Ahead,
        request: Request,
    ) -> Option<Answered> {
        let Services { origin, root, services, ready, notify, .. } = self;
        let service = services.entry(pid).or_insert_with(|| {
            origin.inherit(pid, *root);
            let (ready, notify) = (Arc::clone(ready), Arc::clone(notify));
            Service::new(origin.clone(), pid, move || {
                ready.lock().unwrap_or_else(PoisonError::into_inner).push(pid);
                notify();
            })
        });
        let answered = service.request_ahead(sequence, ahead, request);
        answered.map(|(sequence, reply)| (pid, sequence, reply))
    }

    /// Tries again what can be.
    pub fn retry(&mut self) -> Vec<Answered> {
        let ready = std::mem::take(&mut *self.ready.lock().unwrap_or_else(PoisonError::into_inner));
        let answer = |pid: Pid| {
            let (sequence, reply) = self.services.get(&pid)?.retry()?;
            Some((pid, sequence, reply))
        };
        ready.into_iter().filter_map(answer).collect()
    }

    /// Does what a device process asks: what is answered at once.
    pub fn serve(&mut self, ask: Ask) -> Vec<Answered> {
        match ask {
            Ask::Request { client, sequence, request } => {
                let ahead = Ahead::default();
                self.request(client, sequence, ahead, request).into_iter().collect()
            }
            Ask::Retry => self.retry(),
            Ask::Release(client) => {
                self.release(client);
                Vec::new()
            }
        }
    }

    /// Closes all that one that belongs to root has, and may come again.
    pub fn release(&mut self, pid: Pid) {
        if self.services.remove(&pid).is_some() {
            let (files, more) = self.origin.unwritten(pid);
            for Unwritten { file, cause, .. } in files {
                self.notice(&format!("{file} was not written whole: {cause}"));
            }
            if more > 0 {
                self.notice(&format!("{more} more files were not written whole"));
            }
            self.origin.close(pid);
        }
    }

    /// What root has not written as it believes: see [`Origin::unwritten`].
    #[must_use]
    pub fn unwritten(&self) -> (Vec<Unwritten>, u64) {
        self.origin.unwritten(self.root)
    }

    /// A process that root has spawned has ended.
    pub fn ended(&mut self, pid: Pid, program: &str, end: E) {
        self.release(pid);
        (self.ended)(pid, program, end);
    }
}
