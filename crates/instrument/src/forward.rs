//! The body of a continuation: the code that runs after one site, and only that.
//!
//! Structures around the site are entered in the middle: what lies before the site is left out, what
//! can only be reached by going round a loop again is not there either. Where the code would take
//! such a loop's back-edge, it saves the loop header's frame and goes on in the header's slot.

use wasm_encoder::{BlockType, Function, Instruction as I};

use crate::Error;
use crate::emit::{Context, Emitter, Hints};
use crate::layout;
use crate::space::IndexSpace;
use crate::tree::{Check, CheckKind, Control, ControlKind, Node, Tree};

/// Emits the continuation of `site`: a function without parameters that gives the results of the original's.
pub(crate) fn emit<S: IndexSpace>(
    context: &Context<'_>,
    space: &mut S,
    tree: &Tree<'_>,
    site: u32,
) -> Result<(Function, Hints), Error> {
    let check = find(tree, site).ok_or(Error::NoSuchSite(site))?;
    Emitter::new(context, space, tree, 0).with_tail(|emitter| {
        emitter.load_frame(check);
        if check.kind == CheckKind::Entry {
            return emitter.nodes(&tree.body);
        }
        emitter.after(&tree.body, site)
    })
}

/// The check that owns a site.
pub(crate) fn find<'t>(tree: &'t Tree<'_>, site: u32) -> Option<&'t Check> {
    if let Some(entry) = tree.entry.as_ref().filter(|entry| entry.id == site) {
        return Some(entry);
    }
    find_in(&tree.body, site)
}

fn find_in<'t>(nodes: &'t [Node<'_>], site: u32) -> Option<&'t Check> {
    nodes.iter().find_map(|node| match node {
        Node::Check(check) if check.owns(site) => Some(&**check),
        Node::Control(control) if control.sites.contains(&site) => match &control.kind {
            ControlKind::Loop { check, .. } if check.id == site => Some(check),
            _ => {
                let else_body = control.else_body.as_deref().unwrap_or_default();
                find_in(&control.body, site).or_else(|| find_in(else_body, site))
            }
        },
        _ => None,
    })
}

impl<S: IndexSpace> Emitter<'_, S> {
    /// What runs after `site`, which lies in `nodes`, up to their end.
    fn after(&mut self, nodes: &[Node<'_>], site: u32) -> Result<(), Error> {
        let holds = |node: &Node<'_>| match node {
            Node::Check(check) => check.owns(site),
            Node::Control(control) => control.sites.contains(&site),
            _ => false,
        };
        let at = nodes.iter().position(holds).ok_or(Error::NoSuchSite(site))?;
        match &nodes[at] {
            Node::Check(check) if check.id == site => self.resume_callee(check),
            Node::Check(_) => {}
            Node::Control(control) => self.inside(control, site)?,
            _ => return Err(Error::NoSuchSite(site)),
        }
        self.nodes(&nodes[at + 1..])
    }

    /// The callee's frame is on top now: its slot gives the results of the call.
    fn resume_callee(&mut self, check: &Check) {
        let module = self.module;
        let callee = match check.kind {
            CheckKind::Call { function } => module.function_type(function),
            CheckKind::CallIndirect { type_index, .. } => &module.types[type_index as usize],
            CheckKind::Loop | CheckKind::Entry => return,
        };
        let type_index = self.space.types().function(&[], callee.results());
        let table_index = self.space.slots();
        let (stack_pointer, site) = (self.at(layout::STACK_POINTER), self.at(0));
        self.op(I::I32Const(0)).op(I::I32Load(stack_pointer));
        self.op(I::I32Const(layout::FRAME_HEADER as i32)).op(I::I32Sub).op(I::I32Load(site));
        self.op(I::CallIndirect { type_index, table_index });
        self.after_call(check);
    }

    /// Enters a structure at a site inside it.
    fn inside(&mut self, control: &Control<'_>, site: u32) -> Result<(), Error> {
        match &control.kind {
            ControlKind::Loop { check, polled } if check.id == site => {
                if self.count_down && *polled {
                    self.uncount();
                }
                return self.control(control);
            }
            ControlKind::Loop { check, .. } => return self.inside_loop(control, check, site),
            ControlKind::Block | ControlKind::If | ControlKind::TryTable(_) => {}
        }
        let ty = self.result_block(control);
        let opener = match &control.kind {
            // The condition was decided before the site.
            ControlKind::If => I::Block(ty),
            kind => self.opener(kind, ty)?,
        };
        self.open_label(opener);
        match &control.else_body {
            Some(body) if site >= control.else_sites => self.after(body, site)?,
            _ => self.after(&control.body, site)?,
        }
        self.close_label();
        self.set_all(&control.results);
        Ok(())
    }

    /// One partial iteration; the way round goes through the header's slot.
    fn inside_loop(
        &mut self,
        control: &Control<'_>,
        header: &Check,
        site: u32,
    ) -> Result<(), Error> {
        let ty = self.result_block(control);
        let params = self.types_of(&control.params);
        let back_edge = self.space.types().block(&params);
        self.open(I::Block(ty));
        self.open_label(I::Block(back_edge));
        self.after(&control.body, site)?;
        self.op(I::Br(1));
        self.close_label();
        self.set_all(&control.params);
        self.save_frame(header);
        self.close();
        self.set_all(&control.results);
        Ok(())
    }

    /// A header's own poll follows at once, and must not count twice: else every first poll would freeze at N = 1.
    fn uncount(&mut self) {
        let counter = self.at(layout::COUNTER);
        self.op(I::I32Const(0)).op(I::I32Const(0)).op(I::I32Load(counter));
        self.op(I::I32Const(1)).op(I::I32Add).op(I::I32Store(counter));
    }

    fn result_block(&mut self, control: &Control<'_>) -> BlockType {
        let results = self.types_of(&control.results);
        self.space.types().block(&results)
    }
}
