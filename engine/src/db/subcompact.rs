//! One compaction in pieces: on as many threads as the environment has, or one after the other.
//!
//! - Pieces are disjoint ranges of keys; their outputs commit together, in one edit, or not at all.
//! - How the work is cut depends on the tables alone, so that the same store comes out on every
//!   machine, with threads or without.
//! - A thread that finds no piece left seals blocks for those that still merge; a compaction that
//!   cannot be cut is shared in this way from its beginning.
//! - Whoever began the compaction works on it too, flushes memtables that wait, and returns only
//!   when every thread has let go.
//! - The first error ends all pieces; what they wrote is removed by whoever began the compaction.

use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::time::Duration;

use crate::compaction::{Cutter, Job, Output, Plan, Retention, run, split};
use crate::cursor::{LevelCursor, MergeCursor};
use crate::db::Db;
use crate::db::limiter::RateLimiter;
use crate::entry::{BoxCursor, KEY_LEN_MAX};
use crate::env::{Event, Task};
use crate::error::{Error, Result};
use crate::hook::IndirectHook;
use crate::options::Options;
use crate::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use crate::sync::{Condvar, Mutex};
use crate::table::{Fill, JobQueue, Lineage, LiveTable, RunFragments, TableOpener, TableWriter};
use crate::tombstone::{FragmentSource, Sweep};
use crate::types::SeqNo;
use crate::version::Version;

/// Threads that merge and seal one piece together at most: sealing is about two thirds of the work.
const THREAD_COUNT_MAX: usize = 3;

/// Data blocks of input from which on it is worth a thread to seal those of the output.
const SHARED_COUNT_MIN: u64 = 8;

/// How long whoever waits for other threads leaves full memtables alone.
const NAP: Duration = Duration::from_millis(20);

/// What all pieces of one compaction share.
pub(super) struct Subcompactions {
    opener: Arc<TableOpener>,
    options: Arc<Options>,
    hook: Option<Arc<dyn IndirectHook>>,
    next_number: Arc<AtomicU64>,
    limiter: Arc<RateLimiter>,
    poisoned: Arc<AtomicBool>,
    version: Arc<Version>,
    plan: Plan,
    snapshots: Vec<SeqNo>,
    /// What the output tables say of themselves.
    lineage: Lineage,
    /// Where pieces begin, but for the first.
    boundaries: Vec<Vec<u8>>,
    is_canceled: AtomicBool,
    /// Blocks of all pieces that wait to be sealed.
    seals: Arc<JobQueue>,
    state: Mutex<State>,
    ended: Condvar,
}

/// How far the pieces are.
#[derive(Default)]
struct State {
    /// The next piece that nobody works on.
    next: usize,
    /// Pieces that somebody works on.
    running_count: usize,
    /// Threads at work.
    worker_count: usize,
    outputs: Vec<Option<Output>>,
    error: Option<Error>,
    /// Files that were made.
    numbers: Vec<u64>,
}

/// A thread at work; even where it panics it does not keep others waiting.
struct Worker<'a>(&'a Subcompactions);

impl Drop for Worker<'_> {
    fn drop(&mut self) {
        self.0.state.lock().worker_count -= 1;
        self.0.ended.notify_all();
    }
}

/// A piece that is worked on; the last one that ends sends the helpers home.
struct Running<'a>(&'a Subcompactions);

impl Drop for Running<'_> {
    fn drop(&mut self) {
        let mut state = self.0.state.lock();
        state.running_count -= 1;
        let is_last = state.next == state.outputs.len() || self.0.is_canceled();
        if state.running_count == 0 && is_last {
            self.0.seals.close();
        }
    }
}

/// Threads beyond those that call, bounded for the whole store.
struct Extra(Arc<AtomicUsize>);

impl Drop for Extra {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}

impl Subcompactions {
    fn new(db: &Db, plan: &Plan, version: &Arc<Version>) -> Result<Self> {
        let boundaries = boundaries(&db.opener, &db.options, plan)?;
        let mut outputs = Vec::new();
        outputs.resize_with(boundaries.len() + 1, || None);
        Ok(Self {
            opener: Arc::clone(&db.opener),
            options: Arc::clone(&db.options),
            hook: db.hook.clone(),
            next_number: Arc::clone(&db.next_number),
            limiter: Arc::clone(&db.limiter),
            poisoned: Arc::clone(&db.poisoned),
            version: Arc::clone(version),
            plan: plan.clone(),
            snapshots: db.snapshots.seqnos(),
            lineage: Lineage {
                level: plan.output_level as u8,
                compaction: db.allocate_number(),
                flushed_seqno: db.manifest.lock().state.last_seqno,
                inputs: plan.inputs().map(|(_, t)| t.meta().number).collect(),
                obsolete: db.obsolete_numbers(),
            },
            boundaries,
            is_canceled: AtomicBool::new(false),
            seals: JobQueue::new(),
            state: Mutex::new(State {
                outputs,
                ..State::default()
            }),
            ended: Condvar::new(),
        })
    }

