;; Reads the file "data" of its directory from the beginning to the end in pieces of 4 KiB, over and over. Each time it has, it writes
;; a byte; in between it does nothing but read.
(module
  (import "wasi_snapshot_preview1" "path_open"
    (func $path_open (param i32 i32 i32 i32 i32 i64 i64 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_read" (func $fd_read (param i32 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_seek" (func $fd_seek (param i32 i64 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_write" (func $fd_write (param i32 i32 i32 i32) (result i32)))
  ;; 0: the descriptor; 8: how much was read; 16: where to; 24: what is written; 32: its byte; 40: the name; 64: a new offset; 4096: the piece.
  (memory (export "memory") 1)
  (data (i32.const 16) "\00\10\00\00\00\10\00\00")
  (data (i32.const 24) "\20\00\00\00\01\00\00\00")
  (data (i32.const 32) ".")
  (data (i32.const 40) "data")
  (func $must (param $errno i32) (if (local.get $errno) (then (unreachable))))
  (func (export "_start")
    ;; With the rights to read and to seek.
    (call $must (call $path_open
      (i32.const 3) (i32.const 0) (i32.const 40) (i32.const 4) (i32.const 0) (i64.const 6) (i64.const 0) (i32.const 0) (i32.const 0)))
    (loop $pass
      (loop $piece
        (call $must (call $fd_read (i32.load (i32.const 0)) (i32.const 16) (i32.const 1) (i32.const 8)))
        (br_if $piece (i32.load (i32.const 8))))
      (call $must (call $fd_seek (i32.load (i32.const 0)) (i64.const 0) (i32.const 0) (i32.const 64)))
      (call $must (call $fd_write (i32.const 1) (i32.const 24) (i32.const 1) (i32.const 8)))
      (br $pass))))
