//! Programs on fibers that send, receive and reply.

use peripatos_abi::Pid;
use peripatos_abi::message::Status;
use peripatos_engine::Outcome;

use crate::crew::Crew;
use crate::programs::{ADD, ASK, SERVE, SERVE_ON, handler, program};

const NOBODY: Pid = Pid::new(9, 9);

fn negated(status: Status) -> u32 {
    status.code().unsigned_abs()
}

#[test]
fn a_memory_that_has_grown_is_seen_whole() {
    // In the last words of the fifth page, which is not there at the first attempt.
    let body = "
      (local.set $r (call $send (i32.const 16) (i32.const 327672) (i32.const 4) (i32.const 327676) (i32.const 4)))
      (if (i32.ne (local.get $r) (i32.const -5)) (then unreachable))
      (drop (memory.grow (i32.const 2)))
      (i32.store (i32.const 327672) (i32.const 35))
      (local.set $r (call $send (i32.const 16) (i32.const 327672) (i32.const 4) (i32.const 327676) (i32.const 4)))
      (if (i32.ne (local.get $r) (i32.const 4)) (then unreachable))
      (call $exit (i32.load (i32.const 327676)))";
    let mut crew = Crew::new();
    for server in [crew.program(&program(NOBODY, SERVE)), crew.handler(&handler(NOBODY, ADD))] {
        let client = crew.program(&program(server, body));
        assert_eq!(crew.exit_code(client), 42);
    }
}

#[test]
fn a_program_asks_another() {
    for (server_first, serve) in
        [(true, SERVE), (false, SERVE), (true, SERVE_ON), (false, SERVE_ON)]
    {
        let mut crew = Crew::new();
        let server = crew.program(&program(NOBODY, serve));
        if server_first {
            crew.run();
        }
        let clients: Vec<Pid> = (0..5).map(|_| crew.program(&program(server, ASK))).collect();
        for client in clients {
            assert_eq!(crew.exit_code(client), 42);
        }
        assert!(crew.waits(server));
    }
}

#[test]
fn nothing_is_received_with_a_reply_that_nobody_waits_for() {
    let mut crew = Crew::new();
    // It has replied to the first one when it tries again, while the second one waits.
    let again = "
      (local.set $r (call $receive (i64.const -1)))
      (drop (call $reply (i32.const 1024) (i32.const 2048) (local.get $r)))
      (local.set $r (call $reply_receive (i32.const 1024) (i32.const 2048) (i32.const 4)
        (i32.const 0) (i32.const 2048) (i32.const 64) (i64.const -1)))
      (if (i32.ne (local.get $r) (i32.const -8)) (then (unreachable)))";
    let server = crew.program(&program(NOBODY, &format!("{again} {SERVE_ON}")));
    let clients = [(); 2].map(|()| crew.program(&program(server, ASK)));
    assert_eq!(clients.map(|client| crew.exit_code(client)), [35, 42]);
}

#[test]
fn what_is_received_with_a_reply_is_waited_for_as_long_as_it_is_said() {
    for (limit, waits) in [(0, false), (1_000_000, true)] {
        let mut crew = Crew::new();
        let once = format!(
            "(local.set $r (call $receive (i64.const -1)))
             (local.set $r (call $reply_receive (i32.const 1024) (i32.const 2048) (i32.const 4)
               (i32.const 0) (i32.const 2048) (i32.const 64) (i64.const {limit})))
             (if (i32.ne (i32.eq (local.get $r) (i32.const -1)) (i32.const {})) (then unreachable))
             (call $exit (i32.sub (i32.const 0) (call $done (local.get $r))))",
            i32::from(waits)
        );
        let server = crew.program(&program(NOBODY, &once));
        let client = crew.program(&program(server, ASK));
        assert_eq!(crew.exit_code(client), 35);
        assert_eq!(crew.exit_code(server), negated(Status::TimedOut));
    }
}

#[test]
fn names_are_found() {
    let mut crew = Crew::new();
    let named = "(i32.store (i32.const 64) (i32.const 0x64646121)) (drop (call $register (i32.const 64) (i32.const 4)))";
    crew.program(&program(NOBODY, &format!("{named} {SERVE}")));
    crew.run();
    let find = "(i32.store (i32.const 96) (i32.const 0x64646121))
        (local.set $r (call $lookup (i32.const 96) (i32.const 4) (i32.const 16)))
        (if (i32.lt_s (local.get $r) (i32.const 0)) (then (call $exit (i32.sub (i32.const 0) (local.get $r)))))";
    let client = crew.program(&program(NOBODY, &format!("{find} {ASK}")));
    assert_eq!(crew.exit_code(client), 42);
    let other = crew.program(&program(
        NOBODY,
        &format!("{} {ASK}", find.replace("96) (i32.const 4)", "96) (i32.const 3)")),
    ));
    assert_eq!(crew.exit_code(other), negated(Status::NoName));
}

