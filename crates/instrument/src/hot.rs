//! Assembles the module that runs: the original with checks, and what continuations and the host need of it.
//!
//! Function indices: the original's imports, the imports that the pass adds, the original's own
//! functions, the helpers. All other index spaces only grow at their end.

use std::borrow::Cow;
use std::convert::Infallible;

use wasm_encoder::reencode::{Error as ReencodeError, Reencode};
use wasm_encoder::{self as we, ExportKind, Instruction as I};
use wasmparser::{FuncValidatorAllocations, Parser, Payload};

use crate::emit::{Context, Emitter, Hints, frame_size};
use crate::layout;
use crate::module::Module;
use crate::space::{FunctionReference, IndexSpace, Symbol, TypeSpace, reference_import};
use crate::tree::{Check, ControlKind, Node, Tree};
use crate::{Error, Program, Stats, build, helpers, limits, liveness, module, polls};

/// Name under which the pass's imports are asked for, and prefix of its exports.
pub const NAMESPACE: &str = "peripatos";

/// The hot module, and what was counted on the way.
pub(crate) fn assemble(program: &Program) -> Result<(Vec<u8>, Stats), Error> {
    let mut assembly = Assembly::new(program)?;
    for payload in Parser::new(0).parse_all(&program.wasm) {
        assembly.section(payload?)?;
    }
    assembly.finish()
}

/// A hot module's function indices.
struct HotSpace<'p> {
    program: &'p Program,
    types: TypeSpace,
    /// The imports that the pass adds, in order.
    imports: Vec<Symbol>,
    /// The functions that the pass adds, in order.
    helpers: Vec<Symbol>,
}

impl HotSpace<'_> {
    fn helper_base(&self) -> u32 {
        (self.program.module.functions.len() + self.imports.len()) as u32
    }
}

impl Reencode for HotSpace<'_> {
    type Error = Infallible;

    fn function_index(&mut self, function: u32) -> Result<u32, ReencodeError> {
        let imported = self.program.module.is_imported(function);
        Ok(if imported { function } else { function + self.imports.len() as u32 })
    }
}

impl IndexSpace for HotSpace<'_> {
    fn symbol(&mut self, symbol: Symbol) -> u32 {
        let imported = self.program.module.imported_functions;
        if let Some(at) = self.imports.iter().position(|s| *s == symbol) {
            return imported + at as u32;
        }
        // Every symbol that code can name was collected from the same code beforehand.
        let at = self.helpers.iter().position(|s| *s == symbol);
        self.helper_base() + at.unwrap_or(usize::MAX) as u32
    }

    fn save_memory(&mut self) -> u32 {
        self.program.module.memories.len() as u32
    }

    fn flags_memory(&mut self) -> u32 {
        self.save_memory() + 1
    }

    fn slots(&mut self) -> u32 {
        self.program.module.tables.len() as u32
    }

    fn function_reference(&mut self, function: u32) -> FunctionReference {
        let imported = self.program.module.is_imported(function);
        let shift = if imported { 0 } else { self.imports.len() as u32 };
        FunctionReference::Function(function + shift)
    }

    fn has_segments(&self) -> bool {
        true
    }

    fn types(&mut self) -> &mut TypeSpace {
        &mut self.types
    }
}

/// The sections, as far as they have come.
struct Assembly<'p> {
    program: &'p Program,
    space: HotSpace<'p>,
    imports: we::ImportSection,
    functions: we::FunctionSection,
    tables: we::TableSection,
    memories: we::MemorySection,
    tags: we::TagSection,
    globals: we::GlobalSection,
    exports: we::ExportSection,
    elements: we::ElementSection,
    data_count: Option<u32>,
    hints: we::BranchHints,
    code: we::CodeSection,
    data: we::DataSection,
    next_function: u32,
    allocations: FuncValidatorAllocations,
    frame_size_max: u32,
    stats: Stats,
}

