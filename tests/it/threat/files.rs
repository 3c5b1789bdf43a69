//! Attacks on whole files: old ones, missing ones, cut ones, longer ones, foreign ones, links.

use super::{Victim, named};
use crate::stores;
use coffer_engine::Ecc;
use coffer_engine::env::{Env, OpenMode};
use coffer_engine::{ErrorKind, FileId};
use coffer_tests::fault::{Fault, FaultFs, Operation, Rule};
use coffer_tests::image::Image;
use coffer_tests::random::Rng;
use rustix::fs::{CWD, FileType, Mode, mknodat};
use std::sync::Arc;
use std::time::Duration;

#[test]
fn old_files_beside_new_ones_are_refused() {
    let victim = Victim::new(21, Ecc::None);
    let old = &victim.old_image;
    // Each old file by itself, over the new one of the same name or beside it.
    for (name, bytes) in &old.0 {
        victim.attack(&format!("old {name}"), |image| {
            image.0.insert(name.clone(), bytes.clone());
        });
    }
    // All old files of one kind, and all of them but one kind.
    for ending in ["table", "blob", "wal", "manifest", ""] {
        let of = |name: &str| name.split_once('.').map_or("", |(_, end)| end) == ending;
        let is_kind = |name: &String| of(name);
        for keep in [true, false] {
            let mut image = victim.image.clone();
            for (name, bytes) in &old.0 {
                if is_kind(name) == keep && !name.starts_with("KEYRING") {
                    image.0.insert(name.clone(), bytes.clone());
                }
            }
            image
                .0
                .retain(|name, _| old.0.contains_key(name) || is_kind(name) != keep);
            // Where every old file is back, that is the whole store rolled back (row 6).
            let is_whole = old
                .0
                .iter()
                .all(|(name, bytes)| image.0.get(name) == Some(bytes));
            if !is_whole {
                victim.judge(&image, &format!("old files, .{ending} only: {keep}"));
            }
        }
    }
    // An old file under the name of each newer one of its kind.
    for ending in ["table", "blob", "wal", "manifest"] {
        for from in old.names(ending).iter().chain(&victim.image.names(ending)) {
            for to in victim.image.names(ending) {
                if *from == to {
                    continue;
                }
                let bytes = old
                    .0
                    .get(from)
                    .unwrap_or_else(|| &victim.image.0[from])
                    .clone();
                victim.attack(&format!("{from} under the name {to}"), |image| {
                    image.0.insert(to.clone(), bytes);
                });
            }
        }
    }
}

#[test]
fn missing_files_are_named() {
    let victim = Victim::new(22, Ecc::None);
    for name in victim.image.0.keys() {
        let verdict = victim.attack(&format!("{name} missing"), |image| {
            image.0.remove(name);
        });
        assert!(
            verdict.noticed() || name.starts_with("KEYRING"),
            "nobody missed {name}"
        );
    }
    Image::default().write(&victim.folder());
    let nothing = stores::open(stores::os(&victim.folder()))
        .map(drop)
        .unwrap_err();
    assert_eq!(nothing.kind(), ErrorKind::Invalid, "{nothing:?}");
}

#[test]
fn cut_files_are_refused() {
    let mut rng = Rng::new(1);
    for ecc in [Ecc::None, Ecc::ReedSolomon { data: 8, parity: 2 }] {
        for victim in [Victim::new(23, ecc), Victim::unclean(23, ecc)] {
            let blocks = victim.image.blocks();
            for (name, bytes) in &victim.image.0 {
                let mut lens = vec![0, 1, 127, 128, 255, 256, bytes.len() - 1, bytes.len() / 2];
                let of_file = blocks.iter().filter(|block| block.file == *name);
                lens.extend(of_file.map(|block| block.range.start));
                lens.retain(|len| *len < bytes.len());
                while lens.len() > 14 {
                    lens.swap_remove(rng.below(lens.len()));
                }
                for len in lens {
                    let what = format!("{ecc:?}: {name} cut to {len} of {}", bytes.len());
                    victim.attack(&what, |image| image.0.get_mut(name).unwrap().truncate(len));
                }
            }
        }
    }
}

#[test]
fn extended_files_change_nothing() {
    let victim = Victim::new(24, Ecc::None);
    let mut rng = Rng::new(2);
    for name in victim.image.0.keys() {
        let own = victim.image.0[name].clone();
        for tail in [
            vec![0; 1],
            vec![0; 5_000],
            rng.bytes(300),
            own.clone(),
            own[own.len() / 2..].to_vec(),
        ] {
            victim.attack(&format!("{} bytes behind {name}", tail.len()), |image| {
                image.0.get_mut(name).unwrap().extend_from_slice(&tail);
            });
        }
    }
}

#[test]
fn edited_headers_are_refused() {
    let victim = Victim::new(25, Ecc::None);
    let mut rng = Rng::new(3);
    for (name, bytes) in &victim.image.0 {
        if name.starts_with("KEYRING") {
            continue;
        }
        for _ in 0..25 {
            let at = rng.below(128.min(bytes.len()));
            let value = 1 + rng.below(255) as u8;
            victim.attack(
                &format!("{name}: byte {at} of both headers changed"),
                |image| {
                    let file = image.0.get_mut(name).unwrap();
                    file[at] ^= value;
                    if file.len() >= 256 {
                        file[at + 128] ^= value;
                    }
                },
            );
        }
        for other in victim.image.0.values() {
            victim.attack(
                &format!("{name} with the header of another file"),
                |image| {
                    let len = 256.min(other.len()).min(bytes.len());
                    image.0.get_mut(name).unwrap()[..len].copy_from_slice(&other[..len]);
                },
            );
        }
    }
}

