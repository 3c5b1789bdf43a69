//! How costs grow with the number of entries of a directory, and of files in a store.
//!
//! A store for each size. All of a subject are filled first; then they are measured one after the
//! other, in rounds, so that a noisy minute hits all sizes. For that a store is mounted afresh; data
//! of the disk below stays in the page cache, names do not. Files are asked for in an order without
//! pattern, none of them twice in a pass.

mod chart;
mod report;

pub use chart::render as draw;
pub use report::{MEASURES, Measure, Point, Report, Verdict, render};

use std::collections::BTreeMap;
use std::path::Path;
use std::time::{Duration, Instant};

use serde::Serialize;

use crate::failure::{Failure, Outcome};
use crate::machine::{self, Machine};
use crate::process::Interrupt;
use crate::report::Column;
use crate::step::{Done, Files, Operation, Step};
use crate::subject::{Session, Subject};
use crate::unit::median;
use crate::workdir::WorkDir;

/// Bytes of a file.
const FILE_LEN: u64 = 256;
/// Files that are made by one step: a limit of time is one for so many.
const FILL_COUNT: u64 = 50_000;
/// Files that are asked for, and made, in a round; made are a tenth of those that are there at most.
const PROBE_COUNT: u64 = 5_000;
/// Directories that are listed where there are many.
const LIST_COUNT: u64 = 100;
/// Bytes that a file may take on the disk, with what leads to it.
const PER_FILE_LEN: u64 = 8 << 10;

/// What grows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub enum Sweep {
    /// The one directory.
    Directory,
    /// The store, in directories of a thousand files.
    Store,
}

impl Sweep {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Directory, Self::Store];

    /// In words.
    #[must_use]
    pub fn words(self) -> &'static str {
        match self {
            Self::Directory => "one directory",
            Self::Store => "directories of 1000 files",
        }
    }

    fn per_dir(self) -> u64 {
        match self {
            Self::Directory => u64::MAX,
            Self::Store => 1000,
        }
    }
}

/// What to run.
#[derive(Debug)]
pub struct Plan<'a> {
    /// Where everything is put.
    pub dir: &'a Path,
    /// The file systems under test.
    pub subjects: &'a [Box<dyn Subject>],
    /// Sizes of the one directory.
    pub entries: &'a [u64],
    /// Sizes of the store.
    pub files: &'a [u64],
    /// How often each size is measured.
    pub round_count: usize,
    /// How long one step may take.
    pub step_limit: Duration,
}

impl Plan<'_> {
    /// Sizes in growing order.
    fn sizes(&self, sweep: Sweep) -> Vec<u64> {
        let mut sizes = match sweep {
            Sweep::Directory => self.entries.to_vec(),
            Sweep::Store => self.files.to_vec(),
        };
        sizes.retain(|size| *size > 0);
        sizes.sort_unstable();
        sizes.dedup();
        sizes
    }

    /// Runs everything; `progress` is told what is being done.
    ///
    /// # Errors
    /// When the run cannot begin, or the person asked to stop.
    pub fn run(&self, interrupt: &Interrupt, progress: &mut dyn FnMut(&str)) -> Outcome<Report> {
        let work = WorkDir::create(self.dir, "fs-compare")?;
        let totals = Sweep::ALL.map(|sweep| self.sizes(sweep).iter().sum::<u64>());
        let most = totals[0].max(totals[1]);
        if most == 0 || self.round_count == 0 {
            return Err(Failure::new("nothing to measure: no size or no round"));
        }
        machine::require_free(work.root(), most * PER_FILE_LEN + (1 << 30))?;
        let mut report = Report {
            machine: Machine::describe(work.root()),
            round_count: self.round_count,
            columns: self
                .subjects
                .iter()
                .map(|s| Column::of(s.as_ref()))
                .collect(),
            points: Vec::new(),
            failures: Vec::new(),
            verdicts: Vec::new(),
        };
        for sweep in Sweep::ALL {
            let sizes = self.sizes(sweep);
            let subjects = self.subjects.iter().filter(|s| s.missing().is_none());
            for subject in subjects.filter(|_| !sizes.is_empty()) {
                let mut growth = Growth {
                    plan: self,
                    work: &work,
                    interrupt,
                    subject: subject.as_ref(),
                    sweep,
                    stores: Vec::new(),
                };
                let result = growth.run(&sizes, progress);
                report
                    .points
                    .extend(growth.stores.drain(..).map(|store| Point {
                        subject: subject.name(),
                        sweep,
                        size: store.size,
                        values: store.medians(),
                        samples: store.samples,
                    }));
                match result {
                    Err(failure) if failure.interrupted => return Err(failure),
                    Err(failure) => {
                        let words = format!("{}, {}: {failure}", subject.name(), sweep.words());
                        progress(&words);
                        report.failures.push(words);
                    }
                    Ok(()) => {}
                }
                progress(&format!("removing what {} holds", subject.name()));
                for size in sizes.iter().map(|size| place_name(subject.as_ref(), *size)) {
                    work.remove(&size)?;
                }
            }
        }
        report.finish();
        Ok(report)
    }
}

