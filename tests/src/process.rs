//! Programs under a time limit, and the `coffer` binary itself, mounted and unmounted.
//!
//! - Nothing here can hang: every program has a time limit, every mount is taken down in the end.

use std::ffi::OsStr;
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::OnceLock;
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

/// The passphrase of all stores made by tests.
pub const PASSPHRASE: &str = "correct horse battery staple";

/// Options that make a store whose passphrase is tried quickly.
pub const CHEAP_KDF: [&str; 6] = [
    "--kdf-memory",
    "8MiB",
    "--kdf-passes",
    "1",
    "--kdf-lanes",
    "1",
];

/// Path of the `coffer` binary; builds it on first use, in the profile of the running test.
pub fn coffer() -> &'static Path {
    static BINARY: OnceLock<PathBuf> = OnceLock::new();
    BINARY.get_or_init(|| {
        let test = std::env::current_exe().unwrap();
        let profile = test.ancestors().nth(2).unwrap().to_owned();
        let mut build = Command::new(env!("CARGO"));
        build
            .args([
                "build", "--quiet", "--locked", "-p", "coffer", "--bin", "coffer",
            ])
            .arg("--target-dir")
            .arg(profile.parent().unwrap())
            .current_dir(env!("CARGO_MANIFEST_DIR"));
        if profile.ends_with("release") {
            build.arg("--release");
        }
        assert!(build.status().unwrap().success(), "coffer does not build");
        profile.join("coffer")
    })
}

/// A command that is killed after `seconds`.
pub fn limited(seconds: u64, program: impl AsRef<OsStr>) -> Command {
    let mut command = Command::new("timeout");
    command
        .args(["-k", "5", &seconds.to_string()])
        .arg(program)
        .stdin(Stdio::null());
    command
}

