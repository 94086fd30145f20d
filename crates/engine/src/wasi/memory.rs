//! A guest's memory: reads and writes that are checked, little endian, unaligned.

use peripatos_abi::limits::{BUFFERS_MAX, PATH_BYTES_MAX, TRANSFER_BYTES_MAX};
use peripatos_abi::{Errno, Fd, Fdstat, Filestat};

/// Bytes of one entry of a scatter/gather list: address and length.
const BUFFER_SIZE: u32 = 8;
pub(super) const FDSTAT_SIZE: u32 = 24;
pub(super) const FILESTAT_SIZE: u32 = 64;

/// The bytes at `address`; `Errno::Fault` where they are not all in the memory.
pub(super) fn bytes(memory: &[u8], address: u32, len: u32) -> Result<&[u8], Errno> {
    let start = address as usize;
    let end = start.checked_add(len as usize).ok_or(Errno::Fault)?;
    memory.get(start..end).ok_or(Errno::Fault)
}

/// As [`bytes`], to write to.
pub(super) fn bytes_mut(memory: &mut [u8], address: u32, len: u32) -> Result<&mut [u8], Errno> {
    let start = address as usize;
    let end = start.checked_add(len as usize).ok_or(Errno::Fault)?;
    memory.get_mut(start..end).ok_or(Errno::Fault)
}

/// Whether a reply of this size can be written there later.
pub(super) fn check(memory: &[u8], address: u32, len: u32) -> Result<(), Errno> {
    bytes(memory, address, len).map(|_| ())
}

pub(super) fn write(memory: &mut [u8], address: u32, data: &[u8]) -> Result<(), Errno> {
    let len = u32::try_from(data.len()).map_err(|_| Errno::Fault)?;
    bytes_mut(memory, address, len)?.copy_from_slice(data);
    Ok(())
}

pub(super) fn write_u32(memory: &mut [u8], address: u32, value: u32) -> Result<(), Errno> {
    write(memory, address, &value.to_le_bytes())
}

pub(super) fn write_u64(memory: &mut [u8], address: u32, value: u64) -> Result<(), Errno> {
    write(memory, address, &value.to_le_bytes())
}

pub(super) fn write_fd(memory: &mut [u8], address: u32, fd: Fd) -> Result<(), Errno> {
    write_u32(memory, address, fd.0)
}

pub(super) fn write_fdstat(memory: &mut [u8], address: u32, stat: &Fdstat) -> Result<(), Errno> {
    let mut wire = [0; FDSTAT_SIZE as usize];
    wire[0] = stat.file_type.code();
    wire[2..4].copy_from_slice(&stat.flags.bits().to_le_bytes());
    wire[8..16].copy_from_slice(&stat.rights.bits().to_le_bytes());
    wire[16..24].copy_from_slice(&stat.rights_inheriting.bits().to_le_bytes());
    write(memory, address, &wire)
}

pub(super) fn write_filestat(
    memory: &mut [u8],
    address: u32,
    stat: &Filestat,
) -> Result<(), Errno> {
    let mut wire = [0; FILESTAT_SIZE as usize];
    let words = [
        stat.device,
        stat.inode,
        u64::from(stat.file_type.code()),
        stat.links,
        stat.size,
        stat.accessed_ns,
        stat.modified_ns,
        stat.changed_ns,
    ];
    for (field, word) in wire.chunks_exact_mut(8).zip(words) {
        field.copy_from_slice(&word.to_le_bytes());
    }
    write(memory, address, &wire)
}

/// A path argument. A NUL in it cannot be meant: `Errno::Inval`.
pub(super) fn path(memory: &[u8], address: u32, len: u32) -> Result<String, Errno> {
    let bytes = bytes(memory, address, len)?;
    if len > PATH_BYTES_MAX {
        return Err(Errno::NameTooLong);
    }
    let text = std::str::from_utf8(bytes).map_err(|_| Errno::IlSeq)?;
    if text.contains('\0') {
        return Err(Errno::Inval);
    }
    Ok(text.to_owned())
}

