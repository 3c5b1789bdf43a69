#![allow(missing_docs, clippy::all, clippy::pedantic, clippy::restriction)]
use coffer_blobstore::BlobTree;
use coffer_fusefs::attr::*;
use coffer_fusefs::*;
use std::sync::Arc;
use std::time::Instant;
const ALICE: Caller = Caller {
    uid: 1000,
    gid: 100,
    pid: 1,
    umask: 0o022,
};
const RW: OpenFlags = OpenFlags {
    read: true,
    write: true,
    truncate: false,
    append: false,
    sync: false,
};
fn time(what: &str, count: u64, work: impl FnOnce()) {
    let start = Instant::now();
    work();
    let t = start.elapsed();
    println!("{what:40} {:9.2} us", t.as_secs_f64() * 1e6 / count as f64);
}
fn main() {
    let tree = Arc::new(BlobTree::in_memory().unwrap());
    let fs = FileSystem::open(tree.clone(), MountOptions::default()).unwrap();
    const N: u64 = 50_000;
    let names: Vec<_> = (0..N).map(|n| format!("file-{n}").into_bytes()).collect();
    let mut inos = vec![];
    time("create + release", N, || {
        for n in &names {
            let (a, h) = fs.create(&ALICE, ROOT, n, 0o644, RW).unwrap();
            fs.release(a.ino, h).unwrap();
            inos.push(a.ino);
        }
    });
    time("lookup", N, || {
        for n in &names {
            fs.lookup(ROOT, n).unwrap();
        }
    });
    time("lookup miss", N, || {
        for n in 0..N {
            fs.lookup(ROOT, &n.to_le_bytes().map(|b| b | 0x40))
                .err()
                .unwrap();
        }
    });
    time("getattr", N, || {
        for n in &inos {
            fs.getattr(*n).unwrap();
        }
    });
    time("chmod", N, || {
        for n in &inos {
            fs.setattr(
                &ALICE,
                *n,
                &SetAttr {
                    mode: Some(0o600),
                    ..Default::default()
                },
            )
            .unwrap();
        }
    });
    time("readdirplus entry", N, || {
        let mut c = 0;
        loop {
            let mut k = 0;
            fs.readdirplus(ROOT, c, &mut |e| {
                if k == 50 {
                    return false;
                }
                k += 1;
                c = e.cookie;
                true
            })
            .unwrap();
            if k == 0 {
                break;
            }
        }
    });
    let data4k = vec![7u8; 4096];
    time("open + write 4K + release", N, || {
        for n in &inos {
            let h = fs.open_file(&ALICE, *n, RW).unwrap();
            fs.write(*n, h, 0, &data4k, WriteFlags::default()).unwrap();
            fs.release(*n, h).unwrap();
        }
    });
    time("  sync_all after it, per file", N, || {
        fs.sync_all().unwrap()
    });
    time("open + read 4K + release", N, || {
        for n in &inos {
            let h = fs.open_file(&ALICE, *n, RW).unwrap();
            assert_eq!(fs.read(*n, h, 0, 4096).unwrap().len(), 4096);
            fs.release(*n, h).unwrap();
        }
    });
    time("rename same dir", N, || {
        for (i, n) in names.iter().enumerate() {
            fs.rename(
                ROOT,
                n,
                ROOT,
                format!("renamed-{i}").as_bytes(),
                RenameFlags::default(),
            )
            .unwrap();
        }
    });
    time("unlink + forget", N, || {
        for (i, n) in inos.iter().enumerate() {
            fs.unlink(ROOT, format!("renamed-{i}").as_bytes()).unwrap();
            fs.forget(*n, 100);
        }
    });
    time("  tick (reap), per file", N, || fs.tick());
    time("create + write 4K + release", N, || {
        for n in &names {
            let (a, h) = fs.create(&ALICE, ROOT, n, 0o644, RW).unwrap();
            fs.write(a.ino, h, 0, &data4k, WriteFlags::default())
                .unwrap();
            fs.release(a.ino, h).unwrap();
        }
    });
    time("  sync_all after it, per file", N, || {
        fs.sync_all().unwrap()
    });
    // stream
    let data: Vec<u8> = (0..1 << 20)
        .map(|n: u32| (n.wrapping_mul(2654435761) >> 13) as u8)
        .collect();
    let (a, h) = fs.create(&ALICE, ROOT, b"stream", 0o644, RW).unwrap();
    let mib = 1024u64;
    let start = Instant::now();
    for n in 0..mib {
        fs.write(a.ino, h, n << 20, &data, WriteFlags::default())
            .unwrap();
    }
    let t1 = start.elapsed();
    fs.fsync(a.ino, h, false).unwrap();
    let t2 = start.elapsed();
    println!(
        "stream 1M writes {:.2} GB/s, with fsync {:.2} GB/s",
        (mib << 20) as f64 / 1e9 / t1.as_secs_f64(),
        (mib << 20) as f64 / 1e9 / t2.as_secs_f64()
    );
    let start = Instant::now();
    for n in 0..mib * 8 {
        fs.write(a.ino, h, n << 17, &data[..128 << 10], WriteFlags::default())
            .unwrap();
    }
    fs.fsync(a.ino, h, false).unwrap();
    println!(
        "overwrite 128K writes + fsync {:.2} GB/s",
        (mib << 20) as f64 / 1e9 / start.elapsed().as_secs_f64()
    );
    let start = Instant::now();
    let mut sum = 0;
    for n in 0..mib * 8 {
        sum += fs.read(a.ino, h, n << 17, 128 << 10).unwrap()[5] as u64;
    }
    println!(
        "stream read 128K {:.2} GB/s {sum}",
        (mib << 20) as f64 / 1e9 / start.elapsed().as_secs_f64()
    );
    let start = Instant::now();
    let hot = 256;
    for round in 0..40 {
        for n in 0..hot {
            sum += fs.read(a.ino, h, n << 17, 128 << 10).unwrap()[round] as u64;
        }
    }
    println!(
        "hot read 128K {:.2} us {sum}",
        start.elapsed().as_secs_f64() * 1e6 / 40.0 / hot as f64
    );
    time("random 4K write + fsync", 20000, || {
        for n in 0..20000u64 {
            let at = n * 7919 % (mib * 256);
            fs.write(a.ino, h, at << 12, &data4k, WriteFlags::default())
                .unwrap();
            fs.fsync(a.ino, h, true).unwrap();
        }
    });
    time("random 4K write", 200000, || {
        for n in 0..200000u64 {
            let at = n * 7919 % (mib * 256);
            fs.write(a.ino, h, at << 12, &data4k, WriteFlags::default())
                .unwrap();
        }
    });
    time("  fsync after it", 200000, || {
        fs.fsync(a.ino, h, true).unwrap()
    });
    time("unlink 1 GiB", 1, || {
        fs.unlink(ROOT, b"stream").unwrap();
        fs.release(a.ino, h).unwrap();
        fs.forget(a.ino, 1);
    });
    time("  tick (reap)", 1, || fs.tick());
    fs.close().unwrap();
}
