//! Which loop headers need no poll of their own.
//!
//! Where every way round a loop passes the check of a call, or the header of a polled loop inside,
//! that check stands in for the loop's: it is reached at least once an iteration. Only the hot
//! code's test is left out; the header stays a site, since continuations enter loops there.

use std::collections::BTreeSet;

use wasmparser::{Catch, Operator};

use crate::tree::{Control, ControlKind, Node, Tree};

/// Decides [`ControlKind::Loop::polled`] for every loop of the tree, in one walk.
pub(crate) fn elide(tree: &mut Tree<'_>) {
    let mut walk = Walk { labels: vec![false], loops: vec![Loop::default()] };
    walk.nodes(&mut tree.body, true);
}

/// *Open* is a point that can be reached from the header of the innermost loop around it by a way
/// without a check. For a loop further out it is reached openly if this holds, and the inner header is
/// open in the outer loop, and the inner loop is not polled: a loop is entered by its header only. So
/// each point is looked at once, whatever loops it lies in.
struct Walk {
    /// Whether each label is reached openly, as seen from the innermost loop around its structure;
    /// for a loop's label: as seen from its own header.
    labels: Vec<bool>,
    /// The loops around, outermost first; the first stands for the function.
    loops: Vec<Loop>,
}

#[derive(Default)]
struct Loop {
    /// Index of its label.
    label: usize,
    /// Labels further out that are reached openly from its header.
    exits: BTreeSet<usize>,
}

impl Walk {
    fn nodes(&mut self, nodes: &mut [Node<'_>], mut open: bool) -> bool {
        for node in nodes {
            match node {
                Node::Get(_) | Node::Set(_) => {}
                // An exception leaves the call before its check.
                Node::Check(_) => open = false,
                Node::Op(operator) => open = self.operator(operator, open),
                Node::Control(control) => open = self.control(control, open),
            }
        }
        open
    }

    fn operator(&mut self, operator: &Operator<'_>, open: bool) -> bool {
        match operator {
            Operator::Br { relative_depth } => self.branch(*relative_depth, open),
            Operator::BrIf { relative_depth } => {
                self.branch(*relative_depth, open);
                return open;
            }
            Operator::BrTable { targets } => {
                self.branch(targets.default(), open);
                targets.targets().flatten().for_each(|target| self.branch(target, open));
            }
            Operator::Return
            | Operator::Unreachable
            | Operator::ReturnCall { .. }
            | Operator::ReturnCallIndirect { .. }
            | Operator::Throw { .. }
            | Operator::ThrowRef => {}
            _ => return open,
        }
        false
    }

    fn control(&mut self, control: &mut Control<'_>, open: bool) -> bool {
        match &mut control.kind {
            ControlKind::Loop { polled, .. } => {
                let (end, around) = self.around(&mut control.body, open);
                *polled = around;
                return end;
            }
            ControlKind::TryTable(catches) => {
                for catch in catches {
                    let (Catch::One { label, .. }
                    | Catch::OneRef { label, .. }
                    | Catch::All { label }
                    | Catch::AllRef { label }) = catch;
                    self.branch(*label, open);
                }
            }
            ControlKind::Block | ControlKind::If => {}
        }
        self.labels.push(false);
        let mut end = self.nodes(&mut control.body, open);
        if matches!(control.kind, ControlKind::If) {
            end |= match &mut control.else_body {
                Some(body) => self.nodes(body, open),
                None => open,
            };
        }
        end | self.labels.pop().unwrap_or_default()
    }

    /// A loop: whether its end is open to the loop outside, and whether its own header is to itself.
    fn around(&mut self, body: &mut [Node<'_>], open: bool) -> (bool, bool) {
        self.loops.push(Loop { label: self.labels.len(), exits: BTreeSet::new() });
        self.labels.push(false);
        let end = self.nodes(body, true);
        let around = self.labels.pop().unwrap_or_default();
        let exits = self.loops.pop().map(|inner| inner.exits).unwrap_or_default();
        let through = open && !around;
        if through {
            self.leave(exits);
        }
        (through && end, around)
    }

    /// What a loop reached openly, the one around it does, too.
    fn leave(&mut self, mut exits: BTreeSet<usize>) {
        let Some(outer) = self.loops.last_mut() else { return };
        while exits.last().is_some_and(|label| *label >= outer.label) {
            exits.pop_last().into_iter().for_each(|label| self.labels[label] = true);
        }
        if exits.len() > outer.exits.len() {
            std::mem::swap(&mut exits, &mut outer.exits);
        }
        outer.exits.extend(exits);
    }

    /// Branches out of the function do not matter, those out of the loop do for the one around it.
    fn branch(&mut self, depth: u32, open: bool) {
        let label = self.labels.len().checked_sub(1 + depth as usize);
        let (Some(label), Some(innermost)) = (label, self.loops.last_mut()) else { return };
        if open && label >= innermost.label {
            self.labels[label] = true;
        } else if open {
            innermost.exits.insert(label);
        }
    }
}
