;; A receive loop: adds 7 to the first word of each message and replies with all of it. Runs until it is ended.
(module
  (import "peripatos_v1" "receive" (func $receive (param i32 i32 i32 i32 i64) (result i32)))
  (import "peripatos_v1" "reply_receive" (func $reply_receive (param i32 i32 i32 i32 i32 i32 i64) (result i32)))
  (import "peripatos_v1" "wait" (func $wait (result i32)))
  (memory (export "memory") 2)
  (func (export "_start") (local $len i32)
    (loop $anew
      (local.set $len
        (call $receive (i32.const 0) (i32.const 1056) (i32.const 65536) (i32.const 1024) (i64.const -1)))
      (loop $next
        (if (i32.eq (local.get $len) (i32.const -1))
          (then (local.set $len (call $wait))))
        (br_if $anew (i32.eq (local.get $len) (i32.const -8))) ;; who had sent has ended
        (if (i32.lt_s (local.get $len) (i32.const 0)) (then unreachable))
        (i32.store (i32.const 1056) (i32.add (i32.load (i32.const 1056)) (i32.const 7)))
        (local.set $len
          (call $reply_receive (i32.const 1024) (i32.const 1056) (local.get $len)
            (i32.const 0) (i32.const 1056) (i32.const 65536) (i64.const -1)))
        (br $next)))))
