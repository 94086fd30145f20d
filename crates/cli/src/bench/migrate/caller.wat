;; Sends a numbered request at each interval and waits for its reply. In the end it writes how long each took, nanoseconds, 8
;; bytes each, and how many the server says that it has missed and seen again. A request that is late because the one before it
;; took so long counts from when it was due.
;;
;; usage: caller PID COUNT INTERVAL_NS, the pid in 32 hexadecimal digits, its first byte in memory first
(module
  (import "wasi_snapshot_preview1" "args_sizes_get" (func $args_sizes_get (param i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "args_get" (func $args_get (param i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "clock_time_get" (func $clock_time_get (param i32 i64 i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_write" (func $fd_write (param i32 i32 i32 i32) (result i32)))
  (import "peripatos_v1" "send" (func $send (param i32 i32 i32 i32 i32) (result i32)))
  (import "peripatos_v1" "receive" (func $receive (param i32 i32 i32 i32 i64) (result i32)))
  (import "peripatos_v1" "wait" (func $wait (result i32)))
  ;; 0: counts of arguments; 16: pid; 64: pointers to arguments; 256: arguments; 2048: clock; 2064: what is written; 3072: envelope;
  ;; 4096: request; 4128: reply; 65536: times.
  (memory (export "memory") 16)

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

  (func $number (param $index i32) (result i64) (local $at i32) (local $digit i32) (local $value i64)
    (local.set $at (i32.load offset=64 (i32.shl (local.get $index) (i32.const 2))))
    (block $end
      (loop $digits
        (local.set $digit (i32.sub (i32.load8_u (local.get $at)) (i32.const 48)))
        (br_if $end (i32.gt_u (local.get $digit) (i32.const 9)))
        (local.set $value (i64.add (i64.mul (local.get $value) (i64.const 10)) (i64.extend_i32_u (local.get $digit))))
        (local.set $at (i32.add (local.get $at) (i32.const 1)))
        (br $digits)))
    (local.get $value))

  (func $now (result i64)
    (drop (call $clock_time_get (i32.const 1) (i64.const 0) (i32.const 2048)))
    (i64.load (i32.const 2048)))

  ;; Waits until it is that late; since when the request counts. Nobody sends it anything.
  (func $due (param $at i64) (result i64) (local $early i64)
    (local.set $early (i64.sub (local.get $at) (call $now)))
    (if (i64.le_s (local.get $early) (i64.const 0)) (then (return (local.get $at))))
    (if (i32.eq
          (call $receive (i32.const 0) (i32.const 4096) (i32.const 4) (i32.const 3072) (local.get $early))
          (i32.const -1))
      (then (drop (call $wait))))
    (call $now))

  (func $call (param $number i64) (local $result i32)
    (i64.store (i32.const 4096) (local.get $number))
    (local.set $result
      (call $send (i32.const 16) (i32.const 4096) (i32.const 8) (i32.const 4128) (i32.const 24)))
    (if (i32.eq (local.get $result) (i32.const -1)) (then (local.set $result (call $wait))))
    (if (i32.ne (local.get $result) (i32.const 24)) (then unreachable))
    (if (i64.ne (i64.load (i32.const 4128)) (local.get $number)) (then unreachable)))

  (func (export "_start") (local $count i64) (local $interval i64) (local $at i64) (local $since i64) (local $number i64)
    (local $times i32)
    (drop (call $args_sizes_get (i32.const 0) (i32.const 4)))
    (if (i32.ne (i32.load (i32.const 0)) (i32.const 4)) (then unreachable))
    (drop (call $args_get (i32.const 64) (i32.const 256)))
    (call $pid)
    (local.set $count (call $number (i32.const 2)))
    (local.set $interval (call $number (i32.const 3)))
    (if (i64.gt_u (local.get $count) (i64.const 100000)) (then unreachable))
    (local.set $times (i32.const 65536))
    (local.set $at (call $now))
    (loop $next
      (local.set $number (i64.add (local.get $number) (i64.const 1)))
      (local.set $at (i64.add (local.get $at) (local.get $interval)))
      (local.set $since (call $due (local.get $at)))
      (call $call (local.get $number))
      (i64.store (local.get $times) (i64.sub (call $now) (local.get $since)))
      (local.set $times (i32.add (local.get $times) (i32.const 8)))
      (br_if $next (i64.lt_u (local.get $number) (local.get $count))))
    (i64.store (local.get $times) (i64.load (i32.const 4136)))
    (i64.store offset=8 (local.get $times) (i64.load (i32.const 4144)))
    (i32.store (i32.const 2064) (i32.const 65536))
    (i32.store (i32.const 2068) (i32.sub (i32.add (local.get $times) (i32.const 16)) (i32.const 65536)))
    (drop (call $fd_write (i32.const 1) (i32.const 2064) (i32.const 1) (i32.const 2072)))))
