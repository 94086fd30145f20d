;; Tail calls in all their forms: return_call, return_call_indirect and return_call_ref; between functions with
;; different parameters, with results of several types; as the last thing inside blocks and loops.
(module
  (import "wasi_snapshot_preview1" "fd_write" (func $fd_write (param i32 i32 i32 i32) (result i32)))
  (memory (export "memory") 1)
  (type $walk (func (param i32 i64) (result i32 i64)))
  (table $walks 3 funcref)
  (elem (table $walks) (i32.const 0) func $by_name $by_table $by_reference)
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

  (func $by_name (type $walk)
    (if (i32.eqz (local.get 0)) (then (return (global.get $sum) (local.get 1))))
    (call $mix (local.get 0))
    (return_call $widen (i32.sub (local.get 0) (i32.const 1)) (local.get 1) (f64.const 0.5)))

  ;; One parameter more than its caller has.
  (func $widen (param i32 i64 f64) (result i32 i64)
    (return_call_indirect $walks (type $walk)
      (local.get 0)
      (i64.add (i64.mul (local.get 1) (i64.const 31)) (i64.trunc_f64_s (f64.mul (local.get 2) (f64.const 10))))
      (i32.rem_u (local.get 0) (i32.const 3))))

  (func $by_table (type $walk)
    (block $leave
      (br_if $leave (i32.eqz (local.get 0)))
      (call $mix (i32.wrap_i64 (local.get 1)))
      (return_call_indirect $walks (type $walk)
        (i32.sub (local.get 0) (i32.const 1)) (local.get 1)
        (i32.and (i32.wrap_i64 (local.get 1)) (i32.const 1))))
    (i32.const 1) (local.get 1))

  (func $by_reference (type $walk) (local $times i32)
    (if (i32.eqz (local.get 0)) (then (return (i32.const 2) (local.get 1))))
    (loop $some
      (call $mix (local.get $times))
      (br_if $some (i32.lt_u (local.tee $times (i32.add (local.get $times) (i32.const 1))) (i32.const 3)))
      (return_call_ref $walk
        (i32.sub (local.get 0) (i32.const 1)) (i64.xor (local.get 1) (i64.const 0x55aa))
        (ref.func $by_name)))
    unreachable)

  (func (export "_start") (local $n i32)
    (loop $again
      (call $by_name (local.get $n) (i64.extend_i32_u (local.get $n)))
      (call $mix (i32.wrap_i64))
      (call $mix)
      (br_if $again (i32.lt_u (local.tee $n (i32.add (local.get $n) (i32.const 97))) (i32.const 700))))
    (call $print (global.get $sum))))
