//! Images that are damaged, cut, foreign or made up: an error, and nothing else.

use peripatos_engine::{
    CaptureOptions, Code, CodeKind, IMAGE_CHECKSUM_BYTES, Image, ImageError, ImageLimits, Outcome,
    Process, Runtime, Settings, SpawnError, block_on,
};

use twox_hash::XxHash3_128;

use crate::common::{Origin, guest, load, options, runtime, runtime_with, thaw_options};

/// Mutations of one image.
const MUTATIONS: usize = 3_000;

fn frozen(runtime: &Runtime, name: &str, every: u32) -> (Code, Image, Vec<u8>) {
    let code = load(runtime, &guest(name), CodeKind::CountDown);
    let mut process = Process::spawn(&code, options(&Origin::default(), Some(every))).unwrap();
    assert_eq!(block_on(process.run()).unwrap(), Outcome::Frozen);
    let capture = CaptureOptions { devices: b"devices".to_vec(), with_program: true };
    let image = process.capture(capture).unwrap();
    let mut bytes = Vec::new();
    image.write_to(&mut bytes).unwrap();
    (code, image, bytes)
}

fn read(bytes: &[u8]) -> Result<Image, ImageError> {
    Image::read_from(&mut &*bytes, ImageLimits::default())
}

#[test]
fn what_is_written_is_read() {
    let (code, image, bytes) = frozen(&runtime(), "tables", 100);
    let again = read(&bytes).unwrap();
    assert_eq!(again, image);
    assert_eq!(again.module_hash(), code.hash());
    assert_eq!(again.program().as_deref(), Some(&code.original()[..]));
    assert_eq!(again.args(), [b"program"]);
    assert_eq!(again.devices(), b"devices");
    assert!(again.frames() > 0 && again.memory_bytes() > 0);
}

#[test]
fn a_cut_or_changed_stream_is_refused() {
    let (_, _, bytes) = frozen(&runtime(), "blocks", 20);
    for len in (0..bytes.len()).step_by(1 + bytes.len() / 500) {
        let error = read(&bytes[..len]).err().unwrap();
        let expected = if len < 8 { "not an image" } else { "cut short" };
        assert!(error.to_string().contains(expected), "{len}: {error}");
    }
    for at in (0..bytes.len()).step_by(1 + bytes.len() / 500) {
        let mut changed = bytes.clone();
        changed[at] ^= 0x10;
        assert!(read(&changed).is_err(), "byte {at}");
    }
    assert!(matches!(read(b"hello, world"), Err(ImageError::NotAnImage)));
    let mut other = bytes.clone();
    other[8] = 99;
    assert!(matches!(read(&other), Err(ImageError::Version { found: 99, .. })));
    let limits = ImageLimits { total_bytes: 100 };
    let error = Image::read_from(&mut &bytes[..], limits).err().unwrap();
    assert!(matches!(error, ImageError::TooLarge(_)), "{error}");
}

/// A stream whose checksum is right and whose content is not: reading and thawing it must end in an
/// error or in a process, never in a panic.
#[test]
fn made_up_images_harm_nothing() {
    let runtime = runtime();
    for (name, every) in [("tables", 100), ("exnref", 50), ("segments", 1000)] {
        let (code, _, bytes) = frozen(&runtime, name, every);
        let content = bytes.len() - IMAGE_CHECKSUM_BYTES;
        let mut random = 0x9e37_79b9_7f4a_7c15_u64;
        let mut next = |below: usize| {
            random ^= random << 13;
            random ^= random >> 7;
            random ^= random << 17;
            (random % below as u64) as usize
        };
        let mut thawed = 0;
        for _ in 0..MUTATIONS {
            let mut changed = bytes[..content].to_vec();
            for _ in 0..=next(3) {
                // Small numbers and all ones are what lengths and ids are wrong with.
                let at = next(content.min(4096));
                changed[at] = [0, 1, 0x7f, 0xff, next(256) as u8][next(5)];
            }
            changed.extend(XxHash3_128::oneshot(&changed).to_le_bytes());
            let Ok(image) = read(&changed) else { continue };
            let options = thaw_options(&Origin::default(), Some(1));
            if let Ok(mut process) = Process::thaw(&code, &image, options) {
                thawed += 1;
                // It may trap, or freeze at the next check: it was given 1.
                let _ = block_on(process.run());
            }
        }
        assert!(thawed > 0, "{name}: no mutation was harmless");
    }
}

