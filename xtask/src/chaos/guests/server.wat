;; The request server. A request is 8 bytes: its number, counted from 1 by each client. The server remembers of each client which
;; numbers it has seen; the reply is the number, how many requests of this client it has seen, and how many of those it had seen
;; before, 8 bytes each. Runs until it is ended.
(module
  (import "peripatos_v1" "register" (func $register (param i32 i32) (result i32)))
  (import "peripatos_v1" "receive" (func $receive (param i32 i32 i32 i32 i64) (result i32)))
  (import "peripatos_v1" "reply" (func $reply (param i32 i32 i32) (result i32)))
  (import "peripatos_v1" "wait" (func $wait (result i32)))
  ;; 0: reply; 64: envelope, which begins with the sender's pid; 128: request; 192: name; 4096: 32 clients, each its pid, what was
  ;; seen, what was seen before; 65536: for each client 262,144 bits, one a number.
  (memory (export "memory") 17)
  (data (i32.const 192) "chaos/server")
  (global $next (mut i32) (i32.const 0))

  (func $receive_for (param $timeout_ns i64) (result i32) (local $len i32)
    (local.set $len
      (call $receive (i32.const 0) (i32.const 128) (i32.const 8) (i32.const 64) (local.get $timeout_ns)))
    (if (i32.eq (local.get $len) (i32.const -1)) (then (local.set $len (call $wait))))
    (local.get $len))

  ;; Whoever had the name may have been lost a moment ago.
  (func $take_name
    (loop $again
      (if (call $register (i32.const 192) (i32.const 12))
        (then
          (drop (call $receive_for (i64.const 100000000)))
          (br $again)))))

  (func $is_client (param $entry i32) (result i32)
    (i32.and
      (i64.eq (i64.load (local.get $entry)) (i64.load (i32.const 64)))
      (i64.eq (i64.load offset=8 (local.get $entry)) (i64.load (i32.const 72)))))

  ;; Which client the envelope's sender is; a new one takes the place of the oldest.
  (func $client (result i32) (local $index i32) (local $entry i32)
    (loop $each
      (local.set $entry (i32.add (i32.const 4096) (i32.shl (local.get $index) (i32.const 5))))
      (if (call $is_client (local.get $entry)) (then (return (local.get $index))))
      (br_if $each
        (i32.lt_u (local.tee $index (i32.add (local.get $index) (i32.const 1))) (i32.const 32))))
    (local.set $index (global.get $next))
    (global.set $next (i32.and (i32.add (global.get $next) (i32.const 1)) (i32.const 31)))
    (local.set $entry (i32.add (i32.const 4096) (i32.shl (local.get $index) (i32.const 5))))
    (memory.copy (local.get $entry) (i32.const 64) (i32.const 16))
    (memory.fill (i32.add (local.get $entry) (i32.const 16)) (i32.const 0) (i32.const 16))
    (memory.fill
      (i32.add (i32.const 65536) (i32.shl (local.get $index) (i32.const 15)))
      (i32.const 0) (i32.const 32768))
    (local.get $index))

  (func $count (param $number i32) (local $index i32) (local $entry i32) (local $byte i32) (local $bit i32)
    (if (i32.ge_u (local.get $number) (i32.const 262144)) (then unreachable))
    (local.set $index (call $client))
    (local.set $entry (i32.add (i32.const 4096) (i32.shl (local.get $index) (i32.const 5))))
    (local.set $byte
      (i32.add
        (i32.add (i32.const 65536) (i32.shl (local.get $index) (i32.const 15)))
        (i32.shr_u (local.get $number) (i32.const 3))))
    (local.set $bit (i32.shl (i32.const 1) (i32.and (local.get $number) (i32.const 7))))
    (i64.store offset=16 (local.get $entry)
      (i64.add (i64.load offset=16 (local.get $entry)) (i64.const 1)))
    (if (i32.and (i32.load8_u (local.get $byte)) (local.get $bit))
      (then
        (i64.store offset=24 (local.get $entry)
          (i64.add (i64.load offset=24 (local.get $entry)) (i64.const 1)))))
    (i32.store8 (local.get $byte) (i32.or (i32.load8_u (local.get $byte)) (local.get $bit)))
    (i64.store (i32.const 0) (i64.extend_i32_u (local.get $number)))
    (memory.copy (i32.const 8) (i32.add (local.get $entry) (i32.const 16)) (i32.const 16)))

  (func (export "_start")
    (call $take_name)
    (loop $next_request
      (if (i32.ne (call $receive_for (i64.const -1)) (i32.const 8)) (then unreachable))
      (call $count (i32.load (i32.const 128)))
      (drop (call $reply (i32.const 64) (i32.const 0) (i32.const 24)))
      (br $next_request))))