/// Runs a command; panics with its output unless it succeeds. Answers its standard output.
pub fn must(command: &mut Command) -> String {
    let output = command.output().unwrap();
    assert!(
        output.status.success(),
        "{command:?}: {}",
        describe(&output)
    );
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// Status and output in one text.
#[must_use]
pub fn describe(output: &Output) -> String {
    format!(
        "{}\n{}{}",
        output.status,
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    )
}

/// A directory with a store, a mount point and a passphrase file, and the process that mounts it.
pub struct Mounted {
    /// Holds everything.
    pub home: PathBuf,
    child: Option<Child>,
    log: Option<Receiver<String>>,
    _keep: Option<tempfile::TempDir>,
}

impl Mounted {
    /// A new store in a temporary directory, mounted.
    #[must_use]
    pub fn new() -> Self {
        let keep = tempfile::Builder::new()
            .prefix("coffer-")
            .tempdir()
            .unwrap();
        let mut this = Self::at(keep.path());
        this._keep = Some(keep);
        this.create(&[]);
        this
    }

    /// A home at this directory; nothing is made or mounted yet.
    #[must_use]
    pub fn at(home: &Path) -> Self {
        std::fs::write(home.join("passphrase"), format!("{PASSPHRASE}\n")).unwrap();
        Self {
            home: home.to_owned(),
            child: None,
            log: None,
            _keep: None,
        }
    }

    /// Makes the store and mounts it.
    pub fn create(&mut self, options: &[&str]) {
        let mut all = vec!["--create"];
        all.extend(CHEAP_KDF);
        all.extend(options);
        self.mount_with(&all)
            .unwrap_or_else(|log| panic!("no mount:\n{log}"));
    }

    /// Directory of the store.
    #[must_use]
    pub fn store(&self) -> PathBuf {
        self.home.join("store")
    }

    /// Where it is mounted.
    #[must_use]
    pub fn point(&self) -> PathBuf {
        self.home.join("mnt")
    }

    /// A path below the mount point.
    #[must_use]
    pub fn path(&self, name: &str) -> PathBuf {
        self.point().join(name)
    }

    /// A `coffer` command with the passphrase of this store.
    #[must_use]
    pub fn command(&self, name: &str) -> Command {
        let mut command = limited(120, coffer());
        command
            .arg(name)
            .arg("--passphrase-file")
            .arg(self.home.join("passphrase"));
        command
    }

    /// Mounts; answers how long it took until `READY`.
    pub fn mount(&mut self) -> Duration {
        self.mount_with(&[])
            .unwrap_or_else(|log| panic!("no mount:\n{log}"))
    }

    /// Mounts with more options; what the process said where it ends before `READY`.
    ///
    /// # Errors
    /// The output of the process.
    pub fn mount_with(&mut self, options: &[&str]) -> Result<Duration, String> {
        assert!(self.child.is_none(), "mounted already");
        let _ = std::fs::create_dir(self.point());
        let binary = coffer();
        let start = Instant::now();
        let mut child = Command::new(binary)
            .arg("mount")
            .arg("--passphrase-file")
            .arg(self.home.join("passphrase"))
            .args(options)
            .arg(self.store())
            .arg(self.point())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let (sender, lines) = channel();
        forward(child.stdout.take().unwrap(), sender.clone());
        forward(child.stderr.take().unwrap(), sender);
        self.child = Some(child);
        let mut log = String::new();
        while let Ok(line) = lines.recv_timeout(Duration::from_secs(60)) {
            if line == "READY" {
                self.log = Some(lines);
                return Ok(start.elapsed());
            }
            log.push_str(&line);
            log.push('\n');
        }
        self.kill();
        Err(log)
    }

    /// Process id of the mount.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.child.as_ref().unwrap().id()
    }

    /// Unmounts in an orderly way; the process must end by itself with success.
    pub fn unmount(&mut self) {
        must(limited(60, coffer()).arg("umount").arg(self.point()));
        self.ended();
    }

    /// Waits for the end of the process, which must be a success without a panic.
    pub fn ended(&mut self) {
        let (code, log) = self.ended_with();
        assert_eq!(code, Some(0), "the mount ended with a failure\n{log}");
    }

    /// Waits for the end of the process, which must not be a panic; answers its exit code, and what
    /// it said.
    pub fn ended_with(&mut self) -> (Option<i32>, String) {
        let mut child = self.child.take().unwrap();
        let start = Instant::now();
        loop {
            if let Some(status) = child.try_wait().unwrap() {
                let log = self.said();
                assert!(!log.contains("panicked"), "{log}");
                return (status.code(), log);
            }
            assert!(start.elapsed() < Duration::from_secs(60), "the mount hangs");
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// Lets go of a process that was killed; what it mounted stays where it is.
    pub fn forget(&mut self) {
        self.child.take().unwrap().wait().unwrap();
    }

    /// Unmounts and mounts again.
    pub fn remount(&mut self) -> Duration {
        self.unmount();
        self.mount()
    }

    /// What the process said since it was mounted.
    pub fn said(&mut self) -> String {
        let lines = self.log.iter().flat_map(Receiver::try_iter);
        lines.map(|line| line + "\n").collect()
    }

    /// Kills the process of the mount (`SIGKILL`) and clears the mount point.
    pub fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
        detach(&self.point());
    }
}

impl Default for Mounted {
    fn default() -> Self {
        Self::new()
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        if self.child.is_some() && std::thread::panicking() {
            let said = self.said();
            let _ = std::io::Write::write_all(&mut std::io::stderr(), said.as_bytes());
        }
        self.kill();
    }
}

/// Takes down whatever is mounted at `point`, even where its process is gone.
pub fn detach(point: &Path) {
    if !is_mounted(point) {
        return;
    }
    for (program, options) in [("umount", "-l"), ("fusermount3", "-uz")] {
        let done = limited(20, program)
            .arg(options)
            .arg(point)
            .stderr(Stdio::null())
            .status();
        if done.is_ok_and(|status| status.success()) {
            return;
        }
    }
}

/// Is something mounted at `point`?
#[must_use]
pub fn is_mounted(point: &Path) -> bool {
    let mounts = std::fs::read_to_string("/proc/self/mounts").unwrap_or_default();
    let point = point.to_string_lossy().replace(' ', "\\040");
    mounts
        .lines()
        .any(|line| line.split(' ').nth(1) == Some(point.as_str()))
}

/// Sends each line of `from`, from a thread of its own.
fn forward(from: impl Read + Send + 'static, to: std::sync::mpsc::Sender<String>) {
    std::thread::spawn(move || {
        for line in BufReader::new(from).lines() {
            let Ok(line) = line else { break };
            if to.send(line).is_err() {
                break;
            }
        }
    });
}
