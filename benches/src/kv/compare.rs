//! The run: rounds over lengths of values over engines, the order turning with each round.
//!
//! Whatever one engine does wrong costs it one phase in one round (and those that need its store).

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use crate::failure::{Context, Failure, Outcome};
use crate::kv::engine::{Kind, Packing};
use crate::kv::phase::{Phase, Values};
use crate::kv::report::{Column, Line, Report, Table};
use crate::kv::rows::{Row, Scale, Size};
use crate::kv::step::Step;
use crate::machine::{self, Machine};
use crate::process::Interrupt;
use crate::workdir::WorkDir;

/// Bytes that must be free before a run begins.
const FREE_LEN_MIN: u64 = 3 << 30;

/// What to run.
#[derive(Debug)]
pub struct Plan<'a> {
    /// Where everything is put.
    pub dir: &'a Path,
    /// The engines under test.
    pub engines: Vec<(&'static str, Kind)>,
    /// The rows.
    pub rows: Vec<&'static Row>,
    /// The lengths of values.
    pub value_lens: Vec<usize>,
    /// How often each row is measured.
    pub round_count: usize,
    /// How much work each row is.
    pub scale: Scale,
    /// How values are made smaller.
    pub packing: Packing,
    /// How long one step may take.
    pub step_limit: Duration,
}

impl Plan<'_> {
    /// The phases that the wanted rows need, in order.
    #[must_use]
    pub fn phases(&self) -> Vec<Phase> {
        let wanted = |phase: Phase| self.rows.iter().any(|row| row.phase == phase);
        let only_memory = self.rows.iter().all(|row| row.phase == Phase::Memory);
        let needs_load = Phase::ALL
            .into_iter()
            .any(|phase| wanted(phase) && phase.needs_load());
        let runs =
            |phase: &Phase| only_memory || wanted(*phase) || (*phase == Phase::Load && needs_load);
        Phase::ALL.into_iter().filter(runs).collect()
    }

    /// Runs everything; `progress` is told what is being done.
    ///
    /// # Errors
    /// When the run cannot begin, or the person asked to stop.
    pub fn run(&self, interrupt: &Interrupt, progress: &mut dyn FnMut(&str)) -> Outcome<Report> {
        if self.engines.is_empty() || self.round_count == 0 {
            return Err(Failure::new("nothing to measure: no engine or no round"));
        }
        let start = Instant::now();
        let work = WorkDir::create(self.dir, "kv-compare")?;
        machine::require_free(work.root(), FREE_LEN_MIN)?;
        let mut report = Report {
            machine: Machine::describe(work.root()),
            round_count: self.round_count,
            scale: self.scale,
            packing: self.packing,
            columns: self
                .engines
                .iter()
                .map(|(name, kind)| self.column(name, *kind))
                .collect(),
            tables: self.value_lens.iter().map(|len| self.table(*len)).collect(),
            seconds: 0.0,
        };
        for round in 0..self.round_count {
            for table in &mut report.tables {
                for turn in 0..self.engines.len() {
                    let (name, kind) = self.engines[(turn + round) % self.engines.len()];
                    if kind.missing().is_some() {
                        continue;
                    }
                    let word = crate::kv::rows::size_word(table.size.value_len);
                    progress(&format!("round {}: values of {word} in {name}", round + 1));
                    let pass = Pass {
                        plan: self,
                        name,
                        kind,
                        size: table.size,
                        root: work.root(),
                        interrupt,
                    };
                    pass.run(table, progress)?;
                }
            }
        }
        report.seconds = start.elapsed().as_secs_f64();
        report.finish();
        Ok(report)
    }

    fn column(&self, name: &str, kind: Kind) -> Column {
        let missing = kind.missing();
        let (settings, durability) = match missing {
            None => kind.describe(self.packing),
            Some(_) => Default::default(),
        };
        Column {
            name: name.into(),
            settings,
            durability,
            missing: missing.map(Into::into),
        }
    }

    fn table(&self, value_len: usize) -> Table {
        Table {
            size: self.scale.size(value_len),
            lines: self.rows.iter().map(|row| Line::new(row)).collect(),
        }
    }
}

