//! What comes back after the power went, and whether it may.
//!
//! - A recovery may meet a fault and the power may go again during it: what the next one finds is
//!   bound by the same promises, and what one recovery found every later one finds.
//! - Damage may cost an answer, never change one.

use coffer_engine::env::Fs;
use coffer_engine::{ErrorKind, Result};
use std::sync::Arc;

use super::machine::{Machine, Mark};
use super::model::{Annex, Keys, Model, Moment};
use super::store::{Store, Trouble};
use super::workload::{KEY_COUNT, Workload};
use super::{Finding, Kind, Tally};
use crate::crash::CrashFs;
use crate::fault::{FaultFs, Rule};
use crate::random::Rng;

/// Operations of the medium among which a fault meets a recovery.
const RECOVERY_LEN: usize = 80;

/// Faults that a recovery meets: those that leave the disk whole.
const FAULTS: [Kind; 6] = [
    Kind::Io,
    Kind::NoSpace,
    Kind::Full,
    Kind::TornAppend,
    Kind::ShortRead,
    Kind::LostSync,
];

/// What may be found after one cut.
struct Allowed<'a> {
    workload: &'a Workload,
    model: &'a Model,
    keys: &'a [Keys],
    annex: &'a [Annex],
    /// The disk was damaged: a named error will do.
    is_damaged: bool,
}

/// How `found` differs from the nearest of `allowed`.
pub(super) fn differ(found: &Keys, allowed: &[Keys]) -> String {
    let against = |state: &Keys| -> Vec<String> {
        (0..KEY_COUNT)
            .filter(|index| found[*index] != state[*index])
            .map(|index| format!("key {index} is {}, not {}", found[index], state[index]))
            .collect()
    };
    let nearest = allowed.iter().map(against).min_by_key(Vec::len);
    nearest.unwrap_or_default().join(", ")
}

fn open(workload: &Workload, medium: &CrashFs, seed: u64) -> Result<Store> {
    let fs: Arc<dyn Fs> = Arc::new(medium.clone());
    Store::open(&workload.options, Arc::clone(&fs), fs, seed)
}

/// The moments that bound what a cut before change `cut` may leave.
fn bounds(marks: &[Mark], cut: usize) -> (Mark, Mark) {
    let answered = marks.iter().rev().find(|mark| mark.end <= cut);
    let asked = marks.iter().rev().find(|mark| mark.start <= cut);
    let first = marks[0];
    (
        answered.copied().unwrap_or(first),
        asked.copied().unwrap_or(first),
    )
}

/// Checks what `medium` holds after the power went before change `cut` of what `machine` did.
pub(super) fn check(
    machine: &Machine<'_>,
    kind: Kind,
    medium: CrashFs,
    cut: usize,
    seed: u64,
    tally: &mut Tally,
) -> std::result::Result<(), Finding> {
    let mut rng = Rng::new(seed);
    let (answered, asked) = bounds(&machine.marks, cut);
    let slack = kind.slack(false, machine.faults.astray_len());
    let model = &machine.model;
    let allowed = Allowed {
        workload: machine.workload,
        model,
        keys: model.keys.allowed(answered.keys, asked.keys, slack),
        annex: model.annex.allowed(answered.annex, asked.annex, slack),
        is_damaged: kind == Kind::Rot || (kind.is_damage() && machine.is_hit()),
    };
    if kind == Kind::Rot {
        medium.rot(rng.next_u64());
    }
    tally.crash_count += 1;
    let medium = if rng.chance(30) && !allowed.is_damaged {
        tally.recovery_crash_count += 1;
        interrupt(&allowed, &medium, &mut rng)?
    } else {
        medium
    };
    check_checkpoints(machine, &medium, cut, &allowed)?;
    let Some((keys, annex)) = recover(&allowed, &medium, tally)? else {
        return Ok(());
    };
    if allowed.is_damaged {
        return Ok(());
    }
    cut_recovery(&allowed, &medium, (keys, annex), &mut rng, tally)?;
    if rng.chance(15) {
        go_on(&allowed, &medium, (keys, annex), &mut rng, tally)?;
    }
    Ok(())
}

