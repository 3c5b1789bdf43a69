//! The run: rounds over groups over subjects, the order of subjects turning with each round.
//!
//! Whatever one subject does wrong costs it the rest of that group in that round, nothing else.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use crate::failure::{Failure, Outcome};
use crate::group::{self, Bed, Scale, Sheet};
use crate::machine::{self, Machine};
use crate::process::Interrupt;
use crate::report::{Column, Line, Report};
use crate::rows::{Group, Row};
use crate::sources::{self, Sources};
use crate::subject::{Session, Subject};
use crate::workdir::WorkDir;

/// What to run.
#[derive(Debug)]
pub struct Plan<'a> {
    /// Where everything is put.
    pub dir: &'a Path,
    /// The file systems under test.
    pub subjects: &'a [Box<dyn Subject>],
    /// The rows.
    pub rows: Vec<&'static Row>,
    /// How often each row is measured.
    pub round_count: usize,
    /// How much work each row is.
    pub scale: Scale,
    /// How long one step may take.
    pub step_limit: Duration,
}

impl Plan<'_> {
    fn wants(&self, group: Group) -> bool {
        self.rows.iter().any(|row| row.group == group)
    }

    /// Groups to run: with only the memory row wanted, everything that may take memory.
    fn groups(&self) -> Vec<Group> {
        let only_memory = self.rows.iter().all(|row| row.group == Group::Memory);
        let wanted = |group: &Group| *group != Group::Memory && (only_memory || self.wants(*group));
        Group::ALL.into_iter().filter(wanted).collect()
    }

    /// Runs everything; `progress` is told what is being done.
    ///
    /// # Errors
    /// When the run cannot begin, or the person asked to stop.
    pub fn run(&self, interrupt: &Interrupt, progress: &mut dyn FnMut(&str)) -> Outcome<Report> {
        let work = WorkDir::create(self.dir, "fs-compare")?;
        machine::require_free(work.root(), self.scale.free_len_min())?;
        let sources = self.gather(&work, interrupt, progress)?;
        let mut report = Report {
            machine: Machine::describe(work.root()),
            round_count: self.round_count,
            scale: self.scale,
            sources,
            columns: self
                .subjects
                .iter()
                .map(|subject| Column::of(subject.as_ref()))
                .collect(),
            lines: self.rows.iter().map(|row| Line::new(row)).collect(),
            verdicts: Vec::new(),
        };
        let mut seen = Seen::default();
        for round in 0..self.round_count {
            self.round(round, &work, interrupt, progress, &mut report, &mut seen)?;
        }
        seen.compare(&mut report);
        report.finish();
        Ok(report)
    }

    fn gather(
        &self,
        work: &WorkDir,
        interrupt: &Interrupt,
        progress: &mut dyn FnMut(&str),
    ) -> Outcome<Option<Sources>> {
        let groups = self.groups();
        if !groups.contains(&Group::Tree) && !groups.contains(&Group::Git) {
            return Ok(None);
        }
        progress("gathering source text");
        let with_repository = groups.contains(&Group::Git);
        let count = self.scale.file_count;
        let dir = work.root();
        Sources::gather(dir, &sources::roots(), count, with_repository, interrupt).map(Some)
    }

    fn round(
        &self,
        round: usize,
        work: &WorkDir,
        interrupt: &Interrupt,
        progress: &mut dyn FnMut(&str),
        report: &mut Report,
        seen: &mut Seen,
    ) -> Outcome<()> {
        let sources = report.sources.clone();
        let bed = Bed {
            scale: self.scale,
            sources: sources.as_ref(),
            wanted: &self.rows,
            scratch: work.root(),
        };
        let mut peaks: BTreeMap<&'static str, u64> = BTreeMap::new();
        for group in self.groups() {
            let rows: Vec<&Row> = self
                .rows
                .iter()
                .copied()
                .filter(|row| row.group == group)
                .collect();
            for turn in 0..self.subjects.len() {
                let subject = self.subjects[(turn + round) % self.subjects.len()].as_ref();
                if subject.missing().is_some() {
                    continue;
                }
                let (name, number) = (subject.name(), round + 1);
                progress(&format!("round {number}: {} on {name}", group.word()));
                let mut sheet = Sheet::default();
                let result = self.pass(
                    group, subject, work, &bed, interrupt, &mut sheet, &mut peaks,
                );
                let why = match result {
                    Err(failure) if failure.interrupted => return Err(failure),
                    Err(failure) => {
                        progress(&format!(
                            "round {number}: {} on {name}: {failure}",
                            group.word()
                        ));
                        Some(failure.what)
                    }
                    Ok(()) => None,
                };
                report.note(name, &rows, &sheet, why.as_deref());
                seen.add(name, &sheet);
            }
        }
        for (name, peak) in peaks {
            let mut sheet = Sheet::default();
            sheet.values.insert("memory", peak as f64);
            report.note(name, &self.rows, &sheet, None);
        }
        Ok(())
    }

    #[expect(
        clippy::too_many_arguments,
        reason = "one call site; a struct would only rename them"
    )]
    fn pass(
        &self,
        group: Group,
        subject: &dyn Subject,
        work: &WorkDir,
        bed: &Bed<'_>,
        interrupt: &Interrupt,
        sheet: &mut Sheet,
        peaks: &mut BTreeMap<&'static str, u64>,
    ) -> Outcome<()> {
        machine::require_free(work.root(), self.scale.free_len_min())?;
        let place = work.place(subject.name())?;
        let mut session = Session::start(subject, place, work.root(), interrupt, self.step_limit)?;
        let result = group::run(group, &mut session, bed, sheet);
        let left = if result.is_ok() {
            session.leave().map(drop)
        } else {
            Ok(())
        };
        if let Some(peak) = session.peak_memory() {
            let highest = peaks.entry(subject.name()).or_default();
            *highest = peak.max(*highest);
        }
        drop(session);
        let removed = work.remove(subject.name());
        result.and(left).and(removed)
    }
}

