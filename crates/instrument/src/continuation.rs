//! Assembles a continuation module: forward code for some sites, around the hot instance's parts.
//!
//! The module imports exactly what its code names. Instantiating it stores its functions in the hot
//! instance's slot table.

use std::borrow::Cow;
use std::convert::Infallible;

use wasm_encoder::reencode::{Error as ReencodeError, Reencode};
use wasm_encoder::{self as we, EntityType, Function, Instruction as I};
use wasmparser::{FuncValidatorAllocations, ValType};

use crate::emit::{Context, Hints, memory_at};
use crate::layout::{self, encode_type, reference_kind, value_size};
use crate::space::{FunctionReference, IndexSpace, Symbol, TypeSpace};
use crate::{Continuation, Error, Program, SiteId, forward, hot, limits};

/// Builds the module for `sites`.
pub(crate) fn assemble(program: &Program, sites: &[SiteId]) -> Result<Continuation, Error> {
    let mut sites = sites.iter().map(|site| site.0).collect::<Vec<_>>();
    sites.sort_unstable();
    sites.dedup();
    let mut space = ImportSpace::new(program)?;
    let mut functions = vec![];
    let mut allocations = FuncValidatorAllocations::default();
    for group in
        sites.chunk_by(|a, b| program.graph.function_of(*a) == program.graph.function_of(*b))
    {
        let index = program.graph.function_of(group[0]).ok_or(Error::NoSuchSite(group[0]))?;
        let results = program.module.function_type(index).results();
        if program.module.is_imported(index) {
            functions.push((group[0], results, call_again(program, &mut space, index)));
            continue;
        }
        let tree = hot::tree(program, index, &mut allocations)?;
        let context = Context { module: &program.module, count_down: program.options.count_down };
        for site in group {
            let emitted = forward::emit(&context, &mut space, &tree, *site)?;
            limits::continuation_size(&program.wasm, index, emitted.0.byte_len())?;
            functions.push((*site, results, emitted));
        }
    }
    Ok(encode(space, functions))
}

/// Slot of an import: makes a call again that was interrupted. The host had pushed the arguments.
fn call_again(program: &Program, space: &mut ImportSpace<'_>, index: u32) -> (Function, Hints) {
    let params = program.module.function_type(index).params();
    let size = layout::frame_size(params.iter().copied());
    let memory = space.save_memory();
    let at = |offset| memory_at(memory, offset);
    let function = space.import(Item::Function(index));
    let mut code = Function::new([(1, we::ValType::I32)]);
    code.instruction(&I::I32Const(0));
    code.instruction(&I::I32Const(0));
    code.instruction(&I::I32Load(at(layout::STACK_POINTER)));
    code.instruction(&I::I32Const(size as i32));
    code.instruction(&I::I32Sub);
    code.instruction(&I::LocalTee(0));
    code.instruction(&I::I32Store(at(layout::STACK_POINTER)));
    let mut offset = 0;
    for ty in params {
        code.instruction(&I::LocalGet(0));
        code.instruction(&match ty {
            ValType::I32 | ValType::Ref(_) => I::I32Load(at(offset)),
            ValType::I64 => I::I64Load(at(offset)),
            ValType::F32 => I::F32Load(at(offset)),
            ValType::F64 => I::F64Load(at(offset)),
            ValType::V128 => I::V128Load(at(offset)),
        });
        if let ValType::Ref(reference) = ty {
            let load = space.symbol(Symbol::Load(reference_kind(*reference)));
            code.instruction(&I::Call(load));
        }
        offset += value_size(*ty);
    }
    code.instruction(&I::Call(function));
    code.instruction(&I::End);
    (code, vec![])
}

type Emitted<'p> = (u32, &'p [ValType], (Function, Hints));

fn encode(mut space: ImportSpace<'_>, emitted: Vec<Emitted<'_>>) -> Continuation {
    let slots = space.slots();
    let imported = space.counts[Kind::Function as usize];
    let (mut functions, mut code) = (we::FunctionSection::new(), we::CodeSection::new());
    let (mut elements, mut hints) = (we::ElementSection::new(), we::BranchHints::new());
    for (index, (site, results, (body, unlikely))) in (imported..).zip(&emitted) {
        functions.function(space.types.function(&[], results));
        code.function(body);
        hot::branch_hints(&mut hints, index, unlikely);
        let offset = we::ConstExpr::i32_const(*site as i32);
        let function = we::Elements::Functions(Cow::Owned(vec![index]));
        elements.active(Some(slots), &offset, function);
    }
    let mut module = we::Module::new();
    module.section(space.types.section()).section(&space.section).section(&functions);
    module.section(&elements);
    if !hints.is_empty() {
        module.section(&hints);
    }
    module.section(&code);
    Continuation { wasm: module.finish(), imports: space.names }
}

/// Something of the hot instance.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Item {
    /// By original index; so are memories, tables, globals and tags.
    Function(u32),
    Symbol(Symbol),
    Memory(u32),
    SaveMemory,
    FlagsMemory,
    Table(u32),
    Slots,
    /// The table of functions whose references can escape.
    Functions,
    Global(u32),
    Tag(u32),
}

/// WebAssembly's index spaces.
#[derive(Clone, Copy)]
enum Kind {
    Function,
    Memory,
    Table,
    Global,
    Tag,
}

