;; Sends a message and waits for the reply, which does not come. Traps unless it is told that the receiver cannot be reached.
;;
;; usage: asker PID, in 32 hexadecimal digits, its first byte in memory first
(module
  (import "wasi_snapshot_preview1" "args_sizes_get" (func $args_sizes_get (param i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "args_get" (func $args_get (param i32 i32) (result i32)))
  (import "peripatos_v1" "send" (func $send (param i32 i32 i32 i32 i32) (result i32)))
  (import "peripatos_v1" "wait" (func $wait (result i32)))
  ;; 0: counts of arguments; 16: pid; 64: pointers to arguments; 256: arguments; 1024: message and reply.
  (memory (export "memory") 1)
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
  (func (export "_start") (local $answer i32)
    (drop (call $args_sizes_get (i32.const 0) (i32.const 4)))
    (if (i32.ne (i32.load (i32.const 0)) (i32.const 2)) (then unreachable))
    (drop (call $args_get (i32.const 64) (i32.const 256)))
    (call $pid)
    (local.set $answer
      (call $send (i32.const 16) (i32.const 1024) (i32.const 8) (i32.const 1024) (i32.const 8)))
    (if (i32.eq (local.get $answer) (i32.const -1)) (then (local.set $answer (call $wait))))
    (if (i32.ne (local.get $answer) (i32.const -3)) (then unreachable))))