#[test]
fn whoever_waits_for_one_that_ends_is_told() {
    let mut crew = Crew::new();
    let take = "(drop (call $receive (i64.const -1))) (drop (call $receive (i64.const -1)))";
    let server = crew.program(&program(NOBODY, take));
    let clients = [(); 2].map(|()| crew.program(&program(server, ASK)));
    // It has taken both, and ends.
    for client in clients {
        assert_eq!(crew.exit_code(client), negated(Status::NoProcess));
    }
    let late = crew.program(&program(server, ASK));
    assert_eq!(crew.exit_code(late), negated(Status::NoProcess));
    let server = crew.program(&program(
        NOBODY,
        SERVE
            .replace("(drop (call $reply", "(call $exit (i32.const 0)) (drop (call $reply")
            .as_str(),
    ));
    let client = crew.program(&program(server, ASK));
    assert_eq!(crew.exit_code(client), negated(Status::NoProcess));
}

#[test]
fn one_that_is_killed_while_it_waits_is_not_missed() {
    let mut crew = Crew::new();
    let silent = crew.program(&program(
        NOBODY,
        "(drop (call $receive (i64.const -1))) (drop (call $receive (i64.const -1)))",
    ));
    let client = crew.program(&program(silent, ASK));
    crew.run();
    assert!(crew.waits(client) && crew.waits(silent));
    crew.kill(client);
    crew.run();
    assert!(crew.waits(silent));
}

#[test]
fn a_process_is_frozen_while_it_waits_and_goes_on() {
    // The server takes the message, and replies when it gets bits.
    let late = "(drop (call $receive (i64.const -1)))
        (i32.store (i32.const 2048) (i32.add (i32.load (i32.const 2048)) (i32.const 7)))
        (drop (call $v1_receive (i32.const 0) (i32.const 4096) (i32.const 64) (i32.const 3072) (i64.const -1)))
        (drop (call $wait))
        (drop (call $reply (i32.const 1024) (i32.const 2048) (i32.const 4)))";
    for frozen_client in [true, false] {
        let mut crew = Crew::new();
        let server = crew.program(&program(NOBODY, late));
        let client = crew.program(&program(server, ASK));
        crew.run();
        let frozen = if frozen_client { client } else { server };
        crew.freeze(frozen);
        assert!(matches!(crew.ended[&frozen].1, Ok(Outcome::Frozen)));
        let bits =
            crew.program(&program(server, "(drop (call $notify (i32.const 16) (i64.const 5)))"));
        assert_eq!(crew.exit_code(bits), 0);
        assert!(
            !crew.ended.contains_key(&if frozen_client { server } else { client }) || frozen_client
        );
        crew.go_on(frozen);
        assert_eq!(
            crew.exit_code(client),
            42,
            "frozen: {}",
            if frozen_client { "client" } else { "server" }
        );
    }
}

/// Exits with the negated status of a receive with this limit, and then of a second one without waiting.
fn receive_within(ns: u64) -> String {
    let wait = format!(
        "(local.set $r (call $receive (i64.const {ns})))
         (if (i32.ne (local.get $r) (i32.const -6)) (then (call $exit (i32.const 99))))
         (call $exit (i32.sub (i32.const 0) (call $receive (i64.const 0))))"
    );
    program(NOBODY, &wait)
}

#[test]
fn nothing_comes_in_time() {
    for ns in [0, 1_000, 20_000_000] {
        let mut crew = Crew::new();
        let waiting = crew.program(&receive_within(ns));
        assert_eq!(crew.exit_code(waiting), negated(Status::TimedOut), "{ns}");
    }
}

#[test]
fn what_comes_in_time_ends_the_waiting() {
    let mut crew = Crew::new();
    let serve = SERVE.replace("(i64.const -1)", "(i64.const 60000000000)");
    let server = crew.program(&program(NOBODY, &serve));
    for _ in 0..3 {
        let client = crew.program(&program(server, ASK));
        assert_eq!(crew.exit_code(client), 42);
    }
    assert!(peripatos_host::talk::next_deadline().is_some());
    crew.kill(server);
    assert!(peripatos_host::talk::next_deadline().is_none());
}
