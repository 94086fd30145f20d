;; Renewed by: BLESS=1 cargo test -p peripatos-instrument --test golden
;; Functions that cannot run for long, and calls of them, stay as they are.
(module
  (func $square (param i32) (result i32) (i32.mul (local.get 0) (local.get 0)))
  (func (export "run") (param i32) (result i32)
    (i32.add (call $square (local.get 0)) (call $square (i32.const 3)))))

;; ---------------------------------------------------------------- result

;; 2 functions, 0 of them instrumented; 0 sites; polls: 0 calls, 0 loops, 0 entries
(module
  (type (;0;) (func (param i32) (result i32)))
  (type (;1;) (func))
  (type (;2;) (func (param i64) (result i32)))
  (import "peripatos" "poll" (func (;0;) (type 1)))
  (table (;0;) 0 0 funcref)
  (table (;1;) 0 0 funcref)
  (memory (;0;) 2 16384)
  (memory (;1;) i64 1 262144)
  (export "run" (func 2))
  (export "peripatos.save" (memory 0))
  (export "peripatos.flags" (memory 1))
  (export "peripatos.slots" (table 0))
  (export "peripatos.funcs" (table 1))
  (export "peripatos.slow" (func 3))
  (func (;1;) (type 0) (param i32) (result i32)
    (local i32)
    local.get 0
    local.get 0
    i32.mul
  )
  (func (;2;) (type 0) (param i32) (result i32)
    (local i32)
    local.get 0
    call 1
    i32.const 3
    call 1
    i32.add
  )
  (func (;3;) (type 2) (param i64) (result i32)
    (local i32 i32)
    local.get 0
    i32.wrap_i64
    i64.const 0
    i32.load8_u 1 offset=1
    i32.eqz
    i32.add
    local.set 2
    i32.const 0
    i32.load offset=4 align=1
    local.get 0
    i64.const 32
    i64.shr_u
    i32.wrap_i64
    i32.add
    local.set 1
    local.get 1
    i32.const 8
    i32.sub
    local.get 2
    i32.store align=1
    local.get 1
    i32.const 4
    i32.sub
    local.get 0
    i64.const 32
    i64.shr_u
    i32.wrap_i64
    i32.store align=1
    i32.const 0
    local.get 1
    i32.store offset=4 align=1
    local.get 1
    i64.extend_i32_u
    i64.const 0
    i64.add
    memory.size
    i64.extend_i32_u
    i64.const 16
    i64.shl
    i64.gt_u
    if ;; label = @1
      i32.const 1
      memory.grow
      i32.const -1
      i32.eq
      if ;; label = @2
        unreachable
      end
    end
    i64.const 0
    i32.load8_u 1 offset=1
    if ;; label = @1
      i32.const -1
      return
    end
    i64.const 0
    i32.load8_u 1
    i64.const 0
    i32.load8_u 1 offset=255
    i32.or
    local.get 2
    table.get 0
    ref.is_null
    i32.or
    if ;; label = @1
      call 0
      i64.const 0
      i32.load8_u 1 offset=1
      if ;; label = @2
        i32.const -1
        return
      end
    end
    local.get 2
  )
  (data (;0;) (i32.const 4) "\08\00\00\00")
)
