//! The FUSE adapter: unpacks requests, calls the [`FileSystem`], replies.
//!
//! - Only this module and `session` know fuser.
//! - A panic in the file system answers `EIO`, is logged, and the mount lives on.
//! - The log names operations, inode numbers and places in the store, never file names.
//! - Some reader is always free to take requests: see [`Waiters`].

use alloc::sync::Arc;
use core::panic::AssertUnwindSafe;
use core::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use core::time::Duration;
use std::panic::catch_unwind;
use std::time::Instant;

use crate::attr::{Caller, ROOT};
use crate::errno::{Errno, FsError, FsResult};
use crate::filesystem::FileSystem;
use crate::turns::Turns;
use crate::waiters::Waiters;

mod answer;
mod content;
mod convert;
mod listing;
mod names;
mod requests;

/// The mount is the only way to the store, so what the kernel knows stays true until it changes it.
const KEEP: Duration = Duration::from_secs(24 * 60 * 60);

/// Largest write request: the kernel allows 256 pages.
const WRITE_LEN_MAX: u32 = 1 << 20;

/// Read-ahead and other background requests in flight at most.
const BACKGROUND_COUNT_MAX: u16 = 64;

/// Messages a minute at most, so that a broken medium does not fill the log.
const MESSAGES_PER_MINUTE: u64 = 60;

/// Reading this extended attribute of the root writes everything out and makes it durable.
pub const XATTR_SYNC: &str = "coffer.sync";

/// This extended attribute of the root tells the number of the process that serves the mount.
pub const XATTR_PROCESS: &str = "coffer.process";

/// Hears what goes wrong behind the mount.
pub type Log = Arc<dyn Fn(&str) + Send + Sync>;

/// What every thread of a mount shares.
pub(crate) struct Core {
    fs: FileSystem,
    waiters: Waiters,
    turns: Turns,
    log: Log,
    started: Instant,
    /// Minute of the last message in the upper half, messages in it in the lower.
    messages: AtomicU64,
    /// Requests so far, but for those that tell what the kernel forgets.
    requests: AtomicU64,
    closing: AtomicBool,
}

/// What fuser calls.
pub(crate) struct Adapter(pub(crate) Arc<Core>);

impl Core {
    pub(crate) fn new(fs: FileSystem, waiters: Waiters, turns: Turns, log: Log) -> Self {
        Self {
            fs,
            waiters,
            turns,
            log,
            started: Instant::now(),
            messages: AtomicU64::new(0),
            requests: AtomicU64::new(0),
            closing: AtomicBool::new(false),
        }
    }

    /// Requests answered so far.
    pub(crate) fn request_count(&self) -> u64 {
        self.requests.load(Ordering::Relaxed)
    }

    /// Calls the file system for a request.
    fn call<T>(
        &self,
        what: &'static str,
        ino: u64,
        work: impl FnOnce(&FileSystem) -> FsResult<T>,
    ) -> Result<T, fuser::Errno> {
        self.requests.fetch_add(1, Ordering::Relaxed);
        self.guarded(what, ino, work)
    }

    /// Calls the file system; what fails is logged where it is more than an answer to the program.
    fn guarded<T>(
        &self,
        what: &'static str,
        ino: u64,
        work: impl FnOnce(&FileSystem) -> FsResult<T>,
    ) -> Result<T, fuser::Errno> {
        let answer = if self.closing.load(Ordering::Relaxed) {
            Err(Errno::EIO.into())
        } else {
            catch_unwind(AssertUnwindSafe(|| work(&self.fs))).unwrap_or_else(|panic| {
                self.report(&format!(
                    "{what} of inode {ino} panicked: {}",
                    text(&*panic)
                ));
                Err(Errno::EIO.into())
            })
        };
        answer.map_err(|error| {
            self.log_error(what, ino, &error);
            fuser::Errno::from_i32(error.errno().code())
        })
    }

    /// Must close(2) ask whether an earlier write-out failed?
    fn tells_at_close(&self) -> bool {
        self.fs.has_failed()
    }

    /// Runs work that may wait: here while other readers are idle, else on a waiter.
    fn may_wait(self: &Arc<Self>, work: impl FnOnce(&Self) + Send + 'static) {
        if let Some(_leave) = self.waiters.leave() {
            work(self);
        } else {
            let core = Arc::clone(self);
            if let Err(job) = self.waiters.hand_over(move || work(&core)) {
                job();
            }
        }
    }

    fn log_error(&self, what: &str, ino: u64, error: &FsError) {
        if let Some(beneath) = error.store_error() {
            self.report(&format!("{what} of inode {ino} failed: {beneath}"));
        }
    }

    /// Logs one message, or drops it where too many came in this minute.
    pub(crate) fn report(&self, message: &str) {
        let minute = self.started.elapsed().as_secs() / 60;
        let count = self
            .messages
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |last| {
                Some(if last >> 32 == minute {
                    last + 1
                } else {
                    minute << 32 | 1
                })
            })
            .map_or(0, |last| {
                if last >> 32 == minute {
                    last & 0xffff_ffff
                } else {
                    0
                }
            });
        if count < MESSAGES_PER_MINUTE {
            (self.log)(message);
        } else if count == MESSAGES_PER_MINUTE {
            (self.log)("more messages in this minute are dropped");
        }
    }

    /// Work of the ticking thread.
    pub(crate) fn tick(&self) {
        // A failure is in the log, and poisons the store: every change says so.
        let _ = self.guarded("tick", 0, FileSystem::tick);
    }

    /// Writes everything out and makes it durable.
    pub(crate) fn sync(&self) -> FsResult<()> {
        self.fs.sync_all()
    }

    /// Ends all work: requests from now on are answered with `EIO`; everything is written out.
    pub(crate) fn close(&self) -> FsResult<()> {
        self.waiters.close();
        self.closing.store(true, Ordering::Relaxed);
        catch_unwind(AssertUnwindSafe(|| self.fs.close())).unwrap_or_else(|panic| {
            self.report(&format!("closing panicked: {}", text(&*panic)));
            Err(Errno::EIO.into())
        })
    }

    /// Extended attributes that the session itself answers; `None` for all others.
    fn own_xattr(&self, ino: u64, name: &[u8], asks_len: bool) -> Option<FsResult<Vec<u8>>> {
        if ino != ROOT {
            return None;
        }
        if name == XATTR_PROCESS.as_bytes() {
            return Some(Ok(std::process::id().to_string().into_bytes()));
        }
        if name == XATTR_SYNC.as_bytes() {
            let done = if asks_len { Ok(()) } else { self.sync() };
            return Some(done.map(|()| b"done".to_vec()));
        }
        None
    }
}

fn caller(request: &fuser::Request, umask: u32) -> Caller {
    Caller {
        uid: request.uid(),
        gid: request.gid(),
        pid: request.pid(),
        umask,
    }
}

/// What a panic said.
fn text(panic: &(dyn core::any::Any + Send)) -> &str {
    panic
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| panic.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("no message")
}
