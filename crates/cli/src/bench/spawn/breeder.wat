;; Spawns processes of the program `cell` and takes their time. What it is to do is its argument, three 32-bit numbers:
;;
;; * 0, COUNT, BATCHES: so many batches of so many lives: spawned, asked once, ended. Writes nanoseconds a batch.
;; * 1, COUNT, WAKES: so many that live on, each asked once. Writes nothing (so that somebody looks), then asks WAKES of
;;   the oldest and writes nanoseconds for each.
;;
;; Then it ends. Times are 64-bit numbers.
(module
  (import "wasi_snapshot_preview1" "clock_time_get" (func $clock_time_get (param i32 i64 i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_write" (func $fd_write (param i32 i32 i32 i32) (result i32)))
  (import "peripatos_v1" "argument" (func $argument (param i32 i32) (result i32)))
  (import "peripatos_v1" "spawn" (func $spawn (param i32 i32 i32 i32 i32 i32 i32) (result i32)))
  (import "peripatos_v1" "send" (func $send (param i32 i32 i32 i32 i32) (result i32)))
  (import "peripatos_v1" "end" (func $end (param i32) (result i32)))
  (import "peripatos_v1" "wait" (func $wait (result i32)))
  ;; 0: argument; 16: name; 32: message; 48: reply; 64: clock; 80: what is written; 128: pid of one that is to end;
  ;; 4096: times; 1048576: pids.
  (memory (export "memory") 64)
  (data (i32.const 16) "cell")

  (func $now (result i64)
    (drop (call $clock_time_get (i32.const 1) (i64.const 0) (i32.const 64)))
    (i64.load (i32.const 64)))

  (func $write (param $at i32) (param $len i32)
    (i32.store (i32.const 80) (local.get $at))
    (i32.store (i32.const 84) (local.get $len))
    (if (call $fd_write (i32.const 1) (i32.const 80) (i32.const 1) (i32.const 88)) (then unreachable)))

  (func $ask (param $pid i32) (param $what i32) (local $result i32)
    (i32.store (i32.const 32) (local.get $what))
    (local.set $result
      (call $send (local.get $pid) (i32.const 32) (i32.const 4) (i32.const 48) (i32.const 4)))
    (if (i32.eq (local.get $result) (i32.const -1)) (then (local.set $result (call $wait))))
    (if (i32.ne (local.get $result) (i32.const 4)) (then unreachable))
    (if (i32.ne (i32.load (i32.const 48)) (local.get $what)) (then unreachable)))

  (func $make (param $pid i32)
    (if (call $spawn (i32.const 16) (i32.const 4) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0)
        (local.get $pid))
      (then unreachable)))

  (func $lives (param $count i32) (param $batches i32) (local $batch i32) (local $i i32) (local $since i64)
    (loop $next
      (local.set $since (call $now))
      (local.set $i (i32.const 0))
      (loop $life
        (call $make (i32.const 128))
        (call $ask (i32.const 128) (local.get $i))
        (if (call $end (i32.const 128)) (then unreachable))
        (br_if $life (i32.lt_u (local.tee $i (i32.add (local.get $i) (i32.const 1))) (local.get $count))))
      (i64.store offset=4096 (i32.shl (local.get $batch) (i32.const 3))
        (i64.sub (call $now) (local.get $since)))
      (br_if $next
        (i32.lt_u (local.tee $batch (i32.add (local.get $batch) (i32.const 1))) (local.get $batches))))
    (call $write (i32.const 4096) (i32.shl (local.get $batches) (i32.const 3))))

  (func $pid (param $index i32) (result i32)
    (i32.add (i32.const 1048576) (i32.shl (local.get $index) (i32.const 4))))

  (func $crowd (param $count i32) (param $wakes i32) (local $i i32) (local $since i64)
    (loop $one
      (call $make (call $pid (local.get $i)))
      (call $ask (call $pid (local.get $i)) (local.get $i))
      (br_if $one (i32.lt_u (local.tee $i (i32.add (local.get $i) (i32.const 1))) (local.get $count))))
    (call $write (i32.const 0) (i32.const 0))
    (local.set $i (i32.const 0))
    (loop $wake
      (local.set $since (call $now))
      (call $ask (call $pid (local.get $i)) (local.get $i))
      (i64.store offset=4096 (i32.shl (local.get $i) (i32.const 3))
        (i64.sub (call $now) (local.get $since)))
      (br_if $wake (i32.lt_u (local.tee $i (i32.add (local.get $i) (i32.const 1))) (local.get $wakes))))
    (call $write (i32.const 4096) (i32.shl (local.get $wakes) (i32.const 3))))

  (func (export "_start")
    (drop (call $argument (i32.const 0) (i32.const 12)))
    (if (i32.eqz (i32.load (i32.const 0)))
      (then (call $lives (i32.load (i32.const 4)) (i32.load (i32.const 8))))
      (else (call $crowd (i32.load (i32.const 4)) (i32.load (i32.const 8)))))))