/// A scatter/gather list, every buffer checked to lie in the memory.
fn buffers(
    memory: &[u8],
    address: u32,
    count: u32,
) -> Result<impl Iterator<Item = (u32, u32)>, Errno> {
    if count > BUFFERS_MAX {
        return Err(Errno::Inval);
    }
    let list = bytes(memory, address, count * BUFFER_SIZE)?;
    let word = |bytes: &[u8]| u32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]);
    let pairs =
        list.chunks_exact(BUFFER_SIZE as usize).map(move |pair| (word(pair), word(&pair[4..])));
    for (buffer, len) in pairs.clone() {
        check(memory, buffer, len)?;
    }
    Ok(pairs)
}

/// How many bytes the buffers of a list take together, at most a transfer's limit.
pub(super) fn buffers_len(memory: &[u8], address: u32, count: u32) -> Result<u32, Errno> {
    let total: u64 = buffers(memory, address, count)?.map(|(_, len)| u64::from(len)).sum();
    Ok(total.min(u64::from(TRANSFER_BYTES_MAX)) as u32)
}

/// The bytes of a list's buffers one after another, at most a transfer's limit.
pub(super) fn gather(memory: &[u8], address: u32, count: u32) -> Result<Vec<u8>, Errno> {
    let mut room = buffers_len(memory, address, count)?;
    let mut data = Vec::with_capacity(room as usize);
    for (buffer, len) in buffers(memory, address, count)? {
        let part = len.min(room);
        data.extend_from_slice(bytes(memory, buffer, part)?);
        room -= part;
    }
    Ok(data)
}

/// Spreads bytes over a list's buffers; they hold at least as many.
///
/// The list is read whole before anything is written: it may lie in one of its own buffers.
pub(super) fn scatter(
    memory: &mut [u8],
    address: u32,
    count: u32,
    mut data: &[u8],
) -> Result<(), Errno> {
    let pairs: Vec<(u32, u32)> = buffers(memory, address, count)?.collect();
    for (buffer, len) in pairs {
        let (part, rest) = data.split_at(data.len().min(len as usize));
        write(memory, buffer, part)?;
        data = rest;
    }
    if data.is_empty() { Ok(()) } else { Err(Errno::Fault) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_checked() {
        let memory = [0; 16];
        for (address, len, expected) in [
            (0, 16, true),
            (16, 0, true),
            (16, 1, false),
            (17, 0, false),
            (1, 16, false),
            (u32::MAX, 1, false),
            (u32::MAX, u32::MAX, false),
        ] {
            assert_eq!(bytes(&memory, address, len).is_ok(), expected, "{address}+{len}");
        }
    }

    #[test]
    fn lists_gather_and_scatter() {
        let mut memory = vec![0; 64];
        for (at, word) in [(0, 32), (4, 3), (8, 40), (12, 0), (16, 48), (20, 5)] {
            write_u32(&mut memory, at, word).unwrap();
        }
        scatter(&mut memory, 0, 3, b"abcdef").unwrap();
        assert_eq!(&memory[32..35], b"abc");
        assert_eq!(&memory[48..51], b"def");
        assert_eq!(gather(&memory, 0, 3).unwrap(), b"abcdef\0\0");
        assert_eq!(scatter(&mut memory, 0, 3, b"too long for it"), Err(Errno::Fault));
        assert_eq!(buffers_len(&memory, 0, BUFFERS_MAX + 1), Err(Errno::Inval));
        write_u32(&mut memory, 16, 60).unwrap();
        assert_eq!(gather(&memory, 0, 3), Err(Errno::Fault));
    }

    #[test]
    fn paths_are_parsed() {
        let check = |bytes: &[u8], expected: Result<&str, Errno>| {
            assert_eq!(path(bytes, 0, bytes.len() as u32), expected.map(str::to_owned));
        };
        check(b"a/b", Ok("a/b"));
        check(b"", Ok(""));
        check(b"a\0", Err(Errno::Inval));
        check(b"\xff", Err(Errno::IlSeq));
        check(&[b'a'; PATH_BYTES_MAX as usize + 1], Err(Errno::NameTooLong));
    }
}