#[test]
fn an_image_of_another_program_or_setting_is_told() {
    let runtime = runtime();
    let (code, image, _) = frozen(&runtime, "blocks", 20);
    let (other, ..) = frozen(&runtime, "tables", 20);
    let thaw = |code: &Code| {
        let options = thaw_options(&Origin::default(), None);
        Process::thaw(code, &image, options).err().unwrap()
    };
    assert!(matches!(thaw(&other), SpawnError::Image(ImageError::ForeignModule)));
    let canonical = runtime_with(Settings { canonical_nan: true, ..Settings::default() });
    let code = load(&canonical, code.original(), CodeKind::CountDown);
    assert!(matches!(thaw(&code), SpawnError::Image(ImageError::Setting(_))));
}

/// A process that stands still, as a stream whose memory contents come from where they lie.
fn streamed(runtime: &Runtime, name: &str, every: u32, piece_bytes: usize) -> (Code, Vec<u8>) {
    let code = load(runtime, &guest(name), CodeKind::CountDown);
    let mut process = Process::spawn(&code, options(&Origin::default(), Some(every))).unwrap();
    assert_eq!(block_on(process.run()).unwrap(), Outcome::Frozen);
    let capture = CaptureOptions { devices: b"devices".to_vec(), with_program: true };
    let mut pieces = process.outline(capture).unwrap().pieces();
    let mut bytes = Vec::new();
    loop {
        let mut piece = Vec::new();
        let more = pieces.fill(&mut process, &mut piece, piece_bytes).unwrap();
        assert!(piece.len() <= piece_bytes + IMAGE_CHECKSUM_BYTES);
        bytes.extend(piece);
        if !more {
            return (code, bytes);
        }
    }
}

fn thaw_from(code: &Code, mut bytes: &[u8]) -> Result<(Process, Vec<u8>), SpawnError> {
    let options = thaw_options(&Origin::default(), None);
    let room = Process::make_room(code, options, 0)?;
    room.thaw_from(&mut bytes, ImageLimits::default())
}

#[test]
fn a_process_that_stands_still_is_sent_as_the_same_image() {
    for (name, every) in [("memories", 500), ("tables", 100), ("segments", 50)] {
        let (_, _, whole) = frozen(&runtime(), name, every);
        for piece_bytes in [1_000, 1 << 20] {
            let (code, bytes) = streamed(&runtime(), name, every, piece_bytes);
            assert!(bytes == whole, "{name}");
            let (mut process, devices) = thaw_from(&code, &bytes).unwrap();
            assert_eq!(devices, b"devices");
            let capture = CaptureOptions { devices, with_program: true };
            let mut again = Vec::new();
            process.capture(capture).unwrap().write_to(&mut again).unwrap();
            assert!(again == whole, "{name}");
        }
    }
}

#[test]
fn a_damaged_stream_becomes_no_process() {
    let (code, bytes) = streamed(&runtime(), "blocks", 20, 1 << 20);
    for at in (0..bytes.len()).step_by(1 + bytes.len() / 300) {
        let mut changed = bytes.clone();
        changed[at] ^= 0x10;
        assert!(thaw_from(&code, &changed).is_err(), "byte {at}");
        assert!(thaw_from(&code, &bytes[..at]).is_err(), "cut at {at}");
    }
}

#[test]
fn a_process_that_runs_on_is_not_sent() {
    let code = load(&runtime(), &guest("blocks"), CodeKind::CountDown);
    let mut process = Process::spawn(&code, options(&Origin::default(), Some(20))).unwrap();
    assert_eq!(block_on(process.run()).unwrap(), Outcome::Frozen);
    let mut pieces = process.outline(CaptureOptions::default()).unwrap().pieces();
    while block_on(process.run()).unwrap() == Outcome::Frozen {}
    let filled = pieces.fill(&mut process, &mut Vec::new(), usize::MAX);
    assert!(matches!(filled, Err(ImageError::NotFrozen(_))));
}
