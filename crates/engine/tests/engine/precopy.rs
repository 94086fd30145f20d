//! Memory that is copied while its process runs. Where the system does not tell what was written there is nothing to test.

use std::thread;
use std::time::Duration;

use peripatos_engine::{
    CaptureOptions, Code, CodeKind, Image, ImageLimits, LoadOptions, Outcome, PreCopy, Process,
    ProcessOptions, SpawnError, block_on, page_tracking,
};

use crate::common::{Case, Origin, cases, guest, load, options, pid, runtime, thaw_options};

/// Rounds of one run.
const ROUNDS: usize = 4;

/// Adds a round to a stream: how many bytes it took.
pub(crate) fn round(copy: &mut PreCopy, stream: &mut Vec<u8>) -> usize {
    let before = stream.len();
    copy.begin_round().unwrap();
    while let Some(piece) = copy.next_piece().unwrap() {
        assert!(piece.len() <= PreCopy::PIECE_BYTES_MAX);
        stream.extend_from_slice(piece);
    }
    stream.len() - before
}

/// Adds what is left of a process that stands still.
pub(crate) fn rest(copy: &PreCopy, process: &mut Process, stream: &mut Vec<u8>) {
    stream.extend(copy.end());
    let mut pieces = process.outline_rest(CaptureOptions::default(), copy).unwrap().pieces();
    while pieces.fill(process, stream, usize::MAX).unwrap() {}
}

pub(crate) fn thaw_from(
    code: &Code,
    origin: &Origin,
    stream: &[u8],
) -> Result<Process, SpawnError> {
    let room = Process::make_room(code, thaw_options(origin, Some(u32::MAX)), 0)?;
    room.thaw_from(&mut &stream[..], ImageLimits::default()).map(|(process, _)| process)
}

pub(crate) fn captured(process: &mut Process) -> Image {
    process.capture(CaptureOptions::default()).unwrap()
}

/// What stands before the first pages of a stream.
pub(crate) fn head(first: u64, count: u16, memory: u16) -> Vec<u8> {
    let numbers = [count, memory].map(u16::to_le_bytes).concat();
    [&PreCopy::head()[..], &first.to_le_bytes(), &numbers].concat()
}

fn spawn(code: &Code, case: &Case, origin: &Origin, every: u32) -> Process {
    let options = ProcessOptions { args: case.args.clone(), ..options(origin, Some(every)) };
    Process::spawn(code, options).unwrap()
}

/// Copies a process between its freezes: what is left of it. `None`: it did not live so long.
fn copied(code: &Code, case: &Case, every: u32, rounds: usize) -> Option<(Process, Vec<u8>)> {
    let origin = Origin::default();
    let mut process = spawn(code, case, &origin, every);
    let mut copy = process.control().pre_copy().ok()?;
    let mut stream = PreCopy::head().to_vec();
    for _ in 0..rounds {
        round(&mut copy, &mut stream);
        if block_on(process.run()).ok()? != Outcome::Frozen {
            return None;
        }
    }
    rest(&copy, &mut process, &mut stream);
    Some((process, stream))
}

#[test]
fn copied_in_rounds_it_is_the_same_process() {
    if page_tracking().is_err() {
        return;
    }
    let runtime = runtime();
    let mut checked = 0;
    for case in cases() {
        let wasm = case.wasm[..].into();
        // Some cannot be made freezable.
        let Ok(code) = runtime.load(wasm, LoadOptions { kind: CodeKind::CountDown }) else {
            continue;
        };
        for (every, rounds) in [(1_000, ROUNDS), (50, 1)] {
            let Some((mut process, stream)) = copied(&code, &case, every, rounds) else { continue };
            let mut arrived = thaw_from(&code, &Origin::default(), &stream).unwrap();
            assert!(captured(&mut arrived) == captured(&mut process), "{} {every}", case.name);
            checked += 1;
        }
    }
    assert!(checked > 30, "{checked}");
}

