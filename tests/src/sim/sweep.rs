//! Every operation of a workload, every fault, and the power cut around it.
//!
//! - The workload is cut into stretches between two openings; each begins on a copy of the medium, so
//!   that no fault makes the whole workload run again.
//! - Workloads are spread over threads; each is simulated on one.

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use super::machine::Machine;
use super::model::Model;
use super::workload::{Op, Workload};
use super::{Case, Finding, Kind, recovery};
use crate::crash::{CrashFs, Record};
use crate::random::Rng;

/// How much is tried.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    /// The first workload.
    pub seed: u64,
    /// Workloads are begun until so many crashes were simulated.
    pub crash_count_min: u64,
    /// States tried for each change before which the power is cut.
    pub state_count: u64,
    /// Cuts after each fault.
    pub cut_count: usize,
    /// Of how many operations one meets its faults: 1 for all. Another one for each workload.
    pub stride: usize,
    /// Threads.
    pub thread_count: usize,
}

/// What was tried of one kind.
#[derive(Clone, Copy, Debug, Default)]
pub struct Tally {
    /// Runs with this fault.
    pub run_count: u64,
    /// Power cuts, each with a recovery that was checked.
    pub crash_count: u64,
    /// Power cuts during or after such a recovery, each with a recovery that was checked.
    pub recovery_crash_count: u64,
    /// Damage that was named.
    pub named_count: u64,
}

/// What was tried.
#[derive(Clone, Debug, Default)]
pub struct Totals {
    /// Workloads.
    pub workload_count: u64,
    /// Operations of the medium that met faults.
    pub operation_count: u64,
    /// By kind of fault.
    pub by_kind: BTreeMap<Kind, Tally>,
}

impl Totals {
    /// All simulated crashes.
    #[must_use]
    pub fn crash_count(&self) -> u64 {
        let all = |tally: &Tally| tally.crash_count + tally.recovery_crash_count;
        self.by_kind.values().map(all).sum()
    }

    fn add(&mut self, other: &Self) {
        self.workload_count += other.workload_count;
        self.operation_count += other.operation_count;
        for (kind, tally) in &other.by_kind {
            let sum = self.by_kind.entry(*kind).or_default();
            sum.run_count += tally.run_count;
            sum.crash_count += tally.crash_count;
            sum.recovery_crash_count += tally.recovery_crash_count;
            sum.named_count += tally.named_count;
        }
    }
}

/// Calls after a fault before the power is cut.
const TAIL_LEN: usize = 12;

/// Where a stretch begins.
struct Stretch {
    seed: u64,
    index: usize,
    op: usize,
    medium: CrashFs,
    model: Model,
}

impl Stretch {
    fn first(seed: u64) -> Self {
        Self {
            seed,
            index: 0,
            op: 0,
            medium: CrashFs::new(),
            model: Model::new(),
        }
    }

    /// Runs it: to its end without a fault, or for a while after the fault.
    fn run<'a>(
        &self,
        workload: &'a Workload,
        kind: Kind,
        at: usize,
    ) -> Result<(Machine<'a>, usize), Finding> {
        let (medium, model) = (self.medium.fork(), self.model.clone());
        let mut machine = Machine::new(workload, self.op, medium, model, kind, at);
        let mut hit_at = 0;
        let mut tail_len = TAIL_LEN;
        while let Some(op) = machine.next_op() {
            let is_cut = matches!(op, Op::Cut(_));
            let has_fault = kind.fault(0).is_some();
            if has_fault && is_cut {
                break;
            }
            let before = machine.medium.change_count();
            let goes_on = machine.step()?;
            if machine.is_hit() {
                if tail_len == TAIL_LEN {
                    hit_at = before;
                }
                tail_len -= 1;
            }
            if !goes_on || tail_len == 0 || (!has_fault && op.is_end()) {
                break;
            }
        }
        machine.check_at_end()?;
        Ok((machine, hit_at))
    }

    /// The next one, after a run without a fault that took `op_count` operations.
    fn next(&self, workload: &Workload, machine: &Machine<'_>) -> Option<Self> {
        let ops = workload.ops[self.op..].iter();
        let op = self.op + 1 + ops.clone().take_while(|op| !op.is_end()).count();
        let medium = match workload.ops.get(op - 1) {
            Some(Op::Cut(seed)) => machine.medium.crash(*seed),
            _ => machine.medium.fork(),
        };
        (op < workload.ops.len()).then(|| Self {
            seed: self.seed,
            index: self.index + 1,
            op,
            medium,
            model: machine.model.clone(),
        })
    }

    fn case(&self, kind: Kind, at: usize, cut: usize, state: u64) -> Case {
        Case {
            seed: self.seed,
            stretch: self.index,
            kind,
            at,
            cut,
            state,
        }
    }
}

