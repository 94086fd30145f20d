//! The disk cache: warm starts, and entries that somebody has been at.

use std::fs;
use std::path::Path;

use peripatos_engine::{
    CacheCounts, CacheSettings, CaptureOptions, CodeKind, Outcome, Process, Runtime, Settings,
    Warning, block_on,
};

use crate::common::{Origin, guest, load, options, runtime_with, thaw_options};

fn cached(directory: &Path) -> Runtime {
    let directory = directory.to_owned();
    let cache = Some(CacheSettings { directory, size_bytes_max: 1 << 30 });
    runtime_with(Settings { cache, ..Settings::default() })
}

/// Runs a guest with one freeze, and says what the cache did.
fn run(runtime: &Runtime, wasm: &[u8]) -> CacheCounts {
    let code = load(runtime, wasm, CodeKind::CountDown);
    let origin = Origin::default();
    let mut process = Process::spawn(&code, options(&origin, Some(20))).unwrap();
    assert_eq!(block_on(process.run()).unwrap(), Outcome::Frozen);
    let image = process.capture(CaptureOptions::default()).unwrap();
    let options = thaw_options(&origin, None);
    let mut process = Process::thaw(&code, &image, options).unwrap();
    assert_eq!(block_on(process.run()).unwrap(), Outcome::Exited(0));
    runtime.cache_counts()
}

#[test]
fn a_second_runtime_compiles_nothing() {
    let parent = tempfile::tempdir().unwrap();
    let directory = parent.path().join("cache");
    let wasm = guest("blocks");
    let cold = run(&cached(&directory), &wasm);
    assert!(cold.hits == 0 && cold.misses > 0 && cold.written > 1 && cold.refused == 0);
    let runtime = cached(&directory);
    let warm = run(&runtime, &wasm);
    assert!(warm.hits > 0, "{warm:?}");
    assert_eq!((warm.misses, warm.refused, warm.written), (0, 0, 0));
    let code = load(&runtime, &wasm, CodeKind::CountDown);
    assert!(code.timings().from_cache);
}

#[test]
fn tampered_entries_are_replaced_and_counted() {
    let parent = tempfile::tempdir().unwrap();
    let directory = parent.path().join("cache");
    let wasm = guest("blocks");
    run(&cached(&directory), &wasm);
    let entries = || -> Vec<_> {
        let list = fs::read_dir(&directory).unwrap().map(|entry| entry.unwrap().path());
        list.filter(|path| path.file_name().unwrap() != "secret").collect()
    };
    type Harm = fn(&Path);
    let harms: [Harm; 4] = [
        |path| {
            let mut bytes = fs::read(path).unwrap();
            let middle = bytes.len() / 2;
            bytes[middle] ^= 1;
            fs::write(path, bytes).unwrap();
        },
        |path| fs::write(path, &fs::read(path).unwrap()[..20]).unwrap(),
        |path| fs::write(path, b"").unwrap(),
        |path| {
            fs::remove_file(path).unwrap();
            std::os::unix::fs::symlink("/dev/zero", path).unwrap();
        },
    ];
    for harm in harms {
        entries().iter().for_each(|path| harm(path));
        let counts = run(&cached(&directory), &wasm);
        assert!(counts.refused > 0 && counts.hits == 0 && counts.written > 0, "{counts:?}");
        let counts = run(&cached(&directory), &wasm);
        assert!(counts.refused == 0 && counts.hits > 0, "{counts:?}");
    }
    // Entries of another directory have another secret.
    let other = parent.path().join("other");
    run(&cached(&other), &wasm);
    for path in entries() {
        fs::copy(&path, other.join(path.file_name().unwrap())).unwrap();
    }
    assert!(run(&cached(&other), &wasm).refused > 0);
}

#[test]
fn an_unusable_directory_is_a_warning() {
    let parent = tempfile::tempdir().unwrap();
    let file = parent.path().join("file");
    fs::write(&file, b"").unwrap();
    let runtime = cached(&file);
    assert!(matches!(runtime.take_warnings()[..], [Warning::CacheUnusable(_)]));
    assert!(runtime.take_warnings().is_empty());
    run(&runtime, &guest("blocks"));
}

#[test]
fn the_oldest_entries_make_room() {
    let parent = tempfile::tempdir().unwrap();
    let directory = parent.path().join("cache");
    let wasm = guest("blocks");
    run(&cached(&directory), &wasm);
    let size = |path: &Path| -> u64 {
        let list = fs::read_dir(path).unwrap();
        list.map(|entry| entry.unwrap().metadata().unwrap().len()).sum()
    };
    let size_bytes_max = size(&directory) * 2 / 3;
    let cache = Some(CacheSettings { directory: directory.clone(), size_bytes_max });
    let runtime = runtime_with(Settings { cache, canonical_nan: true, ..Settings::default() });
    assert!(run(&runtime, &wasm).trimmed > 0);
}