/// A recovery that meets a fault, and what is left when the power goes then.
fn interrupt(
    allowed: &Allowed<'_>,
    medium: &CrashFs,
    rng: &mut Rng,
) -> std::result::Result<CrashFs, Finding> {
    let faults = FaultFs::before(medium);
    let at = rng.below(RECOVERY_LEN) as u64;
    let kind = *rng.pick(&FAULTS);
    if let Some((fault, count)) = kind.fault(at) {
        faults.add(Rule::any(fault).times_after(count, at));
    }
    let fs: Arc<dyn Fs> = Arc::new(faults.clone());
    let opened = Store::open(
        &allowed.workload.options,
        Arc::clone(&fs),
        fs,
        rng.next_u64(),
    );
    let what = format!("recovery with {kind:?} at {at}");
    match opened {
        Ok(store) => match store.dump(allowed.model) {
            Ok(keys) if !allowed.keys.contains(&keys) => {
                let what = format!("{what}: {}", differ(&keys, allowed.keys));
                return Err(Finding(what));
            }
            Err(Trouble::Wrong(wrong)) => return Err(Finding(format!("{what}: {wrong}"))),
            _ => {}
        },
        Err(error) if faults.hit_count() == 0 => {
            return Err(Finding(format!("{what}: does not open: {error:?}")));
        }
        Err(_) => {}
    }
    Ok(medium.crash(rng.next_u64()))
}

/// Opens, reads everything, verifies every block. `None`: damage, named as such.
fn recover(
    allowed: &Allowed<'_>,
    medium: &CrashFs,
    tally: &mut Tally,
) -> std::result::Result<Option<(Keys, Annex)>, Finding> {
    let store = match open(allowed.workload, medium, 77) {
        Ok(store) => store,
        Err(error) if allowed.is_damaged && is_damage(error.kind()) => {
            tally.named_count += 1;
            return Ok(None);
        }
        Err(error) => return Err(Finding(format!("does not open: {error:?}"))),
    };
    let annex = store.annex();
    if !allowed.annex.contains(&annex) {
        let what = format!("annex {annex:?} is none of {:?}", allowed.annex);
        return Err(Finding(what));
    }
    let keys = match store.dump(allowed.model) {
        Ok(keys) => keys,
        Err(Trouble::Wrong(what)) => return Err(Finding(what)),
        Err(Trouble::Named(error)) if allowed.is_damaged && is_damage(error.kind()) => {
            tally.named_count += 1;
            check_readable(allowed, &store)?;
            return Ok(None);
        }
        Err(Trouble::Named(error)) => return Err(Finding(format!("not readable: {error:?}"))),
    };
    if !allowed.keys.contains(&keys) {
        let count = allowed.keys.len();
        let what = differ(&keys, allowed.keys);
        return Err(Finding(format!("none of {count} states: {what}")));
    }
    // The torn end of a log goes with the log, once what it held is in tables.
    match store.settle().and_then(|()| store.verify(medium)) {
        Ok(None) => {}
        _ if allowed.is_damaged => {}
        found => return Err(Finding(format!("not whole after recovery: {found:?}"))),
    }
    Ok(Some((keys, annex)))
}

const fn is_damage(kind: ErrorKind) -> bool {
    matches!(
        kind,
        ErrorKind::Corruption | ErrorKind::Authentication | ErrorKind::Unsupported
    )
}

/// The keys that can be read must be those of one state.
fn check_readable(allowed: &Allowed<'_>, store: &Store) -> std::result::Result<(), Finding> {
    let mut found = Vec::new();
    for index in 0..KEY_COUNT {
        match store.read(allowed.model, index, None) {
            Ok(number) => found.push((index, number)),
            Err(Trouble::Wrong(what)) => return Err(Finding(what)),
            Err(Trouble::Named(_)) => {}
        }
    }
    let fits = |state: &Keys| found.iter().all(|(index, number)| state[*index] == *number);
    if allowed.keys.iter().any(fits) {
        return Ok(());
    }
    Err(Finding(format!("answers of no state: {found:?}")))
}

