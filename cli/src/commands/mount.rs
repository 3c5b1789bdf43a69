//! `mount`: from a directory of sealed files to a directory of files, and back.
//!
//! - Refused before anything is asked or made: a mount point that holds files, a mount point inside
//!   the store or around it.
//! - Signals are caught before the mount exists, so that none of them leaves it behind.
//! - The exit code tells whether everything was written.

use alloc::sync::Arc;
use core::time::Duration;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};

use coffer_blobstore::BlobTree;
use coffer_fusefs::{
    Atime, FS_TYPE, FileSystem, MountError, MountOptions, Session, SessionOptions,
};
use coffer_fusefs::{detach, mount_at};
use rustix::io::Errno;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

use super::init::store_options;
use crate::args::Mount;
use crate::failure::{Code, Failure, Outcome};
use crate::mount_options::{self, Parsed};
use crate::store;
use crate::system::{Journal, READY, program, spawn_background};
use crate::terminal::note;

/// How long programs may keep files open after the mount was told to end.
const GRACE: Duration = Duration::from_secs(10);

enum Event {
    Signal,
    /// The kernel has ended the mount.
    Ended,
}

pub(crate) fn mount(args: &Mount, quiet: bool) -> Outcome<ExitCode> {
    let mut options = mount_options::parse(&args.options)
        .map_err(|text| Failure::new(Code::Usage, text).hint("docs/CLI.md lists the options"))?;
    options.attach.read_only |= args.read_only;
    if args.daemon && !args.daemon_process {
        let code = spawn_background()?;
        if code == ExitCode::SUCCESS && !quiet {
            next_steps(args);
        }
        return Ok(code);
    }
    let journal = Journal::default();
    let (sender, events) = channel();
    catch_signals(&sender)?;
    let session = start(args, options, &journal, sender)?;
    journal.catch_panics();
    if !quiet && !args.daemon_process {
        next_steps(args);
    }
    say_ready(&journal, args.daemon_process)?;
    serve(&session, &events, &journal);
    session.finish().map_err(|error| {
        let text = format!("not everything could be written: {error}");
        journal.write(&text);
        Failure::new(Code::NotWritten, text)
            .hint("what was synced before is safe; mount the store again to see what is there")
    })?;
    Ok(ExitCode::SUCCESS)
}

fn next_steps(args: &Mount) {
    let (store, point) = (args.store.display(), args.mountpoint.display());
    note(format_args!(
        "{store} is mounted at {point}; work there, then end it with `{} umount {point}`{}",
        program().display(),
        if args.daemon { "" } else { " or Ctrl-C" }
    ));
}

fn catch_signals(sender: &Sender<Event>) -> Outcome {
    let failed = |error| Failure::io("cannot catch signals", &error);
    let mut signals = Signals::new([SIGINT, SIGTERM, SIGHUP]).map_err(failed)?;
    let sender = sender.clone();
    std::thread::Builder::new()
        .name("signals".into())
        .spawn(move || {
            for _ in signals.forever() {
                if sender.send(Event::Signal).is_err() {
                    return;
                }
            }
        })
        .map(drop)
        .map_err(failed)
}

fn start(
    args: &Mount,
    options: Parsed,
    journal: &Journal,
    sender: Sender<Event>,
) -> Outcome<Session> {
    // Once by name, before anything is made, and once more without links.
    refuse_nesting(&by_name(&args.store)?, &by_name(&args.mountpoint)?)?;
    let point = mount_point(&args.mountpoint, args.create)?;
    if let Ok(directory) = args.store.canonicalize() {
        refuse_nesting(&directory, &point)?;
    }
    let tree = open_store(args, &options)?;
    let directory = args
        .store
        .canonicalize()
        .map_err(|error| Failure::path(&args.store, &error))?;
    let mut attach = options.attach;
    attach.source = options.source.unwrap_or_else(|| directory.into_os_string());
    let numbers = MountOptions {
        atime: if attach.no_atime {
            Atime::Never
        } else {
            Atime::Relative
        },
        ..store::mount_options(attach.read_only)
    };
    let fs = FileSystem::open(tree, numbers)?;
    let mut session = SessionOptions::new(attach);
    session.log = journal.log();
    session.on_end = Box::new(move || {
        // The receiver is gone where the process is ending already.
        let _ = sender.send(Event::Ended);
    });
    Session::start(fs, &point, session).map_err(|error| {
        Failure::from(error).context(format_args!("cannot mount at {}", point.display()))
    })
}

fn by_name(path: &Path) -> Outcome<PathBuf> {
    std::path::absolute(path).map_err(|error| Failure::path(path, &error))
}

