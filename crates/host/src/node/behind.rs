//! What a process has written and its origin has not heard: it was told at once that it is done, and goes on.
//!
//! Invariants:
//! * At the origin the order is the process's. One piece is with the origin at a time; whatever else the process asks is sent when all
//!   that it wrote before was heard ([`Exchange`](super::exchange::Exchange) sees to that). So a piece that may have been lost is sent
//!   again, and its number makes that harmless.
//! * A piece that was sent stays as it is, here and wherever the process goes. Before, writes that follow each other in a file become one
//!   piece, of the number of the last of them.
//! * Of one process [`OUTSTANDING_BYTES_MAX`] wait at most, of all processes of a node [`NODE_BYTES_MAX`]: who writes more waits.
//! * It is for files that the origin has said may be written so; it holds what fails until it is told (`origin/behind.rs`).
//!
//! There is no timer: a piece is sent as soon as the one before was heard, so that somebody outside sees a write after two round trips at
//! most. Who writes little waits for nothing, and who writes much sends larger pieces (as Nagle's algorithm has it).

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use peripatos_abi::Fd;
use peripatos_abi::device::{Ahead, Request};
use peripatos_abi::limits::{DESCRIPTORS_MAX, TRANSFER_BYTES_MAX};
use serde::{Deserialize, Serialize};

/// Bytes of a process's writes that may wait, and what keeping them costs.
const OUTSTANDING_BYTES_MAX: usize = 1 << 20;
/// The same of all processes of a node.
const NODE_BYTES_MAX: usize = 64 << 20;
/// Bytes that small writes become one piece of, at most.
const PIECE_BYTES_MAX: usize = 256 << 10;
/// What a piece counts for beside its bytes.
const PIECE_COST_BYTES: usize = 256;

/// Of one process. Pure.
#[derive(Debug, Default)]
pub(super) struct WriteBehind {
    /// `None`: each write waits.
    allowance: Option<Allowance>,
    /// What the origin has said may be written behind.
    files: BTreeSet<Fd>,
    /// With the origin.
    sent: Option<Sent>,
    waiting: VecDeque<Piece>,
    /// The last that waits may grow.
    grows: bool,
    cost_bytes: usize,
    /// The process was told that its writes are done up to this number.
    answered: Option<u64>,
}

/// What the processes of a node may have outstanding together. Clones share it.
#[derive(Clone, Debug, Default)]
pub struct Allowance(Arc<AtomicUsize>);

#[derive(Debug)]
struct Sent {
    sequence: u64,
    told: u32,
    request: Arc<Request>,
}

/// Writes that follow each other in a file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Piece {
    /// Of the last of them.
    sequence: u64,
    fd: u32,
    /// `None`: where the descriptor stands.
    offset: Option<u64>,
    /// None, if they were lost.
    data: Vec<u8>,
    /// So many bytes the process has written.
    told: u32,
}

/// What goes with a process that moves.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Outstanding {
    pieces: Vec<Piece>,
    answered: Option<u64>,
}

impl WriteBehind {
    /// From now on writes need not wait.
    pub(super) fn enable(&mut self, allowance: Allowance) {
        allowance.0.fetch_add(self.cost_bytes, Ordering::Relaxed);
        self.allowance = Some(allowance);
    }

    /// Whether the origin has heard everything.
    pub(super) fn is_empty(&self) -> bool {
        self.sent.is_none() && self.waiting.is_empty()
    }

    /// Whether the process was told so of this request of its, on this node or the one before.
    pub(super) fn was_answered(&self, sequence: u64) -> bool {
        self.answered >= Some(sequence)
    }

    /// What an awaited request of the process asks for besides: [`Ahead::bytes`] of a write.
    pub(super) fn asks(&mut self, request: &Request) -> Option<u32> {
        match request {
            Request::Write { .. } if self.allowance.is_some() => return Some(Ahead::ASKS),
            Request::Close(fd)
            | Request::FdstatSetFlags { fd, .. }
            | Request::FdstatSetRights { fd, .. } => drop(self.files.remove(fd)),
            Request::Renumber { from, to } => {
                self.files.remove(from);
                self.files.remove(to);
            }
            _ => {}
        }
        None
    }