/// The seed of all that is random about a case.
fn seed_of(case: &Case) -> u64 {
    let fields = [
        case.seed,
        case.stretch as u64,
        case.kind as u64,
        case.at as u64,
        case.cut as u64,
        case.state,
    ];
    fields
        .into_iter()
        .fold(0, |seed, field| Rng::new(seed ^ field).next_u64())
}

fn named(case: &Case, record: Option<&Record>, finding: Finding) -> Finding {
    let log = record.map_or_else(String::new, |record| record.describe(case.cut));
    Finding(format!(
        "case {case}: {}\n{log}replay with:\n  COFFER_SIM_CASE={case} cargo test -p coffer-tests \
         --test it replay_one_case -- --ignored --nocapture",
        finding.0
    ))
}

/// Runs `work`; a panic is a finding, too.
fn guarded<T>(work: impl FnOnce() -> Result<T, Finding>) -> Result<T, Finding> {
    catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<String>().cloned();
        let text = text.or_else(|| panic.downcast_ref::<&str>().map(ToString::to_string));
        Err(Finding(format!("panic: {}", text.unwrap_or_default())))
    })
}

/// One workload: all its stretches.
fn sweep_one(seed: u64, plan: &Plan, ends: &AtomicBool) -> Result<Totals, Finding> {
    let workload = Workload::new(seed);
    let mut totals = Totals {
        workload_count: 1,
        ..Totals::default()
    };
    let mut stretch = Some(Stretch::first(seed));
    while let Some(here) = stretch {
        let case = here.case(Kind::PowerCut, 0, 0, 0);
        let run = guarded(|| here.run(&workload, Kind::PowerCut, 0));
        let (machine, _) = run.map_err(|finding| named(&case, None, finding))?;
        cut_everywhere(&here, &machine, plan, &mut totals)?;
        let operations = machine.faults.operations();
        for (at, on) in operations.iter().enumerate() {
            if !(at + seed as usize).is_multiple_of(plan.stride) || ends.load(Ordering::Relaxed) {
                continue;
            }
            totals.operation_count += 1;
            for kind in Kind::ALL {
                let fault = kind.fault(at as u64);
                if fault.is_some_and(|(fault, _)| fault.is_possible(*on)) {
                    let tally = totals.by_kind.entry(kind).or_default();
                    fail_one(&here, &workload, kind, at, plan, tally)?;
                }
            }
        }
        stretch = here.next(&workload, &machine);
    }
    Ok(totals)
}

/// Cuts the power before every change, and after the last one.
fn cut_everywhere(
    here: &Stretch,
    machine: &Machine<'_>,
    plan: &Plan,
    totals: &mut Totals,
) -> Result<(), Finding> {
    let record = machine.medium.record();
    let mut replay = record.replay();
    for kind in [Kind::PowerCut, Kind::Rot] {
        totals.by_kind.entry(kind).or_default().run_count += 1;
    }
    for cut in 0..=record.change_count() {
        replay.go_to(cut);
        for state in 0..plan.state_count {
            // A bit turns in one state of four.
            let kind = if state % 4 == 3 {
                Kind::Rot
            } else {
                Kind::PowerCut
            };
            let case = here.case(kind, 0, cut, state);
            let seed = seed_of(&case);
            let tally = totals.by_kind.entry(kind).or_default();
            let medium = replay.crash(seed);
            guarded(|| recovery::check(machine, kind, medium, cut, seed, tally))
                .map_err(|finding| named(&case, Some(&record), finding))?;
        }
    }
    Ok(())
}

