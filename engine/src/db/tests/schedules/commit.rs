//! Group commit: what a sync answered for is durable, whoever led it, and nobody waits in vain.

use super::*;

/// Big enough that no memtable fills.
fn roomy() -> Options {
    Options {
        memtable_len: 1 << 20,
        ..tiny()
    }
}

/// Two threads write and sync, a third syncs what it finds; each looks at once what a power cut
/// would leave. With `syncs_left` the medium fails after so many syncs of logs.
fn commit(options: &Options, syncs_left: Option<usize>) {
    let medium = Medium::new();
    let db = Arc::new(medium.open(options));
    *medium.syncs_left.lock() = syncs_left;
    let start = |writer: u8| {
        let (db, medium, options) = (Arc::clone(&db), Arc::clone(&medium), options.clone());
        thread::spawn(move || {
            let seqno = match writer {
                0 => {
                    let seqno = db.last_seqno();
                    db.sync().map(|()| seqno)
                }
                _ => write_pair(&db, writer, 1, true),
            };
            let Ok(seqno) = seqno else {
                assert!(syncs_left.is_some() && db.is_poisoned());
                return;
            };
            let back = medium.after_power_cut(&options);
            assert!(back.last_seqno() >= seqno, "acknowledged and lost");
            if writer > 0 {
                assert_eq!(round_of(&back, b'a', writer, None), 1);
                assert_eq!(round_of(&back, b'b', writer, None), 1);
            }
        })
    };
    let threads: Vec<_> = (0..3).map(start).collect();
    threads.into_iter().for_each(|t| t.join().unwrap());
}

#[test]
fn what_was_acknowledged_survives_a_power_cut() {
    explore(|| commit(&roomy(), None));
}

/// Whoever waited for the leader whose sync failed is told, and what was told to be durable is.
#[test]
fn a_failed_sync_is_told_to_everybody_and_strands_nobody() {
    explore(|| (0..3).for_each(|left| commit(&roomy(), Some(left))));
}

/// A memtable fills and is flushed between write and sync: its log is gone, its table is durable.
#[test]
fn a_sync_meets_rotation_and_flush() {
    explore(|| {
        let options = Options {
            memtable_count_max: 3,
            ..tiny()
        };
        let medium = Medium::new();
        let db = Arc::new(medium.open(&options));
        let start = |writer: u8| {
            let (db, medium, options) = (Arc::clone(&db), Arc::clone(&medium), options.clone());
            thread::spawn(move || {
                write_pair(&db, writer, 1, false).unwrap();
                write_pair(&db, writer, 2, true).unwrap();
                let back = medium.after_power_cut(&options);
                assert_eq!(round_of(&back, b'a', writer, None), 2);
            })
        };
        let threads = [start(1), start(2)];
        db.flush().unwrap();
        threads.into_iter().for_each(|t| t.join().unwrap());
    });
}
