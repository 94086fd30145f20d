//! Which functions may freeze, where entries must be polled, and how sites are numbered.
//!
//! A function that cannot run for long and calls nothing that can is left as it is, and calls of it
//! need no check. Site ids are a pure function of the original's bytes: imports come first (one id
//! each: "make this call again"), then function by function in the order of their operators, dead
//! code included, so that counting needs no validation.

use std::collections::BTreeSet;

use wasmparser::{Catch, HeapType, Operator, RefType, ValType};

use crate::Error;
use crate::layout::{ReferenceKind, reference_kind};
use crate::limits;
use crate::module::Module;
use crate::space::Symbol;

/// A function of at most this many operators (those of its callees included) may run unpolled: a few microseconds.
const UNPOLLED_OPERATORS_MAX: u64 = 4_000;

/// What the numbering and the polling need to know of each function.
#[derive(Debug)]
pub(crate) struct Graph {
    /// May the function unwind? Imported functions always may. Indexed by function.
    pub(crate) freezable: Vec<bool>,
    /// Must its entry be polled?
    pub(crate) entry_polled: Vec<bool>,
    /// First site id of each function.
    pub(crate) site_base: Vec<u32>,
    /// Number of site ids of the whole program.
    pub(crate) site_count: u32,
    /// Callees of freezable functions: what continuations may call.
    pub(crate) called: BTreeSet<u32>,
    /// Kinds of references that frames may hold.
    pub(crate) references: BTreeSet<ReferenceKind>,
    /// Operations on segments, for which continuations need helpers.
    pub(crate) segments: BTreeSet<Symbol>,
    /// How deep structures lie inside each other, at most.
    pub(crate) nesting: u32,
}

/// What a scan over a body's operators finds.
#[derive(Default)]
struct Scan {
    calls: Vec<u32>,
    tail_calls: Vec<u32>,
    tail_call_types: Vec<u32>,
    loops: u32,
    indirect_calls: u32,
    operators: u64,
    /// Structures inside each other, at most.
    nesting: u32,
    references: BTreeSet<ReferenceKind>,
    segments: BTreeSet<Symbol>,
}

impl Graph {
    pub(crate) fn new(wasm: &[u8], module: &Module) -> Result<Graph, Error> {
        let scans = module
            .bodies
            .iter()
            .map(|b| scan(module, b.reader(wasm)))
            .collect::<Result<Vec<_>, _>>()?;
        let nesting = limits::nesting(wasm, module, scans.iter().map(|s| s.nesting))?;
        let entry_polled = entry_polled(module, &scans);
        let freezable = freezable(module, &scans, &entry_polled);

        let imported = module.imported_functions;
        let mut site_base = (0..imported).collect::<Vec<_>>();
        let mut next = imported;
        let mut called = BTreeSet::new();
        for (scan, function) in scans.iter().zip(imported..) {
            site_base.push(next);
            if !freezable[function as usize] {
                continue;
            }
            let checked = scan.calls.iter().filter(|f| freezable[**f as usize]).count() as u32;
            let entry = u32::from(entry_polled[function as usize]);
            next += entry + scan.loops + 2 * (checked + scan.indirect_calls);
            called.extend(scan.calls.iter().chain(&scan.tail_calls));
        }
        let mut references: BTreeSet<_> =
            scans.iter().flat_map(|s| &s.references).copied().collect();
        for ty in module.functions.iter().flat_map(|ty| module.types[*ty as usize].params()) {
            if let ValType::Ref(reference) = ty {
                references.insert(reference_kind(*reference));
            }
        }
        let segments = scans.iter().flat_map(|s| &s.segments).copied().collect();
        Ok(Graph {
            freezable,
            entry_polled,
            site_base,
            site_count: next,
            called,
            references,
            segments,
            nesting,
        })
    }

    /// The function in which a site lies; an import's own index for its site.
    pub(crate) fn function_of(&self, site: u32) -> Option<u32> {
        // Functions without sites share their base with the next one: the last of equals has the sites.
        (site < self.site_count)
            .then(|| self.site_base.partition_point(|base| *base <= site) as u32 - 1)
    }

    pub(crate) fn sites_of(&self, function: u32) -> std::ops::Range<u32> {
        let end = self.site_base.get(function as usize + 1).copied().unwrap_or(self.site_count);
        self.site_base[function as usize]..end
    }
}

fn scan(module: &Module, body: wasmparser::FunctionBody<'_>) -> Result<Scan, Error> {
    let mut scan = Scan::default();
    for group in body.get_locals_reader()? {
        scan.value(group?.1);
    }
    let mut reader = body.get_operators_reader()?;
    let mut depth = 0u32;
    while !reader.eof() {
        scan.operators += 1;
        let operator = reader.read()?;
        depth = limits::depth_after(depth, &operator);
        scan.nesting = scan.nesting.max(depth);
        scan.reference(module, &operator);
        scan.segment(&operator);
        match operator {
            Operator::Call { function_index } => {
                exists("function", function_index, module.functions.len())?;
                let ty = module.function_type(function_index);
                ty.results().iter().for_each(|ty| scan.value(*ty));
                scan.calls.push(function_index);
            }
            Operator::CallIndirect { type_index, .. } => {
                let ty = module.types.get(type_index as usize);
                let results = ty.map(|ty| ty.results()).unwrap_or_default();
                results.iter().for_each(|ty| scan.value(*ty));
                scan.indirect_calls += 1;
            }
            Operator::ReturnCall { function_index } => {
                exists("function", function_index, module.functions.len())?;
                scan.tail_calls.push(function_index);
            }
            Operator::ReturnCallIndirect { type_index, .. } => {
                exists("type", type_index, module.types.len())?;
                scan.tail_call_types.push(type_index);
            }
            Operator::Loop { .. } => scan.loops += 1,
            _ => {}
        }
    }
    Ok(scan)
}