#[test]
fn random_files_are_refused() {
    let victim = Victim::new(26, Ecc::None);
    let mut rng = Rng::new(4);
    for name in victim.image.0.keys() {
        for len in [0, 1, 64, 128, 256, 1_000, 20_000] {
            let noise = rng.bytes(len);
            victim.attack(&format!("{name} is {len} bytes of noise"), |image| {
                image.0.insert(name.clone(), noise.clone());
            });
            let mut half = victim.image.0[name].clone();
            let at = half.len().min(256);
            half.truncate(at);
            half.extend(noise);
            victim.attack(
                &format!("{name} is its header and {len} bytes of noise"),
                |image| {
                    image.0.insert(name.clone(), half);
                },
            );
        }
    }
}

#[test]
fn symlinks_in_the_store_are_not_followed() {
    let victim = Victim::unclean(27, Ecc::None);
    for name in victim.image.0.keys() {
        victim.image.write(&victim.folder());
        let outside = victim.folder().parent().unwrap().join("outside");
        let path = victim.folder().join(name);
        std::fs::rename(&path, &outside).unwrap();
        std::os::unix::fs::symlink(&outside, &path).unwrap();
        let fs = stores::os(&victim.folder()).fs;
        let id = FileId::parse(name).unwrap();
        for mode in [OpenMode::Read, OpenMode::Repair, OpenMode::Create] {
            assert!(fs.open(id, mode).is_err(), "{name} was followed");
        }
        drop(fs);
        if let Err(error) = stores::open(stores::os(&victim.folder())) {
            assert_ne!(error.kind(), ErrorKind::Invalid, "{name}: {error:?}");
        }
        assert!(
            std::fs::read(&outside).unwrap() == victim.image.0[name],
            "{name} was written to"
        );
    }
}

#[test]
fn a_second_open_is_refused() {
    let victim = Victim::new(28, Ecc::None);
    victim.image.write(&victim.folder());
    let first = stores::open(stores::os(&victim.folder())).unwrap();
    let second = stores::open(stores::os(&victim.folder())).map(drop);
    assert_eq!(second.unwrap_err().kind(), ErrorKind::Locked);
    assert!(stores::dump(&first).unwrap() == victim.contents);
    drop(first);
    assert!(stores::open(stores::os(&victim.folder())).is_ok());
}

#[test]
fn a_removed_lock_file_lets_nobody_else_in() {
    let victim = Victim::new(30, Ecc::None);
    victim.image.write(&victim.folder());
    let first = stores::open(stores::os(&victim.folder())).unwrap();
    let lock = victim.folder().join("LOCK");
    for _ in 0..2 {
        std::fs::remove_file(&lock).unwrap();
        let second = stores::open(stores::os(&victim.folder())).map(drop);
        assert_eq!(second.unwrap_err().kind(), ErrorKind::Locked);
        // Whoever asked made a lock file of its own.
        assert!(lock.exists());
    }
    first.put(b"key-9999", b"value").unwrap();
    first.close().unwrap();
    let again = stores::open(stores::os(&victim.folder())).unwrap();
    assert_eq!(again.get(b"key-9999").unwrap().unwrap(), b"value");
}

#[test]
fn a_pipe_in_place_of_a_file_does_not_hang() {
    let victim = Victim::unclean(31, Ecc::None);
    for name in victim.image.0.keys() {
        victim.image.write(&victim.folder());
        let path = victim.folder().join(name);
        std::fs::remove_file(&path).unwrap();
        let mode = Mode::RUSR | Mode::WUSR;
        mknodat(CWD, &path, FileType::Fifo, mode, 0).unwrap();
        let env = stores::os(&victim.folder());
        let (send, receive) = std::sync::mpsc::channel();
        // A thread that hangs stays behind, and the test ends all the same.
        std::thread::spawn(move || send.send(stores::open(env).map(drop)));
        let answer = receive.recv_timeout(Duration::from_secs(30));
        let opened = answer.unwrap_or_else(|_| panic!("{name}: hangs"));
        if let Err(error) = opened {
            assert_ne!(error.kind(), ErrorKind::Invalid, "{name}: {error:?}");
        }
        std::fs::remove_file(&path).unwrap_or_default();
    }
}

#[test]
fn reads_that_lie_are_noticed() {
    // Every read is right the first time and wrong the second: what was verified once is verified
    // again, or was kept.
    let victim = Victim::new(29, Ecc::None);
    for fault in [
        Fault::FlipBit(1_000),
        Fault::Misdirected(4_096),
        Fault::ShortRead(100),
        Fault::Io,
    ] {
        victim.image.write(&victim.folder());
        let env = stores::os(&victim.folder());
        let fs = FaultFs::new(env.fs.clone());
        let tree = stores::open(Env {
            fs: Arc::new(fs.clone()),
            ..env
        })
        .unwrap();
        assert!(stores::dump(&tree).unwrap() == victim.contents);
        fs.add(Rule::new(Operation::Read, fault));
        let mut refused = 0;
        for (key, value) in &victim.contents {
            match tree.get(key) {
                Ok(found) => assert!(found.as_ref() == Some(value), "{fault:?}: wrong bytes"),
                Err(error) if error.kind() == ErrorKind::Io => refused += 1,
                Err(error) => {
                    named(&error, "a read that lies");
                    refused += 1;
                }
            }
        }
        assert!(refused > 0, "{fault:?} was never met");
        fs.heal();
        assert!(
            stores::dump(&tree).unwrap() == victim.contents,
            "{fault:?} left a trace"
        );
    }
}
