//! Writes function bodies: the code that hot modules and continuations share.
//!
//! The slow path of every check stores the frame's payload, and branches with the frame's header to
//! one tail a function, which never comes back:
//!
//! ```wat
//! block $tail (result i64)
//!   ...
//!   call $f
//!   (if (i32.load16_u $flags (i64.const 0))    ;; preempt and unwinding in one load
//!     (then (store the live locals) (br $tail (i64.const header))))
//!   ...
//!   return
//! end
//! call $slow                                   ;; completes the frame; polls if nobody is unwinding
//! (if (i32.ge_s (local.tee $slot) (i32.const 0))
//!   (then (return_call_indirect $slots (local.get $slot))))
//! default values                               ;; frozen: unwind
//! ```
//!
//! So no value of the hot path lives across the slow path, and the register allocator does not care.

use std::borrow::Cow;

use wasm_encoder::{BlockType, Function, HeapType, Instruction as I, MemArg, MemArgTarget};
use wasmparser::{Operator, RefType, ValType};

use crate::Error;
use crate::layout::{self, ReferenceKind, encode_type, reference_kind, value_size};
use crate::module::Module;
use crate::space::{FunctionReference, IndexSpace, Symbol};
use crate::tree::{Check, CheckKind, Control, ControlKind, Node, Tree};

/// Distinct ways in which the preempt bytes of loops can be read: each byte by four kinds of load.
const LOOP_CLASS_COUNT: u32 = 4 * LOOP_BYTES;
const LOOP_BYTES: u32 = layout::LOOP_CLASSES_END - layout::LOOP_CLASSES;

/// Offsets of unlikely `if`s within a function body, for the branch hint section.
pub(crate) type Hints = Vec<u32>;

/// A body being written.
pub(crate) struct Emitter<'e, S> {
    pub(crate) space: &'e mut S,
    pub(crate) module: &'e Module,
    pub(crate) count_down: bool,
    code: Function,
    hints: Hints,
    /// Open blocks.
    depth: u32,
    /// Nesting level of each label of the original around this point.
    labels: Vec<u32>,
    locals: &'e [ValType],
    results: &'e [ValType],
    /// An i32 of the pass's own, behind all other locals.
    scratch: u32,
    /// Tests of loops and entries emitted so far, from which their classes are counted.
    loop_tests: u32,
}

/// What stays the same for all bodies of a module.
pub(crate) struct Context<'e> {
    pub(crate) module: &'e Module,
    pub(crate) count_down: bool,
}

impl<'e, S: IndexSpace> Emitter<'e, S> {
    /// `param_count`: how many of the tree's locals the new function gets as parameters.
    pub(crate) fn new(
        context: &Context<'e>,
        space: &'e mut S,
        tree: &'e Tree<'_>,
        param_count: u32,
    ) -> Self {
        let mut groups: Vec<(u32, wasm_encoder::ValType)> = vec![];
        let own = tree.locals[param_count as usize..].iter().copied().chain([ValType::I32]);
        for ty in own.map(encode_type) {
            match groups.last_mut() {
                Some((count, last)) if *last == ty => *count += 1,
                _ => groups.push((1, ty)),
            }
        }
        Emitter {
            space,
            module: context.module,
            count_down: context.count_down,
            code: Function::new(groups),
            hints: vec![],
            depth: 0,
            labels: vec![0],
            locals: &tree.locals,
            results: &tree.results,
            scratch: tree.locals.len() as u32,
            loop_tests: 0,
        }
    }

    /// Wraps `body` with the tail that its checks branch to.
    pub(crate) fn with_tail(
        mut self,
        body: impl FnOnce(&mut Self) -> Result<(), Error>,
    ) -> Result<(Function, Hints), Error> {
        self.open(I::Block(BlockType::Result(wasm_encoder::ValType::I64)));
        body(&mut self)?;
        self.op(I::Return);
        self.close();
        let slow = self.space.symbol(Symbol::Slow);
        let slots = self.space.slots();
        let resumed = self.space.types().function(&[], self.results);
        let slot = self.scratch;
        self.op(I::Call(slow)).op(I::LocalTee(slot)).op(I::I32Const(0)).op(I::I32GeS);
        self.op(I::If(BlockType::Empty));
        self.op(I::LocalGet(slot));
        self.op(I::ReturnCallIndirect { type_index: resumed, table_index: slots });
        self.op(I::End);
        for ty in self.results {
            self.default_value(*ty);
        }
        self.op(I::End);
        Ok((self.code, self.hints))
    }