    /// Works on one piece after the other until none is left, then helps with those of others.
    fn work(&self, between: &mut dyn FnMut() -> Result<()>) {
        self.state.lock().worker_count += 1;
        let _worker = Worker(self);
        while let Some(index) = self.next_piece() {
            let _running = Running(self);
            match self.run_piece(index, between) {
                Ok(output) => self.state.lock().outputs[index] = Some(output),
                Err(error) => self.cancel(error),
            }
        }
        self.seals.help(NAP, &mut || {
            if let Err(error) = between() {
                self.cancel(error);
            }
        });
    }

    /// A piece that nobody works on yet.
    fn next_piece(&self) -> Option<usize> {
        let mut state = self.state.lock();
        if state.next == state.outputs.len() || self.is_canceled() {
            return None;
        }
        state.next += 1;
        state.running_count += 1;
        Some(state.next - 1)
    }

    fn run_piece(&self, index: usize, between: &mut dyn FnMut() -> Result<()>) -> Result<Output> {
        let plan = &self.plan;
        let first = index.checked_sub(1).map(|i| self.boundaries[i].as_slice());
        let end = self.boundaries.get(index).map(Vec::as_slice);
        let mut cursor = self.cursor();
        let mut new_table = || {
            let number = self.next_number.fetch_add(1, Ordering::Relaxed);
            self.state.lock().numbers.push(number);
            let sink = self.opener.create(number)?.sealed_at(&self.seals);
            let writer = TableWriter::new(sink, number, &self.options);
            Ok(writer.descends(self.lineage.clone()))
        };
        let job = Job {
            retention: Retention::new(self.snapshots.clone()),
            // Within level 0 older tables of that level may hold any key.
            may_be_below: &|key| {
                plan.is_within_level_0() || self.version.holds_below(plan.output_level, key)
            },
            may_overlap_below: &|start, end| {
                let version = &self.version;
                plan.is_within_level_0() || version.overlaps_below(plan.output_level, start, end)
            },
            ranges: self.ranges(first.unwrap_or_default(), end)?,
            session: self.hook.as_deref().map(IndirectHook::session),
            new_table: &mut new_table,
            sync: &|file| file.sync().inspect_err(|_| self.poison()),
            cutter: Cutter::new(&self.version, &self.options, plan.output_level),
            first: first.unwrap_or_default(),
            end,
            between: &mut |len| {
                between()?;
                self.limiter.take(len, &|| !self.is_canceled());
                if self.is_canceled() {
                    return Err(Error::canceled("another part of the compaction failed"));
                }
                Ok(())
            },
        };
        run(&mut cursor, job)
    }

    /// Over all inputs.
    fn cursor(&self) -> MergeCursor {
        let run_over = |tables: &[Arc<LiveTable>]| -> BoxCursor {
            let (tables, opener) = (tables.to_vec(), Arc::clone(&self.opener));
            Box::new(LevelCursor::over_tables(tables, opener, Fill::Pass))
        };
        MergeCursor::new(self.plan.runs().map(run_over).collect())
    }

    /// The range tombstones of all inputs.
    fn ranges(&self, first: &[u8], end: Option<&[u8]>) -> Result<Sweep> {
        let runs: Vec<_> = self.plan.runs().collect();
        let runs = runs.into_iter().filter(|run| has_ranges(run));
        let source = |run: &[Arc<LiveTable>]| -> Box<dyn FragmentSource> {
            Box::new(RunFragments::new(run, &self.opener, first))
        };
        Sweep::new(runs.map(source).collect(), first, end)
    }

    fn is_canceled(&self) -> bool {
        self.is_canceled.load(Ordering::Acquire)
    }

    /// The first error is the one that counts.
    fn cancel(&self, error: Error) {
        self.is_canceled.store(true, Ordering::Release);
        self.state.lock().error.get_or_insert(error);
    }

    /// At once, whatever other threads do meanwhile; see [`Db::poison`].
    fn poison(&self) {
        if !self.poisoned.swap(true, Ordering::AcqRel) {
            self.opener.env.listener.event(&Event::Poisoned);
        }
    }

