//! Functions of unusual shape: deep, wide, long. The pass must take them on a test thread's stack of
//! 2 MiB, and its output must be valid.

use std::borrow::Cow;

use peripatos_instrument::{Options, Program, SiteId, Stats};
use wasm_encoder::{
    BlockType, CodeSection, ExportKind, ExportSection, Function, FunctionSection, Instruction as I,
    Module, TypeSection, ValType,
};

/// A module with one function `[i32] -> [i32]`, exported as `run`, with extra locals of type i32.
fn module(locals: u32, body: impl FnOnce(&mut Function)) -> Vec<u8> {
    let (mut types, mut functions) = (TypeSection::new(), FunctionSection::new());
    types.ty().function([ValType::I32], [ValType::I32]);
    functions.function(0);
    let mut exports = ExportSection::new();
    exports.export("run", ExportKind::Func, 0);
    let mut function = Function::new([(locals, ValType::I32)]);
    body(&mut function);
    function.instruction(&I::End);
    let mut code = CodeSection::new();
    code.function(&function);
    let mut module = Module::new();
    module.section(&types).section(&functions).section(&exports).section(&code);
    module.finish()
}

/// `run` calls itself.
fn call(f: &mut Function) {
    f.instruction(&I::LocalGet(0)).instruction(&I::Call(0)).instruction(&I::LocalSet(0));
}

/// Hot module and all continuations of `wasm` are valid.
fn check(name: &str, wasm: &[u8]) -> Stats {
    let started = std::time::Instant::now();
    let program = Program::analyse(wasm, Options::default())
        .unwrap_or_else(|error| panic!("{name}: {error}"));
    let (hot, stats) = program.hot_module().unwrap_or_else(|error| panic!("{name}: {error}"));
    let hot_time = started.elapsed();
    valid(name, &hot);
    let started = std::time::Instant::now();
    let last = SiteId(program.site_count() - 1);
    for site in [SiteId(0), SiteId(last.0 / 2), last] {
        let continuation = program.continuation(&[site]);
        valid(name, &continuation.unwrap_or_else(|error| panic!("{name}: {error}")).wasm);
        assert!(program.frame_size(site).expect("a valid function").is_some());
    }
    let forward_time = started.elapsed();
    println!(
        "{name}: {} bytes, hot module of {} bytes in {hot_time:?}, three continuations in {forward_time:?}",
        wasm.len(),
        hot.len()
    );
    stats
}

fn valid(name: &str, wasm: &[u8]) {
    let mut validator = wasmparser::Validator::new_with_features(wasmparser::WasmFeatures::all());
    validator.validate_all(wasm).unwrap_or_else(|error| panic!("{name}: {error}"));
}

/// `count` structures inside each other, a call in the innermost.
fn nested(count: u32, opener: &I<'_>) -> Vec<u8> {
    module(0, |f| {
        for _ in 0..count {
            if matches!(opener, I::If(_)) {
                f.instruction(&I::LocalGet(0));
            }
            f.instruction(opener);
        }
        call(f);
        f.instruction(&I::LocalGet(0)).instruction(&I::BrIf(count / 2));
        (0..count).for_each(|_| {
            f.instruction(&I::End);
        });
        f.instruction(&I::LocalGet(0));
    })
}

#[test]
fn nested_structures() {
    for count in [100, 2_000, 5_000] {
        check(&format!("{count} nested blocks"), &nested(count, &I::Block(BlockType::Empty)));
        check(&format!("{count} nested ifs"), &nested(count, &I::If(BlockType::Empty)));
    }
    for count in [100, 1_000, 5_000] {
        let stats =
            check(&format!("{count} nested loops"), &nested(count, &I::Loop(BlockType::Empty)));
        assert_eq!(stats.loop_polls, 0, "the call's check stands in for all");
    }
}

/// Each loop is left for the header of the next one out only, at whose top a local is read: what is
/// alive is found one loop further in with every walk.
fn chain(count: u32) -> Vec<u8> {
    module(1, |f| {
        for at in 0..count {
            f.instruction(&I::Loop(BlockType::Empty));
            match at {
                0 => f.instruction(&I::LocalGet(1)).instruction(&I::Drop),
                _ => f.instruction(&I::LocalGet(0)).instruction(&I::BrIf(1)),
            };
        }
        call(f);
        f.instruction(&I::Br(0));
        (0..count).for_each(|_| {
            f.instruction(&I::End);
        });
        f.instruction(&I::LocalGet(0));
    })
}