/// The power goes during the recovery: the next one finds the same.
fn cut_recovery(
    allowed: &Allowed<'_>,
    medium: &CrashFs,
    found: (Keys, Annex),
    rng: &mut Rng,
    tally: &mut Tally,
) -> std::result::Result<(), Finding> {
    tally.recovery_crash_count += 1;
    let record = medium.record();
    let at = rng.below(record.change_count() + 1);
    let after = record.crash(at, rng.next_u64());
    let what = |what: String| Finding(format!("cut again before {at} of the recovery: {what}"));
    let store = open(allowed.workload, &after, 78)
        .map_err(|error| what(format!("does not open: {error:?}\n{}", record.describe(at))))?;
    let keys = store.scan(allowed.model, None);
    let keys = keys.map_err(|trouble| what(format!("{trouble:?}")))?;
    if keys != found.0 || store.annex() != found.1 {
        return Err(what(format!(
            "another state: {}",
            differ(&keys, &[found.0])
        )));
    }
    Ok(())
}

/// Opens again, which changes nothing, goes on working, and the power goes once more.
fn go_on(
    allowed: &Allowed<'_>,
    medium: &CrashFs,
    found: (Keys, Annex),
    rng: &mut Rng,
    tally: &mut Tally,
) -> std::result::Result<(), Finding> {
    tally.recovery_crash_count += 1;
    let mut model = allowed.model.clone();
    model.keys.resume(found.0);
    model.annex.resume(found.1);
    let workload = allowed.workload;
    let first = rng.below(workload.ops.len() - 8);
    let after = medium.fork();
    let mut machine = Machine::new(workload, first, after, model, Kind::PowerCut, 0);
    let what = |what: Finding| Finding(format!("going on with operation {first}: {}", what.0));
    for _ in 0..3 + rng.below(5) {
        if machine.next_op().is_some_and(|op| !op.is_end()) {
            machine.step().map_err(what)?;
        }
    }
    let record = machine.medium.record();
    let at = rng.below(record.change_count() + 1);
    let (answered, asked) = bounds(&machine.marks, at);
    let moments = |moment: fn(&Mark) -> Moment| (moment(&answered), moment(&asked));
    let (keys, annex) = (moments(|mark| mark.keys), moments(|mark| mark.annex));
    let next = Allowed {
        workload,
        model: &machine.model,
        keys: machine.model.keys.allowed(keys.0, keys.1, 0),
        annex: machine.model.annex.allowed(annex.0, annex.1, 0),
        is_damaged: false,
    };
    let after = record.crash(at, rng.next_u64());
    let found = recover(&next, &after, tally);
    let shown = |finding: Finding| {
        let log = record.describe(at);
        Finding(format!("then cut before {at}: {}\n{log}", finding.0))
    };
    found.map(drop).map_err(shown).map_err(what)
}

/// A checkpoint that was answered is a store with what was there then; one that was not is the same,
/// or an empty directory, or says what is missing.
fn check_checkpoints(
    machine: &Machine<'_>,
    medium: &CrashFs,
    cut: usize,
    allowed: &Allowed<'_>,
) -> std::result::Result<(), Finding> {
    for checkpoint in &machine.checkpoints {
        if checkpoint.start > cut {
            continue;
        }
        let is_done = checkpoint.end.is_some_and(|end| end <= cut);
        let fs: Arc<dyn Fs> = Arc::new(medium.fork().directory(checkpoint.directory));
        let values: Arc<dyn Fs> = Arc::new(medium.clone());
        let opened = Store::open(&allowed.workload.options, fs, values, 79);
        let what = |what: String| Err(Finding(format!("checkpoint, done: {is_done}: {what}")));
        let found = match opened {
            Ok(store) => store.dump(allowed.model),
            Err(error) => Err(Trouble::Named(error)),
        };
        match found {
            Ok(keys) if keys == checkpoint.keys => {}
            Ok(keys) if !is_done && keys == [0; KEY_COUNT] => {}
            Ok(keys) => return what(differ(&keys, &[checkpoint.keys])),
            Err(trouble) => {
                let is_named = trouble.named().is_some_and(|error| is_damage(error.kind()));
                let may_fail = !is_done || checkpoint.is_doubtful || allowed.is_damaged;
                if !is_named || !may_fail {
                    return what(format!("{trouble:?}"));
                }
            }
        }
    }
    Ok(())
}
