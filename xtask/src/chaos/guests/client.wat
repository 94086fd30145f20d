;; Sends numbered requests to the server, one after the other, and checks each reply against what it knows itself: how many
;; requests the server must have seen of it (those that were answered) and may have seen (those of which it was told that the
;; outcome is not known). Each number is sent once. In the end it prints what it has counted, on one line.
;;
;; usage: client SECONDS INTERVAL_MS
(module
  (import "wasi_snapshot_preview1" "args_sizes_get" (func $args_sizes_get (param i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "args_get" (func $args_get (param i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "clock_time_get" (func $clock_time_get (param i32 i64 i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_write" (func $fd_write (param i32 i32 i32 i32) (result i32)))
  (import "peripatos_v1" "lookup" (func $lookup (param i32 i32 i32) (result i32)))
  (import "peripatos_v1" "send" (func $send (param i32 i32 i32 i32 i32) (result i32)))
  (import "peripatos_v1" "receive" (func $receive (param i32 i32 i32 i32 i64) (result i32)))
  (import "peripatos_v1" "wait" (func $wait (result i32)))
  ;; 0: counts of arguments; 64: pointers to arguments; 256: arguments; 512: server's pid; 544: clock; 560: what is written;
  ;; 576: envelope; 640: request; 672: reply; 704: the first that was wrong; 1024: words; 2048: the line; 4096: for each server that it has met, 32 bytes: the pid,
  ;; requests that were answered, and those whose outcome is not known. There are several after each other, and for a while at the
  ;; same time, when one is lost and another one takes its place.
  (memory (export "memory") 1)
  (data (i32.const 1024) "chaos/server")
  (data (i32.const 1040) "answered ")
  (data (i32.const 1056) "unreachable ")
  (data (i32.const 1072) "ended ")
  (data (i32.const 1088) "absent ")
  (data (i32.const 1104) "doubled ")
  (data (i32.const 1120) "missed ")
  (data (i32.const 1136) "wrong ")
  (data (i32.const 1152) "first ")
  (data (i32.const 1168) "seen ")
  (data (i32.const 1184) "before ")
  (data (i32.const 1200) "of ")
  (data (i32.const 1216) "open ")
  (global $number (mut i64) (i64.const 0))
  ;; How requests have ended: with a reply; unreachable; its receiver had ended; and how often there was no server.
  (global $answered (mut i64) (i64.const 0))
  (global $unreachable (mut i64) (i64.const 0))
  (global $ended (mut i64) (i64.const 0))
  (global $absent (mut i64) (i64.const 0))
  ;; What must not be: replies after which the server has seen more than was sent, or less than was answered; other replies and errors.
  (global $doubled (mut i64) (i64.const 0))
  (global $missed (mut i64) (i64.const 0))
  (global $wrong (mut i64) (i64.const 0))
  ;; Where what is known of this server lies.
  (global $server (mut i32) (i32.const 4096))
  (global $end (mut i32) (i32.const 2048))

  (func $number_of (param $index i32) (result i64) (local $at i32) (local $digit i32) (local $value i64)
    (local.set $at (i32.load offset=64 (i32.shl (local.get $index) (i32.const 2))))
    (block $end
      (loop $digits
        (local.set $digit (i32.sub (i32.load8_u (local.get $at)) (i32.const 48)))
        (br_if $end (i32.gt_u (local.get $digit) (i32.const 9)))
        (local.set $value
          (i64.add (i64.mul (local.get $value) (i64.const 10)) (i64.extend_i32_u (local.get $digit))))
        (local.set $at (i32.add (local.get $at) (i32.const 1)))
        (br $digits)))
    (local.get $value))

  (func $now_ns (result i64)
    (drop (call $clock_time_get (i32.const 1) (i64.const 0) (i32.const 544)))
    (i64.load (i32.const 544)))

  ;; Nobody sends it anything.
  (func $pause (param $ns i64)
    (if (i32.eq
          (call $receive (i32.const 0) (i32.const 640) (i32.const 8) (i32.const 576) (local.get $ns))
          (i32.const -1))
      (then (drop (call $wait)))))

  (func $is_server (result i32)
    (i32.and
      (i64.eq (i64.load (i32.const 512)) (i64.load (global.get $server)))
      (i64.eq (i64.load (i32.const 520)) (i64.load offset=8 (global.get $server)))))

  ;; One that it meets for the first time is written behind the others; the memory ends behind 1,920 of them.
  (func $find_server
    (global.set $server (i32.const 4096))
    (loop $next
      (if (call $is_server) (then (return)))
      (if (i64.ne (i64.load (global.get $server)) (i64.const 0))
        (then
          (global.set $server (i32.add (global.get $server) (i32.const 32)))
          (br $next))))
    (memory.copy (global.get $server) (i32.const 512) (i32.const 16)))

  (func $add_one (param $at i32)
    (i64.store (local.get $at) (i64.add (i64.load (local.get $at)) (i64.const 1))))

  (func $answered_here (result i64)
    (i64.load offset=16 (global.get $server)))

  (func $unknown_here (result i64)
    (i64.load offset=24 (global.get $server)))

  (func $count_unknown
    (call $add_one (i32.add (global.get $server) (i32.const 24))))

  ;; For the first that is not as it should be: the request, what the server has seen and seen before, what was answered and is not
  ;; known.
  (func $remember
    (if (i64.ne (i64.load (i32.const 704)) (i64.const 0)) (then (return)))
    (i64.store (i32.const 704) (global.get $number))
    (memory.copy (i32.const 712) (i32.const 680) (i32.const 16))
    (memory.copy (i32.const 728) (i32.add (global.get $server) (i32.const 16)) (i32.const 16)))

  (func $check_reply (local $seen i64)
    (global.set $answered (i64.add (global.get $answered) (i64.const 1)))
    (call $add_one (i32.add (global.get $server) (i32.const 16)))
    (if (i64.ne (i64.load (i32.const 672)) (global.get $number))
      (then (global.set $wrong (i64.add (global.get $wrong) (i64.const 1)))))
    (local.set $seen (i64.load (i32.const 680)))
    (if (i32.or
          (i64.ne (i64.load (i32.const 688)) (i64.const 0))
          (i64.gt_u (local.get $seen) (i64.add (call $answered_here) (call $unknown_here))))
      (then
        (call $remember)
        (global.set $doubled (i64.add (global.get $doubled) (i64.const 1)))))
    (if (i64.lt_u (local.get $seen) (call $answered_here))
      (then
        (call $remember)
        (global.set $missed (i64.add (global.get $missed) (i64.const 1))))))

  (func $ask (local $result i32)
    (if (call $lookup (i32.const 1024) (i32.const 12) (i32.const 512))
      (then
        (global.set $absent (i64.add (global.get $absent) (i64.const 1)))
        (return)))
    (call $find_server)
    (global.set $number (i64.add (global.get $number) (i64.const 1)))
    (i64.store (i32.const 640) (global.get $number))
    (local.set $result
      (call $send (i32.const 512) (i32.const 640) (i32.const 8) (i32.const 672) (i32.const 24)))
    (if (i32.eq (local.get $result) (i32.const -1)) (then (local.set $result (call $wait))))
    (if (i32.eq (local.get $result) (i32.const 24)) (then (call $check_reply) (return)))
    (if (i32.eq (local.get $result) (i32.const -3))
      (then
        (global.set $unreachable (i64.add (global.get $unreachable) (i64.const 1)))
        (call $count_unknown)
        (return)))
    (if (i32.eq (local.get $result) (i32.const -2))
      (then
        (global.set $ended (i64.add (global.get $ended) (i64.const 1)))
        (call $count_unknown)
        (return)))
    (global.set $wrong (i64.add (global.get $wrong) (i64.const 1))))

  (func $put (param $byte i32)
    (i32.store8 (global.get $end) (local.get $byte))
    (global.set $end (i32.add (global.get $end) (i32.const 1))))

  (func $put_number (param $value i64)
    (if (i64.ge_u (local.get $value) (i64.const 10))
      (then (call $put_number (i64.div_u (local.get $value) (i64.const 10)))))
    (call $put (i32.add (i32.wrap_i64 (i64.rem_u (local.get $value) (i64.const 10))) (i32.const 48))))

  (func $put_count (param $word i32) (param $len i32) (param $value i64)
    (memory.copy (global.get $end) (local.get $word) (local.get $len))
    (global.set $end (i32.add (global.get $end) (local.get $len)))
    (call $put_number (local.get $value))
    (call $put (i32.const 32)))

  ;; While its origin's node is silent writing fails: it is tried again, and so the line may come twice.
  (func $print
    (call $put_count (i32.const 1040) (i32.const 9) (global.get $answered))
    (call $put_count (i32.const 1056) (i32.const 12) (global.get $unreachable))
    (call $put_count (i32.const 1072) (i32.const 6) (global.get $ended))
    (call $put_count (i32.const 1088) (i32.const 7) (global.get $absent))
    (call $put_count (i32.const 1104) (i32.const 8) (global.get $doubled))
    (call $put_count (i32.const 1120) (i32.const 7) (global.get $missed))
    (call $put_count (i32.const 1136) (i32.const 6) (global.get $wrong))
    (call $put_count (i32.const 1152) (i32.const 6) (i64.load (i32.const 704)))
    (call $put_count (i32.const 1168) (i32.const 5) (i64.load (i32.const 712)))
    (call $put_count (i32.const 1184) (i32.const 7) (i64.load (i32.const 720)))
    (call $put_count (i32.const 1200) (i32.const 3) (i64.load (i32.const 728)))
    (call $put_count (i32.const 1216) (i32.const 5) (i64.load (i32.const 736)))
    (call $put (i32.const 10))
    (i32.store (i32.const 560) (i32.const 2048))
    (i32.store (i32.const 564) (i32.sub (global.get $end) (i32.const 2048)))
    (loop $again
      (if (call $fd_write (i32.const 1) (i32.const 560) (i32.const 1) (i32.const 568))
        (then
          (call $pause (i64.const 200000000))
          (br $again)))))

  (func (export "_start") (local $until i64) (local $interval_ns i64)
    (drop (call $args_sizes_get (i32.const 0) (i32.const 4)))
    (if (i32.ne (i32.load (i32.const 0)) (i32.const 3)) (then unreachable))
    (drop (call $args_get (i32.const 64) (i32.const 256)))
    (local.set $until
      (i64.add (call $now_ns) (i64.mul (call $number_of (i32.const 1)) (i64.const 1000000000))))
    (local.set $interval_ns (i64.mul (call $number_of (i32.const 2)) (i64.const 1000000)))
    (loop $next
      (call $ask)
      (call $pause (local.get $interval_ns))
      (br_if $next (i64.lt_s (call $now_ns) (local.get $until))))
    (call $print)))
