//! Measures writes, point reads and scans of the engine under its presets.
#![allow(
    clippy::all,
    clippy::disallowed_methods,
    clippy::print_stdout,
    clippy::unwrap_used,
    missing_docs
)]
use coffer_engine::crypto::{KeySource, MasterKey};
use coffer_engine::*;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
struct K(Arc<MasterKey>);
impl KeySource for K {
    fn epoch(&self) -> u32 {
        1
    }
    fn master(&self, _: u32) -> Result<Arc<MasterKey>> {
        Ok(self.0.clone())
    }
}
fn open(path: &std::path::Path, o: &Options) -> Arc<Db> {
    let env = env::os::env(path).unwrap();
    Arc::new(
        Db::open(
            env,
            Arc::new(K(Arc::new(MasterKey::new([1; 32])))),
            StoreId([1; 16]),
            o.clone(),
            None,
        )
        .unwrap(),
    )
}
fn key(i: u64) -> [u8; 20] {
    let mut k = [b'k'; 20];
    let h = i.wrapping_mul(0x9e3779b97f4a7c15);
    k[..16].copy_from_slice(format!("{h:016x}").as_bytes());
    k
}
fn worker(db: Arc<Db>, stop: Arc<AtomicBool>) -> std::thread::JoinHandle<()> {
    std::thread::spawn(move || {
        while !stop.load(Ordering::Relaxed) {
            match db.maintain() {
                Ok(Work::Did) => {}
                Ok(Work::Idle) => db.wait_for_work(Duration::from_millis(200)),
                Err(e) => {
                    println!("{e}");
                    break;
                }
            }
        }
    })
}
fn main() {
    let dir = std::path::PathBuf::from(std::env::args().nth(1).unwrap());
    let n: u64 = std::env::args()
        .nth(2)
        .map_or(1_000_000, |n| n.parse().unwrap());
    let vlen: usize = std::env::args().nth(3).map_or(200, |n| n.parse().unwrap());
    std::fs::create_dir_all(&dir).unwrap();
    let mut o = Options::default();
    o.apply(Preset::CofferDefault);
    let db = open(&dir, &o);
    let stop = Arc::new(AtomicBool::new(false));
    let w = worker(db.clone(), stop.clone());
    let mut value = vec![0u8; vlen];
    let mut x = 1u64;
    let t = Instant::now();
    let mut worst = Duration::ZERO;
    for i in 0..n {
        for c in value[..vlen / 2].chunks_mut(8) {
            x = x.wrapping_mul(6364136223846793005).wrapping_add(1);
            c.copy_from_slice(&x.to_le_bytes()[..c.len()]);
        }
        let mut b = WriteBatch::new();
        b.put(&key(i), &value);
        let t1 = Instant::now();
        db.write(b, WriteOptions::default()).unwrap();
        worst = worst.max(t1.elapsed());
    }
    let e = t.elapsed();
    println!(
        "unsynced writes {:.0}/s ({:.2} us), worst {:?}",
        n as f64 / e.as_secs_f64(),
        e.as_secs_f64() * 1e6 / n as f64,
        worst
    );
    let t = Instant::now();
    db.sync().unwrap();
    println!("sync {:?}", t.elapsed());
    let t = Instant::now();
    db.flush().unwrap();
    println!("flush {:?}", t.elapsed());
    let t = Instant::now();
    loop {
        let s = db.stats();
        if s.levels[0].table_count < 4 && s.immutable_count == 0 {
            break;
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    println!(
        "settled after {:?} {:?}",
        t.elapsed(),
        db.stats()
            .levels
            .iter()
            .map(|l| (l.table_count, l.len >> 20))
            .collect::<Vec<_>>()
    );
    for threads in [1, 4] {
        let t = Instant::now();
        let per = 4000 / threads;
        let hs: Vec<_> = (0..threads)
            .map(|j| {
                let db = db.clone();
                let value = value.clone();
                std::thread::spawn(move || {
                    for i in 0..per {
                        let mut b = WriteBatch::new();
                        b.put(&key(1 << 40 | j << 20 | i), &value);
                        db.write(b, WriteOptions { sync: true }).unwrap();
                    }
                })
            })
            .collect();
        hs.into_iter().for_each(|h| h.join().unwrap());
        println!(
            "synced commits {threads} threads {:.0}/s",
            (per * threads) as f64 / t.elapsed().as_secs_f64()
        );
    }
    stop.store(true, Ordering::Relaxed);
    w.join().unwrap();
    let t = Instant::now();
    db.close().unwrap();
    println!("close {:?}", t.elapsed());
    drop(db);
    let _ = std::fs::write("/proc/sys/vm/drop_caches", "3");
    let t = Instant::now();
    let db = open(&dir, &o);
    println!("open {:?}", t.elapsed());
    let get = |name: &str, count: u64, span: u64| {
        let t = Instant::now();
        let mut r = 7u64;
        for _ in 0..count {
            r = r
                .wrapping_mul(6364136223846793005)
                .wrapping_add(1442695040888963407);
            let i = (r >> 33) % span;
            assert!(db.get(&key(i), None).unwrap().is_some());
        }
        println!(
            "get {name} {:.0}/s ({:.2} us)",
            count as f64 / t.elapsed().as_secs_f64(),
            t.elapsed().as_secs_f64() * 1e6 / count as f64
        );
    };
    get("cold", 20_000.min(n), n);
    get("random over all", 100_000.min(n), n);
    get("warm (50k keys)", 50_000, 50_000.min(n));
    get("warm again", 200_000, 50_000.min(n));
    let t = Instant::now();
    let mut miss = 0;
    for i in 0..100_000u64 {
        if db.get(&key(i | 1 << 50), None).unwrap().is_none() {
            miss += 1
        }
    }
    println!(
        "get absent {:.0}/s {miss}",
        100_000.0 / t.elapsed().as_secs_f64()
    );
    for _ in 0..2 {
        let t = Instant::now();
        let mut c = db.range(.., None).unwrap();
        let mut m = 0u64;
        let mut bytes = 0;
        while let Some(e) = c.next().unwrap() {
            m += 1;
            bytes += e.key.len() + e.value.len();
        }
        println!(
            "scan {:.2} M/s, {:.0} MB/s",
            m as f64 / 1e6 / t.elapsed().as_secs_f64(),
            bytes as f64 / 1e6 / t.elapsed().as_secs_f64()
        );
    }
    let t = Instant::now();
    let mut c = db.range(.., None).unwrap();
    c.seek_last();
    let mut m = 0u64;
    while let Some(_) = c.prev().unwrap() {
        m += 1;
    }
    println!(
        "scan back {:.2} M/s",
        m as f64 / 1e6 / t.elapsed().as_secs_f64()
    );
    let t = Instant::now();
    let before = db.stats().levels.iter().map(|l| l.len).sum::<u64>();
    db.compact_all(&mut |_| ()).unwrap();
    println!(
        "compact_all {:.0} MB in {:?}",
        before as f64 / 1e6,
        t.elapsed()
    );
    db.close().unwrap();
}
