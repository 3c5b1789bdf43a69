//! The same random calls on a mount and on a plain directory, by two clients: the same answers, the
//! same errno, the same tree, also after remounts. `COFFER_TWIN_CALLS` sets how many (default
//! 3,000), `COFFER_SEED` which, `COFFER_TWIN_SEEDS` how many seeds from there.

mod call;
mod side;

use super::kill::setting;
use call::{CLIENT_COUNT, Call, call};
use coffer_tests::process::Mounted;
use coffer_tests::random::Rng;
use coffer_tests::sample;
use side::Side;
use std::fs::{File, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

fn same_tree(mount: &Path, plain: &Path, what: &str) {
    let differences = sample::differences(
        &sample::describe_without_times(mount),
        &sample::describe_without_times(plain),
    );
    assert!(
        differences.is_empty(),
        "{what}: mount and plain differ:\n{}",
        differences.join("\n")
    );
}

/// Makes the same calls on both sides.
fn compare(left: &Path, right: &Path, seed: u64, count: u64, remount: &mut dyn FnMut()) {
    let mut rng = Rng::new(seed);
    let mut sides = [left, right].map(|root| Side::new(root.to_owned()));
    let client_count = match rustix::process::geteuid().is_root() {
        true => CLIENT_COUNT,
        false => 1,
    };
    let mut log: Vec<String> = Vec::new();
    for index in 0..count {
        let client = rng.below(client_count);
        let call = call(&mut rng, sides[0].open_count(client));
        let answers = [sides[0].run(client, &call), sides[1].run(client, &call)];
        let shown = format!("{index}: client {client}: {call:?}");
        let shown: String = shown.chars().take(300).collect();
        let end = if answers[0].is_ok() { "ok" } else { "error" };
        log.push(format!("{shown} -> {end}"));
        let recent = || {
            let start = log.len().saturating_sub(60);
            format!("seed {seed}, the last calls:\n{}", log[start..].join("\n"))
        };
        assert_eq!(
            answers[0],
            answers[1],
            "mount left, plain right; {}",
            recent()
        );
        if sides[0].open_count(client) > 6 {
            sides.iter_mut().for_each(|side| side.close_first(client));
        }
        let is_remount = matches!(call, Call::Remount);
        if is_remount {
            sides.iter_mut().for_each(|side| side.close_all());
            same_tree(left, right, &recent());
            remount();
        }
        if index % 100 == 99 || is_remount {
            same_tree(left, right, &recent());
        }
    }
}

/// fsync of every regular file and directory: a directory alone does not promise contents.
fn sync_below(folder: &Path) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let entry = entry.unwrap();
        let kind = entry.file_type().unwrap();
        if kind.is_dir() {
            sync_below(&entry.path());
        } else if kind.is_file() {
            File::open(entry.path()).unwrap().sync_all().unwrap();
        }
    }
    File::open(folder).unwrap().sync_all().unwrap();
}

/// A directory in which both clients may work.
fn shared(folder: &Path, name: &str) -> PathBuf {
    let root = folder.join(name);
    std::fs::create_dir(&root).unwrap();
    for (path, mode) in [(folder, 0o755), (&root, 0o1777)] {
        std::fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
    }
    root
}

#[test]
fn two_plain_directories_answer_alike() {
    // What differs here would differ anywhere: the calls themselves are repeatable.
    let folder = tempfile::tempdir().unwrap();
    let (left, right) = (shared(folder.path(), "a"), shared(folder.path(), "b"));
    compare(&left, &right, 5, 2_000, &mut || ());
}

#[test]
#[cfg_attr(not(can_fuse), ignore = "SKIPPED: no FUSE mount possible here")]
fn a_mount_answers_as_a_plain_directory_does() {
    let options: &[&str] = match rustix::process::geteuid().is_root() {
        true => &["-o", "allow_other,dev"],
        false => &[],
    };
    let mut mounted = Mounted::new();
    mounted.unmount();
    mounted.mount_with(options).unwrap();
    std::fs::set_permissions(&mounted.home, Permissions::from_mode(0o755)).unwrap();
    let plain = tempfile::tempdir().unwrap();
    let (first, count) = (
        setting("COFFER_SEED", 1),
        setting("COFFER_TWIN_CALLS", 3_000),
    );
    for seed in first..first + setting("COFFER_TWIN_SEEDS", 1) {
        let name = format!("root-{seed}");
        let root = shared(&mounted.point(), &name);
        let plain = shared(plain.path(), &name);
        compare(&root, &plain, seed, count, &mut || {
            mounted.unmount();
            mounted.mount_with(options).unwrap();
        });
        sync_below(&root);
        mounted.kill();
        mounted.mount_with(options).unwrap();
        let end = format!("seed {seed}, after fsync and kill -9");
        same_tree(&root, &plain, &end);
        std::fs::remove_dir_all(&root).unwrap();
        std::fs::remove_dir_all(&plain).unwrap();
    }
    mounted.unmount();
}
