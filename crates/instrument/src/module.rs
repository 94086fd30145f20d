//! The original module, taken apart as far as the pass needs it.
//!
//! Sections are read, function bodies only located: each is decoded when its turn comes.
//! The index spaces here are the original's; nothing is renumbered.

use std::collections::BTreeSet;
use std::ops::Range;

use wasmparser::{
    BinaryReader, ElementItems, ExternalKind, FuncToValidate, FuncType, FunctionBody, GlobalType,
    MemoryType, Operator, Parser, Payload, TableInit, TableType, TagType, TypeRef, ValidPayload,
    Validator, ValidatorResources, WasmFeatures,
};

use crate::Error;

/// What a program may use. GC types and typed function references are refused at first, shared
/// memory because a process with threads inside has no one place where it stands.
pub(crate) fn features() -> WasmFeatures {
    let refused = WasmFeatures::GC | WasmFeatures::FUNCTION_REFERENCES | WasmFeatures::THREADS;
    (WasmFeatures::WASM3 | WasmFeatures::GC_TYPES).difference(refused)
}

/// A function body: where it is, and what validates it.
#[derive(Debug)]
pub(crate) struct Body {
    resources: ValidatorResources,
    index: u32,
    type_index: u32,
    range: Range<usize>,
}

impl Body {
    pub(crate) fn reader<'a>(&self, wasm: &'a [u8]) -> FunctionBody<'a> {
        let offset = self.range.start;
        FunctionBody::new(BinaryReader::new(&wasm[self.range.clone()], offset as u64))
    }

    pub(crate) fn to_validate(&self) -> FuncToValidate<ValidatorResources> {
        FuncToValidate {
            resources: self.resources.clone(),
            index: self.index,
            ty: self.type_index,
            features: features(),
        }
    }
}

/// The original module's declarations.
#[derive(Debug, Default)]
pub(crate) struct Module {
    pub(crate) types: Vec<FuncType>,
    /// Bytes of the type section, for encoding it again.
    pub(crate) type_section: Range<usize>,
    /// Type index of each function, imported ones first.
    pub(crate) functions: Vec<u32>,
    pub(crate) imported_functions: u32,
    pub(crate) memories: Vec<MemoryType>,
    pub(crate) imported_memories: u32,
    pub(crate) tables: Vec<TableType>,
    pub(crate) globals: Vec<GlobalType>,
    pub(crate) tags: Vec<TagType>,
    /// Bodies of the functions that are not imported.
    pub(crate) bodies: Vec<Body>,
    /// Functions whose reference the program can hold.
    pub(crate) referenced: BTreeSet<u32>,
    pub(crate) start: Option<u32>,
}

impl Module {
    pub(crate) fn parse(wasm: &[u8]) -> Result<Module, Error> {
        let mut module = Module::default();
        let mut validator = Validator::new_with_features(features());
        for payload in Parser::new(0).parse_all(wasm) {
            let payload = payload?;
            let valid = validator.payload(&payload)?;
            module.section(payload, valid)?;
        }
        Ok(module)
    }

    pub(crate) fn function_type(&self, function: u32) -> &FuncType {
        &self.types[self.functions[function as usize] as usize]
    }

    /// Body of a function that is not imported.
    pub(crate) fn body(&self, function: u32) -> &Body {
        &self.bodies[(function - self.imported_functions) as usize]
    }

    pub(crate) fn is_imported(&self, function: u32) -> bool {
        function < self.imported_functions
    }

    fn section(&mut self, payload: Payload<'_>, valid: ValidPayload<'_>) -> Result<(), Error> {
        match payload {
            Payload::TypeSection(reader) => {
                let range = reader.range();
                self.type_section = range.start as usize..range.end as usize;
                for ty in reader.into_iter_err_on_gc_types() {
                    self.types.push(ty?);
                }
            }
            Payload::ImportSection(reader) => {
                for import in reader.into_imports() {
                    self.import(import?.ty)?;
                }
            }
            Payload::FunctionSection(reader) => {
                for ty in reader {
                    self.functions.push(ty?);
                }
            }
            Payload::MemorySection(reader) => {
                for memory in reader {
                    self.memories.push(memory?);
                }
            }
            Payload::TableSection(reader) => {
                for table in reader {
                    let table = table?;
                    self.tables.push(table.ty);
                    if let TableInit::Expr(expr) = table.init {
                        self.const_expr(&expr)?;
                    }
                }
            }
            Payload::GlobalSection(reader) => {
                for global in reader {
                    let global = global?;
                    self.globals.push(global.ty);
                    self.const_expr(&global.init_expr)?;
                }
            }
            Payload::TagSection(reader) => {
                for tag in reader {
                    self.tags.push(tag?);
                }
            }
            Payload::ElementSection(reader) => {
                for element in reader {
                    self.element_items(element?.items)?;
                }
            }
            Payload::StartSection { func, .. } => self.start = Some(func),
            Payload::CodeSectionEntry(body) => {
                let ValidPayload::Func(function, _) = valid else {
                    return Err(Error::Internal("a body without a validator".into()));
                };
                let range = body.range();
                self.bodies.push(Body {
                    resources: function.resources,
                    index: function.index,
                    type_index: function.ty,
                    range: range.start as usize..range.end as usize,
                });
            }
            Payload::ModuleSection { .. } | Payload::ComponentSection { .. } => {
                return Err(Error::refused("component", "components are not core modules"));
            }
            _ => {}
        }
        Ok(())
    }

