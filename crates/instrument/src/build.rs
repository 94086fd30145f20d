//! Decodes and validates one function body into a [`Tree`].
//!
//! Operands stay on the operand stack as long as no check can come between their push and their pop;
//! around checks, and on entry to control structures that hold checks, they live in slots. A slot
//! belongs to one height and type of the operand stack. Code that can never run is dropped, but its
//! sites keep their numbers.

use std::collections::HashMap;

use wasmparser::{
    BlockType, FuncValidator, FuncValidatorAllocations, Operator, RefType, ValType,
    ValidatorResources,
};

use crate::Error;
use crate::graph::Graph;
use crate::layout::widen;
use crate::limits;
use crate::module::Module;
use crate::tree::{Check, CheckKind, Control, ControlKind, Node, Tree};

/// Decodes function `index` of the original.
pub(crate) fn build<'a>(
    wasm: &'a [u8],
    module: &Module,
    graph: &Graph,
    index: u32,
    allocations: &mut FuncValidatorAllocations,
) -> Result<Tree<'a>, Error> {
    let body = module.body(index);
    let reader = body.reader(wasm);
    let ty = module.function_type(index);
    let mut locals = ty.params().to_vec();
    for group in reader.get_locals_reader()? {
        let (count, ty) = group?;
        locals.extend(std::iter::repeat_n(widen(ty), count as usize));
    }
    let mut validator = body.to_validate().into_validator(std::mem::take(allocations));
    validator.read_locals(&mut reader.get_binary_reader())?;

    let mut next_site = graph.site_base[index as usize];
    let entry = graph.entry_polled[index as usize].then(|| {
        next_site += 1;
        Check::new(next_site - 1, CheckKind::Entry)
    });
    let mut builder = Builder {
        module,
        graph,
        holds_sites: holds_sites(&reader, graph)?.into_iter(),
        validator,
        locals,
        slots: HashMap::new(),
        frames: vec![Frame::function()],
        in_slots: 0,
        dead: 0,
        next_site,
    };
    let mut operators = reader.get_operators_reader()?;
    while !operators.eof() {
        let (operator, offset) = operators.read_with_offset()?;
        builder.operator(operator, offset)?;
    }
    operators.finish()?;
    let body = builder.frames.pop().map(|f| f.nodes).unwrap_or_default();
    if builder.next_site != graph.sites_of(index).end {
        return Err(Error::Internal(format!("function {index}: sites counted twice differ")));
    }
    limits::locals(wasm, index, builder.locals.len())?;
    *allocations = builder.validator.into_allocations();
    Ok(Tree {
        body,
        locals: builder.locals,
        param_count: ty.params().len() as u32,
        results: ty.results().to_vec(),
        entry,
    })
}

/// For each control structure in order: is there a site inside it?
fn holds_sites(body: &wasmparser::FunctionBody<'_>, graph: &Graph) -> Result<Vec<bool>, Error> {
    let mut holds = vec![];
    let mut open: Vec<usize> = vec![];
    let mut operators = body.get_operators_reader()?;
    while !operators.eof() {
        let operator = operators.read()?;
        match &operator {
            Operator::Block { .. }
            | Operator::If { .. }
            | Operator::TryTable { .. }
            | Operator::Loop { .. } => {
                open.push(holds.len());
                holds.push(matches!(operator, Operator::Loop { .. }));
            }
            Operator::End => {
                let inner = open.pop().is_some_and(|inner| holds[inner]);
                open.last().into_iter().for_each(|outer| holds[*outer] |= inner);
            }
            operator if call_kind(operator, graph).is_some() => {
                open.last().into_iter().for_each(|innermost| holds[*innermost] = true);
            }
            _ => {}
        }
    }
    Ok(holds)
}

/// The check that a call needs, if it does.
fn call_kind(operator: &Operator<'_>, graph: &Graph) -> Option<CheckKind> {
    match *operator {
        Operator::Call { function_index } if graph.freezable[function_index as usize] => {
            Some(CheckKind::Call { function: function_index })
        }
        Operator::CallIndirect { type_index, table_index } => {
            Some(CheckKind::CallIndirect { type_index, table_index })
        }
        _ => None,
    }
}

/// An open control structure.
struct Frame<'a> {
    control: Option<Control<'a>>,
    nodes: Vec<Node<'a>>,
    /// Operands below this one's parameters.
    height: usize,
    in_else: bool,
    holds_sites: bool,
}

impl Frame<'_> {
    fn function() -> Self {
        Frame { control: None, nodes: vec![], height: 0, in_else: false, holds_sites: true }
    }
}

