//! Attaches a FUSE device to a mount point and detaches it again, without libfuse.
//!
//! - Root uses mount(2) and umount(2); everybody else the setuid program `fusermount3`.
//! - The name of the source travels outside the option string or escaped within it: a comma in it
//!   never becomes an option.
//! - Only what was attached is detached: number and device of the mount are compared first, so
//!   that a file system mounted later at the same path stays.
//! - `nosuid` and `nodev` hold unless they are lifted; `default_permissions` always holds.

use alloc::ffi::CString;
use core::mem::MaybeUninit;
use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{self, IoSliceMut};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use rustix::io::Errno;
use rustix::mount::{MountFlags, UnmountFlags};
use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, recvmsg};

use crate::mounts::{FS_TYPE, MountEntry, mount_at, mounts};

const DEVICE: &str = "/dev/fuse";
const HELPER: &str = "fusermount3";

/// How a store is attached. The default is the safe one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AttachOptions {
    /// The source that tables of mounts show.
    pub source: OsString,
    /// No writes.
    pub read_only: bool,
    /// Everybody may enter, as the permissions say.
    pub allow_other: bool,
    /// Device files work.
    pub dev: bool,
    /// Set-user-id bits work.
    pub suid: bool,
    /// Nothing can be executed.
    pub no_exec: bool,
    /// Access times are not kept.
    pub no_atime: bool,
    /// Every write is durable before it returns.
    pub sync: bool,
    /// Every change of a directory is durable before it returns.
    pub dir_sync: bool,
}

/// Why a mount point could not be attached or detached; the text says what to do.
#[derive(Debug)]
#[non_exhaustive]
pub enum MountError {
    /// There is no FUSE device.
    NoDevice(io::Error),
    /// Not root, and the helper program is not installed.
    NoHelper,
    /// Someone uses the mount.
    Busy(PathBuf),
    /// Our mount is not there any more, or another one lies on top of it.
    Gone(PathBuf),
    /// The helper program refused, with its own words.
    Refused(String),
    /// The operating system refused.
    Os(PathBuf, io::Error),
}

impl core::fmt::Display for MountError {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            Self::NoDevice(error) => write!(
                f,
                "cannot open {DEVICE}: {error}; the kernel module `fuse` must be loaded \
                 (`modprobe fuse`), and a container needs the device passed in"
            ),
            Self::NoHelper => write!(
                f,
                "mounting without root needs the program `{HELPER}`; install the package `fuse3`"
            ),
            Self::Busy(point) => write!(
                f,
                "{} is in use: a process has a file open or its working directory there \
                 (`fuser -vm {}` names it)",
                point.display(),
                point.display()
            ),
            Self::Gone(point) => write!(
                f,
                "{} is not mounted any more, or something else was mounted on top of it",
                point.display()
            ),
            Self::Refused(text) => write!(f, "{HELPER}: {text}"),
            Self::Os(point, error) => write!(f, "{}: {error}", point.display()),
        }
    }
}

impl core::error::Error for MountError {}

/// A mount that this process made.
#[derive(Debug)]
pub struct Attached {
    entry: MountEntry,
}

/// Mounts at `point`, an absolute path without links, and returns the device that will carry the
/// requests.
///
/// # Errors
/// See [`MountError`].
pub fn attach(point: &Path, options: &AttachOptions) -> Result<(OwnedFd, Attached), MountError> {
    let device = if rustix::process::geteuid().is_root() {
        match attach_as_root(point, options) {
            Err(MountError::Os(_, error)) if error.kind() == io::ErrorKind::PermissionDenied => {
                attach_by_helper(point, options)
            }
            other => other,
        }
    } else {
        attach_by_helper(point, options)
    }?;
    let entry = mount_at(point)
        .map_err(|error| MountError::Os(point.to_owned(), error))
        .and_then(|entry| {
            entry
                .filter(|entry| entry.fs_type == FS_TYPE)
                .ok_or_else(|| MountError::Gone(point.to_owned()))
        });
    match entry {
        Ok(entry) => Ok((device, Attached { entry })),
        Err(error) => {
            // A mount that cannot be told apart from others could not be taken down later.
            let _ = self::detach(point, true);
            Err(error)
        }
    }
}

impl Attached {
    /// Is the mount still in the table of mounts?
    #[must_use]
    pub fn is_attached(&self) -> bool {
        mounts().is_ok_and(|mounts| mounts.iter().any(|entry| self.is_ours(entry)))
    }

    /// Takes the mount out of the tree of files: with `lazy` at once, even while files are open.
    ///
    /// # Errors
    /// `Busy` while someone uses it, `Gone` where it cannot be reached any more.
    pub fn detach(&self, lazy: bool) -> Result<(), MountError> {
        let point = &self.entry.point;
        match mount_at(point) {
            Ok(Some(entry)) if self.is_ours(&entry) => detach(point, lazy),
            _ => Err(MountError::Gone(point.clone())),
        }
    }

    fn is_ours(&self, entry: &MountEntry) -> bool {
        entry.id == self.entry.id && entry.device == self.entry.device
    }
}

/// Unmounts whatever lies on top at `point`.
///
/// # Errors
/// `Busy` while someone uses it and `lazy` is not set; what the system or the helper says.
pub fn detach(point: &Path, lazy: bool) -> Result<(), MountError> {
    let flags = if lazy {
        UnmountFlags::DETACH
    } else {
        UnmountFlags::empty()
    };
    match rustix::mount::unmount(point, flags | UnmountFlags::NOFOLLOW) {
        Ok(()) => Ok(()),
        Err(Errno::BUSY) => Err(MountError::Busy(point.to_owned())),
        Err(Errno::PERM) => detach_by_helper(point, lazy),
        Err(errno) => Err(MountError::Os(point.to_owned(), errno.into())),
    }
}