    fn import(&mut self, ty: TypeRef) -> Result<(), Error> {
        match ty {
            TypeRef::Func(ty) | TypeRef::FuncExact(ty) => {
                self.functions.push(ty);
                self.imported_functions += 1;
            }
            TypeRef::Memory(ty) => {
                self.memories.push(ty);
                self.imported_memories += 1;
            }
            TypeRef::Table(ty) => self.tables.push(ty),
            TypeRef::Global(ty) => self.globals.push(ty),
            TypeRef::Tag(ty) => self.tags.push(ty),
        }
        Ok(())
    }

    fn element_items(&mut self, items: ElementItems<'_>) -> Result<(), Error> {
        match items {
            ElementItems::Functions(functions) => {
                for function in functions {
                    self.referenced.insert(function?);
                }
            }
            ElementItems::Expressions(_, expressions) => {
                for expression in expressions {
                    self.const_expr(&expression?)?;
                }
            }
        }
        Ok(())
    }

    fn const_expr(&mut self, expr: &wasmparser::ConstExpr<'_>) -> Result<(), Error> {
        for operator in expr.get_operators_reader() {
            if let Operator::RefFunc { function_index } = operator? {
                self.referenced.insert(function_index);
            }
        }
        Ok(())
    }
}

/// Turns "invalid under the features we take" into "refused, because", where all features would take it.
pub(crate) fn diagnose(wasm: &[u8], error: Error) -> Error {
    let Error::Invalid(_) = error else { return error };
    if Parser::is_component(wasm) {
        return Error::refused("component", "only core modules can be run, not components");
    }
    if Validator::new_with_features(WasmFeatures::all()).validate_all(wasm).is_err() {
        return error;
    }
    let Err(cause) = Validator::new_with_features(features()).validate_all(wasm) else {
        return error;
    };
    let reason = match cause.message() {
        m if m.contains("legacy") => {
            format!(
                "{m}; build with the standard exceptions (clang: -mllvm -wasm-use-legacy-eh=false)"
            )
        }
        m if m.contains("shared") || m.contains("threads") => {
            format!(
                "{m}; a process that shares memory between threads cannot be moved: build without threads"
            )
        }
        m => m.to_string(),
    };
    Error::refused(place(wasm, cause.offset() as usize), reason)
}

/// The function, with its name where the module has one, or the section-level position of `offset`.
fn place(wasm: &[u8], offset: usize) -> String {
    let mut index = 0u32;
    for payload in Parser::new(0).parse_all(wasm).flatten() {
        match payload {
            Payload::ImportSection(reader) => {
                let imports = reader.into_imports().flatten();
                index += imports.filter(|i| matches!(i.ty, TypeRef::Func(_))).count() as u32;
            }
            Payload::CodeSectionEntry(body) => {
                let range = body.range();
                if (range.start as usize..range.end as usize).contains(&offset) {
                    return function_place(wasm, index);
                }
                index += 1;
            }
            _ => {}
        }
    }
    format!("module, at byte {offset:#x}")
}

/// `function 12 "name"`; the name comes from the name section or an export.
pub(crate) fn function_place(wasm: &[u8], function: u32) -> String {
    match function_name(wasm, function) {
        Some(name) => format!("function {function} {name:?}"),
        None => format!("function {function}"),
    }
}

/// A function's name, from the name section, else from an export.
pub fn function_name(wasm: &[u8], function: u32) -> Option<String> {
    let mut exported = None;
    for payload in Parser::new(0).parse_all(wasm).flatten() {
        match payload {
            Payload::CustomSection(section) => {
                let wasmparser::KnownCustom::Name(names) = section.as_known() else { continue };
                for subsection in names.into_iter().flatten() {
                    let wasmparser::Name::Function(map) = subsection else { continue };
                    let found = map.into_iter().flatten().find(|n| n.index == function);
                    if let Some(naming) = found {
                        return Some(naming.name.to_string());
                    }
                }
            }
            Payload::ExportSection(reader) => {
                let is_it = |e: &wasmparser::Export<'_>| {
                    e.kind == ExternalKind::Func && e.index == function
                };
                exported = reader.into_iter().flatten().find(is_it).map(|e| e.name.to_string());
            }
            _ => {}
        }
    }
    exported
}
