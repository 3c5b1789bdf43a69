//! How a mount begins and ends: in the background, by signals, busy, killed, without rights.

use coffer_tests::process::{
    CHEAP_KDF, Mounted, coffer, describe, detach, is_mounted, limited, must,
};
use std::fs::{File, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};

fn umount(point: &Path, options: &[&str]) -> std::process::Output {
    limited(60, coffer())
        .arg("umount")
        .args(options)
        .arg(point)
        .output()
        .unwrap()
}

fn mode(path: &Path) -> u32 {
    path.metadata().unwrap().permissions().mode() & 0o7777
}

#[test]
fn a_directory_made_for_a_store_is_for_its_owner_alone() {
    let home = tempfile::tempdir().unwrap();
    let mounted = Mounted::at(home.path());
    let init = |store: &Path| {
        // A umask that would take nothing away.
        let mut shell = limited(60, "sh");
        shell
            .args(["-c", "umask 0; exec \"$@\"", "sh"])
            .arg(coffer())
            .args(["init", "--quiet", "--passphrase-file"])
            .arg(home.path().join("passphrase"))
            .args(CHEAP_KDF)
            .arg(store);
        must(&mut shell);
        for file in store.read_dir().unwrap() {
            let path = file.unwrap().path();
            assert_eq!(mode(&path), 0o600, "{}", path.display());
        }
    };
    init(&mounted.store());
    assert_eq!(mode(&mounted.store()), 0o700);
    // A directory that is there stays as its owner made it.
    let there = home.path().join("there");
    std::fs::create_dir(&there).unwrap();
    std::fs::set_permissions(&there, Permissions::from_mode(0o750)).unwrap();
    init(&there);
    assert_eq!(mode(&there), 0o750);
}

#[test]
#[cfg_attr(not(can_fuse), ignore = "SKIPPED: no FUSE mount possible here")]
fn a_mount_that_makes_its_store_makes_it_for_its_owner_alone() {
    let mut mounted = Mounted::new();
    assert_eq!(mode(&mounted.store()), 0o700);
    mounted.unmount();
    assert_eq!(mode(&mounted.store()), 0o700);
}

#[test]
#[cfg_attr(not(can_fuse), ignore = "SKIPPED: no FUSE mount possible here")]
fn a_background_mount_answers_at_once_and_umount_waits_for_its_end() {
    let mut mounted = Mounted::new();
    mounted.unmount();
    for round in 0..3 {
        // Output to a pipe: a background process that kept it open would hang this call.
        let output = mounted
            .command("mount")
            .arg("--daemon")
            .arg(mounted.store())
            .arg(mounted.point())
            .output()
            .unwrap();
        assert!(output.status.success(), "{}", describe(&output));
        assert!(is_mounted(&mounted.point()));
        std::fs::write(mounted.path(&format!("file-{round}")), b"kept").unwrap();
        let output = umount(&mounted.point(), &[]);
        assert!(output.status.success(), "{}", describe(&output));
        // The store is free again at once.
        let listed = must(mounted.command("ls").arg(mounted.store()));
        assert!(listed.contains(&format!("file-{round}")), "{listed}");
    }
}

#[test]
#[cfg_attr(not(can_fuse), ignore = "SKIPPED: no FUSE mount possible here")]
fn a_failed_background_mount_says_why_and_hands_on_its_exit_code() {
    let mut mounted = Mounted::new();
    mounted.unmount();
    std::fs::write(mounted.home.join("passphrase"), b"wrong\n").unwrap();
    let output = mounted
        .command("mount")
        .arg("--daemon")
        .arg(mounted.store())
        .arg(mounted.point())
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(3), "{}", describe(&output));
    assert!(describe(&output).contains("passphrase"));
    assert!(!is_mounted(&mounted.point()));
}

#[test]
#[cfg_attr(not(can_fuse), ignore = "SKIPPED: no FUSE mount possible here")]
fn signals_unmount_and_nothing_is_lost() {
    let mut mounted = Mounted::new();
    for signal in ["INT", "TERM", "HUP"] {
        std::fs::write(mounted.path(signal), signal).unwrap();
        must(limited(10, "kill").args(["-s", signal, &mounted.pid().to_string()]));
        mounted.ended();
        assert!(!is_mounted(&mounted.point()));
        mounted.mount();
        assert_eq!(
            std::fs::read(mounted.path(signal)).unwrap(),
            signal.as_bytes()
        );
    }
    mounted.unmount();
}

#[test]
#[cfg_attr(not(can_fuse), ignore = "SKIPPED: no FUSE mount possible here")]
fn a_mount_in_use_is_not_taken_away() {
    let mut mounted = Mounted::new();
    std::fs::write(mounted.path("f"), b"x").unwrap();
    let open = File::open(mounted.path("f")).unwrap();
    let output = umount(&mounted.point(), &[]);
    assert_eq!(output.status.code(), Some(5), "{}", describe(&output));
    assert!(describe(&output).contains("in use"));
    assert!(mounted.path("f").exists());
    let output = umount(&mounted.point(), &["--lazy"]);
    assert!(output.status.success(), "{}", describe(&output));
    assert!(!is_mounted(&mounted.point()));
    assert_eq!(std::io::read_to_string(&open).unwrap(), "x");
    drop(open);
    mounted.ended();
    mounted.mount();
    mounted.unmount();
}

