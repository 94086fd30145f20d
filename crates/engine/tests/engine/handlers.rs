//! Handlers answer at once, or park and are resumed; frozen, they become images as programs do.

use std::task::Waker;

use peripatos_abi::message::{Envelope, Kind};
use peripatos_engine::{CaptureOptions, CodeKind, Form, Handled, Handler, Process, SpawnError};

use crate::common::{Origin, load, options, pid, runtime, thaw_options, through_bytes};

/// Answers the triangular number of its argument, and writes a line for each message.
const TRIANGLE: &str = r#"(module
    (import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
    (memory (export "memory") 1)
    (data (i32.const 0) "\08\00\00\00\05\00\00\00 one\n")
    (func $sum (param $n i32) (result i32) (local $sum i32)
        (loop $again
            (local.set $sum (i32.add (local.get $sum) (local.get $n)))
            (br_if $again (local.tee $n (i32.sub (local.get $n) (i32.const 1)))))
        (local.get $sum))
    (func (export "peripatos_handle") (param i32) (result i32)
        (drop (call $write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 16)))
        (call $sum (local.get 0))))"#;

#[test]
fn a_handler_answers_at_once() {
    let runtime = runtime();
    let code = load(&runtime, &wat::parse_str(TRIANGLE).unwrap(), CodeKind::Hot);
    assert_eq!(code.form(), Form::Handler);
    let origin = Origin::default();
    let mut handler = Handler::spawn(&code, options(&origin, None)).unwrap();
    for n in 1..10 {
        let handled = handler.handle(Waker::noop(), n).unwrap();
        assert_eq!(handled, Handled::Reply(n * (n + 1) / 2));
    }
    assert_eq!(origin.output(pid()), b" one\n".repeat(9));
    let refused = Process::spawn(&code, options(&origin, None)).err();
    assert!(matches!(refused, Some(SpawnError::Handler)));
}

#[test]
fn a_handler_that_has_to_wait_is_parked_and_resumed() {
    let runtime = runtime();
    let code = load(&runtime, &wat::parse_str(TRIANGLE).unwrap(), CodeKind::Hot);
    let origin = Origin::slow(3);
    let mut handler = Handler::spawn(&code, options(&origin, None)).unwrap();
    for round in 0..3 {
        let mut handled = handler.handle(Waker::noop(), 100).unwrap();
        assert_eq!(handled, Handled::Pending, "round {round}");
        assert!(handler.handle(Waker::noop(), 1).is_err(), "busy");
        handled = resume_to_the_end(&mut handler, handled);
        assert_eq!(handled, Handled::Reply(5050));
    }
    assert_eq!(origin.output(pid()), b" one\n".repeat(3));
}

#[test]
fn a_preempted_handler_goes_on() {
    let runtime = runtime();
    let code = load(&runtime, &wat::parse_str(TRIANGLE).unwrap(), CodeKind::Hot);
    let mut handler = Handler::spawn(&code, options(&Origin::default(), None)).unwrap();
    handler.control().preempt();
    let handled = handler.handle(Waker::noop(), 100).unwrap();
    assert_eq!(handled, Handled::Pending);
    assert_eq!(resume_to_the_end(&mut handler, handled), Handled::Reply(5050));
}

#[test]
fn a_handler_frozen_everywhere_answers_the_same() {
    let runtime = runtime();
    let code = load(&runtime, &wat::parse_str(TRIANGLE).unwrap(), CodeKind::CountDown);
    for (every, pending) in [(1, 0), (2, 1), (7, 0)] {
        let origin = Origin::slow(pending);
        let mut handler = Handler::spawn(&code, options(&origin, Some(every))).unwrap();
        let mut handled = handler.handle(Waker::noop(), 100).unwrap();
        let mut freezes = 0;
        while handled != Handled::Reply(5050) {
            assert!(matches!(handled, Handled::Pending | Handled::Frozen), "{handled:?}");
            let image = handler.capture(CaptureOptions::default()).unwrap();
            let options = thaw_options(&origin, Some(every));
            handler = Handler::thaw(&code, &through_bytes(&image), options).unwrap();
            handled = handler.resume(Waker::noop()).unwrap();
            freezes += 1;
            assert!(freezes < 1_000);
        }
        assert!(freezes > 10, "{freezes}");
        assert_eq!(origin.output(pid()), b" one\n");
    }
}

/// Counts how often it was asked for its buffer and called, and adds what it is sent.
const ACCOUNT: &str = r#"(module
    (memory (export "memory") 1)
    (global $sum (mut i32) (i32.const 0))
    (func (export "peripatos_buffer") (result i64)
        (i32.store (i32.const 0) (i32.add (i32.load (i32.const 0)) (i32.const 1)))
        (i64.or (i64.const 1024) (i64.shl (i64.const 48) (i64.const 32))))
    (func (export "peripatos_handle") (param i32) (result i32)
        (global.set $sum (i32.add (global.get $sum) (i32.load (i32.const 1056))))
        (i32.store (i32.const 1056) (global.get $sum))
        (i32.store (i32.const 1060) (i32.load (i32.const 0)))
        (i32.const 8)))"#;

#[test]
fn a_handler_at_rest_goes_on_elsewhere_and_knows_its_buffer() {
    let runtime = runtime();
    let code = load(&runtime, &wat::parse_str(ACCOUNT).unwrap(), CodeKind::Hot);
    let origin = Origin::default();
    let mut handler = Handler::spawn(&code, options(&origin, None)).unwrap();
    let envelope = Envelope { from: pid(), transaction: 1, len: 4, kind: Kind::Message };
    for round in 1..6_u32 {
        assert_eq!(handler.room(), 16);
        let handled = handler.deliver(envelope, &round.to_le_bytes()).unwrap();
        assert_eq!(handled, Handled::Reply(8));
        let sum = round * (round + 1) / 2;
        assert_eq!(handler.reply(8).unwrap(), [sum.to_le_bytes(), 1_u32.to_le_bytes()].concat());
        // It was to freeze, and has not been called since.
        handler.control().freeze();
        let mut process = handler.into_process();
        assert_eq!((process.form(), process.frames()), (Form::Handler, 0));
        let image = process.capture(CaptureOptions::default()).unwrap();
        handler = if round % 2 == 0 {
            Handler::of(process).map_err(|(_, error)| error).unwrap()
        } else {
            Handler::thaw(&code, &through_bytes(&image), thaw_options(&origin, None)).unwrap()
        };
        assert!(!handler.is_parked());
    }
}

#[test]
fn a_program_is_no_handler() {
    let runtime = runtime();
    let text = r#"(module (memory (export "memory") 1) (func (export "_start")))"#;
    let code = load(&runtime, &wat::parse_str(text).unwrap(), CodeKind::Hot);
    let process = Process::spawn(&code, options(&Origin::default(), None)).unwrap();
    let (process, error) = Handler::of(process).err().unwrap();
    assert!(matches!(error, SpawnError::NoEntry(_)) && process.form() == Form::Program);
}

/// Resumes until there is an answer; continuations are made on another thread meanwhile.
fn resume_to_the_end(handler: &mut Handler, mut handled: Handled) -> Handled {
    for _ in 0..10_000 {
        if handled != Handled::Pending {
            return handled;
        }
        std::thread::sleep(std::time::Duration::from_millis(1));
        handled = handler.resume(Waker::noop()).unwrap();
    }
    panic!("it does not get on");
}