/// Index spaces that consist of imports, made at their first use.
struct ImportSpace<'p> {
    program: &'p Program,
    types: TypeSpace,
    section: we::ImportSection,
    names: Vec<String>,
    indices: std::collections::HashMap<Item, u32>,
    counts: [u32; 5],
}

impl<'p> ImportSpace<'p> {
    fn new(program: &'p Program) -> Result<Self, Error> {
        Ok(ImportSpace {
            program,
            types: TypeSpace::new(&program.wasm, &program.module)?,
            section: we::ImportSection::new(),
            names: vec![],
            indices: Default::default(),
            counts: [0; 5],
        })
    }

    fn import(&mut self, item: Item) -> u32 {
        if let Some(index) = self.indices.get(&item) {
            return *index;
        }
        let (name, kind, ty) = self.describe(item);
        self.section.import(hot::NAMESPACE, &name, ty);
        self.names.push(name);
        let count = &mut self.counts[kind as usize];
        *count += 1;
        self.indices.insert(item, *count - 1);
        *count - 1
    }

    fn describe(&mut self, item: Item) -> (String, Kind, EntityType) {
        let Program { module, graph, .. } = self.program;
        let table = |minimum: u64| {
            EntityType::Table(we::TableType {
                element_type: we::RefType::FUNCREF,
                minimum,
                maximum: Some(minimum),
                table64: false,
                shared: false,
            })
        };
        match item {
            Item::Function(index) => {
                let ty = EntityType::Function(module.functions[index as usize]);
                (format!("peripatos.func.{index}"), Kind::Function, ty)
            }
            Item::Symbol(symbol) => {
                let (params, results) = symbol.signature(module);
                let ty = self.types.function(&params, &results);
                (symbol.name(), Kind::Function, EntityType::Function(ty))
            }
            Item::Memory(index) => {
                let ty = module.memories[index as usize];
                let ty = we::MemoryType {
                    minimum: ty.initial,
                    maximum: ty.maximum,
                    memory64: ty.memory64,
                    shared: ty.shared,
                    page_size_log2: ty.page_size_log2,
                };
                (format!("peripatos.memory.{index}"), Kind::Memory, EntityType::Memory(ty))
            }
            Item::SaveMemory => {
                let ty = hot::save_memory(module, 1);
                ("peripatos.save".into(), Kind::Memory, EntityType::Memory(ty))
            }
            Item::FlagsMemory => {
                let ty = hot::flags_memory(module);
                ("peripatos.flags".into(), Kind::Memory, EntityType::Memory(ty))
            }
            Item::Table(index) => {
                let ty = module.tables[index as usize];
                let ty = we::TableType {
                    element_type: match encode_type(ValType::Ref(ty.element_type)) {
                        we::ValType::Ref(reference) => reference,
                        _ => we::RefType::FUNCREF,
                    },
                    minimum: ty.initial,
                    maximum: ty.maximum,
                    table64: ty.table64,
                    shared: false,
                };
                (format!("peripatos.table.{index}"), Kind::Table, EntityType::Table(ty))
            }
            Item::Slots => {
                let ty = table(u64::from(graph.site_count));
                ("peripatos.slots".into(), Kind::Table, ty)
            }
            Item::Functions => {
                let ty = table(module.referenced.len() as u64);
                ("peripatos.funcs".into(), Kind::Table, ty)
            }
            Item::Global(index) => {
                let ty = module.globals[index as usize];
                let ty = EntityType::Global(we::GlobalType {
                    val_type: encode_type(ty.content_type),
                    mutable: ty.mutable,
                    shared: false,
                });
                (format!("peripatos.global.{index}"), Kind::Global, ty)
            }
            Item::Tag(index) => {
                let ty = EntityType::Tag(we::TagType {
                    kind: we::TagKind::Exception,
                    func_type_idx: module.tags[index as usize].func_type_idx,
                });
                (format!("peripatos.tag.{index}"), Kind::Tag, ty)
            }
        }
    }
}

impl Reencode for ImportSpace<'_> {
    type Error = Infallible;

    fn function_index(&mut self, index: u32) -> Result<u32, ReencodeError> {
        Ok(self.import(Item::Function(index)))
    }

    fn memory_index(&mut self, index: u32) -> Result<u32, ReencodeError> {
        Ok(self.import(Item::Memory(index)))
    }

    fn table_index(&mut self, index: u32) -> Result<u32, ReencodeError> {
        Ok(self.import(Item::Table(index)))
    }

    fn global_index(&mut self, index: u32) -> Result<u32, ReencodeError> {
        Ok(self.import(Item::Global(index)))
    }

    fn tag_index(&mut self, index: u32) -> Result<u32, ReencodeError> {
        Ok(self.import(Item::Tag(index)))
    }
}

impl IndexSpace for ImportSpace<'_> {
    fn symbol(&mut self, symbol: Symbol) -> u32 {
        self.import(Item::Symbol(symbol))
    }

    fn save_memory(&mut self) -> u32 {
        self.import(Item::SaveMemory)
    }

    fn flags_memory(&mut self) -> u32 {
        self.import(Item::FlagsMemory)
    }

    fn slots(&mut self) -> u32 {
        self.import(Item::Slots)
    }

    fn function_reference(&mut self, function: u32) -> FunctionReference {
        let index = self.program.module.referenced.range(..function).count() as u32;
        FunctionReference::Element { table: self.import(Item::Functions), index }
    }

    fn has_segments(&self) -> bool {
        false
    }

    fn types(&mut self) -> &mut TypeSpace {
        &mut self.types
    }
}
