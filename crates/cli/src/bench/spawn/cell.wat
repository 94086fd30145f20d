;; A small process: answers each message with the message.
(module
  (import "peripatos_v1" "receive" (func $receive (param i32 i32 i32 i32 i64) (result i32)))
  (import "peripatos_v1" "reply" (func $reply (param i32 i32 i32) (result i32)))
  (import "peripatos_v1" "wait" (func $wait (result i32)))
  ;; 64: envelope; 1024: message.
  (memory (export "memory") 1)
  (func (export "peripatos_spawned") (local $len i32)
    (loop $next
      (local.set $len
        (call $receive (i32.const 0) (i32.const 1024) (i32.const 1024) (i32.const 64) (i64.const -1)))
      (if (i32.eq (local.get $len) (i32.const -1)) (then (local.set $len (call $wait))))
      (if (i32.lt_s (local.get $len) (i32.const 0)) (then unreachable))
      (drop (call $reply (i32.const 64) (i32.const 1024) (local.get $len)))
      (br $next)))
  (func (export "_start") unreachable))
