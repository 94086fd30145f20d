//! This OS process's lease in etcd, and those of others.
//!
//! Three threads, so that none waits for another one's answer: one renews, one ends this OS process when that has not been done in
//! time, whatever else it does just then, and one asks for leases of nodes that are silent.
//!
//! Invariant: from [`NodeLease::ends_at`] on nothing leaves this OS process ([`crate::fence`]), and it ends.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use peripatos_cluster::{
    Fenced, Incarnation, LeaseState, LeaseStep, LeaseTerms, NodeId, NodeLease, Time,
};

use super::NodeError;
use super::host::{Input, Inputs};
use crate::etcd::{Client, EtcdError, EtcdOptions, LeaseId};
use crate::fence;

/// Between two looks at the clock: a sleep does not count the time in which the machine is suspended.
const LOOK_EVERY: Duration = Duration::from_millis(100);
/// Questions about others that wait; with more they are asked later.
const QUESTIONS_MAX: usize = 64;

/// A node of which etcd knows nothing will hardly have a lease later: it is asked for again after so long.
const UNKNOWN_PAUSE: Duration = Duration::from_secs(30);

/// How a node uses etcd.
#[derive(Clone, Debug)]
pub struct LeaseOptions {
    /// Where it is.
    pub etcd: EtcdOptions,
    /// How long leases are good.
    pub terms: LeaseTerms,
    /// Ends this OS process at once, and says why. Others go on for as long as that takes, but nothing that they do leaves.
    pub fenced: fn(&Fenced) -> !,
}

/// The lease of this OS process. It is renewed until this is given back, or the OS process ends.
pub(super) struct Lease {
    client: Arc<Client>,
    id: LeaseId,
    state: Arc<Mutex<State>>,
}

struct State {
    /// `None`: it was given back.
    lease: Option<NodeLease>,
}

impl Lease {
    /// Takes a lease for this OS process of a node. From now on it is renewed, and this OS process ends when it cannot be.
    ///
    /// # Errors
    /// [`NodeError::Etcd`]: etcd cannot be reached, or refuses.
    pub(super) fn take(
        options: &LeaseOptions,
        node: NodeId,
        incarnation: Incarnation,
        name: &str,
    ) -> Result<Lease, NodeError> {
        let LeaseOptions { etcd, terms, fenced } = options;
        let (terms, fenced) = (*terms, *fenced);
        let client = Arc::new(Client::new(etcd, terms.answer_max())?);
        // Nothing is at stake yet.
        let patient = Client::new(etcd, terms.fenced_after())?;
        let (id, sent) = patient.grant(terms)?;
        patient.register(node, incarnation, name, id)?;
        let lease = NodeLease::granted(sent, terms);
        if matches!(lease.step(fence::now()), LeaseStep::End(_)) {
            let cause = "etcd took too long to register this node".to_owned();
            return Err(EtcdError::Unreachable(cause).into());
        }
        fence::open_until(lease.ends_at());
        let state = Arc::new(Mutex::new(State { lease: Some(lease) }));
        let watched = Arc::clone(&state);
        let watches = move || watch(&watched, fenced);
        thread::Builder::new().name("lease-end".into()).spawn(watches)?;
        let (renewed, asks) = (Arc::clone(&state), Arc::clone(&client));
        let renews = move || renew(&asks, id, terms, &renewed);
        thread::Builder::new().name("lease".into()).spawn(renews)?;
        Ok(Lease { client, id, state })
    }

    /// Begins to ask for leases of others: answers come as [`Input::LeaseState`].
    ///
    /// # Errors
    /// No thread can be started.
    pub(super) fn asker(&self, inputs: Inputs) -> Result<Asker, NodeError> {
        let (questions, asked) = mpsc::sync_channel::<(NodeId, Incarnation)>(QUESTIONS_MAX);
        let client = Arc::clone(&self.client);
        let answers = move || {
            while let Ok((node, incarnation)) = asked.recv() {
                let state = client.state(node, incarnation).map_err(|error| error.to_string());
                inputs.send(Input::LeaseState { node, incarnation, state });
            }
        };
        thread::Builder::new().name("leases".into()).spawn(answers)?;
        Ok(Asker(questions))
    }

