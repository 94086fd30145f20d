;; Renewed by: BLESS=1 cargo test -p peripatos-instrument --test golden
;; A loop without calls looks at a preempt byte of its own. Its continuation is the loop, entered at the header.
;; sites: 0
(module
  (func (export "run") (param i32) (result i32) (local i32)
    (loop $again
      (local.set 1 (i32.add (local.get 1) (local.get 0)))
      (br_if $again (local.tee 0 (i32.sub (local.get 0) (i32.const 1)))))
    (local.get 1)))

;; ---------------------------------------------------------------- result

;; 1 functions, 1 of them instrumented; 1 sites; polls: 0 calls, 1 loops, 0 entries
(module
  (type (;0;) (func (param i32) (result i32)))
  (type (;1;) (func (result i32)))
  (type (;2;) (func))
  (type (;3;) (func (param i64) (result i32)))
  (import "peripatos" "poll" (func (;0;) (type 2)))
  (table (;0;) 1 1 funcref)
  (table (;1;) 0 0 funcref)
  (memory (;0;) 2 16384)
  (memory (;1;) i64 1 262144)
  (export "run" (func 1))
  (export "peripatos.save" (memory 0))
  (export "peripatos.flags" (memory 1))
  (export "peripatos.slots" (table 0))
  (export "peripatos.funcs" (table 1))
  (export "peripatos.slow" (func 2))
  (func (;1;) (type 0) (param i32) (result i32)
    (local i32 i32)
    block (result i64) ;; label = @1
      loop ;; label = @2
        i64.const 0
        i32.load8_u 1 offset=2
        (@metadata.code.branch_hint "\00")
        if ;; label = @3
          i32.const 0
          i32.load offset=4 align=1
          local.set 2
          local.get 2
          local.get 0
          i32.store align=1
          local.get 2
          local.get 1
          i32.store offset=4 align=1
          i64.const 73014444031
          br 2 (;@1;)
        end
        local.get 1
        local.get 0
        i32.add
        local.set 1
        local.get 0
        i32.const 1
        i32.sub
        local.tee 0
        br_if 0 (;@2;)
      end
      local.get 1
      return
    end
    call 2
    local.tee 2
    i32.const 0
    i32.ge_s
    if ;; label = @1
      local.get 2
      return_call_indirect (type 1)
    end
    i32.const 0
  )
  (func (;2;) (type 3) (param i64) (result i32)
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
    i64.const 16
    i64.add
    memory.size
    i64.extend_i32_u
    i64.const 16
    i64.shl
    i64.gt_u
    if ;; label = @1
      i32.const 2
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

;; continuation of [SiteId(0)], frames of [16] bytes
(module
  (type (;0;) (func (param i32) (result i32)))
  (type (;1;) (func (param i64) (result i32)))
  (type (;2;) (func (result i32)))
  (import "peripatos" "peripatos.save" (memory (;0;) 1 16384))
  (import "peripatos" "peripatos.flags" (memory (;1;) i64 1 262144))
  (import "peripatos" "peripatos.slow" (func (;0;) (type 1) (param i64) (result i32)))
  (import "peripatos" "peripatos.slots" (table (;0;) 1 1 funcref))
  (elem (;0;) (table 0) (i32.const 0) func 1)
  (func (;1;) (type 2) (result i32)
    (local i32 i32 i32)
    block (result i64) ;; label = @1
      i32.const 0
      i32.const 0
      i32.load offset=4 align=1
      i32.const 16
      i32.sub
      local.tee 2
      i32.store offset=4 align=1
      local.get 2
      i32.load align=1
      local.set 0
      local.get 2
      i32.load offset=4 align=1
      local.set 1
      loop ;; label = @2
        i64.const 0
        i32.load8_u 1 offset=2
        (@metadata.code.branch_hint "\00")
        if ;; label = @3
          i32.const 0
          i32.load offset=4 align=1
          local.set 2
          local.get 2
          local.get 0
          i32.store align=1
          local.get 2
          local.get 1
          i32.store offset=4 align=1
          i64.const 73014444031
          br 2 (;@1;)
        end
        local.get 1
        local.get 0
        i32.add
        local.set 1
        local.get 0
        i32.const 1
        i32.sub
        local.tee 0
        br_if 0 (;@2;)
      end
      local.get 1
      return
    end
    call 0
    local.tee 2
    i32.const 0
    i32.ge_s
    if ;; label = @1
      local.get 2
      return_call_indirect (type 2)
    end
    i32.const 0
  )
)
