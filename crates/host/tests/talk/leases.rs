//! What a sender lends: to a fiber, to a handler on its own stack, while somebody is frozen.

use peripatos_abi::Pid;
use peripatos_abi::message::Status;

use crate::crew::Crew;
use crate::programs::{LEND, handle_lent, handle_lent_at_once, handler, program, serve_lent};

const NOBODY: Pid = Pid::new(9, 9);

#[test]
fn what_is_lent_is_read_and_written() {
    let mut crew = Crew::new();
    let fiber = crew.program(&program(NOBODY, &serve_lent()));
    let called = crew.handler(&handler(NOBODY, &handle_lent()));
    for server in [fiber, called, fiber, called] {
        let clients = [(); 3].map(|()| crew.program(&program(server, LEND)));
        for client in clients {
            assert_eq!(crew.exit_code(client), 42);
        }
    }
    // One that lends nothing: the server ends, and says why.
    let lends_nothing = LEND
        .replace("(call $lend (i32.const 65536) (i32.const 70000) (i32.const 3))", "(i32.const 0)");
    let client = crew.program(&program(fiber, &lends_nothing));
    assert_eq!(crew.exit_code(fiber), Status::NotPermitted.code().unsigned_abs());
    assert_eq!(crew.exit_code(client), Status::NoProcess.code().unsigned_abs());
}

#[test]
fn a_handler_on_the_lenders_stack_does_not_wait_for_it() {
    let mut crew = Crew::new();
    let server = crew.handler(&handler(NOBODY, &handle_lent_at_once()));
    let client = crew.program(&program(server, LEND));
    assert_eq!(crew.exit_code(client), 42);
}

#[test]
fn whoever_is_frozen_lends_and_borrows_afterwards() {
    // It begins when it gets bits.
    let late = serve_lent().replace(
        "(drop (call $receive (i64.const -1)))",
        "(drop (call $receive (i64.const -1)))
         (drop (call $done
           (call $v1_receive (i32.const 0) (i32.const 4096) (i32.const 64) (i32.const 3072) (i64.const -1))))",
    );
    let bits = "(drop (call $notify (i32.const 16) (i64.const 5)))";
    for frozen_client in [true, false] {
        let mut crew = Crew::new();
        let server = crew.program(&program(NOBODY, &late));
        let client = crew.program(&program(server, LEND));
        crew.run();
        let frozen = if frozen_client { client } else { server };
        crew.freeze(frozen);
        let bits = crew.program(&program(server, bits));
        assert_eq!(crew.exit_code(bits), 0);
        crew.run();
        assert!(crew.waits(if frozen_client { server } else { client }));
        if frozen_client {
            // In the middle of an operation.
            crew.freeze(server);
            crew.go_on(server);
        }
        crew.go_on(frozen);
        assert_eq!(crew.exit_code(client), 42);
    }
}