/// Bodies are scanned before they are validated.
fn exists(what: &str, index: u32, count: usize) -> Result<(), Error> {
    let missing = || Error::Invalid(format!("no {what} {index}"));
    ((index as usize) < count).then_some(()).ok_or_else(missing)
}

impl Scan {
    fn value(&mut self, ty: ValType) {
        if let ValType::Ref(reference) = ty {
            self.references.insert(reference_kind(reference));
        }
    }

    /// Where references come from. (Parameters and results of other functions count at the call.)
    fn reference(&mut self, module: &Module, operator: &Operator<'_>) {
        match operator {
            Operator::RefFunc { .. } => self.value(ValType::FUNCREF),
            Operator::RefNull { hty: HeapType::Abstract { shared, ty } } => {
                let heap = HeapType::Abstract { shared: *shared, ty: *ty };
                RefType::new(true, heap).into_iter().for_each(|ty| self.value(ValType::Ref(ty)));
            }
            Operator::TableGet { table } => {
                let ty = module.tables.get(*table as usize).map(|ty| ty.element_type);
                ty.into_iter().for_each(|ty| self.value(ValType::Ref(ty)));
            }
            Operator::GlobalGet { global_index } => {
                let ty = module.globals.get(*global_index as usize).map(|ty| ty.content_type);
                ty.into_iter().for_each(|ty| self.value(ty));
            }
            Operator::TryTable { try_table } => {
                let by_reference =
                    |c: &Catch| matches!(c, Catch::OneRef { .. } | Catch::AllRef { .. });
                if try_table.catches.iter().any(by_reference) {
                    self.references.insert(ReferenceKind::Exn);
                }
            }
            _ => {}
        }
    }

    fn segment(&mut self, operator: &Operator<'_>) {
        let symbol = match *operator {
            Operator::MemoryInit { data_index, mem } => {
                Symbol::MemoryInit { data_index, memory: mem }
            }
            Operator::TableInit { elem_index, table } => {
                Symbol::TableInit { element_index: elem_index, table }
            }
            Operator::DataDrop { data_index } => Symbol::DropData { data_index },
            Operator::ElemDrop { elem_index } => Symbol::DropElement { element_index: elem_index },
            _ => return,
        };
        self.segments.insert(symbol);
    }
}

/// A cycle of tail calls grows no stack, so nothing but a poll at the entry bounds it.
fn entry_polled(module: &Module, scans: &[Scan]) -> Vec<bool> {
    let mut polled = vec![false; module.functions.len()];
    for scan in scans {
        for callee in &scan.tail_calls {
            polled[*callee as usize] = true;
        }
        for ty in &scan.tail_call_types {
            let ty = &module.types[*ty as usize];
            for function in &module.referenced {
                if module.function_type(*function) == ty {
                    polled[*function as usize] = true;
                }
            }
        }
    }
    polled[..module.imported_functions as usize].fill(false);
    polled
}

fn freezable(module: &Module, scans: &[Scan], entry_polled: &[bool]) -> Vec<bool> {
    let imported = module.imported_functions as usize;
    let mut cost: Vec<Option<u64>> = vec![None; module.functions.len()];
    let mut open = vec![false; module.functions.len()];
    let mut freezable = vec![false; module.functions.len()];
    freezable[..imported].fill(true);

    // Depth first, callees before callers; a call to a function that is still open closes a cycle.
    for root in imported..module.functions.len() {
        let mut path = vec![(root, 0usize)];
        while let Some((function, next)) = path.pop() {
            if next == 0 {
                if cost[function].is_some() || freezable[function] {
                    continue;
                }
                open[function] = true;
            }
            let scan = &scans[function - imported];
            let own = scan.loops > 0
                || scan.indirect_calls > 0
                || !scan.tail_call_types.is_empty()
                || entry_polled[function];
            let callee = scan.calls.iter().chain(&scan.tail_calls).nth(next);
            let Some(callee) = callee.filter(|_| !own).map(|c| *c as usize) else {
                open[function] = false;
                let mut callees = scan.calls.iter().chain(&scan.tail_calls);
                let total = callees.try_fold(scan.operators, |sum: u64, callee| {
                    Some(sum.saturating_add(cost[*callee as usize]?))
                });
                match total.filter(|t| !own && *t <= UNPOLLED_OPERATORS_MAX) {
                    Some(total) => cost[function] = Some(total),
                    None => freezable[function] = true,
                }
                continue;
            };
            path.push((function, next + 1));
            if !open[callee] {
                path.push((callee, 0));
            }
        }
    }
    freezable
}
