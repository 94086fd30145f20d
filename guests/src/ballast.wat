;; Fills so many MiB with numbers that do not compress, and then counts: for ever, or for so many turns. Then it prints
;; a hash of its memory and of the count. For measuring what carrying memory takes.
;;
;; With HOT each turn, of some milliseconds, also writes to words here and there in the first HOT MiB, computes WORK steps
;; between two of them, and prints a dot. For measuring what carrying memory takes that is written meanwhile.
;;
;; usage: ballast MIB [TURNS [HOT WORK]]
(module
  (import "wasi_snapshot_preview1" "args_sizes_get" (func $args_sizes_get (param i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "args_get" (func $args_get (param i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_write" (func $fd_write (param i32 i32 i32 i32) (result i32)))
  ;; One page for itself: the output in the first 80 bytes, the count, the arguments; the ballast lies behind it.
  (memory (export "memory") 1)
  (global $count (mut i64) (i64.const 0))

  ;; Prints a word in hexadecimal and a newline; owns the first 80 bytes.
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

  ;; The number that an argument says; 0 where there is none. Pointers to arguments begin at 112.
  (func $argument (param $index i32) (result i64) (local $at i32) (local $digit i32) (local $value i64)
    (if (i32.lt_u (local.get $index) (i32.load (i32.const 96)))
      (then
        (local.set $at (i32.load offset=112 (i32.shl (local.get $index) (i32.const 2))))
        (block $end
          (loop $digits
            (local.set $digit (i32.sub (i32.load8_u (local.get $at)) (i32.const 48)))
            (br_if $end (i32.gt_u (local.get $digit) (i32.const 9)))
            (local.set $value
              (i64.add (i64.mul (local.get $value) (i64.const 10)) (i64.extend_i32_u (local.get $digit))))
            (local.set $at (i32.add (local.get $at) (i32.const 1)))
            (br $digits)))))
    (local.get $value))

  ;; splitmix64
  (func $fill (param $end i32) (local $at i32) (local $state i64) (local $z i64)
    (local.set $at (i32.const 65536))
    (block $done
      (loop $words
        (br_if $done (i32.ge_u (local.get $at) (local.get $end)))
        (local.set $state (i64.add (local.get $state) (i64.const 0x9e3779b97f4a7c15)))
        (local.set $z (i64.mul (i64.const 0xbf58476d1ce4e5b9)
          (i64.xor (local.get $state) (i64.shr_u (local.get $state) (i64.const 30)))))
        (local.set $z (i64.mul (i64.const 0x94d049bb133111eb)
          (i64.xor (local.get $z) (i64.shr_u (local.get $z) (i64.const 27)))))
        (i64.store (local.get $at)
          (i64.xor (local.get $z) (i64.shr_u (local.get $z) (i64.const 31))))
        (local.set $at (i32.add (local.get $at) (i32.const 8)))
        (br $words))))

  (func $hash (param $end i32) (result i64) (local $at i32) (local $hash i64)
    (local.set $at (i32.const 65536))
    (block $done
      (loop $words
        (br_if $done (i32.ge_u (local.get $at) (local.get $end)))
        (local.set $hash
          (i64.add (i64.mul (local.get $hash) (i64.const 31)) (i64.load (local.get $at))))
        (local.set $at (i32.add (local.get $at) (i32.const 8)))
        (br $words)))
    (local.get $hash))

  ;; A turn takes 4,000,000 steps, whatever lies between two writes.
  (data (i32.const 48) "\38\00\00\00\01\00\00\00.")
  (func $write (param $hot i32) (param $work i32) (local $left i32) (local $state i64) (local $i i32)
    (local.set $state (global.get $count))
    (local.set $left (i32.const 4000000))
    (loop $again
      (local.set $i (local.get $work))
      (loop $step
        (local.set $state
          (i64.add (i64.mul (local.get $state) (i64.const 6364136223846793005)) (i64.const 1442695040888963407)))
        (local.set $i (i32.sub (local.get $i) (i32.const 1)))
        (br_if $step (i32.gt_s (local.get $i) (i32.const 0))))
      (i64.store offset=65536
        (i32.rem_u
          (i32.and (i32.wrap_i64 (i64.shr_u (local.get $state) (i64.const 32))) (i32.const 0xfffffff8))
          (i32.shl (local.get $hot) (i32.const 20)))
        (local.get $state))
      (local.set $left (i32.sub (local.get $left) (i32.add (local.get $work) (i32.const 1))))
      (br_if $again (i32.gt_s (local.get $left) (i32.const 0))))
    (drop (call $fd_write (i32.const 1) (i32.const 48) (i32.const 1) (i32.const 8))))

  (func $count_to (param $turns i64) (param $hot i32) (param $work i32)
    (loop $turn
      (global.set $count (i64.add (global.get $count) (i64.const 1)))
      (i64.store (i32.const 80) (global.get $count))
      (if (local.get $hot) (then (call $write (local.get $hot) (local.get $work))))
      (br_if $turn (i64.ne (global.get $count) (local.get $turns)))))

  (func (export "_start") (local $pages i32) (local $end i32) (local $hash i64)
    (drop (call $args_sizes_get (i32.const 96) (i32.const 100)))
    ;; More arguments than fit are not for this program.
    (if (i32.or (i32.gt_u (i32.load (i32.const 96)) (i32.const 100))
          (i32.gt_u (i32.load (i32.const 100)) (i32.const 60000)))
      (then unreachable))
    (drop (call $args_get (i32.const 112) (i32.const 1024)))
    (local.set $pages (i32.shl (i32.wrap_i64 (call $argument (i32.const 1))) (i32.const 4)))
    (if (i32.eq (memory.grow (local.get $pages)) (i32.const -1)) (then unreachable))
    (local.set $end (i32.shl (i32.add (local.get $pages) (i32.const 1)) (i32.const 16)))
    (call $fill (local.get $end))
    (call $count_to (call $argument (i32.const 2))
      (i32.wrap_i64 (call $argument (i32.const 3))) (i32.wrap_i64 (call $argument (i32.const 4))))
    (local.set $hash (i64.add (call $hash (local.get $end)) (global.get $count)))
    (call $print (i32.wrap_i64
      (i64.xor (local.get $hash) (i64.shr_u (local.get $hash) (i64.const 32)))))))
