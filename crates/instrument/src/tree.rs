//! A function body as a tree: the form between decoding and emitting.
//!
//! Operators stay as they are. What the pass adds is explicit: checks, and the traffic between the
//! operand stack and *slots*, locals that hold an operand while a check might save the frame.
//! Invariant: at a check, every live operand is in a slot, so a frame is a list of locals.

use std::ops::Range;

use wasmparser::{BlockType, Catch, Operator, ValType};

/// A function ready to be emitted, as hot code or as continuations.
#[derive(Debug)]
pub(crate) struct Tree<'a> {
    pub(crate) body: Vec<Node<'a>>,
    /// Types of all locals: parameters, the original's locals, then slots.
    pub(crate) locals: Vec<ValType>,
    pub(crate) param_count: u32,
    pub(crate) results: Vec<ValType>,
    /// The poll at the entry, where the function has one.
    pub(crate) entry: Option<Check>,
}

#[derive(Debug)]
pub(crate) enum Node<'a> {
    /// An original operator, branches included.
    Op(Operator<'a>),
    /// Slot to operand stack.
    Get(u32),
    /// Operand stack to slot.
    Set(u32),
    Check(Box<Check>),
    Control(Box<Control<'a>>),
}

/// A place where a frame can be saved.
#[derive(Debug)]
pub(crate) struct Check {
    /// The site id. A call has two: this one while the callee unwinds, the next once it has returned.
    pub(crate) id: u32,
    pub(crate) kind: CheckKind,
    /// Slots to put on the operand stack before the call; empty if the arguments are there already.
    pub(crate) args: Vec<u32>,
    /// Slots of the call's results.
    pub(crate) results: Vec<u32>,
    /// Locals alive behind the check, in ascending order: the frame's payload.
    pub(crate) live: Vec<u32>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum CheckKind {
    Call { function: u32 },
    CallIndirect { type_index: u32, table_index: u32 },
    Loop,
    Entry,
}

impl Check {
    pub(crate) fn new(id: u32, kind: CheckKind) -> Check {
        Check { id, kind, args: vec![], results: vec![], live: vec![] }
    }

    pub(crate) fn is_call(&self) -> bool {
        matches!(self.kind, CheckKind::Call { .. } | CheckKind::CallIndirect { .. })
    }

    /// Does this check own the site?
    pub(crate) fn owns(&self, site: u32) -> bool {
        site == self.id || self.is_call() && site == self.id + 1
    }
}

/// A structured control instruction.
#[derive(Debug)]
pub(crate) struct Control<'a> {
    pub(crate) kind: ControlKind,
    pub(crate) block_type: BlockType,
    /// Slots of the parameters; none where no site is inside.
    pub(crate) params: Vec<u32>,
    /// Slot of an `if`'s condition; `None`: on the operand stack.
    pub(crate) condition: Option<u32>,
    pub(crate) body: Vec<Node<'a>>,
    pub(crate) else_body: Option<Vec<Node<'a>>>,
    /// Slots of the results; none where no site is inside.
    pub(crate) results: Vec<u32>,
    /// Site ids inside, the loop's own included.
    pub(crate) sites: Range<u32>,
    /// First site id of the `else` arm.
    pub(crate) else_sites: u32,
}

#[derive(Debug)]
pub(crate) enum ControlKind {
    Block,
    If,
    /// `polled`: does the hot code check at the header? If not, every way round passes another check.
    Loop {
        check: Check,
        polled: bool,
    },
    TryTable(Vec<Catch>),
}
