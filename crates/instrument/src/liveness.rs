//! Which locals each check has to save: a backward data-flow analysis over the tree.
//!
//! A frame holds exactly the locals that are alive behind its check, so both its size and its layout
//! follow from the original alone. What an exception handler around a call reads is alive at the
//! call, too: the resumed callee may throw.

use std::collections::HashMap;

use wasmparser::{Catch, Operator};

use crate::tree::{Check, Control, ControlKind, Node, Tree};

/// Walks over a function until nothing changes any more. Loops inside each other take three, however
/// many; only a chain of loops each of which is left for nothing but the header of the next one out
/// takes a walk a loop.
pub(crate) const WALKS_MAX: u32 = 200;

/// Fills in [`Check::live`] everywhere in the tree. `false`: it takes too many walks.
#[must_use]
pub(crate) fn analyse(tree: &mut Tree<'_>) -> bool {
    let words = tree.locals.len().div_ceil(64);
    let mut analysis = Analysis {
        none: Locals(vec![0; words]),
        labels: vec![Locals(vec![0; words])],
        handlers: vec![Locals(vec![0; words])],
        headers: HashMap::new(),
        changed: false,
    };
    for _ in 0..WALKS_MAX {
        analysis.changed = false;
        let none = analysis.none.clone();
        let live = analysis.nodes(&mut tree.body, none);
        if !analysis.changed {
            if let Some(entry) = &mut tree.entry {
                entry.live = live.to_vec();
            }
            return true;
        }
    }
    false
}

/// A set of locals.
#[derive(Clone, PartialEq)]
struct Locals(Vec<u64>);

impl Locals {
    fn add(&mut self, local: u32) {
        self.0[local as usize / 64] |= 1 << (local % 64);
    }

    fn remove(&mut self, local: u32) {
        self.0[local as usize / 64] &= !(1 << (local % 64));
    }

    fn union(&mut self, other: &Locals) {
        self.0.iter_mut().zip(&other.0).for_each(|(a, b)| *a |= b);
    }

    fn to_vec(&self) -> Vec<u32> {
        let bits = |(at, word): (usize, &u64)| {
            let (base, word) = (at as u32 * 64, *word);
            (0..64).filter(move |bit| word >> bit & 1 == 1).map(move |bit| base + bit)
        };
        self.0.iter().enumerate().filter(|(_, word)| **word != 0).flat_map(bits).collect()
    }
}

struct Analysis {
    none: Locals,
    /// Live set at each label's target, outermost first.
    labels: Vec<Locals>,
    /// What the handlers around the current point read, outer ones included.
    handlers: Vec<Locals>,
    /// Best known live set of each loop header, by site, from the walk before: all loops approach
    /// their fixed points together, so that nesting costs nothing.
    headers: HashMap<u32, Locals>,
    /// Whether this walk has found more than the one before.
    changed: bool,
}

impl Analysis {
    /// The live set before `nodes`, given the one behind them.
    fn nodes(&mut self, nodes: &mut [Node<'_>], mut live: Locals) -> Locals {
        for node in nodes.iter_mut().rev() {
            match node {
                Node::Get(local) => live.add(*local),
                Node::Set(local) => live.remove(*local),
                Node::Op(operator) => self.operator(operator, &mut live),
                Node::Check(check) => self.call(check, &mut live),
                Node::Control(control) => live = self.control(control, live),
            }
        }
        live
    }

    fn operator(&self, operator: &Operator<'_>, live: &mut Locals) {
        match operator {
            Operator::LocalGet { local_index } => live.add(*local_index),
            Operator::LocalSet { local_index } | Operator::LocalTee { local_index } => {
                live.remove(*local_index);
            }
            Operator::Br { relative_depth } => *live = self.label(*relative_depth).clone(),
            Operator::BrIf { relative_depth } => live.union(self.label(*relative_depth)),
            Operator::BrTable { targets } => {
                *live = self.label(targets.default()).clone();
                // The targets were read once by the validator.
                targets.targets().flatten().for_each(|target| live.union(self.label(target)));
            }
            Operator::Call { .. } => live.union(self.handler()),
            Operator::Throw { .. } | Operator::ThrowRef => *live = self.handler().clone(),
            Operator::Return
            | Operator::Unreachable
            | Operator::ReturnCall { .. }
            | Operator::ReturnCallIndirect { .. } => *live = self.none.clone(),
            _ => {}
        }
    }

    fn call(&self, check: &mut Check, live: &mut Locals) {
        let mut at_check = live.clone();
        at_check.union(self.handler());
        check.live = at_check.to_vec();
        check.results.iter().for_each(|result| live.remove(*result));
        live.union(self.handler());
        check.args.iter().for_each(|arg| live.add(*arg));
    }

    fn control(&mut self, control: &mut Control<'_>, mut live: Locals) -> Locals {
        control.results.iter().for_each(|result| live.remove(*result));
        let params = std::mem::take(&mut control.params);
        let mut live = match &mut control.kind {
            ControlKind::Block => {
                self.labels.push(live.clone());
                let live = self.nodes(&mut control.body, live);
                self.labels.pop();
                live
            }
            ControlKind::If => {
                self.labels.push(live.clone());
                let then = self.nodes(&mut control.body, live.clone());
                let mut live = match &mut control.else_body {
                    Some(body) => self.nodes(body, live),
                    None => live,
                };
                self.labels.pop();
                live.union(&then);
                live
            }
            ControlKind::TryTable(catches) => {
                let handler = self.handler_of(catches);
                self.handlers.push(handler);
                self.labels.push(live.clone());
                let live = self.nodes(&mut control.body, live);
                self.labels.pop();
                self.handlers.pop();
                live
            }
            ControlKind::Loop { check, .. } => self.around(check, &params, &mut control.body, live),
        };
        params.iter().for_each(|param| live.remove(*param));
        params.iter().for_each(|param| live.add(*param));
        control.params = params;
        if let Some(condition) = control.condition {
            live.add(condition);
        }
        live
    }

    /// A loop: the header's live set is a part of the least fixed point of all headers' sets.
    fn around(
        &mut self,
        check: &mut Check,
        params: &[u32],
        body: &mut [Node<'_>],
        live: Locals,
    ) -> Locals {
        let known = self.headers.get(&check.id).unwrap_or(&self.none).clone();
        let mut label = known.clone();
        params.iter().for_each(|param| label.remove(*param));
        self.labels.push(label);
        let mut header = self.nodes(body, live);
        self.labels.pop();
        header.union(&known);
        if header != known {
            self.changed = true;
            self.headers.insert(check.id, header.clone());
        }
        check.live = header.to_vec();
        header
    }

    /// What the targets of these catches read, with all that handlers further out read.
    fn handler_of(&self, catches: &[Catch]) -> Locals {
        let mut live = self.handler().clone();
        for catch in catches {
            let label = match catch {
                Catch::One { label, .. }
                | Catch::OneRef { label, .. }
                | Catch::All { label }
                | Catch::AllRef { label } => *label,
            };
            live.union(self.label(label));
        }
        live
    }

    fn handler(&self) -> &Locals {
        self.handlers.last().unwrap_or(&self.none)
    }

    fn label(&self, depth: u32) -> &Locals {
        let at = self.labels.len().checked_sub(1 + depth as usize);
        // The validator has seen every label.
        at.map_or(&self.none, |at| &self.labels[at])
    }
}
