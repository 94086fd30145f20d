;; Spawns 999 processes of its own program, which wait for a message as it does then: a thousand small processes.
(module
  (import "peripatos_v1" "spawn" (func $spawn (param i32 i32 i32 i32 i32 i32 i32) (result i32)))
  (import "peripatos_v1" "receive" (func $receive (param i32 i32 i32 i32 i64) (result i32)))
  (import "peripatos_v1" "wait" (func $wait (result i32)))
  ;; 0: pid of the one that was spawned last; 64: envelope; 1024: message.
  (memory (export "memory") 1)
  (func $rest (export "peripatos_spawned")
    (loop $next
      (if (i32.eq
            (call $receive (i32.const 0) (i32.const 1024) (i32.const 1024) (i32.const 64) (i64.const -1))
            (i32.const -1))
        (then (drop (call $wait))))
      (br $next)))
  (func (export "_start") (local $left i32)
    (local.set $left (i32.const 999))
    (loop $one
      (if (call $spawn (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0))
        (then unreachable))
      (br_if $one (local.tee $left (i32.sub (local.get $left) (i32.const 1)))))
    (call $rest)))
