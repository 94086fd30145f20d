//! Arguments and environment: the process's own state, kept in its image.

use peripatos_abi::Errno;

use super::memory::{check, write, write_u32};
use super::table::Args;

/// What a process was started with. No string contains NUL.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Strings {
    /// The arguments, the program's name first.
    pub args: Vec<Vec<u8>>,
    /// The environment, each `NAME=VALUE`.
    pub env: Vec<Vec<u8>>,
}

pub(super) fn args_get(memory: &mut [u8], args: Args<'_>, own: &Strings) -> Result<(), Errno> {
    write_list(memory, args, &own.args)
}

pub(super) fn args_sizes_get(
    memory: &mut [u8],
    args: Args<'_>,
    own: &Strings,
) -> Result<(), Errno> {
    write_sizes(memory, args, &own.args)
}

pub(super) fn environ_get(memory: &mut [u8], args: Args<'_>, own: &Strings) -> Result<(), Errno> {
    write_list(memory, args, &own.env)
}

pub(super) fn environ_sizes_get(
    memory: &mut [u8],
    args: Args<'_>,
    own: &Strings,
) -> Result<(), Errno> {
    write_sizes(memory, args, &own.env)
}

/// (pointer to pointers, pointer to bytes): the strings one after another, each with its NUL.
fn write_list(memory: &mut [u8], args: Args<'_>, strings: &[Vec<u8>]) -> Result<(), Errno> {
    let (pointers, mut text) = (args.u32(0), args.u32(1));
    let (count, bytes) = sizes(strings)?;
    check(memory, pointers, count.checked_mul(4).ok_or(Errno::Fault)?)?;
    check(memory, text, bytes)?;
    for (index, string) in strings.iter().enumerate() {
        write_u32(memory, pointers + 4 * index as u32, text)?;
        write(memory, text, string)?;
        text += string.len() as u32;
        write(memory, text, &[0])?;
        text += 1;
    }
    Ok(())
}

/// (pointer to the count, pointer to the bytes, NULs included).
fn write_sizes(memory: &mut [u8], args: Args<'_>, strings: &[Vec<u8>]) -> Result<(), Errno> {
    let (count, bytes) = sizes(strings)?;
    check(memory, args.u32(1), 4)?;
    write_u32(memory, args.u32(0), count)?;
    write_u32(memory, args.u32(1), bytes)
}

fn sizes(strings: &[Vec<u8>]) -> Result<(u32, u32), Errno> {
    let bytes: usize = strings.iter().map(|string| string.len() + 1).sum();
    let count = u32::try_from(strings.len()).map_err(|_| Errno::Overflow)?;
    Ok((count, u32::try_from(bytes).map_err(|_| Errno::Overflow)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strings_and_sizes() {
        let own = Strings { args: vec![b"peri".to_vec(), b"".to_vec()], env: vec![] };
        let mut memory = vec![0xff; 32];
        args_sizes_get(&mut memory, Args::new(&[0, 4]), &own).unwrap();
        assert_eq!(memory[..8], [2, 0, 0, 0, 6, 0, 0, 0]);
        args_get(&mut memory, Args::new(&[0, 16]), &own).unwrap();
        assert_eq!(memory[..8], [16, 0, 0, 0, 21, 0, 0, 0]);
        assert_eq!(&memory[16..22], b"peri\0\0");
        assert_eq!(args_get(&mut memory, Args::new(&[0, 27]), &own), Err(Errno::Fault));
        environ_get(&mut memory, Args::new(&[32, 32]), &own).unwrap();
    }
}
