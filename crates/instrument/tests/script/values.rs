//! Arguments and expected results of a script.

use wasmtime::{ExternRef, Store, Val};
use wast::core::{NanPattern, V128Pattern, WastArgCore, WastRetCore};
use wast::token::{F32, F64};
use wast::{WastArg, WastRet};

use crate::host::Host;

pub(super) fn arguments(
    store: &mut Store<Host>,
    args: &[WastArg<'_>],
) -> Result<Vec<Val>, &'static str> {
    let argument = |arg: &WastArg<'_>| {
        let WastArg::Core(arg) = arg else { return Err("components") };
        Ok(match arg {
            WastArgCore::I32(value) => Val::I32(*value),
            WastArgCore::I64(value) => Val::I64(*value),
            WastArgCore::F32(value) => Val::F32(value.bits),
            WastArgCore::F64(value) => Val::F64(value.bits),
            WastArgCore::V128(value) => Val::V128(u128::from_le_bytes(value.to_le_bytes()).into()),
            WastArgCore::RefExtern(value) => {
                let value = ExternRef::new(&mut *store, *value).map_err(|_| "out of references")?;
                Val::ExternRef(Some(value))
            }
            WastArgCore::RefNull(ty) => match format!("{ty:?}") {
                ty if ty.contains("Extern") => Val::ExternRef(None),
                ty if ty.contains("Exn") => Val::ExnRef(None),
                ty if ty.contains("Func") => Val::FuncRef(None),
                _ => return Err("refused: GC types"),
            },
            WastArgCore::RefHost(_) => return Err("refused: GC types"),
        })
    };
    args.iter().map(argument).collect()
}

/// Do the results match what is expected? If not, in words.
pub(super) fn assert_match(
    store: &mut Store<Host>,
    got: &[Val],
    expected: &[WastRet<'_>],
) -> Result<(), String> {
    let mut pairs = got.iter().zip(expected);
    let all = pairs.all(|(got, expected)| match expected {
        WastRet::Core(expected) => matches(store, got, expected),
        _ => false,
    });
    let all = all && got.len() == expected.len();
    if all { Ok(()) } else { Err(format!("got {got:?}, expected {expected:?}")) }
}

fn matches(store: &mut Store<Host>, got: &Val, expected: &WastRetCore<'_>) -> bool {
    match (got, expected) {
        (got, WastRetCore::Either(cases)) => cases.iter().any(|case| matches(store, got, case)),
        (Val::I32(got), WastRetCore::I32(expected)) => got == expected,
        (Val::I64(got), WastRetCore::I64(expected)) => got == expected,
        (Val::F32(got), WastRetCore::F32(expected)) => matches_f32(*got, expected),
        (Val::F64(got), WastRetCore::F64(expected)) => matches_f64(*got, expected),
        (Val::V128(got), WastRetCore::V128(expected)) => {
            matches_v128(got.as_u128().to_le_bytes(), expected)
        }
        (Val::FuncRef(None), WastRetCore::RefNull(_)) => true,
        (Val::ExternRef(None), WastRetCore::RefNull(_)) => true,
        (Val::ExnRef(None), WastRetCore::RefNull(_)) => true,
        (Val::FuncRef(Some(_)), WastRetCore::RefFunc(_)) => true,
        (Val::ExternRef(Some(_)), WastRetCore::RefExtern(None)) => true,
        (Val::ExternRef(Some(got)), WastRetCore::RefExtern(Some(expected))) => {
            let data = got.data(&*store).ok().flatten();
            data.and_then(|data| data.downcast_ref::<u32>()) == Some(expected)
        }
        _ => false,
    }
}

fn matches_f32(got: u32, expected: &NanPattern<F32>) -> bool {
    match expected {
        NanPattern::CanonicalNan => got & 0x7fff_ffff == 0x7fc0_0000,
        NanPattern::ArithmeticNan => got & 0x7fc0_0000 == 0x7fc0_0000,
        NanPattern::Value(value) => got == value.bits,
    }
}

fn matches_f64(got: u64, expected: &NanPattern<F64>) -> bool {
    match expected {
        NanPattern::CanonicalNan => got & 0x7fff_ffff_ffff_ffff == 0x7ff8_0000_0000_0000,
        NanPattern::ArithmeticNan => got & 0x7ff8_0000_0000_0000 == 0x7ff8_0000_0000_0000,
        NanPattern::Value(value) => got == value.bits,
    }
}

fn matches_v128(got: [u8; 16], expected: &V128Pattern) -> bool {
    fn lanes<const SIZE: usize, T>(
        got: [u8; 16],
        expected: &[T],
        matches: impl Fn([u8; SIZE], &T) -> bool,
    ) -> bool {
        let (lanes, _) = got.as_chunks::<SIZE>();
        lanes.iter().zip(expected).all(|(lane, expected)| matches(*lane, expected))
    }
    match expected {
        V128Pattern::I8x16(e) => lanes(got, e, |lane, e| i8::from_le_bytes(lane) == *e),
        V128Pattern::I16x8(e) => lanes(got, e, |lane, e| i16::from_le_bytes(lane) == *e),
        V128Pattern::I32x4(e) => lanes(got, e, |lane, e| i32::from_le_bytes(lane) == *e),
        V128Pattern::I64x2(e) => lanes(got, e, |lane, e| i64::from_le_bytes(lane) == *e),
        V128Pattern::F32x4(e) => lanes(got, e, |lane, e| matches_f32(u32::from_le_bytes(lane), e)),
        V128Pattern::F64x2(e) => lanes(got, e, |lane, e| matches_f64(u64::from_le_bytes(lane), e)),
    }
}
