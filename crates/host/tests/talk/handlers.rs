//! Handlers: on the sender's stack, parked, in chains, trapping.

use peripatos_abi::Pid;
use peripatos_abi::message::Status;

use crate::crew::Crew;
use crate::programs::{ADD, ASK, PAIR_UP, PASS_ON, SERVE, handler, program};

const NOBODY: Pid = Pid::new(9, 9);

fn negated(status: Status) -> u32 {
    status.code().unsigned_abs()
}

#[test]
fn a_handler_is_called() {
    let mut crew = Crew::new();
    let server = crew.handler(&handler(NOBODY, ADD));
    for _ in 0..3 {
        let client = crew.program(&program(server, ASK));
        assert_eq!(crew.exit_code(client), 42);
    }
}

#[test]
fn chains_of_any_length_answer() {
    for length in [1, 7, 8, 9, 40] {
        let mut crew = Crew::new();
        let mut to = crew.handler(&handler(NOBODY, ADD));
        for _ in 0..length {
            to = crew.handler(&handler(to, PASS_ON));
        }
        let client = crew.program(&program(to, ASK));
        assert_eq!(crew.exit_code(client), 42, "{length}");
        let again = crew.program(&program(to, ASK));
        assert_eq!(crew.exit_code(again), 42, "{length}");
    }
}

#[test]
fn a_handler_that_waits_is_put_aside_and_goes_on() {
    let mut crew = Crew::new();
    let behind = crew.program(&program(NOBODY, SERVE));
    let front = crew.handler(&handler(behind, PASS_ON));
    let clients = [(); 4].map(|()| crew.program(&program(front, ASK)));
    for client in clients {
        assert_eq!(crew.exit_code(client), 42);
    }
}

#[test]
fn a_handler_may_reply_later_and_is_free_meanwhile() {
    let mut crew = Crew::new();
    let server = crew.handler(&handler(NOBODY, PAIR_UP));
    let clients = [(); 6].map(|()| crew.program(&program(server, ASK)));
    for client in clients {
        assert_eq!(crew.exit_code(client), 70);
    }
    // One that finds no partner waits, and is told when the server ends.
    let alone = crew.program(&program(server, ASK));
    crew.run();
    assert!(crew.waits(alone));
    crew.kill(server);
    assert_eq!(crew.exit_code(alone), negated(Status::NoProcess));
}

#[test]
fn a_handler_that_replies_and_would_receive_has_replied() {
    let mut crew = Crew::new();
    let receives = PAIR_UP.replace(
        "(if (call $reply (i32.const 8200) (i32.const 4128) (i32.const 4)) (then unreachable))",
        "(local.set $r (call $reply_receive (i32.const 8200) (i32.const 4128) (i32.const 4)
           (i32.const 0) (i32.const 2048) (i32.const 64) (i64.const -1)))
         (if (i32.ne (local.get $r) (i32.const -10)) (then unreachable))",
    );
    assert_ne!(receives, PAIR_UP);
    let server = crew.handler(&handler(NOBODY, &receives));
    let clients = [(); 2].map(|()| crew.program(&program(server, ASK)));
    for client in clients {
        assert_eq!(crew.exit_code(client), 70);
    }
}

#[test]
fn a_trap_harms_the_handler_alone() {
    let traps = ["unreachable", "(i32.load (i32.const 100000000))", "(call $deep (i32.const 0))"];
    for trap in traps {
        let mut crew = Crew::new();
        let text = handler(NOBODY, trap).replace(
            "(memory (export",
            "(func $deep (param i32) (result i32) (i32.add (i32.const 1) (call $deep (i32.add (local.get 0) (i32.const 1)))))
             (memory (export",
        );
        let server = crew.handler(&text);
        let client = crew.program(&program(server, ASK));
        assert_eq!(crew.exit_code(client), negated(Status::NoProcess), "{trap}");
        assert_eq!(crew.over.len(), 1, "{trap}");
        assert_eq!(crew.over[0].0, server);
        let late = crew.program(&program(server, ASK));
        assert_eq!(crew.exit_code(late), negated(Status::NoProcess), "{trap}");
        // A sender is as good as before.
        let good = crew.handler(&handler(NOBODY, ADD));
        let client = crew.program(&program(good, ASK));
        assert_eq!(crew.exit_code(client), 42, "{trap}");
    }
}

#[test]
fn a_handler_that_lies_about_its_reply_is_ended() {
    for body in ["(i32.const 1025)", "(i32.const -2)"] {
        let mut crew = Crew::new();
        let server = crew.handler(&handler(NOBODY, body));
        let client = crew.program(&program(server, ASK));
        assert_eq!(crew.exit_code(client), negated(Status::NoProcess));
        assert_eq!(crew.over.len(), 1);
    }
}

#[test]
fn a_message_that_is_too_long_for_a_handler_harms_its_sender_alone() {
    let mut crew = Crew::new();
    let server = crew.handler(&handler(NOBODY, ADD));
    let long = ASK.replace("(i32.const 64) (i32.const 4)", "(i32.const 64) (i32.const 1025)");
    let sender = crew.program(&program(server, &long));
    assert_eq!(crew.exit_code(sender), negated(Status::TooLong));
    let client = crew.program(&program(server, ASK));
    assert_eq!(crew.exit_code(client), 42);
}

#[test]
fn a_handler_does_not_call_itself() {
    let mut crew = Crew::new();
    // It is the first of the crew.
    let own = Pid::new(1, 0x5eed_0001);
    let server = crew.handler(&handler(own, PASS_ON));
    assert_eq!(server, own);
    let client = crew.program(&program(server, ASK));
    assert_eq!(crew.exit_code(client), negated(Status::Deadlock));
}
