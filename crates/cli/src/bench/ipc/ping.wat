;; Sends messages to a process and checks the replies, in batches: asks for the time before the first one and after each,
;; which is how whoever answers knows. In the end it writes all these times, 8 bytes each.
;;
;; usage: ping PID BATCHES CALLS LENGTH PAUSE LENT, the pid in 32 hexadecimal digits, its first byte in memory first, and
;; milliseconds until it begins. With each message it lends so many bytes, those where the reply goes, unless it is 0.
(module
  (import "wasi_snapshot_preview1" "args_sizes_get" (func $args_sizes_get (param i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "args_get" (func $args_get (param i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "clock_time_get" (func $clock_time_get (param i32 i64 i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_write" (func $fd_write (param i32 i32 i32 i32) (result i32)))
  (import "peripatos_v1" "send" (func $send (param i32 i32 i32 i32 i32) (result i32)))
  (import "peripatos_v1" "lend" (func $lend (param i32 i32 i32) (result i32)))
  (import "peripatos_v1" "receive" (func $receive (param i32 i32 i32 i32 i64) (result i32)))
  (import "peripatos_v1" "wait" (func $wait (result i32)))
  ;; 0: counts of arguments; 16: pid; 64: pointers to arguments; 256: arguments; 2048: clock; 4096: message;
  ;; 73728: reply; 139264: times.
  (memory (export "memory") 3)

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

  (func $number (param $index i32) (result i32) (local $at i32) (local $digit i32) (local $value i32)
    (local.set $at (i32.load offset=64 (i32.shl (local.get $index) (i32.const 2))))
    (block $end
      (loop $digits
        (local.set $digit (i32.sub (i32.load8_u (local.get $at)) (i32.const 48)))
        (br_if $end (i32.gt_u (local.get $digit) (i32.const 9)))
        (local.set $value (i32.add (i32.mul (local.get $value) (i32.const 10)) (local.get $digit)))
        (local.set $at (i32.add (local.get $at) (i32.const 1)))
        (br $digits)))
    (local.get $value))

  ;; Nobody sends it anything.
  (func $pause (param $ms i64)
    (if (i64.eqz (local.get $ms)) (then (return)))
    (drop (call $receive (i32.const 0) (i32.const 4096) (i32.const 4) (i32.const 2048)
      (i64.mul (local.get $ms) (i64.const 1000000))))
    (drop (call $wait)))

  (global $laps (mut i32) (i32.const 139264))

  (func $lap
    (drop (call $clock_time_get (i32.const 0) (i64.const 0) (i32.const 2048)))
    (i64.store (global.get $laps) (i64.load (i32.const 2048)))
    (global.set $laps (i32.add (global.get $laps) (i32.const 8))))

  ;; Writes the times.
  (func $write
    (i32.store (i32.const 2056) (i32.const 139264))
    (i32.store (i32.const 2060) (i32.sub (global.get $laps) (i32.const 139264)))
    (drop (call $fd_write (i32.const 1) (i32.const 2056) (i32.const 1) (i32.const 2064))))

  ;; So many sends and replies.
  (func $batch (param $calls i32) (param $len i32) (param $lent i32) (local $result i32)
    (loop $call
      (i32.store (i32.const 4096) (local.get $calls))
      (if (local.get $lent)
        (then (if (call $lend (i32.const 73728) (local.get $lent) (i32.const 3)) (then unreachable))))
      (local.set $result
        (call $send (i32.const 16) (i32.const 4096) (local.get $len) (i32.const 73728) (i32.const 65536)))
      (if (i32.eq (local.get $result) (i32.const -1)) (then (local.set $result (call $wait))))
      (if (i32.ne (local.get $result) (local.get $len)) (then unreachable))
      (if (i32.ne (i32.load (i32.const 73728)) (i32.add (local.get $calls) (i32.const 7))) (then unreachable))
      (br_if $call (local.tee $calls (i32.sub (local.get $calls) (i32.const 1))))))

  (func (export "_start") (local $batches i32) (local $calls i32) (local $len i32) (local $lent i32)
    (drop (call $args_sizes_get (i32.const 0) (i32.const 4)))
    (if (i32.ne (i32.load (i32.const 0)) (i32.const 7)) (then unreachable))
    (drop (call $args_get (i32.const 64) (i32.const 256)))
    (call $pid)
    (local.set $batches (call $number (i32.const 2)))
    (local.set $calls (call $number (i32.const 3)))
    (local.set $len (call $number (i32.const 4)))
    (local.set $lent (call $number (i32.const 6)))
    (call $pause (i64.extend_i32_u (call $number (i32.const 5))))
    (call $lap)
    (loop $next
      (call $batch (local.get $calls) (local.get $len) (local.get $lent))
      (call $lap)
      (br_if $next (local.tee $batches (i32.sub (local.get $batches) (i32.const 1)))))
    (call $write)))
