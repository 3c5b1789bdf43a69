//! The operating system arm against a real temporary directory.

use super::*;
use crate::env::OpenMode;
use crate::error::ErrorKind;
use crate::types::{FileId, FileKind};
use alloc::vec;
use rustix::fs::{CWD, FileType, Mode, mknodat};
use std::os::unix::fs::{PermissionsExt, symlink};

const TABLE: FileId = FileId::new(FileKind::Table, 3);

fn fresh() -> (tempfile::TempDir, Env) {
    let dir = tempfile::tempdir().unwrap();
    let env = env(dir.path()).unwrap();
    (dir, env)
}

#[test]
fn bytes_written_are_read_back() {
    let (dir, env) = fresh();
    let file = env.fs.open(TABLE, OpenMode::Create).unwrap();
    file.append(b"hello ").unwrap();
    file.append(b"world").unwrap();
    file.sync().unwrap();
    env.fs.sync_dir().unwrap();
    let mut buf = [0; 16];
    assert_eq!(file.read_at(6, &mut buf).unwrap(), 5);
    assert_eq!(&buf[..5], b"world");
    assert_eq!(file.read_at(u64::MAX - 3, &mut buf).unwrap(), 0);
    let repair = env.fs.open(TABLE, OpenMode::Repair).unwrap();
    repair.write_at(0, b"J").unwrap();
    assert!(repair.write_at(11, b"x").is_err());
    repair.truncate(5).unwrap();
    assert_eq!(
        std::fs::read(dir.path().join("000003.table")).unwrap(),
        b"Jello"
    );
    let mode = std::fs::metadata(dir.path().join("000003.table"))
        .unwrap()
        .permissions()
        .mode();
    assert_eq!(mode & 0o777, 0o600);
}

#[test]
fn appends_go_over_zeros_written_ahead() {
    let (dir, env) = fresh();
    let path = dir.path().join("000003.table");
    let file = env.fs.open(TABLE, OpenMode::Create).unwrap();
    file.append(b"hello ").unwrap();
    file.reserve(100).unwrap();
    let reserved = file.len().unwrap();
    assert!(reserved > 1 << 20);
    file.reserve(100).unwrap();
    file.append(b"world").unwrap();
    file.sync().unwrap();
    assert_eq!(file.len().unwrap(), reserved);
    let bytes = std::fs::read(&path).unwrap();
    assert!(bytes.starts_with(b"hello world\0") && bytes[11..].iter().all(|byte| *byte == 0));
    // A long append gains nothing by it, and one that reaches further goes on behind.
    file.reserve(1 << 30).unwrap();
    assert_eq!(file.len().unwrap(), reserved);
    let long = vec![7; 2 << 20];
    file.append(&long).unwrap();
    assert_eq!(file.len().unwrap(), 11 + long.len() as u64);
    file.reserve(1).unwrap();
    file.truncate(3).unwrap();
    assert_eq!(std::fs::read(&path).unwrap(), b"hel");
    file.append(b"p").unwrap();
    assert_eq!(std::fs::read(&path).unwrap(), b"help");
}

#[test]
fn names_missing_taken_or_linked_are_errors() {
    let (dir, env) = fresh();
    let missing = env.fs.open(TABLE, OpenMode::Read).err().unwrap();
    assert_eq!(missing.kind(), ErrorKind::Corruption);
    assert_eq!(missing.place().file, Some(TABLE));
    std::fs::write(dir.path().join("elsewhere"), b"secret").unwrap();
    symlink("elsewhere", dir.path().join("000003.table")).unwrap();
    for mode in [OpenMode::Read, OpenMode::Create, OpenMode::Repair] {
        assert!(
            env.fs.open(TABLE, mode).is_err(),
            "{mode:?} followed a link"
        );
    }
    env.fs.remove(TABLE).unwrap();
    std::fs::create_dir(dir.path().join("000003.table")).unwrap();
    assert!(env.fs.open(TABLE, OpenMode::Read).is_err());
}

