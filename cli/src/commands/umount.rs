//! `umount`: returns when everything is written and the store is free again.

use core::time::Duration;
use std::path::Path;

use coffer_fusefs::{FS_TYPE, MountError, XATTR_PROCESS, XATTR_SYNC, detach, mount_at};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fd::OwnedFd;
use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, pidfd_open};

use super::mount::{absolute, is_dead};
use crate::args::Umount;
use crate::failure::{Code, Failure, Outcome};
use crate::terminal::note;

pub(crate) fn umount(args: &Umount, quiet: bool) -> Outcome {
    let shown = args.mountpoint.display();
    let point = absolute(&args.mountpoint)?;
    let entry = mount_at(&point).map_err(|error| Failure::path(&args.mountpoint, &error))?;
    if entry.is_none_or(|entry| entry.fs_type != FS_TYPE) {
        let text = format!("no store is mounted at {shown}");
        return Err(Failure::new(Code::NotFound, text));
    }
    if is_dead(&point) {
        return Ok(detach(&point, true)?);
    }
    let process = process(&point);
    if !args.lazy {
        sync(&point).map_err(|errno| {
            let text = format!("{shown}: not everything could be written: {errno}");
            Failure::new(Code::NotWritten, text)
                .hint("it stays mounted; free space (after deleting, `coffer compact STORE` gives it back), or use \
                       `--lazy` to give up")
        })?;
    }
    detach_patiently(&point, args.lazy)?;
    match process {
        // Files may stay open for long.
        Some(_) if args.lazy => {}
        Some((number, process)) => wait(&process, number, quiet),
        None => note(format_args!(
            "{shown}: cannot see the process of the mount; it may still write"
        )),
    }
    Ok(())
}

/// Somebody who is just leaving (a child between fork and exec, an indexer) gets a second to do so.
fn detach_patiently(point: &Path, lazy: bool) -> Result<(), MountError> {
    for _ in 0..20 {
        match detach(point, lazy) {
            Err(MountError::Busy(_)) => std::thread::sleep(Duration::from_millis(50)),
            answer => return answer,
        }
    }
    detach(point, lazy)
}

fn sync(point: &Path) -> Result<(), Errno> {
    let mut answer = [0; 16];
    match rustix::fs::getxattr(point, XATTR_SYNC, &mut answer) {
        Ok(_) => Ok(()),
        // Not allowed to ask: the mount writes everything anyway before its process ends.
        Err(Errno::ACCESS | Errno::PERM | Errno::NODATA | Errno::OPNOTSUPP) => Ok(()),
        Err(errno) => Err(errno),
    }
}

/// The process that serves the mount, held so that its number cannot be given to another.
fn process(point: &Path) -> Option<(u32, OwnedFd)> {
    let mut answer = [0; 16];
    let len = rustix::fs::getxattr(point, XATTR_PROCESS, &mut answer).ok()?;
    let number: u32 = core::str::from_utf8(answer.get(..len)?)
        .ok()?
        .parse()
        .ok()?;
    let pid = Pid::from_raw(number.try_into().ok()?)?;
    Some((number, pidfd_open(pid, PidfdFlags::empty()).ok()?))
}

/// Waits for the end of the process; says so where it takes long.
fn wait(process: &OwnedFd, number: u32, quiet: bool) {
    let mut timeout = Some(Timespec {
        tv_sec: 2,
        tv_nsec: 0,
    });
    loop {
        let mut fds = [PollFd::new(process, PollFlags::IN)];
        match poll(&mut fds, timeout.as_ref()) {
            Ok(0) => {
                timeout = None;
                if !quiet {
                    note(format_args!(
                        "waiting for process {number} to write everything"
                    ));
                }
            }
            Err(Errno::INTR) => {}
            _ => return,
        }
    }
}
