//! Lowers `memory.fill` and `memory.copy` of unknown size to functions that work in chunks.
//!
//! One such instruction may touch gigabytes, and nothing can be polled inside it. The functions are
//! added behind the original's, before anything else looks at the module, so that they get their
//! sites as if the program had had them. Sizes that are small constants stay as they are; so do
//! `memory.init` and the table instructions, which are bounded by the module's size and the tables'.

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::convert::Infallible;

use wasm_encoder::reencode::{Error as ReencodeError, Reencode, utils};
use wasm_encoder::{BlockType, CodeSection, Function, FunctionSection, Instruction as I, Module};
use wasm_encoder::{TypeSection, ValType};
use wasmparser::{MemoryType, Operator, Parser, Payload, TypeRef};

use crate::Error;

/// Bytes that are filled or copied between two polls: some tens of microseconds.
const CHUNK: i64 = 256 << 10;

/// The module with its bulk operations lowered, or as it is where there is nothing to lower.
pub(crate) fn lower(wasm: &[u8]) -> Result<Cow<'_, [u8]>, Error> {
    let survey = Survey::of(wasm)?;
    if survey.operations.is_empty() {
        return Ok(Cow::Borrowed(wasm));
    }
    let mut lowering = Lowering { survey, last_constant: None };
    let mut module = Module::new();
    lowering.parse_core_module(&mut module, Parser::new(0), wasm)?;
    Ok(Cow::Owned(module.finish()))
}

/// An operation that gets a function.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Bulk {
    Fill { memory: u32 },
    Copy { target: u32, source: u32 },
}

/// What has to be known before the first section is written.
#[derive(Default)]
struct Survey {
    operations: BTreeSet<Bulk>,
    memories: Vec<MemoryType>,
    type_count: u32,
    function_count: u32,
}

impl Survey {
    fn of(wasm: &[u8]) -> Result<Survey, Error> {
        let mut survey = Survey::default();
        for payload in Parser::new(0).parse_all(wasm) {
            match payload? {
                Payload::TypeSection(reader) => {
                    for group in reader {
                        survey.type_count += group?.types().len() as u32;
                    }
                }
                Payload::ImportSection(reader) => {
                    for import in reader.into_imports() {
                        match import?.ty {
                            TypeRef::Func(_) | TypeRef::FuncExact(_) => survey.function_count += 1,
                            TypeRef::Memory(memory) => survey.memories.push(memory),
                            _ => {}
                        }
                    }
                }
                Payload::FunctionSection(reader) => survey.function_count += reader.count(),
                Payload::MemorySection(reader) => {
                    for memory in reader {
                        survey.memories.push(memory?);
                    }
                }
                Payload::CodeSectionEntry(body) => survey.body(&body)?,
                _ => {}
            }
        }
        Ok(survey)
    }

    fn body(&mut self, body: &wasmparser::FunctionBody<'_>) -> Result<(), Error> {
        let mut last_constant = None;
        let mut operators = body.get_operators_reader()?;
        while !operators.eof() {
            let operator = operators.read()?;
            self.operations.extend(bulk(&operator, last_constant));
            last_constant = constant(&operator);
        }
        let memory_count = self.memories.len() as u32;
        let exists = |bulk: &Bulk| match *bulk {
            Bulk::Fill { memory } => memory < memory_count,
            Bulk::Copy { target, source } => target.max(source) < memory_count,
        };
        match self.operations.iter().all(exists) {
            true => Ok(()),
            false => Err(Error::Invalid("a bulk operation on a memory that is not there".into())),
        }
    }

    fn is_64(&self, memory: u32) -> bool {
        self.memories[memory as usize].memory64
    }

    /// Types of the operands, in order.
    fn params(&self, bulk: Bulk) -> [ValType; 3] {
        let address = |is_64: bool| if is_64 { ValType::I64 } else { ValType::I32 };
        match bulk {
            Bulk::Fill { memory } => {
                let address = address(self.is_64(memory));
                [address, ValType::I32, address]
            }
            Bulk::Copy { target, source } => {
                let (target, source) = (self.is_64(target), self.is_64(source));
                [address(target), address(source), address(target && source)]
            }
        }
    }
}

/// The bulk operation that this operator is, if its size may be large.
fn bulk(operator: &Operator<'_>, size: Option<i64>) -> Option<Bulk> {
    if size.is_some_and(|size| (0..=CHUNK).contains(&size)) {
        return None;
    }
    match *operator {
        Operator::MemoryFill { mem } => Some(Bulk::Fill { memory: mem }),
        Operator::MemoryCopy { dst_mem, src_mem } => {
            Some(Bulk::Copy { target: dst_mem, source: src_mem })
        }
        _ => None,
    }
}

fn constant(operator: &Operator<'_>) -> Option<i64> {
    match *operator {
        Operator::I32Const { value } => Some(i64::from(value)),
        Operator::I64Const { value } => Some(value),
        _ => None,
    }
}

struct Lowering {
    survey: Survey,
    /// Value of the constant just emitted.
    last_constant: Option<i64>,
}

impl Reencode for Lowering {
    type Error = Infallible;

