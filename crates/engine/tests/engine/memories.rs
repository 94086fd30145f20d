//! Programs with several memories, or memories of 64 bits, that are copied while they run. Where the system does not tell what
//! was written there is nothing to test.

use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use peripatos_engine::{
    CodeKind, ImageLimits, Limits, Outcome, PreCopy, Process, ProcessOptions, ThawOptions,
    block_on, page_tracking,
};

use crate::common::{Origin, guest, load, options, pid, runtime, thaw_options};
use crate::precopy::{captured, head, rest, round, run_while_copied, thaw_from};
use crate::writer::{WRITERS, writer, written};

#[test]
fn all_memories_are_copied_while_they_are_written_and_grow() {
    if page_tracking().is_err() {
        return;
    }
    let runtime = runtime();
    for memories in WRITERS {
        // On a busy machine whoever copies may come too late: then a longer one is taken.
        let copied = [10_000_000, 40_000_000, 160_000_000, 640_000_000].into_iter().any(|turns| {
            let code = load(&runtime, &writer(memories, turns, false), CodeKind::Hot);
            let expected = Origin::default();
            let mut process = Process::spawn(&code, options(&expected, None)).unwrap();
            assert_eq!(block_on(process.run()).unwrap(), Outcome::Exited(0));
            let origin = Origin::default();
            let process = Process::spawn(&code, options(&origin, None)).unwrap();
            let moves = run_while_copied(&code, process, &origin);
            assert_eq!(origin.output(pid()).len(), 16);
            assert!(origin.output(pid()) == expected.output(pid()), "after {moves} moves");
            moves > 0
        });
        assert!(copied, "nobody was copied before the end");
    }
}

/// Only what was written since is left, in each memory.
#[test]
fn little_is_left_of_each_memory() {
    if page_tracking().is_err() {
        return;
    }
    for memories in WRITERS {
        let code = load(&runtime(), &writer(memories, 2_000_000, false), CodeKind::CountDown);
        let mut process =
            Process::spawn(&code, options(&Origin::default(), Some(900_000))).unwrap();
        assert_eq!(block_on(process.run()).unwrap(), Outcome::Frozen);
        let whole = process.capture(Default::default()).unwrap().memory_bytes();
        let mut copy = process.control().pre_copy().unwrap();
        let mut stream = PreCopy::head().to_vec();
        let first = round(&mut copy, &mut stream) as u64;
        assert!(first >= whole && whole > 4 << 20, "{first} of {whole}");
        // How large they are comes first, of all that are mostly filled.
        assert_eq!(stream[16..18], [0; 2]);
        let outline = process.outline_rest(Default::default(), &copy).unwrap();
        assert_eq!(outline.memory_bytes(), 0);
        rest(&copy, &mut process, &mut stream);
        let mut arrived = thaw_from(&code, &Origin::default(), &stream).unwrap();
        assert!(captured(&mut arrived) == captured(&mut process));
    }
}

/// A memory of 64 bits that has outgrown 4 GiB lies elsewhere afterwards. Most of it is never touched.
const LARGE: &str = r#"(module
    (memory (export "memory") 17)
    (memory $wide i64 65536 65600)
    (func $fill (param $value i64) (local $at i64)
        (loop $next
            (i64.store $wide (i64.shl (local.get $at) (i64.const 12)) (local.get $value))
            (br_if $next (i64.lt_u
                (local.tee $at (i64.add (local.get $at) (i64.const 1))) (i64.const 300)))))
    (func $step)
    (func (export "_start") (local $turn i64)
        (loop $again
            (call $fill (local.tee $turn (i64.add (local.get $turn) (i64.const 1))))
            (if (i64.eq (local.get $turn) (i64.const 3))
                (then
                    (drop (memory.grow $wide (i64.const 1)))
                    (i64.store $wide (i64.const 0x100000008) (i64.const 77))))
            (br_if $again (i64.lt_u (local.get $turn) (i64.const 8))))))"#;

