//! Processes that send to groups, on this thread.

use peripatos_abi::Pid;
use peripatos_abi::message::Status;
use peripatos_engine::Outcome;

use crate::crew::Crew;
use crate::programs::{ADD, ASK_ALL, ASK_ANY, JOIN, SERVE, handler, program};

const NOBODY: Pid = Pid::new(9, 9);

#[test]
fn all_of_a_group_are_asked() {
    let mut crew = Crew::new();
    let alone = crew.program(&program(NOBODY, ASK_ALL));
    assert_eq!(crew.exit_code(alone), Status::NoName.code().unsigned_abs());
    let mut servers: Vec<Pid> =
        (0..3).map(|_| crew.program(&program(NOBODY, &format!("{JOIN} {SERVE}")))).collect();
    crew.run();
    for left in (1..=3).rev() {
        for (ask, code) in [(ASK_ALL, left), (ASK_ANY, 42)] {
            let client = crew.program(&program(NOBODY, ask));
            assert_eq!(crew.exit_code(client), code);
        }
        // One that ends is no member any more.
        crew.kill(servers.remove(0));
    }
    let alone = crew.program(&program(NOBODY, ASK_ANY));
    assert_eq!(crew.exit_code(alone), Status::NoName.code().unsigned_abs());
}

#[test]
fn a_member_joins_leaves_and_is_listed() {
    let mut crew = Crew::new();
    let body = format!(
        "{JOIN} {JOIN}
         (if (i32.ne (call $members (i32.const 96) (i32.const 4) (i32.const 4096) (i32.const 100)) (i32.const 1))
           (then unreachable))
         (if (i32.ne (call $members (i32.const 96) (i32.const 4) (i32.const 4096) (i32.const 15)) (i32.const -4))
           (then unreachable))
         (if (call $leave (i32.const 96) (i32.const 4)) (then unreachable))
         (if (call $members (i32.const 96) (i32.const 4) (i32.const 4096) (i32.const 100)) (then unreachable))
         (call $exit (i32.sub (i32.const 0) (call $leave (i32.const 96) (i32.const 4))))"
    );
    let member = crew.program(&program(NOBODY, &body));
    assert_eq!(crew.exit_code(member), Status::NoName.code().unsigned_abs());
}

#[test]
fn handlers_are_members_and_who_asks_is_frozen_meanwhile() {
    let mut crew = Crew::new();
    // It joins when it is first called, by somebody else.
    crew.handler(&handler(NOBODY, ADD));
    let joins = handler(NOBODY, &format!("{JOIN} {ADD}"));
    let server = crew.handler(&joins);
    let client = crew.program(&program(server, crate::programs::ASK));
    assert_eq!(crew.exit_code(client), 42);
    let late = SERVE.replace(
        "(if (i32.lt_s (local.get $r)",
        "(drop (call $done
           (call $v1_receive (i32.const 0) (i32.const 4096) (i32.const 64) (i32.const 3072) (i64.const -1))))
         (if (i32.lt_s (local.get $r)",
    );
    let slow = crew.program(&program(NOBODY, &format!("{JOIN} {late}")));
    crew.run();
    let client = crew.program(&program(NOBODY, ASK_ALL));
    crew.run();
    assert!(crew.waits(client));
    crew.freeze(client);
    assert!(matches!(crew.ended[&client].1, Ok(Outcome::Frozen)));
    let bits = crew.program(&program(slow, "(drop (call $notify (i32.const 16) (i64.const 5)))"));
    assert_eq!(crew.exit_code(bits), 0);
    crew.run();
    crew.go_on(client);
    assert_eq!(crew.exit_code(client), 2);
}