    /// The origin says that what follows in this file may be written behind.
    pub(super) fn may(&mut self, fd: Fd) {
        if self.allowance.is_some() && self.files.len() < DESCRIPTORS_MAX {
            self.files.insert(fd);
        }
    }

    /// The process writes. `true`: that is done, as far as it can tell.
    pub(super) fn take(&mut self, sequence: u64, request: &Request) -> bool {
        let Request::Write { fd, data, offset } = request else { return false };
        if data.is_empty() || !self.files.contains(fd) {
            return false;
        }
        let grows = self.grows;
        let last = self.waiting.back_mut().filter(|last| grows && last.is_followed_by(request));
        let cost_bytes = data.len() + if last.is_some() { 0 } else { PIECE_COST_BYTES };
        let Some(allowance) = &self.allowance else { return false };
        if self.cost_bytes + cost_bytes > OUTSTANDING_BYTES_MAX || !allowance.take(cost_bytes) {
            return false;
        }
        self.cost_bytes += cost_bytes;
        // A request's bytes are no more than a transfer's.
        let told = data.len() as u32;
        match last {
            Some(last) => {
                last.sequence = sequence;
                last.data.extend_from_slice(data);
                last.told += told;
            }
            None => {
                let (fd, offset, data) = (fd.0, *offset, data.clone());
                self.waiting.push_back(Piece { sequence, fd, offset, data, told });
            }
        }
        self.grows = true;
        self.answered = Some(sequence);
        true
    }

    /// What is to be sent now, if nothing is on its way: its number, what was told of it, and what.
    pub(super) fn next(&mut self) -> Option<(u64, u32, Arc<Request>)> {
        if self.sent.is_some() {
            return None;
        }
        let Piece { sequence, fd, offset, data, told } = self.waiting.pop_front()?;
        let request = Arc::new(Request::Write { fd: Fd(fd), data, offset });
        self.sent = Some(Sent { sequence, told, request });
        self.under_way()
    }

    /// What is on its way.
    pub(super) fn under_way(&self) -> Option<(u64, u32, Arc<Request>)> {
        let sent = self.sent.as_ref();
        sent.map(|sent| (sent.sequence, sent.told, Arc::clone(&sent.request)))
    }

    /// The origin has answered this request. `true`: it is a piece of what was written, and dealt with.
    pub(super) fn heard(&mut self, sequence: u64) -> bool {
        let Some(sent) = self.sent.take_if(|sent| sent.sequence == sequence) else { return false };
        let Request::Write { data, .. } = &*sent.request else { return true };
        self.give_back(data.len() + PIECE_COST_BYTES);
        true
    }

    /// Something has failed: the process is to hear of it with what it does next, so that each write waits.
    pub(super) fn stop(&mut self) {
        self.files.clear();
    }

    /// The origin cannot be reached: what it has not heard is lost, and that is to be told. If it has had what was on its way, it
    /// takes that for what is told under the same number.
    pub(super) fn lose(&mut self) {
        let mut lost = BTreeMap::<u32, Piece>::new();
        for piece in self.pieces() {
            let Piece { sequence, fd, told, .. } = piece;
            let none = Piece { sequence, fd, offset: None, data: Vec::new(), told: 0 };
            let one = lost.entry(fd).or_insert(none);
            one.sequence = sequence;
            one.told = one.told.saturating_add(told);
        }
        self.stop();
        self.sent = None;
        let mut lost = Vec::from_iter(lost.into_values());
        lost.sort_by_key(|piece| piece.sequence);
        self.put(lost);
    }

