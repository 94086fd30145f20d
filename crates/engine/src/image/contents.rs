//! What stands in each section of an image. Writing and reading of a section stand side by side.

use std::borrow::Cow;
use std::sync::Arc;

use peripatos_abi::Pid;

use super::reader::Parser;
use super::stream::{Section, parser};
use super::{ExceptionImage, GlobalImage, Image, MemoryImage, Run, Stage, TableImage, Value};
use crate::ImageError;
use crate::wasi::Strings;

/// An image to be filled by [`read`].
pub(super) fn empty() -> Image {
    Image {
        module: [0; 32],
        layout: [0; 32],
        canonical_nan: false,
        pid: Pid::from_bits(0),
        sequence: 0,
        stage: Stage::Start,
        buffer: (0, 0),
        strings: Strings::default(),
        memories: Vec::new(),
        globals: Vec::new(),
        tables: Vec::new(),
        exceptions: Vec::new(),
        save: Vec::new(),
        frame_count: 0,
        devices: Vec::new(),
        program: None,
    }
}

/// The bytes of a section, in parts; large ones are borrowed.
pub(super) fn parts(image: &Image, section: Section) -> Vec<Cow<'_, [u8]>> {
    let mut bytes = Vec::new();
    match section {
        Section::Head => write_head(&mut bytes, image),
        Section::Strings => {
            write_list(&mut bytes, &image.strings.args, write_bytes);
            write_list(&mut bytes, &image.strings.env, write_bytes);
        }
        Section::Layout => write_list(&mut bytes, &image.memories, write_layout),
        Section::Memory => {
            return image.memories.iter().map(|memory| Cow::from(&memory.bytes)).collect();
        }
        Section::Values => {
            write_list(&mut bytes, &image.globals, |to, global| {
                to.extend(global.index.to_le_bytes());
                write_value(to, &global.value);
            });
            write_list(&mut bytes, &image.tables, |to, table| {
                to.extend(table.index.to_le_bytes());
                write_list(to, &table.elements, write_value);
            });
            write_list(&mut bytes, &image.exceptions, |to, exception| {
                to.extend(exception.handle.to_le_bytes());
                to.extend(exception.tag.to_le_bytes());
                write_list(to, &exception.fields, write_value);
            });
        }
        Section::Save => return vec![Cow::from(&image.save)],
        Section::Devices => return vec![Cow::from(&image.devices)],
        Section::Program => return image.program.iter().map(|p| Cow::from(&p[..])).collect(),
    }
    vec![Cow::from(bytes)]
}

/// Reads a section's bytes into the image. Sections come in their order.
pub(super) fn read(image: &mut Image, section: Section, bytes: Vec<u8>) -> Result<(), ImageError> {
    let mut from = parser(&bytes, section);
    match section {
        Section::Head => read_head(&mut from, image)?,
        Section::Strings => {
            image.strings.args = from.list(8, read_string)?;
            image.strings.env = from.list(8, read_string)?;
        }
        Section::Layout => image.memories = from.list(16, read_layout)?,
        Section::Memory => {
            let damaged = from.damaged();
            return keep_memories(image, bytes).ok_or(damaged);
        }
        Section::Values => {
            image.globals = from
                .list(5, |from| Ok(GlobalImage { index: from.u32()?, value: read_value(from)? }))?;
            image.tables = from.list(12, |from| {
                Ok(TableImage { index: from.u32()?, elements: from.list(1, read_value)? })
            })?;
            image.exceptions = from.list(16, |from| {
                let (handle, tag) = (from.u32()?, from.u32()?);
                Ok(ExceptionImage { handle, tag, fields: from.list(1, read_value)? })
            })?;
        }
        Section::Save => {
            image.save = bytes;
            return Ok(());
        }
        Section::Devices => {
            image.devices = bytes;
            return Ok(());
        }
        Section::Program => {
            image.program = (!bytes.is_empty()).then(|| Arc::from(bytes));
            return Ok(());
        }
    }
    from.end()
}

/// What can be checked without the program.
pub(super) fn check(image: &Image) -> Result<(), ImageError> {
    let foreign = |program: &Arc<[u8]>| *blake3::hash(program).as_bytes() != image.module;
    if image.program.as_ref().is_some_and(foreign) {
        return Err(ImageError::Damaged(Section::Program.name()));
    }
    Ok(())
}

fn write_head(to: &mut Vec<u8>, image: &Image) {
    to.extend(image.module);
    to.extend(image.layout);
    to.push(u8::from(image.canonical_nan));
    to.extend(image.pid.bits().to_le_bytes());
    to.extend(image.sequence.to_le_bytes());
    to.push(match image.stage {
        Stage::Start => 0,
        Stage::Main => 1,
        Stage::StartSpawned => 2,
        Stage::Spawned => 3,
    });
    to.extend((image.frame_count as u64).to_le_bytes());
    to.extend(image.buffer.0.to_le_bytes());
    to.extend(image.buffer.1.to_le_bytes());
}

