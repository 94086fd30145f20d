//! What freezing and thawing need to know of an original module, read once and kept with its
//! compiled code: which tables never change, and which pages instantiation fills.
//!
//! Pure; the module must be valid, or is refused later by the compiler.

use wasmparser::{DataKind, Encoding, ExternalKind, Operator, Parser, Payload, TypeRef};

use crate::image::PAGE_BYTES;
use crate::{Form, HANDLER_EXPORT};

/// Facts about one original module.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Metadata {
    /// Whether it exports [`HANDLER_EXPORT`].
    pub(crate) handler: bool,
    /// Functions that it imports: the first function indices, and the first site ids.
    pub(crate) imported_functions: u32,
    /// Where frames begin in the save memory; 0 in a plain program.
    pub(crate) frames_base: u32,
    /// By table: whether the program can change it.
    pub(crate) table_changes: Vec<bool>,
    /// By memory: what instantiation writes.
    pub(crate) memories: Vec<Initial>,
}

/// What of a memory is not zero after instantiation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Initial {
    /// Only these pages: (first, count) of [`PAGE_BYTES`] bytes each; may overlap.
    Pages(Vec<(u64, u64)>),
    /// A segment lies where only instantiation can tell.
    Unknown,
}

impl Metadata {
    /// Reads a module. The message says why it is not one.
    pub(crate) fn read(wasm: &[u8]) -> Result<Metadata, String> {
        let mut metadata = Metadata::default();
        for payload in Parser::new(0).parse_all(wasm) {
            let payload = payload.map_err(short)?;
            if let Payload::Version { encoding: Encoding::Component, .. } = payload {
                return Err("it is a component, not a module".to_owned());
            }
            metadata.payload(payload).map_err(short)?;
        }
        Ok(metadata)
    }

    /// Program or handler, told from the exports alone; program if `wasm` is no module.
    pub(crate) fn form_of(wasm: &[u8]) -> Form {
        let mut metadata = Metadata::default();
        for payload in Parser::new(0).parse_all(wasm).map_while(Result::ok) {
            if let Payload::ExportSection(_) = payload {
                // An error comes again, and is told, when all is read.
                let _ = metadata.payload(payload);
                break;
            }
        }
        metadata.form()
    }

    /// Program or handler.
    pub(crate) fn form(&self) -> Form {
        if self.handler { Form::Handler } else { Form::Program }
    }

    fn payload(&mut self, payload: Payload<'_>) -> Result<(), wasmparser::BinaryReaderError> {
        match payload {
            Payload::ImportSection(section) => {
                for import in section.into_imports() {
                    let function = matches!(import?.ty, TypeRef::Func(_) | TypeRef::FuncExact(_));
                    self.imported_functions += u32::from(function);
                }
            }
            Payload::MemorySection(section) => {
                self.memories = vec![Initial::Pages(Vec::new()); section.count() as usize];
            }
            Payload::TableSection(section) => {
                self.table_changes = vec![false; section.count() as usize];
            }
            Payload::ExportSection(section) => {
                for export in section {
                    let export = export?;
                    self.handler |=
                        export.kind == ExternalKind::Func && export.name == HANDLER_EXPORT;
                }
            }
            Payload::DataSection(section) => {
                for data in section {
                    let data = data?;
                    if let DataKind::Active { memory_index, offset_expr } = data.kind {
                        self.data(memory_index, &offset_expr, data.data.len() as u64);
                    }
                }
            }
            Payload::CodeSectionEntry(body) => {
                let mut operators = body.get_operators_reader()?;
                while !operators.eof() {
                    self.operator(&operators.read()?);
                }
            }
            _ => {}
        }
        Ok(())
    }

    fn operator(&mut self, operator: &Operator<'_>) {
        let (Operator::TableSet { table }
        | Operator::TableGrow { table }
        | Operator::TableFill { table }
        | Operator::TableInit { table, .. }
        | Operator::TableCopy { dst_table: table, .. }) = operator
        else {
            return;
        };
        if let Some(changes) = self.table_changes.get_mut(*table as usize) {
            *changes = true;
        }
    }

    fn data(&mut self, memory: u32, offset: &wasmparser::ConstExpr<'_>, len: u64) {
        let Some(initial) = self.memories.get_mut(memory as usize) else { return };
        match (constant(offset), initial) {
            (Some(offset), Initial::Pages(pages)) => {
                let first = offset / PAGE_BYTES as u64;
                let end = offset.saturating_add(len).div_ceil(PAGE_BYTES as u64);
                pages.push((first, end - first.min(end)));
            }
            (None, initial) => *initial = Initial::Unknown,
            (_, Initial::Unknown) => {}
        }
    }
}

/// The value of an offset that is a single constant.
pub(crate) fn constant(expression: &wasmparser::ConstExpr<'_>) -> Option<u64> {
    let mut operators = expression.get_operators_reader();
    let value = match operators.read().ok()? {
        Operator::I32Const { value } => u64::from(value as u32),
        Operator::I64Const { value } => value as u64,
        _ => return None,
    };
    matches!(operators.read().ok()?, Operator::End).then_some(value)
}

fn short(error: wasmparser::BinaryReaderError) -> String {
    error.message().lines().next().unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_and_pages() {
        let wasm = wat::parse_str(
            r#"(module (table 1 funcref) (table 2 funcref) (memory 1) (memory 1)
                (data (i32.const 4090) "0123456789") (data "passive")
                (data (memory 1) (i32.add (i32.const 1) (i32.const 1)) "x")
                (func $f (table.copy 1 0 (i32.const 0) (i32.const 0) (i32.const 1)))
                (func (export "peripatos_handle")))"#,
        )
        .unwrap();
        let metadata = Metadata::read(&wasm).unwrap();
        assert_eq!(metadata.table_changes, [false, true]);
        assert_eq!(metadata.memories, [Initial::Pages(vec![(0, 2)]), Initial::Unknown]);
        assert_eq!(metadata.form(), Form::Handler);
    }

    #[test]
    fn not_a_module() {
        for bytes in [&b""[..], b"\0asm", b"hello world", b"\0asm\x0d\0\x01\0"] {
            assert!(Metadata::read(bytes).is_err(), "{bytes:?}");
        }
    }
}