    /// The process was told by this call that something has failed.
    pub(super) fn told(&mut self, request: &Request) {
        let (Request::Write { fd, .. }
        | Request::Sync(fd)
        | Request::DataSync(fd)
        | Request::Close(fd)) = request
        else {
            return;
        };
        let mut left = Vec::from(std::mem::take(&mut self.waiting));
        left.retain(|piece| piece.fd != fd.0 || !piece.data.is_empty());
        self.put(left);
    }

    /// Nobody will ever hear it.
    pub(super) fn forget(&mut self) {
        self.stop();
        self.sent = None;
        self.put(Vec::new());
    }

    /// Bytes that were lost and could not be told.
    pub(super) fn lost_bytes(&self) -> u64 {
        self.pieces().iter().map(|piece| u64::from(piece.told)).sum()
    }

    /// What goes with the process.
    pub(super) fn outstanding(&self) -> Outstanding {
        Outstanding { pieces: self.pieces(), answered: self.answered }
    }

    /// What has come with it.
    pub(super) fn continue_from(&mut self, outstanding: Outstanding) {
        let Outstanding { pieces, answered } = outstanding;
        self.answered = answered;
        self.sent = None;
        self.put(pieces);
    }

    fn pieces(&self) -> Vec<Piece> {
        let sent = self.sent.iter().filter_map(|sent| match &*sent.request {
            Request::Write { fd, data, offset } => Some(Piece {
                sequence: sent.sequence,
                fd: fd.0,
                offset: *offset,
                data: data.clone(),
                told: sent.told,
            }),
            _ => None,
        });
        sent.chain(self.waiting.iter().cloned()).collect()
    }

    /// These wait, as they are.
    fn put(&mut self, pieces: Vec<Piece>) {
        self.give_back(self.cost_bytes);
        self.cost_bytes = pieces.iter().map(|piece| piece.data.len() + PIECE_COST_BYTES).sum();
        if let Some(allowance) = &self.allowance {
            allowance.0.fetch_add(self.cost_bytes, Ordering::Relaxed);
        }
        (self.waiting, self.grows) = (pieces.into(), false);
    }

    fn give_back(&mut self, cost_bytes: usize) {
        self.cost_bytes -= cost_bytes;
        if let Some(allowance) = &self.allowance {
            allowance.0.fetch_sub(cost_bytes, Ordering::Relaxed);
        }
    }
}

impl Drop for WriteBehind {
    fn drop(&mut self) {
        self.give_back(self.cost_bytes);
    }
}

impl Allowance {
    fn take(&self, bytes: usize) -> bool {
        let more = |taken: usize| taken.checked_add(bytes).filter(|taken| *taken <= NODE_BYTES_MAX);
        self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more).is_ok()
    }
}

impl Piece {
    fn is_followed_by(&self, request: &Request) -> bool {
        let Request::Write { fd, data, offset } = request else { return false };
        let end = self.offset.map(|offset| offset.checked_add(self.data.len() as u64));
        let follows = end.is_none_or(|end| end.is_some()) && end.flatten() == *offset;
        self.fd == fd.0 && follows && self.data.len() + data.len() <= PIECE_BYTES_MAX
    }
}

impl Outstanding {
    /// Whether nothing is.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.pieces.is_empty()
    }

    /// # Errors
    /// It is more than a process may have outstanding, or out of order: what.
    pub(super) fn check(&self) -> Result<(), &'static str> {
        let cost = self.pieces.iter().map(|piece| piece.data.len() + PIECE_COST_BYTES);
        if cost.sum::<usize>() > OUTSTANDING_BYTES_MAX {
            return Err("it has written more than may be on its way");
        }
        if self.pieces.iter().any(|piece| {
            piece.told == 0 || piece.data.len() > (piece.told.min(TRANSFER_BYTES_MAX)) as usize
        }) {
            return Err("it has written more than it says");
        }
        let last = self.pieces.last().map(|piece| piece.sequence);
        match self.pieces.is_sorted_by(|one, next| one.sequence < next.sequence)
            && last <= self.answered
        {
            true => Ok(()),
            false => Err("what it has written is out of order"),
        }
    }
}