#[test]
fn a_memory_that_has_moved_is_found_again() {
    if page_tracking().is_err() {
        return;
    }
    let code = load(&runtime(), &wat::parse_str(LARGE).unwrap(), CodeKind::CountDown);
    let limits = Limits { memory_bytes: 6 << 30, ..Limits::default() };
    let origin = Origin::default();
    let spawn = ProcessOptions { limits, ..options(&origin, Some(300)) };
    let mut process = Process::spawn(&code, spawn).unwrap();
    assert_eq!(block_on(process.run()).unwrap(), Outcome::Frozen);
    let mut copy = process.control().pre_copy().unwrap();
    let mut stream = PreCopy::head().to_vec();
    round(&mut copy, &mut stream);
    // Nobody is to make room for 4 GiB at once because of that.
    assert_ne!(stream[16..18], [0; 2]);
    let (mut turns, mut moved) = (0, 0);
    loop {
        if block_on(process.run()).unwrap() != Outcome::Frozen {
            break;
        }
        turns += 1;
        if process.outline_rest(Default::default(), &copy).is_err() {
            // It has moved since the last round began: the next one finds it.
            moved += 1;
            round(&mut copy, &mut stream);
        }
        let mut whole = stream.clone();
        rest(&copy, &mut process, &mut whole);
        let room = ThawOptions { limits, ..thaw_options(&origin, Some(u32::MAX)) };
        let room = Process::make_room(&code, room, 0).unwrap();
        let arrived = room.thaw_from(&mut &whole[..], ImageLimits::default());
        assert!(captured(&mut arrived.unwrap().0) == captured(&mut process));
        if turns % 3 == 0 {
            round(&mut copy, &mut stream);
        }
    }
    assert!(turns > 6 && moved == 1, "{turns} {moved}");
}

/// A process that slept and woke has another memory then, and what it has copied before still counts.
#[test]
fn who_has_slept_is_found_again() {
    if page_tracking().is_err() {
        return;
    }
    for memories in [WRITERS[0], &[written("i32", 65, 80)]] {
        let code = load(&runtime(), &writer(memories, 2_000_000, false), CodeKind::CountDown);
        let mut process =
            Process::spawn(&code, options(&Origin::default(), Some(100_000))).unwrap();
        assert_eq!(block_on(process.run()).unwrap(), Outcome::Frozen);
        let mut copy = process.control().pre_copy().unwrap();
        let mut stream = PreCopy::head().to_vec();
        let first = round(&mut copy, &mut stream);
        let Ok(mut sleeping) = process.sleep() else { panic!("it is frozen") };
        // Nobody is there.
        assert_eq!(round(&mut copy, &mut stream), 0);
        let mut process = sleeping.wake().unwrap();
        assert!(process.outline_rest(Default::default(), &copy).is_err());
        let again = round(&mut copy, &mut stream);
        assert!(first > 1 << 20 && again == 0, "{first} {again}");
        assert_eq!(block_on(process.run()).unwrap(), Outcome::Frozen);
        round(&mut copy, &mut stream);
        rest(&copy, &mut process, &mut stream);
        let mut arrived = thaw_from(&code, &Origin::default(), &stream).unwrap();
        assert!(captured(&mut arrived) == captured(&mut process));
    }
}

/// A process that sleeps is whole again, whatever memories it has.
#[test]
fn all_memories_sleep() {
    for memories in WRITERS {
        let code = load(&runtime(), &writer(memories, 300_000, false), CodeKind::CountDown);
        let (undisturbed, origin) = (Origin::default(), Origin::default());
        let mut process = Process::spawn(&code, options(&undisturbed, None)).unwrap();
        assert_eq!(block_on(process.run()).unwrap(), Outcome::Exited(0));
        let mut process = Process::spawn(&code, options(&origin, Some(200_000))).unwrap();
        let mut slept = 0;
        while block_on(process.run()).unwrap() == Outcome::Frozen {
            let Ok(mut sleeping) = process.sleep() else { panic!("it is frozen") };
            process = sleeping.wake().unwrap();
            slept += 1;
        }
        assert!(slept >= 2, "{slept}");
        assert!(origin.output(pid()) == undisturbed.output(pid()));
    }
}

