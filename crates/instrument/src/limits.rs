//! What is too much: functions that engines would not take back from the pass, and deep nesting.
//!
//! The pass walks a function's tree by recursion. Compilers of large switches nest thousands of
//! blocks, more than the stack of an ordinary thread has room for; such programs are walked on a
//! thread whose stack fits them.

use wasmparser::Operator;

use crate::Error;
use crate::module::{Module, function_place};

/// Locals of a function, those of the pass included: what engines take.
const LOCALS_MAX: usize = 50_000;
/// Bytes of a function's body: what engines take.
const BODY_SIZE_MAX: usize = 7_654_321;
/// Structures inside each other.
const NESTING_MAX: u32 = 20_000;
/// So much nesting fits on any thread's stack.
const NESTING_ON_ANY_STACK: u32 = 100;
/// More than the recursive walks need for a level, in builds without optimisation.
const STACK_PER_LEVEL: usize = 8 << 10;
/// What everything else needs.
const STACK_BASE: usize = 2 << 20;

/// Refuses a function that has too many locals once the pass has added its own.
pub(crate) fn locals(wasm: &[u8], function: u32, count: usize) -> Result<(), Error> {
    let scratch = 1;
    match count + scratch <= LOCALS_MAX {
        true => Ok(()),
        false => {
            let reason = format!("{count} locals with those of the pass; {LOCALS_MAX} is the most");
            Err(Error::refused(function_place(wasm, function), reason))
        }
    }
}

/// Refuses a function whose body has become too large.
pub(crate) fn body_size(wasm: &[u8], function: u32, size: usize) -> Result<(), Error> {
    small_enough(wasm, function, size, "with the code that saves it")
}

/// Refuses a continuation that is too large. The hot body may have been small enough: a continuation
/// has no code before its site, but all that brings the frame back.
pub(crate) fn continuation_size(wasm: &[u8], function: u32, size: usize) -> Result<(), Error> {
    small_enough(wasm, function, size, "with the code that restores it")
}

fn small_enough(wasm: &[u8], function: u32, size: usize, with: &str) -> Result<(), Error> {
    match size <= BODY_SIZE_MAX {
        true => Ok(()),
        false => {
            let reason = format!("{size} bytes {with}; {BODY_SIZE_MAX} is the most");
            Err(Error::refused(function_place(wasm, function), reason))
        }
    }
}

/// The deepest nesting, given that of each body; refuses what is too deep.
pub(crate) fn nesting(
    wasm: &[u8],
    module: &Module,
    bodies: impl Iterator<Item = u32>,
) -> Result<u32, Error> {
    let deepest = (module.imported_functions..).zip(bodies).max_by_key(|(_, nesting)| *nesting);
    match deepest {
        Some((function, nesting)) if nesting > NESTING_MAX => {
            let reason =
                format!("{nesting} structures inside each other; {NESTING_MAX} is the most");
            Err(Error::refused(function_place(wasm, function), reason))
        }
        deepest => Ok(deepest.map_or(0, |(_, nesting)| nesting)),
    }
}

/// Open structures after `operator`.
pub(crate) fn depth_after(depth: u32, operator: &Operator<'_>) -> u32 {
    match operator {
        Operator::Block { .. }
        | Operator::Loop { .. }
        | Operator::If { .. }
        | Operator::TryTable { .. } => depth + 1,
        Operator::End => depth.saturating_sub(1),
        _ => depth,
    }
}

/// Does `work` where there is stack enough for this much nesting.
pub(crate) fn with_stack<T: Send>(
    nesting: u32,
    work: impl FnOnce() -> Result<T, Error> + Send,
) -> Result<T, Error> {
    if nesting <= NESTING_ON_ANY_STACK {
        return work();
    }
    let size = STACK_BASE + nesting as usize * STACK_PER_LEVEL;
    std::thread::scope(|scope| {
        let thread = std::thread::Builder::new().stack_size(size).spawn_scoped(scope, work);
        let thread = thread.map_err(|error| {
            Error::refused("module", format!("no stack of {size} bytes for its nesting: {error}"))
        })?;
        thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}
