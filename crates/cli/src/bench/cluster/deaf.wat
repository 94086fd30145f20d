;; Receives messages and never replies. Runs until it is ended.
(module
  (import "peripatos_v1" "receive" (func $receive (param i32 i32 i32 i32 i64) (result i32)))
  (import "peripatos_v1" "wait" (func $wait (result i32)))
  ;; 64: envelope; 1024: message.
  (memory (export "memory") 1)
  (func (export "_start")
    (loop $next
      (if (i32.eq
            (call $receive (i32.const 0) (i32.const 1024) (i32.const 1024) (i32.const 64) (i64.const -1))
            (i32.const -1))
        (then (drop (call $wait))))
      (br $next))))
