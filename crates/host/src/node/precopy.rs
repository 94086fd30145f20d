//! Processes whose memory is copied to another node while they run, each on a thread of its own.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use peripatos_cluster::limits::PRE_COPY_BYTES_MIN;
use peripatos_cluster::message::{Content, Message, MigrationId};
use peripatos_cluster::{PreCopied, Round};
use peripatos_engine::PreCopy;

use super::lanes::Way;
use super::links::Sender;
use super::pace::Pace;
use crate::link::BULK_CHUNK_BYTES;
use crate::link::lane::{self, LaneWriter};

/// By how much the thread that copies stands back behind those that run processes.
const NICE: i32 = 10;

const _: () = assert!(PreCopy::PIECE_BYTES_MAX <= BULK_CHUNK_BYTES);

/// A copy that is under way. Dropping this ends it.
pub(super) struct Copying(Arc<AtomicBool>);

/// Whether a copy is still wanted.
pub(super) struct Wanted(Arc<AtomicBool>);

/// What has been copied, and the lane by which the rest is to follow.
pub(super) struct Copied {
    pub(super) copy: PreCopy,
    pub(super) lane: LaneWriter,
    pub(super) so_far: PreCopied,
}

impl Copying {
    pub(super) fn new() -> (Copying, Wanted) {
        let wanted = Arc::new(AtomicBool::new(true));
        (Copying(Arc::clone(&wanted)), Wanted(wanted))
    }
}

impl Drop for Copying {
    fn drop(&mut self) {
        self.0.store(false, Ordering::Relaxed);
    }
}

/// Where a copy goes.
pub(super) struct Target {
    pub(super) migration: MigrationId,
    pub(super) sender: Sender,
    pub(super) way: Way,
    pub(super) stream: u64,
}

/// Copies the memory of a process in rounds, as long as another one is worth it. `None`: there is too little of it.
///
/// # Errors
/// It cannot be carried or read, or is not wanted any more.
pub(super) fn copy(
    mut copy: PreCopy,
    to: &Target,
    pace: &Pace,
    wanted: &Wanted,
) -> io::Result<Option<Copied>> {
    if copy.written_bytes()? < PRE_COPY_BYTES_MIN {
        return Ok(None);
    }
    // The program is to lose as little as can be by it.
    let _ = rustix::process::setpriority_process(None, NICE);
    let drawn = lane::draw()?;
    let opening = to.way.begin(drawn);
    let content = Content::Image(to.migration);
    if !to.sender.send(&Message::Bulk { stream: to.stream, content, lane: Some(drawn) }) {
        return Err(io::ErrorKind::NotConnected.into());
    }
    let (connection, drawn) = opening.finish()?;
    let mut lane = LaneWriter::new(connection, &drawn)?;
    lane.send(false, &mut PreCopy::head())?;
    let (started, mut so_far) = (Instant::now(), PreCopied::default());
    let mut first = None;
    loop {
        let began = Instant::now();
        let bytes = copy.begin_round()?;
        let first = *first.get_or_insert(bytes);
        while let Some(piece) = copy.next_piece()? {
            if !wanted.0.load(Ordering::Relaxed) {
                return Err(io::ErrorKind::Interrupted.into());
            }
            so_far.bytes += piece.len() as u64;
            pace.wait(piece.len());
            lane.send(false, piece)?;
        }
        so_far.rounds += 1;
        let (took, written) = (began.elapsed(), copy.written_bytes()?);
        if !so_far.goes_on(first, Round { bytes, took, written }, started.elapsed()) {
            break;
        }
    }
    lane.send(false, &mut copy.end())?;
    // The target can check all of it before the process stands still.
    lane.flush()?;
    Ok(Some(Copied { copy, lane, so_far }))
}
