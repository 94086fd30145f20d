//! What stands in cache entries. **Contains `unsafe`:** compiled code is loaded here and nowhere
//! else.
#![allow(unsafe_code)]

use wasmtime::{Engine, Module};

use crate::continuations::Compiled;
use crate::image::Parser;
use crate::metadata::{Initial, Metadata};

/// A compiled program and what was read of its original.
pub(crate) struct Entry {
    pub(crate) module: Module,
    pub(crate) metadata: Metadata,
}

/// The content of a program's entry.
pub(super) fn write_program(entry: &Entry) -> Option<Vec<u8>> {
    let mut to = Vec::new();
    let metadata = &entry.metadata;
    to.push(u8::from(metadata.handler));
    put_u64(&mut to, u64::from(metadata.imported_functions));
    put_u64(&mut to, u64::from(metadata.frames_base));
    put_u64(&mut to, metadata.table_changes.len() as u64);
    to.extend(metadata.table_changes.iter().map(|changes| u8::from(*changes)));
    put_u64(&mut to, metadata.memories.len() as u64);
    for memory in &metadata.memories {
        match memory {
            Initial::Unknown => to.push(0),
            Initial::Pages(pages) => {
                to.push(1);
                put_u64(&mut to, pages.len() as u64);
                for (first, count) in pages {
                    put_u64(&mut to, *first);
                    put_u64(&mut to, *count);
                }
            }
        }
    }
    to.extend(entry.module.serialize().ok()?);
    Some(to)
}

/// A program from an entry's content.
pub(super) fn read_program(engine: &Engine, content: &Authentic<'_>) -> Option<Entry> {
    let mut from = Parser::new(content.0, "");
    let metadata = Metadata {
        handler: from.u8().ok()? != 0,
        imported_functions: u32::try_from(from.u64().ok()?).ok()?,
        frames_base: u32::try_from(from.u64().ok()?).ok()?,
        table_changes: from.list(1, |from| Ok(from.u8()? != 0)).ok()?,
        memories: from
            .list(1, |from| {
                Ok(match from.u8()? {
                    0 => Initial::Unknown,
                    _ => Initial::Pages(from.list(16, |from| Ok((from.u64()?, from.u64()?)))?),
                })
            })
            .ok()?,
    };
    Some(Entry { module: load(engine, Authentic(from.rest()))?, metadata })
}

/// The content of a continuation module's entry.
pub(super) fn write_continuation(compiled: &Compiled) -> Option<Vec<u8>> {
    let mut to = Vec::new();
    put_u64(&mut to, compiled.sites.len() as u64);
    for (site, size) in &compiled.sites {
        to.extend(site.to_le_bytes());
        to.extend(size.to_le_bytes());
    }
    put_u64(&mut to, compiled.imports.len() as u64);
    for import in &compiled.imports {
        put_u64(&mut to, import.len() as u64);
        to.extend(import.as_bytes());
    }
    to.extend(compiled.module.serialize().ok()?);
    Some(to)
}

/// A continuation module from an entry's content.
pub(super) fn read_continuation(engine: &Engine, content: &Authentic<'_>) -> Option<Compiled> {
    let mut from = Parser::new(content.0, "");
    let sites = from.list(8, |from| Ok((from.u32()?, from.u32()?))).ok()?;
    let imports = from.list(8, |from| {
        let len = from.u64()?;
        String::from_utf8(from.bytes(len)?.to_vec()).map_err(|_| from.damaged())
    });
    let imports = imports.ok()?;
    Some(Compiled { module: load(engine, Authentic(from.rest()))?, sites, imports })
}

/// Bytes that [`super::entry::open`] has found to be sealed by this directory's secret: they were
/// written by [`write_program`] or [`write_continuation`] of a process of this user.
pub(super) struct Authentic<'a>(pub(super) &'a [u8]);

/// Compiled code from bytes that `Module::serialize` wrote; `None` if another engine's.
fn load(engine: &Engine, bytes: Authentic<'_>) -> Option<Module> {
    // SAFETY: `deserialize` asks for the unmodified output of `Module::serialize`. The entry's MAC
    // covers these bytes and was made with a secret that only this user can read, by code that seals
    // nothing but what `serialize` returned. wasmtime itself refuses other versions and settings.
    unsafe { Module::deserialize(engine, bytes.0) }.ok()
}

fn put_u64(to: &mut Vec<u8>, value: u64) {
    to.extend(value.to_le_bytes());
}