/// One operation meets one fault; the power goes some time after.
fn fail_one(
    here: &Stretch,
    workload: &Workload,
    kind: Kind,
    at: usize,
    plan: &Plan,
    tally: &mut Tally,
) -> Result<(), Finding> {
    let case = here.case(kind, at, 0, 0);
    let run = guarded(|| here.run(workload, kind, at));
    let (machine, hit_at) = run.map_err(|finding| named(&case, None, finding))?;
    tally.run_count += 1;
    let record = machine.medium.record();
    let last = record.change_count();
    let mut rng = Rng::new(seed_of(&case));
    // Soon after the fault, at the end, and somewhere between.
    let mut cuts = vec![last.min(hit_at + 1 + rng.below(4))];
    cuts.extend((1..plan.cut_count).map(|index| match index {
        1 => last,
        _ => hit_at + rng.below(last - hit_at + 1),
    }));
    for (state, cut) in cuts.into_iter().enumerate() {
        check_case(
            &machine,
            &record,
            here.case(kind, at, cut, state as u64),
            tally,
        )?;
    }
    Ok(())
}

fn check_case(
    machine: &Machine<'_>,
    record: &Record,
    case: Case,
    tally: &mut Tally,
) -> Result<(), Finding> {
    let seed = seed_of(&case);
    guarded(|| {
        let medium = record.crash(case.cut, seed);
        recovery::check(machine, case.kind, medium, case.cut, seed, tally)
    })
    .map_err(|finding| named(&case, Some(record), finding))
}

/// Simulates one case again.
///
/// # Errors
/// What should not be.
pub fn replay(case: Case) -> Result<Tally, Finding> {
    let workload = Workload::new(case.seed);
    let mut here = Stretch::first(case.seed);
    for _ in 0..case.stretch {
        let (machine, _) = here.run(&workload, Kind::PowerCut, 0)?;
        let next = here.next(&workload, &machine);
        here = next.ok_or_else(|| Finding("there is no such stretch".to_owned()))?;
    }
    let run = guarded(|| here.run(&workload, case.kind, case.at));
    let (machine, _) = run.map_err(|finding| named(&case, None, finding))?;
    let mut tally = Tally::default();
    check_case(&machine, &machine.medium.record(), case, &mut tally)?;
    Ok(tally)
}

/// Simulates workload after workload on several threads; `progress` hears of each that ends.
///
/// # Errors
/// The first thing that should not be.
pub fn sweep(plan: &Plan, progress: &(dyn Fn(&Totals) + Sync)) -> Result<Totals, Finding> {
    let next_seed = AtomicU64::new(plan.seed);
    let ends = AtomicBool::new(false);
    let totals = Mutex::new(Totals::default());
    let work = || -> Result<(), Finding> {
        while !ends.load(Ordering::Relaxed) {
            let seed = next_seed.fetch_add(1, Ordering::Relaxed);
            let done = sweep_one(seed, plan, &ends);
            let done = done.inspect_err(|_| ends.store(true, Ordering::Relaxed))?;
            let mut totals = totals.lock().unwrap();
            totals.add(&done);
            progress(&totals);
            let is_enough = totals.crash_count() >= plan.crash_count_min;
            ends.fetch_or(is_enough, Ordering::Relaxed);
        }
        Ok(())
    };
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..plan.thread_count).map(|_| scope.spawn(work)).collect();
        let joined = threads.into_iter().map(|thread| thread.join().unwrap());
        joined.collect::<Result<Vec<()>, Finding>>()
    })?;
    Ok(totals.into_inner().unwrap())
}
