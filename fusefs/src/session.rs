//! One mount from its beginning to its end: device, readers, ticker, last write-out.
//!
//! - [`Session::start`] returns when the mount answers.
//! - [`Session::finish`] returns when everything is written; nothing is left to a destructor.

use alloc::sync::Arc;
use core::time::Duration;
use std::path::Path;
use std::sync::{Condvar, Mutex, PoisonError};
use std::thread::JoinHandle;

use crate::errno::FsResult;
use crate::filesystem::FileSystem;
use crate::fuse::{Adapter, Core, Log};
use crate::mount::{AttachOptions, Attached, MountError, attach};
use crate::turns::Turns;
use crate::waiters::Waiters;

const TICK: Duration = Duration::from_secs(1);

/// Threads for work that waits, mostly for fsync: more of them make larger groups.
const WAITER_COUNT: usize = 8;

/// What a session needs beside the file system.
pub struct SessionOptions {
    /// How to attach.
    pub attach: AttachOptions,
    /// Threads that read requests.
    pub reader_count: usize,
    /// Hears what goes wrong behind the mount.
    pub log: Log,
    /// Called when the kernel has ended the session: somebody unmounted it and nobody uses it.
    pub on_end: Box<dyn FnOnce() + Send>,
}

impl SessionOptions {
    /// The usual number of readers, nobody who listens.
    #[must_use]
    pub fn new(attach: AttachOptions) -> Self {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        Self {
            attach,
            reader_count: (cores + 1).clamp(2, 4),
            log: Arc::new(|_| {}),
            on_end: Box::new(|| {}),
        }
    }
}

/// A mounted file system.
pub struct Session {
    core: Arc<Core>,
    attached: Attached,
    ticker: JoinHandle<()>,
    bell: Arc<Bell>,
}

#[derive(Default)]
struct Bell {
    rung: Mutex<bool>,
    ring: Condvar,
}

impl Session {
    /// Mounts `fs` at `point`, an absolute path without links, and serves it.
    ///
    /// # Errors
    /// See [`MountError`]; the file system is closed then.
    pub fn start(
        fs: FileSystem,
        point: &Path,
        options: SessionOptions,
    ) -> Result<Self, MountError> {
        let os = |error| MountError::Os(point.to_owned(), error);
        let waiters = Waiters::start(WAITER_COUNT, options.reader_count).map_err(os)?;
        let turns = Turns::new(options.reader_count);
        let core = Arc::new(Core::new(fs, waiters, turns, options.log));
        let bell = Arc::new(Bell::default());
        let ticker = std::thread::Builder::new().name("tick".into()).spawn({
            let (core, bell) = (Arc::clone(&core), Arc::clone(&bell));
            move || {
                while !bell.rung_within(TICK) {
                    core.tick();
                }
            }
        });
        let ticker = ticker.map_err(os)?;
        match serve(
            &core,
            point,
            &options.attach,
            options.reader_count,
            options.on_end,
        ) {
            Ok(attached) => Ok(Self {
                core,
                attached,
                ticker,
                bell,
            }),
            Err(error) => {
                if let Err(error) = end(&core, ticker, &bell) {
                    core.report(&format!("closing after a failed mount: {error}"));
                }
                Err(error)
            }
        }
    }

    /// Is it still in the table of mounts?
    #[must_use]
    pub fn is_attached(&self) -> bool {
        self.attached.is_attached()
    }

    /// Requests of the kernel answered so far, but for those that tell what it forgets.
    #[must_use]
    pub fn request_count(&self) -> u64 {
        self.core.request_count()
    }

    /// Takes the mount out of the tree of files; `on_end` is called when its last user is gone.
    ///
    /// # Errors
    /// `Busy` while someone uses it and `lazy` is not set; see [`MountError`].
    pub fn detach(&self, lazy: bool) -> Result<(), MountError> {
        self.attached.detach(lazy)
    }

    /// Writes everything out and makes it durable.
    ///
    /// # Errors
    /// Those of the store.
    pub fn sync(&self) -> FsResult<()> {
        self.core.sync()
    }

    /// Writes everything out and closes the store. Whoever still has a file open gets `EIO`.
    ///
    /// # Errors
    /// What could not be written.
    pub fn finish(self) -> FsResult<()> {
        end(&self.core, self.ticker, &self.bell)
    }
}

fn end(core: &Core, ticker: JoinHandle<()>, bell: &Bell) -> FsResult<()> {
    bell.ring();
    // A tick that panicked has been reported by its guard.
    let _ = ticker.join();
    core.close()
}

impl Bell {
    fn ring(&self) {
        *self.rung.lock().unwrap_or_else(PoisonError::into_inner) = true;
        self.ring.notify_all();
    }

    fn rung_within(&self, timeout: Duration) -> bool {
        let rung = self.rung.lock().unwrap_or_else(PoisonError::into_inner);
        let (rung, _) = self
            .ring
            .wait_timeout_while(rung, timeout, |rung| !*rung)
            .unwrap_or_else(PoisonError::into_inner);
        *rung
    }
}

/// Attaches and starts the readers; returns when the mount answers.
fn serve(
    core: &Arc<Core>,
    point: &Path,
    options: &AttachOptions,
    reader_count: usize,
    on_end: Box<dyn FnOnce() + Send>,
) -> Result<Attached, MountError> {
    let (device, attached) = attach(point, options)?;
    let undo = |error| {
        // Without readers nobody can use it: detaching is all there is to do.
        let _ = attached.detach(true);
        MountError::Os(point.to_owned(), error)
    };
    let acl = if options.allow_other {
        fuser::SessionACL::All
    } else {
        fuser::SessionACL::Owner
    };
    let mut config = fuser::Config::default();
    config.n_threads = Some(reader_count);
    // A device for each reader, where this process may open it by itself.
    config.clone_fd = std::fs::File::options()
        .read(true)
        .write(true)
        .open("/dev/fuse")
        .is_ok();
    let adapter = Adapter(Arc::clone(core));
    let session = fuser::Session::from_fd(adapter, device, acl, config)
        .and_then(fuser::Session::spawn)
        .map_err(undo)?;
    let log = Arc::clone(core);
    std::thread::Builder::new()
        .name("session".into())
        .spawn(move || {
            if let Err(error) = session.join() {
                log.report(&format!("reading requests failed: {error}"));
            }
            on_end();
        })
        .map_err(undo)?;
    std::fs::metadata(point).map_err(undo)?;
    Ok(attached)
}
