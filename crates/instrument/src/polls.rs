//! Which loop headers need no poll of their own.
//!
//! Where every way round a loop passes the check of a call, or the header of a polled loop inside,
//! that check stands in for the loop's: it is reached at least once an iteration. Only the hot
//! code's test is left out; the header stays a site, since continuations enter loops there.

use wasmparser::{Catch, Operator};

use crate::tree::{Control, ControlKind, Node, Tree};

/// Decides [`ControlKind::Loop::polled`] for every loop of the tree.
pub(crate) fn elide(tree: &mut Tree<'_>) {
    decide(&mut tree.body);
}

/// Innermost loops first: an outer loop's verdict uses theirs.
fn decide(nodes: &mut [Node<'_>]) {
    for node in nodes {
        let Node::Control(control) = node else { continue };
        decide(&mut control.body);
        if let Some(body) = &mut control.else_body {
            decide(body);
        }
        if let ControlKind::Loop { polled, .. } = &mut control.kind {
            let mut walk = Walk { labels: vec![Reached::Never] };
            walk.nodes(&control.body, Reached::Unchecked);
            *polled = walk.labels[0] == Reached::Unchecked;
        }
    }
}

/// How a point can be reached from the header of the loop in question.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Reached {
    Never,
    /// Only by ways that passed a check.
    Checked,
    /// By a way without a check.
    Unchecked,
}

struct Walk {
    /// How each label inside the loop is reached; the first is the loop's own header.
    labels: Vec<Reached>,
}

impl Walk {
    fn nodes(&mut self, nodes: &[Node<'_>], mut at: Reached) -> Reached {
        for node in nodes {
            match node {
                Node::Get(_) | Node::Set(_) => {}
                // An exception leaves the call before its check.
                Node::Check(_) => at = at.min(Reached::Checked),
                Node::Op(operator) => at = self.operator(operator, at),
                Node::Control(control) => at = self.control(control, at),
            }
        }
        at
    }

    fn operator(&mut self, operator: &Operator<'_>, at: Reached) -> Reached {
        match operator {
            Operator::Br { relative_depth } => self.branch(*relative_depth, at),
            Operator::BrIf { relative_depth } => {
                self.branch(*relative_depth, at);
                return at;
            }
            Operator::BrTable { targets } => {
                self.branch(targets.default(), at);
                targets.targets().flatten().for_each(|target| self.branch(target, at));
            }
            Operator::Return
            | Operator::Unreachable
            | Operator::ReturnCall { .. }
            | Operator::ReturnCallIndirect { .. }
            | Operator::Throw { .. }
            | Operator::ThrowRef => {}
            _ => return at,
        }
        Reached::Never
    }

    fn control(&mut self, control: &Control<'_>, at: Reached) -> Reached {
        if let ControlKind::TryTable(catches) = &control.kind {
            for catch in catches {
                let (Catch::One { label, .. }
                | Catch::OneRef { label, .. }
                | Catch::All { label }
                | Catch::AllRef { label }) = catch;
                self.branch(*label, at);
            }
        }
        let inside = match control.kind {
            ControlKind::Loop { polled: true, .. } => at.min(Reached::Checked),
            _ => at,
        };
        self.labels.push(Reached::Never);
        let mut end = self.nodes(&control.body, inside);
        if matches!(control.kind, ControlKind::If) {
            end = end.max(match &control.else_body {
                Some(body) => self.nodes(body, inside),
                None => inside,
            });
        }
        let label = self.labels.pop().unwrap_or(Reached::Never);
        if matches!(control.kind, ControlKind::Loop { .. }) { end } else { end.max(label) }
    }

    /// Branches beyond the loop leave it and do not matter.
    fn branch(&mut self, depth: u32, at: Reached) {
        let index = self.labels.len().checked_sub(1 + depth as usize);
        if let Some(index) = index {
            self.labels[index] = self.labels[index].max(at);
        }
    }
}
