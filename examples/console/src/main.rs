//! A console for programs that run elsewhere: it prints what they write, with their pid before each line, and tells them
//! the time. A device server that is an ordinary process: it may walk, and so may those that it serves.
//!
//! `peri run console.wasm`, and then, on any node, `peri run --devices console PROGRAM`.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use peripatos::{Error, Received, register};
use peripatos_abi::device::{Reply, Request, decode_request, encode_reply};
use peripatos_abi::{Errno, Fd, FdFlags, Fdstat, FileType, Rights};

/// What a request has before it: its number.
const SEQUENCE_BYTES: usize = 8;

/// What a program has written of a line that is not complete.
type Lines = BTreeMap<peripatos::Pid, Vec<u8>>;

#[peripatos::main]
fn main() -> Result<(), Error> {
    register("console")?;
    let mut lines = Lines::new();
    let mut buffer = vec![0; peripatos::MESSAGE_BYTES_MAX];
    loop {
        let Received::Message(message) = peripatos::receive(&mut buffer)? else { continue };
        let pid = message.caller.pid();
        let request = message.bytes.get(SEQUENCE_BYTES..).map(decode_request);
        let reply = match request {
            Some(Ok(request)) => serve(&mut lines, pid, request),
            _ => Reply::Failed(Errno::Inval),
        };
        let reply = encode_reply(&reply).unwrap_or_default();
        // Whoever has ended meanwhile does not miss it.
        let _ = message.reply(&reply);
    }
}

fn serve(lines: &mut Lines, pid: peripatos::Pid, request: Request) -> Reply {
    match request {
        Request::Write { fd: Fd(1 | 2), data, offset: None } => {
            print(lines.entry(pid).or_default(), pid, &data);
            Reply::Number(data.len() as u64)
        }
        // Nothing can be typed in.
        Request::Read { fd: Fd(0), .. } => Reply::Data(Arc::default()),
        Request::FdstatGet(Fd(0..3)) => Reply::Fdstat(Fdstat {
            file_type: FileType::CharacterDevice,
            flags: FdFlags::NONE,
            rights: Rights::FD_READ.union(Rights::FD_WRITE),
            rights_inheriting: Rights::NONE,
        }),
        Request::ClockTime(_) => {
            let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
            Reply::Number(now.as_nanos() as u64)
        }
        Request::ClockResolution(_) => Reply::Number(1),
        // The same each time: nobody is to take these for secrets.
        Request::Random(len) => Reply::Data(Arc::new(vec![4; len.min(4096) as usize])),
        Request::Close(_) => Reply::Done,
        // It has no other descriptors, and no files.
        _ => Reply::Failed(Errno::BadF),
    }
}

/// Prints whole lines, and keeps the rest.
fn print(line: &mut Vec<u8>, pid: peripatos::Pid, data: &[u8]) {
    for byte in data {
        if *byte == b'\n' {
            println!("{pid}: {}", String::from_utf8_lossy(line));
            line.clear();
        } else {
            line.push(*byte);
        }
    }
}
