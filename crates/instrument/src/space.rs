//! Index spaces: what a function body is emitted into.
//!
//! The hot module has the original's functions, memories and so on itself; a continuation module
//! imports from the hot instance what its code names, and nothing else. The emitter does not know
//! which of the two it writes for.

use std::collections::HashMap;
use std::convert::Infallible;

use wasm_encoder::reencode::{Reencode, RoundtripReencoder};
use wasm_encoder::{BlockType, TypeSection};
use wasmparser::{BinaryReader, TypeSectionReader, ValType};

use crate::Error;
use crate::layout::{ReferenceKind, encode_type};
use crate::module::Module;

/// A function that the pass adds, or asks the host for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Symbol {
    /// Host: `[] -> []`, called with the current frame saved on top.
    Poll,
    /// Host: reference to handle.
    Save(ReferenceKind),
    /// Host: handle to reference.
    Load(ReferenceKind),
    /// Completes a frame and decides how to go on: `[i64] -> [i32]`.
    Slow,
    MemoryInit {
        data_index: u32,
        memory: u32,
    },
    TableInit {
        element_index: u32,
        table: u32,
    },
    DropData {
        data_index: u32,
    },
    DropElement {
        element_index: u32,
    },
}

impl Symbol {
    /// The name under which continuations find it. `import.` marks what the host gave.
    pub(crate) fn name(self) -> String {
        match self {
            Symbol::Poll => "import.poll".into(),
            Symbol::Save(kind) => format!("import.{}", reference_import("save", kind)),
            Symbol::Load(kind) => format!("import.{}", reference_import("load", kind)),
            Symbol::Slow => "peripatos.slow".into(),
            Symbol::MemoryInit { data_index, memory } => {
                format!("peripatos.memory_init.{data_index}.{memory}")
            }
            Symbol::TableInit { element_index, table } => {
                format!("peripatos.table_init.{element_index}.{table}")
            }
            Symbol::DropData { data_index } => format!("peripatos.drop_data.{data_index}"),
            Symbol::DropElement { element_index } => {
                format!("peripatos.drop_element.{element_index}")
            }
        }
    }

    /// Parameters and results.
    pub(crate) fn signature(self, module: &Module) -> (Vec<ValType>, Vec<ValType>) {
        let i32 = ValType::I32;
        let address = |is_64: bool| if is_64 { ValType::I64 } else { ValType::I32 };
        match self {
            Symbol::Poll | Symbol::DropData { .. } | Symbol::DropElement { .. } => (vec![], vec![]),
            Symbol::Save(kind) => (vec![reference_type(kind)], vec![i32]),
            Symbol::Load(kind) => (vec![i32], vec![reference_type(kind)]),
            Symbol::Slow => (vec![ValType::I64], vec![i32]),
            Symbol::MemoryInit { memory, .. } => {
                (vec![address(module.memories[memory as usize].memory64), i32, i32], vec![])
            }
            Symbol::TableInit { table, .. } => {
                (vec![address(module.tables[table as usize].table64), i32, i32], vec![])
            }
        }
    }
}

/// Name of the host function that saves or loads references of a kind.
pub(crate) fn reference_import(verb: &str, kind: ReferenceKind) -> String {
    let kind = match kind {
        ReferenceKind::Func => "func",
        ReferenceKind::Extern => "extern",
        ReferenceKind::Exn => "exn",
    };
    format!("{verb}_{kind}")
}

fn reference_type(kind: ReferenceKind) -> ValType {
    ValType::Ref(match kind {
        ReferenceKind::Func => wasmparser::RefType::FUNCREF,
        ReferenceKind::Extern => wasmparser::RefType::EXTERNREF,
        ReferenceKind::Exn => wasmparser::RefType::EXNREF,
    })
}

/// How `ref.func` is written.
pub(crate) enum FunctionReference {
    Function(u32),
    /// Element `index` of `table`, which holds every function whose reference can escape.
    Element {
        table: u32,
        index: u32,
    },
}

/// What the emitter asks of the module it writes for. Original indices are mapped by [`Reencode`].
pub(crate) trait IndexSpace: Reencode<Error = Infallible> {
    fn symbol(&mut self, symbol: Symbol) -> u32;
    fn save_memory(&mut self) -> u32;
    fn flags_memory(&mut self) -> u32;
    fn slots(&mut self) -> u32;
    fn function_reference(&mut self, function: u32) -> FunctionReference;
    /// May the code name data and element segments?
    fn has_segments(&self) -> bool;
    fn types(&mut self) -> &mut TypeSpace;
}

/// The original's types, and those that were added behind them.
pub(crate) struct TypeSpace {
    section: TypeSection,
    count: u32,
    added: HashMap<(Vec<ValType>, Vec<ValType>), u32>,
}

impl TypeSpace {
    pub(crate) fn new(wasm: &[u8], module: &Module) -> Result<TypeSpace, Error> {
        let mut section = TypeSection::new();
        let range = module.type_section.clone();
        if !range.is_empty() {
            let reader = BinaryReader::new(&wasm[range.clone()], range.start as u64);
            RoundtripReencoder.parse_type_section(&mut section, TypeSectionReader::new(reader)?)?;
        }
        Ok(TypeSpace { section, count: module.types.len() as u32, added: HashMap::new() })
    }

    pub(crate) fn function(&mut self, params: &[ValType], results: &[ValType]) -> u32 {
        let (section, count) = (&mut self.section, &mut self.count);
        *self.added.entry((params.to_vec(), results.to_vec())).or_insert_with(|| {
            let encode =
                |types: &[ValType]| types.iter().copied().map(encode_type).collect::<Vec<_>>();
            section.ty().function(encode(params), encode(results));
            *count += 1;
            *count - 1
        })
    }

    /// The type of a block without parameters.
    pub(crate) fn block(&mut self, results: &[ValType]) -> BlockType {
        match results {
            [] => BlockType::Empty,
            [ty] => BlockType::Result(encode_type(*ty)),
            _ => BlockType::FunctionType(self.function(&[], results)),
        }
    }

    pub(crate) fn section(&self) -> &TypeSection {
        &self.section
    }
}
