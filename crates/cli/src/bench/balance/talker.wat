;; Calls a server all the time, computing a microsecond or so between two calls, and writes a dot after each thousand. Runs until it
;; is ended.
;;
;; usage: talker PID, the pid in 32 hexadecimal digits, its first byte in memory first
(module
  (import "wasi_snapshot_preview1" "args_sizes_get" (func $args_sizes_get (param i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "args_get" (func $args_get (param i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_write" (func $fd_write (param i32 i32 i32 i32) (result i32)))
  (import "peripatos_v1" "send" (func $send (param i32 i32 i32 i32 i32) (result i32)))
  (import "peripatos_v1" "wait" (func $wait (result i32)))
  ;; 0: counts of arguments; 16: pid; 64: pointers to arguments; 256: arguments; 2048: what is written; 4096: request; 4128: reply.
  (memory (export "memory") 1)
  (data (i32.const 2048) "\20\08\00\00\01\00\00\00")
  (data (i32.const 2080) ".")

  (func $digit (param $at i32) (result i32) (local $c i32)
    (local.set $c (i32.load8_u (local.get $at)))
    (if (result i32) (i32.gt_u (local.get $c) (i32.const 57))
      (then (i32.sub (local.get $c) (i32.const 87)))
      (else (i32.sub (local.get $c) (i32.const 48)))))

  (func $pid (local $at i32) (local $i i32)
    (local.set $at (i32.load (i32.const 68)))
    (loop $byte
      (i32.store8 offset=16 (local.get $i)
        (i32.or (i32.shl (call $digit (local.get $at)) (i32.const 4))
          (call $digit (i32.add (local.get $at) (i32.const 1)))))
      (local.set $at (i32.add (local.get $at) (i32.const 2)))
      (br_if $byte (i32.lt_u (local.tee $i (i32.add (local.get $i) (i32.const 1))) (i32.const 16)))))

  (func $call (local $result i32)
    (i32.store (i32.const 4096) (i32.add (i32.load (i32.const 4128)) (i32.const 1)))
    (local.set $result
      (call $send (i32.const 16) (i32.const 4096) (i32.const 8) (i32.const 4128) (i32.const 8)))
    (if (i32.eq (local.get $result) (i32.const -1)) (then (local.set $result (call $wait))))
    (if (i32.ne (local.get $result) (i32.const 8)) (then unreachable))
    ;; The server adds 7.
    (if (i32.ne (i32.load (i32.const 4128)) (i32.add (i32.load (i32.const 4096)) (i32.const 7)))
      (then unreachable)))

  (func (export "_start") (local $calls i32) (local $steps i32)
    (drop (call $args_sizes_get (i32.const 0) (i32.const 4)))
    (drop (call $args_get (i32.const 64) (i32.const 256)))
    (call $pid)
    (loop $next
      (local.set $calls (i32.const 1000))
      (loop $again
        (call $call)
        (local.set $steps (i32.const 1000))
        (loop $compute
          (br_if $compute (local.tee $steps (i32.sub (local.get $steps) (i32.const 1)))))
        (br_if $again (local.tee $calls (i32.sub (local.get $calls) (i32.const 1)))))
      (drop (call $fd_write (i32.const 1) (i32.const 2048) (i32.const 1) (i32.const 2056)))
      (br $next))))
