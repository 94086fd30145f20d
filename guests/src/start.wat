;; A start function that does long work before `_start` is called, and leaves its result in globals and memory.
(module
  (import "wasi_snapshot_preview1" "fd_write" (func $fd_write (param i32 i32 i32 i32) (result i32)))
  (memory (export "memory") 1)
  (global $ready (mut i64) (i64.const 0))
  (global $sum (mut i32) (i32.const 17))
  (func $mix (param i32)
    (global.set $sum (i32.add (i32.mul (global.get $sum) (i32.const 31)) (local.get 0))))

  ;; Prints a word in hexadecimal and a newline; owns the first 80 bytes of memory 0.
  (func $print (param $value i32) (local $i i32)
    (loop $digit
      (i32.store8 (i32.sub (i32.const 39) (local.get $i))
        (i32.load8_u offset=64 (i32.and (local.get $value) (i32.const 15))))
      (local.set $value (i32.shr_u (local.get $value) (i32.const 4)))
      (br_if $digit (i32.lt_u (local.tee $i (i32.add (local.get $i) (i32.const 1))) (i32.const 8))))
    (drop (call $fd_write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 8))))
  (data (i32.const 0) "\20\00\00\00\09\00\00\00")
  (data (i32.const 40) "\n")
  (data (i32.const 64) "0123456789abcdef")

  (func $collatz (param $n i64) (result i32) (local $steps i32)
    (block $done
      (loop $again
        (br_if $done (i64.le_u (local.get $n) (i64.const 1)))
        (local.set $n
          (if (result i64) (i64.eqz (i64.and (local.get $n) (i64.const 1)))
            (then (i64.shr_u (local.get $n) (i64.const 1)))
            (else (i64.add (i64.mul (local.get $n) (i64.const 3)) (i64.const 1)))))
        (local.set $steps (i32.add (local.get $steps) (i32.const 1)))
        (br $again)))
    (local.get $steps))

  (func $prepare (local $i i32)
    (loop $numbers
      (i32.store offset=1024 (i32.shl (local.get $i) (i32.const 2))
        (call $collatz (i64.extend_i32_u (local.get $i))))
      (br_if $numbers (i32.lt_u
        (local.tee $i (i32.add (local.get $i) (i32.const 1))) (i32.const 2000))))
    (global.set $ready (i64.add (global.get $ready) (i64.const 1))))
  (start $prepare)

  (func (export "_start") (local $i i32)
    (loop $numbers
      (call $mix (i32.load offset=1024 (i32.shl (local.get $i) (i32.const 2))))
      (br_if $numbers (i32.lt_u
        (local.tee $i (i32.add (local.get $i) (i32.const 1))) (i32.const 2000))))
    (call $print (global.get $sum))
    ;; 1: it ran once
    (call $print (i32.wrap_i64 (global.get $ready)))))