/// Opens the store, or makes it where it is missing and `--create` is given.
fn open_store(args: &Mount, options: &Parsed) -> Outcome<Arc<BlobTree>> {
    let mut secrets = args.secrets.clone();
    if !secrets.is_given() {
        secrets.passphrase_file.clone_from(&options.passphrase_file);
        secrets.key_file.clone_from(&options.key_file);
    }
    if args.create && store::is_free(&args.store)? {
        let choices = store_options(&args.layout)?;
        let credential = secrets.new_credential(&args.store)?;
        return store::create(&args.store, &credential, choices);
    }
    if args.layout.is_given() {
        note("the store is there already: options for new stores are passed over");
    }
    store::open(&args.store, &secrets)
}

/// The mount point as an absolute path without links: an empty directory.
fn mount_point(path: &Path, create: bool) -> Outcome<PathBuf> {
    let failed = |error| Failure::path(path, &error);
    if create
        && path
            .symlink_metadata()
            .is_err_and(|error| error.kind() == io::ErrorKind::NotFound)
    {
        std::fs::create_dir_all(path).map_err(failed)?;
    }
    let mut point = absolute(path).map_err(|failure| match path.symlink_metadata() {
        Err(_) => failure.hint("make it, or use `--create`"),
        Ok(_) => failure,
    })?;
    if let Some(entry) = mount_at(&point).map_err(failed)?
        && entry.fs_type == FS_TYPE
    {
        if !is_dead(&point) {
            let text = format!("{} is a mounted store already", path.display());
            return Err(Failure::new(Code::Exists, text));
        }
        note(format_args!(
            "{}: taking down a mount whose process is gone",
            path.display()
        ));
        detach(&point, true)?;
        point = absolute(path)?;
    }
    let mut entries = std::fs::read_dir(&point).map_err(failed)?;
    if entries.next().is_some() {
        let text = format!("{} is not empty", path.display());
        return Err(Failure::new(Code::Exists, text)
            .hint("files below a mount point are hidden; choose an empty directory"));
    }
    Ok(point)
}

/// The path without links, also where its last part is a mount whose process is gone.
pub(super) fn absolute(path: &Path) -> Outcome<PathBuf> {
    let failed = |error| Failure::path(path, &error);
    match path.canonicalize() {
        Ok(point) => Ok(point),
        Err(error) if error.kind() == io::ErrorKind::NotConnected => {
            let name = path.file_name().ok_or(error).map_err(failed)?;
            let parent = match path.parent() {
                Some(parent) if !parent.as_os_str().is_empty() => parent,
                _ => Path::new("."),
            };
            Ok(parent.canonicalize().map_err(failed)?.join(name))
        }
        Err(error) => Err(failed(error)),
    }
}

/// Is the process behind a mount gone? Asks for something that the kernel keeps no copy of.
pub(super) fn is_dead(point: &Path) -> bool {
    rustix::fs::statfs(point).is_err_and(|errno| errno == Errno::NOTCONN)
}

/// The store and the mount point must not hide each other.
fn refuse_nesting(store: &Path, point: &Path) -> Outcome {
    let text = if point.starts_with(store) {
        "the mount point lies inside the store"
    } else if store.starts_with(point) {
        "the store lies inside the mount point and would be hidden by it"
    } else {
        return Ok(());
    };
    Err(Failure::new(
        Code::Usage,
        format!("{text}: {} and {}", store.display(), point.display()),
    ))
}

fn say_ready(journal: &Journal, background: bool) -> Outcome {
    let mut stdout = io::stdout().lock();
    // Nobody may be reading: the mount works all the same.
    let _ = writeln!(stdout, "{READY}").and_then(|()| stdout.flush());
    if background {
        journal
            .go_to_background()
            .map_err(|error| Failure::io("cannot leave the terminal", &error))?;
    }
    Ok(())
}

/// Returns when the mount has ended, or should be left although someone still uses it.
fn serve(session: &Session, events: &Receiver<Event>, journal: &Journal) {
    if matches!(events.recv(), Ok(Event::Ended) | Err(_)) {
        return;
    }
    if let Err(error) = session.sync() {
        journal.write(&format!("not everything could be written: {error}"));
    }
    match session.detach(false) {
        Ok(()) | Err(MountError::Gone(_)) => {}
        Err(MountError::Busy(_)) => {
            journal.write(&format!(
                "the mount is in use; waiting up to {} seconds for its users (once more to end now)",
                GRACE.as_secs()
            ));
            if let Err(error) = session.detach(true) {
                journal.write(&format!("cannot unmount: {error}"));
            }
        }
        Err(error) => journal.write(&format!("cannot unmount: {error}")),
    }
    match events.recv_timeout(GRACE) {
        Ok(Event::Ended) | Err(RecvTimeoutError::Disconnected) => {}
        Ok(Event::Signal) | Err(RecvTimeoutError::Timeout) => {
            journal.write("ending while files are still open; their users get errors from now on");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn store_and_mount_point_must_lie_apart() {
        let nested = |store, point| refuse_nesting(Path::new(store), Path::new(point)).is_err();
        assert!(nested("/a/store", "/a/store/mnt"));
        assert!(nested("/a/store", "/a"));
        assert!(nested("/a", "/a"));
        assert!(!nested("/a/store", "/a/store2"));
    }
}
