//! Images as files: written whole or not at all, and vouched for.
//!
//! An image names the directories that its process had open. Opening them on an image's word would let whoever wrote
//! it read and write this user's files. So a file ends in a voucher: a keyed hash of the image, by a secret of this
//! user. Only an image with this user's voucher gets its directories back unasked; any other gets what `--dir` grants.
//!
//! A file is the image as the engine writes it, then `PERIVCHR` and 32 bytes of keyed blake3. Without them the image is
//! as good, only a stranger.

use crate::exit::{Code, Failure, Result};
use crate::leftovers::Leftover;
use crate::secret;
use peripatos_engine::{Image, ImageError, ImageLimits};
use std::fs::{self, File, OpenOptions};
use std::io::{self, BufReader, BufWriter, Read, Write};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

const VOUCHER_MAGIC: [u8; 8] = *b"PERIVCHR";
const VOUCHER_BYTES: usize = 8 + 32;
/// Bytes that are read or written at once.
const BUFFER_BYTES: usize = 1 << 18;

/// An image file under way: a hidden file beside the one it will be.
pub(crate) struct ImageWriter {
    target: PathBuf,
    temporary: Leftover,
    file: BufWriter<File>,
    hasher: Option<blake3::Hasher>,
}

impl ImageWriter {
    /// Errors: the directory cannot be written.
    pub(crate) fn create(target: &Path) -> io::Result<ImageWriter> {
        let name =
            target.file_name().ok_or_else(|| io::Error::from(io::ErrorKind::IsADirectory))?;
        // A device or a pipe would be replaced by a file.
        if fs::metadata(target).is_ok_and(|found| !found.is_file()) {
            return Err(io::Error::other(
                "exists and is not a regular file (`-` is standard output)",
            ));
        }
        let hidden = format!(".{}.{}", name.to_string_lossy(), std::process::id());
        let temporary = Leftover::new(target.with_file_name(hidden));
        // An image holds the process's memory: for its user's eyes only.
        let options =
            OpenOptions::new().write(true).create_new(true).mode(0o600).open(temporary.path())?;
        let file = BufWriter::with_capacity(BUFFER_BYTES, options);
        let hasher = secret::voucher_key().map(|key| blake3::Hasher::new_keyed(&key));
        Ok(ImageWriter { target: target.into(), temporary, file, hasher })
    }

    /// Adds the voucher and brings all to the device; the file has its final name only after [`ImageWriter::keep`].
    pub(crate) fn store(&mut self) -> io::Result<()> {
        if let Some(hasher) = &self.hasher {
            self.file.write_all(&VOUCHER_MAGIC)?;
            self.file.write_all(hasher.finalize().as_bytes())?;
        }
        self.file.flush()?;
        self.file.get_ref().sync_all()
    }

    /// Gives the file its name, in place of an older one. If that fails the image stays under its hidden name, which
    /// the error tells: by now it may be the only copy.
    pub(crate) fn keep(self) -> io::Result<()> {
        let renamed = fs::rename(self.temporary.path(), &self.target);
        let hidden = self.temporary.path().display().to_string();
        self.temporary.keep();
        renamed.map_err(|error| {
            io::Error::new(error.kind(), format!("{error}; the image is in {hidden}"))
        })
    }
}

impl Write for ImageWriter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.file.write(bytes)?;
        if let Some(hasher) = &mut self.hasher {
            hasher.update(&bytes[..written]);
        }
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

/// An image that was read, and whether this user made it.
pub(crate) struct ReadImage {
    pub(crate) image: Image,
    pub(crate) vouched: bool,
}

/// Reads an image from a file, or from standard input for `-`.
pub(crate) fn read(path: &Path) -> Result<ReadImage> {
    if path == Path::new("-") {
        return read_from(io::stdin().lock(), "standard input");
    }
    let unreadable = |error: io::Error| match error.kind() {
        io::ErrorKind::NotFound => Failure::new(Code::Unreadable, path.display(), "no such file"),
        _ => Failure::new(Code::Unreadable, path.display(), error),
    };
    let file = File::open(path).map_err(unreadable)?;
    if file.metadata().is_ok_and(|found| found.is_dir()) {
        return Err(Failure::new(Code::Unreadable, path.display(), "is a directory, not an image"));
    }
    read_from(file, path.display())
}

fn read_from(from: impl Read, what: impl std::fmt::Display) -> Result<ReadImage> {
    let hasher = secret::voucher_key().map(|key| blake3::Hasher::new_keyed(&key));
    let mut reader = Hashing { from: BufReader::with_capacity(BUFFER_BYTES, from), hasher };
    let image =
        Image::read_from(&mut reader, ImageLimits::default()).map_err(|error| match error {
            ImageError::Io(_) => Failure::new(Code::Unreadable, &what, error),
            _ => Failure::new(Code::DamagedImage, &what, error),
        })?;
    let expected = reader.hasher.map(|hasher| hasher.finalize());
    let mut trailer = Vec::new();
    reader
        .from
        .take(VOUCHER_BYTES as u64 + 1)
        .read_to_end(&mut trailer)
        .map_err(|error| Failure::new(Code::Unreadable, &what, error))?;
    let vouched = match (trailer.len(), expected) {
        (0, _) | (VOUCHER_BYTES, None) => false,
        // Comparing blake3 hashes takes the same time wherever they differ.
        (VOUCHER_BYTES, Some(expected)) if trailer[..8] == VOUCHER_MAGIC => {
            <[u8; 32]>::try_from(&trailer[8..]).is_ok_and(|found| expected == found)
        }
        _ => {
            return Err(Failure::new(
                Code::DamagedImage,
                what,
                "bytes behind the end of the image",
            ));
        }
    };
    Ok(ReadImage { image, vouched })
}

/// Hashes what passes.
struct Hashing<R> {
    from: R,
    hasher: Option<blake3::Hasher>,
}

impl<R: Read> Read for Hashing<R> {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        let read = self.from.read(bytes)?;
        if let Some(hasher) = &mut self.hasher {
            hasher.update(&bytes[..read]);
        }
        Ok(read)
    }
}
