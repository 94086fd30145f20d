;; Renewed by: BLESS=1 cargo test -p peripatos-instrument --test golden
;; The start function is called by the host, so that it can freeze.
(module
  (global $g (mut i32) (i32.const 3))
  (func $init
    (loop $again
      (global.set $g (i32.sub (global.get $g) (i32.const 1)))
      (br_if $again (global.get $g))))
  (start $init))

;; ---------------------------------------------------------------- result

;; 1 functions, 1 of them instrumented; 1 sites; polls: 0 calls, 1 loops, 0 entries
(module
  (type (;0;) (func))
  (type (;1;) (func))
  (type (;2;) (func (param i64) (result i32)))
  (import "peripatos" "poll" (func (;0;) (type 1)))
  (table (;0;) 1 1 funcref)
  (table (;1;) 0 0 funcref)
  (memory (;0;) 2 16384)
  (memory (;1;) i64 1 262144)
  (global (;0;) (mut i32) i32.const 3)
  (export "peripatos.save" (memory 0))
  (export "peripatos.flags" (memory 1))
  (export "peripatos.slots" (table 0))
  (export "peripatos.funcs" (table 1))
  (export "peripatos.global.0" (global 0))
  (export "peripatos.start" (func 1))
  (export "peripatos.slow" (func 2))
  (func (;1;) (type 0)
    (local i32)
    block (result i64) ;; label = @1
      loop ;; label = @2
        i64.const 0
        i32.load8_u 1 offset=2
        (@metadata.code.branch_hint "\00")
        if ;; label = @3
          i32.const 0
          i32.load offset=4 align=1
          local.set 0
          i64.const 38654705663
          br 2 (;@1;)
        end
        global.get 0
        i32.const 1
        i32.sub
        global.set 0
        global.get 0
        br_if 0 (;@2;)
      end
      return
    end
    call 2
    local.tee 0
    i32.const 0
    i32.ge_s
    if ;; label = @1
      local.get 0
      return_call_indirect (type 1)
    end
  )
  (func (;2;) (type 2) (param i64) (result i32)
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
    i64.const 8
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
