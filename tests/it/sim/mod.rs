//! The engine over simulated media: every operation of several workloads, every fault, power cuts.
//!
//! `COFFER_SIM_CRASHES` sets how many crashes are simulated at least, `COFFER_SEED` the first
//! workload, `COFFER_SIM_CASE` the one case to replay.

mod stress;

use crate::mount::kill::setting;
use coffer_tests::sim::{Case, Plan, Totals, replay, sweep};
use std::thread::available_parallelism;
use std::time::Instant;

fn plan(crash_count_min: u64) -> Plan {
    Plan {
        seed: setting("COFFER_SEED", 1),
        crash_count_min: setting("COFFER_SIM_CRASHES", crash_count_min),
        state_count: 8,
        cut_count: 4,
        stride: 1,
        thread_count: available_parallelism().map_or(2, usize::from),
    }
}

fn run(plan: &Plan) -> Totals {
    let started = Instant::now();
    let totals = sweep(plan, &|totals| {
        let (took, count) = (started.elapsed().as_secs(), totals.crash_count());
        let (workloads, operations) = (totals.workload_count, totals.operation_count);
        eprintln!("{took:5} s: {workloads} workloads, {operations} operations, {count} crashes");
    });
    totals.unwrap_or_else(|finding| panic!("{}", finding.0))
}

fn show(totals: &Totals) {
    eprintln!("fault               runs     crashes  in recovery  named");
    for (kind, tally) in &totals.by_kind {
        let (runs, crashes) = (tally.run_count, tally.crash_count);
        let (again, named) = (tally.recovery_crash_count, tally.named_count);
        let kind = format!("{kind:?}");
        eprintln!("{kind:16} {runs:8} {crashes:10} {again:10} {named:8}");
    }
}

/// A part of it in every run: all operations of the medium are met in turn, by workload.
#[test]
fn whatever_fails_and_whenever_the_power_goes_history_stays_a_prefix() {
    let totals = run(&Plan {
        state_count: 4,
        cut_count: 2,
        stride: 6,
        ..plan(40_000)
    });
    show(&totals);
    assert!(totals.by_kind.values().all(|tally| tally.crash_count > 0));
}

/// All of it: see docs/TESTING.md.
#[test]
#[ignore = "takes a quarter of an hour: COFFER_SIM_CRASHES=1000000"]
fn a_million_crashes() {
    show(&run(&plan(1_000_000)));
}

/// What an earlier run found.
#[test]
#[ignore = "needs COFFER_SIM_CASE"]
fn replay_one_case() {
    let Ok(case) = std::env::var("COFFER_SIM_CASE") else {
        return;
    };
    let case: Case = case.parse().unwrap();
    match replay(case) {
        Ok(tally) => eprintln!("{case} went well: {tally:?}"),
        Err(finding) => panic!("{}", finding.0),
    }
}
