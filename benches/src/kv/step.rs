//! One phase in a child process: what it is asked by a file, and what it answers in another.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::failure::{Failure, Outcome};
use crate::kv::corpus::Corpus;
use crate::kv::engine::{Kind, Packing};
use crate::kv::phase::{Bench, Phase, Values};
use crate::kv::rows::{Scale, Size};
use crate::machine;
use crate::process::Interrupt;
use crate::program;

/// What a child is asked.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Step {
    /// Name of the engine.
    pub engine: String,
    /// The directory of its store.
    pub dir: PathBuf,
    /// How values are made smaller.
    pub packing: Packing,
    /// Values and how many.
    pub size: Size,
    /// How much work.
    pub scale: Scale,
    /// What to do.
    pub phase: Phase,
    /// Which of its processes this is.
    pub half: u8,
}

impl Step {
    /// Does it, in this process; a value called `memory` is the most that the engine took.
    ///
    /// # Errors
    /// Those of the engine and of the checks.
    pub fn work(&self) -> Outcome<Values> {
        let kind = Kind::named(&self.engine)
            .ok_or_else(|| Failure::new(format!("no engine is called {}", self.engine)))?;
        let corpus = Arc::new(Corpus::new(self.size.value_len));
        let own = machine::resident_memory(std::process::id()).unwrap_or(0);
        let bench = Bench {
            kind,
            packing: self.packing,
            dir: &self.dir,
            size: self.size,
            scale: self.scale,
            corpus,
        };
        let mut values = bench.run(self.phase, self.half)?;
        if let Some(peak) = machine::peak_memory(std::process::id()) {
            values.insert("memory".into(), peak.saturating_sub(own) as f64);
        }
        Ok(values)
    }

    /// Does it in a child process, at most for `limit`; files are left in `scratch`.
    ///
    /// # Errors
    /// Those of the child, with the end of what it printed.
    pub fn in_child(
        &self,
        scratch: &Path,
        limit: Duration,
        interrupt: &Interrupt,
    ) -> Outcome<Values> {
        program::in_child(self, limit, scratch, interrupt)
    }
}