    fn instruction<'a>(&mut self, operator: Operator<'a>) -> Result<I<'a>, ReencodeError> {
        let bulk = bulk(&operator, self.last_constant);
        self.last_constant = constant(&operator);
        let at = bulk.and_then(|bulk| self.survey.operations.iter().position(|b| *b == bulk));
        match at {
            Some(at) => Ok(I::Call(self.survey.function_count + at as u32)),
            None => utils::instruction(self, operator),
        }
    }

    fn parse_type_section(
        &mut self,
        types: &mut TypeSection,
        section: wasmparser::TypeSectionReader<'_>,
    ) -> Result<(), ReencodeError> {
        utils::parse_type_section(self, types, section)?;
        for bulk in &self.survey.operations {
            types.ty().function(self.survey.params(*bulk), []);
        }
        Ok(())
    }

    fn parse_function_section(
        &mut self,
        functions: &mut FunctionSection,
        section: wasmparser::FunctionSectionReader<'_>,
    ) -> Result<(), ReencodeError> {
        utils::parse_function_section(self, functions, section)?;
        for at in 0..self.survey.operations.len() as u32 {
            functions.function(self.survey.type_count + at);
        }
        Ok(())
    }

    fn parse_code_section(
        &mut self,
        code: &mut CodeSection,
        section: wasmparser::CodeSectionReader<'_>,
    ) -> Result<(), ReencodeError> {
        utils::parse_code_section(self, code, section)?;
        for bulk in &self.survey.operations {
            code.function(&chunked(&self.survey, *bulk));
        }
        Ok(())
    }
}

/// First operand, second, size; as i64 in locals 3 (target), 4 (source), 5 (size).
const TARGET: u32 = 3;
const SOURCE: u32 = 4;
const SIZE: u32 = 5;

/// The function that stands for `bulk`. Out of bounds it does the whole at once, which traps as the
/// original does: before anything is written.
fn chunked(survey: &Survey, bulk: Bulk) -> Function {
    let params = survey.params(bulk);
    let mut f = Function::new([(3, ValType::I64)]);
    let mut code = |instructions: &[I<'_>]| {
        instructions.iter().for_each(|i| {
            f.instruction(i);
        });
    };
    for (param, ty) in (0u32..).zip(params) {
        code(&[I::LocalGet(param)]);
        if ty == ValType::I32 {
            code(&[I::I64ExtendI32U]);
        }
        code(&[I::LocalSet(TARGET + param)]);
    }
    let narrow = |ty: ValType| (ty == ValType::I32).then_some(I::I32WrapI64);
    let whole = |offset: &[I<'static>], size: &[I<'static>]| {
        let mut code = vec![I::LocalGet(TARGET)];
        code.extend(offset.iter().cloned());
        code.extend(narrow(params[0]));
        code.push(I::LocalGet(SOURCE));
        if let Bulk::Copy { .. } = bulk {
            code.extend(offset.iter().cloned());
        }
        code.extend(narrow(params[1]));
        code.extend(size.iter().cloned());
        code.extend(narrow(params[2]));
        code.push(match bulk {
            Bulk::Fill { memory } => I::MemoryFill(memory),
            Bulk::Copy { target, source } => I::MemoryCopy { src_mem: source, dst_mem: target },
        });
        code
    };
    let chunk = I::I64Const(CHUNK);
    let more = [I::LocalGet(SIZE), chunk.clone(), I::I64GtU];
    let shrink = [I::LocalGet(SIZE), chunk.clone(), I::I64Sub];

    code(&more);
    code(&in_bounds(survey, bulk));
    code(&[I::I32And, I::If(BlockType::Empty)]);
    if let Bulk::Copy { .. } = bulk {
        // Upwards onto itself: from the end, so that nothing is overwritten before it is read.
        code(&[I::LocalGet(TARGET), I::LocalGet(SOURCE), I::I64GtU, I::If(BlockType::Empty)]);
        code(&[I::Loop(BlockType::Empty)]);
        code(&shrink);
        code(&[I::LocalSet(SIZE)]);
        code(&whole(&[I::LocalGet(SIZE), I::I64Add], std::slice::from_ref(&chunk)));
        code(&more);
        code(&[I::BrIf(0), I::End, I::Else]);
    }
    code(&[I::Loop(BlockType::Empty)]);
    code(&whole(&[], std::slice::from_ref(&chunk)));
    code(&[I::LocalGet(TARGET), chunk.clone(), I::I64Add, I::LocalSet(TARGET)]);
    if let Bulk::Copy { .. } = bulk {
        code(&[I::LocalGet(SOURCE), chunk, I::I64Add, I::LocalSet(SOURCE)]);
    }
    code(&shrink);
    code(&[I::LocalSet(SIZE)]);
    code(&more);
    code(&[I::BrIf(0), I::End]);
    if let Bulk::Copy { .. } = bulk {
        code(&[I::End]);
    }
    code(&[I::End]);
    code(&whole(&[], &[I::LocalGet(SIZE)]));
    code(&[I::End]);
    f
}

/// Are all bytes inside the memories? i32 on the operand stack.
fn in_bounds(survey: &Survey, bulk: Bulk) -> Vec<I<'static>> {
    let one = |memory: u32, address: u32| {
        let mut bytes = vec![I::MemorySize(memory)];
        if !survey.is_64(memory) {
            bytes.push(I::I64ExtendI32U);
        }
        bytes.extend([I::I64Const(16), I::I64Shl]);
        let mut code = vec![I::LocalGet(SIZE)];
        code.extend(bytes.iter().cloned());
        code.extend([I::I64LeU, I::LocalGet(address)]);
        code.extend(bytes);
        code.extend([I::LocalGet(SIZE), I::I64Sub, I::I64LeU, I::I32And]);
        code
    };
    match bulk {
        Bulk::Fill { memory } => one(memory, TARGET),
        Bulk::Copy { target, source } => {
            let mut code = one(target, TARGET);
            code.extend(one(source, SOURCE));
            code.push(I::I32And);
            code
        }
    }
}