fn attach_as_root(point: &Path, options: &AttachOptions) -> Result<OwnedFd, MountError> {
    let device = File::options()
        .read(true)
        .write(true)
        .open(DEVICE)
        .map_err(MountError::NoDevice)?;
    let mut flags = MountFlags::empty();
    for (wanted, flag) in [
        (options.read_only, MountFlags::RDONLY),
        (!options.dev, MountFlags::NODEV),
        (!options.suid, MountFlags::NOSUID),
        (options.no_exec, MountFlags::NOEXEC),
        (options.no_atime, MountFlags::NOATIME),
        (options.sync, MountFlags::SYNCHRONOUS),
        (options.dir_sync, MountFlags::DIRSYNC),
    ] {
        flags.set(flag, wanted);
    }
    let data = format!(
        "fd={},rootmode=40000,user_id={},group_id={},default_permissions{}",
        device.as_raw_fd(),
        rustix::process::getuid().as_raw(),
        rustix::process::getgid().as_raw(),
        if options.allow_other {
            ",allow_other"
        } else {
            ""
        }
    );
    let data = CString::new(data).expect("digits and words");
    rustix::mount::mount(
        options.source.as_os_str(),
        point,
        FS_TYPE,
        flags,
        data.as_c_str(),
    )
    .map_err(|errno| MountError::Os(point.to_owned(), errno.into()))?;
    Ok(device.into())
}

fn attach_by_helper(point: &Path, options: &AttachOptions) -> Result<OwnedFd, MountError> {
    let (ours, theirs) =
        UnixStream::pair().map_err(|error| MountError::Os(point.to_owned(), error))?;
    // The helper sends the device over the socket that it finds as its standard input.
    let helper = Command::new(HELPER)
        .arg("-o")
        .arg(helper_options(options))
        .arg("--")
        .arg(point)
        .env("_FUSE_COMMFD", "0")
        .stdin(OwnedFd::from(theirs))
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(no_helper)?;
    let device = receive(&ours);
    let output = helper.wait_with_output().map_err(no_helper)?;
    match device {
        Ok(Some(device)) if output.status.success() => Ok(device),
        _ => Err(refused(&output.stderr)),
    }
}

fn detach_by_helper(point: &Path, lazy: bool) -> Result<(), MountError> {
    let output = Command::new(HELPER)
        .arg(if lazy { "-uz" } else { "-u" })
        .arg("--")
        .arg(point)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .output()
        .map_err(no_helper)?;
    if output.status.success() {
        Ok(())
    } else if String::from_utf8_lossy(&output.stderr).contains("busy") {
        Err(MountError::Busy(point.to_owned()))
    } else {
        Err(refused(&output.stderr))
    }
}

fn no_helper(error: io::Error) -> MountError {
    if error.kind() == io::ErrorKind::NotFound {
        MountError::NoHelper
    } else {
        MountError::Refused(error.to_string())
    }
}

fn refused(stderr: &[u8]) -> MountError {
    let text = String::from_utf8_lossy(stderr);
    MountError::Refused(text.trim().trim_start_matches("fusermount3: ").to_owned())
}

/// The device out of the one message of the helper; `None` where it hung up without sending it.
fn receive(socket: &UnixStream) -> io::Result<Option<OwnedFd>> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut ancillary = RecvAncillaryBuffer::new(&mut space);
    let mut byte = [0; 1];
    let mut parts = [IoSliceMut::new(&mut byte)];
    loop {
        match recvmsg(socket, &mut parts, &mut ancillary, RecvFlags::CMSG_CLOEXEC) {
            Err(Errno::INTR) => {}
            Err(errno) => return Err(errno.into()),
            Ok(_) => break,
        }
    }
    for message in ancillary.drain() {
        if let RecvAncillaryMessage::ScmRights(mut descriptors) = message {
            return Ok(descriptors.next());
        }
    }
    Ok(None)
}

fn helper_options(options: &AttachOptions) -> OsString {
    let mut words = b"default_permissions,subtype=coffer,fsname=".to_vec();
    words.extend(escape(&options.source));
    for (wanted, word) in [
        (options.read_only, "ro"),
        (options.allow_other, "allow_other"),
        (options.dev, "dev"),
        (!options.dev, "nodev"),
        (options.suid, "suid"),
        (!options.suid, "nosuid"),
        (options.no_exec, "noexec"),
        (options.no_atime, "noatime"),
        (options.sync, "sync"),
        (options.dir_sync, "dirsync"),
    ] {
        if wanted {
            words.push(b',');
            words.extend(word.as_bytes());
        }
    }
    OsString::from_vec(words)
}

/// Escapes what separates options.
fn escape(text: &OsStr) -> Vec<u8> {
    let mut escaped = Vec::with_capacity(text.len());
    for &byte in text.as_bytes() {
        if matches!(byte, b',' | b'\\') {
            escaped.push(b'\\');
        }
        escaped.push(byte);
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_comma_in_the_source_is_no_option() {
        let options = AttachOptions {
            source: r"a,allow_other\,dev".into(),
            ..AttachOptions::default()
        };
        assert_eq!(
            helper_options(&options),
            r"default_permissions,subtype=coffer,fsname=a\,allow_other\\\,dev,nodev,nosuid"
        );
    }

    #[test]
    fn a_missing_mount_is_not_detached() {
        let attached = Attached {
            entry: MountEntry {
                id: u64::MAX,
                device: "0:0".into(),
                point: "/".into(),
                fs_type: FS_TYPE.into(),
                source: OsString::new(),
            },
        };
        assert!(!attached.is_attached());
        assert!(matches!(attached.detach(true), Err(MountError::Gone(_))));
    }
}
