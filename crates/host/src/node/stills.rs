//! Processes that stand still on this node: on their way out, or on their way in. What takes long is done on threads of
//! its own.

use std::io::{self, Write as _};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use peripatos_abi::Pid;
use peripatos_abi::device::Devices;
use peripatos_cluster::message::{Content, Description, Luggage, Message, MigrationId};
use peripatos_engine::{
    CaptureOptions, Code, IMAGE_CHECKSUM_BYTES, ImageLimits, Limits, Outline, PreCopy, Process,
    ThawOptions,
};

use super::baggage::Baggage;
use super::bulk::{Arriving, Outgoing, Pieces};
use super::exchange::{Exchange, RemoteDevices};
use super::lanes::Way;
use super::links::Sender;
use super::pace::Pace;
use super::precopy::Copied;
use crate::link::BULK_CHUNK_BYTES;
use crate::link::lane::{self, LANE_BYTES_MIN, LaneWriter};
use crate::talk::{Leaving, ServedDevices};

/// What an image may hold beside the process's memory: frames, tables, strings.
const IMAGE_OVERHEAD_BYTES_MAX: u64 = 2 << 30;
/// Memory that stands ready for images which have not come, all together: how much a process has is only its node's word.
const ROOMS_BYTES_MAX: u64 = 512 << 20;
/// Threads for work that takes long are small: the work is not recursive.
const THREAD: &str = "mover";

/// A process that was frozen to leave. The contents of its memories stay in it and are read piece by piece while it is
/// sent; who takes it out ends that.
#[derive(Clone)]
pub(super) struct Still(Arc<Mutex<Option<Process>>>);

impl Still {
    pub(super) fn new(process: Process) -> Still {
        Still(Arc::new(Mutex::new(Some(process))))
    }