    /// A body without checks.
    pub(crate) fn without_tail(mut self, nodes: &[Node<'_>]) -> Result<(Function, Hints), Error> {
        self.nodes(nodes)?;
        self.op(I::End);
        Ok((self.code, self.hints))
    }

    pub(crate) fn nodes(&mut self, nodes: &[Node<'_>]) -> Result<(), Error> {
        nodes.iter().try_for_each(|node| self.node(node))
    }

    fn node(&mut self, node: &Node<'_>) -> Result<(), Error> {
        match node {
            Node::Get(local) => {
                self.op(I::LocalGet(*local));
            }
            Node::Set(local) => {
                self.op(I::LocalSet(*local));
            }
            Node::Op(operator) => self.operator(operator)?,
            Node::Check(check) => self.call(check)?,
            Node::Control(control) => self.control(control)?,
        }
        Ok(())
    }

    pub(crate) fn operator(&mut self, operator: &Operator<'_>) -> Result<(), Error> {
        match operator {
            Operator::Br { relative_depth } => self.op(I::Br(self.label(*relative_depth))),
            Operator::BrIf { relative_depth } => self.op(I::BrIf(self.label(*relative_depth))),
            Operator::BrTable { targets } => {
                let default = self.label(targets.default());
                let labels = targets.targets().map(|t| Ok(self.label(t?)));
                let labels = labels.collect::<Result<Vec<_>, Error>>()?;
                self.op(I::BrTable(Cow::Owned(labels), default))
            }
            Operator::DataDrop { data_index } => {
                self.symbol(Symbol::DropData { data_index: *data_index })
            }
            Operator::ElemDrop { elem_index } => {
                self.symbol(Symbol::DropElement { element_index: *elem_index })
            }
            Operator::MemoryInit { data_index, mem } if !self.space.has_segments() => {
                self.symbol(Symbol::MemoryInit { data_index: *data_index, memory: *mem })
            }
            Operator::TableInit { elem_index, table } if !self.space.has_segments() => {
                self.symbol(Symbol::TableInit { element_index: *elem_index, table: *table })
            }
            Operator::RefFunc { function_index } => {
                match self.space.function_reference(*function_index) {
                    FunctionReference::Function(index) => self.op(I::RefFunc(index)),
                    FunctionReference::Element { table, index } => {
                        self.op(I::I32Const(index as i32)).op(I::TableGet(table))
                    }
                }
            }
            operator => {
                let instruction = self.space.instruction(operator.clone())?;
                self.code.instruction(&instruction);
                self
            }
        };
        Ok(())
    }

    /// A call and the check behind it.
    fn call(&mut self, check: &Check) -> Result<(), Error> {
        for arg in &check.args {
            self.op(I::LocalGet(*arg));
        }
        match check.kind {
            CheckKind::Call { function } => {
                let function = self.space.function_index(function)?;
                self.op(I::Call(function));
            }
            CheckKind::CallIndirect { type_index, table_index } => {
                let table_index = self.space.table_index(table_index)?;
                self.op(I::CallIndirect { type_index, table_index });
            }
            CheckKind::Loop | CheckKind::Entry => {
                return Err(Error::Internal("a header among the calls".into()));
            }
        }
        self.after_call(check);
        Ok(())
    }

    /// Takes the results of the call, or of its resumption, and checks.
    pub(crate) fn after_call(&mut self, check: &Check) {
        self.set_all(&check.results);
        self.check(check);
    }

    pub(crate) fn check(&mut self, check: &Check) {
        self.test(check);
        self.hints.push(self.code.byte_len() as u32);
        self.open(I::If(BlockType::Empty));
        self.save_frame(check);
        self.close();
    }

    /// Puts "is anything to be done?" on the operand stack.
    fn test(&mut self, check: &Check) {
        if self.count_down {
            let (counter, left) = (self.at(layout::COUNTER), self.scratch);
            self.op(I::I32Const(0)).op(I::I32Const(0)).op(I::I32Load(counter));
            self.op(I::I32Const(1)).op(I::I32Sub).op(I::LocalTee(left));
            self.op(I::I32Store(counter));
            self.op(I::LocalGet(left)).op(I::I32Const(1)).op(I::I32LtS);
        }
        if check.is_call() {
            let both = self.flag(layout::PREEMPT);
            self.op(I::I64Const(0)).op(I::I32Load16U(both));
        } else {
            if self.loop_tests >= LOOP_CLASS_COUNT {
                self.fence();
            }
            let class = self.loop_tests % LOOP_CLASS_COUNT;
            self.loop_tests += 1;
            let byte = layout::LOOP_CLASSES + class % LOOP_BYTES;
            let (byte, word) = (self.flag(byte), self.flag(byte & !1));
            self.op(I::I64Const(0)).op(match class / LOOP_BYTES {
                0 => I::I32Load8U(byte),
                1 => I::I32Load8S(byte),
                2 => I::I32Load16U(word),
                _ => I::I32Load16S(word),
            });
        }
        if self.count_down {
            self.op(I::I32Or);
        }
    }

    /// A store: no load from before it can stand in for a load behind it. For the loops of huge
    /// functions, whose classes come round again.
    fn fence(&mut self) {
        let unread = self.flag(layout::LOOP_CLASSES_END);
        self.op(I::I64Const(0)).op(I::I32Const(0)).op(I::I32Store8(unread));
    }

    /// Saves the frame of `check` and leaves through the tail.
    pub(crate) fn save_frame(&mut self, check: &Check) {
        let (base, stack_pointer) = (self.scratch, self.at(layout::STACK_POINTER));
        self.op(I::I32Const(0)).op(I::I32Load(stack_pointer)).op(I::LocalSet(base));
        let mut offset = 0;
        for local in &check.live {
            let ty = self.locals[*local as usize];
            let at = self.at(offset);
            self.op(I::LocalGet(base)).op(I::LocalGet(*local));
            if let ValType::Ref(reference) = ty {
                self.symbol(Symbol::Save(reference_kind(reference)));
            }
            self.op(match ty {
                ValType::I32 | ValType::Ref(_) => I::I32Store(at),
                ValType::I64 => I::I64Store(at),
                ValType::F32 => I::F32Store(at),
                ValType::F64 => I::F64Store(at),
                ValType::V128 => I::V128Store(at),
            });
            offset += value_size(ty);
        }
        // `slow` adds one to the site unless somebody is unwinding: a call's next id. Headers have one id only.
        let site = if check.is_call() { check.id } else { check.id.wrapping_sub(1) };
        let size = offset + layout::FRAME_HEADER;
        self.op(I::I64Const((u64::from(site) | u64::from(size) << 32) as i64));
        self.op(I::Br(self.depth - 1));
    }

    /// Takes the topmost frame, which is one of `check`, back into the locals.
    pub(crate) fn load_frame(&mut self, check: &Check) {
        let (base, stack_pointer) = (self.scratch, self.at(layout::STACK_POINTER));
        let size = frame_size(self.locals, check);
        self.op(I::I32Const(0)).op(I::I32Const(0)).op(I::I32Load(stack_pointer));
        self.op(I::I32Const(size as i32)).op(I::I32Sub).op(I::LocalTee(base));
        self.op(I::I32Store(stack_pointer));
        let mut offset = 0;
        for local in &check.live {
            let ty = self.locals[*local as usize];
            let at = self.at(offset);
            self.op(I::LocalGet(base)).op(match ty {
                ValType::I32 | ValType::Ref(_) => I::I32Load(at),
                ValType::I64 => I::I64Load(at),
                ValType::F32 => I::F32Load(at),
                ValType::F64 => I::F64Load(at),
                ValType::V128 => I::V128Load(at),
            });
            if let ValType::Ref(reference) = ty {
                self.symbol(Symbol::Load(reference_kind(reference)));
            }
            self.op(I::LocalSet(*local));
            offset += value_size(ty);
        }
    }

    pub(crate) fn control(&mut self, control: &Control<'_>) -> Result<(), Error> {
        for local in control.params.iter().chain(&control.condition) {
            self.op(I::LocalGet(*local));
        }
        let ty = self.space.block_type(control.block_type)?;
        let opener = self.opener(&control.kind, ty)?;
        self.open_label(opener);
        self.set_all(&control.params);
        if let ControlKind::Loop { check, polled: true } = &control.kind {
            self.check(check);
        }
        self.nodes(&control.body)?;
        if let Some(body) = &control.else_body {
            self.op(I::Else);
            self.set_all(&control.params);
            self.nodes(body)?;
        }
        self.close_label();
        self.set_all(&control.results);
        Ok(())
    }

    pub(crate) fn opener(
        &mut self,
        kind: &ControlKind,
        ty: BlockType,
    ) -> Result<I<'static>, Error> {
        Ok(match kind {
            ControlKind::Block => I::Block(ty),
            ControlKind::If => I::If(ty),
            ControlKind::Loop { .. } => I::Loop(ty),
            ControlKind::TryTable(catches) => {
                let catches = catches.iter().map(|catch| self.catch(catch));
                I::TryTable(ty, Cow::Owned(catches.collect::<Result<_, Error>>()?))
            }
        })
    }

    fn catch(&mut self, catch: &wasmparser::Catch) -> Result<wasm_encoder::Catch, Error> {
        use wasm_encoder::Catch as To;
        use wasmparser::Catch as From;
        Ok(match *catch {
            From::One { tag, label } => {
                To::One { tag: self.space.tag_index(tag)?, label: self.label(label) }
            }
            From::OneRef { tag, label } => {
                To::OneRef { tag: self.space.tag_index(tag)?, label: self.label(label) }
            }
            From::All { label } => To::All { label: self.label(label) },
            From::AllRef { label } => To::AllRef { label: self.label(label) },
        })
    }

    /// Pops the operand stack into `slots`, the last one first.
    pub(crate) fn set_all(&mut self, slots: &[u32]) {
        for slot in slots.iter().rev() {
            self.op(I::LocalSet(*slot));
        }
    }

    pub(crate) fn types_of(&self, locals: &[u32]) -> Vec<ValType> {
        locals.iter().map(|local| self.locals[*local as usize]).collect()
    }

    fn default_value(&mut self, ty: ValType) {
        self.op(match ty {
            ValType::I32 => I::I32Const(0),
            ValType::I64 => I::I64Const(0),
            ValType::F32 => I::F32Const(0f32.into()),
            ValType::F64 => I::F64Const(0f64.into()),
            ValType::V128 => I::V128Const(0),
            ValType::Ref(reference) => I::RefNull(null_type(reference)),
        });
    }

    pub(crate) fn symbol(&mut self, symbol: Symbol) -> &mut Self {
        let function = self.space.symbol(symbol);
        self.op(I::Call(function))
    }

    pub(crate) fn op(&mut self, instruction: I<'_>) -> &mut Self {
        self.code.instruction(&instruction);
        self
    }

    pub(crate) fn open(&mut self, instruction: I<'_>) {
        self.op(instruction);
        self.depth += 1;
    }

    pub(crate) fn close(&mut self) {
        self.op(I::End);
        self.depth -= 1;
    }

    /// Opens a block that the original's branches can name.
    pub(crate) fn open_label(&mut self, instruction: I<'_>) {
        self.open(instruction);
        self.labels.push(self.depth);
    }

    pub(crate) fn close_label(&mut self) {
        self.labels.pop();
        self.close();
    }

    /// Relative depth here of what is relative depth `depth` in the original.
    fn label(&self, depth: u32) -> u32 {
        self.depth - self.labels[self.labels.len() - 1 - depth as usize]
    }

    /// An address in the save memory, relative to the i32 on the operand stack.
    pub(crate) fn at(&mut self, offset: u32) -> MemArg {
        memory_at(self.space.save_memory(), offset)
    }

    /// An address in the flags memory, relative to the i64 on the operand stack.
    fn flag(&mut self, offset: u32) -> MemArg {
        memory_at(self.space.flags_memory(), offset)
    }
}

pub(crate) fn memory_at(memory: u32, offset: u32) -> MemArg {
    let target = MemArgTarget::Memory(memory);
    MemArg { offset: u64::from(offset), align: 0, target, ordering: None }
}

/// Size of the frame that `check` saves, header included.
pub(crate) fn frame_size(locals: &[ValType], check: &Check) -> u32 {
    layout::frame_size(check.live.iter().map(|local| locals[*local as usize]))
}

fn null_type(reference: RefType) -> HeapType {
    match reference_kind(reference) {
        ReferenceKind::Func => HeapType::FUNC,
        ReferenceKind::Extern => HeapType::EXTERN,
        ReferenceKind::Exn => {
            HeapType::Abstract { shared: false, ty: wasm_encoder::AbstractHeapType::Exn }
        }
    }
}