#[test]
fn pages_where_no_memory_is_are_refused() {
    let code = load(&runtime(), &writer(WRITERS[2], 1, false), CodeKind::Hot);
    let page = vec![1; 4096];
    let check = |memory: u16, first: u64, says: &str| {
        let stream = [head(first, 1, memory), page.clone()].concat();
        let error = thaw_from(&code, &Origin::default(), &stream).err().unwrap().to_string();
        assert!(error.contains(says), "memory {memory}, page {first}: {error}");
    };
    // These are where they can be, and then the stream ends.
    let cut = "cut short";
    check(0, 0, cut);
    check(0, 2 * 16 - 1, cut);
    check(1, 40 * 16 - 1, cut);
    check(2, 150 * 16 - 1, cut);
    check(0, 2 * 16, "from behind the end of its memory 0");
    check(1, 40 * 16, "from behind the end of its memory 1");
    check(2, 150 * 16, "from behind the end of its memory 2");
    check(2, (1 << 36) - 1, "from behind the end of its memory 2");
    check(2, 1 << 36, "damaged (copied pages)");
    check(2, u64::MAX, "damaged (copied pages)");
    check(3, 0, "of its memory 3, but it has 3");
    check(u16::MAX, 7, "of its memory 65535, but it has 3");
    // How large they are.
    let check = |memory: u16, pages: u64, says: &str| {
        let stream = head(pages, 0, memory);
        let error = thaw_from(&code, &Origin::default(), &stream).err().unwrap().to_string();
        assert!(error.contains(says), "memory {memory} of {pages} pages: {error}");
    };
    check(0, 2 * 16, cut);
    check(1, 40 * 16, cut);
    check(2, 1, cut);
    check(2, 150 * 16 + 1, "from behind the end of its memory 2");
    check(2, 1 << 36, "from behind the end of its memory 2");
    check(2, u64::MAX, "damaged (copied pages)");
    check(3, 1, "of its memory 3, but it has 3");
    // Again, without its having grown.
    for (second, says) in [(16, "damaged (copied pages)"), (15, "damaged"), (17, cut)] {
        let stream = [head(16, 0, 2), head(second, 0, 2)[8..].to_vec()].concat();
        let error = thaw_from(&code, &Origin::default(), &stream).err().unwrap().to_string();
        assert!(error.contains(says), "{second}: {error}");
    }
    // A memory that could be so large, and a process that may not.
    let code = load(&runtime(), &guest("memories"), CodeKind::Hot);
    let stream = [head((1 << 20) - 1, 1, 0), page.clone()].concat();
    let error = thaw_from(&code, &Origin::default(), &stream).err().unwrap().to_string();
    assert!(error.contains("over the limit"), "{error}");
}

/// Pages of one memory do not pass for those of another.
#[test]
fn a_damaged_copy_of_several_memories_becomes_no_process() {
    if page_tracking().is_err() {
        return;
    }
    let memories = [written("i32", 1, 2), written("i64", 1, 2)];
    let code = load(&runtime(), &writer(&memories, 5_000, false), CodeKind::CountDown);
    let origin = Origin::default();
    let mut process = Process::spawn(&code, options(&origin, Some(2_000))).unwrap();
    assert_eq!(block_on(process.run()).unwrap(), Outcome::Frozen);
    let mut copy = process.control().pre_copy().unwrap();
    let mut stream = PreCopy::head().to_vec();
    round(&mut copy, &mut stream);
    assert_eq!(block_on(process.run()).unwrap(), Outcome::Frozen);
    rest(&copy, &mut process, &mut stream);
    assert!(thaw_from(&code, &origin, &stream).is_ok());
    for at in (0..stream.len()).step_by(1 + stream.len() / 300).chain(32..44) {
        let mut changed = stream.clone();
        changed[at] ^= 1;
        assert!(thaw_from(&code, &origin, &changed).is_err(), "byte {at}");
    }
}

/// Who copies reads while the memories grow, and goes when they have gone.
#[test]
fn a_copy_of_several_memories_outlives_its_process() {
    if page_tracking().is_err() {
        return;
    }
    let code = load(&runtime(), &writer(WRITERS[3], 3_000_000, false), CodeKind::Hot);
    let mut process = Process::spawn(&code, options(&Origin::default(), None)).unwrap();
    let control = process.control();
    let (tell, gone) = mpsc::channel();
    let copying = thread::spawn(move || {
        let mut copy = control.pre_copy().unwrap();
        let mut stream = Vec::new();
        while gone.try_recv().is_err() {
            round(&mut copy, &mut stream);
            stream.clear();
            thread::sleep(Duration::from_millis(1));
        }
        // What it had at the end is still there.
        round(&mut copy, &mut stream);
        assert!(control.pre_copy().is_err());
        copy.written_bytes().unwrap()
    });
    assert_eq!(block_on(process.run()).unwrap(), Outcome::Exited(0));
    drop(process);
    tell.send(()).unwrap();
    assert_eq!(copying.join().unwrap(), 0);
}