    /// Nothing runs here any more: whoever waits for that need not wait until the lease has expired.
    pub(super) fn give_back(self) {
        lock(&self.state).lease = None;
        fence::close();
        // It expires.
        let _ = self.client.revoke(self.id);
    }
}

/// Asks for leases of other nodes.
pub(super) struct Asker(mpsc::SyncSender<(NodeId, Incarnation)>);

impl Asker {
    /// `false`: not now.
    pub(super) fn ask(&self, node: NodeId, incarnation: Incarnation) -> bool {
        self.0.try_send((node, incarnation)).is_ok()
    }
}

/// Ends this OS process when its lease is over.
fn watch(state: &Mutex<State>, fenced: fn(&Fenced) -> !) {
    loop {
        let step = {
            let state = lock(state);
            let Some(lease) = &state.lease else { return };
            let now = fence::now();
            match lease.step(now) {
                LeaseStep::End(why) => Err(why),
                _ => Ok(lease.ends_at().since(now)),
            }
        };
        match step {
            Ok(left) => thread::sleep(left.min(LOOK_EVERY)),
            Err(why) => {
                fence::close();
                fenced(&why)
            }
        }
    }
}

/// Renews the lease as long as there is one.
fn renew(client: &Client, id: LeaseId, terms: LeaseTerms, state: &Mutex<State>) {
    loop {
        let now = fence::now();
        let step = lock(state).lease.as_ref().map(|lease| lease.step(now));
        match step {
            None => return,
            Some(LeaseStep::Wait(until)) => thread::sleep(until.since(now).min(LOOK_EVERY)),
            Some(LeaseStep::Renew) => {
                let said = client.keep_alive(id, terms);
                if let Some(lease) = &mut lock(state).lease {
                    heard(lease, said, fence::now());
                }
            }
            // The other thread ends it.
            Some(LeaseStep::End(_)) => thread::sleep(LOOK_EVERY),
        }
    }
}

fn heard(lease: &mut NodeLease, said: Result<Option<Time>, EtcdError>, now: Time) {
    match said {
        Ok(Some(sent)) => {
            lease.renewed(now, sent);
            fence::open_until(lease.ends_at());
        }
        Ok(None) => {
            lease.lost();
            fence::close();
        }
        Err(error) => lease.not_renewed(now, error.to_string()),
    }
}

fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    // What is under the lock is whole, whoever panics.
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What the node has heard of others' leases, and asks.
#[derive(Default)]
pub(super) struct Asked {
    /// When the answer came, or that there is none yet; and whether it was that nothing is known of such a lease.
    all: BTreeMap<(NodeId, Incarnation), Option<(Instant, bool)>>,
}

impl Asked {
    /// Asks for those that are silent, but for those that were asked for and not answered, or just before.
    pub(super) fn ask(&mut self, asker: &Asker, silent: &[(NodeId, Incarnation)]) {
        self.all.retain(|one, answered| answered.is_none() || silent.contains(one));
        for one in silent {
            let waits = self.all.get(one).is_some_and(|answered| {
                answered.is_none_or(|(at, unknown)| unknown && at.elapsed() < UNKNOWN_PAUSE)
            });
            if !waits && asker.ask(one.0, one.1) {
                self.all.insert(*one, None);
            }
        }
    }

    /// There is an answer. What it means, in a line for the log, if anything.
    pub(super) fn answered(
        &mut self,
        node: NodeId,
        incarnation: Incarnation,
        name: &str,
        state: &Result<LeaseState, String>,
    ) -> Option<String> {
        let unknown = *state == Ok(LeaseState::Unknown);
        self.all.insert((node, incarnation), Some((Instant::now(), unknown)));
        match state {
            Ok(LeaseState::Held | LeaseState::Expired) => None,
            Ok(LeaseState::Unknown) => Some(format!(
                "node {name} is silent, and has no lease in this etcd: whether it is gone is not known"
            )),
            Err(error) => Some(format!("whether node {name} has a lease cannot be asked: {error}")),
        }
    }
}
