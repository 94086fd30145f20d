//! The functions that the pass adds to the hot module.

use wasm_encoder::{BlockType, Function, Instruction as I, MemArg, ValType};

use crate::emit::memory_at;
use crate::layout;

/// `slow`: completes the frame on top of the stack, sees to room for the next one, and asks the host
/// when nobody is unwinding. Gives the slot to go on in, or -1 to unwind.
pub(crate) struct Slow {
    pub(crate) save: u32,
    pub(crate) flags: u32,
    pub(crate) slots: u32,
    pub(crate) poll: u32,
    /// The largest frame of the program: so much is always free above the stack pointer.
    pub(crate) frame_size_max: u32,
    pub(crate) count_down: bool,
}

impl Slow {
    pub(crate) fn body(&self) -> Function {
        const HEADER: u32 = 0;
        const TOP: u32 = 1;
        const SITE: u32 = 2;
        let at = |offset| memory_at(self.save, offset);
        let unwinding = [I::I64Const(0), I::I32Load8U(memory_at(self.flags, layout::UNWINDING))];
        let mut f = Function::new([(2, ValType::I32)]);
        let mut code = |instructions: &[I<'_>]| {
            instructions.iter().for_each(|i| {
                f.instruction(i);
            });
        };
        // site = low half, plus one unless unwinding; top = stack pointer + size.
        code(&[I::LocalGet(HEADER), I::I32WrapI64]);
        code(&unwinding);
        code(&[I::I32Eqz, I::I32Add]);
        code(&[I::LocalSet(SITE)]);
        code(&[I::I32Const(0), I::I32Load(at(layout::STACK_POINTER))]);
        code(&[I::LocalGet(HEADER), I::I64Const(32), I::I64ShrU, I::I32WrapI64, I::I32Add]);
        code(&[I::LocalSet(TOP)]);
        code(&[I::LocalGet(TOP), I::I32Const(layout::FRAME_HEADER as i32), I::I32Sub]);
        code(&[I::LocalGet(SITE), I::I32Store(at(0))]);
        code(&[I::LocalGet(TOP), I::I32Const(4), I::I32Sub]);
        code(&[I::LocalGet(HEADER), I::I64Const(32), I::I64ShrU, I::I32WrapI64]);
        code(&[I::I32Store(at(0))]);
        code(&[I::I32Const(0), I::LocalGet(TOP), I::I32Store(at(layout::STACK_POINTER))]);
        code(&self.room(TOP));
        code(&unwinding);
        code(&[I::If(BlockType::Empty)]);
        code(&[I::I32Const(-1), I::Return, I::End]);
        code(&self.host_is_needed(SITE, at));
        code(&[I::If(BlockType::Empty), I::Call(self.poll)]);
        code(&unwinding);
        code(&[I::If(BlockType::Empty)]);
        code(&[I::I32Const(-1), I::Return, I::End]);
        code(&[I::End, I::LocalGet(SITE), I::End]);
        f
    }

    /// Grows the save memory when the next frame might not fit; traps when it cannot grow.
    fn room(&self, top: u32) -> Vec<I<'static>> {
        let pages = i64::from(self.frame_size_max.div_ceil(1 << 16)) + 1;
        vec![
            I::LocalGet(top),
            I::I64ExtendI32U,
            I::I64Const(i64::from(self.frame_size_max)),
            I::I64Add,
            I::MemorySize(self.save),
            I::I64ExtendI32U,
            I::I64Const(16),
            I::I64Shl,
            I::I64GtU,
            I::If(BlockType::Empty),
            I::I32Const(pages as i32),
            I::MemoryGrow(self.save),
            I::I32Const(-1),
            I::I32Eq,
            I::If(BlockType::Empty),
            I::Unreachable,
            I::End,
            I::End,
        ]
    }

    /// Not needed when a continuation came round a loop, nothing is asked for, and the slot is filled.
    fn host_is_needed(&self, site: u32, at: impl Fn(u32) -> MemArg) -> Vec<I<'static>> {
        let mut code = vec![
            I::I64Const(0),
            I::I32Load8U(memory_at(self.flags, layout::PREEMPT)),
            I::I64Const(0),
            I::I32Load8U(memory_at(self.flags, layout::LOOP_CLASSES_END - 1)),
            I::I32Or,
            I::LocalGet(site),
            I::TableGet(self.slots),
            I::RefIsNull,
            I::I32Or,
        ];
        if self.count_down {
            code.extend([I::I32Const(0), I::I32Load(at(layout::COUNTER))]);
            code.extend([I::I32Const(1), I::I32LtS, I::I32Or]);
        }
        code
    }
}

/// Initialises from a segment that only the hot module has.
pub(crate) fn segment_init(init: I<'static>) -> Function {
    let mut f = Function::new([]);
    (0..3).for_each(|param| {
        f.instruction(&I::LocalGet(param));
    });
    f.instruction(&init);
    f.instruction(&I::End);
    f
}

/// Drops a segment and remembers it in byte `index` of the dropped bytes.
pub(crate) fn segment_drop(drop: I<'static>, index: u32, save: u32) -> Function {
    let mut f = Function::new([]);
    f.instruction(&drop);
    f.instruction(&I::I32Const(0));
    f.instruction(&I::I32Const(1));
    f.instruction(&I::I32Store8(memory_at(save, layout::DROPPED + index)));
    f.instruction(&I::End);
    f
}

/// Drops again, in a fresh instance, what the save memory remembers as dropped.
pub(crate) fn redrop(drops: impl IntoIterator<Item = I<'static>>, save: u32) -> Function {
    let mut f = Function::new([]);
    for (index, drop) in drops.into_iter().enumerate() {
        f.instruction(&I::I32Const(0));
        f.instruction(&I::I32Load8U(memory_at(save, layout::DROPPED + index as u32)));
        f.instruction(&I::If(BlockType::Empty));
        f.instruction(&drop);
        f.instruction(&I::End);
    }
    f.instruction(&I::End);
    f
}