#[test]
#[cfg_attr(not(can_fuse), ignore = "SKIPPED: no FUSE mount possible here")]
fn a_dead_mount_is_replaced_and_can_be_unmounted() {
    let mut mounted = Mounted::new();
    std::fs::write(mounted.path("f"), b"x").unwrap();
    let kill = |mounted: &Mounted| {
        must(limited(10, "kill").args(["-s", "KILL", &mounted.pid().to_string()]));
    };
    kill(&mounted);
    mounted.forget();
    assert!(
        is_mounted(&mounted.point()),
        "the dead mount is still there"
    );
    mounted.mount();
    kill(&mounted);
    mounted.forget();
    let output = umount(&mounted.point(), &[]);
    assert!(output.status.success(), "{}", describe(&output));
    assert!(!is_mounted(&mounted.point()));
    let output = umount(&mounted.point(), &[]);
    assert_eq!(output.status.code(), Some(6), "{}", describe(&output));
}

#[test]
#[cfg_attr(not(can_fuse), ignore = "SKIPPED: no FUSE mount possible here")]
fn the_mount_answers_under_load_of_waiting_requests() {
    let mut mounted = Mounted::new();
    let stop = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        for writer in 0..12 {
            let (path, stop) = (mounted.path(&format!("w{writer}")), &stop);
            scope.spawn(move || {
                use std::io::Write;
                let mut file = File::create(path).unwrap();
                while !stop.load(std::sync::atomic::Ordering::Relaxed) {
                    file.write_all(&[7; 4096]).unwrap();
                    file.sync_all().unwrap();
                }
            });
        }
        let start = Instant::now();
        for index in 0..100 {
            std::fs::create_dir(mounted.path(&format!("d{index}"))).unwrap();
        }
        let taken = start.elapsed();
        stop.store(true, std::sync::atomic::Ordering::Relaxed);
        assert!(taken < Duration::from_secs(20), "starved: {taken:?}");
    });
    mounted.unmount();
}

#[test]
#[cfg_attr(not(can_fuse), ignore = "SKIPPED: no FUSE mount possible here")]
fn times_at_both_ends_of_their_range_do_no_harm() {
    let mut mounted = Mounted::new();
    let path = mounted.path("f");
    std::fs::write(&path, b"x").unwrap();
    for stamp in [
        "@-9223372036854775808",
        "@9223372036854775807",
        "1969-12-31 23:59:59.5 UTC",
    ] {
        let touched = limited(20, "touch")
            .arg("-d")
            .arg(stamp)
            .arg(&path)
            .status();
        assert!(touched.unwrap().code() != Some(124), "{stamp} hangs");
    }
    use std::os::unix::fs::MetadataExt;
    mounted.remount();
    let metadata = path.metadata().unwrap();
    assert_eq!((metadata.mtime(), metadata.mtime_nsec()), (-1, 500_000_000));
    mounted.unmount();
}

/// Runs a shell line as a user without rights, with a FUSE device that everybody may open.
fn as_nobody(home: &Path, line: &str) -> std::process::Output {
    let script = format!(
        "mknod -m 666 '{0}/fuse' c 10 229 && mount --bind '{0}/fuse' /dev/fuse && \
         exec setpriv --reuid=65534 --regid=65534 --clear-groups sh -c '{line}'",
        home.display()
    );
    limited(60, "unshare")
        .args(["-m", "sh", "-c", &script])
        .output()
        .unwrap()
}

#[test]
#[cfg_attr(not(can_fuse), ignore = "SKIPPED: no FUSE mount possible here")]
fn without_root_the_program_of_the_package_fuse3_mounts() {
    let is_root = must(limited(10, "id").arg("-u")).trim() == "0";
    let has_tools = ["fusermount3", "setpriv", "unshare"].iter().all(|program| {
        limited(10, program)
            .arg("--version")
            .output()
            .is_ok_and(|output| output.status.success())
    });
    if !is_root || !has_tools {
        return;
    }
    let home = tempfile::tempdir().unwrap();
    let mounted = Mounted::at(home.path());
    let own = |path: &Path| std::os::unix::fs::chown(path, Some(65534), Some(65534)).unwrap();
    own(home.path());
    own(&home.path().join("passphrase"));
    let binary = home.path().join("coffer");
    std::fs::copy(coffer(), &binary).unwrap();
    let line = |path: &str| {
        format!(
            "cd {home}; PATH={path} ./coffer mount --daemon --create --kdf-memory 8MiB --kdf-passes 1 \
             --passphrase-fd 3 -o \"fsname=a\\,allow_other\" store mnt 3<passphrase && \
             echo text >mnt/f && cat mnt/f && grep {home}/mnt /proc/self/mounts && ./coffer umount mnt && \
             ./coffer cat --passphrase-file passphrase store f",
            home = home.path().display()
        )
    };
    let output = as_nobody(home.path(), &line("/usr/bin:/bin"));
    let text = describe(&output);
    assert!(output.status.success(), "{text}");
    assert_eq!(text.matches("text").count(), 2, "{text}");
    assert!(
        text.contains("nosuid") && text.contains("a,allow_other "),
        "{text}"
    );
    std::fs::remove_file(home.path().join("fuse")).unwrap();
    let output = as_nobody(home.path(), &line("/nowhere"));
    assert_eq!(output.status.code(), Some(9), "{}", describe(&output));
    assert!(describe(&output).contains("fuse3"), "{}", describe(&output));
    detach(&mounted.point());
}

#[test]
#[cfg_attr(not(can_fuse), ignore = "SKIPPED: no FUSE mount possible here")]
fn a_reader_that_goes_away_is_no_failure() {
    let mut mounted = Mounted::new();
    std::fs::write(mounted.path("long"), vec![b'x'; 1 << 20]).unwrap();
    mounted.unmount();
    let mut command = mounted.command("cat");
    let mut child = command
        .arg(mounted.store())
        .arg("long")
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    assert!(
        output.status.success() && output.stderr.is_empty(),
        "{}",
        describe(&output)
    );
}