impl<'p> Assembly<'p> {
    fn new(program: &'p Program) -> Result<Self, Error> {
        let module = &program.module;
        let graph = &program.graph;
        let references = &graph.references;
        let imports = std::iter::once(Symbol::Poll)
            .chain(references.iter().flat_map(|kind| [Symbol::Save(*kind), Symbol::Load(*kind)]))
            .collect();
        let helpers = std::iter::once(Symbol::Slow).chain(graph.segments.iter().copied()).collect();
        let params = (0..module.imported_functions).map(|f| module.function_type(f).params());
        let frames = params.map(|params| layout::frame_size(params.iter().copied()));
        Ok(Assembly {
            program,
            space: HotSpace {
                program,
                types: TypeSpace::new(&program.wasm, module)?,
                imports,
                helpers,
            },
            imports: Default::default(),
            functions: Default::default(),
            tables: Default::default(),
            memories: Default::default(),
            tags: Default::default(),
            globals: Default::default(),
            exports: Default::default(),
            elements: Default::default(),
            data_count: None,
            hints: we::BranchHints::new(),
            code: Default::default(),
            data: Default::default(),
            next_function: module.imported_functions,
            allocations: FuncValidatorAllocations::default(),
            frame_size_max: frames.max().unwrap_or(0),
            stats: Stats { sites: graph.site_count, ..Stats::default() },
        })
    }

    fn section(&mut self, payload: Payload<'_>) -> Result<(), Error> {
        let space = &mut self.space;
        match payload {
            Payload::ImportSection(reader) => {
                space.parse_import_section(&mut self.imports, reader)?;
            }
            Payload::FunctionSection(reader) => {
                space.parse_function_section(&mut self.functions, reader)?;
            }
            Payload::TableSection(reader) => space.parse_table_section(&mut self.tables, reader)?,
            Payload::MemorySection(reader) => {
                space.parse_memory_section(&mut self.memories, reader)?;
            }
            Payload::TagSection(reader) => space.parse_tag_section(&mut self.tags, reader)?,
            Payload::GlobalSection(reader) => {
                space.parse_global_section(&mut self.globals, reader)?;
            }
            Payload::ExportSection(reader) => {
                for export in reader.clone() {
                    let name = export?.name;
                    if name.starts_with("peripatos.") {
                        return Err(Error::refused(format!("export {name:?}"), "a reserved name"));
                    }
                }
                space.parse_export_section(&mut self.exports, reader)?;
            }
            Payload::ElementSection(reader) => {
                space.parse_element_section(&mut self.elements, reader)?;
            }
            Payload::DataCountSection { count, .. } => self.data_count = Some(count + 1),
            Payload::DataSection(reader) => space.parse_data_section(&mut self.data, reader)?,
            Payload::CodeSectionEntry(_) => self.function()?,
            _ => {}
        }
        Ok(())
    }

    /// The next function of the original.
    fn function(&mut self) -> Result<(), Error> {
        let index = self.next_function;
        self.next_function += 1;
        let Program { wasm, module, graph, .. } = self.program;
        let freezable = graph.freezable[index as usize];
        let tree = tree(self.program, index, &mut self.allocations)?;
        self.stats.functions += 1;
        self.stats.instrumented_functions += u32::from(freezable);
        self.count(&tree.body);
        self.stats.entry_polls += u32::from(tree.entry.is_some());
        self.measure(&tree)?;
        let context = Context { module, count_down: self.program.options.count_down };
        let emitter = Emitter::new(&context, &mut self.space, &tree, tree.param_count);
        let (function, hints) = if graph.sites_of(index).is_empty() {
            emitter.without_tail(&tree.body)
        } else {
            emitter.with_tail(|emitter| {
                tree.entry.iter().for_each(|entry| emitter.check(entry));
                emitter.nodes(&tree.body)
            })
        }
        .map_err(|error| match error {
            Error::Internal(what) => {
                Error::Internal(format!("{}: {what}", module::function_place(wasm, index)))
            }
            other => other,
        })?;
        let hot_index = self.space.function_index(index)?;
        limits::body_size(wasm, index, function.byte_len())?;
        branch_hints(&mut self.hints, hot_index, &hints);
        self.code.function(&function);
        Ok(())
    }

