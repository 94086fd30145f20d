;; Prints a line, then divides by a zero that it counts down to in a loop.
(module
  (import "wasi_snapshot_preview1" "fd_write" (func $fd_write (param i32 i32 i32 i32) (result i32)))
  (memory (export "memory") 1)
  (data (i32.const 0) "\10\00\00\00\07\00\00\00")
  (data (i32.const 16) "before\n")
  (func $divide (param i32 i32) (result i32) (i32.div_s (local.get 0) (local.get 1)))
  (func (export "_start") (local $divisor i32) (local $sum i32)
    (drop (call $fd_write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 8)))
    (local.set $divisor (i32.const 9))
    (loop $again
      (local.set $sum (i32.add (local.get $sum) (call $divide (i32.const 1000) (local.get $divisor))))
      (local.set $divisor (i32.sub (local.get $divisor) (i32.const 1)))
      (br $again))))