    /// Waits for the piece that is being read, at most.
    pub(super) fn take(&self) -> Option<Process> {
        self.lock().take()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Option<Process>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A process that was frozen to leave, with its image but for its memories' contents.
pub(super) struct Frozen {
    pub(super) still: Still,
    pub(super) outline: Arc<Outline>,
    /// What it has under way with others.
    pub(super) talking: Option<Box<Leaving>>,
    /// Processor time it had used on this node.
    pub(super) cpu: Duration,
    /// What its target has of it already.
    pub(super) copied: Option<Box<Copied>>,
}

/// The memory that stands ready for images which have not come.
#[derive(Clone, Debug, Default)]
pub(super) struct Rooms(Arc<AtomicU64>);

/// A part of it, until this is dropped.
pub(super) struct Claim {
    rooms: Rooms,
    bytes: u64,
}

impl Rooms {
    /// So many bytes, or what is left. Only the node's thread claims.
    pub(super) fn claim(&self, bytes: u64) -> Claim {
        let left = ROOMS_BYTES_MAX.saturating_sub(self.0.load(Ordering::Relaxed));
        let bytes = bytes.min(left);
        self.0.fetch_add(bytes, Ordering::Relaxed);
        Claim { rooms: self.clone(), bytes }
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        self.rooms.0.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

/// A process that has come, and has not run yet.
pub(super) struct Arrived {
    pub(super) process: Process,
    pub(super) exchange: Arc<Exchange>,
    pub(super) luggage: Luggage,
    pub(super) baggage: Baggage,
    /// What it has under way with others, checked.
    pub(super) talking: Option<Box<Leaving>>,
}

/// Does something that takes long, away from the node's thread.
pub(super) fn aside(work: impl FnOnce() + Send + 'static) -> io::Result<()> {
    std::thread::Builder::new().name(THREAD.into()).spawn(work).map(drop)
}

/// Looks at a process that stands still: its image, but for its memories' contents, or for what has been written since it
/// was copied. The process comes back, whatever happens.
pub(super) fn outline(
    mut process: Process,
    baggage: &Baggage,
    copy: Option<&PreCopy>,
) -> (Process, Result<Arc<Outline>, String>) {
    let options = CaptureOptions { devices: baggage.encode(), with_program: false };
    let outline = match copy {
        Some(copy) => process.outline_rest(options, copy),
        None => process.outline(options),
    };
    (process, outline.map(Arc::new).map_err(|error| error.to_string()))
}

/// Sends an image, as long as its process stands still. What goes wrong the target notices, and says.
pub(super) fn send_image(
    still: &Still,
    outline: &Outline,
    migration: MigrationId,
    to: &Sender,
    way: &Way,
    stream: u64,
    pace: &Pace,
) -> io::Result<()> {
    let pace = pace.stands_still();
    let content = Content::Image(migration);
    if outline.memory_bytes() < LANE_BYTES_MIN {
        if !to.send(&Message::Bulk { stream, content, lane: None }) {
            return Ok(());
        }
        return read_image(still, outline, |last, bytes| {
            pace.wait(bytes.len());
            let piece = Outgoing { stream, last, bytes: std::mem::take(bytes) };
            to.pieces.blocking_send(piece).map_err(|_| io::ErrorKind::BrokenPipe.into())
        });
    }
    let drawn = lane::draw()?;
    let opening = way.begin(drawn);
    if !to.send(&Message::Bulk { stream, content, lane: Some(drawn) }) {
        return Ok(());
    }
    let (connection, drawn) = opening.finish()?;
    let mut lane = LaneWriter::new(connection, &drawn)?;
    read_image(still, outline, |last, bytes| {
        pace.wait(bytes.len());
        lane.send(last, bytes)
    })
}

/// Sends what is left of a process that has been copied.
pub(super) fn send_rest(
    still: &Still,
    outline: &Outline,
    copied: Copied,
    pace: &Pace,
) -> io::Result<()> {
    let pace = pace.stands_still();
    let Copied { copy, mut lane, .. } = copied;
    let sent = read_image(still, outline, |last, bytes| {
        pace.wait(bytes.len());
        lane.send(last, bytes)
    });
    // Only now: the kernel takes a while to forget which pages it watches.
    drop(copy);
    sent
}

/// Gives an image to `send`, piece by piece. If the process goes on meanwhile, what was sent ends in the middle.
fn read_image(
    still: &Still,
    outline: &Outline,
    mut send: impl FnMut(bool, &mut Vec<u8>) -> io::Result<()>,
) -> io::Result<()> {
    let mut pieces = outline.pieces();
    let mut bytes = Vec::new();
    let mut last = false;
    while !last {
        // The checksum comes on top of the last piece.
        bytes.clear();
        bytes.reserve_exact(BULK_CHUNK_BYTES + IMAGE_CHECKSUM_BYTES);
        let more = match &mut *still.lock() {
            Some(process) => pieces.fill(process, &mut bytes, BULK_CHUNK_BYTES).unwrap_or(false),
            None => false,
        };
        last = !more;
        send(last, &mut bytes)?;
    }
    Ok(())
}

/// Sends a program.
pub(super) fn send_code(code: &Code, name: [u8; 32], to: &Sender, stream: u64, pace: &Pace) {
    let wasm = Arc::clone(code.original());
    if to.send(&Message::Bulk { stream, content: Content::Code(name), lane: None }) {
        let mut pieces = Pieces::new(to.pieces.clone(), stream);
        let mut chunks = wasm.chunks(BULK_CHUNK_BYTES);
        let sent = chunks.try_for_each(|chunk| {
            pace.wait(chunk.len());
            pieces.write_all(chunk)
        });
        if sent.is_ok() {
            let _ = pieces.finish();
        }
    }
}

/// Bytes that the image of this process may have.
fn image_bytes_max(luggage: &Luggage) -> u64 {
    luggage.process.memory_bytes_max.saturating_add(IMAGE_OVERHEAD_BYTES_MAX)
}

/// Bytes that may come of this process: its image, and before that its memory twice ([`PreCopied::goes_on`]).
///
/// [`PreCopied::goes_on`]: peripatos_cluster::PreCopied::goes_on
pub(super) fn bytes_max(luggage: &Luggage) -> u64 {
    image_bytes_max(luggage).saturating_add(luggage.process.memory_bytes_max.saturating_mul(2))
}

/// Makes room for a process, says so, and makes it of its image as that comes in.
///
/// # Errors
/// It broke off, is damaged, or is of another process than was announced: why.
pub(super) fn thaw(
    mut arriving: Arriving,
    code: &Code,
    luggage: Luggage,
    exchange: Arc<Exchange>,
    claim: Claim,
    room_made: impl FnOnce(),
) -> Result<Arrived, String> {
    let limits = ImageLimits { total_bytes: image_bytes_max(&luggage) };
    let options = ThawOptions {
        pid: None,
        devices: devices(&luggage.process, &exchange),
        limits: limits_of(luggage.process.memory_bytes_max),
        freeze_every: None,
    };
    let room = Process::make_room(code, options, claim.bytes);
    let room = room.map_err(|error| error.to_string())?;
    room_made();
    let thawed = room.thaw_from(&mut arriving, limits);
    let (process, devices) = thawed.map_err(|error| error.to_string())?;
    if process.pid() != luggage.process.pid {
        return Err("the image is of another process".to_owned());
    }
    let mut baggage = Baggage::decode(&devices)?;
    exchange.continue_from(baggage.readings(), baggage.used);
    exchange.continue_writing(std::mem::take(&mut baggage.written));
    let memory_len = process.memory_len();
    let talking = baggage.talk.as_ref().map(|talk| talk.leaving(memory_len)).transpose()?;
    if talking.is_some() != luggage.process.kin.is_some() {
        return Err("what the image says of its kernel is not what was announced".to_owned());
    }
    if talking.as_ref().is_some_and(|talking| !talking.is_of(&process)) {
        return Err("the image's kernel state is of another process".to_owned());
    }
    Ok(Arrived { process, exchange, luggage, baggage, talking: talking.map(Box::new) })
}

/// Who answers what a process asks of its devices.
pub(super) fn devices(process: &Description, exchange: &Arc<Exchange>) -> Box<dyn Devices> {
    match process.kin.as_ref().and_then(|kin| kin.devices.as_ref()) {
        Some(name) => Box::new(ServedDevices::new(name)),
        None => Box::new(RemoteDevices::new(Arc::clone(exchange))),
    }
}

/// What a process of this node may use.
pub(super) fn limits_of(memory_bytes: u64) -> Limits {
    Limits { memory_bytes, ..Limits::default() }
}

/// Forgets a process, or a copy of one: taking its memories down takes a while.
pub(super) fn drop_aside(process: impl Send + 'static) {
    // Without a thread it is done here.
    let _ = aside(move || drop(process));
}

/// A name for messages about a process.
pub(super) fn name(pid: Pid) -> String {
    format!("{pid:#}")
}
