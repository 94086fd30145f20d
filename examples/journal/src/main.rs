//! A journal of the paths that programs use: each request that names one is noted on standard error, and every request is
//! passed on, as it is, to the devices that this program has itself. Programs do not notice.
//!
//! `peri run --dir DIRECTORY::/ journal.wasm`, and then, on any node, `peri run --devices journal PROGRAM`: the program has
//! the streams and directories of the journal's `peri run`, and descriptors of its own for them.

use peripatos::{Error, Received, devices, register};
use peripatos_abi::Errno;
use peripatos_abi::device::{Reply, Request, decode_request, encode_reply};

/// What a request has before it: its number.
const SEQUENCE_BYTES: usize = 8;

#[peripatos::main]
fn main() -> Result<(), Error> {
    let devices = devices()?;
    register("journal")?;
    let mut buffer = vec![0; peripatos::MESSAGE_BYTES_MAX];
    loop {
        let Received::Message(message) = peripatos::receive(&mut buffer)? else { continue };
        let request = message.bytes.get(SEQUENCE_BYTES..).map(decode_request);
        let Some(Ok(request)) = request else {
            let refused = encode_reply(&Reply::Failed(Errno::Inval)).unwrap_or_default();
            let _ = message.reply(&refused);
            continue;
        };
        if let Some((what, path)) = path(&request) {
            eprintln!("{:#} {what} {path:?}", message.caller.pid());
        }
        // Whoever has sent it gets the reply. If he does not wait any more nobody misses it.
        let _ = message.caller.forward(devices, message.bytes);
    }
}

/// What a request does with which path.
fn path(request: &Request) -> Option<(&'static str, &str)> {
    Some(match request {
        Request::Open { path, .. } => ("opens", path),
        Request::CreateDirectory { path, .. } => ("makes directory", path),
        Request::PathFilestatGet { path, .. } => ("looks at", path),
        Request::PathFilestatSetTimes { path, .. } => ("sets the times of", path),
        Request::Link { to_path, .. } => ("links", to_path),
        Request::ReadLink { path, .. } => ("reads link", path),
        Request::RemoveDirectory { path, .. } => ("removes directory", path),
        Request::Rename { from_path, .. } => ("renames", from_path),
        Request::Symlink { path, .. } => ("makes link", path),
        Request::UnlinkFile { path, .. } => ("removes", path),
        _ => return None,
    })
}
