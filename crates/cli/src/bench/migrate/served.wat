;; A request server with a megabyte of state. Requests are numbered from 1; it counts those that it has never seen, and those that
;; it sees again, and replies with the number and both counts, 8 bytes each. Runs until it is ended.
(module
  (import "peripatos_v1" "receive" (func $receive (param i32 i32 i32 i32 i64) (result i32)))
  (import "peripatos_v1" "reply" (func $reply (param i32 i32 i32) (result i32)))
  (import "peripatos_v1" "wait" (func $wait (result i32)))
  ;; 0: reply; 64: envelope; 128: request; 65536: state.
  (memory (export "memory") 17)
  (global $last (mut i64) (i64.const 0))
  (func $count (param $number i64) (local $expected i64)
    (local.set $expected (i64.add (global.get $last) (i64.const 1)))
    (if (i64.lt_u (local.get $number) (local.get $expected))
      (then (i64.store (i32.const 16) (i64.add (i64.load (i32.const 16)) (i64.const 1))))
      (else
        (i64.store (i32.const 8)
          (i64.add (i64.load (i32.const 8)) (i64.sub (local.get $number) (local.get $expected))))
        (global.set $last (local.get $number))))
    (i64.store (i32.const 0) (local.get $number))
    ;; A word of its state is another one now.
    (i64.store offset=65536
      (i32.and (i32.mul (i32.wrap_i64 (local.get $number)) (i32.const 40503)) (i32.const 0xffff8))
      (local.get $number)))
  (func (export "_start") (local $len i32)
    (memory.fill (i32.const 65536) (i32.const 90) (i32.const 1048576))
    (loop $next
      (local.set $len
        (call $receive (i32.const 0) (i32.const 128) (i32.const 8) (i32.const 64) (i64.const -1)))
      (if (i32.eq (local.get $len) (i32.const -1)) (then (local.set $len (call $wait))))
      (if (i32.ne (local.get $len) (i32.const 8)) (then unreachable))
      (call $count (i64.load (i32.const 128)))
      (drop (call $reply (i32.const 64) (i32.const 0) (i32.const 24)))
      (br $next))))