fn place_name(subject: &dyn Subject, size: u64) -> String {
    format!("{}-{size}", subject.name())
}

/// The stores of a subject.
struct Growth<'a> {
    plan: &'a Plan<'a>,
    work: &'a WorkDir,
    interrupt: &'a Interrupt,
    subject: &'a dyn Subject,
    sweep: Sweep,
    stores: Vec<Store<'a>>,
}

impl Growth<'_> {
    fn run(&mut self, sizes: &[u64], progress: &mut dyn FnMut(&str)) -> Outcome<()> {
        let words = format!("{}, {}", self.subject.name(), self.sweep.words());
        for size in sizes {
            let place = self.work.place(&place_name(self.subject, *size))?;
            let (scratch, limit) = (self.work.root(), self.plan.step_limit);
            let session = Session::start(self.subject, place, scratch, self.interrupt, limit)?;
            let mut store = Store {
                session,
                sweep: self.sweep,
                size: *size,
                held: 0,
                remounts: self.subject.remounts(),
                samples: BTreeMap::new(),
            };
            store.fill(&mut |held| progress(&format!("{words}: {held} of {size} files")))?;
            self.stores.push(store);
        }
        let count = self.stores.len();
        for round in 0..self.plan.round_count {
            for turn in 0..count {
                let store = &mut self.stores[(turn + round) % count];
                progress(&format!(
                    "{words}: round {}, {} files",
                    round + 1,
                    store.size
                ));
                store.measure()?;
            }
        }
        Ok(())
    }
}

/// A store that is filled and measured.
struct Store<'a> {
    session: Session<'a>,
    sweep: Sweep,
    size: u64,
    held: u64,
    remounts: bool,
    samples: BTreeMap<&'static str, Vec<f64>>,
}

impl Store<'_> {
    fn medians(&self) -> BTreeMap<&'static str, f64> {
        let samples = self.samples.iter();
        samples
            .filter_map(|(name, values)| Some((*name, median(values)?)))
            .collect()
    }

    fn note(&mut self, name: &'static str, value: f64) {
        self.samples.entry(name).or_default().push(value);
    }

    fn fill(&mut self, progress: &mut dyn FnMut(u64)) -> Outcome<()> {
        let mut seconds = 0.0;
        while self.held < self.size {
            progress(self.held);
            seconds += self.create(FILL_COUNT.min(self.size - self.held))?.seconds;
        }
        self.note("fill", self.size as f64 / seconds);
        self.session.leave().map(drop)
    }

    /// Mounts, measures and unmounts.
    fn measure(&mut self) -> Outcome<()> {
        let start = Instant::now();
        self.session.mount()?;
        if self.session.resident_memory().is_some() && self.remounts {
            self.note("mount", start.elapsed().as_secs_f64());
        }
        for row in ["lookup-first", "lookup-again"] {
            machine::drop_names()?;
            let count = PROBE_COUNT.min(self.held);
            let done = self.scattered(Operation::Stat, count)?;
            if done.line_count != count {
                return Err(Failure::new("files are missing or have another length"));
            }
            self.note(row, count as f64 / done.seconds);
        }
        machine::drop_names()?;
        let directories = self.held.div_ceil(self.sweep.per_dir());
        let done = self.scattered(Operation::List, LIST_COUNT.min(directories))?;
        if self.sweep == Sweep::Directory && done.line_count != self.held {
            return Err(Failure::new(format!("{} entries listed", done.line_count)));
        }
        self.note("list", done.line_count as f64 / done.seconds);
        self.session.settle()?;
        let count = PROBE_COUNT.min(self.size.div_ceil(10));
        let seconds = self.create(count)?.seconds;
        self.note("create", count as f64 / seconds);
        let memory = [
            ("resident", self.session.resident_memory()),
            ("memory", self.session.peak_memory()),
        ];
        for (name, len) in memory {
            if let Some(len) = len {
                self.note(name, len as f64);
            }
        }
        self.session.leave().map(drop)
    }

    fn create(&mut self, count: u64) -> Outcome<Done> {
        let done = self.step(Operation::Create, self.held, count, None)?;
        self.held += count;
        Ok(done)
    }

    fn scattered(&self, operation: Operation, count: u64) -> Outcome<Done> {
        self.step(operation, 0, count, Some(self.held))
    }

    fn step(
        &self,
        operation: Operation,
        first: u64,
        count: u64,
        scattered_over: Option<u64>,
    ) -> Outcome<Done> {
        self.session.step(&Step::Files(Files {
            dir: self.session.files().join("files"),
            operation,
            job_count: 1,
            first,
            count,
            per_dir: self.sweep.per_dir(),
            len: FILE_LEN,
            scattered_over,
        }))
    }
}
