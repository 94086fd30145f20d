//! The programs: text with the blanks filled in.

use peripatos_abi::Pid;

const IMPORTS: &str = r#"
  (import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))
  (import "peripatos_v1" "send" (func $v1_send (param i32 i32 i32 i32 i32) (result i32)))
  (import "peripatos_v1" "receive" (func $v1_receive (param i32 i32 i32 i32 i64) (result i32)))
  (import "peripatos_v1" "reply" (func $reply (param i32 i32 i32) (result i32)))
  (import "peripatos_v1" "reply_receive" (func $reply_receive (param i32 i32 i32 i32 i32 i32 i64) (result i32)))
  (import "peripatos_v1" "register" (func $register (param i32 i32) (result i32)))
  (import "peripatos_v1" "lookup" (func $lookup (param i32 i32 i32) (result i32)))
  (import "peripatos_v1" "notify" (func $notify (param i32 i64) (result i32)))
  (import "peripatos_v1" "wait" (func $wait (result i32)))
  (import "wasi_snapshot_preview1" "sched_yield" (func $yield (result i32)))
  (import "peripatos_v1" "lend" (func $lend (param i32 i32 i32) (result i32)))
  (import "peripatos_v1" "lease" (func $lease (param i32) (result i32)))
  (import "peripatos_v1" "read_lease" (func $read_lease (param i32 i32 i32 i32) (result i32)))
  (import "peripatos_v1" "write_lease" (func $write_lease (param i32 i32 i32 i32) (result i32)))
  (import "peripatos_v1" "join" (func $join (param i32 i32) (result i32)))
  (import "peripatos_v1" "leave" (func $leave (param i32 i32) (result i32)))
  (import "peripatos_v1" "members" (func $members (param i32 i32 i32 i32) (result i32)))
  (import "peripatos_v1" "send_all" (func $send_all (param i32 i32 i32 i32 i32 i32 i32) (result i32)))
  (memory (export "memory") 3)
  (func $done (param i32) (result i32)
    (if (result i32) (i32.eq (local.get 0) (i32.const -1)) (then (call $wait)) (else (local.get 0))))
  (func $at_once (param i32) (result i32)
    (if (i32.eq (local.get 0) (i32.const -1)) (then unreachable))
    (local.get 0))
  (func $send (param i32 i32 i32 i32 i32) (result i32) (local $r i32)
    (local.set $r (call $v1_send (local.get 0) (local.get 1) (local.get 2) (local.get 3) (local.get 4)))
    (if (result i32) (i32.eq (local.get $r) (i32.const -1)) (then (call $wait)) (else (local.get $r))))
  (func $receive (param $t i64) (result i32) (local $r i32)
    (local.set $r (call $v1_receive (i32.const 0) (i32.const 2048) (i32.const 64) (i32.const 1024) (local.get $t)))
    (if (result i32) (i32.eq (local.get $r) (i32.const -1)) (then (call $wait)) (else (local.get $r))))
"#;

/// A pid as a data segment's text.
fn bytes(pid: Pid) -> String {
    pid.bits().to_le_bytes().map(|byte| format!("\\{byte:02x}")).concat()
}

/// A program that runs this body; the pid lies at 16.
pub(crate) fn program(to: Pid, body: &str) -> String {
    let pid = bytes(to);
    format!(
        "(module {IMPORTS} (data (i32.const 16) \"{pid}\") (func (export \"_start\") (local $r i32) {body}))"
    )
}

