//! The thread that maintains an open store.
//!
//! - It does what calls of `maintain` would do, and nothing else; without threads nothing is missing.
//! - It ends when the tree is closed or dropped; an error makes it wait, not end.

use alloc::boxed::Box;
use alloc::sync::Arc;
use core::sync::atomic::Ordering;

use coffer_engine::env::Task;
use coffer_engine::{ErrorKind, Work};

use crate::tree::{Core, NAP};

/// Starts the worker; `None` where the environment has no threads.
pub(super) fn spawn(core: &Arc<Core>) -> Option<Box<dyn Task>> {
    let core = Arc::clone(core);
    let spawner = Arc::clone(&core.env.spawner);
    spawner.spawn("coffer-maintain", Box::new(move || run(&core)))
}

fn run(core: &Core) {
    while !core.stopping.load(Ordering::Acquire) {
        match core.maintain() {
            Ok(Work::Did) => {}
            Ok(Work::Idle) => core.db.wait_for_work(NAP),
            // Writers meet the same error themselves; there is nobody here to tell.
            Err(error) if error.kind() == ErrorKind::Poisoned => return,
            Err(_) => core.db.wait_for_work(NAP),
        }
    }
}
