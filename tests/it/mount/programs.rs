//! rsync, git, SQLite, and a compiler's habits, on a real mount.

use coffer_tests::process::{Mounted, limited, must};
use coffer_tests::sample;
use std::path::Path;

#[test]
#[cfg_attr(
    not(all(can_fuse, has_rsync)),
    ignore = "SKIPPED: needs FUSE and rsync"
)]
fn rsync_finds_no_difference_after_a_remount() {
    let source = tempfile::tempdir().unwrap();
    sample::fill(source.path(), 1, 600);
    let mut mounted = Mounted::new();
    let from = format!("{}/", source.path().display());
    let to = format!("{}/", mounted.point().display());
    must(limited(300, "rsync").args(["-aHAX", &from, &to]));
    mounted.remount();
    let differences = must(limited(300, "rsync").args([
        "-anc",
        "-HAX",
        "--delete",
        "--itemize-changes",
        &from,
        &to,
    ]));
    assert_eq!(differences, "");
    let differences = sample::differences(
        &sample::describe(source.path()),
        &sample::describe(&mounted.point()),
    );
    assert_eq!(differences, [""; 0]);
    mounted.unmount();
}

fn git(folder: &Path, arguments: &[&str]) -> String {
    must(
        limited(120, "git")
            .current_dir(folder)
            .args(["-c", "user.name=t", "-c", "user.email=t@localhost"])
            .args(["-c", "init.defaultBranch=main", "-c", "safe.directory=*"])
            .args(arguments),
    )
}

#[test]
#[cfg_attr(not(all(can_fuse, has_git)), ignore = "SKIPPED: needs FUSE and git")]
fn git_clones_checks_and_commits() {
    let source = tempfile::tempdir().unwrap();
    sample::fill(source.path(), 2, 150);
    std::fs::remove_file(source.path().join("pipe")).unwrap();
    git(source.path(), &["init", "-q"]);
    git(source.path(), &["add", "-A"]);
    git(source.path(), &["commit", "-q", "-m", "all"]);

    let mut mounted = Mounted::new();
    let origin = source.path().to_str().unwrap();
    git(
        &mounted.point(),
        &["clone", "-q", "--no-local", origin, "copy"],
    );
    let copy = mounted.path("copy");
    assert_eq!(git(&copy, &["status", "--porcelain"]), "");
    git(&copy, &["fsck", "--full", "--strict"]);
    std::fs::write(copy.join("large"), b"now small").unwrap();
    assert_eq!(git(&copy, &["status", "--porcelain"]), " M large\n");
    git(&copy, &["commit", "-q", "-a", "-m", "change"]);
    git(&copy, &["gc", "-q"]);
    mounted.remount();
    git(&copy, &["fsck", "--full", "--strict"]);
    assert_eq!(git(&copy, &["status", "--porcelain"]), "");
    assert_eq!(git(&copy, &["rev-list", "--count", "HEAD"]), "2\n");
    mounted.unmount();
}

fn sqlite(file: &Path, script: &str) -> String {
    must(limited(120, "sqlite3").arg("-bail").arg(file).arg(script))
}

#[test]
#[cfg_attr(
    not(all(can_fuse, has_sqlite3)),
    ignore = "SKIPPED: needs FUSE and sqlite3"
)]
fn sqlite_keeps_its_integrity_in_both_modes() {
    let mut mounted = Mounted::new();
    for mode in ["wal", "delete", "truncate", "persist"] {
        let file = mounted.path(&format!("{mode}.db"));
        let set = sqlite(&file, &format!("PRAGMA journal_mode={mode};"));
        assert_eq!(set, format!("{mode}\n"));
        sqlite(
            &file,
            "CREATE TABLE t (k INTEGER PRIMARY KEY, v BLOB); CREATE INDEX i ON t (v);",
        );
        let insert = "INSERT INTO t (v) VALUES (randomblob(100 + abs(random()) % 4000));";
        for _ in 0..5 {
            sqlite(&file, &insert.repeat(20));
        }
        sqlite(
            &file,
            "BEGIN; DELETE FROM t WHERE k % 3 = 0; ROLLBACK; VACUUM;",
        );
        sqlite(&file, "DELETE FROM t WHERE k % 2 = 0;");
    }
    mounted.remount();
    for mode in ["wal", "delete", "truncate", "persist"] {
        let file = mounted.path(&format!("{mode}.db"));
        let answer = sqlite(&file, "PRAGMA integrity_check; SELECT count(*) FROM t;");
        assert_eq!(answer, "ok\n50\n", "{mode}");
    }
    mounted.unmount();
}

#[test]
#[cfg_attr(not(can_fuse), ignore = "SKIPPED: no FUSE mount possible here")]
fn a_shared_mapping_reads_and_writes() {
    // Programs that map their files (linkers, databases) see one file, whichever way they look.
    let mut mounted = Mounted::new();
    let file = mounted.path("mapped");
    std::fs::write(&file, vec![b'a'; 300_000]).unwrap();
    let script = "import mmap,sys\n\
        f=open(sys.argv[1],'r+b'); m=mmap.mmap(f.fileno(),0)\n\
        m[100000:100004]=b'bcde'; m.flush(); m.close()\n\
        f.seek(99999); assert f.read(6)==b'abcdea'\n";
    let has_python = limited(20, "python3").arg("-c").arg("").status();
    if has_python.is_ok_and(|status| status.success()) {
        must(limited(60, "python3").arg("-c").arg(script).arg(&file));
        mounted.remount();
        let bytes = std::fs::read(&file).unwrap();
        assert_eq!(&bytes[99_999..100_005], b"abcdea");
    }
    mounted.unmount();
}

#[test]
#[cfg_attr(not(can_fuse), ignore = "SKIPPED: no FUSE mount possible here")]
fn object_commands_and_mount_see_one_tree() {
    let mut mounted = Mounted::new();
    std::fs::create_dir(mounted.path("a")).unwrap();
    std::fs::write(mounted.path("a/by-mount"), b"0123456789").unwrap();
    mounted.unmount();
    let store = mounted.store();
    let local = mounted.home.join("local");
    std::fs::write(&local, vec![7; 700_000]).unwrap();
    let range = must(
        mounted
            .command("get")
            .args(["--range", "2-4"])
            .arg(&store)
            .args(["a/by-mount", "-"]),
    );
    assert_eq!(range, "234");
    must(
        mounted
            .command("put")
            .arg(&store)
            .arg(&local)
            .arg("a/by-put"),
    );
    must(mounted.command("rm").arg(&store).arg("a/by-mount"));
    assert_eq!(must(mounted.command("ls").arg(&store).arg("a")), "by-put\n");
    mounted.mount();
    assert_eq!(
        std::fs::read(mounted.path("a/by-put")).unwrap(),
        vec![7; 700_000]
    );
    assert!(!mounted.path("a/by-mount").exists());
    mounted.unmount();
}