/// One engine with one length of values in one round.
struct Pass<'a> {
    plan: &'a Plan<'a>,
    name: &'static str,
    kind: Kind,
    size: Size,
    root: &'a Path,
    interrupt: &'a Interrupt,
}

impl Pass<'_> {
    fn run(&self, table: &mut Table, progress: &mut dyn FnMut(&str)) -> Outcome<()> {
        let place = self.root.join(self.name);
        fresh(&place)?;
        let mut memory: f64 = 0.0;
        let mut loaded = true;
        for phase in self.plan.phases() {
            let rows: Vec<&Row> = self.rows_of(phase);
            if let (Some(why), false) = (phase.needs_log(), self.promises_log()) {
                table.note_cannot(self.name, &rows, why);
                continue;
            }
            if phase.needs_load() && !loaded {
                table.note(
                    self.name,
                    &rows,
                    &Values::new(),
                    Some("its store was not made"),
                );
                continue;
            }
            match self.phase(phase, &place) {
                Ok(values) => {
                    memory = memory.max(values.get("memory").copied().unwrap_or(0.0));
                    table.note(self.name, &rows, &values, None);
                }
                Err(failure) if failure.interrupted => return Err(failure),
                Err(failure) => {
                    progress(&format!("{} of {}: {failure}", phase.word(), self.name));
                    loaded &= phase != Phase::Load;
                    table.note(self.name, &rows, &Values::new(), Some(&failure.what));
                }
            }
        }
        let values = Values::from([("memory".to_owned(), memory)]);
        table.note(self.name, &self.rows_of(Phase::Memory), &values, None);
        fs::remove_dir_all(&place).context(place.display())
    }

    fn rows_of(&self, phase: Phase) -> Vec<&'static Row> {
        let rows = self.plan.rows.iter().copied();
        rows.filter(|row| row.phase == phase).collect()
    }

    fn promises_log(&self) -> bool {
        self.kind
            .promise(self.plan.packing, self.size.value_len)
            .logs
    }

    fn phase(&self, phase: Phase, place: &Path) -> Outcome<Values> {
        let shared = phase.needs_load() || phase == Phase::Load;
        let dir = place.join(if shared { "store" } else { phase.word() });
        if !dir.exists() {
            fs::create_dir(&dir).context(dir.display())?;
        }
        let mut all = Values::new();
        for half in 0..phase.halves() {
            let step = Step {
                engine: self.name.into(),
                dir: dir.clone(),
                packing: self.plan.packing,
                size: self.size,
                scale: self.plan.scale,
                phase,
                half,
            };
            let values = step.in_child(place, self.plan.step_limit, self.interrupt)?;
            for (name, value) in values {
                let seen = all.entry(name).or_insert(value);
                *seen = value.max(*seen);
            }
        }
        if !shared {
            fs::remove_dir_all(&dir).context(dir.display())?;
        }
        Ok(all)
    }
}

fn fresh(dir: &Path) -> Outcome<()> {
    if dir.exists() {
        fs::remove_dir_all(dir).context(dir.display())?;
    }
    fs::create_dir(dir).context(dir.display())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kv::rows::select;

    fn plan<'a>(words: &[&str], dir: &'a Path) -> Plan<'a> {
        let words: Vec<String> = words.iter().map(|word| (*word).to_owned()).collect();
        Plan {
            dir,
            engines: vec![],
            rows: select(&words).unwrap(),
            value_lens: vec![],
            round_count: 1,
            scale: Scale::QUICK,
            packing: Packing::Own,
            step_limit: Duration::from_secs(1),
        }
    }

    #[test]
    fn phases_bring_what_they_need() {
        let dir = Path::new("/");
        assert_eq!(
            plan(&["get-cold"], dir).phases(),
            [Phase::Load, Phase::Read]
        );
        assert_eq!(plan(&["sync"], dir).phases(), [Phase::Sync]);
        assert_eq!(plan(&["memory"], dir).phases(), Phase::ALL);
        assert_eq!(plan(&[], dir).phases(), Phase::ALL);
        assert!(
            plan(&[], dir)
                .run(&Interrupt::default(), &mut |_| ())
                .is_err()
        );
    }
}
