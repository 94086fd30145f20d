;; A handler: reads all that is lent with its message, writes it back, adds 7 to the first word of the message and replies with
;; all of that.
(module
  (import "peripatos_v1" "read_lease" (func $read_lease (param i32 i32 i32 i32) (result i32)))
  (import "peripatos_v1" "write_lease" (func $write_lease (param i32 i32 i32 i32) (result i32)))
  (import "peripatos_v1" "wait" (func $wait (result i32)))
  (memory (export "memory") 2)
  ;; Its buffer lies at 1024: the envelope, and behind it a message of 64 bytes. What was lent goes to 65536.
  (func (export "peripatos_buffer") (result i64)
    (i64.or (i64.const 1024) (i64.shl (i64.const 96) (i64.const 32))))
  (func $done (param i32) (result i32)
    (if (result i32) (i32.eq (local.get 0) (i32.const -1)) (then (call $wait)) (else (local.get 0))))
  (func (export "peripatos_handle") (param $len i32) (result i32) (local $lent i32)
    (local.set $lent
      (call $done (call $read_lease (i32.const 1024) (i32.const 0) (i32.const 65536) (i32.const 65536))))
    (if (i32.le_s (local.get $lent) (i32.const 0)) (then unreachable))
    (if (i32.ne (local.get $lent)
        (call $done (call $write_lease (i32.const 1024) (i32.const 0) (i32.const 65536) (local.get $lent))))
      (then unreachable))
    (i32.store (i32.const 1056) (i32.add (i32.load (i32.const 1056)) (i32.const 7)))
    (local.get $len)))
