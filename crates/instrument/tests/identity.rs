//! The identity test of the pass: frozen at every n-th check, a program gives what it gives unfrozen.

mod host;

use host::{Process, run_plain};
use wasmtime::Val;

/// Runs `wat`'s export `run` on each argument, unfrozen and frozen at every n-th check.
fn check(name: &str, wat: &str, args: &[i32]) {
    let wasm = wat::parse_str(wat).expect("the text is right");
    let mut freezes = 0;
    for arg in args {
        let args = [Val::I32(*arg)];
        let expected = run_plain(&wasm, "run", &args).expect("the original runs");
        for every in [0, 1, 2, 3, 7, 64] {
            let mut process =
                Process::new(&wasm, every).unwrap_or_else(|e| panic!("{name}: {e:?}"));
            let got = process
                .run("run", &args)
                .unwrap_or_else(|e| panic!("{name}({arg}) every {every}: {e:?}"));
            assert_eq!(
                format!("{got:?}"),
                format!("{expected:?}"),
                "{name}({arg}) frozen at every {every}"
            );
            freezes += process.store.data().freezes;
        }
    }
    assert!(freezes > 0, "{name}: never frozen");
}

macro_rules! identity {
    ($($name:ident: $args:expr, $wat:expr;)*) => {$(
        #[test]
        fn $name() {
            check(stringify!($name), $wat, &$args);
        }
    )*};
}