#[test]
fn what_has_not_changed_is_not_copied_again() {
    if page_tracking().is_err() {
        return;
    }
    let code = load(&runtime(), &guest("interp"), CodeKind::CountDown);
    let case = Case { name: String::new(), args: vec![b"interp".to_vec()], wasm: Vec::new() };
    let mut process = spawn(&code, &case, &Origin::default(), 10_000);
    assert_eq!(block_on(process.run()).unwrap(), Outcome::Frozen);
    let mut copy = process.control().pre_copy().unwrap();
    let mut stream = Vec::new();
    assert!(round(&mut copy, &mut stream) > 0);
    assert_eq!(copy.written_bytes().unwrap(), 0);
    assert_eq!(round(&mut copy, &mut stream), 0);
}

/// Memory that was touched and is zero: nothing of it is sent, and who copies it can be called off all the same.
const ZEROS: &str = r#"(module
    (memory (export "memory") 1025)
    (func (export "_start")
        (memory.fill (i32.const 65536) (i32.const 0) (i32.const 0x4000000))
        (loop $on (br $on))))"#;

#[test]
fn who_finds_nothing_to_copy_is_heard_of() {
    if page_tracking().is_err() {
        return;
    }
    let code = load(&runtime(), &wat::parse_str(ZEROS).unwrap(), CodeKind::Hot);
    let mut process = Process::spawn(&code, options(&Origin::default(), None)).unwrap();
    let control = process.control();
    let copying = thread::spawn(move || {
        // Until it has filled them.
        let mut copy = control.pre_copy().unwrap();
        while copy.written_bytes().unwrap() < 64 << 20 {
            thread::sleep(Duration::from_millis(1));
        }
        copy.begin_round().unwrap();
        let (mut pieces, mut bytes) = (0, 0);
        while let Some(piece) = copy.next_piece().unwrap() {
            (pieces, bytes) = (pieces + 1, bytes + piece.len());
        }
        control.freeze();
        (pieces, bytes)
    });
    assert_eq!(block_on(process.run()).unwrap(), Outcome::Frozen);
    let (pieces, bytes) = copying.join().unwrap();
    assert!(pieces >= 3 && bytes < 1 << 20, "{pieces} pieces, {bytes} bytes");
}

/// Writes to 16 MiB so often, in an order of its own, and prints a hash of them; grows its memory now and then.
fn writer(turns: u32) -> Vec<u8> {
    wat::parse_str(WRITER.replace("TURNS", &turns.to_string())).unwrap()
}

const WRITER: &str = r#"(module
    (import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
    (memory (export "memory") 257 400)
    (data (i32.const 0) "\08\00\00\00\08\00\00\00")
    (func $work (param $turns i32) (local $at i32)
        (loop $again
            (local.set $at (i32.add (i32.mul (local.get $at) (i32.const 1664525)) (i32.const 1013904223)))
            (i32.store offset=65536 (i32.and (local.get $at) (i32.const 0xfffffc)) (local.get $turns))
            (if (i32.eqz (i32.and (local.get $turns) (i32.const 0x3ffff)))
                (then (drop (memory.grow (i32.const 1)))
                    (i32.store
                        (i32.sub (i32.shl (memory.size) (i32.const 16)) (i32.const 4))
                        (local.get $turns))))
            (br_if $again (local.tee $turns (i32.sub (local.get $turns) (i32.const 1))))))
    (func $hash (result i64) (local $at i32) (local $hash i64)
        (local.set $at (i32.const 65536))
        (loop $again
            (local.set $hash (i64.add
                (i64.mul (local.get $hash) (i64.const 31)) (i64.load (local.get $at))))
            (local.set $at (i32.add (local.get $at) (i32.const 8)))
            (br_if $again (i32.lt_u (local.get $at) (i32.shl (memory.size) (i32.const 16)))))
        (local.get $hash))
    (func (export "_start")
        (call $work (i32.const TURNS))
        (i64.store (i32.const 8) (call $hash))
        (drop (call $write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 16)))))"#;

