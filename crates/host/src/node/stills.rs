//! Processes that stand still on this node: on their way out, or on their way in. What takes long is done on threads of
//! its own.

use std::io::{self, BufWriter, Write as _};
use std::sync::Arc;
use std::time::Duration;

use peripatos_abi::Pid;
use peripatos_cluster::message::{Content, Luggage, Message, MigrationId};
use peripatos_engine::{CaptureOptions, Code, Image, ImageLimits, Limits, Process, ThawOptions};

use super::bulk::{Arriving, Pieces};
use super::exchange::{Exchange, Readings, RemoteDevices};
use super::links::Sender;

/// What an image may hold beside the process's memory: frames, tables, strings.
const IMAGE_OVERHEAD_BYTES_MAX: u64 = 2 << 30;
/// Threads for work that takes long are small: the work is not recursive.
const THREAD: &str = "mover";

/// A process that was frozen to leave, with its image.
pub(super) struct Frozen {
    pub(super) process: Process,
    pub(super) image: Arc<Image>,
    /// Processor time it had used on this node.
    pub(super) cpu: Duration,
}

/// A process that has come, and has not run yet.
pub(super) struct Arrived {
    pub(super) process: Process,
    pub(super) exchange: Arc<Exchange>,
    pub(super) luggage: Luggage,
}

/// Does something that takes long, away from the node's thread.
pub(super) fn aside(work: impl FnOnce() + Send + 'static) -> io::Result<()> {
    std::thread::Builder::new().name(THREAD.into()).spawn(work).map(drop)
}

/// Makes the image of a process that stands still. The process comes back, whatever happens.
pub(super) fn capture(
    mut process: Process,
    readings: Readings,
) -> (Process, Result<Arc<Image>, String>) {
    let devices = encode(readings);
    let image = process.capture(CaptureOptions { devices, with_program: false });
    (process, image.map(Arc::new).map_err(|error| error.to_string()))
}

/// Sends an image. What goes wrong shows as the end of the link.
pub(super) fn send_image(image: &Image, migration: MigrationId, to: &Sender, stream: u64) {
    let bytes = image.memory_bytes();
    if !to.send(&Message::Bulk { stream, content: Content::Image(migration), bytes }) {
        return;
    }
    let mut pieces = BufWriter::with_capacity(16 << 10, Pieces::new(to.pieces.clone(), stream));
    let sent = image.write_to(&mut pieces).is_ok() && pieces.flush().is_ok();
    if let (true, Ok(pieces)) = (sent, pieces.into_inner()) {
        let _ = pieces.finish();
    }
}

/// Sends a program.
pub(super) fn send_code(code: &Code, name: [u8; 32], to: &Sender, stream: u64) {
    let wasm = Arc::clone(code.original());
    let bytes = wasm.len() as u64;
    if to.send(&Message::Bulk { stream, content: Content::Code(name), bytes }) {
        let mut pieces = Pieces::new(to.pieces.clone(), stream);
        if pieces.write_all(&wasm).is_ok() {
            let _ = pieces.finish();
        }
    }
}

/// Bytes that the image of this process may have.
pub(super) fn image_bytes_max(luggage: &Luggage) -> u64 {
    luggage.process.memory_bytes_max.saturating_add(IMAGE_OVERHEAD_BYTES_MAX)
}

/// Makes a process of an image as it comes in.
///
/// # Errors
/// It broke off, is damaged, or is of another process than was announced: why.
pub(super) fn thaw(
    mut arriving: Arriving,
    code: &Code,
    luggage: Luggage,
    exchange: Arc<Exchange>,
) -> Result<Arrived, String> {
    let limits = ImageLimits { total_bytes: image_bytes_max(&luggage) };
    let image = Image::read_from(&mut arriving, limits).map_err(|error| error.to_string())?;
    if image.pid() != luggage.process.pid {
        return Err("the image is of another process".to_owned());
    }
    exchange
        .continue_from(decode(image.devices()).ok_or("the image's clock readings are damaged")?);
    let options = ThawOptions {
        pid: None,
        devices: Box::new(RemoteDevices::new(Arc::clone(&exchange))),
        limits: limits_of(luggage.process.memory_bytes_max),
        freeze_every: None,
    };
    let process = Process::thaw(code, &image, options).map_err(|error| error.to_string())?;
    Ok(Arrived { process, exchange, luggage })
}

/// What a process of this node may use.
pub(super) fn limits_of(memory_bytes: u64) -> Limits {
    Limits { memory_bytes, ..Limits::default() }
}

/// Forgets a process: taking its memories down takes a while.
pub(super) fn drop_aside(process: Process) {
    // Without a thread it is done here.
    let _ = aside(move || drop(process));
}

/// Where a process's clocks stand, as the image carries it.
fn encode(readings: Readings) -> Vec<u8> {
    [readings.monotonic_ns.to_le_bytes(), readings.cpu_ns.to_le_bytes()].concat()
}

fn decode(bytes: &[u8]) -> Option<Readings> {
    let (parts, []) = bytes.as_chunks::<8>() else { return None };
    let [monotonic_ns, cpu_ns] = parts else { return None };
    Some(Readings {
        monotonic_ns: u64::from_le_bytes(*monotonic_ns),
        cpu_ns: u64::from_le_bytes(*cpu_ns),
    })
}

/// A name for messages about a process.
pub(super) fn name(pid: Pid) -> String {
    format!("{pid:#}")
}
