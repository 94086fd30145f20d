;; A 64-bit memory beside a 32-bit one: addresses, growth, fill and copy with i64 operands.
(module
  (import "wasi_snapshot_preview1" "fd_write" (func $fd_write (param i32 i32 i32 i32) (result i32)))
  (memory (export "memory") 1)
  (memory $wide i64 1 10)
  (data (memory $wide) (i64.const 8) "sixty-four")
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

  (func $hash (param $from i64) (param $to i64) (result i32) (local $h i32)
    (loop $bytes
      (local.set $h (i32.add (i32.mul (local.get $h) (i32.const 33)) (i32.load8_u $wide (local.get $from))))
      (br_if $bytes (i64.lt_u
        (local.tee $from (i64.add (local.get $from) (i64.const 5))) (local.get $to))))
    (local.get $h))

  (func (export "_start")
    (call $mix (call $hash (i64.const 0) (i64.const 64)))
    (call $mix (i32.wrap_i64 (memory.grow $wide (i64.const 4))))
    (memory.fill $wide (i64.const 70000) (i32.const 0xab) (i64.const 200000))
    (memory.copy $wide $wide (i64.const 69000) (i64.const 0) (i64.const 2000))
    (memory.copy 0 $wide (i32.const 4096) (i64.const 0) (i32.const 64)) ;; narrow from wide
    (call $mix (call $hash (i64.const 60000) (i64.const 300000)))
    (call $mix (i32.load (i32.const 4104)))
    (call $mix (i32.wrap_i64 (memory.size $wide)))
    (call $print (global.get $sum))))
