//! Small files, one operation at a time, with one job and with two: created, asked for, opened,
//! listed, renamed, removed.

use super::{Bed, Sheet, command, timed};
use crate::failure::{Failure, Outcome};
use crate::machine;
use crate::step::{Files, Operation, Step};
use crate::subject::Session;

/// Bytes of a file.
const FILE_LEN: u64 = 4 << 10;

/// An operation with its rows: with one job, and with two.
const OPERATIONS: [(Operation, [&str; 2]); 5] = [
    (Operation::Create, ["create", "create-2"]),
    (Operation::Stat, ["stat", "stat-2"]),
    (Operation::Open, ["open", "open-2"]),
    (Operation::Rename, ["rename", "rename-2"]),
    (Operation::Unlink, ["unlink", "unlink-2"]),
];

pub(super) fn run(session: &mut Session<'_>, bed: &Bed<'_>, sheet: &mut Sheet) -> Outcome<()> {
    for (operation, rows) in OPERATIONS {
        for (jobs, row) in (1..).zip(rows) {
            pass(session, bed, operation, jobs, row, sheet)?;
        }
        if operation == Operation::Create {
            list(session, bed, sheet)?;
        }
    }
    Ok(())
}

/// Does one operation to all files of one number of jobs.
fn pass(
    session: &Session<'_>,
    bed: &Bed<'_>,
    operation: Operation,
    job_count: u64,
    row: &'static str,
    sheet: &mut Sheet,
) -> Outcome<()> {
    let all = bed.scale.operation_count;
    let step = Step::Files(Files {
        dir: session.files().join(format!("jobs-{job_count}")),
        operation,
        job_count,
        first: 0,
        count: all / job_count,
        per_dir: u64::MAX,
        len: FILE_LEN,
        scattered_over: None,
    });
    match operation {
        Operation::Stat | Operation::Open if !bed.wants(&[row]) => return Ok(()),
        Operation::Stat => machine::drop_names()?,
        // The first pass fills the caches.
        Operation::Open => drop(session.step(&step)?),
        _ => drop(session.settle()?),
    }
    let done = session.step(&step)?;
    if done.line_count != all {
        let seen = done.line_count;
        return Err(Failure::new(format!(
            "{row}: {seen} of {all} files are right"
        )));
    }
    sheet.operations(row, all, &done);
    Ok(())
}

/// `ls -l` of the directory of the single job.
fn list(session: &mut Session<'_>, bed: &Bed<'_>, sheet: &mut Sheet) -> Outcome<()> {
    let files = session.files().to_path_buf();
    let ls = command(&files, &["ls", "-l", "jobs-1/0/0"]);
    if bed.wants(&["ls-dir-cold", "ls-dir-warm"]) {
        session.cool()?;
        timed("ls-dir-cold", session, ls.clone(), sheet)?;
        timed("ls-dir-warm", session, ls, sheet)?;
    }
    Ok(())
}