    fn count(&mut self, nodes: &[Node<'_>]) {
        for node in nodes {
            match node {
                Node::Check(_) => self.stats.call_checks += 1,
                Node::Control(control) => {
                    if let ControlKind::Loop { polled: true, .. } = control.kind {
                        self.stats.loop_polls += 1;
                    }
                    self.count(&control.body);
                    self.count(control.else_body.as_deref().unwrap_or_default());
                }
                _ => {}
            }
        }
    }

    fn measure(&mut self, tree: &Tree<'_>) -> Result<(), Error> {
        let mut largest = self.frame_size_max;
        for_each_check(tree, &mut |check| {
            largest = largest.max(frame_size(&tree.locals, check));
        });
        if largest > layout::FRAME_SIZE_MAX {
            let place = module::function_place(&self.program.wasm, self.next_function - 1);
            return Err(Error::refused(place, format!("a frame of {largest} bytes")));
        }
        self.frame_size_max = largest;
        Ok(())
    }

    fn finish(mut self) -> Result<(Vec<u8>, Stats), Error> {
        self.add_imports();
        self.add_memories();
        self.add_tables()?;
        self.add_exports()?;
        self.add_helpers()?;
        let mut module = we::Module::new();
        module
            .section(self.space.types.section())
            .section(&self.imports)
            .section(&self.functions)
            .section(&self.tables)
            .section(&self.memories);
        if !self.tags.is_empty() {
            module.section(&self.tags);
        }
        module.section(&self.globals).section(&self.exports).section(&self.elements);
        if let Some(count) = self.data_count {
            module.section(&we::DataCountSection { count });
        }
        if !self.hints.is_empty() {
            module.section(&self.hints);
        }
        module.section(&self.code).section(&self.data);
        Ok((module.finish(), self.stats))
    }

    fn add_imports(&mut self) {
        for symbol in self.space.imports.clone() {
            let (params, results) = symbol.signature(&self.program.module);
            let ty = self.space.types.function(&params, &results);
            let name = match symbol {
                Symbol::Save(kind) => reference_import("save", kind),
                Symbol::Load(kind) => reference_import("load", kind),
                _ => "poll".into(),
            };
            self.imports.import(NAMESPACE, &name, we::EntityType::Function(ty));
        }
    }

    /// The save memory, with the stack pointer at its start value, and the flags memory.
    fn add_memories(&mut self) {
        let first_use = u64::from(self.program.frames_base() + self.frame_size_max);
        let pages = first_use.div_ceil(1 << 16) + 1;
        self.memories.memory(save_memory(&self.program.module, pages));
        self.memories.memory(flags_memory(&self.program.module));
        let (save, flags) = (self.space.save_memory(), self.space.flags_memory());
        self.exports.export("peripatos.save", ExportKind::Memory, save);
        self.exports.export("peripatos.flags", ExportKind::Memory, flags);
        let offset = we::ConstExpr::i32_const(layout::STACK_POINTER as i32);
        self.data.active(save, &offset, self.program.frames_base().to_le_bytes());
    }

    fn add_tables(&mut self) -> Result<(), Error> {
        let slots = self.space.slots();
        let referenced = &self.program.module.referenced;
        for size in [u64::from(self.program.graph.site_count), referenced.len() as u64] {
            self.tables.table(we::TableType {
                element_type: we::RefType::FUNCREF,
                minimum: size,
                maximum: Some(size),
                table64: false,
                shared: false,
            });
        }
        self.exports.export("peripatos.slots", ExportKind::Table, slots);
        self.exports.export("peripatos.funcs", ExportKind::Table, slots + 1);
        if !referenced.is_empty() {
            let functions = referenced.iter().map(|f| self.space.function_index(*f));
            let functions = functions.collect::<Result<Vec<_>, _>>()?;
            let elements = we::Elements::Functions(Cow::Owned(functions));
            self.elements.active(Some(slots + 1), &we::ConstExpr::i32_const(0), elements);
        }
        Ok(())
    }

    fn add_exports(&mut self) -> Result<(), Error> {
        let module = &self.program.module;
        let mut all = |what: &str, kind, count: usize| {
            (0..count as u32).for_each(|index| {
                self.exports.export(&format!("peripatos.{what}.{index}"), kind, index);
            });
        };
        all("memory", ExportKind::Memory, module.memories.len());
        all("table", ExportKind::Table, module.tables.len());
        all("global", ExportKind::Global, module.globals.len());
        all("tag", ExportKind::Tag, module.tags.len());
        // An import is called again in its slot; the others are what continuations call.
        let called = self.program.graph.called.range(module.imported_functions..).copied();
        for function in (0..module.imported_functions).chain(called) {
            let index = self.space.function_index(function)?;
            self.exports.export(&format!("peripatos.func.{function}"), ExportKind::Func, index);
        }
        if let Some(start) = module.start {
            let index = self.space.function_index(start)?;
            self.exports.export("peripatos.start", ExportKind::Func, index);
        }
        Ok(())
    }

    fn add_helpers(&mut self) -> Result<(), Error> {
        let save = self.space.save_memory();
        let mut drops = vec![];
        for symbol in self.space.helpers.clone() {
            let body = match symbol {
                Symbol::Slow => helpers::Slow {
                    save,
                    flags: self.space.flags_memory(),
                    slots: self.space.slots(),
                    poll: self.space.symbol(Symbol::Poll),
                    frame_size_max: self.frame_size_max,
                    count_down: self.program.options.count_down,
                }
                .body(),
                Symbol::MemoryInit { data_index, memory } => {
                    helpers::segment_init(I::MemoryInit { mem: memory, data_index })
                }
                Symbol::TableInit { element_index, table } => {
                    helpers::segment_init(I::TableInit { elem_index: element_index, table })
                }
                Symbol::DropData { data_index } => {
                    drops.push(I::DataDrop(data_index));
                    helpers::segment_drop(I::DataDrop(data_index), drops.len() as u32 - 1, save)
                }
                Symbol::DropElement { element_index } => {
                    drops.push(I::ElemDrop(element_index));
                    let index = drops.len() as u32 - 1;
                    helpers::segment_drop(I::ElemDrop(element_index), index, save)
                }
                Symbol::Poll | Symbol::Save(_) | Symbol::Load(_) => continue,
            };
            self.add_helper(&symbol.name(), symbol.signature(&self.program.module), &body);
        }
        if !drops.is_empty() {
            let body = helpers::redrop(drops, save);
            self.add_helper("peripatos.redrop", (vec![], vec![]), &body);
        }
        Ok(())
    }

    fn add_helper(
        &mut self,
        name: &str,
        (params, results): (Vec<wasmparser::ValType>, Vec<wasmparser::ValType>),
        body: &we::Function,
    ) {
        let imports = self.program.module.imported_functions;
        let index = imports + self.space.imports.len() as u32 + self.functions.len();
        self.functions.function(self.space.types.function(&params, &results));
        self.code.function(body);
        self.exports.export(name, ExportKind::Func, index);
    }
}

/// Type of the save memory.
pub(crate) fn save_memory(module: &Module, minimum: u64) -> we::MemoryType {
    private_memory(module, minimum, layout::SAVE_PAGES_MAX, false)
}

/// Type of the flags memory.
pub(crate) fn flags_memory(module: &Module) -> we::MemoryType {
    private_memory(module, 1, layout::FLAGS_PAGES_MAX, true)
}

fn private_memory(module: &Module, minimum: u64, most: u64, memory64: bool) -> we::MemoryType {
    let declared = module.memories.iter().filter_map(|memory| memory.maximum);
    let maximum = Some(layout::maximum(most, declared));
    we::MemoryType { minimum, maximum, memory64, shared: false, page_size_log2: None }
}

/// One function of the original, with everything known that emitting needs.
pub(crate) fn tree<'p>(
    program: &'p Program,
    index: u32,
    allocations: &mut FuncValidatorAllocations,
) -> Result<Tree<'p>, Error> {
    let Program { wasm, module, graph, .. } = program;
    let mut tree = build::build(wasm, module, graph, index, allocations)?;
    if !graph.sites_of(index).is_empty() {
        if !liveness::analyse(&mut tree) {
            let place = module::function_place(wasm, index);
            let walks = liveness::WALKS_MAX;
            let reason =
                format!("a chain of loops that more than {walks} walks would be needed for");
            return Err(Error::refused(place, reason));
        }
        polls::elide(&mut tree);
    }
    Ok(tree)
}

pub(crate) fn branch_hints(section: &mut we::BranchHints, function: u32, hints: &Hints) {
    if !hints.is_empty() {
        let unlikely =
            |offset: &u32| we::BranchHint { branch_func_offset: *offset, branch_hint_value: 0 };
        section.function_hints(function, hints.iter().map(unlikely));
    }
}

/// Every check of the tree, the entry's and the loops' included.
pub(crate) fn for_each_check(tree: &Tree<'_>, visit: &mut impl FnMut(&Check)) {
    fn walk(nodes: &[Node<'_>], visit: &mut impl FnMut(&Check)) {
        for node in nodes {
            match node {
                Node::Check(check) => visit(check),
                Node::Control(control) => {
                    if let ControlKind::Loop { check, .. } = &control.kind {
                        visit(check);
                    }
                    walk(&control.body, visit);
                    walk(control.else_body.as_deref().unwrap_or_default(), visit);
                }
                _ => {}
            }
        }
    }
    tree.entry.iter().for_each(&mut *visit);
    walk(&tree.body, visit);
}
