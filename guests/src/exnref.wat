;; Exceptions by reference: exnref values kept in locals across calls, rethrown by throw_ref, several tags with
;; several values, catch_all, a catch clause whose branch leaves a loop, and a throw out of deep recursion.
(module
  (import "wasi_snapshot_preview1" "fd_write" (func $fd_write (param i32 i32 i32 i32) (result i32)))
  (memory (export "memory") 1)
  (tag $one (param i32))
  (tag $pair (param i32 i64))
  (tag $empty)
  (global $sum (mut i32) (i32.const 17))

  (func $mix (param i32)
    (global.set $sum (i32.add (i32.mul (global.get $sum) (i32.const 31)) (local.get 0))))

  ;; Prints a word in hexadecimal and a newline.
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

  (func $raise (param $depth i32) (param $kind i32)
    (if (local.get $depth)
      (then
        (call $raise (i32.sub (local.get $depth) (i32.const 1)) (local.get $kind))
        (call $mix (i32.const 99)) ;; reached only when nothing was thrown
        (return)))
    (if (i32.eq (local.get $kind) (i32.const 0)) (then (throw $one (i32.const 42))))
    (if (i32.eq (local.get $kind) (i32.const 1)) (then (throw $pair (i32.const 5) (i64.const 0x123456789a))))
    (if (i32.eq (local.get $kind) (i32.const 2)) (then (throw $empty)))
    (call $mix (local.get $kind)))

  ;; Catches everything with its reference, calls something while holding it, and throws it on.
  (func $through (param $depth i32) (param $kind i32) (local $kept exnref)
    (block $caught (result exnref)
      (try_table (catch_all_ref $caught)
        (call $raise (local.get $depth) (local.get $kind)))
      (return))
    (local.set $kept)
    (call $mix (i32.add (local.get $kind) (i32.const 1000)))
    (try_table (call $raise (i32.const 2) (i32.const 77)))
    (throw_ref (local.get $kept)))

  (func $one_kind (param $depth i32) (param $kind i32) (local $number i32) (local $wide i64) (local $kept exnref)
    (block $done
      (block $on_empty
        (block $on_pair (result i32 i64 exnref)
          (block $on_one (result i32)
            (try_table (catch $one $on_one) (catch_ref $pair $on_pair) (catch_all $on_empty)
              (call $through (local.get $depth) (local.get $kind)))
            (br $done))
          (call $mix)
          (br $done))
        (local.set $kept)
        (local.set $wide)
        (local.set $number)
        (call $mix (local.get $number))
        (call $mix (i32.wrap_i64 (i64.shr_u (local.get $wide) (i64.const 8))))
        (if (ref.is_null (local.get $kept)) (then unreachable))
        (block $again (result i32 i64)
          (try_table (result i32 i64) (catch $pair $again)
            (throw_ref (local.get $kept))))
        (call $mix (i32.wrap_i64))
        (call $mix)
        (br $done))
      (call $mix (i32.const 3))))

  ;; A loop left by an exception: counts until a throw.
  (func $count (param $limit i32) (result i32) (local $i i32)
    (block $out (result i32)
      (loop $again
        (try_table (catch $one $out)
          (if (i32.ge_u (local.get $i) (local.get $limit))
            (then (throw $one (i32.mul (local.get $i) (i32.const 3)))))
          (call $mix (local.get $i)))
        (local.set $i (i32.add (local.get $i) (i32.const 1)))
        (br $again))
      (unreachable)))

  (func (export "_start") (local $depth i32)
    (loop $depths
      (call $one_kind (local.get $depth) (i32.const 0))
      (call $one_kind (local.get $depth) (i32.const 1))
      (call $one_kind (local.get $depth) (i32.const 2))
      (call $one_kind (local.get $depth) (i32.const 3))
      (br_if $depths (i32.lt_u
        (local.tee $depth (i32.add (local.get $depth) (i32.const 7))) (i32.const 60))))
    (call $print (global.get $sum))
    (call $print (call $count (i32.const 50)))
    (call $print (global.get $sum))))
