//! `compact`: compaction and garbage collection to their end.

use crate::args::OneStore;
use crate::failure::Outcome;
use crate::progress::Progress;
use crate::store;

pub(crate) fn compact(args: &OneStore, quiet: bool) -> Outcome {
    let tree = store::open(&args.store, &args.secrets)?;
    let progress = Progress::new("compact", Some(0), quiet);
    let done = tree.compact(&mut |now| {
        progress.set_total(now.total_len);
        progress.set(now.done_len);
    });
    let closed = tree.close();
    done?;
    Ok(closed?)
}