identity! {
    recursion: [0, 1, 12], r#"(module
        (func $fib (export "run") (param i32) (result i32)
            (if (result i32) (i32.lt_s (local.get 0) (i32.const 2))
                (then (local.get 0))
                (else (i32.add (call $fib (i32.sub (local.get 0) (i32.const 1)))
                               (call $fib (i32.sub (local.get 0) (i32.const 2))))))))"#;
    nested_loops: [0, 5], r#"(module
        (func (export "run") (param $n i32) (result i32) (local $i i32) (local $j i32) (local $s i32)
            (loop $outer
                (local.set $j (i32.const 0))
                (loop $inner
                    (local.set $s (i32.add (i32.mul (local.get $s) (i32.const 31)) (local.get $j)))
                    (local.set $j (i32.add (local.get $j) (i32.const 1)))
                    (br_if $inner (i32.lt_s (local.get $j) (local.get $i))))
                (local.set $i (i32.add (local.get $i) (i32.const 1)))
                (br_if $outer (i32.lt_s (local.get $i) (local.get $n))))
            (local.get $s)))"#;
    all_value_types: [3], r#"(module
        (func $step (param i32) (result i32) (loop) (local.get 0))
        (func (export "run") (param $n i32) (result i32)
            (local $l i64) (local $f f32) (local $d f64) (local $v v128)
            (local.set $l (i64.const 0x123456789abcdef0))
            (local.set $f (f32.const 1.5))
            (local.set $d (f64.const -2.25))
            (local.set $v (v128.const i32x4 1 2 3 0x7fffffff))
            (loop $again
                (local.set $l (i64.rotl (local.get $l) (i64.extend_i32_s (call $step (local.get $n)))))
                (local.set $f (f32.mul (local.get $f) (f32.const 1.25)))
                (local.set $d (f64.sub (local.get $d) (f64.promote_f32 (local.get $f))))
                (local.set $v (i32x4.add (local.get $v) (i32x4.splat (local.get $n))))
                (br_if $again (local.tee $n (i32.sub (local.get $n) (i32.const 1)))))
            (i32.xor (i32.wrap_i64 (local.get $l))
                (i32.xor (i32x4.extract_lane 3 (local.get $v))
                    (i32.xor (i32.reinterpret_f32 (local.get $f))
                             (i32.trunc_sat_f64_s (f64.mul (local.get $d) (f64.const 1000))))))))"#;
    operands_under_calls: [9], r#"(module
        (func $id (param i32) (result i32) (loop) (local.get 0))
        (func (export "run") (param i32) (result i32)
            (i32.add (i32.mul (i32.const 3) (call $id (local.get 0)))
                (i32.sub (call $id (i32.const 100))
                    (block (result i32)
                        (i32.add (local.get 0)
                            (if (result i32) (call $id (local.get 0))
                                (then (call $id (i32.const 11)))
                                (else (i32.const 12)))))))))"#;
    multi_value: [4], r#"(module
        (func $swap (param i32 i64) (result i64 i32) (loop) (local.get 1) (local.get 0))
        (func (export "run") (param $n i32) (result i32)
            (local.get $n) (i64.const 7)
            (loop $again (param i32 i64) (result i32)
                (call $swap)
                (i32.add (i32.const 5))
                (local.set $n (i32.sub (local.get $n) (i32.const 1)))
                (block $flip (param i64 i32) (result i32 i64)
                    (call $flip2))
                (br_if $again (local.get $n))
                (i32.wrap_i64) (i32.add)))
        (func $flip2 (param i64 i32) (result i32 i64)
            (loop) (local.get 1) (i64.add (local.get 0) (i64.const 1))))"#;
    if_with_params: [0, 1], r#"(module
        (func $id (param i32) (result i32) (loop) (local.get 0))
        (func (export "run") (param $n i32) (result i32)
            (i32.const 10) (i32.const 20)
            (if (param i32 i32) (result i32 i32) (call $id (local.get $n))
                (then (i32.add) (call $id (i32.const 3)))
                (else (call $id) (i32.mul (i32.const 2))))
            (i32.sub)))"#;
    indirect_calls: [0, 1, 2], r#"(module
        (type $f (func (param i32) (result i32)))
        (import "env" "twice" (func $twice (type $f)))
        (table 3 funcref) (elem (i32.const 0) $a $b $twice)
        (func $a (type $f) (loop) (i32.add (local.get 0) (i32.const 1)))
        (func $b (type $f) (call_indirect (type $f) (local.get 0) (i32.const 0)))
        (func (export "run") (param i32) (result i32)
            (i32.add (i32.const 1000)
                (call_indirect (type $f) (i32.const 42) (local.get 0)))))"#;
    tail_calls: [0, 9], r#"(module
        (type $f (func (param i32 i32) (result i32)))
        (table 1 funcref) (elem (i32.const 0) $even)
        (func $even (type $f)
            (if (i32.eqz (local.get 0)) (then (return (local.get 1))))
            (return_call $odd (i32.sub (local.get 0) (i32.const 1)) (i32.add (local.get 1) (i32.const 3))))
        (func $odd (type $f)
            (if (i32.eqz (local.get 0)) (then (return (i32.sub (i32.const 0) (local.get 1)))))
            (return_call_indirect (type $f) (i32.sub (local.get 0) (i32.const 1)) (local.get 1) (i32.const 0)))
        (func (export "run") (param i32) (result i32)
            (i32.mul (i32.const 5) (call $even (local.get 0) (i32.const 1)))))"#;
    branch_table: [0, 1, 2, 3, 9], r#"(module
        (func $id (param i32) (result i32) (loop) (local.get 0))
        (func (export "run") (param $n i32) (result i32) (local $r i32)
            (block $out
                (loop $again
                    (block $two (block $one (block $zero
                        (br_table $zero $one $two $out (call $id (local.get $n))))
                        (local.set $r (call $id (i32.const 5))) (br $out))
                        (local.set $r (i32.const 6)) (local.set $n (i32.const 0)) (br $again))
                    (local.set $r (i32.const 7)) (local.set $n (i32.const 1)) (br $again)))
            (i32.add (local.get $r) (local.get $n))))"#;
    exceptions: [0, 1, 2, 3], r#"(module
        (tag $e (param i32))
        (tag $other)
        (func $id (param i32) (result i32) (loop) (local.get 0))
        (func $throw (param i32)
            (if (call $id (i32.eq (local.get 0) (i32.const 1))) (then (throw $e (i32.const 77))))
            (if (i32.eq (local.get 0) (i32.const 2)) (then (throw $other))))
        (func $cleanup (param $n i32) (result i32) (local $x exnref)
            (block $caught (result exnref)
                (try_table (catch_all_ref $caught)
                    (call $throw (call $id (local.get $n))))
                (return (call $id (i32.const 1))))
            (local.set $x)
            (drop (call $id (i32.const 8)))
            (throw_ref (local.get $x)))
        (func (export "run") (param $n i32) (result i32) (local $k i32)
            (local.set $k (call $id (i32.const 1000)))
            (block $all
                (block $caught (result i32)
                    (try_table (result i32) (catch $e $caught) (catch_all $all)
                        (call $cleanup (local.get $n)))
                    (return (i32.add (local.get $k))))
                (return (i32.sub (local.get $k))))
            (i32.mul (local.get $k) (i32.const 3))))"#;
    local_read_only_by_the_handler: [0, 1], r#"(module
        (tag $e)
        (func $id (param i32) (result i32) (loop) (local.get 0))
        (func $maybe (param i32) (if (call $id (local.get 0)) (then (throw $e))))
        (func (export "run") (param $n i32) (result i32) (local $k i32)
            (local.set $k (i32.add (local.get $n) (i32.const 41)))
            (block $caught
                (try_table (catch $e $caught) (call $maybe (local.get $n)))
                (return (i32.const 7)))
            (local.get $k)))"#;
    exception_as_back_edge: [5], r#"(module
        (tag $e (param i32))
        (func $maybe (param i32) (result i32) (loop)
            (if (local.get 0) (then (throw $e (i32.sub (local.get 0) (i32.const 1)))))
            (i32.const 9))
        (func (export "run") (param i32) (result i32)
            (local.get 0)
            (loop $again (param i32) (result i32)
                (local.set 0)
                (try_table (result i32) (catch $e $again) (call $maybe (local.get 0))))))"#;
    references: [0, 1], r#"(module
        (type $f (func (param i32) (result i32)))
        (table $t 4 funcref)
        (elem declare func $a $b)
        (func $a (type $f) (loop) (i32.add (local.get 0) (i32.const 1)))
        (func $b (type $f) (i32.mul (call $a (local.get 0)) (i32.const 10)))
        (func $pick (param i32) (result funcref) (loop)
            (if (result funcref) (local.get 0) (then (ref.func $a)) (else (ref.func $b))))
        (func (export "run") (param i32) (result i32) (local $r funcref)
            (local.set $r (call $pick (local.get 0)))
            (drop (table.grow $t (call $pick (i32.eqz (local.get 0))) (i32.const 2)))
            (table.set $t (i32.const 0) (local.get $r))
            (i32.add
                (call_indirect $t (type $f) (i32.const 3) (i32.const 0))
                (call_indirect $t (type $f) (i32.const 5) (i32.sub (table.size $t) (i32.const 1))))))"#;
    bulk_and_segments: [3], r#"(module
        (memory 1) (memory $m2 1)
        (data $d "abcdefgh")
        (func $id (param i32) (result i32) (loop) (local.get 0))
        (func (export "run") (param $n i32) (result i32) (local $i i32)
            (loop $again
                (memory.init 0 $d (i32.mul (local.get $i) (i32.const 8)) (i32.const 0) (i32.const 8))
                (memory.copy 1 0 (call $id (i32.const 1)) (i32.const 0) (call $id (i32.const 20)))
                (memory.fill (i32.const 4) (local.get $i) (call $id (local.get $n)))
                (br_if $again (i32.lt_s (local.tee $i (i32.add (local.get $i) (i32.const 1))) (local.get $n))))
            (drop (call $id (i32.const 0)))
            (data.drop $d)
            (i32.add (i32.load (i32.const 4)) (i32.load 1 (i32.const 9)))))"#;
    start_function: [1], r#"(module
        (global $g (mut i32) (i32.const 0))
        (func $init (local $i i32)
            (loop $again
                (global.set $g (i32.add (global.get $g) (local.get $i)))
                (br_if $again (i32.lt_s (local.tee $i (i32.add (local.get $i) (i32.const 1))) (i32.const 20)))))
        (start $init)
        (func (export "run") (param i32) (result i32) (loop) (i32.add (global.get $g) (local.get 0))))"#;
    dead_code: [2], r#"(module
        (func $id (param i32) (result i32) (loop) (local.get 0))
        (func (export "run") (param i32) (result i32)
            (block (result i32)
                (br 0 (call $id (local.get 0)))
                (loop (drop (call $id (i32.const 1))))
                (if (then (call $id (i32.const 2)) (drop)) (else (unreachable))))
            (call $id)
            (if (result i32) (then (i32.const 1) (return) (loop)) (else (unreachable) (call $id)))))"#;
    host_calls: [7], r#"(module
        (import "env" "twice" (func $twice (param i32) (result i32)))
        (func (export "run") (param $n i32) (result i32)
            (loop $again
                (br_if $again (i32.lt_s (local.tee $n (call $twice (local.get $n))) (i32.const 1000))))
            (return_call $twice (local.get $n))))"#;
}

