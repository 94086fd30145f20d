;; Writes 4 MiB into the file "written" of its directory, in pieces of 256 bytes, over and over from its beginning. Each time it has, it
;; writes a byte to standard output.
(module
  (import "wasi_snapshot_preview1" "path_open"
    (func $path_open (param i32 i32 i32 i32 i32 i64 i64 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_seek" (func $fd_seek (param i32 i64 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_write" (func $fd_write (param i32 i32 i32 i32) (result i32)))
  ;; 0: the descriptor; 8: how much was written; 16: a piece; 24: a byte; 32: the byte; 40: the name; 64: a new offset.
  (memory (export "memory") 1)
  (data (i32.const 16) "\00\10\00\00\00\01\00\00")
  (data (i32.const 24) "\20\00\00\00\01\00\00\00")
  (data (i32.const 32) ".")
  (data (i32.const 40) "written")
  (func $must (param $errno i32) (if (local.get $errno) (then (unreachable))))
  (func (export "_start") (local $left i32)
    ;; It is made; with the rights to seek and to write.
    (call $must (call $path_open
      (i32.const 3) (i32.const 0) (i32.const 40) (i32.const 7) (i32.const 1) (i64.const 68) (i64.const 0) (i32.const 0) (i32.const 0)))
    (loop $pass
      (local.set $left (i32.const 16384))
      (loop $piece
        (call $must (call $fd_write (i32.load (i32.const 0)) (i32.const 16) (i32.const 1) (i32.const 8)))
        (br_if $piece (local.tee $left (i32.sub (local.get $left) (i32.const 1)))))
      (call $must (call $fd_seek (i32.load (i32.const 0)) (i64.const 0) (i32.const 0) (i32.const 64)))
      (call $must (call $fd_write (i32.const 1) (i32.const 24) (i32.const 1) (i32.const 8)))
      (br $pass))))