fn read_head(from: &mut Parser<'_>, image: &mut Image) -> Result<(), ImageError> {
    image.module = from.array()?;
    image.layout = from.array()?;
    image.canonical_nan = match from.u8()? {
        0 => false,
        1 => true,
        _ => return Err(from.damaged()),
    };
    image.pid = Pid::from_bits(from.u128()?);
    image.sequence = from.u64()?;
    image.stage = match from.u8()? {
        0 => Stage::Start,
        1 => Stage::Main,
        2 => Stage::StartSpawned,
        3 => Stage::Spawned,
        _ => return Err(from.damaged()),
    };
    image.frame_count = usize::try_from(from.u64()?).map_err(|_| from.damaged())?;
    image.buffer = (from.u32()?, from.u32()?);
    Ok(())
}

fn write_layout(to: &mut Vec<u8>, memory: &MemoryImage) {
    to.extend(memory.size.to_le_bytes());
    write_list(to, &memory.runs, |to, run| {
        to.extend(run.first.to_le_bytes());
        to.extend(run.count.to_le_bytes());
    });
}

fn read_layout(from: &mut Parser<'_>) -> Result<MemoryImage, ImageError> {
    let size = from.u64()?;
    let runs = from.list(16, |from| Ok(Run { first: from.u64()?, count: from.u64()? }))?;
    Ok(MemoryImage { size, runs, bytes: Vec::new() })
}

/// Gives each memory its part of the contents; the only memory takes all, uncopied.
fn keep_memories(image: &mut Image, bytes: Vec<u8>) -> Option<()> {
    if let [memory] = &mut image.memories[..] {
        let fits = runs_len(&memory.runs)? == bytes.len() as u64;
        memory.bytes = bytes;
        return fits.then_some(());
    }
    let mut rest = &bytes[..];
    for memory in &mut image.memories {
        let len = usize::try_from(runs_len(&memory.runs)?).ok()?;
        let (contents, behind) = rest.split_at_checked(len)?;
        memory.bytes = contents.to_vec();
        rest = behind;
    }
    rest.is_empty().then_some(())
}

/// Bytes that the contents of all memories take. `None`: more than there can be.
pub(super) fn memories_len(image: &Image) -> Option<u64> {
    image.memories.iter().try_fold(0_u64, |len, memory| len.checked_add(runs_len(&memory.runs)?))
}

/// Bytes that the runs' contents take.
fn runs_len(runs: &[Run]) -> Option<u64> {
    let pages = runs.iter().try_fold(0_u64, |pages, run| pages.checked_add(run.count))?;
    pages.checked_mul(super::PAGE_BYTES as u64)
}

fn write_value(to: &mut Vec<u8>, value: &Value) {
    let (kind, bits): (u8, &[u8]) = match value {
        Value::I32(value) => (0, &value.to_le_bytes()),
        Value::I64(value) => (1, &value.to_le_bytes()),
        Value::F32(value) => (2, &value.to_le_bytes()),
        Value::F64(value) => (3, &value.to_le_bytes()),
        Value::V128(value) => (4, &value.to_le_bytes()),
        Value::Func(value) => (5, &value.to_le_bytes()),
        Value::ExternNull => (6, &[]),
        Value::Exn(value) => (7, &value.to_le_bytes()),
    };
    to.push(kind);
    to.extend(bits);
}

fn read_value(from: &mut Parser<'_>) -> Result<Value, ImageError> {
    Ok(match from.u8()? {
        0 => Value::I32(from.u32()?),
        1 => Value::I64(from.u64()?),
        2 => Value::F32(from.u32()?),
        3 => Value::F64(from.u64()?),
        4 => Value::V128(from.u128()?),
        5 => Value::Func(from.u32()?),
        6 => Value::ExternNull,
        7 => Value::Exn(from.u32()?),
        _ => return Err(from.damaged()),
    })
}

fn write_list<T>(to: &mut Vec<u8>, list: &[T], mut write: impl FnMut(&mut Vec<u8>, &T)) {
    to.extend((list.len() as u64).to_le_bytes());
    for item in list {
        write(to, item);
    }
}

fn write_bytes(to: &mut Vec<u8>, bytes: &Vec<u8>) {
    to.extend((bytes.len() as u64).to_le_bytes());
    to.extend(bytes);
}

fn read_string(from: &mut Parser<'_>) -> Result<Vec<u8>, ImageError> {
    let len = from.u64()?;
    let bytes = from.bytes(len)?;
    // A NUL would move the guest's strings apart from their sizes.
    if bytes.contains(&0) { Err(from.damaged()) } else { Ok(bytes.to_vec()) }
}