#[test]
fn chained_loops() {
    let wasm = chain(150);
    let stats = check("150 chained loops", &wasm);
    assert_eq!(stats.loop_polls, 75, "each stands in for the loop around it");
    let program = Program::analyse(&wasm, Options::default()).expect("a valid module");
    for site in 0..program.site_count() {
        // Two locals and the header.
        assert_eq!(program.frame_size(SiteId(site)).expect("a valid function"), Some(16), "{site}");
    }
}

/// What compilers make of a large switch: a block a target, with a call behind each.
#[test]
fn large_switch() {
    for count in [1_000, 10_000] {
        let wasm = module(0, |f| {
            (0..=count).for_each(|_| {
                f.instruction(&I::Block(BlockType::Empty));
            });
            let targets = (0..count).collect::<Vec<_>>();
            f.instruction(&I::LocalGet(0));
            f.instruction(&I::BrTable(Cow::Owned(targets), count));
            for _ in 0..=count {
                f.instruction(&I::End);
                call(f);
            }
            f.instruction(&I::LocalGet(0));
        });
        let stats = check(&format!("switch with {count} targets"), &wasm);
        assert_eq!(stats.call_checks, count + 1);
    }
}

#[test]
fn many_locals() {
    let count = 49_000;
    let few_alive = module(count, |f| {
        f.instruction(&I::LocalGet(0)).instruction(&I::LocalSet(count));
        call(f);
        f.instruction(&I::LocalGet(count));
    });
    check("49,000 locals, two alive", &few_alive);
    let all_alive = module(count, |f| {
        call(f);
        for local in 1..=count {
            f.instruction(&I::LocalGet(local)).instruction(&I::Drop);
        }
        f.instruction(&I::LocalGet(0));
    });
    check("49,000 locals, all alive", &all_alive);
}

/// What is too much is refused by name, not written as an invalid module.
#[test]
fn refusals() {
    let refused = |wasm: &[u8]| {
        let program = Program::analyse(wasm, Options::default());
        program.and_then(|program| program.hot_module()).expect_err("too much").to_string()
    };
    assert_eq!(
        refused(&module(49_999, |f| {
            call(f);
            f.instruction(&I::LocalGet(0));
        })),
        r#"function 0 "run": 50001 locals with those of the pass; 50000 is the most"#
    );
    assert_eq!(
        refused(&nested(20_001, &I::Block(BlockType::Empty))),
        r#"function 0 "run": 20001 structures inside each other; 20000 is the most"#
    );
    let message = refused(&many_saves(20_000, 40));
    assert!(message.ends_with("with the code that saves it; 7654321 is the most"), "{message}");
    assert_eq!(
        refused(&chain(201)),
        r#"function 0 "run": a chain of loops that more than 200 walks would be needed for"#
    );
}

/// Each call saves all locals.
fn many_saves(locals: u32, calls: u32) -> Vec<u8> {
    module(locals, |f| {
        (0..calls).for_each(|_| call(f));
        for local in 1..=locals {
            f.instruction(&I::LocalGet(local)).instruction(&I::Drop);
        }
        f.instruction(&I::LocalGet(0));
    })
}

/// The hot body is small enough, and the code that restores a frame makes one continuation too large.
#[test]
fn a_continuation_that_is_too_large_is_refused() {
    let wasm = many_saves(20_500, 30);
    let program = Program::analyse(&wasm, Options::default()).expect("a valid module");
    let (hot, _) = program.hot_module().expect("small enough");
    println!("hot module of {} bytes", hot.len());
    let last = SiteId(program.site_count() - 1);
    assert!(program.continuation(&[last]).is_ok(), "not much comes after the last call");
    let error = program.continuation(&[SiteId(0)]).map(drop).expect_err("too much");
    let message = error.to_string();
    assert!(message.ends_with("with the code that restores it; 7654321 is the most"), "{message}");
}

#[test]
fn many_calls() {
    for count in [500, 5_000] {
        let wasm = module(20, |f| {
            for at in 0..count {
                call(f);
                f.instruction(&I::LocalGet(0)).instruction(&I::LocalSet(1 + at % 20));
            }
            for local in 1..=20 {
                f.instruction(&I::LocalGet(local)).instruction(&I::Drop);
            }
            f.instruction(&I::LocalGet(0));
        });
        let stats = check(&format!("{count} calls"), &wasm);
        assert_eq!(stats.call_checks, count);
    }
}