struct Builder<'a, 'm> {
    module: &'m Module,
    graph: &'m Graph,
    holds_sites: std::vec::IntoIter<bool>,
    validator: FuncValidator<ValidatorResources>,
    locals: Vec<ValType>,
    slots: HashMap<(usize, ValType), u32>,
    frames: Vec<Frame<'a>>,
    /// The lowest so many operands are in slots, the others on the operand stack.
    in_slots: usize,
    /// Open structures within code that can never run; 0 = the code can run.
    dead: u32,
    next_site: u32,
}

impl<'a> Builder<'a, '_> {
    fn operator(&mut self, operator: Operator<'a>, offset: u64) -> Result<(), Error> {
        if self.dead > 0 {
            return self.dead_operator(operator, offset);
        }
        match &operator {
            Operator::Block { .. }
            | Operator::Loop { .. }
            | Operator::If { .. }
            | Operator::TryTable { .. } => self.open(operator, offset),
            Operator::Else => {
                self.fall_through();
                self.validator.op(offset, &operator)?;
                self.enter_else();
                Ok(())
            }
            Operator::End => {
                self.fall_through();
                self.validator.op(offset, &operator)?;
                self.close();
                Ok(())
            }
            _ => match call_kind(&operator, self.graph) {
                Some(kind) => self.call(kind, operator, offset),
                None => self.plain(operator, offset),
            },
        }
    }

    fn plain(&mut self, operator: Operator<'a>, offset: u64) -> Result<(), Error> {
        let arity = operator.operator_arity(&self.validator.visitor(offset));
        // An operator of unknown arity is invalid here: let the validator say why.
        let pops = arity.map_or(0, |(pops, _)| pops as usize).min(self.height());
        self.on_stack(pops);
        self.validator.op(offset, &operator)?;
        let ends = matches!(
            operator,
            Operator::Br { .. }
                | Operator::BrTable { .. }
                | Operator::Return
                | Operator::Unreachable
                | Operator::ReturnCall { .. }
                | Operator::ReturnCallIndirect { .. }
                | Operator::Throw { .. }
                | Operator::ThrowRef
        );
        self.dead = u32::from(ends);
        self.push(Node::Op(operator));
        Ok(())
    }

    fn call(&mut self, kind: CheckKind, operator: Operator<'a>, offset: u64) -> Result<(), Error> {
        let (callee, table) = match kind {
            CheckKind::Call { function } => (self.module.function_type(function), 0),
            CheckKind::CallIndirect { type_index, .. } => {
                let ty = self.module.types.get(type_index as usize);
                (ty.ok_or_else(|| Error::Invalid(format!("no type {type_index}")))?, 1)
            }
            _ => return Err(Error::Internal("not a call".into())),
        };
        let (params, results) = (callee.params().len() + table, callee.results().len());
        let base = self.below(params, &operator, offset)?;
        let height = self.height();
        let mut check = Check::new(self.next_site, kind);
        self.next_site += 2;
        if base != self.in_slots {
            self.spill();
            check.args = (base..height).map(|at| self.slot(at)).collect();
        }
        self.validator.op(offset, &operator)?;
        check.results = (base..base + results).map(|at| self.slot(at)).collect();
        self.in_slots = base + results;
        self.push(Node::Check(Box::new(check)));
        Ok(())
    }

    fn open(&mut self, operator: Operator<'a>, offset: u64) -> Result<(), Error> {
        let holds_sites = self.holds_sites.next().unwrap_or(false);
        let (block_type, condition) = match &operator {
            Operator::Block { blockty } | Operator::Loop { blockty } => (*blockty, 0),
            Operator::If { blockty } => (*blockty, 1),
            Operator::TryTable { try_table } => (try_table.ty, 0),
            _ => return Err(Error::Internal("not a control structure".into())),
        };
        let param_count = self.param_count(block_type)?;
        let base = self.below(condition + param_count, &operator, offset)?;
        let height = self.height();
        let mut control = Control {
            kind: ControlKind::Block,
            block_type,
            params: vec![],
            condition: None,
            body: vec![],
            else_body: None,
            results: vec![],
            sites: self.next_site..self.next_site,
            else_sites: self.next_site,
        };
        if holds_sites {
            self.spill();
            control.params = (base..base + param_count).map(|at| self.slot(at)).collect();
            if condition == 1 && height > 0 {
                control.condition = Some(self.slot(height - 1));
            }
            self.in_slots = base + param_count;
        } else {
            self.on_stack((condition + param_count).min(height));
        }
        self.validator.op(offset, &operator)?;
        control.kind = match operator {
            Operator::Loop { .. } => {
                self.next_site += 1;
                ControlKind::Loop {
                    check: Check::new(self.next_site - 1, CheckKind::Loop),
                    polled: true,
                }
            }
            Operator::If { .. } => ControlKind::If,
            Operator::TryTable { try_table } => ControlKind::TryTable(try_table.catches),
            _ => ControlKind::Block,
        };
        self.frames.push(Frame {
            control: Some(control),
            nodes: vec![],
            height: base,
            in_else: false,
            holds_sites,
        });
        Ok(())
    }

    /// Before an `else` or `end` that is reached: the results belong on the operand stack.
    fn fall_through(&mut self) {
        let Some(frame) = self.frames.last() else { return };
        if frame.holds_sites {
            let results = self.height().saturating_sub(frame.height);
            self.on_stack(results);
        }
    }

    fn enter_else(&mut self) {
        let next_site = self.next_site;
        let Some(frame) = self.frames.last_mut() else { return };
        let nodes = std::mem::take(&mut frame.nodes);
        frame.in_else = true;
        if let Some(control) = &mut frame.control {
            control.body = nodes;
            control.else_sites = next_site;
            if frame.holds_sites {
                self.in_slots = frame.height + control.params.len();
            }
        }
        // Without sites the parameters are on the operand stack, as at the `if`.
        self.dead = 0;
    }

    fn close(&mut self) {
        if self.frames.len() == 1 {
            return;
        }
        let Some(frame) = self.frames.pop() else { return };
        let Some(mut control) = frame.control else { return };
        if frame.in_else {
            control.else_body = Some(frame.nodes);
        } else {
            control.body = frame.nodes;
            control.else_sites = self.next_site;
        }
        control.sites.end = self.next_site;
        if frame.holds_sites {
            control.results = (frame.height..self.height()).map(|at| self.slot(at)).collect();
            self.in_slots = self.height();
        }
        self.dead = 0;
        self.push(Node::Control(Box::new(control)));
    }

    /// Code that can never run: validated, numbered, dropped.
    fn dead_operator(&mut self, operator: Operator<'a>, offset: u64) -> Result<(), Error> {
        self.validator.op(offset, &operator)?;
        match &operator {
            Operator::Block { .. } | Operator::If { .. } | Operator::TryTable { .. } => {
                self.holds_sites.next();
                self.dead += 1;
            }
            Operator::Loop { .. } => {
                self.holds_sites.next();
                self.next_site += 1;
                self.dead += 1;
            }
            Operator::Else if self.dead == 1 => self.enter_else(),
            Operator::End if self.dead == 1 => self.close(),
            Operator::End => self.dead -= 1,
            operator if call_kind(operator, self.graph).is_some() => self.next_site += 2,
            _ => {}
        }
        Ok(())
    }

    fn param_count(&self, ty: BlockType) -> Result<usize, Error> {
        let BlockType::FuncType(index) = ty else { return Ok(0) };
        let ty = self.module.types.get(index as usize);
        ty.map(|t| t.params().len()).ok_or_else(|| Error::Invalid(format!("no type {index}")))
    }

    /// Number of operands below the `pops` that `operator` takes.
    fn below(&mut self, pops: usize, operator: &Operator<'_>, offset: u64) -> Result<usize, Error> {
        if let Some(base) = self.height().checked_sub(pops) {
            return Ok(base);
        }
        self.validator.op(offset, operator)?;
        Err(Error::Internal("an operator without its operands is not valid".into()))
    }

    fn height(&self) -> usize {
        self.validator.operand_stack_height() as usize
    }

    /// The slot of the operand at this height, which the validator knows to be there.
    fn slot(&mut self, at: usize) -> u32 {
        let depth = self.height() - 1 - at;
        let ty = self.validator.get_operand_type(depth).flatten();
        // Bottom types occur in dead code only, which is dropped before it asks for slots.
        let ty = widen(ty.unwrap_or(ValType::Ref(RefType::FUNCREF)));
        let locals = &mut self.locals;
        *self.slots.entry((at, ty)).or_insert_with(|| {
            locals.push(ty);
            locals.len() as u32 - 1
        })
    }

    /// Moves all operands into slots.
    fn spill(&mut self) {
        for at in (self.in_slots..self.height()).rev() {
            let slot = self.slot(at);
            self.push(Node::Set(slot));
        }
        self.in_slots = self.height();
    }

    /// Sees to it that the topmost `count` operands are on the operand stack.
    fn on_stack(&mut self, count: usize) {
        let height = self.height();
        if height - self.in_slots >= count {
            return;
        }
        self.spill();
        for at in height - count..height {
            let slot = self.slot(at);
            self.push(Node::Get(slot));
        }
        self.in_slots = height - count;
    }

    fn push(&mut self, node: Node<'a>) {
        if let Some(frame) = self.frames.last_mut() {
            frame.nodes.push(node);
        }
    }
}