/// A handler with this body, whose parameter is `$len`; its message lies at 4128.
pub(crate) fn handler(to: Pid, body: &str) -> String {
    let pid = bytes(to);
    format!(
        "(module {IMPORTS} (data (i32.const 16) \"{pid}\")
          (func (export \"peripatos_buffer\") (result i64)
            (i64.or (i64.const 4096) (i64.shl (i64.const 1056) (i64.const 32))))
          (func (export \"peripatos_handle\") (param $len i32) (result i32) (local $r i32) {body}))"
    )
}

/// Sends the word 35 to whose pid lies at 16, and exits with the reply's word, or with the negated status.
pub(crate) const ASK: &str = "
  (i32.store (i32.const 64) (i32.const 35))
  (local.set $r (call $send (i32.const 16) (i32.const 64) (i32.const 4) (i32.const 80) (i32.const 4)))
  (if (i32.lt_s (local.get $r) (i32.const 0)) (then (call $exit (i32.sub (i32.const 0) (local.get $r)))))
  (call $exit (i32.load (i32.const 80)))";

/// Receives for ever, and replies with the word plus 7.
pub(crate) const SERVE: &str = "
  (loop $next
    (local.set $r (call $receive (i64.const -1)))
    (if (i32.lt_s (local.get $r) (i32.const 0)) (then unreachable))
    (i32.store (i32.const 2048) (i32.add (i32.load (i32.const 2048)) (i32.const 7)))
    (drop (call $reply (i32.const 1024) (i32.const 2048) (local.get $r)))
    (br $next))";

/// The same, in one call each.
pub(crate) const SERVE_ON: &str = "
  (local.set $r (call $receive (i64.const -1)))
  (loop $next
    (if (i32.lt_s (local.get $r) (i32.const 0)) (then unreachable))
    (i32.store (i32.const 2048) (i32.add (i32.load (i32.const 2048)) (i32.const 7)))
    (local.set $r (call $done (call $reply_receive (i32.const 1024) (i32.const 2048) (local.get $r)
      (i32.const 0) (i32.const 2048) (i32.const 64) (i64.const -1))))
    (br $next))";

/// A handler's: replies with the word plus 7.
pub(crate) const ADD: &str = "
  (i32.store (i32.const 4128) (i32.add (i32.load (i32.const 4128)) (i32.const 7)))
  (local.get $len)";

/// A handler's: keeps every other message until the next one comes, and then replies to both with their sum.
pub(crate) const PAIR_UP: &str = "
  (if (i32.eqz (i32.load8_u (i32.const 8192)))
    (then
      (i32.store8 (i32.const 8192) (i32.const 1))
      (memory.copy (i32.const 8200) (i32.const 4096) (i32.const 36))
      (return (i32.const -1))))
  (i32.store8 (i32.const 8192) (i32.const 0))
  (i32.store (i32.const 4128) (i32.add (i32.load (i32.const 4128)) (i32.load (i32.const 8232))))
  (if (call $reply (i32.const 8200) (i32.const 4128) (i32.const 4)) (then unreachable))
  (i32.const 4)";

/// A handler's: asks whose pid lies at 16 with its message, and replies with the reply, or with the negated status.
pub(crate) const PASS_ON: &str = "
  (local.set $r (call $send (i32.const 16) (i32.const 4128) (local.get $len) (i32.const 4128) (i32.const 4)))
  (if (i32.lt_s (local.get $r) (i32.const 0))
    (then (i32.store (i32.const 4128) (i32.sub (i32.const 0) (local.get $r)))))
  (i32.const 4)";

/// Lends 70,000 bytes of its memory to whose pid lies at 16, and exits with 42 if each of two places in it is one more
/// then and the reply is their number; or with the negated status.
pub(crate) const LEND: &str = "
  (i32.store8 (i32.const 65536) (i32.const 10))
  (i32.store8 (i32.const 131072) (i32.const 20))
  (if (call $lend (i32.const 65536) (i32.const 70000) (i32.const 3)) (then unreachable))
  (local.set $r (call $send (i32.const 16) (i32.const 64) (i32.const 4) (i32.const 80) (i32.const 4)))
  (if (i32.lt_s (local.get $r) (i32.const 0)) (then (call $exit (i32.sub (i32.const 0) (local.get $r)))))
  (if (i32.ne (i32.load (i32.const 80)) (i32.const 70000)) (then unreachable))
  (if (i32.ne (i32.load8_u (i32.const 65536)) (i32.const 11)) (then unreachable))
  (if (i32.ne (i32.load8_u (i32.const 131072)) (i32.const 21)) (then unreachable))
  (call $exit (i32.const 42))";

/// Adds one to the first byte of each part of what was lent with the message whose envelope lies there; its length is
/// put at 132.
fn add_ones(envelope: u32) -> String {
    "
  (i32.store (i32.const 128) (i32.const 0))
  (i32.store (i32.const 132) (call $done (call $lease (i32.const ENVELOPE))))
  (loop $part
    (local.set $r (call $done
      (call $read_lease (i32.const ENVELOPE) (i32.load (i32.const 128)) (i32.const 65536) (i32.const 65536))))
    (if (i32.lt_s (local.get $r) (i32.const 0)) (then (call $exit (i32.sub (i32.const 0) (local.get $r)))))
    (i32.store8 (i32.const 65536) (i32.add (i32.load8_u (i32.const 65536)) (i32.const 1)))
    (if (i32.ne (local.get $r) (call $done
        (call $write_lease (i32.const ENVELOPE) (i32.load (i32.const 128)) (i32.const 65536) (local.get $r))))
      (then unreachable))
    (i32.store (i32.const 128) (i32.add (i32.load (i32.const 128)) (local.get $r)))
    (br_if $part (i32.lt_u (i32.load (i32.const 128)) (i32.load (i32.const 132)))))"
        .replace("ENVELOPE", &envelope.to_string())
}

/// Receives for ever, adds ones to what is lent, and replies with its length.
pub(crate) fn serve_lent() -> String {
    let add = add_ones(1024);
    format!(
        "(loop $next
          (drop (call $receive (i64.const -1)))
          {add}
          (drop (call $reply (i32.const 1024) (i32.const 132) (i32.const 4)))
          (br $next))"
    )
}

/// A handler's: the same.
pub(crate) fn handle_lent() -> String {
    let add = add_ones(4096);
    format!("{add} (i32.store (i32.const 4128) (i32.load (i32.const 132))) (i32.const 4)")
}

/// A handler's: the same, and traps if it has to wait for that.
pub(crate) fn handle_lent_at_once() -> String {
    handle_lent().replace("(call $done", "(call $at_once")
}

/// Joins the group of the test.
pub(crate) const JOIN: &str = "
  (i32.store (i32.const 96) (i32.const 0x64646121))
  (if (call $join (i32.const 96) (i32.const 4)) (then unreachable))";

/// Sends the word 35 to all of the group, and exits with the number of those who have replied with 42; or with the
/// negated status.
pub(crate) const ASK_ALL: &str = "
  (i32.store (i32.const 96) (i32.const 0x64646121))
  (i32.store (i32.const 64) (i32.const 35))
  (local.set $r (call $done (call $send_all (i32.const 96) (i32.const 4) (i32.const 64) (i32.const 4)
    (i32.const 8192) (i32.const 1024) (i32.const 1))))
  (if (i32.lt_s (local.get $r) (i32.const 0)) (then (call $exit (i32.sub (i32.const 0) (local.get $r)))))
  (i32.store (i32.const 128) (i32.const 0))
  (loop $record
    (local.set $r (i32.sub (local.get $r) (i32.const 24)))
    (if (i32.ne (i32.load (i32.add (local.get $r) (i32.const 8208))) (i32.const 4)) (then unreachable))
    (if (i32.ne (i32.load (i32.add (local.get $r) (i32.const 8212))) (i32.const 42)) (then unreachable))
    (i32.store (i32.const 128) (i32.add (i32.load (i32.const 128)) (i32.const 1)))
    (br_if $record (local.get $r)))
  (call $exit (i32.load (i32.const 128)))";

/// The same, and exits with the word of the first reply.
pub(crate) const ASK_ANY: &str = "
  (i32.store (i32.const 96) (i32.const 0x64646121))
  (i32.store (i32.const 64) (i32.const 35))
  (local.set $r (call $done (call $send_all (i32.const 96) (i32.const 4) (i32.const 64) (i32.const 4)
    (i32.const 80) (i32.const 4) (i32.const 0))))
  (if (i32.lt_s (local.get $r) (i32.const 0)) (then (call $exit (i32.sub (i32.const 0) (local.get $r)))))
  (call $exit (i32.load (i32.const 80)))";
