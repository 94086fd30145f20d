//! Bytes that claim to be pages of a process's memories, copied while it ran, and an image behind them: they are refused, or
//! become a process whose memories hold what was said last of each page.
//!
//! Taken as they are, and as pages of few bytes each with a digest that is right, or no mutation would get past it.
#![no_main]

use std::collections::BTreeMap;
use std::sync::LazyLock;
use std::task::{Context, Poll};

use libfuzzer_sys::fuzz_target;
use peripatos_abi::device::{Devices, Reply, Request};
use peripatos_abi::{Errno, Pid};
use peripatos_engine::{
    CaptureOptions, Code, CodeKind, ImageLimits, Limits, LoadOptions, Outcome, PreCopy, Process,
    ProcessOptions, Runtime, Settings, ThawOptions, block_on,
};
use twox_hash::XxHash3_128;

/// Two memories, of 32 and of 64 bits, with a page of contents each.
const PROGRAM: &str = r#"(module (memory (export "memory") 1 2) (memory $wide i64 1 3)
    (func (export "_start")
        (loop $again
            (i32.store (i32.const 8) (i32.const 7)) (i64.store $wide (i64.const 4100) (i64.const 9))
            (br $again))))"#;
const PAGE_BYTES: usize = 4096;
/// Pages of its memories when it was frozen.
const SIZES: [u64; 2] = [16, 16];

struct NoDevices;

impl Devices for NoDevices {
    fn poll_request(&mut self, _: &mut Context<'_>, _: Pid, _: u64, _: &Request) -> Poll<Reply> {
        Poll::Ready(Reply::Failed(Errno::BadF))
    }
}

fn limits() -> Limits {
    Limits { memory_bytes: 1 << 20, ..Limits::default() }
}

/// The program, and what stands behind copied pages.
static GIVEN: LazyLock<(Code, Vec<u8>)> = LazyLock::new(|| {
    let runtime = Runtime::new(Settings::default()).expect("a runtime");
    let wasm = wat::parse_str(PROGRAM).expect("it is one");
    let code = runtime.load(wasm.into(), LoadOptions { kind: CodeKind::CountDown });
    let code = code.expect("it is a program");
    let (args, env, devices) = (Vec::new(), Vec::new(), Box::new(NoDevices));
    let pid = Pid::new(1, 2);
    let options =
        ProcessOptions { pid, args, env, devices, limits: limits(), freeze_every: Some(3) };
    let mut process = Process::spawn(&code, options).expect("a process");
    assert_eq!(block_on(process.run()).expect("it runs"), Outcome::Frozen);
    let image = process.capture(CaptureOptions::default()).expect("it is frozen");
    let mut bytes = Vec::new();
    image.write_to(&mut bytes).expect("a vector takes everything");
    (code, bytes)
});

fn thawed(stream: &[u8]) -> Option<Process> {
    let devices = Box::new(NoDevices);
    let options = ThawOptions { pid: None, devices, limits: limits(), freeze_every: None };
    let room = Process::make_room(&GIVEN.0, options, 0).expect("there is room");
    room.thaw_from(&mut &*stream, ImageLimits { total_bytes: 1 << 24 }).ok().map(|(it, _)| it)
}

fuzz_target!(|bytes: &[u8]| {
    let _ = thawed(&[&PreCopy::head()[..], bytes].concat());
    let mut stream = PreCopy::head().to_vec();
    let (mut sums, mut pages) = (BTreeMap::new(), BTreeMap::new());
    let (mut sound, mut sizes) = (true, [None; SIZES.len()]);
    for &[memory, first, count, byte] in bytes.as_chunks::<4>().0 {
        // Without a count it is the memory's size.
        let (memory, first, count) = (memory % 4, u64::from(first % 64), count % 64);
        if (memory, first, count) == (0, 0, 0) {
            continue;
        }
        stream.extend(first.to_le_bytes());
        stream.extend(u16::from(count).to_le_bytes());
        stream.extend(u16::from(memory).to_le_bytes());
        let end = first + u64::from(count);
        let fits = SIZES.get(usize::from(memory)).is_some_and(|size| end <= *size);
        sound &= fits && count <= 62;
        if count == 0
            && let Some(size) = sizes.get_mut(usize::from(memory))
        {
            sound &= size.is_none_or(|size| first > size);
            *size = Some(first);
        }
        for page in first..end {
            let contents = [byte; PAGE_BYTES];
            stream.extend(contents);
            let id = u64::from(memory) << 48 | page;
            sums.insert(id, XxHash3_128::oneshot(&contents) | 1);
            pages.insert(id, byte);
        }
    }
    let mut digest = XxHash3_128::default();
    for (id, sum) in &sums {
        digest.write(&id.to_le_bytes());
        digest.write(&sum.to_le_bytes());
    }
    stream.extend([0; 12]);
    stream.extend(digest.finish_128().to_le_bytes());
    stream.extend(&GIVEN.1);
    let process = thawed(&stream);
    assert_eq!(process.is_some(), sound);
    if let Some(mut process) = process {
        let image = process.capture(CaptureOptions::default()).expect("it is frozen");
        // What the image has of its own lies over what was copied; what is zero is in none.
        let own = [0, 1 << 48 | 1];
        let copied = pages.iter().filter(|(id, byte)| **byte != 0 && !own.contains(*id)).count();
        assert_eq!(image.memory_bytes(), ((own.len() + copied) * PAGE_BYTES) as u64);
    }
});