/// A large fill, copies over themselves in both directions, and one that is out of bounds.
#[test]
fn large_bulk_operations() {
    let wat = r#"(module (memory 40)
        (func $sum (result i32) (local $i i32) (local $s i32)
            (loop $again
                (local.set $s (i32.add (i32.mul (local.get $s) (i32.const 31))
                    (i32.load (local.get $i))))
                (br_if $again (i32.lt_u
                    (local.tee $i (i32.add (local.get $i) (i32.const 40004))) (i32.const 2600000))))
            (local.get $s))
        (func (export "run") (param $n i32) (result i32)
            (memory.fill (i32.const 5) (i32.const 7) (i32.add (local.get $n) (i32.const 900000)))
            (memory.fill (i32.const 600000) (i32.const 9) (i32.add (local.get $n) (i32.const 700000)))
            (i32.store (i32.const 700000) (i32.const 123456))
            (memory.copy (i32.const 300000) (i32.const 4) (i32.add (local.get $n) (i32.const 2000000)))
            (memory.copy (i32.const 11) (i32.const 500000) (i32.add (local.get $n) (i32.const 1500000)))
            (call $sum)))"#;
    let wasm = wat::parse_str(wat).expect("the text is right");
    let args = [Val::I32(3)];
    let expected = run_plain(&wasm, "run", &args).expect("the original runs");
    for every in [0, 1, 5] {
        let mut process = Process::new(&wasm, every).unwrap();
        let got = process.run("run", &args).unwrap();
        assert_eq!(format!("{got:?}"), format!("{expected:?}"));
        let chunks = process.store.data().freezes;
        assert!(every != 1 || chunks > 10, "only {chunks} freezes within the operations");
    }
    let mut process = Process::new(&wasm, 1).unwrap();
    assert!(process.run("run", &[Val::I32(2_000_000)]).is_err(), "out of bounds must trap");
    let memory = process.instance().get_memory(&mut process.store, "peripatos.memory.0").unwrap();
    assert_eq!(memory.data(&process.store)[5], 0, "and leave the memory alone");
}
