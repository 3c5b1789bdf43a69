//! `kill -9` of the mount under load: what was fsynced is complete, what was renamed is whole.
//!
//! `COFFER_KILL_CYCLES` sets the number of cycles (default 5), `COFFER_SEED` the load.

use coffer_tests::process::Mounted;
use coffer_tests::random::Rng;
use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

/// A number from the environment.
pub(crate) fn setting(name: &str, default: u64) -> u64 {
    std::env::var(name).map_or(default, |text| {
        text.parse()
            .unwrap_or_else(|_| panic!("{name} is not a number: {text}"))
    })
}

fn content(writer: usize, cycle: u64, index: usize) -> Vec<u8> {
    let mut rng = Rng::new(cycle << 32 | (writer as u64) << 24 | index as u64);
    let len = match rng.below(4) {
        0 => rng.below(2_000),
        1 | 2 => rng.below(60_000),
        _ => rng.below(600_000),
    };
    let mut bytes = format!("{writer} {cycle} {index} ").into_bytes();
    bytes.extend(if rng.chance(50) {
        rng.text(len)
    } else {
        rng.bytes(len)
    });
    bytes
}

/// What one writer was promised before the kill.
#[derive(Default)]
struct Promised {
    /// Files written and fsynced under their own name.
    synced: Vec<usize>,
    /// Renames of a fsynced file over `current-WRITER`, made durable by fsync of the directory.
    renamed: Option<usize>,
    /// Names removed, and that made durable.
    removed: Vec<usize>,
    /// The index that was being written.
    last: usize,
}

fn write_synced(path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    let mut file = File::create(path)?;
    for part in bytes.chunks(70_000) {
        file.write_all(part)?;
    }
    file.sync_all()
}

fn load(folder: &Path, writer: usize, cycle: u64, promised: &mut Promised) -> std::io::Result<()> {
    let named = |index: usize| folder.join(format!("file-{writer}-{cycle}-{index}"));
    for index in 0.. {
        promised.last = index;
        let bytes = content(writer, cycle, index);
        write_synced(&named(index), &bytes)?;
        promised.synced.push(index);
        if index % 2 == 0 {
            let temp = folder.join(format!("temp-{writer}"));
            write_synced(&temp, &bytes)?;
            std::fs::rename(&temp, folder.join(format!("current-{writer}")))?;
            File::open(folder)?.sync_all()?;
            promised.renamed = Some(index);
        }
        if index % 5 == 4 {
            std::fs::remove_file(named(index - 2))?;
            File::open(folder)?.sync_all()?;
            promised.removed.push(index - 2);
        }
        // Not synced: may come or go, but never harm the others.
        std::fs::write(folder.join(format!("loose-{writer}")), &bytes)?;
    }
    Ok(())
}

fn spawn(
    folder: PathBuf,
    writer: usize,
    cycle: u64,
    stopped: Arc<AtomicBool>,
) -> JoinHandle<Promised> {
    std::thread::spawn(move || {
        let mut promised = Promised::default();
        let result = load(&folder, writer, cycle, &mut promised);
        assert!(
            stopped.load(Ordering::SeqCst),
            "writer {writer} failed before the kill: {result:?}"
        );
        promised
    })
}

fn check(folder: &Path, writer: usize, cycle: u64, promised: &Promised) {
    for index in &promised.synced {
        let path = folder.join(format!("file-{writer}-{cycle}-{index}"));
        if promised.removed.contains(index) {
            assert!(!path.exists(), "{} came back", path.display());
            continue;
        }
        // The removal of the last cycle step may have happened without being promised.
        let may_be_gone = promised.last % 5 == 4 && *index == promised.last - 2;
        if may_be_gone && !path.exists() {
            continue;
        }
        let found = std::fs::read(&path).unwrap_or_else(|error| {
            panic!("{} was fsynced: {error}", path.display());
        });
        assert!(
            found == content(writer, cycle, *index),
            "{} is not what was fsynced",
            path.display()
        );
    }
    let path = folder.join(format!("current-{writer}"));
    if let Some(low) = promised.renamed {
        let found = std::fs::read(&path).unwrap();
        let whole = (low..=promised.last).any(|index| found == content(writer, cycle, index));
        assert!(
            whole,
            "{} holds no version from {low} to {}",
            path.display(),
            promised.last
        );
    }
}

#[test]
#[cfg_attr(not(can_fuse), ignore = "SKIPPED: no FUSE mount possible here")]
fn fsynced_files_survive_kill_9() {
    let cycles = setting("COFFER_KILL_CYCLES", 5);
    let mut rng = Rng::new(setting("COFFER_SEED", 1));
    let mut mounted = Mounted::new();
    let folder = mounted.path("load");
    std::fs::create_dir(&folder).unwrap();
    let mut times = Vec::new();
    for cycle in 0..cycles {
        let stopped = Arc::new(AtomicBool::new(false));
        let writers: Vec<_> = (0..3)
            .map(|writer| spawn(folder.clone(), writer, cycle, stopped.clone()))
            .collect();
        std::thread::sleep(Duration::from_millis(200 + rng.below(1500) as u64));
        stopped.store(true, Ordering::SeqCst);
        mounted.kill();
        let promised: Vec<Promised> = writers.into_iter().map(|it| it.join().unwrap()).collect();
        times.push(mounted.mount());
        for (writer, promised) in promised.iter().enumerate() {
            assert!(
                !promised.synced.is_empty(),
                "the load is too slow to test anything"
            );
            check(&folder, writer, cycle, promised);
        }
    }
    let slowest = times.iter().max().unwrap();
    let report = format!("kill -9: {cycles} cycles, slowest mount after it {slowest:?}\n");
    std::io::stderr().write_all(report.as_bytes()).unwrap();
    assert!(
        *slowest < Duration::from_secs(20),
        "mounting again took {slowest:?}"
    );
    mounted.unmount();
}
