;; Computes for so many units of about a millisecond, and prints a dot: `spin UNITS`.
(module
  (import "wasi_snapshot_preview1" "args_sizes_get" (func $sizes (param i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "args_get" (func $args (param i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
  (memory (export "memory") 1)
  ;; An output vector: a dot.
  (data (i32.const 0) "\10\00\00\00\01\00\00\00")
  (data (i32.const 16) ".")

  ;; The number that the first argument is. Arguments lie from 1024 on, their addresses from 64 on.
  (func $units (result i32)
    (local $at i32) (local $digit i32) (local $number i32)
    (drop (call $sizes (i32.const 32) (i32.const 36)))
    (drop (call $args (i32.const 64) (i32.const 1024)))
    (local.set $at (i32.load (i32.const 68)))
    (block $end
      (loop $next
        (local.set $digit (i32.sub (i32.load8_u (local.get $at)) (i32.const 48)))
        (br_if $end (i32.gt_u (local.get $digit) (i32.const 9)))
        (local.set $number
          (i32.add (i32.mul (local.get $number) (i32.const 10)) (local.get $digit)))
        (local.set $at (i32.add (local.get $at) (i32.const 1)))
        (br $next)))
    (local.get $number))

  ;; Marsaglia's xorshift, which no compiler shortens.
  (func $unit (param $state i64) (result i64)
    (local $steps i32)
    (local.set $steps (i32.const 500000))
    (loop $step
      (local.set $state (i64.xor (local.get $state) (i64.shl (local.get $state) (i64.const 13))))
      (local.set $state (i64.xor (local.get $state) (i64.shr_u (local.get $state) (i64.const 7))))
      (local.set $state (i64.xor (local.get $state) (i64.shl (local.get $state) (i64.const 17))))
      (br_if $step
        (local.tee $steps (i32.sub (local.get $steps) (i32.const 1)))))
    (local.get $state))

  (func (export "_start")
    (local $left i32) (local $state i64)
    (local.set $left (call $units))
    (local.set $state (i64.const 88172645463325252))
    (block $end
      (loop $again
        (br_if $end (i32.eqz (local.get $left)))
        (local.set $state (call $unit (local.get $state)))
        (local.set $left (i32.sub (local.get $left) (i32.const 1)))
        (br $again)))
    ;; Something that depends on it: never zero.
    (if (i64.eqz (local.get $state)) (then (unreachable)))
    (drop (call $write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 8)))))
