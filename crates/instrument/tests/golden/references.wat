;; Renewed by: BLESS=1 cargo test -p peripatos-instrument --test golden
;; References are saved as handles that the host gives out; ref.func in a continuation reads a table.
;; sites: 1
(module
  (import "env" "f" (func $f))
  (elem declare func $g)
  (func $g)
  (func (export "run") (param funcref externref) (result externref funcref)
    (call $f) (drop (ref.func $g)) (local.get 1) (local.get 0)))

;; ---------------------------------------------------------------- result

;; 2 functions, 1 of them instrumented; 3 sites; polls: 1 calls, 0 loops, 0 entries
(module
  (type (;0;) (func))
  (type (;1;) (func (param funcref externref) (result externref funcref)))
  (type (;2;) (func (result externref funcref)))
  (type (;3;) (func))
  (type (;4;) (func (param funcref) (result i32)))
  (type (;5;) (func (param i32) (result funcref)))
  (type (;6;) (func (param externref) (result i32)))
  (type (;7;) (func (param i32) (result externref)))
  (type (;8;) (func (param i64) (result i32)))
  (import "env" "f" (func (;0;) (type 0)))
  (import "peripatos" "poll" (func (;1;) (type 3)))
  (import "peripatos" "save_func" (func (;2;) (type 4) (param funcref) (result i32)))
  (import "peripatos" "load_func" (func (;3;) (type 5) (param i32) (result funcref)))
  (import "peripatos" "save_extern" (func (;4;) (type 6) (param externref) (result i32)))
  (import "peripatos" "load_extern" (func (;5;) (type 7) (param i32) (result externref)))
  (table (;0;) 3 3 funcref)
  (table (;1;) 1 1 funcref)
  (memory (;0;) 2 16384)
  (memory (;1;) i64 1 262144)
  (export "run" (func 7))
  (export "peripatos.save" (memory 0))
  (export "peripatos.flags" (memory 1))
  (export "peripatos.slots" (table 0))
  (export "peripatos.funcs" (table 1))
  (export "peripatos.func.0" (func 0))
  (export "peripatos.slow" (func 8))
  (elem (;0;) declare func 6)
  (elem (;1;) (table 1) (i32.const 0) func 6)
  (func (;6;) (type 0)
    (local i32)
  )
  (func (;7;) (type 1) (param funcref externref) (result externref funcref)
    (local i32)
    block (result i64) ;; label = @1
      call 0
      i64.const 0
      i32.load16_u 1 align=1
      (@metadata.code.branch_hint "\00")
      if ;; label = @2
        i32.const 0
        i32.load offset=4 align=1
        local.set 2
        local.get 2
        local.get 0
        call 2
        i32.store align=1
        local.get 2
        local.get 1
        call 4
        i32.store offset=4 align=1
        i64.const 68719476737
        br 1 (;@1;)
      end
      ref.func 6
      drop
      local.get 1
      local.get 0
      return
    end
    call 8
    local.tee 2
    i32.const 0
    i32.ge_s
    if ;; label = @1
      local.get 2
      return_call_indirect (type 2)
    end
    ref.null extern
    ref.null func
  )
  (func (;8;) (type 8) (param i64) (result i32)
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

;; continuation of [SiteId(1)], frames of [16] bytes
(module
  (type (;0;) (func))
  (type (;1;) (func (param funcref externref) (result externref funcref)))
  (type (;2;) (func (param i32) (result funcref)))
  (type (;3;) (func (param i32) (result externref)))
  (type (;4;) (func))
  (type (;5;) (func (param funcref) (result i32)))
  (type (;6;) (func (param externref) (result i32)))
  (type (;7;) (func (param i64) (result i32)))
  (type (;8;) (func (result externref funcref)))
  (import "peripatos" "peripatos.save" (memory (;0;) 1 16384))
  (import "peripatos" "import.load_func" (func (;0;) (type 2) (param i32) (result funcref)))
  (import "peripatos" "import.load_extern" (func (;1;) (type 3) (param i32) (result externref)))
  (import "peripatos" "peripatos.slots" (table (;0;) 3 3 funcref))
  (import "peripatos" "peripatos.flags" (memory (;1;) i64 1 262144))
  (import "peripatos" "import.save_func" (func (;2;) (type 5) (param funcref) (result i32)))
  (import "peripatos" "import.save_extern" (func (;3;) (type 6) (param externref) (result i32)))
  (import "peripatos" "peripatos.funcs" (table (;1;) 1 1 funcref))
  (import "peripatos" "peripatos.slow" (func (;4;) (type 7) (param i64) (result i32)))
  (elem (;0;) (table 0) (i32.const 1) func 5)
  (func (;5;) (type 8) (result externref funcref)
    (local funcref externref i32)
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
      call 0
      local.set 0
      local.get 2
      i32.load offset=4 align=1
      call 1
      local.set 1
      i32.const 0
      i32.load offset=4 align=1
      i32.const 8
      i32.sub
      i32.load align=1
      call_indirect (type 4)
      i64.const 0
      i32.load16_u 1 align=1
      (@metadata.code.branch_hint "\00")
      if ;; label = @2
        i32.const 0
        i32.load offset=4 align=1
        local.set 2
        local.get 2
        local.get 0
        call 2
        i32.store align=1
        local.get 2
        local.get 1
        call 3
        i32.store offset=4 align=1
        i64.const 68719476737
        br 1 (;@1;)
      end
      i32.const 0
      table.get 1
      drop
      local.get 1
      local.get 0
      return
    end
    call 4
    local.tee 2
    i32.const 0
    i32.ge_s
    if ;; label = @1
      local.get 2
      return_call_indirect (type 8)
    end
    ref.null extern
    ref.null func
  )
)