#[test]
fn the_list_holds_our_names_alone() {
    let (dir, env) = fresh();
    std::fs::write(dir.path().join("notes.txt"), b"").unwrap();
    env.fs.open(TABLE, OpenMode::Create).unwrap();
    assert_eq!(env.fs.list().unwrap(), [TABLE]);
    let to = FileId::new(FileKind::Table, 4);
    env.fs.rename(TABLE, to).unwrap();
    assert_eq!(env.fs.list().unwrap(), [to]);
    env.fs.remove(to).unwrap();
    assert_eq!(
        env.fs.remove(to).err().unwrap().kind(),
        ErrorKind::Corruption
    );
}

#[test]
fn the_lock_excludes_and_names_the_store() {
    let (dir, env) = fresh();
    let guard = env.fs.lock().unwrap();
    let again = super::env(dir.path()).unwrap();
    let error = again.fs.lock().err().unwrap();
    assert_eq!(error.kind(), ErrorKind::Locked);
    assert!(error.to_string().contains(dir.path().to_str().unwrap()));
    drop(guard);
    again.fs.lock().unwrap();
}

#[test]
fn the_lock_does_not_need_its_file_to_stay() {
    let (dir, env) = fresh();
    let guard = env.fs.lock().unwrap();
    let again = super::env(dir.path()).unwrap();
    let path = dir.path().join("LOCK");
    std::fs::remove_file(&path).unwrap();
    assert_eq!(again.fs.lock().err().unwrap().kind(), ErrorKind::Locked);
    std::fs::remove_file(&path).unwrap();
    std::fs::write(&path, b"another file").unwrap();
    assert_eq!(again.fs.lock().err().unwrap().kind(), ErrorKind::Locked);
    drop(guard);
    let guard = again.fs.lock().unwrap();
    assert_eq!(env.fs.lock().err().unwrap().kind(), ErrorKind::Locked);
    drop(guard);
    env.fs.lock().unwrap();
}

#[test]
fn a_pipe_in_place_of_a_file_is_named_at_once() {
    let (dir, env) = fresh();
    let lock = FileId::new(FileKind::Lock, 0);
    for id in [TABLE, lock] {
        let path = dir.path().join(id.to_string());
        let mode = Mode::RUSR | Mode::WUSR;
        mknodat(CWD, &path, FileType::Fifo, mode, 0).unwrap();
    }
    let (send, receive) = std::sync::mpsc::channel();
    env.spawner.clone().spawn(
        "test",
        Box::new(move || {
            for mode in [OpenMode::Read, OpenMode::Repair, OpenMode::Create] {
                send.send(env.fs.open(TABLE, mode).err()).unwrap();
            }
            send.send(env.fs.lock().err()).unwrap();
        }),
    );
    for what in ["read", "repair", "create", "lock"] {
        let answer = receive.recv_timeout(Duration::from_secs(5));
        let error = answer.unwrap_or_else(|_| panic!("{what}: hangs"));
        let error = error.unwrap_or_else(|| panic!("{what}: is taken"));
        assert!(error.place().file.is_some(), "{what}: {error}");
    }
}

#[test]
fn a_missing_directory_is_a_wrong_request() {
    let error = env(Path::new("/nonexistent/store")).err().unwrap();
    assert_eq!(error.kind(), ErrorKind::Invalid);
    assert!(error.to_string().contains("/nonexistent/store"));
}

#[test]
fn space_time_randomness_and_threads_answer() {
    let (_dir, env) = fresh();
    let space = env.fs.space().unwrap();
    assert!(space.total_len > 0 && space.free_len <= space.total_len);
    assert!(env.clock.monotonic() <= env.clock.monotonic());
    assert!(env.clock.now().as_secs() > 1_700_000_000);
    let mut bytes = [0; 64];
    env.entropy.fill(&mut bytes).unwrap();
    assert_ne!(bytes, [0; 64]);
    let (send, receive) = std::sync::mpsc::channel();
    let task = env
        .spawner
        .spawn("test", Box::new(move || send.send(7).unwrap()))
        .unwrap();
    assert_eq!(receive.recv().unwrap(), 7);
    task.join();
}
