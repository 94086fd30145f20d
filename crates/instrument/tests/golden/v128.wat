;; Renewed by: BLESS=1 cargo test -p peripatos-instrument --test golden
;; Vectors take 16 bytes of a frame.
;; sites: 1
(module
  (import "env" "f" (func $f))
  (func (export "run") (param v128) (result v128) (call $f) (local.get 0)))

;; ---------------------------------------------------------------- result

;; 1 functions, 1 of them instrumented; 3 sites; polls: 1 calls, 0 loops, 0 entries
(module
  (type (;0;) (func))
  (type (;1;) (func (param v128) (result v128)))
  (type (;2;) (func (result v128)))
  (type (;3;) (func))
  (type (;4;) (func (param i64) (result i32)))
  (import "env" "f" (func (;0;) (type 0)))
  (import "peripatos" "poll" (func (;1;) (type 3)))
  (table (;0;) 3 3 funcref)
  (table (;1;) 0 0 funcref)
  (memory (;0;) 2 16384)
  (memory (;1;) i64 1 262144)
  (export "run" (func 2))
  (export "peripatos.save" (memory 0))
  (export "peripatos.flags" (memory 1))
  (export "peripatos.slots" (table 0))
  (export "peripatos.funcs" (table 1))
  (export "peripatos.func.0" (func 0))
  (export "peripatos.slow" (func 3))
  (func (;2;) (type 1) (param v128) (result v128)
    (local i32)
    block (result i64) ;; label = @1
      call 0
      i64.const 0
      i32.load16_u 1 align=1
      (@metadata.code.branch_hint "\00")
      if ;; label = @2
        i32.const 0
        i32.load offset=4 align=1
        local.set 1
        local.get 1
        local.get 0
        v128.store align=1
        i64.const 103079215105
        br 1 (;@1;)
      end
      local.get 0
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
    v128.const i32x4 0x00000000 0x00000000 0x00000000 0x00000000
  )
  (func (;3;) (type 4) (param i64) (result i32)
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
    i64.const 24
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
      call 1
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

;; continuation of [SiteId(1)], frames of [24] bytes
(module
  (type (;0;) (func))
  (type (;1;) (func (param v128) (result v128)))
  (type (;2;) (func))
  (type (;3;) (func (param i64) (result i32)))
  (type (;4;) (func (result v128)))
  (import "peripatos" "peripatos.save" (memory (;0;) 1 16384))
  (import "peripatos" "peripatos.slots" (table (;0;) 3 3 funcref))
  (import "peripatos" "peripatos.flags" (memory (;1;) i64 1 262144))
  (import "peripatos" "peripatos.slow" (func (;0;) (type 3) (param i64) (result i32)))
  (elem (;0;) (table 0) (i32.const 1) func 1)
  (func (;1;) (type 4) (result v128)
    (local v128 i32)
    block (result i64) ;; label = @1
      i32.const 0
      i32.const 0
      i32.load offset=4 align=1
      i32.const 24
      i32.sub
      local.tee 1
      i32.store offset=4 align=1
      local.get 1
      v128.load align=1
      local.set 0
      i32.const 0
      i32.load offset=4 align=1
      i32.const 8
      i32.sub
      i32.load align=1
      call_indirect (type 2)
      i64.const 0
      i32.load16_u 1 align=1
      (@metadata.code.branch_hint "\00")
      if ;; label = @2
        i32.const 0
        i32.load offset=4 align=1
        local.set 1
        local.get 1
        local.get 0
        v128.store align=1
        i64.const 103079215105
        br 1 (;@1;)
      end
      local.get 0
      return
    end
    call 0
    local.tee 1
    i32.const 0
    i32.ge_s
    if ;; label = @1
      local.get 1
      return_call_indirect (type 4)
    end
    v128.const i32x4 0x00000000 0x00000000 0x00000000 0x00000000
  )
)
