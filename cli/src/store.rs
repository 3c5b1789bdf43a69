//! Making and opening a store for a command.
//!
//! - A command holds the lock of the store from here to its end.
//! - Nothing is asked of a person before it is clear that the command can go on.

use alloc::sync::Arc;
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::Path;

use coffer_blobstore::env::{self, Env, Event, Listener};
use coffer_blobstore::{BlobTree, Credential, Error, Keyring, OpenOptions, StoreOptions};
use coffer_fusefs::attr::Caller;
use coffer_fusefs::{FileSystem, MountOptions};

use crate::args::Secrets;
use crate::failure::{Code, Failure, Outcome};
use crate::terminal::note;

/// Tells of what was dropped while a store was opened.
struct Remarks;

impl Listener for Remarks {
    fn event(&self, event: &Event) {
        if let Event::TornTail { file, offset, len } = event {
            note(format_args!(
                "{file}: what a crash left unfinished was dropped: {len} bytes at offset {offset}"
            ));
        }
    }
}

/// The environment of the store in a directory that is there.
pub(crate) fn env(store: &Path) -> Outcome<Env> {
    let missing = || {
        Failure::new(Code::NotFound, format!("no store at {}", store.display()))
            .hint(format!("`coffer init {}` makes one", store.display()))
    };
    match store.metadata() {
        Ok(metadata) if metadata.is_dir() => {}
        Ok(_) => {
            let text = format!("{} is no store: not a directory", store.display());
            return Err(Failure::new(Code::NotFound, text));
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Err(missing()),
        Err(error) => return Err(Failure::path(store, &error)),
    }
    let mut env =
        env::os::env(store).map_err(|error| Failure::from(error).context(store.display()))?;
    env.listener = Arc::new(Remarks);
    if BlobTree::exists(&env)? || Keyring::exists(&env)? {
        Ok(env)
    } else {
        Err(missing())
    }
}

/// Refuses a store that has lost both copies of its keyring.
pub(crate) fn keyring_is_there(env: &Env, store: &Path) -> Outcome {
    if Keyring::exists(env)? {
        return Ok(());
    }
    let text = format!("{}: KEYRING and KEYRING.copy are missing", store.display());
    let hint = "without them nothing can be read: put back one of them, or the whole store, from a copy; \
                docs/USING.md";
    Err(Failure::new(Code::Corruption, text).hint(hint))
}

/// Opens a store that is there.
pub(crate) fn open(store: &Path, secrets: &Secrets) -> Outcome<Arc<BlobTree>> {
    let (env, credential) = unlock(store, secrets)?;
    // The file system keeps chunks, and commands read a value once.
    let opening = OpenOptions {
        cache_frames: false,
        ..OpenOptions::default()
    };
    BlobTree::open(env, &credential, &opening)
        .map(Arc::new)
        .map_err(|error| cannot_open(store, error))
}

/// Opens the keyring of a store that nobody holds.
pub(crate) fn open_keyring(store: &Path, secrets: &Secrets) -> Outcome<(Env, Keyring)> {
    let (env, credential) = unlock(store, secrets)?;
    let keyring = Keyring::open(&env, &credential).map_err(|error| cannot_open(store, error))?;
    Ok((env, keyring))
}

/// Asks for the credential only where the store is there and free.
fn unlock(store: &Path, secrets: &Secrets) -> Outcome<(Env, Credential)> {
    let env = env(store)?;
    drop(env.fs.lock().map_err(|error| cannot_open(store, error))?);
    Ok((env, secrets.credential(store)?))
}

pub(crate) fn cannot_open(store: &Path, error: Error) -> Failure {
    Failure::from(error)
        .context(format_args!("cannot open the store {}", store.display()))
        .of_store(store)
}

/// May a new store be made here? The directory is missing or empty.
pub(crate) fn is_free(store: &Path) -> Outcome<bool> {
    match std::fs::read_dir(store) {
        Ok(mut entries) => Ok(entries.next().is_none()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(true),
        Err(error) => Err(Failure::path(store, &error)),
    }
}

/// Makes a store with an empty file system in it.
pub(crate) fn create(
    store: &Path,
    credential: &Credential,
    options: StoreOptions,
) -> Outcome<Arc<BlobTree>> {
    options.validate()?;
    credential.validate()?;
    let made = !store.exists();
    std::fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(store)
        .map_err(|error| Failure::path(store, &error))?;
    let tree = env::os::env(store).and_then(|env| BlobTree::create(env, credential, options));
    let tree = tree.map(Arc::new).map_err(|error| {
        if made {
            // Only an empty directory goes: what was written stays to be looked at.
            let _ = std::fs::remove_dir(store);
        }
        Failure::from(error).context(format_args!("cannot make a store at {}", store.display()))
    })?;
    Ok(tree)
}

/// Opens the file system of a store for one command and hands it over; everything is written when
/// this returns.
pub(crate) fn with_files<T>(
    store: &Path,
    secrets: &Secrets,
    read_only: bool,
    work: impl FnOnce(&FileSystem) -> Outcome<T>,
) -> Outcome<T> {
    let tree = open(store, secrets)?;
    let fs = FileSystem::open(tree, mount_options(read_only))
        .map_err(|error| Failure::from(error).of_store(store))?;
    let done = work(&fs);
    let closed = fs.close();
    let done = done.map_err(|failure| failure.of_store(store))?;
    closed.map_err(|error| Failure::from(error).of_store(store))?;
    Ok(done)
}

/// The owner of a new root directory is who makes it.
pub(crate) fn mount_options(read_only: bool) -> MountOptions {
    let caller = caller();
    MountOptions {
        read_only,
        root_uid: caller.uid,
        root_gid: caller.gid,
        ..MountOptions::default()
    }
}

/// This process.
pub(crate) fn caller() -> Caller {
    Caller {
        uid: rustix::process::geteuid().as_raw(),
        gid: rustix::process::getegid().as_raw(),
        pid: std::process::id(),
        umask: 0,
    }
}
