;; Several memories: loads, stores, growth, fill and copy between them.
(module
  (import "wasi_snapshot_preview1" "fd_write" (func $fd_write (param i32 i32 i32 i32) (result i32)))
  (memory (export "memory") 1)
  (memory $second 1 6)
  (memory $third 2)
  (data $words (memory $second) (i32.const 100) "peripatos")
  (data $later "written when asked for")
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

  (func $hash_second (param $length i32) (result i32) (local $i i32) (local $h i32)
    (loop $bytes
      (local.set $h (i32.add (i32.mul (local.get $h) (i32.const 31))
        (i32.load8_u $second (local.get $i))))
      (br_if $bytes (i32.lt_u
        (local.tee $i (i32.add (local.get $i) (i32.const 7))) (local.get $length))))
    (local.get $h))

  (func $scatter (param $seed i32) (local $i i32)
    (loop $words
      (local.set $seed (i32.add (i32.mul (local.get $seed) (i32.const 1664525)) (i32.const 1013904223)))
      (i32.store $third offset=8 (i32.and (local.get $seed) (i32.const 0xfff8)) (local.get $seed))
      (i64.store $second (i32.and (i32.shr_u (local.get $seed) (i32.const 9)) (i32.const 0xfff0))
        (i64.extend_i32_u (i32.load $third offset=8 (i32.and (local.get $seed) (i32.const 0x7ff8)))))
      (br_if $words (i32.lt_u (local.tee $i (i32.add (local.get $i) (i32.const 1))) (i32.const 800)))))

  (func (export "_start")
    (call $mix (call $hash_second (i32.const 200)))
    (call $mix (memory.grow $second (i32.const 3)))
    (call $scatter (i32.const 1))
    (memory.copy $second $third (i32.const 70000) (i32.const 16) (i32.const 60000))
    (memory.copy $second $second (i32.const 70001) (i32.const 70000) (i32.const 50000))
    (memory.init $second $later (i32.const 150000) (i32.const 8) (i32.const 14))
    (data.drop $later)
    (memory.fill $third (i32.const 1000) (i32.const 0x5a) (i32.const 100000))
    (call $print (call $hash_second (i32.const 262144)))
    (call $mix (memory.grow $second (i32.const 3))) ;; refused: -1
    (call $mix (memory.size $second))
    (call $mix (i32.load $third (i32.const 99000)))
    (call $scatter (global.get $sum))
    (call $print (call $hash_second (i32.const 262144)))
    (call $print (global.get $sum))))
