;; Renewed by: BLESS=1 cargo test -p peripatos-instrument --test golden
;; Continuations reach the hot module's segments through helpers; what was dropped is remembered.
;; sites: 2
(module
  (import "env" "f" (func $f))
  (memory 1)
  (table 1 funcref)
  (data $d "abc")
  (elem $e func $f)
  (func (export "run")
    (call $f)
    (memory.init $d (i32.const 0) (i32.const 0) (i32.const 3))
    (table.init $e (i32.const 0) (i32.const 0) (i32.const 1))
    (data.drop $d)
    (elem.drop $e)))

;; ---------------------------------------------------------------- result

;; 1 functions, 1 of them instrumented; 3 sites; polls: 1 calls, 0 loops, 0 entries
(module
  (type (;0;) (func))
  (type (;1;) (func))
  (type (;2;) (func (param i64) (result i32)))
  (type (;3;) (func (param i32 i32 i32)))
  (import "env" "f" (func (;0;) (type 0)))
  (import "peripatos" "poll" (func (;1;) (type 1)))
  (table (;0;) 1 funcref)
  (table (;1;) 3 3 funcref)
  (table (;2;) 1 1 funcref)
  (memory (;0;) 1)
  (memory (;1;) 2 16384)
  (memory (;2;) i64 1 262144)
  (export "run" (func 2))
  (export "peripatos.save" (memory 1))
  (export "peripatos.flags" (memory 2))
  (export "peripatos.slots" (table 1))
  (export "peripatos.funcs" (table 2))
  (export "peripatos.memory.0" (memory 0))
  (export "peripatos.table.0" (table 0))
  (export "peripatos.func.0" (func 0))
  (export "peripatos.slow" (func 3))
  (export "peripatos.memory_init.0.0" (func 4))
  (export "peripatos.table_init.0.0" (func 5))
  (export "peripatos.drop_data.0" (func 6))
  (export "peripatos.drop_element.0" (func 7))
  (export "peripatos.redrop" (func 8))
  (elem (;0;) func 0)
  (elem (;1;) (table 2) (i32.const 0) func 0)
  (func (;2;) (type 0)
    (local i32)
    block (result i64) ;; label = @1
      call 0
      i64.const 0
      i32.load16_u 2 align=1
      (@metadata.code.branch_hint "\00")
      if ;; label = @2
        i32.const 0
        i32.load 1 offset=4 align=1
        local.set 0
        i64.const 34359738369
        br 1 (;@1;)
      end
      i32.const 0
      i32.const 0
      i32.const 3
      memory.init 0
      i32.const 0
      i32.const 0
      i32.const 1
      table.init 0
      call 6
      call 7
      return
    end
    call 3
    local.tee 0
    i32.const 0
    i32.ge_s
    if ;; label = @1
      local.get 0
      return_call_indirect 1 (type 1)
    end
  )
  (func (;3;) (type 2) (param i64) (result i32)
    (local i32 i32)
    local.get 0
    i32.wrap_i64
    i64.const 0
    i32.load8_u 2 offset=1
    i32.eqz
    i32.add
    local.set 2
    i32.const 0
    i32.load 1 offset=4 align=1
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
    i32.store 1 align=1
    local.get 1
    i32.const 4
    i32.sub
    local.get 0
    i64.const 32
    i64.shr_u
    i32.wrap_i64
    i32.store 1 align=1
    i32.const 0
    local.get 1
    i32.store 1 offset=4 align=1
    local.get 1
    i64.extend_i32_u
    i64.const 8
    i64.add
    memory.size 1
    i64.extend_i32_u
    i64.const 16
    i64.shl
    i64.gt_u
    if ;; label = @1
      i32.const 2
      memory.grow 1
      i32.const -1
      i32.eq
      if ;; label = @2
        unreachable
      end
    end
    i64.const 0
    i32.load8_u 2 offset=1
    if ;; label = @1
      i32.const -1
      return
    end
    i64.const 0
    i32.load8_u 2
    i64.const 0
    i32.load8_u 2 offset=255
    i32.or
    local.get 2
    table.get 1
    ref.is_null
    i32.or
    if ;; label = @1
      call 1
      i64.const 0
      i32.load8_u 2 offset=1
      if ;; label = @2
        i32.const -1
        return
      end
    end
    local.get 2
  )
  (func (;4;) (type 3) (param i32 i32 i32)
    local.get 0
    local.get 1
    local.get 2
    memory.init 0
  )
  (func (;5;) (type 3) (param i32 i32 i32)
    local.get 0
    local.get 1
    local.get 2
    table.init 0
  )
  (func (;6;) (type 1)
    data.drop 0
    i32.const 0
    i32.const 1
    i32.store8 1 offset=8
  )
  (func (;7;) (type 1)
    elem.drop 0
    i32.const 0
    i32.const 1
    i32.store8 1 offset=9
  )
  (func (;8;) (type 1)
    i32.const 0
    i32.load8_u 1 offset=8
    if ;; label = @1
      data.drop 0
    end
    i32.const 0
    i32.load8_u 1 offset=9
    if ;; label = @1
      elem.drop 0
    end
  )
  (data (;0;) "abc")
  (data (;1;) (memory 1) (i32.const 4) "\10\00\00\00")
)

;; continuation of [SiteId(2)], frames of [8] bytes
(module
  (type (;0;) (func))
  (type (;1;) (func (param i32 i32 i32)))
  (type (;2;) (func))
  (type (;3;) (func (param i64) (result i32)))
  (import "peripatos" "peripatos.save" (memory (;0;) 1 16384))
  (import "peripatos" "peripatos.memory_init.0.0" (func (;0;) (type 1) (param i32 i32 i32)))
  (import "peripatos" "peripatos.table_init.0.0" (func (;1;) (type 1) (param i32 i32 i32)))
  (import "peripatos" "peripatos.drop_data.0" (func (;2;) (type 2)))
  (import "peripatos" "peripatos.drop_element.0" (func (;3;) (type 2)))
  (import "peripatos" "peripatos.slow" (func (;4;) (type 3) (param i64) (result i32)))
  (import "peripatos" "peripatos.slots" (table (;0;) 3 3 funcref))
  (elem (;0;) (table 0) (i32.const 2) func 5)
  (func (;5;) (type 2)
    (local i32)
    block (result i64) ;; label = @1
      i32.const 0
      i32.const 0
      i32.load offset=4 align=1
      i32.const 8
      i32.sub
      local.tee 0
      i32.store offset=4 align=1
      i32.const 0
      i32.const 0
      i32.const 3
      call 0
      i32.const 0
      i32.const 0
      i32.const 1
      call 1
      call 2
      call 3
      return
    end
    call 4
    local.tee 0
    i32.const 0
    i32.ge_s
    if ;; label = @1
      local.get 0
      return_call_indirect (type 2)
    end
  )
)
