//! What `coffer mount` refuses, and how it says so.

use coffer_tests::process::{Mounted, coffer, describe, limited, must};
use std::process::Output;

/// The command must fail soon, with a message that holds all `words`, and without a panic.
fn refused(output: &Output, words: &[&str]) {
    let text = describe(output);
    assert!(!output.status.success(), "{text}");
    assert_ne!(output.status.code(), Some(124), "it hangs");
    assert!(!text.contains("panicked"), "{text}");
    for word in words {
        assert!(
            text.to_lowercase().contains(word),
            "no \"{word}\" in: {text}"
        );
    }
}

fn mount(mounted: &Mounted) -> Output {
    let point = mounted.home.join("second");
    let _ = std::fs::create_dir(&point);
    let output = mounted
        .command("mount")
        .arg(mounted.store())
        .arg(&point)
        .output();
    coffer_tests::process::detach(&point);
    output.unwrap()
}

#[test]
#[cfg_attr(not(can_fuse), ignore = "SKIPPED: no FUSE mount possible here")]
fn a_second_mount_is_refused() {
    let mut mounted = Mounted::new();
    refused(&mount(&mounted), &["another process"]);
    let ls = mounted.command("ls").arg(mounted.store()).output().unwrap();
    refused(&ls, &["another process"]);
    std::fs::write(mounted.path("f"), b"the first one goes on").unwrap();
    mounted.remount();
    assert!(mounted.path("f").exists());
    mounted.unmount();
}

#[test]
#[cfg_attr(not(can_fuse), ignore = "SKIPPED: no FUSE mount possible here")]
fn a_wrong_passphrase_is_refused() {
    let mut mounted = Mounted::new();
    mounted.unmount();
    let file = mounted.home.join("passphrase");
    let right = std::fs::read(&file).unwrap();
    for wrong in ["wrong\n", "", "correct horse battery stapl\n"] {
        std::fs::write(&file, wrong).unwrap();
        refused(&mount(&mounted), &["passphrase"]);
    }
    std::fs::remove_file(&file).unwrap();
    refused(&mount(&mounted), &["passphrase"]);
    std::fs::write(&file, right).unwrap();
    mounted.mount();
    mounted.unmount();
}

#[test]
#[cfg_attr(not(can_fuse), ignore = "SKIPPED: no FUSE mount possible here")]
fn a_mount_point_with_files_is_refused() {
    let mut mounted = Mounted::new();
    mounted.unmount();
    std::fs::write(mounted.path("precious"), b"x").unwrap();
    let log = mounted.mount_with(&[]).expect_err("mounted over files");
    assert!(log.contains("empty"), "{log}");
    assert!(mounted.path("precious").exists());
}

#[test]
fn a_passphrase_in_the_arguments_is_refused() {
    let home = tempfile::tempdir().unwrap();
    for form in ["--passphrase=secret", "--password=secret", "-psecret"] {
        let output = limited(20, coffer())
            .args(["init", form])
            .arg(home.path().join("store"))
            .output()
            .unwrap();
        refused(&output, &[]);
        assert!(!home.path().join("store").join("KEYRING").exists());
    }
}

#[test]
#[cfg_attr(not(can_fuse), ignore = "SKIPPED: no FUSE mount possible here")]
fn mounts_are_nosuid_and_nodev_and_options_cannot_be_injected() {
    let home = tempfile::Builder::new()
        .prefix("a,suid,dev ")
        .tempdir()
        .unwrap();
    let mut mounted = Mounted::at(home.path());
    mounted.create(&[]);
    let mounts = std::fs::read_to_string("/proc/self/mounts").unwrap();
    let point = mounted.point().to_str().unwrap().replace(' ', "\\040");
    let line = mounts
        .lines()
        .find(|line| line.contains(&format!(" {point} ")))
        .unwrap();
    let options: Vec<&str> = line.split(' ').nth(3).unwrap().split(',').collect();
    for option in ["nosuid", "nodev", "default_permissions"] {
        assert!(options.contains(&option), "{line}");
    }
    for option in ["suid", "dev"] {
        assert!(!options.contains(&option), "{line}");
    }
    mounted.unmount();
}

#[test]
#[cfg_attr(not(can_fuse), ignore = "SKIPPED: no FUSE mount possible here")]
fn the_process_of_a_mount_leaves_no_core() {
    let mut mounted = Mounted::new();
    let limits = std::fs::read_to_string(format!("/proc/{}/limits", mounted.pid())).unwrap();
    let core = limits
        .lines()
        .find(|line| line.starts_with("Max core file size"))
        .unwrap();
    let soft = core.split_whitespace().nth(4);
    assert_eq!(soft, Some("0"), "{core}");
    mounted.unmount();
}

#[test]
#[cfg_attr(not(can_fuse), ignore = "SKIPPED: no FUSE mount possible here")]
fn a_read_only_mount_changes_nothing() {
    let mut mounted = Mounted::new();
    std::fs::write(mounted.path("f"), b"x").unwrap();
    mounted.unmount();
    mounted.mount_with(&["--read-only"]).unwrap();
    assert_eq!(std::fs::read(mounted.path("f")).unwrap(), b"x");
    let error = std::fs::write(mounted.path("g"), b"x").unwrap_err();
    assert_eq!(error.raw_os_error(), Some(30), "EROFS, not {error}");
    mounted.unmount();
}

#[test]
fn no_store_no_mount() {
    let home = tempfile::tempdir().unwrap();
    let mounted = Mounted::at(home.path());
    refused(&mount(&mounted), &["store"]);
    std::fs::create_dir(mounted.store()).unwrap();
    std::fs::write(mounted.store().join("photo.jpg"), b"not a store").unwrap();
    refused(&mount(&mounted), &["store"]);
    let init = mounted
        .command("init")
        .arg(mounted.store())
        .output()
        .unwrap();
    refused(&init, &[]);
    let left: Vec<_> = std::fs::read_dir(mounted.store()).unwrap().collect();
    assert_eq!(left.len(), 1, "a foreign directory was written to");
    let _ = must(limited(20, coffer()).arg("--version"));
}
