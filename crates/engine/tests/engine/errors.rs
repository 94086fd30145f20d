//! Bad programs and bad ends: each with a short error that names the cause.

use peripatos_engine::{
    CodeKind, ImageError, LoadError, LoadOptions, Outcome, Process, ProcessError, SpawnError,
    TrapKind, block_on,
};

use crate::common::{Origin, load, options, runtime};

fn load_error(text: &str) -> LoadError {
    let wasm = wat::parse_str(text).unwrap();
    let options = LoadOptions { kind: CodeKind::Hot };
    runtime().load(wasm.into(), options).err().unwrap()
}

#[test]
fn what_is_not_a_module_is_told() {
    let runtime = runtime();
    for kind in [CodeKind::Hot, CodeKind::Plain] {
        for bytes in [&b""[..], b"#!/bin/sh\n", b"\0asm\x01\0\0\0\x01\x01\x01"] {
            let error = runtime.load(bytes.into(), LoadOptions { kind }).err().unwrap();
            assert!(matches!(error, LoadError::NotWasm(_)), "{error}");
            assert!(!error.to_string().contains('\n'));
        }
    }
}

#[test]
fn an_import_nobody_offers_is_named() {
    let error = load_error(r#"(module (import "env" "fly" (func (param i32) (result i64))))"#);
    let text = error.to_string();
    assert!(text.contains("env.fly") && text.contains("(param i32) (result i64)"), "{text}");
    let error = load_error(
        r#"(module (import "wasi_snapshot_preview1" "fd_close" (func (param i64) (result i32))))"#,
    );
    assert!(matches!(error, LoadError::ImportType { .. }), "{error}");
}

#[test]
fn traps_have_a_kind() {
    let runtime = runtime();
    let cases = [
        ("unreachable", TrapKind::Unreachable),
        ("(drop (i32.load (i32.const -4)))", TrapKind::MemoryOutOfBounds),
        ("(drop (i32.div_s (i32.const 1) (i32.const 0)))", TrapKind::Arithmetic),
        ("(call_indirect (i32.const 0))", TrapKind::BadReference),
        ("(call_indirect (i32.const 9))", TrapKind::TableOutOfBounds),
        ("(call 0)", TrapKind::StackOverflow),
    ];
    for (body, expected) in cases {
        let text = format!(
            r#"(module (memory 1) (table 1 funcref) (func (export "_start") {body} (call 1))
                (func (if (i32.const 0) (then (call 0)))))"#
        );
        let wasm = wat::parse_str(text).unwrap();
        for kind in [CodeKind::Hot, CodeKind::Plain] {
            let code = load(&runtime, &wasm, kind);
            let options = options(&Origin::default(), None);
            let mut process = Process::spawn(&code, options).unwrap();
            match block_on(process.run()) {
                Err(ProcessError::Trap { kind, message }) => {
                    assert_eq!(kind, expected, "{body}");
                    assert!(!message.is_empty() && !message.contains('\n'));
                }
                other => panic!("{body}: {other:?}"),
            }
            assert!(matches!(block_on(process.run()), Err(ProcessError::Ended)));
        }
    }
}

#[test]
fn exit_codes_and_signals_come_through() {
    let runtime = runtime();
    let cases = [
        ("proc_exit", "", 3, Outcome::Exited(3)),
        ("proc_raise", "(result i32)", 6, Outcome::Raised(peripatos_abi::Signal::Abrt)),
    ];
    for (name, result, argument, expected) in cases {
        let dropped = if result.is_empty() { "" } else { "drop" };
        let text = format!(
            r#"(module (import "wasi_snapshot_preview1" "{name}" (func (param i32) {result}))
                (func (export "_start") (call 0 (i32.const {argument})) {dropped}))"#
        );
        let code = load(&runtime, &wat::parse_str(text).unwrap(), CodeKind::Hot);
        let options = options(&Origin::default(), None);
        let mut process = Process::spawn(&code, options).unwrap();
        assert_eq!(block_on(process.run()).unwrap(), expected);
    }
}

#[test]
fn memory_over_the_limit_is_refused() {
    let runtime = runtime();
    let grows = r#"(module (memory 1) (func (export "_start")
        (if (i32.ne (memory.grow (i32.const 40)) (i32.const -1)) (then unreachable))))"#;
    // The maxima of the memories that the pass adds: those of the program are no less limited.
    let with_maximum =
        |index: &str, pages| grows.replace("(memory 1)", &format!("(memory {index} 1 {pages})"));
    let (as_save, as_flags) = (with_maximum("", 16_384), with_maximum("i64", 1 << 18));
    let as_flags =
        as_flags.replace("i32.const 40", "i64.const 40").replace("i32.const -1", "i64.const -1");
    let as_flags = as_flags.replace("i32.ne", "i64.ne");
    let large = r#"(module (memory 100) (func (export "_start")))"#;
    let large_as_save = r#"(module (memory 100 16384) (func (export "_start")))"#;
    let cases = [
        (grows, true),
        (&as_save, true),
        (&as_flags, true),
        (large, false),
        (large_as_save, false),
    ];
    for (text, starts) in cases {
        let code = load(&runtime, &wat::parse_str(text).unwrap(), CodeKind::Hot);
        let mut options = options(&Origin::default(), None);
        options.limits.memory_bytes = 20 << 16;
        match Process::spawn(&code, options) {
            Ok(mut process) => {
                assert!(starts);
                assert_eq!(block_on(process.run()).unwrap(), Outcome::Exited(0));
            }
            Err(error) => {
                assert!(!starts && matches!(error, SpawnError::Instantiate(_)), "{error}");
            }
        }
    }
}

#[test]
fn a_plain_process_has_no_image() {
    let runtime = runtime();
    let wasm = wat::parse_str(r#"(module (func (export "_start")))"#).unwrap();
    let code = load(&runtime, &wasm, CodeKind::Plain);
    let mut process = Process::spawn(&code, options(&Origin::default(), None)).unwrap();
    assert!(matches!(process.capture(Default::default()), Err(ImageError::NotFrozen(_))));
    let wasm = wat::parse_str("(module)").unwrap();
    let code = load(&runtime, &wasm, CodeKind::Hot);
    let error = Process::spawn(&code, options(&Origin::default(), None)).err();
    assert!(matches!(error, Some(SpawnError::NoEntry(_))));
}
