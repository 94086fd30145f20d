;; A handler: adds 7 to the first word of its message and replies with all of it.
(module
  (memory (export "memory") 2)
  ;; Its buffer lies at 1024: the envelope, and behind it up to 64 KiB of a message.
  (func (export "peripatos_buffer") (result i64)
    (i64.or (i64.const 1024) (i64.shl (i64.const 65568) (i64.const 32))))
  (func (export "peripatos_handle") (param $len i32) (result i32)
    (i32.store (i32.const 1056) (i32.add (i32.load (i32.const 1056)) (i32.const 7)))
    (local.get $len)))