#[test]
fn a_process_that_writes_and_grows_meanwhile_goes_on_elsewhere() {
    if page_tracking().is_err() {
        return;
    }
    let runtime = runtime();
    // On a busy machine whoever copies may come too late: then a longer one is taken.
    for turns in [30_000_000, 120_000_000, 480_000_000, 1_920_000_000] {
        let code = load(&runtime, &writer(turns), CodeKind::Hot);
        let expected = Origin::default();
        let mut process = Process::spawn(&code, options(&expected, None)).unwrap();
        assert_eq!(block_on(process.run()).unwrap(), Outcome::Exited(0));
        let origin = Origin::default();
        let process = Process::spawn(&code, options(&origin, None)).unwrap();
        let moves = run_while_copied(&code, process, &origin);
        assert_eq!(origin.output(pid()).len(), 8);
        assert!(origin.output(pid()) == expected.output(pid()), "after {moves} moves");
        if moves > 0 {
            return;
        }
    }
    panic!("nobody was copied before the end");
}

/// Runs a process to its end; each time it has been copied it goes on in another one. Returns how often it has.
pub(crate) fn run_while_copied(code: &Code, mut process: Process, origin: &Origin) -> u32 {
    let mut moves = 0;
    loop {
        let control = process.control();
        let copying = thread::spawn(move || {
            let mut copy = control.pre_copy().unwrap();
            let mut stream = PreCopy::head().to_vec();
            for _ in 0..ROUNDS {
                round(&mut copy, &mut stream);
                thread::sleep(Duration::from_millis(1));
            }
            control.freeze();
            (copy, stream)
        });
        let end = block_on(process.run()).unwrap();
        let (copy, mut stream) = copying.join().unwrap();
        if end != Outcome::Frozen {
            assert_eq!(end, Outcome::Exited(0));
            return moves;
        }
        rest(&copy, &mut process, &mut stream);
        let room = Process::make_room(code, thaw_options(origin, None), 1 << 20).unwrap();
        process = room.thaw_from(&mut &stream[..], ImageLimits::default()).unwrap().0;
        moves += 1;
    }
}

#[test]
fn a_damaged_copy_becomes_no_process() {
    if page_tracking().is_err() {
        return;
    }
    let code = load(&runtime(), &guest("tables"), CodeKind::CountDown);
    let case = Case { name: String::new(), args: vec![b"tables".to_vec()], wasm: Vec::new() };
    let (_, stream) = copied(&code, &case, 50, 2).unwrap();
    let origin = Origin::default();
    assert!(thaw_from(&code, &origin, &stream).is_ok());
    for at in (0..stream.len()).step_by(1 + stream.len() / 300) {
        let mut changed = stream.clone();
        changed[at] ^= 0x10;
        assert!(thaw_from(&code, &origin, &changed).is_err(), "byte {at}");
        assert!(thaw_from(&code, &origin, &stream[..at]).is_err(), "cut at {at}");
    }
    // Pages where no memory reaches, and more than the process may have.
    for (first, count) in [(u64::MAX, 1), (1 << 20, 1), (0, 64), (0, u16::MAX), ((1 << 20) - 1, 1)]
    {
        let stream = [head(first, count, 0), vec![1; 1 << 20]].concat();
        assert!(thaw_from(&code, &origin, &stream).is_err(), "{first} {count}");
    }
}

/// A process that has gone leaves its copy what it had: nobody else's memory is read.
#[test]
fn a_copy_outlives_its_process() {
    if page_tracking().is_err() {
        return;
    }
    let code = load(&runtime(), &guest("tables"), CodeKind::CountDown);
    let case = Case { name: String::new(), args: vec![b"tables".to_vec()], wasm: Vec::new() };
    let mut process = spawn(&code, &case, &Origin::default(), 50);
    assert_eq!(block_on(process.run()).unwrap(), Outcome::Frozen);
    let (mut one, mut two) = (Vec::new(), Vec::new());
    round(&mut process.control().pre_copy().unwrap(), &mut one);
    let control = process.control();
    let mut copy = control.pre_copy().unwrap();
    drop(process);
    // It would get the place that has become free.
    let mut other = spawn(&code, &case, &Origin::default(), 90);
    assert_eq!(block_on(other.run()).unwrap(), Outcome::Frozen);
    round(&mut copy, &mut two);
    assert!(one == two);
    drop(copy);
    assert!(control.pre_copy().is_err());
}
