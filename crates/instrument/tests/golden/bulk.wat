;; Renewed by: BLESS=1 cargo test -p peripatos-instrument --test golden
;; A fill of unknown size works in chunks, in a function of its own; one of a small constant size stays.
(module
  (memory 1)
  (func (export "run") (param i32)
    (memory.fill (i32.const 0) (i32.const 1) (i32.const 64))
    (memory.fill (i32.const 0) (i32.const 1) (local.get 0))))

;; ---------------------------------------------------------------- result

;; 2 functions, 2 of them instrumented; 3 sites; polls: 1 calls, 1 loops, 0 entries
(module
  (type (;0;) (func (param i32)))
  (type (;1;) (func (param i32 i32 i32)))
  (type (;2;) (func))
  (type (;3;) (func (param i64) (result i32)))
  (import "peripatos" "poll" (func (;0;) (type 2)))
  (table (;0;) 3 3 funcref)
  (table (;1;) 0 0 funcref)
  (memory (;0;) 1)
  (memory (;1;) 2 16384)
  (memory (;2;) i64 1 262144)
  (export "run" (func 1))
  (export "peripatos.save" (memory 1))
  (export "peripatos.flags" (memory 2))
  (export "peripatos.slots" (table 0))
  (export "peripatos.funcs" (table 1))
  (export "peripatos.memory.0" (memory 0))
  (export "peripatos.func.1" (func 2))
  (export "peripatos.slow" (func 3))
  (func (;1;) (type 0) (param i32)
    (local i32)
    block (result i64) ;; label = @1
      i32.const 0
      i32.const 1
      i32.const 64
      memory.fill
      i32.const 0
      i32.const 1
      local.get 0
      call 2
      i64.const 0
      i32.load16_u 2 align=1
      (@metadata.code.branch_hint "\00")
      if ;; label = @2
        i32.const 0
        i32.load 1 offset=4 align=1
        local.set 1
        i64.const 34359738368
        br 1 (;@1;)
      end
      return
    end
    call 3
    local.tee 1
    i32.const 0
    i32.ge_s
    if ;; label = @1
      local.get 1
      return_call_indirect (type 2)
    end
  )
  (func (;2;) (type 1) (param i32 i32 i32)
    (local i64 i64 i64 i32 i32)
    block (result i64) ;; label = @1
      local.get 0
      i64.extend_i32_u
      local.set 3
      local.get 1
      i64.extend_i32_u
      local.set 4
      local.get 2
      i64.extend_i32_u
      local.set 5
      local.get 5
      i64.const 262144
      i64.gt_u
      local.get 5
      memory.size
      i64.extend_i32_u
      i64.const 16
      i64.shl
      i64.le_u
      local.get 3
      memory.size
      i64.extend_i32_u
      i64.const 16
      i64.shl
      local.get 5
      i64.sub
      i64.le_u
      i32.and
      i32.and
      local.set 6
      local.get 6
      if ;; label = @2
        loop ;; label = @3
          i64.const 0
          i32.load8_u 2 offset=2
          (@metadata.code.branch_hint "\00")
          if ;; label = @4
            i32.const 0
            i32.load 1 offset=4 align=1
            local.set 7
            local.get 7
            local.get 3
            i64.store 1 align=1
            local.get 7
            local.get 4
            i64.store 1 offset=8 align=1
            local.get 7
            local.get 5
            i64.store 1 offset=16 align=1
            i64.const 137438953473
            br 3 (;@1;)
          end
          local.get 3
          i32.wrap_i64
          local.get 4
          i32.wrap_i64
          i64.const 262144
          i32.wrap_i64
          memory.fill
          local.get 3
          i64.const 262144
          i64.add
          local.set 3
          local.get 5
          i64.const 262144
          i64.sub
          local.set 5
          local.get 5
          i64.const 262144
          i64.gt_u
          br_if 0 (;@3;)
        end
      end
      local.get 3
      i32.wrap_i64
      local.get 4
      i32.wrap_i64
      local.get 5
      i32.wrap_i64
      memory.fill
      return
    end
    call 3
    local.tee 7
    i32.const 0
    i32.ge_s
    if ;; label = @1
      local.get 7
      return_call_indirect (type 2)
    end
  )
  (func (;3;) (type 3) (param i64) (result i32)
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
    i64.const 32
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
    table.get 0
    ref.is_null
    i32.or
    if ;; label = @1
      call 0
      i64.const 0
      i32.load8_u 2 offset=1
      if ;; label = @2
        i32.const -1
        return
      end
    end
    local.get 2
  )
  (data (;0;) (memory 1) (i32.const 4) "\08\00\00\00")
)
