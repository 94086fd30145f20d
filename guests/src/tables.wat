;; Tables that change at run time: set, grow, fill, copy, init, elem.drop; calls through several tables; function
;; references kept in locals across calls; and functions that only a reference reaches.
(module
  (import "wasi_snapshot_preview1" "fd_write" (func $fd_write (param i32 i32 i32 i32) (result i32)))
  (memory (export "memory") 1)
  (type $unary (func (param i32) (result i32)))
  (type $source (func (result i32)))
  (table $one 4 20 funcref)
  (table $two 6 funcref)
  (table $extern 3 10 externref)
  (elem (table $one) (i32.const 0) func $double $square)
  (elem $spare func $negate $increment $halve)
  (elem $once funcref (ref.func $square) (ref.null func) (ref.func $double))
  (elem declare func $hidden)
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

  (func $double (type $unary) (i32.mul (local.get 0) (i32.const 2)))
  (func $square (type $unary) (i32.mul (local.get 0) (local.get 0)))
  (func $negate (type $unary) (i32.sub (i32.const 0) (local.get 0)))
  (func $increment (type $unary) (i32.add (local.get 0) (i32.const 1)))
  (func $halve (type $unary) (i32.shr_s (local.get 0) (i32.const 1)))
  (func $hidden (type $source) (i32.const 4711))

  ;; Calls every non-null entry of both tables, the value handed from one to the next.
  (func $run (param $value i32) (result i32) (local $i i32)
    (loop $entries
      (if (i32.eqz (ref.is_null (table.get $one (local.get $i))))
        (then (local.set $value (call_indirect $one (type $unary) (local.get $value) (local.get $i)))))
      (br_if $entries (i32.lt_u
        (local.tee $i (i32.add (local.get $i) (i32.const 1))) (table.size $one))))
    (local.set $i (i32.const 0))
    (loop $entries
      (if (i32.eqz (ref.is_null (table.get $two (local.get $i))))
        (then (local.set $value (call_indirect $two (type $unary) (local.get $value) (local.get $i)))))
      (br_if $entries (i32.lt_u
        (local.tee $i (i32.add (local.get $i) (i32.const 1))) (table.size $two))))
    (call $mix (local.get $value))
    (local.get $value))

  ;; A reference in a local and one on the operand stack while other functions run.
  (func $hold (param $value i32) (result i32) (local $kept funcref)
    (local.set $kept (table.get $one (i32.const 1)))
    (table.set $one (i32.const 1) (ref.null func))
    (local.set $value (call $run (local.get $value)))
    (table.set $one (i32.const 1) (local.get $kept))
    (table.set $two (i32.const 5)
      (select (result funcref) (local.get $kept) (ref.null func) (call $run (local.get $value))))
    (call $run (local.get $value)))

  (func (export "_start") (local $value i32) (local $round i32) (local $nothing externref)
    (local.set $value (i32.const 3))
    (loop $rounds
      (local.set $value (call $hold (i32.add (local.get $value) (local.get $round))))
      (table.init $two $spare (i32.const 1) (i32.const 0) (i32.const 3))
      (call $mix (call $run (local.get $value)))
      (if (i32.lt_u (table.size $one) (i32.const 12))
        (then (call $mix (table.grow $one (ref.func $increment) (i32.const 3)))))
      (table.copy $one $two (i32.const 2) (i32.const 2) (i32.const 2))
      (table.copy $one $one (i32.const 1) (i32.const 0) (i32.const 3)) ;; overlapping
      (local.set $value (call $run (local.get $round)))
      (table.fill $two (i32.const 0) (ref.func $halve) (i32.const 2))
      (local.set $value (i32.add (local.get $value) (call $run (i32.const 77))))
      (br_if $rounds (i32.lt_u (local.tee $round (i32.add (local.get $round) (i32.const 1))) (i32.const 6))))
    (call $print (global.get $sum))

    (table.init $one $once (i32.const 0) (i32.const 0) (i32.const 3))
    (elem.drop $once)
    (elem.drop $spare)
    (call $mix (call $run (i32.const 9)))
    (table.init $one $once (i32.const 0) (i32.const 0) (i32.const 0)) ;; nothing of a dropped segment: allowed
    (table.set $two (i32.const 0) (ref.func $hidden))
    (call $mix (call_indirect $two (type $source) (i32.const 0)))

    (call $mix (table.grow $extern (local.get $nothing) (i32.const 4)))
    (table.fill $extern (i32.const 1) (local.get $nothing) (i32.const 3))
    (call $mix (ref.is_null (table.get $extern (i32.const 2))))
    (call $mix (table.size $extern))
    (call $print (global.get $sum))
    (call $print (table.size $one))))