    /// Waits for the other threads, for a short time; `true` when none is at work.
    fn wait(&self) -> bool {
        let mut state = self.state.lock();
        if state.worker_count > 0 {
            state = self.ended.wait_timeout(&self.state, state, NAP);
        }
        state.worker_count == 0
    }

    /// What came out of all pieces, in the order of keys; the numbers of all files otherwise.
    fn collect(&self) -> core::result::Result<Output, (Error, Vec<u64>)> {
        let mut state = self.state.lock();
        let numbers = core::mem::take(&mut state.numbers);
        if let Some(error) = state.error.take() {
            return Err((error, numbers));
        }
        let mut whole = Output::default();
        for output in &mut state.outputs {
            match output.take() {
                Some(output) => whole.append(output),
                None => {
                    let error = Error::canceled("a thread of the compaction ended too early");
                    return Err((error, numbers));
                }
            }
        }
        match whole.end_sessions() {
            Ok(()) => Ok(whole),
            Err(error) => Err((error, numbers)),
        }
    }
}

/// Where tables of the output level begin; or, where those are few, where partitions of the inputs
/// end. No piece is much shorter than a table.
pub(super) fn boundaries(
    opener: &TableOpener,
    options: &Options,
    plan: &Plan,
) -> Result<Vec<Vec<u8>>> {
    let piece_count = plan.input_len() / options.table_len.max(1);
    let count_max = options.subcompaction_count_max.min(piece_count as usize);
    if count_max < 2 || plan.is_within_level_0() {
        return Ok(Vec::new());
    }
    let mut anchors = Vec::new();
    if plan.lower.len() >= 3 * count_max {
        let metas = plan.lower.iter().map(|table| table.meta());
        anchors.extend(metas.map(|meta| (meta.smallest.clone(), meta.root.len)));
    } else {
        for (_, table) in plan.inputs() {
            // A partition begins where the one before it ends.
            let (meta, reader) = (table.meta(), table.reader(opener)?);
            let count = reader.separators().count().max(1);
            let len = meta.root.len / count as u64;
            let starts = core::iter::once(&*meta.smallest).chain(reader.separators());
            anchors.extend(starts.take(count).map(|key| (key.to_vec(), len)));
        }
        anchors.sort();
    }
    let mut boundaries = split(&anchors, count_max);
    if plan.inputs().any(|(_, table)| table.meta().has_ranges()) {
        // Right behind a key: a range tombstone that is cut there ends with that key, so that the
        // tables on both sides do not overlap. The longest bounds cannot get longer.
        boundaries.retain(|boundary| boundary.len() <= KEY_LEN_MAX);
        boundaries.iter_mut().for_each(|boundary| boundary.push(0));
    }
    Ok(boundaries)
}

fn has_ranges(tables: &[Arc<LiveTable>]) -> bool {
    tables.iter().any(|table| table.meta().has_ranges())
}

impl Db {
    /// Writes the output tables, whole and durable; on an error their files are removed again.
    pub(super) fn merge(&self, plan: &Plan, version: &Arc<Version>) -> Result<Output> {
        let pieces = Arc::new(Subcompactions::new(self, plan, version)?);
        let tasks = self.spawn_workers(&pieces);
        let mut between = || {
            self.check_writable()?;
            self.try_flush().map(drop)
        };
        pieces.work(&mut between);
        while !pieces.wait() {
            if let Err(error) = between() {
                pieces.cancel(error);
            }
        }
        tasks.into_iter().for_each(Task::join);
        if self.is_poisoned() {
            self.wake_all();
        }
        pieces.collect().map_err(|(error, numbers)| {
            self.remove_tables(numbers);
            error
        })
    }

    /// Threads beyond this one, as far as they help and are to be had.
    fn spawn_workers(&self, pieces: &Arc<Subcompactions>) -> Vec<Box<dyn Task>> {
        let block_count = pieces.plan.input_len() / self.options.block_len.max(1) as u64;
        let thread_count = match block_count {
            SHARED_COUNT_MIN.. => THREAD_COUNT_MAX * (pieces.boundaries.len() + 1),
            _ => pieces.boundaries.len() + 1,
        };
        let mut tasks = Vec::new();
        for _ in 1..thread_count {
            let busy = self.extra_workers.fetch_add(1, Ordering::AcqRel) + 1;
            let extra = Extra(Arc::clone(&self.extra_workers));
            if busy >= self.env.spawner.parallelism() {
                break;
            }
            let pieces = Arc::clone(pieces);
            let work = move || {
                let _extra = extra;
                pieces.work(&mut || Ok(()));
            };
            match self.env.spawner.spawn("compaction", Box::new(work)) {
                Some(task) => tasks.push(task),
                None => break,
            }
        }
        tasks
    }
}
