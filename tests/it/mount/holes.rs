//! Holes through the mount: found by lseek(2), made by fallocate(2).

use coffer_tests::process::Mounted;
use coffer_tests::random::Rng;
use rustix::fs::{FallocateFlags, SeekFrom, fallocate, seek};
use rustix::io::Errno;
use std::fs::File;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::Path;
use std::time::{Duration, Instant};

const CHUNK: u64 = 128 << 10;

fn data(file: &File, offset: u64) -> Result<u64, Errno> {
    seek(file, SeekFrom::Data(offset))
}

fn hole(file: &File, offset: u64) -> Result<u64, Errno> {
    seek(file, SeekFrom::Hole(offset))
}

/// The runs of data, as a program that copies sparse files finds them.
fn runs(file: &File) -> Vec<(u64, u64)> {
    let mut runs = Vec::new();
    let mut at = 0;
    while let Ok(start) = data(file, at) {
        at = hole(file, start).unwrap();
        runs.push((start, at));
    }
    assert_eq!(data(file, at), Err(Errno::NXIO));
    runs
}

/// Opens a file for reading that was just closed by whoever wrote to it: the kernel tells so a
/// little later.
fn reader(path: &Path) -> File {
    let file = File::open(path).unwrap();
    let since = Instant::now();
    while hole(&file, 0) == Ok(file.metadata().unwrap().size()) {
        assert!(since.elapsed() < Duration::from_secs(20), "no hole");
        std::thread::sleep(Duration::from_millis(5));
    }
    file
}

#[test]
#[cfg_attr(not(can_fuse), ignore = "SKIPPED: no FUSE mount possible here")]
fn lseek_finds_data_and_holes() {
    let mut mounted = Mounted::new();
    let path = mounted.path("sparse");
    let bytes = Rng::new(1).bytes(2 * CHUNK as usize);
    let file = File::create_new(&path).unwrap();
    file.write_all_at(&bytes, 0).unwrap();
    file.write_all_at(b"far", 8 * CHUNK + 10).unwrap();
    file.set_len(20 * CHUNK).unwrap();
    // Whoever may have mapped it for writing is shown no holes.
    assert_eq!(runs(&file), [(0, 20 * CHUNK)]);
    assert_eq!(data(&file, 5 * CHUNK), Ok(5 * CHUNK));
    assert_eq!(data(&file, 20 * CHUNK), Err(Errno::NXIO));
    assert_eq!(hole(&file, 20 * CHUNK), Err(Errno::NXIO));
    drop(file);
    let expected = [(0, 2 * CHUNK), (8 * CHUNK, 9 * CHUNK)];
    for round in 0..3 {
        let file = reader(&path);
        assert_eq!(runs(&file), expected, "round {round}");
        assert_eq!(data(&file, 7), Ok(7));
        assert_eq!(data(&file, 3 * CHUNK + 7), Ok(8 * CHUNK));
        assert_eq!(hole(&file, 7), Ok(2 * CHUNK));
        assert_eq!(hole(&file, 3 * CHUNK + 7), Ok(3 * CHUNK + 7));
        assert_eq!(data(&file, 9 * CHUNK), Err(Errno::NXIO));
        assert_eq!(hole(&file, 20 * CHUNK), Err(Errno::NXIO));
        assert_eq!(file.metadata().unwrap().blocks(), 3 * CHUNK / 512);
        file.sync_all().unwrap();
        drop(file);
        if round > 0 {
            mounted.remount();
        }
    }
    mounted.unmount();
}

#[test]
#[cfg_attr(not(can_fuse), ignore = "SKIPPED: no FUSE mount possible here")]
fn a_punched_hole_is_found_and_reads_as_zeros() {
    let mut mounted = Mounted::new();
    let path = mounted.path("punched");
    let mut bytes = Rng::new(2).bytes(6 * CHUNK as usize);
    std::fs::write(&path, &bytes).unwrap();
    let file = File::options().write(true).open(&path).unwrap();
    let punch = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
    // Chunks 2 and 3, and half of their neighbours, which stay.
    let (start, len) = (CHUNK + CHUNK / 2, 3 * CHUNK);
    fallocate(&file, punch, start, len).unwrap();
    drop(file);
    bytes[start as usize..(start + len) as usize].fill(0);
    for _ in 0..2 {
        let file = reader(&path);
        assert_eq!(runs(&file), [(0, 2 * CHUNK), (4 * CHUNK, 6 * CHUNK)]);
        assert_eq!(file.metadata().unwrap().blocks(), 4 * CHUNK / 512);
        assert!(std::fs::read(&path).unwrap() == bytes);
        drop(file);
        mounted.remount();
    }
    mounted.unmount();
}