/// What each subject saw in each row, to prove that all did the same work.
#[derive(Debug, Default)]
struct Seen(BTreeMap<&'static str, BTreeMap<&'static str, u64>>);

impl Seen {
    fn add(&mut self, name: &'static str, sheet: &Sheet) {
        for (row, seen) in &sheet.checks {
            self.0.entry(row).or_default().insert(name, *seen);
        }
    }

    fn compare(&self, report: &mut Report) {
        for line in &mut report.lines {
            let Some(seen) = self.0.get(line.row.name) else {
                continue;
            };
            let mut counts: Vec<u64> = seen.values().copied().collect();
            counts.dedup();
            if counts.len() > 1 {
                let each = seen
                    .iter()
                    .map(|(name, count)| format!("{name} {count} lines"));
                line.differs = Some(each.collect::<Vec<_>>().join(", "));
            }
        }
    }
}

/// Stops a plan without subjects or rounds.
///
/// # Errors
/// When there is nothing to do.
pub fn check(plan: &Plan<'_>) -> Outcome<()> {
    if plan.subjects.is_empty() || plan.round_count == 0 || plan.rows.is_empty() {
        return Err(Failure::new(
            "nothing to measure: no subject, no row or no round",
        ));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rows;

    #[test]
    fn different_work_is_told() {
        let mut report = crate::report::tests::example();
        let mut seen = Seen::default();
        for (name, count) in [("coffer", 3), ("disk", 4)] {
            let mut sheet = Sheet::default();
            sheet.checks.insert("rm", 1);
            sheet.checks.insert("ls-warm", count);
            seen.add(name, &sheet);
        }
        seen.compare(&mut report);
        let differs = |name: &str| {
            report
                .lines
                .iter()
                .find(|line| line.row.name == name)
                .unwrap()
                .differs
                .clone()
        };
        assert_eq!(differs("rm"), None);
        assert_eq!(differs("ls-warm").unwrap(), "coffer 3 lines, disk 4 lines");
    }

    #[test]
    fn memory_alone_runs_all_groups() {
        let plan = |word: &str| Plan {
            dir: Path::new("/"),
            subjects: &[],
            rows: rows::select(&[word.to_owned()]).unwrap(),
            round_count: 1,
            scale: Scale::QUICK,
            step_limit: Duration::from_secs(1),
        };
        assert_eq!(plan("memory").groups().len(), 6);
        assert_eq!(plan("rm").groups(), [Group::Tree]);
        assert!(check(&plan("rm")).is_err());
    }
}
